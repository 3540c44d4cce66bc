//! Content-addressed bundles: what a generation applied, whole, so that it can be applied again without Git.

use std::collections::BTreeSet;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};

use super::{Store, StoreError, from_row, to_row};
use crate::model::{Bundle, Contents, DesiredState, Digest, canonical_digest};

/// Every digest that a desired state names.
fn named(desired: &DesiredState) -> BTreeSet<Digest> {
    let of_resources = desired.resources.values().flat_map(|d| d.spec.contents());
    of_resources.chain(desired.policies.values().copied()).map(|content| content.sha256).collect()
}

/// Notes whose a bundle is and which contents it needs: what may be pruned is told by that.
pub(super) fn link(connection: &Connection, digest: &str, desired: &DesiredState) -> Result<(), StoreError> {
    let environment = desired.environment.to_string();
    connection.execute("UPDATE bundle SET environment = ?2 WHERE digest = ?1", params![digest, environment])?;
    let mut statement = connection.prepare_cached("INSERT OR IGNORE INTO bundle_blob (bundle, blob) VALUES (?1, ?2)")?;
    for wanted in named(desired) {
        statement.execute(params![digest, wanted.to_string()])?;
    }
    Ok(())
}

impl Store {
    /// Keeps a bundle; its digest is over the desired state, which names every content by digest. What is kept already is
    /// not written again. It is durable with the first record that names it.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn put_bundle(&self, bundle: &Bundle) -> Result<Digest, StoreError> {
        let digest = canonical_digest(&bundle.desired);
        let id = digest.to_string();
        let mut deferred = self.deferred()?;
        let connection = &mut deferred.0;
        let known: bool =
            connection.query_row("SELECT EXISTS (SELECT 1 FROM bundle WHERE digest = ?1)", [&id], |row| row.get(0))?;
        if known {
            return Ok(digest);
        }
        let transaction = connection.transaction()?;
        for wanted in named(&bundle.desired) {
            if let Some(bytes) = bundle.contents.get(&wanted) {
                transaction.execute(
                    "INSERT INTO blob (digest, bytes) VALUES (?1, ?2) ON CONFLICT (digest) DO NOTHING",
                    params![wanted.to_string(), bytes.as_ref()],
                )?;
            }
        }
        let desired = to_row("bundle", &bundle.desired)?;
        transaction.execute("INSERT INTO bundle (digest, desired) VALUES (?1, ?2)", params![id, desired])?;
        link(&transaction, &id, &bundle.desired)?;
        transaction.commit()?;
        Ok(digest)
    }

    /// The bundle with this digest, with all its contents; `None` where none was kept, or it was pruned.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn bundle(&self, digest: &Digest) -> Result<Option<Bundle>, StoreError> {
        let mut connection = self.connection();
        // One look: beside a daemon that prunes, a bundle is there with all that it needs, or not at all.
        let transaction = connection.transaction()?;
        let text: Option<String> = transaction
            .query_row("SELECT desired FROM bundle WHERE digest = ?1", [digest.to_string()], |row| row.get(0))
            .optional()?;
        let Some(text) = text else { return Ok(None) };
        let desired: DesiredState = from_row("bundle", &text)?;
        let mut contents = Contents::new();
        let mut statement = transaction.prepare_cached("SELECT bytes FROM blob WHERE digest = ?1")?;
        for wanted in named(&desired) {
            let bytes: Vec<u8> = statement.query_row([wanted.to_string()], |row| row.get(0))?;
            contents.insert(wanted, Arc::from(bytes));
        }
        Ok(Some(Bundle { desired, contents }))
    }
}
