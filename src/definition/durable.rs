//! Durable Objects: migrations, and declared exports.
//!
//! Goes in: the tables as they are written. Comes out: steps and exports in the words of the API.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Deserialize;

use super::reading::Reading;
use super::scalar;
use super::scope::required;
use super::written::WorkerToml;
use crate::document::{Entries, Fault, Placed, did_you_mean, shown};
use crate::model::{Migration, Properties, Value};

/// One step in the life of a Worker's classes of Durable Objects.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Migration")]
pub(super) struct MigrationToml {
    /// Its name; never changed once it was applied.
    #[schemars(required)]
    tag: Option<Placed<String>>,
    /// Classes that begin, stored in SQLite.
    new_sqlite_classes: Option<Vec<Placed<String>>>,
    /// Classes that begin, stored in the older key-value form.
    new_classes: Option<Vec<Placed<String>>>,
    /// Classes that end; their data is destroyed.
    deleted_classes: Option<Vec<Placed<String>>>,
    /// Classes that get another name.
    renamed_classes: Option<Vec<RenamedToml>>,
    /// Classes that come from another Worker.
    transferred_classes: Option<Vec<TransferredToml>>,
}

/// A class that gets another name.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "RenamedClass")]
pub(super) struct RenamedToml {
    /// What it was called.
    from: Placed<String>,
    /// What it is called from then on.
    to: Placed<String>,
}

/// A class that comes from another Worker.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "TransferredClass")]
pub(super) struct TransferredToml {
    /// What it is called there.
    from: Placed<String>,
    /// The Worker that has it, by its name at the target.
    from_script: Placed<String>,
    /// What it is called here.
    to: Placed<String>,
}

/// One declared export of a Worker.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Export")]
pub(super) struct ExportToml {
    /// `durable-object`, or `worker` for an entry point.
    #[serde(rename = "type")]
    #[schemars(required)]
    sort: Option<Placed<String>>,
    /// How a live class is stored: `sqlite`, or `legacy-kv` for one that is so already.
    storage: Option<Placed<String>>,
    /// `created` (the default), `deleted` (its data is destroyed), `renamed`, `transferred` or `expecting-transfer`.
    state: Option<Placed<String>>,
    /// With `renamed`: what it is called from then on.
    renamed_to: Option<Placed<String>>,
    /// With `transferred`: the Worker that gets it, by its name at the target.
    transferred_to: Option<Placed<String>>,
    /// With `expecting-transfer`: the Worker that has it, by its name at the target.
    transfer_from: Option<Placed<String>>,
}

/// The migrations of a Worker, oldest first.
pub(super) fn migrations(reading: &mut Reading<'_>, written: &WorkerToml) -> Vec<Migration> {
    let mut tags = BTreeSet::new();
    let none = BTreeSet::new();
    let mut found = Vec::new();
    for step in written.migrations.iter().flatten() {
        let tag = required(reading, (step.place, &none), "tag", step.value.tag.clone(), "such as `tag = \"v1\"`");
        let Some(tag) = tag else { continue };
        if tag.value.is_empty() || tag.value.len() > 64 || !tag.value.bytes().all(|b| b.is_ascii_graphic()) {
            let message = format!("`{}` is no name for a migration", shown(&tag.value));
            reading.fault(Fault::new(tag.place, message).hint("such as `v1`"));
            continue;
        }
        if !tags.insert(tag.value.clone()) {
            reading.fault(Fault::new(tag.place, format!("the migration `{}` stands here twice", shown(&tag.value))));
            continue;
        }
        found.push(Migration { tag: tag.value, steps: steps(reading, &step.value) });
    }
    found
}

fn steps(reading: &mut Reading<'_>, written: &MigrationToml) -> Properties {
    let MigrationToml { tag: _, new_sqlite_classes, new_classes, deleted_classes, renamed_classes, transferred_classes } =
        written;
    let mut steps = Properties::new();
    for (field, classes) in
        [("new_sqlite_classes", new_sqlite_classes), ("new_classes", new_classes), ("deleted_classes", deleted_classes)]
    {
        let classes: Vec<Value> = classes.iter().flatten().filter_map(|written| class(reading, written)).collect();
        if !classes.is_empty() {
            steps.insert(field.to_owned(), Value::List(classes));
        }
    }
    let renamed: Vec<Value> = renamed_classes
        .iter()
        .flatten()
        .filter_map(|RenamedToml { from, to }| Some(table([("from", class(reading, from)?), ("to", class(reading, to)?)])))
        .collect();
    let transferred: Vec<Value> = transferred_classes
        .iter()
        .flatten()
        .filter_map(|TransferredToml { from, from_script, to }| {
            let script = reading.check(from_script.place, scalar::script_name(&from_script.value))?;
            let (from, to) = (class(reading, from)?, class(reading, to)?);
            Some(table([("from", from), ("from_script", Value::text(script)), ("to", to)]))
        })
        .collect();
    for (field, items) in [("renamed_classes", renamed), ("transferred_classes", transferred)] {
        if !items.is_empty() {
            steps.insert(field.to_owned(), Value::List(items));
        }
    }
    steps
}

fn table<const N: usize>(fields: [(&str, Value); N]) -> Value {
    Value::Table(fields.into_iter().map(|(field, value)| (field.to_owned(), value)).collect())
}

fn class(reading: &mut Reading<'_>, written: &Placed<String>) -> Option<Value> {
    reading.check(written.place, scalar::binding_name(&written.value)).map(|()| Value::text(&written.value))
}

/// The declared exports of a Worker, by name.
pub(super) fn exports(reading: &mut Reading<'_>, written: &WorkerToml) -> Properties {
    const SORTS: [&str; 2] = ["durable-object", "worker"];
    const STORAGES: [&str; 2] = ["sqlite", "legacy-kv"];
    const STATES: [&str; 5] = ["created", "deleted", "renamed", "transferred", "expecting-transfer"];
    let mut found = Properties::new();
    let mut first = None;
    for (name, export) in written.exports.iter().flat_map(|Entries(exports)| exports) {
        first.get_or_insert(name.place);
        let name = class(reading, name).map(|_| name.value.clone());
        let ExportToml { sort, storage, state, renamed_to, transferred_to, transfer_from } = &export.value;
        let hint = "write `type = \"durable-object\"`, or `\"worker\"`";
        required(reading, (export.place, &BTreeSet::new()), "type", sort.as_ref(), hint);
        let mut fields = Properties::new();
        for (field, written, words) in
            [("type", sort, &SORTS[..]), ("storage", storage, &STORAGES[..]), ("state", state, &STATES[..])]
        {
            let Some(written) = written else { continue };
            if words.contains(&written.value.as_str()) {
                fields.insert(field.to_owned(), Value::text(&written.value));
                continue;
            }
            let known = || format!("write one of {}", words.iter().map(|w| format!("`{w}`")).collect::<Vec<_>>().join(", "));
            let hint = did_you_mean(&written.value, words.iter().copied()).unwrap_or_else(known);
            reading.fault(Fault::new(written.place, format!("`{}` is not known here", shown(&written.value))).hint(hint));
        }
        // What is live is what the API leaves out.
        if fields.get("state") == Some(&Value::text("created")) {
            fields.remove("state");
        }
        for (field, written) in [("renamed_to", renamed_to), ("transferred_to", transferred_to), ("transfer_from", transfer_from)]
        {
            fields.extend(written.as_ref().map(|written| (field.to_owned(), Value::text(&written.value))));
        }
        found.extend(name.map(|name| (name, Value::Table(fields))));
    }
    if let (Some(place), Some(migration)) = (first, written.migrations.iter().flatten().next()) {
        reading.fault(
            Fault::new(place, "`exports` and `migrations` cannot both say what becomes of Durable Objects")
                .related(migration.place, "the migrations")
                .hint("keep one of them"),
        );
    }
    found
}
