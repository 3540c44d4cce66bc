//! Which object is which file: one SQLite database for all buckets. Keys are in the order of their bytes.
//!
//! **Invariant:** what a call changes, it changes in one transaction, and says which files nobody names any more.

use std::collections::BTreeSet;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde::Deserialize;

use super::super::super::EdgeError;
use super::super::open_database;
use super::{Condition, Object, R2Error};

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS object (
  bucket TEXT NOT NULL, key TEXT NOT NULL, blob TEXT NOT NULL, version TEXT NOT NULL, size INTEGER NOT NULL,
  etag TEXT NOT NULL, uploaded INTEGER NOT NULL, http TEXT NOT NULL, custom TEXT NOT NULL, checksums TEXT NOT NULL,
  storage_class TEXT NOT NULL,
  PRIMARY KEY (bucket, key)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS upload (
  id TEXT PRIMARY KEY, bucket TEXT NOT NULL, key TEXT NOT NULL, http TEXT NOT NULL, custom TEXT NOT NULL,
  storage_class TEXT NOT NULL, started INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS part (
  upload TEXT NOT NULL, number INTEGER NOT NULL, blob TEXT NOT NULL, size INTEGER NOT NULL, md5 TEXT NOT NULL,
  PRIMARY KEY (upload, number)
) STRICT, WITHOUT ROWID;
";

const COLUMNS: &str = "key, version, size, etag, uploaded, http, custom, checksums, storage_class, blob";

/// Keys of one page.
const PAGE: usize = 1000;

/// The index.
pub(super) struct Index(pub(super) Connection);

/// Which keys are asked for.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(in crate::edge) struct ListQuery {
    pub(in crate::edge) limit: Option<usize>,
    pub(in crate::edge) prefix: Option<String>,
    pub(in crate::edge) cursor: Option<String>,
    pub(in crate::edge) delimiter: Option<String>,
    pub(in crate::edge) start_after: Option<String>,
}

/// A page of keys.
#[derive(Debug, Default)]
pub(in crate::edge) struct Listing {
    pub(in crate::edge) objects: Vec<Object>,
    /// What keys have in common up to the delimiter.
    pub(in crate::edge) prefixes: Vec<String>,
    /// Where the next page begins; `None` on the last.
    pub(in crate::edge) cursor: Option<String>,
}

impl Index {
    /// Opens the database.
    pub(super) fn open(path: &Path) -> Result<Self, EdgeError> {
        open_database(path, SCHEMA).map(Self)
    }

    /// The files that are named.
    pub(super) fn blobs(&self) -> rusqlite::Result<BTreeSet<String>> {
        let mut statement = self.0.prepare("SELECT blob FROM object UNION ALL SELECT blob FROM part")?;
        statement.query_map([], |row| row.get(0))?.collect()
    }

    /// Puts an object if its condition holds.
    pub(super) fn put(
        &mut self,
        bucket: &str,
        object: &Object,
        blob: &str,
        condition: Option<&Condition>,
    ) -> Result<Vec<String>, R2Error> {
        let transaction = self.0.transaction()?;
        let before = find(&transaction, bucket, &object.key)?;
        if let Some(condition) = condition {
            condition.judge(before.as_ref().map(|(object, _)| object))?;
        }
        insert(&transaction, bucket, object, blob)?;
        transaction.commit()?;
        Ok(before.into_iter().map(|(_, blob)| blob).collect())
    }

    /// An object and its file.
    pub(super) fn get(&self, bucket: &str, key: &str) -> Result<(Object, String), R2Error> {
        find(&self.0, bucket, key)?.ok_or(R2Error::NoSuchKey)
    }

    /// Deletes objects.
    pub(super) fn delete(&mut self, bucket: &str, keys: &[String]) -> Result<Vec<String>, R2Error> {
        let transaction = self.0.transaction()?;
        let mut freed = Vec::new();
        for key in keys {
            let mut statement = transaction.prepare_cached("DELETE FROM object WHERE bucket = ?1 AND key = ?2 RETURNING blob")?;
            freed.extend(statement.query_row([bucket, key], |row| row.get(0)).optional()?);
        }
        transaction.commit()?;
        Ok(freed)
    }

    /// Forgets a bucket, its multipart uploads included.
    pub(super) fn forget(&mut self, bucket: &str) -> Result<Vec<String>, R2Error> {
        let transaction = self.0.transaction()?;
        let mut freed: Vec<String> = Vec::new();
        for statement in [
            "DELETE FROM part WHERE upload IN (SELECT id FROM upload WHERE bucket = ?1) RETURNING blob",
            "DELETE FROM object WHERE bucket = ?1 RETURNING blob",
        ] {
            let mut statement = transaction.prepare(statement)?;
            let rows = statement.query_map([bucket], |row| row.get(0))?;
            freed.extend(rows.collect::<rusqlite::Result<Vec<String>>>()?);
        }
        transaction.execute("DELETE FROM upload WHERE bucket = ?1", [bucket])?;
        transaction.commit()?;
        Ok(freed)
    }

    /// A page of keys: those behind a delimiter are gathered under what they have in common.
    pub(super) fn list(&self, bucket: &str, query: &ListQuery) -> Result<Listing, R2Error> {
        let limit = query.limit.unwrap_or(PAGE);
        if !(1..=PAGE).contains(&limit) {
            return Err(R2Error::InvalidMaxKeys);
        }
        let prefix = query.prefix.as_deref().unwrap_or_default();
        let delimiter = query.delimiter.as_deref().filter(|delimiter| !delimiter.is_empty());
        let mut position = match query.cursor.as_deref().filter(|cursor| !cursor.is_empty()) {
            Some(cursor) => Position::of_cursor(cursor)?,
            None => Position::After(query.start_after.clone().unwrap_or_default()),
        };
        let mut listing = Listing::default();
        loop {
            let Some((object, _)) = self.next(bucket, prefix, &position)? else { return Ok(listing) };
            if listing.objects.len() + listing.prefixes.len() >= limit {
                listing.cursor = Some(position.cursor());
                return Ok(listing);
            }
            let rest = &object.key[prefix.len()..];
            match delimiter.and_then(|delimiter| rest.find(delimiter).map(|at| at + delimiter.len())) {
                Some(end) => {
                    let common = object.key[..prefix.len() + end].to_owned();
                    position = Position::Beyond(common.clone());
                    listing.prefixes.push(common);
                }
                None => {
                    position = Position::After(object.key.clone());
                    listing.objects.push(object);
                }
            }
        }
    }

    fn next(&self, bucket: &str, prefix: &str, position: &Position) -> rusqlite::Result<Option<(Object, String)>> {
        let (operator, from) = match position {
            Position::After(key) => (">", Some(key.clone())),
            Position::Beyond(common) => (">=", successor(common)),
        };
        // Nothing comes after the last text.
        let Some(from) = from else { return Ok(None) };
        // From the prefix on, or from the position if that is further.
        let (operator, from) = if from.as_str() < prefix { (">=", prefix) } else { (operator, from.as_str()) };
        let mut statement = self.0.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM object WHERE bucket = ?1 AND key {operator} ?2 ORDER BY key LIMIT 1"
        ))?;
        let found = statement.query_row([bucket, from], of_row).optional()?;
        Ok(found.filter(|(object, _)| object.key.starts_with(prefix)))
    }
}

/// How far a listing has come.
enum Position {
    /// Behind this key.
    After(String),
    /// Behind every key that begins so.
    Beyond(String),
}

impl Position {
    fn cursor(&self) -> String {
        let text = match self {
            Self::After(key) => format!("a{key}"),
            Self::Beyond(common) => format!("b{common}"),
        };
        URL_SAFE_NO_PAD.encode(text)
    }

    fn of_cursor(cursor: &str) -> Result<Self, R2Error> {
        let text = URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let text = text.ok_or_else(|| R2Error::Invalid("the cursor is none of this edge".to_owned()))?;
        match (text.strip_prefix('a'), text.strip_prefix('b')) {
            (Some(key), _) => Ok(Self::After(key.to_owned())),
            (_, Some(common)) => Ok(Self::Beyond(common.to_owned())),
            _ => Err(R2Error::Invalid("the cursor is none of this edge".to_owned())),
        }
    }
}

/// The first text behind all that begin so.
fn successor(text: &str) -> Option<String> {
    let mut characters: Vec<char> = text.chars().collect();
    while let Some(last) = characters.pop() {
        // UTF-8 keeps the order of code points; the surrogates in between are no characters.
        let next = (u32::from(last) + 1..=u32::from(char::MAX)).find_map(char::from_u32);
        if let Some(next) = next {
            characters.push(next);
            return Some(characters.into_iter().collect());
        }
    }
    None
}

fn find(connection: &Connection, bucket: &str, key: &str) -> rusqlite::Result<Option<(Object, String)>> {
    let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM object WHERE bucket = ?1 AND key = ?2"))?;
    statement.query_row([bucket, key], of_row).optional()
}

/// Writes an object's row, over the one that was there.
pub(super) fn insert(connection: &Connection, bucket: &str, object: &Object, blob: &str) -> rusqlite::Result<()> {
    let sql = format!("INSERT OR REPLACE INTO object (bucket, {COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)");
    connection
        .prepare_cached(&sql)?
        .execute(params![
            bucket,
            object.key,
            object.version,
            object.size,
            object.etag,
            object.uploaded,
            text(&object.http),
            text(&object.custom),
            text(&object.checksums),
            object.storage_class,
            blob
        ])
        .map(|_| ())
}

/// A value of ours as JSON.
pub(super) fn text(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn of_row(row: &Row<'_>) -> rusqlite::Result<(Object, String)> {
    let json = |at: usize| row.get::<_, String>(at);
    let object = Object {
        key: row.get(0)?,
        version: row.get(1)?,
        size: row.get(2)?,
        etag: row.get(3)?,
        uploaded: row.get(4)?,
        http: serde_json::from_str(&json(5)?).unwrap_or_default(),
        custom: serde_json::from_str(&json(6)?).unwrap_or_default(),
        checksums: serde_json::from_str(&json(7)?).unwrap_or_default(),
        storage_class: row.get(8)?,
    };
    Ok((object, row.get(9)?))
}
