//! What the definitions refuse is left out before anything is written.
//!
//! Goes in: what was made. Comes out: the same without what has a fault, each told with the fault itself. What refers to
//! something that is left out is found by the next look.

use std::collections::BTreeSet;

use super::super::DefinitionFile;
use super::{Making, texts};
use crate::definition::{Cache, resolve};
use crate::document::{Value, parse};
use crate::model::{Diagnostic, EnvironmentId, MemoryTree, Severity};

/// Keys without which a table is nothing.
const ESSENTIAL: [&str; 5] = ["name", "title", "adopt", "main", "modules"];

/// Something that is left out.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Refused {
    kind: String,
    key: String,
    /// The key within the table, and the one within that.
    field: Option<(String, Option<String>)>,
}

/// Leaves out what has a fault, until nothing has.
pub(super) fn settle(making: &mut Making<'_>, targets: &DefinitionFile) {
    let environment = EnvironmentId::of_default(making.account.environment.clone());
    // Each look leaves something out, or is the last.
    loop {
        let texts = texts(making);
        let mut tree = MemoryTree::default();
        tree.insert(&targets.path, &targets.text);
        for (path, text) in &texts {
            tree.insert(path, text);
        }
        for source in making.sources.values().flatten() {
            tree.insert(&source.path, &source.content);
        }
        let Ok(resolution) = resolve(&tree, &environment, &mut Cache::default()) else { return };
        let faults = resolution.diagnostics.iter().filter(|fault| fault.severity == Severity::Error);
        let refused: Vec<(Refused, &Diagnostic)> =
            faults.filter_map(|fault| Some((place(texts.get(&fault.path)?, fault.start.unwrap_or_default())?, fault))).collect();
        let mut done = BTreeSet::new();
        for (refused, fault) in refused {
            let reason = match &fault.hint {
                Some(hint) => format!("{}; {hint}", fault.message),
                None => fault.message.clone(),
            };
            if let Some(left_out) = leave_out(making, &refused)
                && done.insert(left_out)
            {
                making.leave(&what(&refused), reason);
            }
        }
        if done.is_empty() {
            return;
        }
    }
}

/// How a person finds it.
fn what(Refused { kind, key, field }: &Refused) -> String {
    match field {
        Some((field, Some(item))) => format!("{kind}.{key}: {field}.{item}"),
        Some((field, None)) => format!("{kind}.{key}: {field}"),
        None => format!("{kind}.{key}"),
    }
}

/// What was left out, if it was still there.
fn leave_out(making: &mut Making<'_>, refused: &Refused) -> Option<String> {
    let Refused { kind, key, field } = refused;
    let (address, _) = making.tables.get_key_value(&(static_of(kind)?, key.clone()))?;
    let address = address.clone();
    let table = making.tables.get_mut(&address)?;
    let told = format!("{kind}.{key}");
    match field {
        Some((field, Some(item))) if field == "vars" => table.vars.remove(item).map(|_| format!("{told}.{item}")),
        Some((field, Some(item))) if field == "bindings" => table.bindings.remove(item).map(|_| format!("{told}.{item}")),
        Some((field, _)) if !ESSENTIAL.contains(&field.as_str()) => table.keys.remove(field).map(|_| format!("{told}.{field}")),
        _ => {
            making.tables.remove(&address);
            if kind == "worker" {
                making.sources.remove(key);
            }
            Some(told)
        }
    }
}

fn static_of(kind: &str) -> Option<&'static str> {
    crate::model::Kind::ALL.into_iter().map(crate::model::Kind::as_str).find(|known| *known == kind)
}

/// What of a file stands at `offset`.
fn place(text: &str, offset: usize) -> Option<Refused> {
    let root = parse(text.as_bytes()).root;
    let mut best: Option<(usize, Refused)> = None;
    let mut note = |at: u32, kind: &str, key: &str, field: Option<(String, Option<String>)>| {
        let at = at as usize;
        if at <= offset && best.as_ref().is_none_or(|(other, _)| at >= *other) {
            best = Some((at, Refused { kind: kind.to_owned(), key: key.to_owned(), field }));
        }
    };
    for (kind, section) in &root {
        let Value::Table(tables) = &section.node.value else { continue };
        for (key, table) in tables {
            note(table.key.start, kind, key, None);
            let Value::Table(fields) = &table.node.value else { continue };
            for (field, entry) in fields {
                note(entry.key.start, kind, key, Some((field.to_string(), None)));
                let (true, Value::Table(items)) = (matches!(&**field, "vars" | "bindings"), &entry.node.value) else { continue };
                for (item, entry) in items {
                    note(entry.key.start, kind, key, Some((field.to_string(), Some(item.to_string()))));
                }
            }
        }
    }
    best.map(|(_, refused)| refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_found_where_it_stands() {
        let text = "# head\n[worker.a]\nname = \"a\"\nroutes = [{ pattern = \"x\" }]\n\n[worker.a.bindings]\nB = { kv = \"b\" }\n\n[kv.b]\ntitle = \"b\"\n";
        let at = |needle: &str| {
            let Refused { kind, key, field } = place(text, text.find(needle).unwrap()).unwrap();
            (kind, key, field.map(|(field, item)| format!("{field}.{}", item.unwrap_or_default())).unwrap_or_default())
        };
        let found = |kind: &str, key: &str, field: &str| (kind.to_owned(), key.to_owned(), field.to_owned());
        assert_eq!(at("a]\n"), found("worker", "a", ""));
        assert_eq!(at("\"x\""), found("worker", "a", "routes."));
        assert_eq!(at("\"b\" }"), found("worker", "a", "bindings.B"));
        assert_eq!(at("b]\n"), found("kv", "b", ""));
        assert_eq!(at("title"), found("kv", "b", "title."));
    }
}
