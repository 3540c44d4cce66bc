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
    /// How it is reached: `local` is the daemon's own machine.
    #[schemars(required)]
    pub(super) connect: Option<Placed<String>>,
    /// A folder beneath which every path is taken; `/` unless said otherwise.
    pub(super) root: Option<Placed<String>>,
    /// Its region, for selectors.
    pub(super) region: Option<Placed<String>>,
    /// Labels, for selectors.
    pub(super) labels: Option<Entries<Placed<String>>>,
}
