//! Values that are only known once another resource has been applied.
//!
//! Goes in: properties, and a way to ask for attributes. Comes out: properties with what is known filled in.
//!
//! **Invariant:** nothing is guessed: what nobody knows stays [`Value::Pending`].

use std::collections::BTreeMap;

use crate::model::{InstanceKey, Pending, Properties, TargetName, Value};

/// The values not known yet among `properties`.
pub fn pending(properties: &Properties) -> Vec<&Pending> {
    fn walk<'a>(value: &'a Value, found: &mut Vec<&'a Pending>) {
        match value {
            Value::Pending { pending } => found.push(pending),
            Value::List(items) => items.iter().for_each(|item| walk(item, found)),
            Value::Table(table) => table.values().for_each(|value| walk(value, found)),
            Value::Bool(_) | Value::Integer(_) | Value::Text(_) | Value::Content { .. } | Value::Secret { .. } => {}
        }
    }
    let mut found = Vec::new();
    properties.values().for_each(|value| walk(value, &mut found));
    found
}

/// `properties` with every value known: called by the executor just before an order, once everything that the change
/// comes after has been applied. `attributes` answers what the target calls an instance.
///
/// # Errors
/// The first value that is still not known.
pub fn resolve_pending(
    properties: &Properties,
    attributes: &dyn Fn(&InstanceKey) -> Option<BTreeMap<String, String>>,
    target: &TargetName,
) -> Result<Properties, Box<Pending>> {
    let known = resolve(properties, &|wanted| attributes(&wanted.instance(target))?.get(&wanted.attribute).cloned());
    match pending(&known).first() {
        Some(&unknown) => Err(Box::new(unknown.clone())),
        None => Ok(known),
    }
}

/// `properties` with what `known` answers filled in.
pub(super) fn resolve(properties: &Properties, known: &dyn Fn(&Pending) -> Option<String>) -> Properties {
    properties.iter().map(|(key, value)| (key.clone(), resolve_value(value, known))).collect()
}

fn resolve_value(value: &Value, known: &dyn Fn(&Pending) -> Option<String>) -> Value {
    match value {
        Value::Pending { pending } => known(pending).map_or_else(|| value.clone(), |attribute| pending.known(attribute)),
        Value::List(items) => Value::List(items.iter().map(|item| resolve_value(item, known)).collect()),
        Value::Table(table) => Value::Table(resolve(table, known)),
        Value::Bool(_) | Value::Integer(_) | Value::Text(_) | Value::Content { .. } | Value::Secret { .. } => value.clone(),
    }
}
