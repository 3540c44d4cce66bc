//! The tables, and the steps from one version of them to the next.
//!
//! **Invariant:** a step is only ever appended; each runs in a transaction with the version that it leads to.

use rusqlite::Connection;

use super::bundle::link;
use super::{StoreError, from_row};

/// One step a version, from an empty file on: its statements, and what they cannot say.
const STEPS: &[(&str, Fill)] = &[
    (
        "
CREATE TABLE environment (id TEXT PRIMARY KEY, record TEXT NOT NULL) STRICT;
CREATE TABLE generation (
    environment TEXT NOT NULL, number INTEGER NOT NULL, state TEXT NOT NULL,
    record TEXT NOT NULL, plan TEXT NOT NULL,
    PRIMARY KEY (environment, number)
) STRICT;
CREATE TABLE operation (
    id TEXT PRIMARY KEY, environment TEXT NOT NULL, generation INTEGER NOT NULL,
    unresolved INTEGER NOT NULL, record TEXT NOT NULL
) STRICT;
CREATE INDEX operation_of_generation ON operation (environment, generation);
CREATE INDEX operation_unresolved ON operation (environment) WHERE unresolved = 1;
CREATE TABLE inventory (key TEXT PRIMARY KEY, environment TEXT NOT NULL, record TEXT NOT NULL) STRICT;
CREATE INDEX inventory_of_environment ON inventory (environment);
CREATE TABLE bundle (digest TEXT PRIMARY KEY, desired TEXT NOT NULL) STRICT;
CREATE TABLE blob (digest TEXT PRIMARY KEY, bytes BLOB NOT NULL) STRICT;
CREATE TABLE source (id INTEGER PRIMARY KEY CHECK (id = 1), record TEXT NOT NULL) STRICT;
CREATE TABLE quarantine (environment TEXT PRIMARY KEY, record TEXT NOT NULL) STRICT;
",
        |_| Ok(()),
    ),
    // What pruning asks: whose a bundle is, when it was applied last, and which contents it needs.
    (
        "
ALTER TABLE generation ADD COLUMN bundle TEXT NOT NULL DEFAULT '';
UPDATE generation SET bundle = json_extract(record, '$.bundle');
CREATE INDEX generation_of_bundle ON generation (environment, bundle, number);
ALTER TABLE bundle ADD COLUMN environment TEXT NOT NULL DEFAULT '';
CREATE INDEX bundle_of_environment ON bundle (environment);
CREATE TABLE bundle_blob (bundle TEXT NOT NULL, blob TEXT NOT NULL, PRIMARY KEY (bundle, blob)) STRICT, WITHOUT ROWID;
CREATE INDEX bundle_of_blob ON bundle_blob (blob);
",
        link_bundles,
    ),
    // What people said of gradual versions.
    ("CREATE TABLE rollout (environment TEXT PRIMARY KEY, record TEXT NOT NULL) STRICT;", |_| Ok(())),
    // Which holder of the lock this is.
    ("CREATE TABLE epoch (id INTEGER PRIMARY KEY CHECK (id = 1), number INTEGER NOT NULL) STRICT;", |_| Ok(())),
];

type Fill = fn(&Connection) -> Result<(), StoreError>;

fn link_bundles(connection: &Connection) -> Result<(), StoreError> {
    let mut statement = connection.prepare("SELECT digest FROM bundle")?;
    let digests: Vec<String> = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    for digest in digests {
        let desired: String =
            connection.query_row("SELECT desired FROM bundle WHERE digest = ?1", [&digest], |row| row.get(0))?;
        link(connection, &digest, &from_row("bundle", &desired)?)?;
    }
    Ok(())
}

fn known() -> i64 {
    STEPS.len() as i64
}

/// Sets the connection up for writing and brings the tables up to this version.
pub(super) fn prepare(connection: &Connection) -> Result<(), StoreError> {
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 5000; PRAGMA foreign_keys = ON;
         PRAGMA cache_size = -2048; PRAGMA secure_delete = ON;",
    )?;
    let found = check(connection)?;
    for (index, (statements, fill)) in STEPS.iter().enumerate().skip(found as usize) {
        let transaction = connection.unchecked_transaction()?;
        transaction.execute_batch(statements)?;
        fill(&transaction)?;
        transaction.execute_batch(&format!("PRAGMA user_version = {}", index + 1))?;
        transaction.commit()?;
    }
    Ok(())
}

/// The version of the file, where this program can read it.
pub(super) fn check(connection: &Connection) -> Result<i64, StoreError> {
    let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if found > known() {
        return Err(StoreError::Newer { found, known: known() });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::super::prune::tests::{bundle, content, environment};
    use super::*;
    use crate::model::canonical_digest;
    use crate::store::Store;

    #[test]
    fn a_store_of_the_first_version_is_brought_along() {
        let folder = tempfile::tempdir().unwrap();
        let bundle = bundle("production", &["a", "b"]);
        let digest = canonical_digest(&bundle.desired).to_string();
        {
            let connection = Connection::open(super::super::file(folder.path())).unwrap();
            connection.execute_batch(STEPS[0].0).unwrap();
            connection.execute_batch("PRAGMA user_version = 1").unwrap();
            let desired = serde_json::to_string(&bundle.desired).unwrap();
            connection.execute("INSERT INTO bundle (digest, desired) VALUES (?1, ?2)", [&digest, &desired]).unwrap();
            for text in ["a", "b"] {
                let row = (content(text).sha256.to_string(), text.as_bytes());
                connection.execute("INSERT INTO blob (digest, bytes) VALUES (?1, ?2)", row).unwrap();
            }
            let record = format!(r#"{{"bundle":"{digest}"}}"#);
            let row = (environment("production").to_string(), record);
            connection
                .execute(
                    "INSERT INTO generation (environment, number, state, record, plan) VALUES (?1, 1, 'applied', ?2, '')",
                    row,
                )
                .unwrap();
        }
        let store = Store::open(folder.path()).unwrap();
        assert_eq!(store.bundle(&digest.parse().unwrap()).unwrap(), Some(bundle));
        let connection = store.connection();
        let count = |query: &str| connection.query_row(query, [&digest], |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!(count("SELECT count(*) FROM generation WHERE bundle = ?1"), 1);
        assert_eq!(count("SELECT count(*) FROM bundle WHERE digest = ?1 AND environment = 'production'"), 1);
        assert_eq!(count("SELECT count(*) FROM bundle_blob WHERE bundle = ?1"), 2);
    }
}
