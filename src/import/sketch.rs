//! Definitions of one environment in the making: tables with their keys, and what was left out.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Remark;
use super::vocabulary::Vocabulary;
use crate::document::{Lines, Place, shown};

/// Where something stands in the imported file: the place and the dotted key.
#[derive(Clone)]
pub(super) struct From {
    pub(super) place: Place,
    pub(super) key: String,
}

impl From {
    /// A key below.
    pub(super) fn below(&self, place: Place, key: &str) -> Self {
        Self { place, key: format!("{}.{}", self.key, shown(key)) }
    }

    /// An item of the list.
    pub(super) fn item(&self, place: Place, index: usize) -> Self {
        Self { place, key: format!("{}[{index}]", self.key) }
    }
}

/// A table of definitions.
#[derive(Debug, Clone, Default)]
pub(super) struct TableSketch {
    /// Lines above it.
    pub(super) comments: Vec<String>,
    pub(super) keys: BTreeMap<String, Value>,
    pub(super) vars: BTreeMap<String, Value>,
    pub(super) bindings: BTreeMap<String, Value>,
}

/// What belongs to which environment: account, kind and name.
pub(super) type Claims = BTreeMap<(String, &'static str, String), String>;

/// Tables by kind and name.
pub(super) type Tables = BTreeMap<(&'static str, String), TableSketch>;

/// Tables, and remarks.
pub(super) struct Sketch<'a> {
    shown: &'a str,
    lines: &'a Lines,
    words: &'a Vocabulary,
    /// The environment and its account.
    owner: (String, String),
    pub(super) claims: Claims,
    pub(super) tables: Tables,
    pub(super) left: Vec<Remark>,
    pub(super) fill_in: Vec<Remark>,
}

impl<'a> Sketch<'a> {
    pub(super) fn new(
        shown: &'a str,
        (lines, words): (&'a Lines, &'a Vocabulary),
        owner: (String, String),
        claims: Claims,
    ) -> Self {
        Self { shown, lines, words, owner, claims, tables: BTreeMap::new(), left: Vec::new(), fill_in: Vec::new() }
    }

    fn remark(&self, from: &From, reason: String) -> Remark {
        let line = self.lines.line(from.place.start as usize);
        Remark { path: self.shown.to_owned(), line, key: from.key.clone(), reason }
    }

    /// Not carried, and why.
    pub(super) fn leave(&mut self, from: &From, reason: impl Into<String>) {
        let remark = self.remark(from, reason.into());
        self.left.push(remark);
    }

    /// Carried, but a person has to look at it.
    pub(super) fn ask(&mut self, from: &From, reason: impl Into<String>) {
        let remark = self.remark(from, reason.into());
        self.fill_in.push(remark);
    }

    /// The table, where this version has its kind; its absence is told at `from`.
    pub(super) fn table(&mut self, kind: &'static str, name: &str, from: &From) -> Option<&mut TableSketch> {
        if !self.words.has_kind(kind) {
            self.leave(from, format!("this version's definitions have no kind `{kind}`"));
            return None;
        }
        Some(self.tables.entry((kind, name.to_owned())).or_default())
    }

    /// Sets a key of a table, where this version has both.
    pub(super) fn set(&mut self, (kind, name): (&'static str, &str), key: &str, value: impl Into<Value>, from: &From) -> bool {
        if self.words.has_kind(kind) && !self.words.has_key(kind, key) {
            self.leave(from, format!("this version's `{kind}` has no key `{key}`"));
            return false;
        }
        let value = value.into();
        match self.table(kind, name, from) {
            Some(table) => {
                table.keys.insert(key.to_owned(), value);
                true
            }
            None => false,
        }
    }

    /// Lets the code of a Worker see something, where this version has the sort of binding.
    pub(super) fn bind(&mut self, worker: &str, name: &str, (sort, value): (&str, Value), from: &From) {
        if !self.words.has_binding(sort) {
            return self.leave(from, format!("this version has no binding `{sort}`"));
        }
        if let Some(table) = self.table("worker", worker, from) {
            table.bindings.insert(name.to_owned(), value);
        }
    }

    /// Whether it may belong to this environment: what an earlier one of the same account has is left to that one.
    pub(super) fn claim(&mut self, kind: &'static str, name: &str, from: &From) -> bool {
        let (environment, account) = &self.owner;
        let owner = self.claims.entry((account.clone(), kind, name.to_owned())).or_insert_with(|| environment.clone());
        if owner == environment {
            return true;
        }
        let reason = format!("`{}` belongs to the environment {owner}: two environments cannot have one {kind}", shown(name));
        self.leave(from, reason);
        false
    }

    /// Something that exists, under the name that it has.
    pub(super) fn existing(&mut self, (kind, key): (&'static str, &str), name: Option<&str>, from: &From) -> bool {
        if name.is_some_and(|name| !self.claim(kind, name, from)) {
            return false;
        }
        if self.table(kind, key, from).is_none() {
            return false;
        }
        if let Some(name) = name {
            self.set((kind, key), if kind == "kv" { "title" } else { "name" }, name, from);
        }
        self.set((kind, key), "adopt", true, from)
    }
}
