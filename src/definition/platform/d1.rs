//! `[d1.<name>]`: a D1 database, with the migrations that make its tables.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{JURISDICTIONS, LOCATIONS, PlatformToml, Writing, names};
use crate::definition::limit;
use crate::definition::reading::Reading;
use crate::definition::selector::OnToml;
use crate::document::{Fault, Placed, shown};
use crate::model::{Kind, PlatformSpec, Properties, ResourceName, TreeError, Value};

/// A D1 database.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "D1")]
pub(in crate::definition) struct D1Toml {
    /// Where it lives; every target that takes databases unless said otherwise.
    on: Option<Placed<OnToml>>,
    /// Its name at the target; its key, `-` and the environment's name unless said otherwise. It cannot be changed.
    name: Option<Placed<String>>,
    /// Where its primary is to be, a hint: `wnam`, `enam`, `weur`, `eeur`, `apac`, `oc`. Read at creation only.
    location: Option<Placed<String>>,
    /// Where its data must stay: `eu` or `fedramp`. It cannot be changed.
    jurisdiction: Option<Placed<String>>,
    /// Copies of it near those who read: `auto` or `disabled`.
    read_replication: Option<Placed<String>>,
    /// A folder of `NNNN_name.sql` files, each of which is applied once, in the order of their numbers. Names are recorded in
    /// the database as wrangler does it. A file that was applied is not looked at again.
    migrations: Option<Placed<String>>,
    /// The table in which they are recorded; `d1_migrations` unless said otherwise.
    migrations_table: Option<Placed<String>>,
    /// Take over a database of this name that is there and not ours.
    adopt: Option<bool>,
    /// Its former key, when it was renamed.
    moved: Option<Placed<ResourceName>>,
}

impl PlatformToml for D1Toml {
    heads!(name);

    fn claim(&self, reading: &mut Reading<'_>, default: Placed<String>) -> Option<String> {
        let written = self.name.clone().unwrap_or(default);
        reading.check(written.place, names::name(&written.value, "database", (64, true)))
    }
    fn spec(&self, writing: &mut Writing<'_, '_, '_>) -> Result<Option<PlatformSpec>, TreeError> {
        let location = writing.word("primary_location_hint", self.location.as_ref(), &LOCATIONS);
        let jurisdiction = writing.word("jurisdiction", self.jurisdiction.as_ref(), &JURISDICTIONS);
        let mode = writing.word("read_replication", self.read_replication.as_ref(), &["auto", "disabled"]);
        let table = writing.text("migrations_table", self.migrations_table.as_ref(), names::identifier);
        let migrations = match &self.migrations {
            Some(folder) => migrations(writing, folder)?,
            None => {
                let place = self.migrations_table.as_ref().map(|table| table.place);
                writing.unfit(place, "`migrations_table` belongs to `migrations`", "add the folder, or remove this");
                None
            }
        };
        Ok(writing.finish(
            Kind::D1,
            [
                ("primary_location_hint", location),
                ("jurisdiction", jurisdiction),
                ("read_replication", mode.map(|mode| Value::table([("mode", mode)]))),
                ("migrations", migrations),
                ("migrations_table", table),
            ],
        ))
    }
}

/// The number of a migration by its file's name: `0001_init.sql`.
fn number(name: &str) -> Option<u64> {
    let (digits, rest) = name.strip_suffix(".sql")?.split_once('_')?;
    let word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    let sound = digits.bytes().all(|b| b.is_ascii_digit()) && rest.bytes().all(word) && !rest.is_empty() && name.len() <= 200;
    digits.parse().ok().filter(|_| sound)
}

/// The migrations in a folder, by name.
fn migrations(writing: &mut Writing<'_, '_, '_>, folder: &Placed<String>) -> Result<Option<Value>, TreeError> {
    let Some(path) = writing.reading.path(folder) else { return Ok(None) };
    let Some(entries) = writing.reading.list(&path)? else {
        let message = format!("there is no folder `{}`", shown(&folder.value));
        writing
            .reading
            .fault(Fault::new(folder.place, message).hint("add it with its `NNNN_name.sql` files, or correct the path"));
        return Ok(None);
    };
    let mut found = Properties::new();
    let mut numbers: BTreeMap<u64, String> = BTreeMap::new();
    for (name, _) in entries.into_iter().filter(|(name, _)| name.ends_with(".sql")) {
        let Some(number) = number(&name) else {
            let message = format!("`{}` is not the name of a migration", shown(&name));
            let hint = "names begin with a number and `_`, such as `0001_init.sql`";
            writing.reading.fault(Fault::new(folder.place, message).hint(hint));
            continue;
        };
        if let Some(first) = numbers.insert(number, name.clone()) {
            let message = format!("`{}` and `{}` have the same number", shown(&first), shown(&name));
            writing
                .reading
                .fault(Fault::new(folder.place, message).hint("their order would be anybody's guess: number them anew"));
        }
        let file = format!("{path}/{name}");
        let Some((bytes, content)) = writing.reading.blob(&file, limit::MIGRATION, folder.place)? else { continue };
        if std::str::from_utf8(&bytes).is_err() {
            let message = format!("the migration `{}` is not UTF-8 text", shown(&name));
            writing.reading.fault(Fault::new(folder.place, message).hint("save it as UTF-8"));
            continue;
        }
        writing.tracing.whole_file(&format!("migrations.{name}"), &file);
        writing.contents.insert(content.sha256, bytes);
        found.insert(name, Value::table([("content", content.into())]));
    }
    if numbers.is_empty() && !writing.reading.is_partial() {
        let message = format!("the folder `{}` holds no migration", shown(&folder.value));
        writing.reading.fault(Fault::new(folder.place, message).hint("migrations are files such as `0001_init.sql`"));
        return Ok(None);
    }
    writing.trace("migrations", Some(folder.place));
    Ok(Some(Value::Table(found)))
}
