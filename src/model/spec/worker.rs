//! A Worker: its code, what the code sees, and what starts it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::rollout::Rollout;
use super::{secret_value, table};
use crate::model::address::Address;
use crate::model::digest::Content;
use crate::model::name::ResourceName;
use crate::model::value::{Pending, Properties, SecretMark, Value};

/// A Worker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerSpec {
    /// Its name at the target.
    pub script: String,
    /// The name of the module to start with; a key of `modules`.
    pub main: String,
    /// Modules by name, the path relative to the folder of `main`.
    pub modules: BTreeMap<String, Module>,
    /// `YYYY-MM-DD`.
    pub compatibility_date: Option<String>,
    /// Sorted.
    pub compatibility_flags: BTreeSet<String>,
    /// Plain vars, secrets, resources and services by the name that the code sees.
    pub bindings: BTreeMap<String, Binding>,
    /// Cron expressions in Cloudflare's dialect.
    pub crons: BTreeSet<String>,
    /// Which requests reach it.
    pub routes: BTreeSet<Route>,
    /// Whether it answers on the account's `workers.dev` name.
    pub workers_dev: bool,
    /// Further settings, in the words of the API: those of a version (`placement`, `limits`) and those of the Worker as a
    /// whole (`observability`, `logpush`, `tail_consumers`).
    #[serde(default)]
    pub settings: Properties,
    /// What was done to its classes of Durable Objects, oldest first.
    #[serde(default)]
    pub migrations: Vec<Migration>,
    /// Its classes of Durable Objects and entry points, declared; in the words of the API, by name. Either these or
    /// `migrations`.
    #[serde(default)]
    pub exports: Properties,
    /// Static files that it serves.
    #[serde(default)]
    pub assets: Option<Assets>,
    /// What is purged after a deployment of another version.
    #[serde(default)]
    pub purge: Option<Box<Purge>>,
    /// How a changed version comes to have all requests; at once, if absent. It is no property: a version is the same
    /// whatever its steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Box<Rollout>>,
}

/// What of a zone's cache a deployment makes stale.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purge {
    /// The zone.
    pub zone_name: String,
    /// How it is made so.
    pub mode: PurgeMode,
    /// Whole hosts.
    pub hosts: BTreeSet<String>,
    /// Hosts with the begin of a path.
    pub prefixes: BTreeSet<String>,
    /// Values of the header `Cache-Tag`.
    pub tags: BTreeSet<String>,
    /// All of it; then nothing else is named.
    pub everything: bool,
}

/// How cached answers are made stale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PurgeMode {
    /// They are asked for again before they are served.
    Invalidate,
    /// They are dropped.
    Purge,
}

/// One step in the life of a Worker's classes of Durable Objects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Migration {
    /// Its name, by which the platform knows how far it came.
    pub tag: String,
    /// What it does, in the words of the API: `new_sqlite_classes`, `deleted_classes`, ….
    pub steps: Properties,
}

impl Migration {
    /// The classes whose data it destroys.
    pub fn deleted(&self) -> Vec<&str> {
        let Some(Value::List(classes)) = self.steps.get("deleted_classes") else { return Vec::new() };
        classes.iter().filter_map(Value::as_text).collect()
    }
}

/// Static files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assets {
    /// By path, with a leading slash.
    pub files: BTreeMap<String, Content>,
    /// How they are served, in the words of the API: `html_handling`, `not_found_handling`, `run_worker_first`,
    /// `_headers`, `_redirects`.
    pub config: Properties,
}

/// One module of a Worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Module {
    /// How the runtime loads it.
    pub module_type: ModuleType,
    /// Its bytes.
    pub content: Content,
}

/// How the runtime loads a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModuleType {
    /// An ES module.
    Esm,
    /// A CommonJS module.
    CommonJs,
    /// Text, imported as a string.
    Text,
    /// Bytes, imported as an `ArrayBuffer`.
    Data,
    /// JSON, imported as a value.
    Json,
    /// WebAssembly.
    Wasm,
}

impl ModuleType {
    /// The content type by which an upload names it.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Esm => "application/javascript+module",
            Self::CommonJs => "application/javascript",
            Self::Text => "text/plain",
            Self::Data => "application/octet-stream",
            Self::Json => "application/json",
            Self::Wasm => "application/wasm",
        }
    }

    /// The type that a content type names, its parameters aside; `None` for those that we do not know.
    pub fn of_content_type(content_type: &str) -> Option<Self> {
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        [Self::Esm, Self::CommonJs, Self::Text, Self::Data, Self::Json, Self::Wasm]
            .into_iter()
            .find(|t| t.content_type().eq_ignore_ascii_case(essence))
    }
}

/// What the code of a Worker sees under a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum Binding {
    /// A plain text.
    PlainText {
        /// The text.
        text: String,
    },
    /// A JSON value.
    Json {
        /// The value as canonical JSON (RFC 8785).
        json: String,
    },
    /// A secret text.
    Secret {
        /// The secret of this environment.
        name: ResourceName,
    },
    /// A thing of this environment on the same target: a namespace, a bucket, a database, a queue.
    Resource {
        /// The resource; [`Kind::binding`](crate::model::Kind::binding) says how it is bound.
        address: Address,
        /// Further fields, in the words of the API.
        #[serde(default, skip_serializing_if = "Properties::is_empty")]
        fields: Properties,
    },
    /// A class of Durable Objects.
    DurableObject {
        /// The class.
        class: String,
        /// The Worker that has it, by its name at the target; `None` is this one.
        script: Option<String>,
    },
    /// What the platform itself provides: the version's own data, a rate limit, static assets.
    Provided {
        /// `type` and further fields, in the words of the API.
        fields: Properties,
    },
    /// Another Worker on the same target.
    Service {
        /// Its name at the target.
        script: String,
        /// The entry point, where it is not the default one.
        entrypoint: Option<String>,
    },
}

/// Which requests reach a Worker.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Route {
    /// Such as `api.example.com/*`.
    pub pattern: String,
    /// The zone that the pattern lies in.
    pub zone_name: String,
}

impl Binding {
    /// Its properties, in the words of the REST API: `type`, then `text`, `json`, `namespace_id`, `service`, …
    pub fn value(&self, marks: &BTreeMap<ResourceName, SecretMark>) -> Value {
        match self {
            Self::PlainText { text } => table([("type", "plain_text".into()), ("text", Value::text(text))]),
            Self::Json { json } => table([("type", "json".into()), ("json", Value::text(json))]),
            Self::Secret { name } => table([("type", "secret_text".into()), ("text", secret_value(name, marks))]),
            Self::Resource { address, fields } => {
                let mut fields = fields.clone();
                if let Some(bound) = address.kind.binding() {
                    let pending = Pending { address: address.clone(), attribute: bound.attribute.to_owned(), target: None };
                    fields.insert("type".to_owned(), bound.sort.into());
                    fields.insert(bound.field.to_owned(), Value::Pending { pending });
                }
                Value::Table(fields)
            }
            Self::DurableObject { class, script } => {
                let script = script.iter().map(|script| ("script_name".to_owned(), Value::text(script)));
                let named = [("type", "durable_object_namespace"), ("class_name", class.as_str())];
                Value::Table(named.into_iter().map(|(key, text)| (key.to_owned(), text.into())).chain(script).collect())
            }
            Self::Provided { fields } => Value::Table(fields.clone()),
            Self::Service { script, entrypoint: None } => table([("type", "service".into()), ("service", Value::text(script))]),
            Self::Service { script, entrypoint: Some(entrypoint) } => {
                table([("type", "service".into()), ("service", Value::text(script)), ("entrypoint", Value::text(entrypoint))])
            }
        }
    }
}

impl WorkerSpec {
    pub(super) fn properties(&self, marks: &BTreeMap<ResourceName, SecretMark>) -> Properties {
        let Self {
            script,
            main,
            modules,
            compatibility_date,
            compatibility_flags,
            bindings,
            crons,
            routes,
            workers_dev,
            settings,
            migrations,
            exports,
            assets,
            // What is done after a change leaves nothing that could be compared.
            purge: _,
            rollout: _,
        } = self;
        let modules = modules.iter().map(|(name, Module { module_type, content })| {
            let value = table([("type", module_type.content_type().into()), ("content", (*content).into())]);
            (name.clone(), value)
        });
        let set = |items: &BTreeSet<String>| Value::Table(items.iter().map(|item| (item.clone(), Value::Bool(true))).collect());
        let routes =
            routes.iter().map(|Route { pattern, zone_name }| (pattern.clone(), table([("zone_name", Value::text(zone_name))])));
        let mut properties = Properties::from([
            ("script".to_owned(), Value::text(script)),
            ("main_module".to_owned(), Value::text(main)),
            ("modules".to_owned(), Value::Table(modules.collect())),
            ("compatibility_flags".to_owned(), set(compatibility_flags)),
            ("bindings".to_owned(), Value::Table(bindings.iter().map(|(name, b)| (name.clone(), b.value(marks))).collect())),
            ("crons".to_owned(), set(crons)),
            ("routes".to_owned(), Value::Table(routes.collect())),
            ("workers_dev".to_owned(), Value::Bool(*workers_dev)),
        ]);
        if let Some(date) = compatibility_date {
            properties.insert("compatibility_date".to_owned(), Value::text(date));
        }
        properties.extend(settings.clone());
        // How far its classes came is one word; the steps are how it gets there.
        if let Some(last) = migrations.last() {
            properties.insert("migration_tag".to_owned(), Value::text(&last.tag));
        }
        if !exports.is_empty() {
            properties.insert("exports".to_owned(), Value::Table(exports.clone()));
        }
        if let Some(Assets { files, config }) = assets {
            let files = files.iter().map(|(path, content)| (path.clone(), (*content).into())).collect();
            let both = table([("files", Value::Table(files)), ("config", Value::Table(config.clone()))]);
            properties.insert("assets".to_owned(), both);
        }
        properties
    }
}
