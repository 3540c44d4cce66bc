//! The tables, and the steps from one version of them to the next.
//!
//! **Invariant:** a step is only ever appended; each runs in a transaction with the version that it leads to.

use rusqlite::Connection;

use super::StoreError;

/// One step a version, from an empty file on.
const STEPS: &[&str] = &["
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
"];

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
    for (index, step) in STEPS.iter().enumerate().skip(found as usize) {
        connection.execute_batch(&format!("BEGIN IMMEDIATE; {step} PRAGMA user_version = {}; COMMIT;", index + 1))?;
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
