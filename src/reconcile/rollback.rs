//! Apply a recorded revision again, at once, also while the remote is away; and keep the fault from coming back.

use chrono::Utc;

use super::propose::propose;
use super::refusal::RollbackError;
use super::{Context, Event, Look, Outcome, Step, Stop, load_rules, prepare, publish, recover, resolve, verdict};
use crate::boundary;
use crate::model::{Bundle, EnvironmentId, Inputs, Revision};
use crate::policy;
use crate::record::{Condition, ConditionReason, EnvironmentRecord, Generation, GenerationState, Quarantine, Revert, RunKind};
use crate::secrets::Opener;
use crate::source::Proposal;

/// What a rollback did.
#[derive(Debug)]
pub struct RolledBack {
    /// What was abandoned.
    pub from: Generation,
    /// What was applied again.
    pub to: Generation,
    /// Its bundle was no longer kept, and its definitions were read from Git again.
    pub read_again: bool,
    /// How it went.
    pub outcome: Outcome,
    /// What may not come back by itself.
    pub quarantined: Vec<String>,
    /// The revert, committed on a branch for people to merge; or why there is none.
    pub proposal: Result<Proposal, String>,
    /// Other environments that read files which the revert changes.
    pub also_touched: Vec<EnvironmentId>,
}

/// Rolls `environment` back to the recorded revision that begins with `to` (hex digits), or to the one before what runs.
///
/// # Errors
/// [`RollbackError`]; then nothing was changed, but for [`RollbackError::Stopped`] where a part may have been.
pub async fn rollback(
    context: &Context,
    environment: &EnvironmentId,
    to: Option<&str>,
    owner: &str,
) -> Result<RolledBack, RollbackError> {
    let record = context.store.environment(environment)?.ok_or_else(|| RollbackError::NoRecord(environment.clone()))?;
    let generations = context.store.generations(environment, usize::MAX)?;
    let current = current(&record, &generations).ok_or_else(|| RollbackError::NoRecord(environment.clone()))?.clone();
    let target = choose(environment, &generations, &current, to)?;
    let stopped = |stop: Stop| RollbackError::Stopped(stop.condition.message().to_owned());
    let gone = |stop: Stop| {
        let (revision, reason) = (target.revision.clone(), stop.condition.message().to_owned());
        RollbackError::Gone { revision, reason }
    };
    let (good, read_again) = match context.store.bundle(&target.bundle)? {
        Some(good) => (good, false),
        None => (resolve::read_again(context, &record, &target.revision).await.map_err(gone)?, true),
    };
    let bad = context.store.bundle(&current.bundle)?;

    let mut quarantine = quarantine(context, &current, &target, bad.as_ref(), &good, owner)?;
    quarantine.revert = Some(Revert { good: target.revision.clone(), inputs: record.inputs.clone() });
    let mut quarantined: Vec<String> = quarantine.entries.iter().map(|entry| entry.address.to_string()).collect();
    quarantined.dedup();
    let outcome = apply_again(context, &record, good, &target.revision, Some(quarantine)).await.map_err(stopped)?;
    let (proposal, also_touched) = propose(context, environment).await?;
    publish(context, environment).await;
    boundary::reach("before_conclusion");
    conclude(context, environment, &target, owner)?;
    Ok(RolledBack { from: current, to: target, read_again, outcome, quarantined, proposal, also_touched })
}

/// Applies what was recorded. What `quarantine` says holds from the first change on: if this process dies, the next pass
/// does not bring back what is being taken back.
pub(super) async fn apply_again(
    context: &Context,
    record: &EnvironmentRecord,
    good: Bundle,
    revision: &Revision,
    quarantine: Option<Quarantine>,
) -> Result<Outcome, Stop> {
    recover::left_under_way(context, &record.environment)?;
    let prepared = prepare(context, record, good, revision, (Look::Lists, RunKind::Rollback)).await?;
    verdict::takes_from_nobody(context, &prepared)?;
    let followed = recover::follow_up(&prepared).await;
    recover::record(context, &prepared.recovery)?;
    let rules = load_rules(context).map_err(|message| Stop::stalled(ConditionReason::Denied, message))?;
    let (kind, now) = (RunKind::Rollback, Utc::now());
    let step = Step {
        context,
        record: record.clone(),
        inputs: None::<Inputs>,
        revision,
        kind,
        quarantine,
        drifted: Vec::new(),
        held: None,
        followed,
        now,
    };
    if prepared.plan.is_empty() {
        if let Some(quarantine) = &step.quarantine {
            let put = context.store.put_quarantine(&record.environment, Some(quarantine));
            put.map_err(|error| Stop::internal(&error))?;
        }
        return step.nothing_to_do(prepared).await;
    }
    let (approved, warnings) =
        verdict::judge(context, record, &prepared, revision, rules, policy::RunKind::Rollback, now).await?;
    step.carry_out(prepared, &approved, warnings).await
}

/// Whether the newest generation is a rollback that did not come to its end, and still holds.
pub(super) fn is_left(context: &Context, environment: &EnvironmentId) -> Result<bool, Stop> {
    let internal = |error: crate::store::StoreError| Stop::internal(&error);
    let newest = context.store.generations(environment, 1).map_err(internal)?.pop();
    let left = newest.is_some_and(|g| g.kind == RunKind::Rollback && g.state != GenerationState::Applied);
    Ok(left && context.store.quarantine(environment).map_err(internal)?.is_some())
}

/// Carries on with a rollback that did not come to its end.
pub(super) async fn take_up(context: &Context, record: &EnvironmentRecord) -> Result<(), Stop> {
    let internal = |error: crate::store::StoreError| Stop::internal(&error);
    let Some(left) = context.store.generations(&record.environment, 1).map_err(internal)?.pop() else { return Ok(()) };
    let good = context.store.bundle(&left.bundle).map_err(internal)?.ok_or_else(|| {
        Stop::stalled(
            ConditionReason::ApplyFailed,
            format!("the bundle of the rollback to {} is not in the store", left.revision),
        )
    })?;
    apply_again(context, record, good, &left.revision, None).await.map(drop)
}

/// The generation that runs: the newest, whole or in part; but where a later pass found another bundle to be what runs,
/// the generation of that.
fn current<'a>(record: &EnvironmentRecord, generations: &'a [Generation]) -> Option<&'a Generation> {
    let newest = generations.first()?;
    let settled = record.observed_at.is_some_and(|at| at >= newest.started_at);
    let of_bundle = generations.iter().find(|g| Some(g.bundle) == record.bundle);
    Some(of_bundle.filter(|_| settled).unwrap_or(newest))
}

fn choose(
    environment: &EnvironmentId,
    generations: &[Generation],
    current: &Generation,
    to: Option<&str>,
) -> Result<Generation, RollbackError> {
    let applied = generations.iter().filter(|g| g.state == GenerationState::Applied);
    let Some(to) = to else {
        // Before what a rollback brought back, not before the rollback: that would be the very fault.
        let first = generations.iter().filter(|g| g.kind == RunKind::Apply && g.bundle == current.bundle);
        let of_revision = generations.iter().filter(|g| g.kind == RunKind::Apply && g.revision == current.revision);
        let of_revision = of_revision.map(|g| g.number);
        let at = match current.kind {
            RunKind::Apply => current.number,
            // A version that was taken back leaves a bundle of its own: before the revision that it was of.
            RunKind::Rollback => first.map(|g| g.number).next().or_else(|| of_revision.min()).unwrap_or(current.number),
        };
        let mut before = applied.filter(|g| g.number < at && g.bundle != current.bundle);
        return before.next().cloned().ok_or_else(|| RollbackError::NoPrevious(environment.clone()));
    };
    let digits = to.rsplit("sha1:").next().unwrap_or(to);
    let mut found: Vec<&Generation> = applied.filter(|g| digits.len() >= 4 && g.revision.commit.starts_with(digits)).collect();
    // Several generations of one revision are one answer: the newest.
    found.dedup_by(|a, b| a.revision == b.revision);
    match found.as_slice() {
        [] => Err(RollbackError::NoSuchRevision { environment: environment.clone(), wanted: to.escape_debug().to_string() }),
        [one] if one.bundle == current.bundle && current.state == GenerationState::Applied => {
            Err(RollbackError::Current { environment: environment.clone(), revision: one.revision.to_string() })
        }
        [one] => Ok((*one).clone()),
        _ => Err(RollbackError::Ambiguous(to.escape_debug().to_string())),
    }
}

/// What the abandoned generation introduced, beside what an earlier rollback took back.
fn quarantine(
    context: &Context,
    current: &Generation,
    target: &Generation,
    bad: Option<&Bundle>,
    good: &Bundle,
    owner: &str,
) -> Result<Quarantine, RollbackError> {
    let environment = &target.environment;
    let digests = |bundle: &Bundle| {
        let marks = Opener::new(context.identities.clone(), &bundle.desired).marks(&bundle.desired.used_secrets());
        verdict::desired_digests(&bundle.desired, &marks)
    };
    let whole = |bundle: &Bundle| verdict::whole_digest(&bundle.desired, &digests(bundle));
    let whole = bad.map(whole).filter(|bad| *bad != whole(good));
    let good = digests(good);
    let mut entries = bad.map(|bad| verdict::introduced(&digests(bad), &good)).unwrap_or_default();
    if let Some(earlier) = context.store.quarantine(environment)? {
        entries.extend(earlier.entries.into_iter().filter(|entry| !verdict::carries(&good, entry)));
    }
    entries.sort();
    entries.dedup();
    Ok(Quarantine {
        environment: environment.clone(),
        abandoned: current.revision.clone(),
        generation: context.store.generations(environment, 1)?.first().map_or(target.number, |g| g.number),
        owner: owner.to_owned(),
        entries,
        whole,
        revert: None,
    })
}

/// The environment runs what it was rolled back to; the next pass looks at the branch's head afresh.
fn conclude(context: &Context, environment: &EnvironmentId, target: &Generation, owner: &str) -> Result<(), RollbackError> {
    let Some(mut record) = context.store.environment(environment)? else { return Ok(()) };
    record.inputs = None;
    if matches!(record.condition, Condition::Ready { .. }) {
        let message = format!("rolled back to {} by {owner}", target.revision);
        record = record.conclude(Condition::Ready { reason: ConditionReason::Applied, message }, Utc::now());
    }
    context.store.put_environment(&record)?;
    context.tell(Event::Concluded { environment, condition: &record.condition });
    Ok(())
}
