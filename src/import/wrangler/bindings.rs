//! What the code sees, where nothing but the binding is said.

use serde_json::json;

use super::super::sketch::{From, Sketch};
use super::{View, value};
use crate::document::{Entry, Table};

/// Carries `key`, if it is one of these.
pub(super) fn carry(sketch: &mut Sketch<'_>, view: &View<'_>, (key, entry): (&str, &Entry), from: &From) -> bool {
    match key {
        "services" => {
            for (from, table) in value::tables(sketch, &entry.node, from) {
                service(sketch, view, table, &from);
            }
        }
        "durable_objects" => {
            let Some(table) = value::table(sketch, &entry.node, from) else { return true };
            value::rest(sketch, table, &["bindings"], from);
            if let Some(list) = table.get("bindings") {
                let from = from.below(list.key, "bindings");
                for (from, table) in value::tables(sketch, &list.node, &from) {
                    durable_object(sketch, view, table, &from);
                }
            }
        }
        "analytics_engine_datasets" => {
            for (from, table) in value::tables(sketch, &entry.node, from) {
                let Some(binding) = value::needed(sketch, table, "binding", &from) else { continue };
                // wrangler calls a data set that has no name as its binding.
                let dataset = value::text_of(table, "dataset").unwrap_or(binding);
                sketch.bind(view.worker, binding, ("analytics_engine", json!({ "analytics_engine": dataset })), &from);
                value::rest(sketch, table, &["binding", "dataset"], &from);
            }
        }
        "ratelimits" => {
            for (from, table) in value::tables(sketch, &entry.node, from) {
                rate_limit(sketch, view, table, &from);
            }
        }
        "version_metadata" | "ai" | "browser" => {
            let Some(table) = value::table(sketch, &entry.node, from) else { return true };
            if let Some(binding) = value::needed(sketch, table, "binding", from) {
                sketch.bind(view.worker, binding, (key, json!({ key: true })), from);
            }
            value::rest(sketch, table, &["binding"], from);
        }
        _ => return false,
    }
    true
}

fn service(sketch: &mut Sketch<'_>, view: &View<'_>, table: &Table, from: &From) {
    let names = (value::needed(sketch, table, "binding", from), value::needed(sketch, table, "service", from));
    let (Some(binding), Some(service)) = names else { return };
    let mut written = serde_json::Map::new();
    // The name at the target: whether this environment defines that Worker too, the file does not say.
    written.insert("script".to_owned(), json!(service));
    if let Some(entrypoint) = value::text_of(table, "entrypoint") {
        written.insert("entrypoint".to_owned(), json!(entrypoint));
    }
    sketch.bind(view.worker, binding, ("script", written.into()), from);
    value::rest(sketch, table, &["binding", "service", "entrypoint"], from);
}

fn durable_object(sketch: &mut Sketch<'_>, view: &View<'_>, table: &Table, from: &From) {
    let names = (value::needed(sketch, table, "name", from), value::needed(sketch, table, "class_name", from));
    let (Some(binding), Some(class)) = names else { return };
    let mut written = serde_json::Map::new();
    written.insert("durable_object".to_owned(), json!(class));
    if let Some(script) = value::text_of(table, "script_name") {
        written.insert("script".to_owned(), json!(script));
    }
    sketch.bind(view.worker, binding, ("durable_object", written.into()), from);
    value::rest(sketch, table, &["name", "class_name", "script_name"], from);
}

fn rate_limit(sketch: &mut Sketch<'_>, view: &View<'_>, table: &Table, from: &From) {
    let names = (value::needed(sketch, table, "name", from), value::needed(sketch, table, "namespace_id", from));
    let (Some(binding), Some(namespace)) = names else { return };
    let Some(simple) = table.get("simple") else { return sketch.leave(from, "it has no `simple`") };
    let Some(simple) = value::table(sketch, &simple.node, from) else { return };
    let number = |key: &str| simple.get(key).map(|entry| value::json(&entry.node));
    let (Some(limit), Some(period)) = (number("limit"), number("period")) else {
        return sketch.leave(from, "`simple` has no `limit` or no `period`");
    };
    let written = json!({ "ratelimit": { "namespace_id": namespace, "limit": limit, "period": period } });
    sketch.bind(view.worker, binding, ("ratelimit", written), from);
    value::rest(sketch, table, &["name", "namespace_id", "simple"], from);
}
