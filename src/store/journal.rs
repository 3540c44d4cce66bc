//! Writing: intents before calls, outcomes with the inventory that follows from them, generations last.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::prune::prune;
use super::{Store, StoreError, from_row, to_row};
use crate::model::{Digest, EnvironmentId, InstanceKey, Revision};
use crate::plan::{Owned, Plan};
use crate::record::{
    EnvironmentRecord, Generation, GenerationState, Operation, OperationState, Quarantine, RolloutOrders, RunKind, SourceRecord,
    Tally,
};

/// An operation whose outcome is now known, with what follows for the inventory.
#[derive(Debug, Clone)]
pub struct Settled {
    /// The operation.
    pub operation: String,
    /// Its outcome.
    pub state: OperationState,
    /// When that became known. An unknown outcome settles from then on: its last call may have been sent just before.
    pub at: DateTime<Utc>,
    /// What went wrong, without any secret.
    pub error: Option<String>,
    /// What is owned now: `Some(None)` takes the instance out of the inventory, `None` leaves it.
    pub inventory: Option<Option<Owned>>,
}

/// A generation that is to begin.
#[derive(Debug, Clone, Copy)]
pub struct Begin<'a> {
    /// What is to be done.
    pub plan: &'a Plan,
    /// What is applied.
    pub revision: &'a Revision,
    /// By what sort of run.
    pub kind: RunKind,
    /// What is applied, with every byte.
    pub bundle: Digest,
    /// For a rollback: what may not come back from now on. `None` leaves the quarantine as it is.
    pub quarantine: Option<&'a Quarantine>,
    /// The time.
    pub now: DateTime<Utc>,
}

impl Store {
    /// Writes the record of an environment.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn put_environment(&self, record: &EnvironmentRecord) -> Result<(), StoreError> {
        put_environment(&self.connection(), record)
    }

    /// Writes the record of an environment whose pass ends, and prunes what it no longer needs, in one transaction.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn end_pass(&self, record: &EnvironmentRecord) -> Result<(), StoreError> {
        let mut connection = self.connection();
        let transaction = connection.transaction()?;
        put_environment(&transaction, record)?;
        prune(&transaction, record)?;
        transaction.commit()?;
        Ok(())
    }

    /// Writes the record of an environment of which only the revision has moved on: durable with the next record, since
    /// the next look finds the same. A commit that does not concern a thousand environments does not sync a thousand times.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn move_on(&self, record: &EnvironmentRecord) -> Result<(), StoreError> {
        put_environment(&self.deferred()?.0, record)
    }

    /// Says of each environment that Git has the record of its generations up to the number, unless there is a newer one.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn published(&self, newest: &[(EnvironmentId, u64)]) -> Result<(), StoreError> {
        let mut connection = self.connection();
        // One transaction: a pass may be writing the same record.
        let transaction = connection.transaction()?;
        for (environment, number) in newest {
            let text: Option<String> = transaction
                .query_row(
                    "SELECT record FROM environment WHERE id = ?1
                     AND NOT EXISTS (SELECT 1 FROM generation WHERE environment = ?1 AND number > ?2)",
                    params![environment.to_string(), number],
                    |row| row.get(0),
                )
                .optional()?;
            if let Some(text) = text {
                let record: EnvironmentRecord = from_row("environment", &text)?;
                put_environment(&transaction, &EnvironmentRecord { unpublished: false, ..record })?;
            }
        }
        transaction.commit()?;
        Ok(())
    }

    /// Writes what is known of the repository, durable with the next record: the repository itself knows it too.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn put_source(&self, record: &SourceRecord) -> Result<(), StoreError> {
        self.deferred()?.0.execute(
            "INSERT INTO source (id, record) VALUES (1, ?1) ON CONFLICT (id) DO UPDATE SET record = excluded.record",
            [to_row("source", record)?],
        )?;
        Ok(())
    }

    /// Begins a generation: it gets the next number and the hash of the one before it. Where that one never ended, its
    /// process died: it ends as failed in the same transaction, since this one takes up what it left. Durable with its first
    /// intents, before which nothing is done.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn begin_generation(&self, begin: &Begin<'_>) -> Result<Generation, StoreError> {
        let Begin { plan, revision, kind, bundle, quarantine, now } = *begin;
        let mut deferred = self.deferred()?;
        let transaction = deferred.0.transaction()?;
        let id = plan.environment.to_string();
        let previous: Option<String> = transaction
            .query_row("SELECT record FROM generation WHERE environment = ?1 ORDER BY number DESC LIMIT 1", [&id], |row| {
                row.get(0)
            })
            .optional()?;
        let mut previous: Option<Generation> = previous.map(|text| from_row("generation", &text)).transpose()?;
        if let Some(previous) = previous.as_mut().filter(|previous| previous.state == GenerationState::Applying) {
            previous.interrupt(now);
            put_generation(&transaction, previous)?;
        }
        let generation = Generation {
            environment: plan.environment.clone(),
            number: previous.as_ref().map_or(0, |g| g.number) + 1,
            revision: revision.clone(),
            kind,
            bundle,
            plan: plan.digest(),
            tally: Tally::of(plan),
            state: GenerationState::Applying,
            message: None,
            started_at: now,
            finished_at: None,
            previous: previous.map(|g| g.hash()),
        };
        transaction.execute(
            "INSERT INTO generation (environment, number, state, record, plan, bundle) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                id,
                generation.number,
                generation.state.as_str(),
                to_row("generation", &generation)?,
                to_row("plan", plan)?,
                bundle.to_string()
            ],
        )?;
        if let Some(quarantine) = quarantine {
            let quarantine = Quarantine { generation: generation.number, ..quarantine.clone() };
            put_quarantine(&transaction, &plan.environment, Some(&quarantine))?;
        }
        transaction.commit()?;
        Ok(generation)
    }

    /// Ends a generation, and writes the environment's record in the same transaction, in which what the environment no
    /// longer needs is pruned as well.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn end_generation(&self, generation: &Generation, record: &EnvironmentRecord) -> Result<(), StoreError> {
        let mut connection = self.connection();
        let transaction = connection.transaction()?;
        put_generation(&transaction, generation)?;
        put_environment(&transaction, record)?;
        prune(&transaction, record)?;
        transaction.commit()?;
        Ok(())
    }

    /// Makes intents durable: when this returns, the calls may be made.
    ///
    /// # Errors
    /// [`StoreError`]; then no call may be made.
    pub fn intend(&self, operations: &[Operation]) -> Result<(), StoreError> {
        let mut connection = self.connection();
        let transaction = connection.transaction()?;
        for operation in operations {
            transaction.execute(
                "INSERT INTO operation (id, environment, generation, unresolved, record) VALUES (?1, ?2, ?3, 1, ?4)",
                params![operation.id, operation.environment.to_string(), operation.generation, to_row("operation", operation)?],
            )?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// Records outcomes, each with what follows for the inventory.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn settle(&self, outcomes: &[Settled]) -> Result<(), StoreError> {
        let mut connection = self.connection();
        let transaction = connection.transaction()?;
        for outcome in outcomes {
            let text: String =
                transaction.query_row("SELECT record FROM operation WHERE id = ?1", [&outcome.operation], |row| row.get(0))?;
            let mut operation: Operation = from_row("operation", &text)?;
            if operation.state == OperationState::Intent && outcome.state == OperationState::Unknown {
                let settles = operation.settle_until - operation.intent_at;
                operation.settle_until = outcome.at.checked_add_signed(settles).unwrap_or(DateTime::<Utc>::MAX_UTC);
            }
            operation.state = outcome.state;
            operation.error.clone_from(&outcome.error);
            transaction.execute(
                "UPDATE operation SET unresolved = ?2, record = ?3 WHERE id = ?1",
                params![operation.id, operation.state.is_unresolved(), to_row("operation", &operation)?],
            )?;
            if let Some(owned) = &outcome.inventory {
                if let Some(from) = &operation.from {
                    put_owned(&transaction, from, None)?;
                }
                put_owned(&transaction, &operation.key, owned.as_ref())?;
            }
        }
        transaction.commit()?;
        Ok(())
    }

    /// Writes inventory rows that no operation stands for: what was found to be ours, or to be gone.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn put_inventory(&self, rows: &[(InstanceKey, Option<Owned>)]) -> Result<(), StoreError> {
        let mut connection = self.connection();
        let transaction = connection.transaction()?;
        for (key, owned) in rows {
            put_owned(&transaction, key, owned.as_ref())?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// Puts a quarantine in the place of the environment's earlier one; `None` lifts it.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn put_quarantine(&self, environment: &EnvironmentId, quarantine: Option<&Quarantine>) -> Result<(), StoreError> {
        put_quarantine(&self.connection(), environment, quarantine)
    }

    /// Puts what people said of gradual versions in the place of what they said before.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn put_rollout_orders(&self, orders: &RolloutOrders) -> Result<(), StoreError> {
        self.connection().execute(
            "INSERT INTO rollout (environment, record) VALUES (?1, ?2)
             ON CONFLICT (environment) DO UPDATE SET record = excluded.record",
            params![orders.environment.to_string(), to_row("rollout", orders)?],
        )?;
        Ok(())
    }
}

fn put_quarantine(
    connection: &Connection,
    environment: &EnvironmentId,
    quarantine: Option<&Quarantine>,
) -> Result<(), StoreError> {
    let id = environment.to_string();
    match quarantine {
        Some(quarantine) => connection.execute(
            "INSERT INTO quarantine (environment, record) VALUES (?1, ?2)
             ON CONFLICT (environment) DO UPDATE SET record = excluded.record",
            params![id, to_row("quarantine", quarantine)?],
        )?,
        None => connection.execute("DELETE FROM quarantine WHERE environment = ?1", [id])?,
    };
    Ok(())
}

fn put_generation(connection: &Connection, generation: &Generation) -> Result<(), StoreError> {
    let id = generation.environment.to_string();
    connection.execute(
        "UPDATE generation SET state = ?3, record = ?4 WHERE environment = ?1 AND number = ?2",
        params![id, generation.number, generation.state.as_str(), to_row("generation", generation)?],
    )?;
    Ok(())
}

fn put_environment(connection: &Connection, record: &EnvironmentRecord) -> Result<(), StoreError> {
    connection.execute(
        "INSERT INTO environment (id, record) VALUES (?1, ?2) ON CONFLICT (id) DO UPDATE SET record = excluded.record",
        params![record.environment.to_string(), to_row("environment", record)?],
    )?;
    Ok(())
}

fn put_owned(transaction: &Transaction<'_>, key: &InstanceKey, owned: Option<&Owned>) -> Result<(), StoreError> {
    match owned {
        Some(owned) => transaction.execute(
            "INSERT INTO inventory (key, environment, record) VALUES (?1, ?2, ?3)
             ON CONFLICT (key) DO UPDATE SET record = excluded.record",
            params![key.to_string(), key.address.environment.to_string(), to_row("inventory", owned)?],
        )?,
        None => transaction.execute("DELETE FROM inventory WHERE key = ?1", [key.to_string()])?,
    };
    Ok(())
}
