//! One pass over one environment, readable in one screen.
//!
//! Goes in: a revision that was fetched, and the [`Context`]. Comes out: an [`Outcome`]; store, targets and Git have been
//! brought along.
//!
//! **Invariant:** level-triggered: nothing is taken from the event that woke us. Every way out that is not success leaves
//! the last good state as it is, and says in the environment's record why.

mod context;
mod heal;
mod interrupted;
mod observe;
mod offline;
mod propose;
mod publish;
mod recover;
mod refusal;
mod resolve;
mod rollback;
mod rollout;
mod step;
mod verdict;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::apply::{self, Report};
use crate::model::{
    Address, Bundle, DesiredState, DriftMode, EnvironmentId, InstanceKey, ObservedState, ResourceName, Revision, SecretMark, Spec,
};
use crate::plan::{self, Inventory, Plan};
use crate::policy::RunKind as PolicyRunKind;
use crate::record::{Condition, ConditionReason, EnvironmentRecord, RunKind};

pub use context::{Context, Event, with_network, with_source};
pub use observe::Look;
pub use publish::{publish, push};
pub use refusal::RollbackError;
pub use resolve::{Resolved, build_options, built, explained, load_rules, undefined};
pub use rollback::{RolledBack, rollback};
pub use rollout::{Aborted, RolloutError, abort, pause, promote};
pub use verdict::{held_by_quarantine, judge};

use offline::LeftOut;
use step::Step;

/// What a pass concluded, and when to look again.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Where the environment stands.
    pub condition: Condition,
    /// The plan that was made, where the pass came so far.
    pub plan: Option<Plan>,
    /// What became of its changes, where it was carried out.
    pub report: Option<Report>,
    /// When to look again although nothing woke us.
    pub requeue: Duration,
}

/// Why a pass goes no further.
#[derive(Debug, Clone)]
pub struct Stop {
    /// Where the environment stands.
    pub condition: Condition,
    /// Look again after this, where the reason passes by itself.
    pub requeue: Option<Duration>,
}

impl Stop {
    fn stalled(reason: ConditionReason, message: impl Into<String>) -> Self {
        Self { condition: Condition::Stalled { reason, message: message.into() }, requeue: None }
    }

    fn waiting(reason: ConditionReason, message: impl Into<String>, requeue: Option<Duration>) -> Self {
        Self { condition: Condition::Reconciling { reason, message: message.into() }, requeue }
    }

    fn internal(error: &dyn std::error::Error) -> Self {
        Self::waiting(ConditionReason::ApplyFailed, crate::provider::chain(error), None)
    }
}

/// A plan with everything behind it.
pub struct Prepared {
    /// What is desired, with its bytes.
    pub bundle: Bundle,
    /// What is owned.
    pub inventory: Inventory,
    /// What is there.
    pub observed: ObservedState,
    /// What is to be done.
    pub plan: Plan,
    /// What stands for the secrets.
    pub marks: BTreeMap<ResourceName, SecretMark>,
    /// The last instance that was read in full because it was its turn.
    read_to: Option<InstanceKey>,
    recovery: recover::Recovery,
    left_out: LeftOut,
    providers: apply::Providers,
}

/// One pass: resolve, observe, plan, judge, apply, record.
///
/// `force` looks at the live world, and reads it in full, although nothing changed and no look is due.
pub async fn reconcile(context: &Context, environment: &EnvironmentId, revision: &Revision, force: bool) -> Outcome {
    let now = Utc::now();
    let record = match context.store.environment(environment) {
        Ok(record) => record.unwrap_or_else(|| EnvironmentRecord::new(environment.clone(), now)),
        Err(error) => return outcome(&EnvironmentRecord::new(environment.clone(), now), Stop::internal(&error)),
    };
    match whole_pass(context, &record, revision, force).await {
        Ok(outcome) => outcome,
        Err(stop) => {
            interrupted::close(context, environment, stop.condition.reason(), now);
            Box::pin(heal::heal(context, environment, &stop)).await;
            let mut record = context.store.environment(environment).ok().flatten().unwrap_or(record);
            record.seen = Some(revision.clone());
            record.inputs = None;
            record.failures = record.failures.saturating_add(1);
            let record = record.conclude(stop.condition.clone(), now);
            context.tell(Event::Concluded { environment, condition: &record.condition });
            if let Err(error) = context.store.put_environment(&record) {
                tracing::error!(%environment, error = %crate::provider::chain(&error), "The environment's record cannot be written.");
            }
            propose::propose_left(context, environment).await;
            outcome(&record, stop)
        }
    }
}

fn outcome(record: &EnvironmentRecord, stop: Stop) -> Outcome {
    let requeue = stop.requeue.unwrap_or_else(|| backoff(record));
    Outcome { condition: stop.condition, plan: None, report: None, requeue }
}

/// The delay before the next look at an environment that is not ready: 2 s, doubled with each failure in a row, at most
/// its interval or five minutes, whichever is longer. What waits for a person or a commit begins at 32 s: a commit wakes
/// it anyway.
fn backoff(record: &EnvironmentRecord) -> Duration {
    let stalled = matches!(record.condition, Condition::Stalled { .. });
    let grown = 2_u64.saturating_pow(record.failures.clamp(if stalled { 5 } else { 1 }, 20));
    Duration::from_secs(grown.min(record.interval_seconds.max(300)))
}

/// A pass, and where it goes no further since a rollback says so: that rollback first, if it never came to its end.
async fn whole_pass(context: &Context, record: &EnvironmentRecord, revision: &Revision, force: bool) -> Result<Outcome, Stop> {
    let environment = &record.environment;
    let stop = match Box::pin(pass(context, record, revision, force)).await {
        Err(stop) if rollback::is_left(context, environment)? => stop,
        ended => return ended,
    };
    tracing::info!(%environment, reason = stop.condition.message(), "Taking up a rollback that did not come to its end.");
    Box::pin(rollback::take_up(context, record)).await?;
    let record = context.store.environment(environment).map_err(|error| Stop::internal(&error))?;
    match record {
        Some(record) => Box::pin(pass(context, &record, revision, force)).await,
        None => Err(stop),
    }
}

async fn pass(context: &Context, record: &EnvironmentRecord, revision: &Revision, force: bool) -> Result<Outcome, Stop> {
    let now = Utc::now();
    // What a dead process left half-done is looked at, whatever its inputs were.
    let force = force || interrupted::newest(context, &record.environment)?.is_some();
    let rules = load_rules(context).map_err(|message| Stop::stalled(ConditionReason::Denied, message))?;
    let (resolved, inputs) = match resolve::resolve(context, record, revision, &rules, force).await? {
        Resolved::Unchanged => return unchanged(context, record, revision, now),
        Resolved::Changed { bundle, inputs } => (bundle, inputs),
    };
    recover::left_under_way(context, &record.environment)?;
    let look = observe::look(record, force, now);
    let mut prepared = prepare(context, record, *resolved, revision, (look, RunKind::Apply)).await?;
    let followed = recover::follow_up(&prepared).await;
    verdict::takes_from_nobody(context, &prepared)?;
    recover::record(context, &prepared.recovery)?;
    let mut next = record.clone();
    next.seen = Some(revision.clone());
    next.rules = rules.as_ref().map(resolve::rules_digest);
    next.interval_seconds = prepared.bundle.desired.sync.interval_seconds;
    next.orphaned = prepared.plan.orphaned.iter().map(|o| format!("{}: {}", o.key, o.reason)).collect();
    // What could not be read has its turn again.
    if prepared.plan.blocked.is_empty() {
        next.read_to = prepared.read_to.take();
    }
    let mut step = Step {
        context,
        record: next,
        inputs,
        revision,
        kind: RunKind::Apply,
        quarantine: None,
        drifted: Vec::new(),
        held: None,
        followed,
        now,
    };
    verdict::held_by_quarantine(context, &prepared)?;
    if prepared.bundle.desired.sync.drift == DriftMode::Report {
        let rest = prepared.plan.without_drift();
        let is_left = |change: &&plan::Change| !rest.changes.contains(change);
        step.drifted = prepared.plan.changes.iter().filter(is_left).map(|change| change.key.to_string()).collect();
        prepared.plan = rest;
    }
    if prepared.plan.is_empty() {
        return step.nothing_to_do(prepared).await;
    }
    let (approved, warnings) =
        verdict::judge(context, &step.record, &prepared, revision, rules, PolicyRunKind::Apply, now).await?;
    step.carry_out(prepared, &approved, warnings).await
}

/// Everything up to the plan; that of a rollback knows no steps. Nothing is written: a dry run is to call this, and nothing
/// else.
///
/// # Errors
/// [`Stop`] where there can be no plan now.
pub async fn prepare(
    context: &Context,
    record: &EnvironmentRecord,
    bundle: Bundle,
    revision: &Revision,
    (look, kind): (Look, RunKind),
) -> Result<Prepared, Stop> {
    let environment = &record.environment;
    let store = |error: crate::store::StoreError| Stop::internal(&error);
    if let Some(address) = unbuilt(&bundle.desired) {
        return Err(Stop::stalled(ConditionReason::BuildFailed, format!("the modules of `{address}` were not built")));
    }
    let inventory = context.store.inventory(environment).map_err(store)?;
    let Bundle { desired, contents } = bundle;
    let bundle = Bundle { desired: plan::inherit_claims(&desired, &inventory).into_owned(), contents };
    let opener = Arc::new(observe::open_secrets(context, &bundle.desired)?);
    let providers = observe::connect(context, &bundle.desired, &opener)?;
    let lost = context.store.lost(environment).map_err(store)?;
    let attempts = recover::attempts(context, environment, &lost)?;
    let last = record.read_to.as_ref();
    let mut seen = observe::observe(&bundle.desired, &inventory, &attempts, &providers, (look, last)).await;
    let (mut inventory, mut recovery) = recover::recover(&attempts, &lost, &seen.observed, inventory);
    if !recovery.is_empty() {
        // What is ours now may be called otherwise than what was looked for.
        seen = observe::observe(&bundle.desired, &inventory, &[], &providers, (look, last)).await;
    }
    let left_out = offline::leave_out(&bundle.desired, &seen.away)?;
    let marks = opener.marks(&bundle.desired.used_secrets());
    let orders = context.store.rollout_orders(environment).map_err(store)?;
    let steering = orders.steering(Utc::now(), kind == RunKind::Rollback);
    let scene = Scene { desired: &bundle.desired, marks: &marks, seen: &seen, revision, steering: &steering };
    recovery.learn(&scene, &mut inventory);
    recovery.add_lost(lost);
    let plan = verdict::plan(context, record, &scene, &inventory).await?;
    let observe::Seen { observed, read_to, .. } = seen;
    Ok(Prepared { bundle, inventory, observed, plan, marks, read_to, recovery, left_out, providers })
}

/// A Worker whose modules are still to be built: there is no plan for it.
fn unbuilt(desired: &DesiredState) -> Option<&Address> {
    let mut workers = desired.resources.iter().filter_map(|(key, desired)| match &desired.spec {
        Spec::Worker(worker) => Some((&key.address, worker)),
        _ => None,
    });
    workers.find(|(_, worker)| !worker.modules.contains_key(&worker.main)).map(|(address, _)| address)
}

/// What is desired and what is there, as the planner takes it.
struct Scene<'a> {
    desired: &'a DesiredState,
    marks: &'a BTreeMap<ResourceName, SecretMark>,
    seen: &'a observe::Seen,
    revision: &'a Revision,
    steering: &'a plan::Steering,
}

impl<'a> Scene<'a> {
    fn input(&self, inventory: &'a Inventory, acknowledged: &'a BTreeSet<Address>) -> plan::Input<'a> {
        plan::Input {
            desired: self.desired,
            marks: self.marks,
            observed: &self.seen.observed,
            successors: &self.seen.successors,
            inventory,
            acknowledged,
            commit: if self.revision.is_worktree() { "worktree" } else { &self.revision.commit },
            steering: self.steering,
        }
    }
}

/// Nothing that this environment reads has changed: at most the revision that was seen moves on.
fn unchanged(context: &Context, record: &EnvironmentRecord, revision: &Revision, now: DateTime<Utc>) -> Result<Outcome, Stop> {
    if record.seen.as_ref() != Some(revision) {
        let record = EnvironmentRecord { seen: Some(revision.clone()), applied: Some(revision.clone()), ..record.clone() };
        context.store.move_on(&record).map_err(|error| Stop::internal(&error))?;
    }
    Ok(Outcome { condition: record.condition.clone(), plan: None, report: None, requeue: until_due(record, now) })
}

/// How long until the next pass, although nothing wakes us.
fn next_look(record: &EnvironmentRecord, now: DateTime<Utc>) -> Duration {
    if record.condition.is_settled() { until_due(record, now) } else { backoff(record) }
}

/// How long until the live world is to be looked at again.
fn until_due(record: &EnvironmentRecord, now: DateTime<Utc>) -> Duration {
    let interval = TimeDelta::seconds(i64::try_from(record.interval_seconds).unwrap_or(i64::MAX / 1_000));
    let due = record.observed_at.map_or(now, |at| at + interval);
    (due - now).to_std().unwrap_or(Duration::ZERO).max(Duration::from_millis(100))
}

/// Whether the live world is to be looked at now.
fn is_due(record: &EnvironmentRecord, now: DateTime<Utc>) -> bool {
    until_due(record, now) <= Duration::from_millis(100)
}
