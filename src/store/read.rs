//! Reading back what was recorded.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{OptionalExtension, params};

use super::{Store, StoreError, from_row};
use crate::model::{EnvironmentId, InstanceKey};
use crate::plan::{Inventory, Plan};
use crate::record::{
    EnvironmentRecord, Generation, GenerationState, Operation, OperationState, Quarantine, RolloutOrders, SourceRecord,
};

impl Store {
    /// The record of an environment; `None` where it was never looked at.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn environment(&self, environment: &EnvironmentId) -> Result<Option<EnvironmentRecord>, StoreError> {
        let text: Option<String> = self
            .connection()
            .query_row("SELECT record FROM environment WHERE id = ?1", [environment.to_string()], |row| row.get(0))
            .optional()?;
        text.map(|text| from_row("environment", &text)).transpose()
    }

    /// Every environment that was ever looked at, by name.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn environments(&self) -> Result<Vec<EnvironmentRecord>, StoreError> {
        self.rows("environment", "SELECT record FROM environment ORDER BY id", [])
    }

    /// What is known of the repository.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn source(&self) -> Result<Option<SourceRecord>, StoreError> {
        Ok(self.rows("source", "SELECT record FROM source", [])?.into_iter().next())
    }

    /// What an environment owns.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn inventory(&self, environment: &EnvironmentId) -> Result<Inventory, StoreError> {
        let connection = self.connection();
        let mut statement = connection.prepare_cached("SELECT key, record FROM inventory WHERE environment = ?1")?;
        let rows =
            statement.query_map([environment.to_string()], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
        let mut inventory = Inventory::new();
        for row in rows {
            let (key, record) = row?;
            let key = from_row("inventory key", &serde_json::Value::String(key).to_string())?;
            inventory.insert(key, from_row("inventory", &record)?);
        }
        Ok(inventory)
    }

    /// The generations of an environment, newest first.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn generations(&self, environment: &EnvironmentId, limit: usize) -> Result<Vec<Generation>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.rows(
            "generation",
            "SELECT record FROM generation WHERE environment = ?1 ORDER BY number DESC LIMIT ?2",
            params![environment.to_string(), limit],
        )
    }

    /// The newest generation of an environment that was wholly applied.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn last_applied(&self, environment: &EnvironmentId) -> Result<Option<Generation>, StoreError> {
        let found: Vec<Generation> = self.rows(
            "generation",
            "SELECT record FROM generation WHERE environment = ?1 AND state = ?2 ORDER BY number DESC LIMIT 1",
            params![environment.to_string(), GenerationState::Applied.as_str()],
        )?;
        Ok(found.into_iter().next())
    }

    /// The plan that a generation carried out.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn plan(&self, environment: &EnvironmentId, number: u64) -> Result<Option<Plan>, StoreError> {
        let text: Option<String> = self
            .connection()
            .query_row(
                "SELECT plan FROM generation WHERE environment = ?1 AND number = ?2",
                params![environment.to_string(), number],
                |row| row.get(0),
            )
            .optional()?;
        text.map(|text| from_row("plan", &text)).transpose()
    }

    /// The operations of a generation, in the order of their intents.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn operations(&self, environment: &EnvironmentId, number: u64) -> Result<Vec<Operation>, StoreError> {
        self.rows(
            "operation",
            "SELECT record FROM operation WHERE environment = ?1 AND generation = ?2 ORDER BY id",
            params![environment.to_string(), number],
        )
    }

    /// The operations of an environment whose outcome was never seen.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn unresolved(&self, environment: &EnvironmentId) -> Result<Vec<Operation>, StoreError> {
        self.rows(
            "operation",
            "SELECT record FROM operation WHERE environment = ?1 AND unresolved = 1 ORDER BY id",
            [environment.to_string()],
        )
    }

    /// Operations that left nothing to be seen, by instance, since the last one for it that was done: what they uploaded
    /// may still be there.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn lost(&self, environment: &EnvironmentId) -> Result<BTreeMap<InstanceKey, Vec<Operation>>, StoreError> {
        let newest_first: Vec<Operation> = self.rows(
            "operation",
            "SELECT record FROM operation WHERE environment = ?1 ORDER BY id DESC LIMIT 1000",
            [environment.to_string()],
        )?;
        let mut done = BTreeSet::new();
        let mut lost: BTreeMap<InstanceKey, Vec<Operation>> = BTreeMap::new();
        for operation in newest_first {
            match operation.state {
                OperationState::Done | OperationState::FoundDone => drop(done.insert(operation.key)),
                OperationState::NotSeen if !done.contains(&operation.key) => {
                    lost.entry(operation.key.clone()).or_default().push(operation);
                }
                _ => {}
            }
        }
        Ok(lost)
    }

    /// What a rollback quarantined, if anything still is.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn quarantine(&self, environment: &EnvironmentId) -> Result<Option<Quarantine>, StoreError> {
        let found: Vec<Quarantine> =
            self.rows("quarantine", "SELECT record FROM quarantine WHERE environment = ?1", [environment.to_string()])?;
        Ok(found.into_iter().next())
    }

    /// What people said of gradual versions.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn rollout_orders(&self, environment: &EnvironmentId) -> Result<RolloutOrders, StoreError> {
        let found: Vec<RolloutOrders> =
            self.rows("rollout", "SELECT record FROM rollout WHERE environment = ?1", [environment.to_string()])?;
        Ok(found.into_iter().next().unwrap_or_else(|| RolloutOrders::none(environment.clone())))
    }

    fn rows<T: serde::de::DeserializeOwned>(
        &self,
        what: &'static str,
        query: &str,
        parameters: impl rusqlite::Params,
    ) -> Result<Vec<T>, StoreError> {
        let connection = self.connection();
        let mut statement = connection.prepare_cached(query)?;
        let rows = statement.query_map(parameters, |row| row.get::<_, String>(0))?;
        rows.map(|text| from_row(what, &text?)).collect()
    }
}
