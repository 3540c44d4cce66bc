//! D1 databases and their migrations.
//!
//! A migration is a file that is applied once: it is sent in one query with the statement that records its name, in the table
//! and in the words of wrangler, so that either client sees what the other applied. What is there is read just before, so
//! that what was applied is never applied again, whatever became of an earlier order. A file that was applied and changed
//! since, or left, is not looked at again, as with wrangler.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::FutureExt;
use http::Method;
use serde_json::{Value as Json, json};

use crate::boundary;
use crate::model::{Kind, Properties, Retry, Value};
use crate::provider::cloudflare::CloudflareProvider;
use crate::provider::cloudflare::client::Payload;
use crate::provider::cloudflare::fault::Fault;
use crate::provider::cloudflare::path::Grammar;
use crate::provider::cloudflare::write::Writer;
use crate::provider::{Order, Outcome, ProviderError};

use super::{
    Failed, Gone, Listed, Made, Seeing, Seen, Shelf, Sort, Thing, jurisdiction, named, picked, text, unchangeable, with_unseen,
};

pub(super) struct D1;

const SHELF: Shelf = Shelf { kind: Kind::D1, path: &["d1", "database"], pages: Some(("uuid", 1000)), thing };

fn thing(object: &Json) -> Option<Thing> {
    let (id, name) = (text(object, "uuid")?, text(object, "name")?);
    Grammar::Id.check(id).ok()?;
    let mut fields = picked(object, &["name"]);
    fields.extend(jurisdiction(object));
    Some(Thing::new(Kind::D1, id, name, fields))
}

/// The table that records what was applied.
fn table(properties: &Properties) -> &str {
    properties.get("migrations_table").and_then(Value::as_text).unwrap_or("d1_migrations")
}

fn migrations(properties: &Properties) -> Option<&Properties> {
    properties.get("migrations").and_then(Value::as_table)
}

/// The number that a file's name begins with, by which migrations are ordered.
fn number(name: &str) -> u64 {
    name.split('_').next().and_then(|digits| digits.parse().ok()).unwrap_or(u64::MAX)
}

/// A text as SQL writes it.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A name as SQL writes it.
fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The texts in the column `name` of what a query answers.
fn names(answer: &Json) -> BTreeSet<String> {
    let rows = answer.as_array().into_iter().flatten().filter_map(|result| result.get("results")?.as_array());
    rows.flatten().filter_map(|row| text(row, "name").map(str::to_owned)).collect()
}

/// The names that are recorded as applied. Nothing is written: where the table is not there yet, there are none.
async fn applied(provider: &CloudflareProvider, id: &str, table: &str) -> Result<BTreeSet<String>, Fault> {
    let path = provider.account.path(&["d1", "database", id, "query"]);
    let query = async |sql: String| {
        let read: Json = provider.client.write(Method::POST, &path, Payload::Json(json!({ "sql": sql })), &[]).await?;
        Ok::<_, Fault>(names(&read))
    };
    let tables = query(format!("SELECT name FROM sqlite_master WHERE type = 'table' AND name = {}", quoted(table))).await?;
    if tables.is_empty() {
        return Ok(BTreeSet::new());
    }
    query(format!("SELECT name FROM {} ORDER BY id", identifier(table))).await
}

/// Applies those migrations of `order` that are not recorded, one query for each, in the order of their numbers.
async fn migrate(writer: &mut Writer<'_>, order: &Order, id: &str) -> Result<(), Failed> {
    let (_, after) = named(order);
    let Some(wanted) = migrations(&after).filter(|wanted| !wanted.is_empty()) else { return Ok(()) };
    let table = table(&after);
    let applied = applied(writer.provider, id, table).await.map_err(|fault| Failed::Outcome(writer.unread(fault)))?;
    let mut pending: Vec<&String> = wanted.keys().filter(|name| !applied.contains(*name)).collect();
    pending.sort_by_key(|name| (number(name), *name));
    if pending.is_empty() {
        return Ok(());
    }
    let path = writer.provider.account.path(&["d1", "database", id, "query"]);
    let table = identifier(table);
    let made = format!(
        "CREATE TABLE IF NOT EXISTS {table}(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE, \
         applied_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL);"
    );
    writer.json(Method::POST, &path, json!({ "sql": made })).await?;
    for name in pending {
        let sql = statements(order, name, wanted)?;
        let sql = format!("{sql}\nINSERT INTO {table} (name) values ({});", quoted(name));
        let answer = writer.json(Method::POST, &path, json!({ "sql": sql })).await.map_err(|mut fault| {
            fault.error.message = format!("migration `{name}`: {}", fault.error.message);
            if fault.error.hint.is_none() {
                fault.error.hint = Some("correct the file; those before it are applied and stay so".to_owned());
            }
            fault
        })?;
        if answer.as_array().into_iter().flatten().any(|result| result.get("success") == Some(&json!(false))) {
            let message = format!("migration `{name}` was sent, and the answer says that a part of it failed");
            return Err(Failed::Outcome(Outcome::Unknown(ProviderError::new(message, Retry::Transient))));
        }
        boundary::reach("after_listed");
    }
    Ok(())
}

/// What a migration says, ended by a semicolon, on a line of its own after a comment.
fn statements(order: &Order, name: &str, wanted: &Properties) -> Result<String, Failed> {
    let content = match wanted.get(name).and_then(Value::as_table).and_then(|table| table.get("content")) {
        Some(Value::Content { content }) => order.contents.get(&content.sha256),
        _ => None,
    };
    let missing = || ProviderError::new(format!("the bytes of migration `{name}` are not in the bundle"), Retry::Stalled);
    let bytes = content.ok_or_else(missing)?;
    let text = std::str::from_utf8(bytes);
    let text = text.map_err(|_| ProviderError::new(format!("migration `{name}` is not text"), Retry::Stalled))?;
    let ended = text.trim_end().ends_with(';');
    Ok(if ended { text.to_owned() } else { format!("{text}\n;") })
}

impl Sort for D1 {
    on_shelf!(SHELF);

    /// "A database with that name already exists."
    fn taken(&self) -> &'static [u64] {
        &[7502]
    }

    fn deep(&self) -> &'static [&'static str] {
        &["migrations", "read_replication"]
    }

    fn unseen(&self) -> &'static [&'static str] {
        &["primary_location_hint", "migrations_table"]
    }

    fn read<'a>(&'a self, provider: &'a CloudflareProvider, mut thing: Thing, wanted: &'a Properties) -> Seeing<'a> {
        async move {
            if wanted.contains_key("read_replication") {
                let path = SHELF.item(provider, &thing.id);
                let object: Json = provider.client.get(&path).await?;
                thing.properties.extend(picked(&object, &["read_replication"]));
            }
            if wanted.contains_key("migrations") {
                let applied = applied(provider, &thing.id, table(wanted)).await?;
                let applied = applied.into_iter().map(|name| (name, Value::Bool(true))).collect();
                thing.properties.insert("migrations".to_owned(), Value::Table(applied));
            }
            Ok(thing)
        }
        .boxed()
    }

    /// What was applied is as wanted, whatever its file says by now.
    fn seen(&self, properties: Properties, seen: &Seen<'_>) -> Properties {
        let mut properties = with_unseen(properties, self.unseen(), seen);
        let applied = migrations(&properties).cloned().unwrap_or_default();
        match migrations(seen.wanted) {
            Some(wanted) => {
                let both = wanted.iter().filter(|(name, _)| applied.contains_key(*name));
                let both: BTreeMap<_, _> = both.map(|(name, value)| (name.clone(), value.clone())).collect();
                properties.insert("migrations".to_owned(), Value::Table(both));
            }
            None => drop(properties.remove("migrations")),
        }
        properties
    }

    fn create<'a>(&'a self, writer: &'a mut Writer<'_>, order: &'a Order) -> Made<'a> {
        async move {
            let (name, after) = named(order);
            let mut body = json!({ "name": name });
            for field in ["primary_location_hint", "jurisdiction"] {
                if let Some(text) = after.get(field).and_then(Value::as_text) {
                    body[field] = json!(text);
                }
            }
            if let Some(mode) = mode(&after) {
                body["read_replication"] = json!({ "mode": mode });
            }
            let made = SHELF.make(writer, name, body).await?;
            boundary::reach("after_listed");
            migrate(writer, order, &made.id).await?;
            Ok(made)
        }
        .boxed()
    }

    fn update<'a>(&'a self, writer: &'a mut Writer<'_>, order: &'a Order, found: &'a Thing) -> Made<'a> {
        async move {
            let (_, after) = named(order);
            unchangeable(found, &after, &["jurisdiction"])?;
            let before = order.change.before.clone().unwrap_or_default();
            if let Some(mode) = mode(&after).filter(|_| before.get("read_replication") != after.get("read_replication")) {
                let path = SHELF.item(writer.provider, &found.id);
                writer.json(Method::PATCH, &path, json!({ "read_replication": { "mode": mode } })).await?;
            }
            migrate(writer, order, &found.id).await?;
            Ok(found.clone())
        }
        .boxed()
    }
}

fn mode(properties: &Properties) -> Option<&str> {
    properties.get("read_replication")?.as_table()?.get("mode")?.as_text()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_as_sql_does_it() {
        assert_eq!(quoted("0001_it's.sql"), "'0001_it''s.sql'");
        assert_eq!(identifier("d1\"x"), "\"d1\"\"x\"");
        assert!(number("0009_a.sql") < number("0010_a.sql") && number("9_a.sql") < number("010_b.sql"));
    }

    #[test]
    fn names_are_read_from_what_a_query_answers() {
        let answer = json!([{ "results": [{ "id": 1, "name": "0001_a.sql" }], "success": true }, { "success": true }]);
        assert_eq!(names(&answer), ["0001_a.sql".to_owned()].into());
        assert_eq!(names(&Json::Null), BTreeSet::new());
    }
}
