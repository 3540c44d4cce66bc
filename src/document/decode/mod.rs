//! Nodes to written types, with every fault.
//!
//! A [`serde::Deserializer`] over [`Node`]. It skips and reports the keys that a struct does not have (so that all of
//! them are found, with the nearest name), and after a fault in a value the value is dropped and the table is decoded
//! again: a table yields all its faults, and a value of the written type besides.

mod access;
mod error;
mod reader;

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;

use super::fault::Fault;
use super::node::{Node, Value};

use error::Step;
use reader::{Context, Reader};

/// How many values of one table are dropped before decoding gives up.
const MAX_FAULTS: usize = 64;

/// What became of a table.
#[derive(Debug)]
pub struct Decoded<T> {
    /// The value, without what could not be read; `None` where nothing of it could.
    pub value: Option<T>,
    /// Every fault.
    pub faults: Vec<Fault>,
    /// The keys of the table that were dropped in whole or in part: whoever misses one is not to complain again.
    pub dropped: BTreeSet<String>,
}

/// A key that this version does not have, and of which more can be said than that it is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Absent {
    /// The key.
    pub key: &'static str,
    /// Why; empty where another version has it.
    pub reason: &'static str,
}

/// Decodes `node` as a `T`. `later` names keys of which more can be said than that they are unknown.
pub fn decode<T: DeserializeOwned>(node: &Node, later: &[Absent]) -> Decoded<T> {
    let mut node = Cow::Borrowed(node);
    let unknown = RefCell::new(BTreeMap::new());
    let mut faults = BTreeSet::new();
    let mut dropped = BTreeSet::new();
    let value = loop {
        let context = Context { unknown: &unknown, later };
        let Err(error) = T::deserialize(Reader { node: &node, context }) else {
            break T::deserialize(Reader { node: &node, context }).ok();
        };
        let path = error.path.iter().rev().cloned().collect::<Vec<_>>();
        let place = error.place.unwrap_or(node.place);
        faults.insert(Fault {
            place,
            message: error.message,
            label: error.label,
            hint: error.hint,
            related: Vec::new(),
            masked: error.masked,
        });
        if let Some(Step::Key(key)) = path.first() {
            dropped.insert(key.to_string());
        }
        if faults.len() > MAX_FAULTS || !remove(node.to_mut(), &path) {
            break None;
        }
    };
    let mut faults: Vec<Fault> = faults.into_iter().chain(unknown.into_inner().into_values()).collect();
    faults.sort();
    Decoded { value, faults, dropped }
}

/// Takes what stands at `path` out of `node`; `false` where that is `node` itself.
fn remove(node: &mut Node, path: &[Step]) -> bool {
    match (path, &mut node.value) {
        ([Step::Key(key)], Value::Table(table)) => table.remove(key.as_ref()).is_some(),
        ([Step::Index(index)], Value::Array(items)) if *index < items.len() => {
            items.remove(*index);
            true
        }
        ([Step::Key(key), rest @ ..], Value::Table(table)) => {
            table.get_mut(key.as_ref()).is_some_and(|entry| remove(&mut entry.node, rest))
        }
        ([Step::Index(index), rest @ ..], Value::Array(items)) => items.get_mut(*index).is_some_and(|item| remove(item, rest)),
        _ => false,
    }
}
#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::super::node::{FileId, Place};
    use super::super::placed::{Entries, Placed};
    use super::*;
    use crate::model::ResourceName;

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum From {
        Secret(Placed<ResourceName>),
        #[expect(dead_code, reason = "only its name matters here")]
        Credential(Placed<ResourceName>),
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Written {
        name: Option<Placed<String>>,
        flag: Option<bool>,
        token: Option<Placed<From>>,
        list: Option<Vec<Placed<String>>>,
        vars: Option<Entries<Placed<serde_json::Value>>>,
    }

    fn read(text: &str) -> Decoded<Written> {
        let parsed = super::super::parse(text.as_bytes());
        assert_eq!(parsed.faults, []);
        let place = Place { file: FileId(0), start: 0, end: 0 };
        decode(&Node { place, value: Value::Table(parsed.root) }, &[Absent { key: "rollout", reason: "" }])
    }

    #[test]
    fn values_know_their_places() {
        let text = "name = 'x'\ntoken = { secret = 'a' }\nlist = ['p', 'q']\nvars = { A = 1, B = [true, 'x', { c = 1.5 }] }\n";
        let decoded = read(text);
        assert_eq!(decoded.faults, []);
        let value = decoded.value.unwrap();
        let name = value.name.unwrap();
        assert_eq!(&text[name.place.start as usize..name.place.end as usize], "'x'");
        let vars = value.vars.unwrap().0;
        assert_eq!(vars[1].1.value, serde_json::json!([true, "x", { "c": 1.5 }]));
        assert!(matches!(value.token.unwrap().value, From::Secret(name) if name.value.as_str() == "a"));
        assert_eq!(value.list.unwrap().len(), 2);
    }

    #[test]
    fn all_faults_of_a_table_are_found_at_once() {
        let decoded = read(
            "nam = 1\nname = 7\nflag = 'true'\ntoken = { secret = 'A_B' }\nlist = ['p', 3, 4]\nrollout = 1\nvars = { X = inf }\n",
        );
        let messages: Vec<_> = decoded.faults.iter().map(|f| f.message.as_str()).collect();
        for part in
            ["unknown key `nam`", "found an integer", "found text", "`A_B` contains 'A'", "`rollout` is not supported", "finite"]
        {
            assert!(messages.iter().any(|m| m.contains(part)), "{part}: {messages:?}");
        }
        assert_eq!(decoded.faults.len(), 8, "{messages:?}");
        let value = decoded.value.unwrap();
        assert_eq!((value.name, value.flag, value.list.unwrap().len()), (None, None, 1));
        assert!(decoded.dropped.contains("name") && !decoded.dropped.contains("nam"));
    }

    #[test]
    fn an_enum_says_what_it_expects() {
        for text in ["token = { }", "token = { secret = 'a', credential = 'b' }", "token = { secrt = 'a' }", "token = 3"] {
            let decoded = read(text);
            assert!(!decoded.faults.is_empty(), "{text}");
            assert!(decoded.value.unwrap().token.is_none(), "{text}");
        }
        assert!(read("token = { secrt = 'a' }").faults.iter().any(|f| f.hint.as_deref() == Some("did you mean `secret`?")));
    }
}
