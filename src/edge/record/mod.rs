//! What the edge keeps: Workers with their versions and deployments, routes, zones and KV namespaces.
//!
//! Goes in and comes out: plain data that serializes to the JSON files of the data folder.
//!
//! **Invariant:** a version is never changed once it is made, and no field holds a secret in clear: a secret binding
//! carries its age ciphertext and a keyed mark of its value.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::Digest;

mod binding;
mod links;
mod resources;

pub(super) use binding::{Binding, Limit};
pub(super) use links::{Certificate, Hyperdrive, Service};
pub(super) use resources::{Bucket, Consumer, Database, Domain, Queue};

/// How many versions of a Worker can be deployed, as at Cloudflare; older ones are forgotten unless they serve.
pub(super) const DEPLOYABLE_VERSIONS: usize = 100;

/// Everything that the edge keeps, as one value that is replaced, never changed in place.
#[derive(Debug, Clone, Default)]
pub(super) struct State {
    pub(super) account: Arc<Account>,
    pub(super) scripts: BTreeMap<String, Arc<Script>>,
}

/// What belongs to no single Worker.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Account {
    /// KV namespaces: id to title.
    pub(super) namespaces: BTreeMap<String, String>,
    /// Where the data of a KV namespace or a queue must stay, by its id, where somebody said so. All of it is here.
    pub(super) jurisdictions: BTreeMap<String, String>,
    /// Zones that a request has named: id to name. The edge has no DNS, so a zone exists when it is named.
    pub(super) zones: BTreeMap<String, String>,
    /// Routes by id.
    pub(super) routes: BTreeMap<String, Route>,
    /// Custom domains by id.
    pub(super) domains: BTreeMap<String, Domain>,
    /// D1 databases by id.
    pub(super) databases: BTreeMap<String, Database>,
    /// Queues by id.
    pub(super) queues: BTreeMap<String, Queue>,
    /// R2 buckets by id. The id is of the edge alone: the wire knows a bucket by jurisdiction and name.
    pub(super) buckets: BTreeMap<String, Bucket>,
    /// Databases behind Hyperdrive, by id.
    pub(super) hyperdrives: BTreeMap<String, Hyperdrive>,
    /// Services of the edge's own network, by id.
    pub(super) services: BTreeMap<String, Service>,
    /// Certificates by id.
    pub(super) certificates: BTreeMap<String, Certificate>,
}

/// One route: which Worker answers for the URLs that match the pattern.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Route {
    pub(super) zone_id: String,
    pub(super) pattern: String,
    /// `None` switches Workers off for what matches.
    pub(super) script: Option<String>,
}

/// One Worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Script {
    pub(super) name: String,
    /// 32 hex digits that never change while the Worker exists.
    pub(super) tag: String,
    pub(super) created_on: String,
    pub(super) modified_on: String,
    pub(super) tags: Vec<String>,
    pub(super) logpush: bool,
    pub(super) observability: Value,
    pub(super) tail_consumers: Value,
    pub(super) subdomain: Subdomain,
    pub(super) schedules: Vec<Schedule>,
    /// Oldest first.
    pub(super) versions: Vec<Arc<Version>>,
    /// Newest first; the first is the active one.
    pub(super) deployments: Vec<Deployment>,
    pub(super) last_deployed_from: String,
    /// The tag of the last migration of Durable Objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) migration_tag: Option<String>,
    /// The Durable Objects that the Worker owns, by their classes' names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) objects: BTreeMap<String, Objects>,
}

/// The Durable Objects of one class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Objects {
    /// 32 hex digits: what the objects are kept under. It stays when the class gets another name or another Worker.
    pub(super) id: String,
    pub(super) sqlite: bool,
}

/// Whether a Worker answers on its own name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Subdomain {
    pub(super) enabled: bool,
    pub(super) previews_enabled: bool,
}

/// One cron trigger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Schedule {
    pub(super) cron: String,
    pub(super) created_on: String,
    pub(super) modified_on: String,
}

/// One immutable version of a Worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Version {
    pub(super) id: String,
    /// Counts up from 1 for each Worker.
    pub(super) number: u64,
    pub(super) created_on: String,
    pub(super) source: String,
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) main_module: String,
    pub(super) modules: Vec<Module>,
    pub(super) bindings: BTreeMap<String, Binding>,
    pub(super) compatibility_date: String,
    pub(super) compatibility_flags: Vec<String>,
    /// Digest of the modules' names, types and content, 64 hex digits.
    pub(super) etag: String,
    pub(super) limits: Value,
    pub(super) placement: Value,
    pub(super) usage_model: String,
    pub(super) startup_time_ms: u64,
    /// Declared classes of Durable Objects, as they came.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub(super) exports: Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) assets: Option<Assets>,
}

/// The static assets of a version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Assets {
    /// Digest of the manifest: the folder that holds the files.
    pub(super) site: Digest,
    /// `html_handling` and so on, as they came.
    #[serde(default)]
    pub(super) config: Value,
}

/// One module of a version; its bytes are a file named for their digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Module {
    pub(super) name: String,
    pub(super) content_type: String,
    pub(super) sha256: Digest,
    pub(super) size: u64,
}

/// Which versions serve, and in which shares.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Deployment {
    pub(super) id: String,
    pub(super) created_on: String,
    pub(super) source: String,
    pub(super) versions: Vec<Share>,
    pub(super) annotations: BTreeMap<String, String>,
}

/// The share of one version in a deployment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Share {
    pub(super) version_id: String,
    /// 0 to 100.
    pub(super) percentage: f64,
}

impl Script {
    /// The newest version.
    pub(super) fn latest(&self) -> Option<&Arc<Version>> {
        self.versions.last()
    }

    /// The version with this id.
    pub(super) fn version(&self, id: &str) -> Option<&Arc<Version>> {
        self.versions.iter().find(|version| version.id == id)
    }

    /// The versions that serve, with their shares; none where nothing was ever deployed.
    pub(super) fn serving(&self) -> Vec<(&Arc<Version>, f64)> {
        let Some(active) = self.deployments.first() else { return Vec::new() };
        active.versions.iter().filter_map(|share| Some((self.version(&share.version_id)?, share.percentage))).collect()
    }

    /// The serving version with the largest share.
    pub(super) fn principal(&self) -> Option<&Arc<Version>> {
        self.serving().into_iter().max_by(|a, b| a.1.total_cmp(&b.1)).map(|(version, _)| version)
    }

    /// Whether the newest version is the one that serves, alone.
    pub(super) fn latest_serves(&self) -> bool {
        match (self.latest(), self.serving().as_slice()) {
            (Some(latest), [(only, _)]) => latest.id == only.id,
            (_, []) => true,
            _ => false,
        }
    }

    /// The version that the Worker's Durable Objects run, and that others bind.
    pub(super) fn runs_objects(&self, version: &Version) -> bool {
        !self.objects.is_empty() && self.principal().is_some_and(|principal| principal.id == version.id)
    }

    /// Forgets versions beyond the newest hundred that do not serve, and deployments beyond the newest hundred.
    pub(super) fn forget_old(&mut self) {
        self.deployments.truncate(DEPLOYABLE_VERSIONS);
        let serving: Vec<String> = self.serving().iter().map(|(version, _)| version.id.clone()).collect();
        let surplus = self.versions.len().saturating_sub(DEPLOYABLE_VERSIONS);
        let mut index = 0;
        self.versions.retain(|version| {
            index += 1;
            index > surplus || serving.contains(&version.id)
        });
    }
}

impl State {
    /// The Worker, to be changed: a copy of its own from then on.
    pub(super) fn script_mut(&mut self, name: &str) -> Option<&mut Script> {
        self.scripts.get_mut(name).map(Arc::make_mut)
    }

    /// Where the Durable Objects with this id are: Worker and class.
    pub(super) fn objects(&self, id: &str) -> Option<(&Script, &str)> {
        self.scripts.values().find_map(|script| {
            let (class, _) = script.objects.iter().find(|(_, objects)| objects.id == id)?;
            Some((script.as_ref(), class.as_str()))
        })
    }

    /// What belongs to no single Worker, to be changed.
    pub(super) fn account_mut(&mut self) -> &mut Account {
        Arc::make_mut(&mut self.account)
    }
}

/// A fresh version or deployment id.
pub(super) fn fresh_uuid() -> String {
    uuid::Uuid::now_v7().to_string()
}

/// A fresh id of 32 hex digits.
pub(super) fn fresh_hex() -> String {
    hex_of(&fresh_uuid())
}

/// 32 hex digits that stand for a text, always the same.
pub(super) fn hex_of(text: &str) -> String {
    Digest::of(text.as_bytes()).to_string()[..32].to_owned()
}

/// The time now, as the wire writes it.
pub(super) fn now() -> String {
    chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Micros, true)
}
