//! Fields that a definition says to leave as they are.
//!
//! Goes in: the two sides that a thing is compared by, and what is there. Comes out: the same sides, on which what is ignored
//! is what is there.
//!
//! **Invariant:** an ignored field never differs, so that it is neither drift nor changed by an apply. An ignored item of a
//! set is as if it were somebody else's: the executor keeps it. A field that is not there is not put there.

use std::collections::BTreeSet;

use crate::model::{Kind, Properties, Value};

/// Leaves the fields at `paths` as `observed` has them, in what is desired and in what was applied last.
pub(super) fn leave(
    kind: Kind,
    paths: &BTreeSet<String>,
    observed: &Properties,
    (desired, last): (&mut Properties, &mut Properties),
) {
    for path in paths {
        let (field, rest) = path.split_once('.').map_or((path.as_str(), None), |(field, rest)| (field, Some(rest)));
        if kind.is_set(field) {
            for side in [&mut *desired, &mut *last] {
                give_up(side, field, rest);
            }
            continue;
        }
        let there = find(observed, path).cloned();
        for side in [&mut *desired, &mut *last] {
            put(side, path, there.as_ref());
        }
    }
}

/// Takes an item of a set, or all of them, out of a side.
fn give_up(side: &mut Properties, field: &str, item: Option<&str>) {
    let Some(Value::Table(items)) = side.get_mut(field) else { return };
    match item {
        None => items.clear(),
        Some(item) if items.contains_key(item) => drop(items.remove(item)),
        // A part of an item: it is written as a whole, and so left as a whole.
        Some(path) => items.retain(|name, _| !path.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with('.'))),
    }
}

/// The value at a dotted path; a key may itself have dots.
fn find<'a>(table: &'a Properties, path: &str) -> Option<&'a Value> {
    table.get(path).or_else(|| {
        let below = |(at, _): (usize, _)| find(table.get(&path[..at])?.as_table()?, &path[at + 1..]);
        path.match_indices('.').find_map(below)
    })
}

/// Puts `value` at a dotted path, or takes away what is there. A table that would hold nothing else is not made.
fn put(table: &mut Properties, path: &str, value: Option<&Value>) {
    if let Some((first, rest)) = path.split_once('.')
        && !table.contains_key(path)
    {
        if let Some(Value::Table(inner)) = table.get_mut(first) {
            put(inner, rest, value);
        }
        return;
    }
    match value {
        Some(value) => drop(table.insert(path.to_owned(), value.clone())),
        None => drop(table.remove(path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(json: &str) -> Properties {
        serde_json::from_str(json).unwrap()
    }

    fn left(kind: Kind, paths: &[&str], observed: &str, desired: &str) -> Properties {
        let (mut desired, mut last) = (table(desired), Properties::new());
        let paths = paths.iter().map(|path| (*path).to_owned()).collect();
        leave(kind, &paths, &table(observed), (&mut desired, &mut last));
        desired
    }

    #[test]
    fn a_field_is_what_is_there_and_what_is_not_there_is_not_put_there() {
        let observed = r#"{"title":"theirs","settings":{"delay":5}}"#;
        let desired = r#"{"title":"ours","settings":{"delay":1,"paused":true},"gone":true}"#;
        let both = left(Kind::Queue, &["settings.delay", "gone"], observed, desired);
        assert_eq!(both, table(r#"{"title":"ours","settings":{"delay":5,"paused":true}}"#));
        assert_eq!(left(Kind::Queue, &["settings"], observed, desired)["settings"], table(observed)["settings"]);
        // What the definition never said is not made ours, but for what is named itself.
        assert_eq!(left(Kind::Queue, &["settings.delay"], observed, "{}"), Properties::new());
    }

    #[test]
    fn an_item_of_a_set_is_nobodys_of_ours() {
        let observed = r#"{"bindings":{"A":{"text":"theirs"},"B":{"text":"b"}},"crons":{"0 3 * * *":true}}"#;
        let desired = r#"{"bindings":{"A":{"text":"ours"},"B":{"text":"b"}},"crons":{"0 4 * * *":true}}"#;
        let both = left(Kind::Worker, &["bindings.A.text", "crons"], observed, desired);
        assert_eq!(both, table(r#"{"bindings":{"B":{"text":"b"}},"crons":{}}"#));
        let routes = r#"{"routes":{"api.example.com/*":{"zone_name":"example.com"}}}"#;
        assert_eq!(left(Kind::Worker, &["routes.api.example.com/*"], "{}", routes), table(r#"{"routes":{}}"#));
    }
}
