//! Layers: the files of an environment on top of the bases that it extends.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::limit;
use super::reading::Reading;
use super::written::{ENVIRONMENT_KEYS, LATER_KEYS};
use crate::document::{Entry, Fault, Node, Place, Placed, Table, Value, decode, did_you_mean, merge, shown};
use crate::model::{Diagnostic, EntryMode, TreeError};

/// What a layer and its bases say together; the keys `extends` and `remove` are gone from it.
#[derive(Default)]
pub(super) struct Layers {
    /// By path: a base that several layers extend is read once.
    merged: BTreeMap<String, Table>,
    /// The bases that are being read, outermost first.
    open: Vec<String>,
}

impl Layers {
    /// The environment whose files stand at `path`, a folder, or a file without its `.toml`.
    pub(super) fn environment(&mut self, reading: &mut Reading<'_>, path: &str) -> Result<Option<Table>, TreeError> {
        self.layer(reading, path, true)
    }

    fn layer(&mut self, reading: &mut Reading<'_>, path: &str, is_environment: bool) -> Result<Option<Table>, TreeError> {
        if let Some(table) = self.merged.get(path) {
            return Ok(Some(table.clone()));
        }
        let Some(mut own) = files(reading, path)? else { return Ok(None) };
        let (extends, remove) = take_section_lists(reading, &mut own, is_environment);
        self.open.push(path.to_owned());
        let mut below = Table::new();
        for base in &extends {
            if let Some(table) = self.base(reading, base)? {
                below = merge(below, table);
            }
        }
        self.open.pop();
        for removed in &remove {
            remove_from(reading, &mut below, removed);
        }
        let table = merge(below, own);
        self.merged.insert(path.to_owned(), table.clone());
        Ok(Some(table))
    }

    fn base(&mut self, reading: &mut Reading<'_>, written: &Placed<String>) -> Result<Option<Table>, TreeError> {
        let Some(path) = reading.path(written) else { return Ok(None) };
        let path = path.strip_suffix(".toml").unwrap_or(&path).to_owned();
        if let Some(at) = self.open.iter().position(|open| *open == path) {
            let cycle: Vec<&str> = self.open[at..].iter().map(String::as_str).chain([path.as_str()]).collect();
            let message = format!("these bases extend each other: {}", shown(&cycle.join(" -> ")));
            reading.fault(Fault::new(written.place, message).hint("remove one of the `extends`"));
            return Ok(None);
        }
        if self.open.len() > limit::BASE_DEPTH {
            let message = format!("bases extend bases more than {} deep", limit::BASE_DEPTH);
            reading.fault(Fault::new(written.place, message));
            return Ok(None);
        }
        let table = self.layer(reading, &path, false)?;
        if table.is_none() && !reading.is_partial() {
            let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
            let beside = reading.list(&folder)?.unwrap_or_default();
            let names: Vec<String> = beside
                .iter()
                .map(|(name, _)| {
                    let full = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
                    full.strip_prefix(reading.root()).unwrap_or(&full).to_owned()
                })
                .collect();
            let hint = did_you_mean(&written.value, names.iter().map(String::as_str))
                .unwrap_or_else(|| "a base is a folder with `.toml` files, or one file".to_owned());
            reading.fault(Fault::new(written.place, format!("there is no base `{}`", shown(&written.value))).hint(hint));
        }
        Ok(table)
    }
}

/// All files of one layer as one table.
fn files(reading: &mut Reading<'_>, path: &str) -> Result<Option<Table>, TreeError> {
    let single = format!("{path}.toml");
    let Some(entries) = reading.list(path)? else {
        let Some((_, table)) = reading.document(&single)? else { return Ok(None) };
        let mut whole = Table::new();
        join(reading, &mut whole, table);
        return Ok(Some(whole));
    };
    if reading.document(&single)?.is_some() {
        let message = format!("both the folder `{}` and this file define one thing", shown(path));
        reading.push(Diagnostic::error(single, None, message).hint("move the file into the folder"));
    }
    let mut whole = Table::new();
    let mut count = 0;
    for (name, entry) in entries {
        if name.ends_with(".toml") && entry.mode != EntryMode::Folder {
            count += 1;
            if let Some((_, table)) = reading.document(&format!("{path}/{name}"))? {
                join(reading, &mut whole, table);
            }
        }
    }
    if count == 0 {
        let message = "the folder holds no `.toml` file";
        reading.push(Diagnostic::error(path, None, message).hint("an environment ends by `retire = true`, not by empty files"));
    }
    Ok(Some(whole))
}

/// Puts the tables of one file into those of its layer. What stands in two files is a fault.
fn join(reading: &mut Reading<'_>, whole: &mut Table, file: Table) {
    for (kind, entry) in file {
        if !known_kind(reading, &kind, &entry) {
            continue;
        }
        let Value::Table(names) = entry.node.value else {
            let found = entry.node.value.sort();
            let example = if &*kind == "environment" { "[environment]".to_owned() } else { format!("[{kind}.name]") };
            reading.fault(
                Fault::new(entry.node.place, format!("expected a table, found {found}")).hint(format!("write `{example}`")),
            );
            continue;
        };
        let empty = || Entry { key: entry.key, node: Node { place: entry.node.place, value: Value::Table(Table::new()) } };
        let section = whole.entry(Arc::clone(&kind)).or_insert_with(empty);
        if let Value::Table(section) = &mut section.node.value {
            join_section(reading, &kind, section, names);
        }
    }
}

fn join_section(reading: &mut Reading<'_>, kind: &str, section: &mut Table, names: Table) {
    for (name, entry) in names {
        let clash = match section.get(&name) {
            None => None,
            // The tables of `[environment]`, such as `sync`, may be spread over files key by key.
            Some(first) if kind == "environment" => match (&first.node.value, &entry.node.value) {
                (Value::Table(first), Value::Table(second)) => {
                    first.iter().find_map(|(key, first)| second.get(key).map(|second| (first.key, second.key)))
                }
                _ => Some((first.key, entry.key)),
            },
            Some(first) => Some((first.key, entry.key)),
        };
        if let Some((first, second)) = clash {
            reading.fault(
                Fault::new(second, format!("`{}` is defined twice", shown(&format!("{kind}.{name}"))))
                    .label("again here")
                    .related(first, "first here")
                    .hint("rename one of them, or remove it"),
            );
            continue;
        }
        match section.get_mut(&name) {
            Some(Entry { node: Node { value: Value::Table(first), .. }, .. }) => {
                if let Value::Table(second) = entry.node.value {
                    first.extend(second);
                }
            }
            _ => {
                section.insert(name, entry);
            }
        }
    }
}

fn known_kind(reading: &mut Reading<'_>, kind: &str, entry: &Entry) -> bool {
    if ENVIRONMENT_KEYS.contains(&kind) {
        return true;
    }
    let fault = if kind == "host" {
        Fault::new(entry.key, "hosts are shared by environments and declared above them")
            .hint("move this table to `fleet/<name>.toml`")
    } else if LATER_KEYS.iter().any(|later| later.key == kind) {
        Fault::new(entry.key, format!("`{kind}` is not supported by this version"))
            .hint("remove it, or use a version of trunkline that has it")
    } else {
        let list = ENVIRONMENT_KEYS.map(|key| format!("`{key}`")).join(", ");
        Fault::new(entry.key, format!("unknown kind `{}`", shown(kind)))
            .hint(did_you_mean(kind, ENVIRONMENT_KEYS).unwrap_or_else(|| format!("the kinds are {list}")))
    };
    reading.fault(fault);
    false
}

/// Takes `extends` and `remove` out of `[environment]`: they belong to their layer alone.
fn take_section_lists(
    reading: &mut Reading<'_>,
    own: &mut Table,
    is_environment: bool,
) -> (Vec<Placed<String>>, Vec<Placed<String>>) {
    let Some(Entry { node: Node { value: Value::Table(section), .. }, .. }) = own.get_mut("environment") else {
        return Default::default();
    };
    if !is_environment && let Some(retire) = section.remove("retire") {
        let message = "`retire` ends an environment and cannot stand in a base";
        reading.fault(Fault::new(retire.key, message).hint("move it to the environment that ends"));
    }
    let mut texts = |key: &str| {
        let Some(entry) = section.remove(key) else { return Vec::new() };
        let decoded = decode::<Vec<Placed<String>>>(&entry.node, &[]);
        decoded.faults.into_iter().for_each(|fault| reading.fault(fault));
        decoded.value.unwrap_or_default()
    };
    (texts("extends"), texts("remove"))
}

fn remove_from(reading: &mut Reading<'_>, below: &mut Table, removed: &Placed<String>) {
    let Some((kind, name)) = removed.value.split_once('.') else {
        let message = format!("`{}` does not name a table", shown(&removed.value));
        reading.fault(Fault::new(removed.place, message).hint("write `kind.name`, such as `kv.scratch`"));
        return;
    };
    if let Some(Entry { node: Node { value: Value::Table(names), .. }, .. }) = below.get_mut(kind)
        && names.remove(name).is_some()
    {
        return;
    }
    if reading.is_partial() {
        return;
    }
    let brought: Vec<String> = below
        .iter()
        .filter_map(|(kind, entry)| match &entry.node.value {
            Value::Table(names) => Some(names.keys().map(move |name| format!("{kind}.{name}"))),
            _ => None,
        })
        .flatten()
        .collect();
    let hint = did_you_mean(&removed.value, brought.iter().map(String::as_str))
        .unwrap_or_else(|| "`remove` drops what a base brings; remove this entry".to_owned());
    reading.fault(Fault::new(removed.place, format!("no base brings `{}`", shown(&removed.value))).hint(hint));
}

/// The tables of one kind with the places of their keys.
pub(super) fn tables(whole: &Table, kind: &str) -> Vec<(String, Place, Node)> {
    match whole.get(kind).map(|entry| &entry.node.value) {
        Some(Value::Table(names)) => {
            names.iter().map(|(name, entry)| (name.to_string(), entry.key, entry.node.clone())).collect()
        }
        _ => Vec::new(),
    }
}
