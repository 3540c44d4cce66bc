//! Operations whose outcome was never seen: left to settle, then observed, before anything is repeated.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::{Context, Prepared, Scene, Stop};
use crate::boundary;
use crate::model::{EnvironmentId, Identity, InstanceKey, ObservedState};
use crate::plan::{self, Action, Attempt, Inventory, Owned, Resolution};
use crate::record::{ConditionReason, Operation, OperationState};
use crate::store::Settled;

/// Operations of which no effect was seen, by instance, since the last one for it that was done.
pub(super) type Lost = BTreeMap<InstanceKey, Vec<Operation>>;

/// Lets what a dead process left under way settle from now on: it may have sent its last call just before it died, long
/// after the intent was written. Written down, so that it is done once and not by every process that comes after.
pub(super) fn left_under_way(context: &Context, environment: &EnvironmentId) -> Result<(), Stop> {
    let store = |error: crate::store::StoreError| Stop::internal(&error);
    let now = Utc::now();
    let unresolved = context.store.unresolved(environment).map_err(store)?;
    let left: Vec<Settled> = unresolved.iter().filter_map(|operation| restarted(operation, now)).collect();
    if left.is_empty() { Ok(()) } else { context.store.settle(&left).map_err(store) }
}

fn restarted(operation: &Operation, now: DateTime<Utc>) -> Option<Settled> {
    // Where nothing has to settle there is nothing to wait for anew.
    (operation.state == OperationState::Intent && operation.settle_until > operation.intent_at).then(|| Settled {
        operation: operation.id.clone(),
        state: OperationState::Unknown,
        at: now,
        error: Some("its process ended before the outcome was seen".to_owned()),
        inventory: None,
    })
}

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
    let late = late.map(|operation| Attempt { lost: true, ..attempt(operation) });
    Ok(late.chain(unresolved.into_iter().map(attempt)).collect())
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
        lost: false,
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
    /// What was found to be done, by an operation whose end nobody saw.
    found: BTreeSet<InstanceKey>,
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
            recovery.found.insert(attempt.key.clone());
        }
        recovery.settled.push(Settled {
            operation: attempt.operation.clone(),
            state,
            at: Utc::now(),
            error: None,
            inventory: owned,
        });
    }
    (inventory, recovery)
}

impl Recovery {
    /// What comes into the inventory without a change, or stays in it otherwise than before.
    pub(super) fn learnt(&self) -> impl Iterator<Item = (&InstanceKey, &Owned)> {
        self.rows.iter().filter_map(|(key, owned)| Some((key, owned.as_ref()?)))
    }

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

/// Does what follows the changes that were found to be done: whoever made them may have ended before it came to that. To be
/// called before they are recorded, so that it is not forgotten here either.
pub(super) async fn follow_up(prepared: &Prepared) -> Vec<String> {
    let mut warnings = Vec::new();
    for key in &prepared.recovery.found {
        let desired = prepared.bundle.desired.resources.get(key);
        let (Some(desired), Some(provider)) = (desired, prepared.providers.get(&key.target)) else { continue };
        warnings.extend(provider.follow_up(&desired.spec).await.into_iter().map(|warning| format!("{key}: {warning}")));
    }
    warnings
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

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::model::Digest;
    use crate::plan::Precondition;

    fn operation(state: OperationState, settles: i64) -> Operation {
        let intent_at = DateTime::UNIX_EPOCH;
        Operation {
            id: "0192".to_owned(),
            environment: "production".parse().unwrap(),
            generation: 1,
            key: "production/kv.sessions@main".parse().unwrap(),
            action: Action::Create,
            claim: "sessions".to_owned(),
            from: None,
            after: None,
            desired: Digest::of(b"1"),
            precondition: Precondition::Absent,
            revision: format!("main@sha1:{}", "a".repeat(40)).parse().unwrap(),
            depends_on: BTreeSet::new(),
            state,
            intent_at,
            settle_until: intent_at + TimeDelta::seconds(settles),
            error: None,
        }
    }

    #[test]
    fn an_outcome_settles_from_when_its_process_was_found_dead_and_once() {
        let folder = tempfile::tempdir().unwrap();
        let store = crate::store::Store::open(folder.path()).unwrap();
        let written = operation(OperationState::Intent, 120);
        store.intend(std::slice::from_ref(&written)).unwrap();
        // The order took its time, and its last call went out just before the process died.
        let found_dead = written.intent_at + TimeDelta::seconds(100);
        store.settle(&[restarted(&written, found_dead).unwrap()]).unwrap();
        let left = store.unresolved(&written.environment).unwrap().pop().unwrap();
        assert_eq!((left.state, left.settle_until), (OperationState::Unknown, found_dead + TimeDelta::seconds(120)));
        // A process that comes after does not make it wait for ever.
        assert!(restarted(&left, found_dead + TimeDelta::seconds(60)).is_none());
        assert!(restarted(&operation(OperationState::Intent, 0), found_dead).is_none(), "nothing has to settle");
    }
}
