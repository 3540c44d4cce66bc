//! Routes and custom domains.

use serde_json::{Value as Json, json};

use super::super::sketch::{From, Sketch};
use super::{View, value};
use crate::document::{Node, Table, Value};

/// Carries `route` or `routes`.
pub(super) fn carry(sketch: &mut Sketch<'_>, view: &View<'_>, node: &Node, from: &From) {
    let one = [node.clone()];
    let items = match &node.value {
        Value::Array(items) => items.as_slice(),
        _ => &one,
    };
    let mut routes: Vec<Json> = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let from = if items.as_ptr() == one.as_ptr() { from.clone() } else { from.item(item.place, index) };
        match &item.value {
            Value::Text(pattern) => routes.extend(route(sketch, pattern, None, &from)),
            Value::Table(table) => routes.extend(written(sketch, view, table, &from)),
            other => sketch.leave(&from, format!("expected text or a table, found {}", other.sort())),
        }
    }
    if !routes.is_empty() {
        sketch.set(("worker", view.worker), "routes", routes, from);
    }
}

fn written(sketch: &mut Sketch<'_>, view: &View<'_>, table: &Table, from: &From) -> Option<Json> {
    let pattern = value::needed(sketch, table, "pattern", from)?;
    value::rest(sketch, table, &["pattern", "zone_name", "zone_id", "custom_domain"], from);
    let zone = value::text_of(table, "zone_name");
    if !matches!(table.get("custom_domain").map(|entry| &entry.node.value), Some(Value::Bool(true))) {
        return route(sketch, pattern, zone, from);
    }
    let key = value::key(pattern);
    if !sketch.claim("domain", pattern, from) {
        return None;
    }
    if sketch.set(("domain", &key), "hostname", pattern, from) {
        let zone = zone.map_or_else(|| guessed(sketch, pattern, from), str::to_owned);
        sketch.set(("domain", &key), "zone_name", zone, from);
        sketch.set(("domain", &key), "worker", view.worker, from);
        sketch.set(("domain", &key), "adopt", true, from);
    }
    None
}

fn route(sketch: &mut Sketch<'_>, pattern: &str, zone: Option<&str>, from: &From) -> Option<Json> {
    let zone = zone.map_or_else(|| guessed(sketch, pattern, from), str::to_owned);
    if !zone.contains('.') {
        sketch.leave(from, "no zone can be read from the pattern: write the route with its `zone_name`");
        return None;
    }
    sketch.claim("route", pattern, from).then(|| json!({ "pattern": pattern, "zone_name": zone }))
}

/// wrangler asks the account which zone a host lies in; from the file alone it can only be guessed.
fn guessed(sketch: &mut Sketch<'_>, pattern: &str, from: &From) -> String {
    let rest = pattern.split_once("://").map_or(pattern, |(_, rest)| rest);
    let host = rest.split('/').next().unwrap_or_default().trim_start_matches(['*', '.']);
    let labels: Vec<&str> = host.split('.').collect();
    let zone = labels[labels.len().saturating_sub(2)..].join(".");
    if zone.contains('.') {
        sketch.ask(
            from,
            format!("the zone is not in the file: `{}` is a guess from the host's name", crate::document::shown(&zone)),
        );
    }
    zone
}
