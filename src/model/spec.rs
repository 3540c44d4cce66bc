//! What an instance is to be like, kind by kind, and the properties by which desired and observed are compared.
//!
//! Goes in: what the definitions say, checked. Comes out: [`Properties`], with marks in the place of secrets.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::address::{Address, Kind};
use super::digest::Content;
use super::name::ResourceName;
use super::value::{Pending, Properties, SecretMark, Value};

/// What an instance is to be like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Spec {
    /// A Worker.
    Worker(WorkerSpec),
    /// A KV namespace.
    Kv(KvSpec),
    /// A file.
    File(FileSpec),
}

/// A Worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Plain vars, secrets, KV namespaces and services by the name that the code sees.
    pub bindings: BTreeMap<String, Binding>,
    /// Cron expressions in Cloudflare's dialect.
    pub crons: BTreeSet<String>,
    /// Which requests reach it.
    pub routes: BTreeSet<Route>,
    /// Whether it answers on the account's `workers.dev` name.
    pub workers_dev: bool,
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
    /// A KV namespace of this environment, on the same target.
    Kv {
        /// The resource.
        address: Address,
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

/// A KV namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KvSpec {
    /// Its title at the target, unique in an account.
    pub title: String,
}

/// A file on a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSpec {
    /// Absolute, normalized, without `..`; taken beneath the host's root.
    pub path: String,
    /// The bytes; where `secrets` is not empty they hold a [`placeholder`] for each use of a value.
    pub content: Content,
    /// The secrets whose values take the place of the placeholders, at apply only.
    pub secrets: BTreeSet<ResourceName>,
    /// Permission bits, such as `0o640`.
    pub mode: u32,
    /// User name or number; `None` leaves it as it is.
    pub owner: Option<String>,
    /// Group name or number; `None` leaves it as it is.
    pub group: Option<String>,
    /// A command and its arguments, run on the new content before it replaces the old; `{}` in an argument is the
    /// path of the candidate. It must exit with 0.
    pub validate: Option<Vec<String>>,
}

/// What stands in a rendered template for the value of `secret.<name>`.
pub fn placeholder(name: &ResourceName) -> String {
    format!("\u{2983}trunkline-secret:{name}\u{2984}")
}

impl Spec {
    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Worker(_) => Kind::Worker,
            Self::Kv(_) => Kind::Kv,
            Self::File(_) => Kind::File,
        }
    }

    /// What it is called at the target. Two instances on one target with the same kind and claim are an error.
    pub fn claim(&self) -> &str {
        match self {
            Self::Worker(worker) => &worker.script,
            Self::Kv(kv) => &kv.title,
            Self::File(file) => &file.path,
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
            Self::Kv(_) => BTreeSet::new(),
            Self::File(file) => file.secrets.clone(),
        }
    }

    /// The bytes that it refers to.
    pub fn contents(&self) -> BTreeSet<Content> {
        match self {
            Self::Worker(worker) => worker.modules.values().map(|m| m.content).collect(),
            Self::Kv(_) => BTreeSet::new(),
            Self::File(file) => [file.content].into(),
        }
    }

    /// Its properties, with `marks` for the secrets (a secret without a mark is [`SecretMark::Unknown`]).
    ///
    /// Each spec is taken apart without `..`: a new field does not compile until somebody decides whether it counts.
    pub fn properties(&self, marks: &BTreeMap<ResourceName, SecretMark>) -> Properties {
        match self {
            Self::Worker(worker) => worker_properties(worker, marks),
            Self::Kv(KvSpec { title }) => [("title".to_owned(), Value::text(title))].into(),
            Self::File(file) => file_properties(file, marks),
        }
    }
}

fn secret_value(name: &ResourceName, marks: &BTreeMap<ResourceName, SecretMark>) -> Value {
    Value::Secret { mark: marks.get(name).cloned().unwrap_or(SecretMark::Unknown) }
}

fn table<const N: usize>(entries: [(&str, Value); N]) -> Value {
    Value::Table(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

impl Binding {
    /// Its properties, in the words of the REST API: `type`, then `text`, `json`, `namespace_id`, `service`.
    pub fn value(&self, marks: &BTreeMap<ResourceName, SecretMark>) -> Value {
        match self {
            Self::PlainText { text } => table([("type", "plain_text".into()), ("text", Value::text(text))]),
            Self::Json { json } => table([("type", "json".into()), ("json", Value::text(json))]),
            Self::Secret { name } => table([("type", "secret_text".into()), ("text", secret_value(name, marks))]),
            Self::Kv { address } => {
                let pending = Pending { address: address.clone(), attribute: "id".to_owned() };
                table([("type", "kv_namespace".into()), ("namespace_id", Value::Pending { pending })])
            }
            Self::Service { script, entrypoint: None } => table([("type", "service".into()), ("service", Value::text(script))]),
            Self::Service { script, entrypoint: Some(entrypoint) } => {
                table([("type", "service".into()), ("service", Value::text(script)), ("entrypoint", Value::text(entrypoint))])
            }
        }
    }
}

fn worker_properties(worker: &WorkerSpec, marks: &BTreeMap<ResourceName, SecretMark>) -> Properties {
    let WorkerSpec { script, main, modules, compatibility_date, compatibility_flags, bindings, crons, routes, workers_dev } =
        worker;
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
    properties
}

fn file_properties(file: &FileSpec, marks: &BTreeMap<ResourceName, SecretMark>) -> Properties {
    // `validate` is how a change is made, not what is there: changing it alone changes nothing on the host.
    let FileSpec { path, content, secrets, mode, owner, group, validate: _ } = file;
    let mut properties = Properties::from([
        ("path".to_owned(), Value::text(path)),
        ("content".to_owned(), (*content).into()),
        ("mode".to_owned(), Value::text(format!("{mode:04o}"))),
    ]);
    if !secrets.is_empty() {
        let secrets = secrets.iter().map(|name| (name.to_string(), secret_value(name, marks)));
        properties.insert("secrets".to_owned(), Value::Table(secrets.collect()));
    }
    for (key, value) in [("owner", owner), ("group", group)] {
        if let Some(value) = value {
            properties.insert(key.to_owned(), Value::text(value));
        }
    }
    properties
}
