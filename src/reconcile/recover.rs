//! Operations whose outcome was never seen: left to settle, then observed, before anything is repeated.

use std::collections::{BTreeMap, BTreeSet};

use chrono::Utc;

use super::{Context, Scene, Stop};
use crate::boundary;
use crate::model::{EnvironmentId, Identity, InstanceKey, ObservedState};
use crate::plan::{self, Action, Attempt, Inventory, Owned, Resolution};
use crate::record::{ConditionReason, Operation, OperationState};
use crate::store::Settled;

/// Operations of which no effect was seen, by instance, since the last one for it that was done.
pub(super) type Lost = BTreeMap<InstanceKey, Vec<Operation>>;

/// The attempts to be looked for; stops where one has still to settle. What carries no mark is not
/// known as ours by itself when its creation takes effect late, after nothing was seen of it: it is looked for again.
pub(super) fn attempts(context: &Context, environment: &EnvironmentId, lost: &Lost) -> Result<Vec<Attempt>, Stop> {
    let unresolved = context.store.unresolved(environment).map_err(|error| Stop::internal(&error))?;
    let now = Utc::now();
    if let Some(last) = unresolved.iter().map(|operation| operation.settle_until).max()
        && last > now
    {
        let wait = (last - now).to_std().unwrap_or_default();
        let message = format!("{} outcome(s) unknown, observed after {}", unresolved.len(), last.format("%Y-%m-%dT%H:%M:%SZ"));
        return Err(Stop::waiting(ConditionReason::Settling, message, Some(wait)));
    }
    let unmarked =
        |operation: &&Operation| operation.key.address.kind.identity() == Identity::Id && operation.action == Action::Create;
    let late = lost.values().flatten().filter(unmarked).cloned();
    Ok(late.chain(unresolved).map(attempt).collect())
}

fn attempt(operation: Operation) -> Attempt {
    Attempt {
        operation: operation.id,
        key: operation.key,
        action: operation.action,
        from: operation.from.map(|from| from.address),
        claim: operation.claim,
        after: operation.after,
        desired: operation.desired,
        revision: operation.revision,
        depends_on: operation.depends_on,
    }
}

/// What was found out about earlier operations and about the inventory: recorded before anything is applied.
#[derive(Debug, Default)]
pub(super) struct Recovery {
    settled: Vec<Settled>,
    rows: Vec<(InstanceKey, Option<Owned>)>,
    /// Operations that left nothing to be seen, by instance: providers look for uploads of them first.
    pub(super) earlier: BTreeMap<InstanceKey, Vec<String>>,
}

/// Settles what can be told of earlier operations, and brings the inventory along.
pub(super) fn recover(
    attempts: &[Attempt],
    lost: &Lost,
    observed: &ObservedState,
    mut inventory: Inventory,
) -> (Inventory, Recovery) {
    let is_lost = |attempt: &Attempt| lost.values().flatten().any(|operation| operation.id == attempt.operation);
    let mut recovery = Recovery::default();
    let resolutions = plan::recover(attempts, observed, &inventory);
    for attempt in attempts {
        let resolution = resolutions.get(&attempt.operation).cloned().flatten();
        let (state, owned) = match resolution {
            Some(Resolution::Happened(owned)) => (OperationState::FoundDone, Some(Some(*owned))),
            Some(Resolution::Gone) => (OperationState::FoundDone, Some(None)),
            Some(Resolution::NotSeen) if is_lost(attempt) => continue,
            Some(Resolution::NotSeen) => {
                recovery.earlier.entry(attempt.key.clone()).or_default().push(attempt.operation.clone());
                (OperationState::NotSeen, None)
            }
            None => continue,
        };
        if let Some(owned) = &owned {
            if let Some(from) = &attempt.from {
                inventory.remove(&from.on(attempt.key.target.clone()));
            }
            bring(&mut inventory, &attempt.key, owned.clone());
        }
        recovery.settled.push(Settled { operation: attempt.operation.clone(), state, error: None, inventory: owned });
    }
    (inventory, recovery)
}

impl Recovery {
    pub(super) fn is_empty(&self) -> bool {
        self.settled.is_empty()
    }

    /// Adds the operations that were lost in earlier passes.
    pub(super) fn add_lost(&mut self, lost: Lost) {
        for (key, operations) in lost {
            self.earlier.entry(key).or_default().extend(operations.into_iter().map(|operation| operation.id));
        }
    }

    /// What the inventory learns without a change: what is ours and as desired comes in, what is gone goes out.
    pub(super) fn learn(&mut self, scene: &Scene<'_>, inventory: &mut Inventory) {
        let learnt = plan::records(&scene.input(inventory, &BTreeSet::new()), scene.revision);
        let recorded = learnt.recorded.into_iter().map(|(key, owned)| (key, Some(owned)));
        self.rows = recorded.chain(learnt.forgotten.into_iter().map(|key| (key, None))).collect();
        for (key, owned) in &self.rows {
            bring(inventory, key, owned.clone());
        }
    }
}

fn bring(inventory: &mut Inventory, key: &InstanceKey, owned: Option<Owned>) {
    match owned {
        Some(owned) => drop(inventory.insert(key.clone(), owned)),
        None => drop(inventory.remove(key)),
    }
}

/// Writes what was found out.
pub(super) fn record(context: &Context, recovery: &Recovery) -> Result<(), Stop> {
    let store = |error: crate::store::StoreError| Stop::internal(&error);
    for settled in &recovery.settled {
        tracing::info!(operation = settled.operation, outcome = settled.state.as_str(), "Settled an unknown outcome.");
    }
    if !recovery.settled.is_empty() {
        boundary::reach("before_settled");
        context.store.settle(&recovery.settled).map_err(store)?;
        boundary::reach("after_settled");
    }
    if !recovery.rows.is_empty() {
        context.store.put_inventory(&recovery.rows).map_err(store)?;
    }
    Ok(())
}
