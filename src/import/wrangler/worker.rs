//! What says how a Worker is made and run.

use serde_json::{Value as Json, json};

use super::super::sketch::{From, Sketch};
use super::{View, sources, value};
use crate::document::{Entry, Value};

/// Carries `key`, if it is one of these.
pub(super) fn carry(sketch: &mut Sketch<'_>, view: &View<'_>, (key, entry): (&str, &Entry), from: &From) -> bool {
    let worker = ("worker", view.worker);
    match key {
        "name" => {}
        "main" => main(sketch, view, entry, from),
        "compatibility_date" | "compatibility_flags" | "logpush" | "workers_dev" => {
            let wanted = match key {
                "compatibility_date" => matches!(entry.node.value, Value::Text(_) | Value::Datetime(_)),
                "compatibility_flags" => matches!(entry.node.value, Value::Array(_)),
                _ => matches!(entry.node.value, Value::Bool(_)),
            };
            if wanted {
                sketch.set(worker, key, value::json(&entry.node), from);
            } else {
                sketch.leave(from, format!("wrangler does not take {} here", entry.node.value.sort()));
            }
        }
        "preview_urls" => sketch.leave(from, "addresses of previews are not managed"),
        "vars" => vars(sketch, view, entry, from),
        "triggers" => {
            if let Some(table) = value::table(sketch, &entry.node, from) {
                value::rest(sketch, table, &["crons"], from);
                if let Some(crons) = table.get("crons") {
                    sketch.set(worker, "triggers", json!({ "crons": value::json(&crons.node) }), from);
                }
            }
        }
        "placement" => narrowed(sketch, view, key, entry, (&["mode", "region", "host", "hostname"], from)),
        "limits" => narrowed(sketch, view, key, entry, (&["cpu_ms"], from)),
        "observability" => narrowed(sketch, view, key, entry, (&["enabled", "head_sampling_rate"], from)),
        "assets" => assets(sketch, view, entry, from),
        "migrations" => {
            sketch.set(worker, key, value::json(&entry.node), from);
        }
        "tail_consumers" => {
            let mut consumers = Vec::new();
            for (from, table) in value::tables(sketch, &entry.node, from) {
                if let Some(service) = value::needed(sketch, table, "service", &from) {
                    consumers.push(json!({ "script": service }));
                    value::rest(sketch, table, &["service"], &from);
                }
            }
            sketch.set(worker, key, consumers, from);
        }
        // How wrangler makes the modules: it does so itself, in the build.
        _ if sources::IN_THE_BUILD.contains(&key) => {}
        _ => return false,
    }
    true
}

/// The Worker itself: without `main` there is none.
fn main(sketch: &mut Sketch<'_>, view: &View<'_>, entry: &Entry, from: &From) {
    let worker = ("worker", view.worker);
    let Some(main) = value::text(&entry.node) else {
        return sketch.leave(from, format!("expected text, found {}", entry.node.value.sort()));
    };
    sources::carry(sketch, view, main, from);
    let name = match (view.name, view.text("name")) {
        (_, Some(name)) => name.to_owned(),
        (Some(environment), None) => format!("{}-{environment}", top_name(view)),
        (None, None) => top_name(view),
    };
    if is_name(&name) {
        sketch.set(worker, "name", name, from);
        sketch.set(worker, "adopt", true, from);
    } else {
        // wrangler 4 refuses it as well; one of those that are there may still be called so.
        let from = view.get("name").map_or_else(|| from.clone(), |entry| view.from("name", entry));
        sketch.ask(&from, format!("`{}` cannot be the name of a Worker: it is called anew here", crate::document::shown(&name)));
    }
    // As wrangler has it: on its own name unless it has routes.
    let has_routes = view.get("routes").is_some() || view.get("route").is_some();
    if view.get("workers_dev").is_none() && !has_routes {
        sketch.set(worker, "workers_dev", true, from);
    }
}

/// The name at the top of the file; the view of a named environment does not inherit it.
fn top_name(view: &View<'_>) -> String {
    view.top_name.map_or_else(|| view.worker.to_owned(), str::to_owned)
}

/// Whether the platform takes it as the name of a Worker.
fn is_name(name: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let bytes = name.as_bytes();
    let good = bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'));
    good && bytes.len() <= 63 && edge(bytes.first()) && edge(bytes.last())
}

fn vars(sketch: &mut Sketch<'_>, view: &View<'_>, entry: &Entry, from: &From) {
    let Some(table) = value::table(sketch, &entry.node, from) else { return };
    let Some(worker) = sketch.table("worker", view.worker, from) else { return };
    worker.vars.extend(table.iter().map(|(name, entry)| (name.to_string(), value::json(&entry.node))));
    for (name, entry) in table {
        let upper = name.to_ascii_uppercase();
        let secret = ["SECRET", "TOKEN", "PASSWORD", "PRIVATE_KEY", "API_KEY"].iter().any(|word| upper.contains(word));
        if secret && matches!(entry.node.value, Value::Text(_)) {
            let reason = "its name says that it is a secret: `trunkline secrets set`, and a binding in the place of the var";
            sketch.ask(&from.below(entry.key, name), reason);
        }
    }
}

/// A table of which these keys are carried as they are.
fn narrowed(sketch: &mut Sketch<'_>, view: &View<'_>, key: &str, entry: &Entry, (known, from): (&[&str], &From)) {
    let Some(table) = value::table(sketch, &entry.node, from) else { return };
    value::rest(sketch, table, known, from);
    let kept = table.iter().filter(|(key, _)| known.contains(&&***key));
    let kept: serde_json::Map<String, Json> = kept.map(|(key, entry)| (key.to_string(), value::json(&entry.node))).collect();
    if !kept.is_empty() {
        sketch.set(("worker", view.worker), key, kept, from);
    }
}

fn assets(sketch: &mut Sketch<'_>, view: &View<'_>, entry: &Entry, from: &From) {
    let Some(table) = value::table(sketch, &entry.node, from) else { return };
    let known = ["directory", "binding", "html_handling", "not_found_handling", "run_worker_first"];
    value::rest(sketch, table, &known, from);
    if value::needed(sketch, table, "directory", from).is_none() {
        return;
    }
    let Some(directory) = sources::folder(sketch, view, table, "directory", from) else { return };
    let mut kept = serde_json::Map::from_iter([("directory".to_owned(), directory.into())]);
    for key in &known[2..] {
        let Some(entry) = table.get(*key) else { continue };
        if matches!(entry.node.value, Value::Array(_)) {
            sketch.leave(&from.below(entry.key, key), "patterns cannot be said: `true` asks the code before every file");
        } else {
            kept.insert((*key).to_owned(), value::json(&entry.node));
        }
    }
    let carried = sketch.set(("worker", view.worker), "assets", kept, from);
    if let (true, Some(binding)) = (carried, value::text_of(table, "binding")) {
        sketch.bind(view.worker, binding, ("assets", json!({ "assets": true })), from);
    }
}
