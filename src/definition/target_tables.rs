//! The targets as they are written: accounts, edges, hosts.

use schemars::JsonSchema;
use serde::Deserialize;

use super::written::ApiTokenToml;
use crate::document::{Entries, Placed};

/// A Cloudflare account.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Cloudflare")]
pub(super) struct CloudflareToml {
    /// The account's id: 32 hex digits.
    #[schemars(required)]
    pub(super) account_id: Option<Placed<String>>,
    /// The token to call it with.
    #[schemars(required)]
    pub(super) api_token: Option<Placed<ApiTokenToml>>,
    /// The API's address, where it is not Cloudflare's own.
    pub(super) endpoint: Option<Placed<String>>,
    /// Its region, for selectors.
    pub(super) region: Option<Placed<String>>,
    /// Labels, for selectors.
    pub(super) labels: Option<Entries<Placed<String>>>,
}

/// A self-hosted edge.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Edge")]
pub(super) struct EdgeToml {
    /// The address of its API, such as `https://edge.fra.example.com/client/v4`.
    #[schemars(required)]
    pub(super) endpoint: Option<Placed<String>>,
    /// 32 hex digits; an edge takes any, 32 zeros unless said otherwise.
    pub(super) account_id: Option<Placed<String>>,
    /// The token to call it with.
    #[schemars(required)]
    pub(super) api_token: Option<Placed<ApiTokenToml>>,
    /// Its region, for selectors.
    pub(super) region: Option<Placed<String>>,
    /// Labels, for selectors.
    pub(super) labels: Option<Entries<Placed<String>>>,
}

/// A host.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Host")]
pub(super) struct HostToml {
    /// How it is reached: `local` is the daemon's own machine; `ssh://user@host:port` any that `ssh` reaches. User and port
    /// may be left to the configuration of `ssh`.
    #[schemars(required)]
    pub(super) connect: Option<Placed<String>>,
    /// For `ssh://`: the one key that the host may show, such as `ssh-ed25519 AAAA…`, as `ssh-keyscan` prints it. Without it
    /// the known hosts of `ssh` decide; a key that is not known is never taken.
    pub(super) host_key: Option<Placed<String>>,
    /// For `ssh://` with a user other than root: become root by `sudo -n`.
    #[serde(rename = "become")]
    pub(super) elevate: Option<Placed<bool>>,
    /// For `ssh://`: where the executor and what it knows are kept on the host; `/var/lib/trunkline` unless said otherwise.
    pub(super) state: Option<Placed<String>>,
    /// A folder beneath which every path is taken; `/` unless said otherwise.
    pub(super) root: Option<Placed<String>>,
    /// What becomes of the environment while the host cannot be reached; `wait` unless said otherwise.
    pub(super) offline: Option<Placed<OfflineToml>>,
    /// Its region, for selectors.
    pub(super) region: Option<Placed<String>>,
    /// Labels, for selectors.
    pub(super) labels: Option<Entries<Placed<String>>>,
    /// Values of this host for templates: `{{ host.vars.name }}`.
    pub(super) vars: Option<Entries<Placed<serde_json::Value>>>,
}

/// What becomes of an environment while a host cannot be reached.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Offline")]
pub(super) enum OfflineToml {
    /// The rest is applied; the environment is not ready before the host is back and has its share.
    Wait,
    /// The rest is applied, and the environment is ready without it; the host has its share when it is back.
    Skip,
    /// Nothing is applied anywhere.
    Fail,
}
