//! Three-way comparison: desired, observed, last applied.
//!
//! Goes in: properties. Comes out: what of the observed is ours, what is foreign, and the differences field by field.
//! The three ways become two: [`ours`] takes from the observed everything that is neither desired nor was applied by
//! us, and [`differences`] compares the rest with the desired.
//!
//! **Invariant:** an item that was never ours is no difference, and nothing here removes it; a secret that cannot be
//! compared is no difference by itself.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Kind, Properties, SecretMark, Value};

/// One field that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The keys from the outside in, such as `bindings`, `LOG_LEVEL`, `text`.
    pub path: Vec<String>,
    /// What is there; `None` where nothing is.
    pub before: Option<Value>,
    /// What is to be there; `None` where nothing is to be.
    pub after: Option<Value>,
}

impl Difference {
    /// The path as a dotted TOML key, parts that are no bare keys quoted: `modules."index.js".content`.
    pub fn field(&self) -> String {
        dotted(&self.path)
    }
}

/// A dotted TOML key.
pub(super) fn dotted(path: &[String]) -> String {
    path.iter().map(|part| super::toml::key(part)).collect::<Vec<_>>().join(".")
}

/// The fields in which two sides differ, in the order of their keys. A table that one side lacks altogether counts as
/// empty, so that each of its items is a difference of its own.
pub fn differences(before: &Properties, after: &Properties) -> Vec<Difference> {
    let mut found = Vec::new();
    let empty = Value::Table(Properties::new());
    let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for key in keys {
        let path = vec![key.clone()];
        match (before.get(key), after.get(key)) {
            (None, Some(after @ Value::Table(_))) => compare(path, Some(&empty), Some(after), &mut found),
            (Some(before @ Value::Table(_)), None) => compare(path, Some(before), Some(&empty), &mut found),
            (before, after) => compare(path, before, after, &mut found),
        }
    }
    found
}

fn compare(path: Vec<String>, before: Option<&Value>, after: Option<&Value>, found: &mut Vec<Difference>) {
    match (before, after) {
        (Some(Value::Table(before)), Some(Value::Table(after))) => {
            let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
            for key in keys {
                let path = path.iter().cloned().chain([key.clone()]).collect();
                compare(path, before.get(key), after.get(key), found);
            }
        }
        (Some(before), Some(after)) if same(before, after) => {}
        (None, None) => {}
        (before, after) => found.push(Difference { path, before: before.cloned(), after: after.cloned() }),
    }
}

/// Whether what is there is what is to be there.
fn same(before: &Value, after: &Value) -> bool {
    match (before, after) {
        // No identity here: nothing can be said about the value, and nothing is to be done about it.
        (Value::Secret { .. }, Value::Secret { mark: SecretMark::Unknown }) => true,
        // Somebody else may have written the live value: it must be set again.
        (Value::Secret { mark: SecretMark::Unknown }, Value::Secret { .. }) => false,
        // Whatever it will be, it is not what is there.
        (_, Value::Pending { .. }) => false,
        (Value::List(before), Value::List(after)) => {
            before.len() == after.len() && before.iter().zip(after).all(|(before, after)| same(before, after))
        }
        (Value::Table(before), Value::Table(after)) => {
            before.len() == after.len() && before.iter().zip(after).all(|((b, before), (a, after))| b == a && same(before, after))
        }
        (before, after) => before == after,
    }
}

/// The observed, divided.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ours {
    /// What is desired, or was applied by us.
    pub properties: Properties,
    /// The rest of the items of tables that others may add to, by table.
    pub foreign: BTreeMap<String, BTreeSet<String>>,
}

/// Divides the observed into what is ours and what is foreign.
pub(super) fn ours(kind: Kind, observed: &Properties, desired: &Properties, last: &Properties) -> Ours {
    let mut result = Ours::default();
    for (name, value) in observed {
        if kind.is_left_alone(name) && !desired.contains_key(name) {
            continue;
        }
        if kind.is_whole(name) {
            result.properties.insert(name.clone(), value.clone());
            continue;
        }
        if let Value::Table(items) = value {
            let known = [desired, last].map(|side| side.get(name).and_then(Value::as_table));
            let foreign: BTreeSet<String> =
                items.keys().filter(|item| !known.iter().flatten().any(|side| side.contains_key(*item))).cloned().collect();
            if !foreign.is_empty() {
                result.foreign.insert(name.clone(), foreign);
            }
        }
        if let Some(value) = restrict(value, desired.get(name), last.get(name)) {
            result.properties.insert(name.clone(), value);
        }
    }
    result
}

/// What of `observed` is desired or was applied.
fn restrict(observed: &Value, desired: Option<&Value>, last: Option<&Value>) -> Option<Value> {
    if desired.is_none() && last.is_none() {
        return None;
    }
    let is_table = |side: Option<&Value>| side.and_then(Value::as_table).is_some();
    let Value::Table(items) = observed else { return Some(observed.clone()) };
    if !is_table(desired) && !is_table(last) {
        return Some(observed.clone());
    }
    let kept = items
        .iter()
        .filter_map(|(item, value)| Some((item.clone(), restrict(value, item_of(desired, item), item_of(last, item))?)))
        .collect();
    Some(Value::Table(kept))
}

fn item_of<'a>(side: Option<&'a Value>, item: &str) -> Option<&'a Value> {
    side?.as_table()?.get(item)
}
