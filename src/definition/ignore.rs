//! `ignore = ["field", …]`, which every resource of the platform has besides the keys of its kind.
//!
//! Goes in: a table, from which the key is taken before its kind decodes it. Comes out: dotted paths of properties.

use std::collections::BTreeSet;

use super::fields::fields_of;
use super::reading::Reading;
use crate::document::{Fault, Node, Placed, Value, did_you_mean, shown};
use crate::model::Kind;

/// Takes the key out of a table.
pub(super) fn taken(reading: &mut Reading<'_>, node: &mut Node) -> Vec<Placed<String>> {
    let Value::Table(table) = &mut node.value else { return Vec::new() };
    let Some(entry) = table.remove("ignore") else { return Vec::new() };
    let Value::Array(items) = entry.node.value else {
        let message = format!("expected an array, found {}", entry.node.value.sort());
        reading.fault(Fault::new(entry.node.place, message).hint("such as `ignore = [\"bindings.LOG_LEVEL\"]`"));
        return Vec::new();
    };
    let mut paths = Vec::new();
    for item in items {
        match item.value {
            Value::Text(text) => paths.push(Placed { place: item.place, value: text.to_string() }),
            other => reading.fault(Fault::new(item.place, format!("expected text, found {}", other.sort()))),
        }
    }
    paths
}

/// The paths, each of which must begin with a field that the kind has.
pub(super) fn checked(reading: &mut Reading<'_>, kind: Kind, written: &[Placed<String>]) -> BTreeSet<String> {
    let known = fields(kind);
    let mut paths = BTreeSet::new();
    for Placed { place, value } in written {
        let (field, rest) = value.split_once('.').map_or((value.as_str(), None), |(field, rest)| (field, Some(rest)));
        if !known.contains(field) || rest.is_some_and(str::is_empty) {
            let all = || known.iter().map(|field| format!("`{field}`")).collect::<Vec<_>>().join(", ");
            let hint = did_you_mean(field, known.iter().copied()).unwrap_or_else(|| match known.is_empty() {
                true => format!("a {kind} has none: remove `ignore`"),
                false => format!("write one of {}, as plans name them", all()),
            });
            let message = format!("`{}` is no field of a {kind} that can be left as it is", shown(value));
            reading.fault(Fault::new(*place, message).hint(hint));
        } else if !paths.insert(value.clone()) {
            reading.fault(Fault::new(*place, format!("`{}` stands here twice", shown(value))));
        }
    }
    paths
}

/// The fields of a kind that say neither what a thing is called nor where it lies. The code of a Worker is none: it is uploaded
/// together with everything that is versioned.
fn fields(kind: Kind) -> BTreeSet<&'static str> {
    let shown = fields_of(kind).filter_map(|field| field.shown);
    let first = shown.map(|shown| shown.property.split('.').next().unwrap_or(shown.property));
    first.filter(|field| *field != kind.claim_field() && !matches!(*field, "zone_name" | "jurisdiction" | "type")).collect()
}
