//! Content-addressed bundles: what a generation applied, whole, so that it can be applied again without Git.

use std::collections::BTreeSet;
use std::sync::Arc;

use rusqlite::{OptionalExtension, params};

use super::{Store, StoreError, from_row, to_row};
use crate::model::{Bundle, Contents, DesiredState, Digest, canonical_digest};

/// Every digest that a desired state names.
fn named(desired: &DesiredState) -> BTreeSet<Digest> {
    let of_resources = desired.resources.values().flat_map(|d| d.spec.contents());
    of_resources.chain(desired.policies.values().copied()).map(|content| content.sha256).collect()
}

impl Store {
    /// Keeps a bundle; its digest is over the desired state, which names every content by digest.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn put_bundle(&self, bundle: &Bundle) -> Result<Digest, StoreError> {
        let digest = canonical_digest(&bundle.desired);
        let mut connection = self.connection();
        let transaction = connection.transaction()?;
        for wanted in named(&bundle.desired) {
            if let Some(bytes) = bundle.contents.get(&wanted) {
                transaction.execute(
                    "INSERT INTO blob (digest, bytes) VALUES (?1, ?2) ON CONFLICT (digest) DO NOTHING",
                    params![wanted.to_string(), bytes.as_ref()],
                )?;
            }
        }
        transaction.execute(
            "INSERT INTO bundle (digest, desired) VALUES (?1, ?2) ON CONFLICT (digest) DO NOTHING",
            params![digest.to_string(), to_row("bundle", &bundle.desired)?],
        )?;
        transaction.commit()?;
        Ok(digest)
    }

    /// The bundle with this digest, with all its contents.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn bundle(&self, digest: &Digest) -> Result<Option<Bundle>, StoreError> {
        let connection = self.connection();
        let text: Option<String> = connection
            .query_row("SELECT desired FROM bundle WHERE digest = ?1", [digest.to_string()], |row| row.get(0))
            .optional()?;
        let Some(text) = text else { return Ok(None) };
        let desired: DesiredState = from_row("bundle", &text)?;
        let mut contents = Contents::new();
        let mut statement = connection.prepare_cached("SELECT bytes FROM blob WHERE digest = ?1")?;
        for wanted in named(&desired) {
            let bytes: Vec<u8> = statement.query_row([wanted.to_string()], |row| row.get(0))?;
            contents.insert(wanted, Arc::from(bytes));
        }
        Ok(Some(Bundle { desired, contents }))
    }
}
