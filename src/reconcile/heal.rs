//! What runs is kept as it is while what is merged may not run.
//!
//! Goes in: why a pass went no further. Comes out: what was applied last, healed where it drifted.
//!
//! **Invariant:** nothing new comes in this way: only the bundle that runs is applied again, and only where the newest
//! generation is of it, so that what another one left half-done is never taken for drift.

use chrono::Utc;

use super::{Context, Step, Stop, load_rules, observe, prepare, recover, verdict};
use crate::model::{DriftMode, EnvironmentId, Inputs};
use crate::policy;
use crate::record::{ConditionReason, EnvironmentRecord, GenerationState, RunKind};

/// Heals what runs, where `stop` is about what is merged and not about the targets. The hold stays, and so does a
/// quarantine.
pub(super) async fn heal(context: &Context, environment: &EnvironmentId, stop: &Stop) {
    let about_what_is_merged = matches!(
        stop.condition.reason(),
        ConditionReason::InvalidDefinition
            | ConditionReason::DefinitionMissing
            | ConditionReason::Secret
            | ConditionReason::Denied
            | ConditionReason::Held
            | ConditionReason::Quarantined
    );
    if about_what_is_merged && let Err(failed) = healed(context, environment, stop).await {
        tracing::warn!(%environment, reason = failed.condition.message(), "What runs cannot be looked after while it is held.");
    }
}

async fn healed(context: &Context, environment: &EnvironmentId, stop: &Stop) -> Result<(), Stop> {
    let store = |error: crate::store::StoreError| Stop::internal(&error);
    let Some(record) = context.store.environment(environment).map_err(store)? else { return Ok(()) };
    let (Some(runs), Some(revision)) = (record.bundle, record.applied.clone()) else { return Ok(()) };
    let Some(newest) = context.store.generations(environment, 1).map_err(store)?.pop() else { return Ok(()) };
    let quarantined = context.store.quarantine(environment).map_err(store)?.is_some();
    let is_what_runs = match newest.state {
        GenerationState::Applying => false,
        // A rollback that did not come to its end is taken up as what it is.
        GenerationState::Failed => newest.bundle == runs && !(quarantined && newest.kind == RunKind::Rollback),
        // A later pass may have found another bundle to be what runs, without a change.
        GenerationState::Applied => newest.bundle == runs || record.observed_at.is_some_and(|at| at >= newest.started_at),
    };
    if !is_what_runs {
        return Ok(());
    }
    let Some(bundle) = context.store.bundle(&runs).map_err(store)? else { return Ok(()) };
    if bundle.desired.sync.drift != DriftMode::Heal {
        return Ok(());
    }
    let now = Utc::now();
    recover::left_under_way(context, environment)?;
    let look = observe::look(&record, false, now);
    // What was rolled back to stays that: it ends no quarantine, and its rules are not those of the ratchet.
    let kind = if quarantined { RunKind::Rollback } else { newest.kind };
    let mut prepared = prepare(context, &record, bundle, &revision, (look, kind)).await?;
    let followed = recover::follow_up(&prepared).await;
    recover::record(context, &prepared.recovery)?;
    let had_their_turn = prepared.plan.blocked.is_empty();
    let read_to = prepared.read_to.take().filter(|_| had_their_turn).or_else(|| record.read_to.clone());
    let is_news = read_to != record.read_to;
    let record = EnvironmentRecord { read_to, ..record };
    if prepared.plan.is_empty() {
        return if is_news { context.store.put_environment(&record).map_err(store) } else { Ok(()) };
    }
    let rules = load_rules(context).map_err(|message| Stop::stalled(ConditionReason::Denied, message))?;
    // What runs is judged as what ran: by the rules of now, told that this is no commit.
    let (approved, warnings) =
        verdict::judge(context, &record, &prepared, &revision, rules, policy::RunKind::Rollback, now).await?;
    let drifted = prepared.plan.changes.iter().map(|change| change.key.to_string()).collect::<Vec<_>>().join(", ");
    tracing::info!(%environment, drifted, "What runs drifted while it is held; healing it.");
    let (inputs, held) = (None::<Inputs>, Some(stop.condition.clone()));
    let step =
        Step { context, record, inputs, revision: &revision, kind, quarantine: None, drifted: Vec::new(), held, followed, now };
    step.carry_out(prepared, &approved, warnings).await.map(drop)
}
