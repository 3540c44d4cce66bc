//! What an instance is to be like, kind by kind, and the properties by which desired and observed are compared.
//!
//! Goes in: what the definitions say, checked. Comes out: [`Properties`], with marks in the place of secrets.

mod file;
mod hosted;
mod platform;
mod rollout;
mod worker;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::address::InstanceKey;
use super::digest::Content;
use super::kind::Kind;
use super::name::ResourceName;
use super::value::{Pending, Properties, SecretMark, TOKEN, Value};

pub use file::{FileSpec, placeholder, token_label};
pub use hosted::{DANGERS, EDGE_PROGRAM, HostedSpec, RESTART_ON};
pub use platform::PlatformSpec;
pub use rollout::{Probe, Rollout, TRAFFIC, traffic, with_traffic};
pub use worker::{Assets, Binding, Migration, Module, ModuleType, Purge, PurgeMode, Route, WorkerSpec};

/// What an instance is to be like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Spec {
    /// A Worker.
    Worker(WorkerSpec),
    /// What the platform keeps in a list.
    Platform(PlatformSpec),
    /// A file.
    File(FileSpec),
    /// What else lives on a host.
    Hosted(HostedSpec),
}

impl Spec {
    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Worker(_) => Kind::Worker,
            Self::Platform(platform) => platform.sort,
            Self::File(_) => Kind::File,
            Self::Hosted(hosted) => hosted.sort,
        }
    }

    /// What it is called at the target. Two instances on one target with the same kind and claim are an error.
    pub fn claim(&self) -> &str {
        match self {
            Self::Worker(worker) => &worker.script,
            Self::Platform(platform) => &platform.claim,
            Self::File(file) => &file.path,
            Self::Hosted(hosted) => &hosted.claim,
        }
    }

    /// Calls it otherwise at the target.
    pub fn rename(&mut self, claim: &str) {
        match self {
            Self::Worker(worker) => claim.clone_into(&mut worker.script),
            Self::Platform(platform) => platform.rename(claim),
            Self::File(file) => claim.clone_into(&mut file.path),
            Self::Hosted(hosted) => hosted.rename(claim),
        }
    }

    /// The secrets whose values an apply needs.
    pub fn secrets(&self) -> BTreeSet<ResourceName> {
        match self {
            Self::Worker(worker) => worker
                .bindings
                .values()
                .filter_map(|binding| match binding {
                    Binding::Secret { name } => Some(name.clone()),
                    _ => None,
                })
                .collect(),
            Self::Platform(platform) => platform.secrets.values().cloned().collect(),
            Self::File(file) => file.secrets.clone(),
            Self::Hosted(hosted) => hosted.secrets.values().cloned().collect(),
        }
    }

    /// The tunnels whose tokens an apply reads, by their keys, and where each of them is.
    pub fn tokens(&self) -> BTreeMap<ResourceName, InstanceKey> {
        match self {
            Self::Worker(_) | Self::Platform(_) => BTreeMap::new(),
            Self::File(file) => file.tokens.clone(),
            Self::Hosted(hosted) => hosted.tokens.values().map(|tunnel| (tunnel.address.name.clone(), tunnel.clone())).collect(),
        }
    }

    /// The bytes that it refers to.
    pub fn contents(&self) -> BTreeSet<Content> {
        match self {
            Self::Worker(worker) => {
                let assets = worker.assets.iter().flat_map(|assets| assets.files.values());
                worker.modules.values().map(|m| &m.content).chain(assets).copied().collect()
            }
            Self::Platform(platform) => platform.contents(),
            Self::File(file) => [file.content].into(),
            Self::Hosted(hosted) => hosted.contents(),
        }
    }

    /// Its properties, with `marks` for the secrets (a secret without a mark is [`SecretMark::Unknown`]).
    ///
    /// Each spec is taken apart without `..`: a new field does not compile until somebody decides whether it counts.
    pub fn properties(&self, marks: &BTreeMap<ResourceName, SecretMark>) -> Properties {
        match self {
            Self::Worker(worker) => worker.properties(marks),
            Self::Platform(platform) => platform.properties(marks),
            Self::File(file) => file.properties(marks),
            Self::Hosted(hosted) => hosted.properties(marks),
        }
    }
}

fn secret_value(name: &ResourceName, marks: &BTreeMap<ResourceName, SecretMark>) -> Value {
    Value::Secret { mark: marks.get(name).cloned().unwrap_or(SecretMark::Unknown) }
}

/// What stands for the token of a tunnel is known to that, once it is there.
fn token_value(tunnel: &InstanceKey) -> Value {
    let InstanceKey { address, target } = tunnel.clone();
    Value::Pending { pending: Pending { address, attribute: TOKEN.to_owned(), target: Some(target) } }
}

fn table<const N: usize>(entries: [(&str, Value); N]) -> Value {
    Value::Table(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}
