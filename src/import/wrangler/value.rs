//! Values of the file, taken as what they should be.

use serde_json::{Map, Number};

pub(super) use super::super::key::key;
use super::super::sketch::{From, Sketch};
use crate::document::{Entry, Node, Table, Value};

pub(super) fn text(node: &Node) -> Option<&str> {
    match &node.value {
        Value::Text(text) => Some(text),
        _ => None,
    }
}

/// The text of `key`, where it is one.
pub(super) fn text_of<'a>(table: &'a Table, key: &str) -> Option<&'a str> {
    text(&table.get(key)?.node)
}

/// The value as it is.
pub(super) fn json(node: &Node) -> serde_json::Value {
    match &node.value {
        Value::Bool(value) => (*value).into(),
        Value::Integer(number) => (*number).into(),
        Value::Float(number) => Number::from_f64(*number).map_or(serde_json::Value::Null, Into::into),
        Value::Text(text) | Value::Datetime(text) => (&**text).into(),
        Value::Array(items) => items.iter().map(json).collect(),
        Value::Table(table) => {
            table.iter().map(|(key, entry)| (key.to_string(), json(&entry.node))).collect::<Map<_, _>>().into()
        }
    }
}

/// The table; what is none is told.
pub(super) fn table<'a>(sketch: &mut Sketch<'_>, node: &'a Node, from: &From) -> Option<&'a Table> {
    match &node.value {
        Value::Table(table) => Some(table),
        other => {
            sketch.leave(from, format!("expected a table, found {}", other.sort()));
            None
        }
    }
}

/// The tables of a list, each with its place; what is none is told.
pub(super) fn tables<'a>(sketch: &mut Sketch<'_>, node: &'a Node, from: &From) -> Vec<(From, &'a Table)> {
    let Value::Array(items) = &node.value else {
        sketch.leave(from, format!("expected an array, found {}", node.value.sort()));
        return Vec::new();
    };
    let mut found = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let from = from.item(item.place, index);
        if let Some(table) = table(sketch, item, &from) {
            found.push((from, table));
        }
    }
    found
}

/// A text that must be there; its absence is told.
pub(super) fn needed<'a>(sketch: &mut Sketch<'_>, table: &'a Table, key: &str, from: &From) -> Option<&'a str> {
    let found = text_of(table, key);
    if found.is_none() {
        sketch.leave(from, format!("it has no `{key}`"));
    }
    found
}

/// What of a table is not among `known`: told one by one.
pub(super) fn rest(sketch: &mut Sketch<'_>, table: &Table, known: &[&str], from: &From) {
    let unknown = |(key, _): &(&std::sync::Arc<str>, &Entry)| !known.contains(&&***key);
    for (key, entry) in table.iter().filter(unknown) {
        let reason = match &**key {
            "preview_id" | "preview_bucket_name" | "preview_database_id" | "remote" | "local" | "localConnectionString" => {
                "it is for `wrangler dev` only"
            }
            "environment" => "environments of services are gone from the platform: name the Worker itself",
            _ => "trunkline has nothing for it",
        };
        sketch.leave(&from.below(entry.key, key), reason);
    }
}
