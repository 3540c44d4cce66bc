//! Targets: where instances live, and how each sort of target is reached.
//!
//! Goes in: what the definitions say, checked. Comes out: data that a provider connects by. No token is in it, only where
//! it comes from.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::kind::Kind;
use super::name::{ResourceName, TargetName};

/// Where instances live.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Its region, such as `eu`.
    pub region: Option<String>,
    /// What selectors match, such as `role = "origin"`.
    pub labels: BTreeMap<String, String>,
    /// What sort of target it is.
    pub kind: TargetKind,
}

/// The sorts of target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetKind {
    /// An account at Cloudflare.
    Cloudflare(CloudflareTarget),
    /// A self-hosted Workers plane.
    Edge(EdgeTarget),
    /// A VPS.
    Host(HostTarget),
}

impl TargetKind {
    /// Whether resources of `kind` can live there.
    pub fn takes(&self, kind: Kind) -> bool {
        match self {
            Self::Cloudflare(_) => !kind.is_of_hosts(),
            Self::Edge(_) => Self::edge_takes(kind),
            Self::Host(host) => kind.is_of_hosts() && (host.root.is_none() || !kind.needs_a_system()),
        }
    }

    /// Whether an edge serves `kind`: what it can run itself, and neither zones nor what only Cloudflare's network is.
    pub fn edge_takes(kind: Kind) -> bool {
        match kind {
            Kind::Worker
            | Kind::Kv
            | Kind::R2
            | Kind::D1
            | Kind::Queue
            | Kind::QueueConsumer
            | Kind::Hyperdrive
            | Kind::VpcService
            | Kind::MtlsCertificate => true,
            Kind::Tunnel | Kind::DispatchNamespace | Kind::Dns | Kind::Domain | Kind::CacheRule => false,
            Kind::Package | Kind::Directory | Kind::File | Kind::Unit => false,
            Kind::Container | Kind::Compose | Kind::Pm2 | Kind::TunnelConnector | Kind::EdgeRuntime => false,
        }
    }

    /// The token to call it with, for those that speak the REST API.
    pub fn api_token(&self) -> Option<&ApiToken> {
        match self {
            Self::Cloudflare(target) => Some(&target.api_token),
            Self::Edge(target) => Some(&target.api_token),
            Self::Host(_) => None,
        }
    }
}

/// Where an API token comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApiToken {
    /// An encrypted value of the environment.
    Secret(ResourceName),
    /// A credential of the daemon by name: a file of its credentials folder.
    Credential(ResourceName),
}

impl ApiToken {
    /// The secret of the environment, where it is one.
    pub fn secret(&self) -> Option<&ResourceName> {
        match self {
            Self::Secret(name) => Some(name),
            Self::Credential(_) => None,
        }
    }
}

/// An account at Cloudflare.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloudflareTarget {
    /// 32 hex digits.
    pub account_id: String,
    /// The token to call it with.
    pub api_token: ApiToken,
    /// `https://api.cloudflare.com/client/v4` unless the definition says otherwise; no final slash.
    pub endpoint: String,
}

/// A self-hosted Workers plane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EdgeTarget {
    /// Such as `https://edge.fra.example.com/client/v4`; no final slash.
    pub endpoint: String,
    /// 32 hex digits; the edge takes any.
    pub account_id: String,
    /// The token to call it with.
    pub api_token: ApiToken,
}

/// A VPS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostTarget {
    /// How it is reached.
    pub connect: Connect,
    /// Every path is taken beneath this folder: a sandbox, a chroot, an image. `None` is `/`.
    pub root: Option<PathBuf>,
    /// What becomes of the environment while the host cannot be reached. A bundle of an earlier version says nothing.
    #[serde(default)]
    pub offline: Offline,
}

/// How a host is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Connect {
    /// The daemon's own machine, in process.
    Local,
    /// By the connection that the host's agent has opened to the daemon.
    Agent {
        /// The name that it enrolled under: the host's.
        name: TargetName,
    },
    /// The executor on the host, by way of the system's `ssh`.
    Ssh(SshTarget),
}

impl Connect {
    /// The word for it in definitions: `local`, or the beginning of its address.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Agent { .. } => "agent",
            Self::Ssh(_) => "ssh",
        }
    }
}

/// A host that is reached by SSH. Nothing in it begins with a hyphen or holds a character that a shell knows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SshTarget {
    /// Who logs in; `None` leaves it to the configuration of `ssh`.
    pub user: Option<String>,
    /// A name or an address; an address of IPv6 without brackets.
    pub host: String,
    /// `None` leaves it to the configuration of `ssh`.
    pub port: Option<u16>,
    /// The one key that the host may show, such as `ssh-ed25519 AAAA…`; `None` leaves it to the known hosts of `ssh`.
    pub host_key: Option<String>,
    /// The user becomes root by `sudo`, which asks for no password.
    pub elevate: bool,
    /// Where the executor and what it knows are kept on the host.
    pub state: PathBuf,
}

impl std::fmt::Display for SshTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ssh://")?;
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        match self.host.contains(':') {
            true => write!(f, "[{}]", self.host)?,
            false => f.write_str(&self.host)?,
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// What becomes of an environment while one of its hosts cannot be reached. Nothing is ever made, changed or deleted on
/// such a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Offline {
    /// The rest is applied; the environment is not ready before the host is back and has its share.
    #[default]
    Wait,
    /// The rest is applied, and the environment is ready without it; the host has its share when it is back.
    Skip,
    /// Nothing is applied anywhere.
    Fail,
}
