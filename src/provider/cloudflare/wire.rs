//! What the API answers with, as far as it is read.
//!
//! **Invariant:** everything that a server may leave out or send as `null` is optional here; a field that is added
//! there breaks nothing.
//!
//! Source: the types of npm `cloudflare` 7.3.0, and wrangler's own traffic.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// An item of `GET workers/scripts`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct ScriptItem {
    pub(super) id: String,
    pub(super) tag: Option<String>,
    pub(super) etag: Option<String>,
    pub(super) modified_on: Option<String>,
    #[serde(deserialize_with = "or_default")]
    pub(super) tags: Vec<String>,
    pub(super) compatibility_date: Option<String>,
    #[serde(deserialize_with = "or_default")]
    pub(super) compatibility_flags: Vec<String>,
    pub(super) migration_tag: Option<String>,
    pub(super) has_assets: Option<bool>,
    pub(super) placement_mode: Option<String>,
    pub(super) placement: Option<Value>,
    pub(super) observability: Option<Value>,
    pub(super) logpush: Option<bool>,
    pub(super) tail_consumers: Option<Value>,
    /// `None` where the server does not show them here.
    pub(super) routes: Option<Vec<RouteItem>>,
}

/// An item of `GET workers/workers`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct WorkerItem {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) updated_on: Option<String>,
    pub(super) deployed_on: Option<String>,
    #[serde(deserialize_with = "or_default")]
    pub(super) tags: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub(super) subdomain: Subdomain,
}

/// `GET scripts/{n}/subdomain`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Subdomain {
    pub(super) enabled: bool,
    pub(super) previews_enabled: Option<bool>,
}

/// `GET scripts/{n}/deployments`; the first is the active one.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Deployments {
    #[serde(deserialize_with = "or_default")]
    pub(super) deployments: Vec<Deployment>,
}

/// One deployment.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Deployment {
    pub(super) created_on: Option<String>,
    pub(super) annotations: Option<BTreeMap<String, Value>>,
    #[serde(deserialize_with = "or_default")]
    pub(super) versions: Vec<Share>,
}

/// A version's share of the traffic.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Share {
    pub(super) version_id: String,
    pub(super) percentage: f64,
}

/// `GET scripts/{n}/versions/{id}`, the answer to an upload, and an item of the list.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Version {
    pub(super) id: String,
    pub(super) number: Option<u64>,
    pub(super) annotations: Option<BTreeMap<String, Value>>,
    #[serde(deserialize_with = "or_default")]
    pub(super) resources: Resources,
}

impl Version {
    /// The text of an annotation.
    pub(super) fn annotation(&self, name: &str) -> Option<&str> {
        self.annotations.as_ref()?.get(name)?.as_str()
    }
}

/// What a version consists of.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Resources {
    #[serde(deserialize_with = "or_default")]
    pub(super) bindings: Vec<Map<String, Value>>,
    #[serde(deserialize_with = "or_default")]
    pub(super) script: Script,
    #[serde(deserialize_with = "or_default")]
    pub(super) script_runtime: Runtime,
}

/// The code of a version.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Script {
    pub(super) etag: Option<String>,
}

/// How a version is run.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Runtime {
    pub(super) compatibility_date: Option<String>,
    #[serde(deserialize_with = "or_default")]
    pub(super) compatibility_flags: Vec<String>,
    pub(super) limits: Option<Value>,
    pub(super) exports: Option<Value>,
    pub(super) migration_tag: Option<String>,
}

/// `GET scripts/{n}/versions`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Versions {
    #[serde(deserialize_with = "or_default")]
    pub(super) items: Vec<Version>,
}

/// `GET scripts/{n}/schedules`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Schedules {
    #[serde(deserialize_with = "or_default")]
    pub(super) schedules: Vec<Schedule>,
}

/// One cron trigger.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Schedule {
    pub(super) cron: String,
}

/// An item of `GET zones/{z}/workers/routes`. `script` is `null` where the pattern is kept from every Worker.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct RouteItem {
    pub(super) id: String,
    pub(super) pattern: String,
    pub(super) script: Option<String>,
}

/// An item of `GET zones`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Zone {
    pub(super) id: String,
    pub(super) name: String,
}
