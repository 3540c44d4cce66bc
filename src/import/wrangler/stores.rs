//! What a Worker keeps things in: namespaces, buckets, databases, dispatch namespaces. They exist, and are taken over.

use std::collections::BTreeMap;

use serde_json::json;

use super::super::sketch::{From, Sketch};
use super::{View, sources, value};
use crate::document::{Entry, Node};

/// Carries `key`, if it is one of these.
pub(super) fn carry(sketch: &mut Sketch<'_>, view: &View<'_>, (key, entry): (&str, &Entry), from: &From) -> bool {
    match key {
        "kv_namespaces" => kv(sketch, view, &entry.node, from),
        "r2_buckets" => r2(sketch, view, &entry.node, from),
        "d1_databases" => d1(sketch, view, &entry.node, from),
        "dispatch_namespaces" => dispatch(sketch, view, &entry.node, from),
        _ => return false,
    }
    true
}

/// The key of a thing by what it is called: one thing has one table, whatever bindings it has.
fn one(known: &mut BTreeMap<String, String>, identity: &str, wanted: String) -> String {
    if let Some(key) = known.get(identity) {
        return key.clone();
    }
    let taken = |key: &String| known.values().any(|other| other == key);
    let numbered = (2..).map(|n| format!("{wanted}-{n}"));
    let key = std::iter::once(wanted.clone()).chain(numbered).find(|key| !taken(key)).unwrap_or(wanted);
    known.insert(identity.to_owned(), key.clone());
    key
}

fn kv(sketch: &mut Sketch<'_>, view: &View<'_>, node: &Node, from: &From) {
    let mut known = BTreeMap::new();
    for (from, table) in value::tables(sketch, node, from) {
        let Some(binding) = value::needed(sketch, table, "binding", &from) else { continue };
        let id = value::text_of(table, "id");
        if id.is_some_and(|id| !sketch.claim("kv", id, &from)) {
            continue;
        }
        let key = one(&mut known, id.unwrap_or(binding), value::key(binding));
        let is_new = !sketch.tables.contains_key(&("kv", key.clone()));
        match id {
            Some(id) => {
                sketch.existing(("kv", &key), None, &from);
                if is_new && let Some(table) = sketch.table("kv", &key, &from) {
                    let id = crate::document::shown(id);
                    table.comments.push(format!("The namespace {id}: the file does not say its title, and without it an"));
                    table.comments.push("empty one would be created. Fill it in: `wrangler kv namespace list`.".to_owned());
                    table.comments.push("title = \"…\"".to_owned());
                }
                if is_new {
                    let reason =
                        format!("write the title of the namespace {id} into [kv.{key}]: without it an empty one is created");
                    sketch.ask(&from, reason);
                }
            }
            // wrangler makes one that has no id when it deploys.
            None => {
                sketch.table("kv", &key, &from);
            }
        }
        sketch.bind(view.worker, binding, ("kv", json!({ "kv": key })), &from);
        value::rest(sketch, table, &["binding", "id"], &from);
    }
}

fn r2(sketch: &mut Sketch<'_>, view: &View<'_>, node: &Node, from: &From) {
    let mut known = BTreeMap::new();
    for (from, table) in value::tables(sketch, node, from) {
        let Some(binding) = value::needed(sketch, table, "binding", &from) else { continue };
        let name = value::text_of(table, "bucket_name");
        let key = one(&mut known, name.unwrap_or(binding), value::key(name.unwrap_or(binding)));
        let there = match name {
            Some(name) => sketch.existing(("r2", &key), Some(name), &from),
            None => sketch.table("r2", &key, &from).is_some(),
        };
        if let (true, Some(jurisdiction)) = (there, value::text_of(table, "jurisdiction")) {
            sketch.set(("r2", &key), "jurisdiction", jurisdiction, &from);
        }
        if there {
            sketch.bind(view.worker, binding, ("r2", json!({ "r2": key })), &from);
        }
        value::rest(sketch, table, &["binding", "bucket_name", "jurisdiction"], &from);
    }
}

fn d1(sketch: &mut Sketch<'_>, view: &View<'_>, node: &Node, from: &From) {
    let mut known = BTreeMap::new();
    for (from, table) in value::tables(sketch, node, from) {
        let Some(binding) = value::needed(sketch, table, "binding", &from) else { continue };
        let (name, id) = (value::text_of(table, "database_name"), value::text_of(table, "database_id"));
        let key = one(&mut known, name.or(id).unwrap_or(binding), value::key(name.unwrap_or(binding)));
        let there = match (name, id) {
            (None, None) => sketch.table("d1", &key, &from).is_some(),
            _ => sketch.existing(("d1", &key), name, &from),
        };
        if let (true, None, Some(id)) = (there, name, id) {
            sketch.ask(&from, format!("write the name of the database {id} into [d1.{key}]: `wrangler d1 list`"));
        }
        if there {
            if let Some(name) = value::text_of(table, "migrations_table") {
                sketch.set(("d1", &key), "migrations_table", name, &from);
            }
            if let Some(folder) = sources::folder(sketch, view, table, "migrations_dir", &from) {
                sketch.set(("d1", &key), "migrations", folder, &from);
            }
            sketch.bind(view.worker, binding, ("d1", json!({ "d1": key })), &from);
        }
        value::rest(sketch, table, &["binding", "database_name", "database_id", "migrations_dir", "migrations_table"], &from);
    }
}

fn dispatch(sketch: &mut Sketch<'_>, view: &View<'_>, node: &Node, from: &From) {
    for (from, table) in value::tables(sketch, node, from) {
        let names = (value::needed(sketch, table, "binding", &from), value::needed(sketch, table, "namespace", &from));
        let (Some(binding), Some(name)) = names else { continue };
        let key = value::key(name);
        if sketch.existing(("dispatch_namespace", &key), Some(name), &from) {
            sketch.bind(view.worker, binding, ("dispatch_namespace", json!({ "dispatch_namespace": key })), &from);
        }
        value::rest(sketch, table, &["binding", "namespace"], &from);
    }
}
