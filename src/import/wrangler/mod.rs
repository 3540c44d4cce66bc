//! A file of wrangler to definitions: one environment for its top level and one for each that it names.
//!
//! Source of the rules: `normalizeAndValidateEnvironment` of wrangler 4.86. A named environment inherits what says how a
//! Worker is made and run, and nothing that it is bound to: vars, bindings, tail consumers.

mod bindings;
mod queues;
mod routes;
mod sources;
mod stores;
mod value;
mod worker;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::sketch::{Claims, From, Sketch, TableSketch};
use super::vocabulary::Vocabulary;
use super::{DefinitionFile, ImportError, Imported, Input, read, write};
use crate::document::{Entry, Node, Place, Table, Value, shown};
use crate::model::EnvironmentName;

/// What a named environment takes from the top level where it says nothing itself.
const INHERITED: [&str; 36] = [
    "account_id",
    "assets",
    "base_dir",
    "build",
    "cache",
    "compatibility_date",
    "compatibility_flags",
    "compliance_region",
    "find_additional_modules",
    "first_party_worker",
    "jsx_factory",
    "jsx_fragment",
    "keep_names",
    "limits",
    "logfwdr",
    "logpush",
    "main",
    "migrations",
    "minify",
    "no_bundle",
    "observability",
    "placement",
    "preserve_file_names",
    "preview_urls",
    "previews",
    "python_modules",
    "route",
    "routes",
    "rules",
    "site",
    "alias",
    "triggers",
    "tsconfig",
    "upload_source_maps",
    "wasm_modules",
    "workers_dev",
];

/// What says something although there is no Worker.
const WITHOUT_WORKER: [&str; 9] =
    ["$schema", "account_id", "d1_databases", "dispatch_namespaces", "env", "kv_namespaces", "name", "queues", "r2_buckets"];

/// One environment as wrangler sees it.
struct View<'a> {
    /// Its name in the file; `None` is the top level.
    name: Option<&'a str>,
    entries: BTreeMap<&'a str, (&'a Entry, bool)>,
    /// The Worker's key in the definitions.
    worker: &'a str,
    /// The Worker's name at the top of the file.
    top_name: Option<&'a str>,
    input: &'a Input<'a>,
}

impl<'a> View<'a> {
    fn new(input: &'a Input<'a>, worker: &'a str, top: &'a Table, own: Option<(&'a str, &'a Table)>) -> Self {
        let top_entries = top.iter().map(|(key, entry)| (&**key, (entry, own.is_some())));
        let mut entries: BTreeMap<&str, (&Entry, bool)> =
            top_entries.filter(|(key, _)| own.is_none() || INHERITED.contains(key)).collect();
        for (key, entry) in own.iter().flat_map(|(_, table)| table.iter()) {
            // `route` and `routes` are one thing in two forms.
            if matches!(&**key, "route" | "routes") {
                entries.retain(|key, (_, inherited)| !(*inherited && matches!(*key, "route" | "routes")));
            }
            entries.insert(key, (entry, false));
        }
        let top_name = top.get("name").and_then(|entry| value::text(&entry.node));
        Self { name: own.map(|(name, _)| name), entries, worker, top_name, input }
    }

    fn get(&self, key: &str) -> Option<&'a Entry> {
        self.entries.get(key).map(|(entry, _)| *entry)
    }

    /// Where `key` stands: in the environment, or above it.
    fn from(&self, key: &str, entry: &Entry) -> From {
        let inherited = self.entries.get(key).is_some_and(|(_, inherited)| *inherited);
        let key = match self.name {
            Some(name) if !inherited => format!("env.{}.{}", shown(name), shown(key)),
            _ => shown(key),
        };
        From { place: entry.key, key }
    }

    fn text(&self, key: &str) -> Option<&'a str> {
        value::text(&self.get(key)?.node)
    }
}

/// Turns a file into definitions.
///
/// # Errors
/// [`ImportError`] where the file cannot be read; what cannot be carried is in the result.
pub fn wrangler(input: &Input<'_>) -> Result<Imported, ImportError> {
    let document = read::read(input.shown, input.bytes)?;
    let top = &document.table;
    if top.keys().all(|key| &**key == "$schema") {
        return Err(ImportError::Empty { path: input.shown.to_owned() });
    }
    let words = Vocabulary::current();
    let written = top.get("name").and_then(|entry| value::text(&entry.node));
    let worker = value::key(written.unwrap_or("worker"));
    let named = match top.get("env").map(|entry| &entry.node.value) {
        Some(Value::Table(named)) => named.clone(),
        _ => Table::new(),
    };
    let mut imported = Imported { files: Vec::new(), sources: Vec::new(), left: Vec::new(), fill_in: Vec::new() };
    if (input.read)("trunkline.toml").is_none() {
        imported.files.push(DefinitionFile {
            path: "trunkline.toml".to_owned(),
            text: "format = 1\n".to_owned(),
            targets: false,
        });
    }
    let above = top_name(input, &named);
    let mut taken = BTreeMap::new();
    let mut claims = Claims::new();
    let whole = std::iter::once((above, None)).chain(named.iter().map(|(name, entry)| (value::key(name), Some((name, entry)))));
    for (environment, own) in whole {
        let account = match own {
            Some((_, Entry { node: Node { value: Value::Table(table), .. }, .. })) => value::text_of(table, "account_id"),
            _ => None,
        };
        let account = account.or_else(|| value::text_of(top, "account_id")).unwrap_or_default().to_owned();
        let owner = (environment.clone(), account);
        let mut sketch = Sketch::new(input.shown, (&document.lines, &words), owner, std::mem::take(&mut claims));
        let own = match own {
            None => None,
            Some((name, entry)) => {
                let from = From { place: entry.key, key: format!("env.{}", shown(name)) };
                let Value::Table(table) = &entry.node.value else {
                    sketch.leave(&from, format!("expected a table, found {}", entry.node.value.sort()));
                    imported.left.append(&mut sketch.left);
                    claims = sketch.claims;
                    continue;
                };
                if let Some(other) = taken.insert(environment.clone(), Arc::clone(name)) {
                    sketch.leave(&from, format!("it would be called `{environment}`, as `{}` is: rename it", shown(&other)));
                    imported.left.append(&mut sketch.left);
                    claims = sketch.claims;
                    continue;
                }
                Some((&**name, table))
            }
        };
        let view = View::new(input, &worker, top, own);
        if written.is_none() {
            let from = From { place: Place::default(), key: "name".to_owned() };
            sketch.ask(&from, format!("the file names no Worker: it is called `{worker}` here"));
        }
        keys(&mut sketch, &view);
        finish(&mut sketch, &view, &environment, &mut imported);
        claims = sketch.claims;
    }
    imported.left.sort();
    imported.left.dedup();
    imported.fill_in.sort();
    imported.fill_in.dedup();
    Ok(imported)
}

/// What the top level becomes.
fn top_name(input: &Input<'_>, named: &Table) -> String {
    let taken = |name: &str| named.keys().any(|key| value::key(key) == name);
    let asked = input.environment.as_ref().map(EnvironmentName::to_string);
    asked.unwrap_or_else(|| if taken("production") { "top-level" } else { "production" }.to_owned())
}

/// Every key of the view goes somewhere: into the sketch, or into the list of what was left.
fn keys(sketch: &mut Sketch<'_>, view: &View<'_>) {
    for (key, (entry, _)) in &view.entries {
        let from = view.from(key, entry);
        if view.get("main").is_none() && !WITHOUT_WORKER.contains(key) {
            sketch.leave(&from, "there is no `main`: without one there is no Worker that this could belong to");
            continue;
        }
        let carried = worker::carry(sketch, view, (key, entry), &from)
            || bindings::carry(sketch, view, (key, entry), &from)
            || stores::carry(sketch, view, (key, entry), &from);
        if carried {
            continue;
        }
        match *key {
            "routes" | "route" => routes::carry(sketch, view, &entry.node, &from),
            "queues" => queues::carry(sketch, view, &entry.node, &from),
            // Read elsewhere, or of no meaning outside of editors.
            "$schema" | "env" | "account_id" => {}
            "dev" | "send_metrics" | "legacy_env" => {
                sketch.leave(&from, "it is for wrangler's own use, and nothing of what runs");
            }
            "keep_vars" => sketch.leave(&from, "vars that others put there are always kept"),
            _ => sketch.leave(&from, reason(key)),
        }
    }
    // What could not be carried of the sources was told: a Worker without modules would only be a fault.
    let worker = ("worker", view.worker.to_owned());
    let made = |table: &TableSketch| table.keys.contains_key("main") || table.keys.contains_key("build");
    if !sketch.tables.get(&worker).is_some_and(made) {
        sketch.tables.remove(&worker);
    }
}

/// Why a key cannot be carried.
fn reason(key: &str) -> &'static str {
    match key {
        "hyperdrive" => {
            "the file knows its id only: define `[hyperdrive.NAME]` with its origin, the password as a secret, and `adopt = true`"
        }
        "vpc_services" | "vpc_networks" => {
            "the file knows its id only: define `[vpc_service.NAME]` with host and tunnel, and `adopt = true`"
        }
        "mtls_certificates" => {
            "the file knows its id only: define `[mtls_certificate.NAME]` with the certificate's file and the key as a secret"
        }
        "secrets" => {
            "only its names are in the file: write each value with `trunkline secrets set` and bind it by `{ secret = \"…\" }`"
        }
        "secrets_store_secrets" => "values of a secrets store are not managed: write them with `trunkline secrets set`",
        "workflows"
        | "containers"
        | "cloudchamber"
        | "pipelines"
        | "vectorize"
        | "send_email"
        | "images"
        | "stream"
        | "media"
        | "ai_search"
        | "ai_search_namespaces"
        | "artifacts"
        | "flagship"
        | "worker_loaders"
        | "streaming_tail_consumers"
        | "logfwdr" => "trunkline does not manage this product; a binding that others put there is kept",
        "unsafe" | "unsafe_hello_world" | "previews" | "compliance_region" | "cache" | "first_party_worker" => {
            "trunkline has nothing for it"
        }
        "pages_build_output_dir" => "projects of Pages are not managed",
        _ => "it is no key of wrangler 4.86",
    }
}

fn finish(sketch: &mut Sketch<'_>, view: &View<'_>, environment: &str, imported: &mut Imported) {
    let account = view.get("account_id").and_then(|entry| Some((view.from("account_id", entry), value::text(&entry.node)?)));
    let folder = format!("environments/{environment}");
    let targets = format!("{folder}/targets.toml");
    let (id, ask) = match &account {
        Some((_, id)) if id.len() == 32 && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) => ((*id).to_owned(), None),
        Some((from, _)) => ("0".repeat(32), Some((from.clone(), "it is no account id: write the right one into"))),
        None => {
            let from = From { place: Place::default(), key: "account_id".to_owned() };
            ("0".repeat(32), Some((from, "the file does not say it (`wrangler whoami` does): write it into")))
        }
    };
    if let Some((from, reason)) = &ask {
        sketch.ask(from, format!("{reason} {targets}"));
    }
    let note = if ask.is_some() { "   # fill in: `wrangler whoami`" } else { "" };
    let text = format!(
        "# The account that this environment's Workers run in.\n[cloudflare.main]\naccount_id = \"{id}\"{note}\n\
         # A credential of the daemon; or { } with the token encrypted by `trunkline secrets set`.\n\
         api_token = {{ credential = \"cloudflare-token\" }}\n",
        "{ secret = \"…\" }",
    );
    imported.files.push(DefinitionFile { path: targets, text, targets: true });
    let head = [
        format!(
            "Imported from {}{}.",
            view.input.shown,
            view.name.map_or(String::new(), |name| format!(", env.{}", shown(name)))
        ),
        "Secrets are not in that file, and stay on the Worker as they are until they are defined:".to_owned(),
        format!("`trunkline secrets set {environment} NAME`, then `NAME = {{ secret = \"name\" }}` among the bindings."),
    ];
    if !sketch.tables.is_empty() {
        let path = format!("{folder}/{}.toml", view.worker);
        imported.files.push(DefinitionFile { path, text: write::definitions(&sketch.tables, &head), targets: false });
    }
    imported.left.append(&mut sketch.left);
    imported.fill_in.append(&mut sketch.fill_in);
}
