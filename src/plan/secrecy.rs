//! What people see in place of a secret's mark.
//!
//! Goes in: the two sides of a change. Comes out: the two sides with a word for each secret: that it is there, that it
//! changed, that it cannot be compared.
//!
//! **Invariant:** no mark comes out, in full or in part: from a mark and a stolen key a weak secret could be guessed.

use std::collections::BTreeSet;

use crate::model::{Properties, SecretMark, Value};

/// Both sides, each secret put by `show`, which is given one of `present`, `changed`, `set again` and
/// `not comparable`.
pub(super) fn masked(before: &Properties, after: &Properties, show: &dyn Fn(&'static str) -> Value) -> (Properties, Properties) {
    let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let mut sides = (Properties::new(), Properties::new());
    for key in keys {
        let (before, after) = masked_pair(before.get(key), after.get(key), show);
        sides.0.extend(before.map(|value| (key.clone(), value)));
        sides.1.extend(after.map(|value| (key.clone(), value)));
    }
    sides
}

/// The same for one value.
pub(super) fn masked_pair(
    before: Option<&Value>,
    after: Option<&Value>,
    show: &dyn Fn(&'static str) -> Value,
) -> (Option<Value>, Option<Value>) {
    match (before, after) {
        (Some(Value::Secret { mark: before }), Some(Value::Secret { mark: after })) => {
            let (before, after) = words(before, after);
            (Some(show(before)), Some(show(after)))
        }
        (Some(Value::Table(before)), Some(Value::Table(after))) => {
            let (before, after) = masked(before, after, show);
            (Some(Value::Table(before)), Some(Value::Table(after)))
        }
        (before, after) => (before.map(|value| alone(value, show)), after.map(|value| alone(value, show))),
    }
}

fn words(before: &SecretMark, after: &SecretMark) -> (&'static str, &'static str) {
    match (before, after) {
        (_, SecretMark::Unknown) => ("not comparable", "not comparable"),
        (SecretMark::Unknown, SecretMark::Hmac(_)) => ("not comparable", "set again"),
        (SecretMark::Hmac(before), SecretMark::Hmac(after)) if before == after => ("present", "present"),
        (SecretMark::Hmac(_), SecretMark::Hmac(_)) => ("present", "changed"),
    }
}

fn alone(value: &Value, show: &dyn Fn(&'static str) -> Value) -> Value {
    match value {
        Value::Secret { .. } => show("present"),
        Value::List(items) => Value::List(items.iter().map(|item| alone(item, show)).collect()),
        Value::Table(table) => Value::Table(table.iter().map(|(key, value)| (key.clone(), alone(value, show))).collect()),
        Value::Bool(_) | Value::Integer(_) | Value::Text(_) | Value::Content { .. } | Value::Pending { .. } => value.clone(),
    }
}
