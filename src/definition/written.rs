//! The written types: the format of the files, as people write it.
//!
//! The JSON Schema for editors is generated from these types, and files are decoded into them; what they mean is in
//! [`crate::model`]. The doc comments are what an editor shows.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::document::{Absent, Entries, Placed};
use crate::model::ResourceName;

use super::assets::AssetsToml;
use super::bindings::BindingToml;
use super::build::BuildToml;
use super::durable::{ExportToml, MigrationToml};
use super::hosted::{
    ComposeToml, ContainerToml, DirectoryToml, EdgeRuntimeToml, PackageToml, Pm2Toml, TunnelConnectorToml, UnitToml,
};
use super::platform::{
    CacheRuleToml, D1Toml, DispatchNamespaceToml, DnsToml, DomainToml, HyperdriveToml, KvToml, MtlsCertificateToml, QueueToml,
    R2Toml, TunnelToml, VpcServiceToml,
};
use super::purge::PurgeToml;
use super::rollout::RolloutToml;
use super::selector::OnToml;
use super::settings::{LimitsToml, ObservabilityToml, PlacementToml, TailConsumerToml};
use super::target_tables::HostToml;
pub(super) use super::target_tables::{CloudflareToml, EdgeToml};

/// Keys of the top level of an environment's files, that is, the fields of [`EnvironmentToml`].
pub(super) const ENVIRONMENT_KEYS: [&str; 26] = [
    "environment",
    "cloudflare",
    "edge",
    "worker",
    "kv",
    "r2",
    "d1",
    "queue",
    "hyperdrive",
    "tunnel",
    "vpc_service",
    "mtls_certificate",
    "dispatch_namespace",
    "dns",
    "domain",
    "cache_rule",
    "package",
    "directory",
    "file",
    "unit",
    "container",
    "compose",
    "pm2",
    "tunnel_connector",
    "edge_runtime",
    "secret",
];

/// Keys that later versions of the format have: said so, instead of guessing a name that is near.
pub(super) const LATER_KEYS: &[Absent] = &[
    later("health"),
    later("window"),
    later("freeze"),
    later("notify"),
    later("ruleset"),
    later("queues"),
    later("workflow"),
    later("durable_objects"),
    later("volume"),
];

const fn later(key: &'static str) -> Absent {
    Absent { key, reason: "" }
}

/// A file of an environment (`environments/<name>/*.toml` or `environments/<name>.toml`) or of a base.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields, rename = "Environment")]
#[expect(dead_code, reason = "its tables are decoded one by one; as a whole it is the schema")]
pub(super) struct EnvironmentToml {
    /// The environment itself.
    pub(super) environment: Option<SectionToml>,
    /// Cloudflare accounts, by the name that `on` uses.
    #[serde(default)]
    pub(super) cloudflare: Entries<CloudflareToml>,
    /// Self-hosted edges, by the name that `on` uses.
    #[serde(default)]
    pub(super) edge: Entries<EdgeToml>,
    /// Workers.
    #[serde(default)]
    pub(super) worker: Entries<WorkerToml>,
    /// Workers KV namespaces.
    #[serde(default)]
    pub(super) kv: Entries<KvToml>,
    /// R2 buckets.
    #[serde(default)]
    pub(super) r2: Entries<R2Toml>,
    /// D1 databases.
    #[serde(default)]
    pub(super) d1: Entries<D1Toml>,
    /// Queues.
    #[serde(default)]
    pub(super) queue: Entries<QueueToml>,
    /// Pooled connections to databases.
    #[serde(default)]
    pub(super) hyperdrive: Entries<HyperdriveToml>,
    /// Cloudflare Tunnels.
    #[serde(default)]
    pub(super) tunnel: Entries<TunnelToml>,
    /// Services of private networks.
    #[serde(default)]
    pub(super) vpc_service: Entries<VpcServiceToml>,
    /// Certificates for mutual TLS.
    #[serde(default)]
    pub(super) mtls_certificate: Entries<MtlsCertificateToml>,
    /// Dispatch namespaces of Workers for Platforms.
    #[serde(default)]
    pub(super) dispatch_namespace: Entries<DispatchNamespaceToml>,
    /// DNS records.
    #[serde(default)]
    pub(super) dns: Entries<DnsToml>,
    /// Custom domains of Workers.
    #[serde(default)]
    pub(super) domain: Entries<DomainToml>,
    /// Cache rules of zones.
    #[serde(default)]
    pub(super) cache_rule: Entries<CacheRuleToml>,
    /// Packages on hosts.
    #[serde(default)]
    pub(super) package: Entries<PackageToml>,
    /// Directories on hosts.
    #[serde(default)]
    pub(super) directory: Entries<DirectoryToml>,
    /// Files on hosts.
    #[serde(default)]
    pub(super) file: Entries<FileToml>,
    /// systemd units on hosts.
    #[serde(default)]
    pub(super) unit: Entries<UnitToml>,
    /// Docker containers on hosts.
    #[serde(default)]
    pub(super) container: Entries<ContainerToml>,
    /// Docker Compose projects on hosts.
    #[serde(default)]
    pub(super) compose: Entries<ComposeToml>,
    /// Applications that PM2 runs on hosts.
    #[serde(default)]
    pub(super) pm2: Entries<Pm2Toml>,
    /// Connectors of Cloudflare Tunnels on hosts.
    #[serde(default)]
    pub(super) tunnel_connector: Entries<TunnelConnectorToml>,
    /// Self-hosted Workers planes on hosts.
    #[serde(default)]
    pub(super) edge_runtime: Entries<EdgeRuntimeToml>,
    /// Encrypted values; written by `trunkline secrets set`.
    #[serde(default)]
    pub(super) secret: Entries<SecretToml>,
}

/// A file of the fleet (`fleet/*.toml`).
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields, rename = "Fleet")]
#[expect(dead_code, reason = "its tables are decoded one by one; as a whole it is the schema")]
pub(super) struct FleetToml {
    /// Hosts, by the name that `on` uses.
    #[serde(default)]
    pub(super) host: Entries<HostToml>,
}

/// `trunkline.toml`: the repository's own settings.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Repository")]
pub(super) struct RepositoryToml {
    /// The version of the format of all files: 1.
    pub(super) format: Option<Placed<i64>>,
    /// The folder of the Rego rules that judge plans; `policies` unless said otherwise.
    pub(super) policies: Option<Placed<String>>,
}

/// The environment itself.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "EnvironmentSection")]
pub(super) struct SectionToml {
    /// For people.
    pub(super) description: Option<Placed<String>>,
    /// Bases, by paths of folders or files: tables merge deep, arrays replace, the nearest wins; of several bases the
    /// later one is nearer.
    #[expect(dead_code, reason = "taken out layer by layer before the section is decoded")]
    pub(super) extends: Option<Vec<Placed<String>>>,
    /// What a base brings and this environment does not want, such as `kv.scratch`.
    #[expect(dead_code, reason = "taken out layer by layer before the section is decoded")]
    pub(super) remove: Option<Vec<Placed<String>>>,
    /// The environment ends: everything that it owns is deleted.
    pub(super) retire: Option<Placed<bool>>,
    /// The secret under whose value secrets are compared without being shown.
    pub(super) digest_key: Option<Placed<SecretRefToml>>,
    /// When and how it is reconciled.
    pub(super) sync: Option<SyncToml>,
}

/// A reference to `[secret.<name>]` of the same environment.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", rename = "secret reference")]
#[schemars(rename = "SecretReference")]
pub(super) enum SecretRefToml {
    /// The key of the secret.
    Secret(Placed<ResourceName>),
}

/// When and how an environment is reconciled.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Sync")]
pub(super) struct SyncToml {
    /// How often the live world is looked at although no commit came: a whole number and `s`, `m`, `h` or `d`, such as
    /// `1m`; `5m` unless said otherwise.
    pub(super) interval: Option<Placed<String>>,
    /// What to do about drift: `heal` it (the default) or `report` it.
    pub(super) drift: Option<Placed<DriftToml>>,
    /// Delete what left the definitions; true unless said otherwise.
    pub(super) prune: Option<bool>,
    /// How many hosts are changed at a time: a number, or a share of the environment's hosts such as `"25%"`. The next begin when
    /// all changes of those are done, and where one fails they do not; all at once unless said otherwise.
    #[schemars(with = "Option<BatchToml>")]
    pub(super) batch: Option<Placed<serde_json::Value>>,
}

/// How many hosts are changed at a time.
#[derive(JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "Batch")]
#[expect(
    dead_code,
    reason = "says to editors what `batch` may be; it is read as it stands, so that each fault has its own words"
)]
enum BatchToml {
    /// So many hosts.
    Hosts(#[schemars(range(min = 1))] u32),
    /// A share of them.
    Percent(String),
}

/// What to do about drift.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Drift")]
pub(super) enum DriftToml {
    /// Put it right.
    Heal,
    /// Show it and leave it.
    Report,
}

/// Where an API token comes from.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", rename = "secret reference of a token")]
#[schemars(rename = "ApiToken")]
pub(super) enum ApiTokenToml {
    /// The key of a secret of this environment.
    Secret(Placed<ResourceName>),
    /// The name of a credential of the daemon.
    Credential(Placed<ResourceName>),
}

/// A Worker.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Worker")]
pub(super) struct WorkerToml {
    /// Where it lives; every target that takes Workers unless said otherwise.
    pub(super) on: Option<Placed<OnToml>>,
    /// Its name at the target; its key, `-` and the environment's name unless said otherwise.
    pub(super) name: Option<Placed<String>>,
    /// The module to start with, an ES module, by its path; with `build`, its name in what the build leaves.
    pub(super) main: Option<Placed<String>>,
    /// Paths or globs of the other modules, in or below the folder of `main`.
    pub(super) modules: Option<Vec<Placed<String>>>,
    /// What makes the modules, in the place of `main` and `modules`.
    pub(super) build: Option<Placed<BuildToml>>,
    /// The runtime's behaviour of which day: `YYYY-MM-DD`.
    pub(super) compatibility_date: Option<Placed<String>>,
    /// Single changes of the runtime's behaviour, such as `nodejs_compat`.
    pub(super) compatibility_flags: Option<Vec<Placed<String>>>,
    /// Which requests reach it.
    pub(super) routes: Option<Vec<Placed<RouteToml>>>,
    /// What else starts it.
    pub(super) triggers: Option<TriggersToml>,
    /// Plain values by the name that the code sees: text as it is, anything else as JSON.
    pub(super) vars: Option<Entries<Placed<serde_json::Value>>>,
    /// Resources by the name that the code sees.
    pub(super) bindings: Option<Entries<Placed<BindingToml>>>,
    /// Whether it answers on the account's `workers.dev` name (on an edge, on the edge's own name for it); false
    /// unless said otherwise.
    pub(super) workers_dev: Option<Placed<bool>>,
    /// Static files that it serves.
    pub(super) assets: Option<Placed<AssetsToml>>,
    /// Where it runs.
    pub(super) placement: Option<Placed<PlacementToml>>,
    /// How much one request may use.
    pub(super) limits: Option<Placed<LimitsToml>>,
    /// What the platform records of its requests.
    pub(super) observability: Option<Placed<ObservabilityToml>>,
    /// Whether its logs are pushed to where the account says.
    pub(super) logpush: Option<Placed<bool>>,
    /// Workers that are told of what it logs.
    pub(super) tail_consumers: Option<Placed<Vec<Placed<TailConsumerToml>>>>,
    /// What was done to its classes of Durable Objects, oldest first. Either these or `exports`.
    pub(super) migrations: Option<Vec<Placed<MigrationToml>>>,
    /// Its classes of Durable Objects and entry points, declared, by name.
    pub(super) exports: Option<Entries<Placed<ExportToml>>>,
    /// What of a zone's cache its deployments make stale.
    pub(super) purge: Option<Placed<PurgeToml>>,
    /// How a changed version comes to have all requests; at once unless said otherwise.
    pub(super) rollout: Option<Placed<RolloutToml>>,
    /// Take over a Worker of this name that is there and not ours.
    pub(super) adopt: Option<bool>,
    /// Its former key, when it was renamed.
    pub(super) moved: Option<Placed<ResourceName>>,
}

/// Which requests reach a Worker.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Route")]
pub(super) struct RouteToml {
    /// Such as `api.example.com/*`.
    #[schemars(required)]
    pub(super) pattern: Option<Placed<String>>,
    /// The zone that the pattern lies in, such as `example.com`.
    #[schemars(required)]
    pub(super) zone_name: Option<Placed<String>>,
}

/// What else starts a Worker.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Triggers")]
pub(super) struct TriggersToml {
    /// Cron expressions of five fields, in UTC; the weekday 1 is Sunday.
    pub(super) crons: Option<Vec<Placed<String>>>,
}

/// A file on a host: exactly one of `source`, `template`, `content`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "File")]
pub(super) struct FileToml {
    /// Where it lives; every host unless said otherwise.
    pub(super) on: Option<Placed<OnToml>>,
    /// Where it stands on the host: absolute, without `..`.
    #[schemars(required)]
    pub(super) path: Option<Placed<String>>,
    /// A file of the repository, byte for byte.
    pub(super) source: Option<Placed<String>>,
    /// A template of the repository; it sees `environment`, `tenant`, `target`, `host`, `vars`, `secret("name")` and `tunnel.name.token`, by
    /// which a host runs a tunnel of this environment.
    pub(super) template: Option<Placed<String>>,
    /// The content itself.
    pub(super) content: Option<Placed<String>>,
    /// What the template sees as `vars`.
    pub(super) vars: Option<Entries<Placed<serde_json::Value>>>,
    /// Permissions in octal, such as `0640`; `0644` unless said otherwise.
    pub(super) mode: Option<Placed<String>>,
    /// The owner's name or number.
    pub(super) owner: Option<Placed<String>>,
    /// The group's name or number.
    pub(super) group: Option<Placed<String>>,
    /// A command and its arguments that must succeed on the new content before it replaces the old; `{}` is the path
    /// of the candidate.
    pub(super) validate: Option<Placed<Vec<Placed<String>>>>,
    /// Take over a file that is there and not ours.
    pub(super) adopt: Option<bool>,
    /// Its former key, when it was renamed.
    pub(super) moved: Option<Placed<ResourceName>>,
}

/// An encrypted value.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Secret")]
pub(super) struct SecretToml {
    /// The value as an ASCII-armored age file, bound inside to tenant, environment and name.
    #[schemars(required)]
    pub(super) age: Option<Placed<String>>,
}
