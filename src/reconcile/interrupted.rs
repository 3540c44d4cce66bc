//! Generations that never ended: their process died while it applied them.
//!
//! **Invariant:** one process writes the store, so that a generation which is being applied when a pass begins is nobody's
//! any more. It ends as applied where everything is found carried out, else as failed; an unfinished rollback stays, since
//! it is still to be carried out.

use chrono::{DateTime, Utc};

use super::{Context, Step, Stop};
use crate::model::{Digest, EnvironmentId};
use crate::plan::Plan;
use crate::record::{ConditionReason, Generation, GenerationState, RunKind};
use crate::store::{Begin, StoreError};

/// The newest generation, where it never ended.
pub(super) fn newest(context: &Context, environment: &EnvironmentId) -> Result<Option<Generation>, Stop> {
    let newest = context.store.generations(environment, 1).map_err(|error| Stop::internal(&error))?;
    Ok(newest.into_iter().next().filter(|generation| generation.state == GenerationState::Applying))
}

/// The generation that ends as applied now that everything is found as desired: the newest one, if it never ended, or a
/// new one without changes, if the newest one failed or was of something else. `None` where the newest one was applied.
pub(super) fn completed(step: &Step<'_>, plan: &Plan, bundle: Digest) -> Result<Option<Generation>, StoreError> {
    let store = &step.context.store;
    let Some(newest) = store.generations(&step.record.environment, 1)?.pop() else { return Ok(None) };
    let mut generation = match newest.state {
        GenerationState::Applied => return Ok(None),
        GenerationState::Applying if newest.bundle == bundle && newest.kind == step.kind => newest,
        GenerationState::Applying | GenerationState::Failed => {
            let (revision, quarantine) = (step.revision, step.quarantine.as_ref());
            store.begin_generation(&Begin { plan, revision, kind: step.kind, bundle, quarantine, now: step.now })?
        }
    };
    generation.state = GenerationState::Applied;
    generation.finished_at = Some(step.now);
    Ok(Some(generation))
}

/// Ends the newest generation as failed, if it never ended and the pass that was to take it up goes no further. One whose
/// outcomes have still to settle, and a rollback that is still to be carried out, stay as they are.
pub(super) fn close(context: &Context, environment: &EnvironmentId, stop: &Stop, now: DateTime<Utc>) {
    let settling = stop.condition.reason() == ConditionReason::Settling;
    let Ok(Some(mut generation)) = newest(context, environment) else { return };
    if settling || generation.kind == RunKind::Rollback {
        return;
    }
    generation.interrupt(now);
    let closed = context.store.environment(environment).and_then(|record| match record {
        Some(mut record) => {
            record.unpublished = true;
            context.store.end_generation(&generation, &record)
        }
        None => Ok(()),
    });
    if let Err(error) = closed {
        tracing::error!(%environment, error = %crate::provider::chain(&error), "An interrupted generation cannot be ended.");
    }
}
