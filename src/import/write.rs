//! Sketches as TOML, in the order in which a person would write them.

use serde_json::Value;
use toml_edit::{Array, DocumentMut, InlineTable, Item, Table, value};

use super::sketch::{TableSketch, Tables};

/// The order of the keys that a reader looks for first; the rest follows by name.
const FIRST: [&str; 12] = [
    "name",
    "title",
    "adopt",
    "main",
    "modules",
    "build",
    "compatibility_date",
    "compatibility_flags",
    "hostname",
    "zone_name",
    "routes",
    "triggers",
];

/// The same for inline tables.
const FIRST_INLINE: [&str; 8] = ["pattern", "wrangler", "script", "queue", "worker", "durable_object", "tag", "directory"];

/// The definitions of one environment, below the lines of `head`.
pub(super) fn definitions(tables: &Tables, head: &[String]) -> String {
    let mut document = DocumentMut::new();
    let workers = tables.iter().filter(|((kind, _), _)| *kind == "worker");
    let others = tables.iter().filter(|((kind, _), _)| *kind != "worker");
    for ((kind, name), sketched) in workers.chain(others) {
        let section = document.entry(kind).or_insert_with(implicit);
        if let Some(section) = section.as_table_mut() {
            section.insert(name, Item::Table(table(sketched)));
        }
    }
    let head: String = head.iter().map(|line| format!("# {line}\n")).collect();
    format!("{head}{}", document.to_string().trim_start_matches(' '))
}

fn implicit() -> Item {
    let mut table = Table::new();
    table.set_implicit(true);
    Item::Table(table)
}

fn table(sketched: &TableSketch) -> Table {
    let mut table = Table::new();
    let comments: String = sketched.comments.iter().map(|line| format!("# {line}\n")).collect();
    table.decor_mut().set_prefix(format!("\n{comments}"));
    let rank = |key: &str| FIRST.iter().position(|first| *first == key).unwrap_or(FIRST.len());
    let mut keys: Vec<(&String, &Value)> = sketched.keys.iter().collect();
    keys.sort_by_key(|(key, _)| (rank(key), *key));
    for (key, written) in keys {
        table.insert(key, value(toml(written)));
    }
    for (key, entries) in [("vars", &sketched.vars), ("bindings", &sketched.bindings)] {
        if entries.is_empty() {
            continue;
        }
        let mut below = Table::new();
        for (name, written) in entries {
            below.insert(name, value(toml(written)));
        }
        table.insert(key, Item::Table(below));
    }
    table
}

/// TOML has no null; none of ours has one.
fn toml(written: &Value) -> toml_edit::Value {
    match written {
        Value::Null => "".into(),
        Value::Bool(value) => (*value).into(),
        Value::String(text) => text.as_str().into(),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => whole.into(),
            (None, other) => other.unwrap_or_default().into(),
        },
        Value::Array(items) => items.iter().map(toml).collect::<Array>().into(),
        Value::Object(entries) => {
            let mut table = InlineTable::new();
            let rank = |key: &str| FIRST_INLINE.iter().position(|first| *first == key).unwrap_or(FIRST_INLINE.len());
            let mut entries: Vec<(&String, &Value)> = entries.iter().collect();
            entries.sort_by_key(|(key, _)| (rank(key), *key));
            table.extend(entries.into_iter().map(|(key, entry)| (key.clone(), toml(entry))));
            table.into()
        }
    }
}
