//! Run an approved plan: intents before calls, outcomes with the inventory, independent changes side by side.
//!
//! Goes in: an [`ApprovedPlan`], its bundle, the providers. Comes out: one [`ChangeResult`] for each change; the journal
//! has been written on the way.
//!
//! **Invariant:** the executor decides nothing but what is ready: what is done, to what, and in which order stands in
//! the plan. There is no dry run in here; a dry run is not calling this.

mod batches;
mod order;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;

use crate::boundary;
use crate::model::{Contents, DesiredState, InstanceKey, ObservedState, Retry, TargetName};
use crate::plan::{Action, Change, Inventory, Owned, Plan};
use crate::policy::ApprovedPlan;
use crate::provider::{Outcome, Provider, Receipt};
use crate::record::{Generation, Operation, OperationState};
use crate::store::{Settled, Store, StoreError};

use batches::Batches;

/// The providers of an environment's targets.
pub type Providers = BTreeMap<TargetName, Box<dyn Provider>>;

/// Everything that an apply needs.
pub struct Run<'a> {
    /// What may be done.
    pub approved: &'a ApprovedPlan,
    /// What is desired: the specs behind the changes.
    pub desired: &'a DesiredState,
    /// The bytes that the specs refer to.
    pub contents: Arc<Contents>,
    /// The generation that this run is.
    pub generation: &'a Generation,
    /// What is owned before it.
    pub inventory: &'a Inventory,
    /// What was observed for the plan.
    pub observed: &'a ObservedState,
    /// Where to do it.
    pub providers: &'a Providers,
    /// Where it is recorded.
    pub store: &'a Store,
    /// Operations whose outcome was never seen, by instance.
    pub earlier: &'a BTreeMap<InstanceKey, Vec<String>>,
    /// When set, the changes in hand are finished and recorded, and no more are begun.
    pub stop: &'a CancellationToken,
    /// Told of every change that begins or ends.
    pub progress: &'a (dyn Fn(Progress<'_>) + Sync),
}

/// A step of an apply, for whoever watches.
#[derive(Debug, Clone, Copy)]
pub enum Progress<'a> {
    /// A change begins.
    Begins(&'a Change),
    /// A change ended.
    Ended(&'a Change, &'a ChangeResult),
}

/// What became of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangeResult {
    /// Carried out and read back.
    Done,
    /// Certainly not carried out.
    Refused(Failure),
    /// The live thing is not what the plan saw; nothing was overwritten.
    Conflict(String),
    /// It may have been carried out; the next pass observes it after settling.
    Unknown(Failure),
    /// Not begun, since a change that it needs was not carried out.
    Skipped(InstanceKey),
    /// Not begun, since this change on a host of an earlier batch was not carried out.
    Behind(InstanceKey),
    /// Not begun, since the run was stopped.
    NotBegun,
}

/// Why a change was not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What is wrong, the causes included; no secret in it.
    pub message: String,
    /// What the reader can do now.
    pub hint: Option<String>,
    /// When it makes sense to try again.
    pub retry: Retry,
}

/// What became of a run: one result for each change, in the order of the plan.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// By change.
    pub results: Vec<(Change, ChangeResult)>,
    /// What followed a change that was carried out and could not be done, for people.
    pub warnings: Vec<String>,
}

impl Report {
    /// Whether every change was carried out.
    pub fn is_complete(&self) -> bool {
        self.results.iter().all(|(_, result)| *result == ChangeResult::Done)
    }
}

/// Carries the plan out.
///
/// # Errors
/// [`StoreError`] where an intent or an outcome cannot be made durable: no further call is made then.
pub async fn apply(run: &Run<'_>) -> Result<Report, StoreError> {
    let plan = run.approved.plan();
    let mut known = order::attributes(run.inventory, run.observed);
    let batches = Batches::of(plan);
    let mut results: Results = vec![None; plan.changes.len()];
    let mut warnings = Vec::new();
    loop {
        skip_after_failures(run, &batches, &mut results);
        let ready = ready_in_turn(run, &batches, &results);
        if ready.is_empty() || run.stop.is_cancelled() {
            break;
        }
        for (at, result, receipt) in carry_out_ready(run, &ready, &known).await? {
            let change = &plan.changes[at];
            if let Some(receipt) = receipt {
                warnings.extend(receipt.warnings.iter().map(|warning| format!("{}: {warning}", change.key)));
                known.insert(change.key.clone(), receipt.attributes);
            }
            (run.progress)(Progress::Ended(change, &result));
            results[at] = Some(result);
        }
    }
    let results = plan.changes.iter().cloned().zip(results.into_iter().map(|result| result.unwrap_or(ChangeResult::NotBegun)));
    Ok(Report { results: results.collect(), warnings })
}

/// By the position of the change: an instance that is replaced stands twice in a plan.
type Results = Vec<Option<ChangeResult>>;

/// The positions that the change at `at` comes after: all changes of those instances that stand before it.
fn before(plan: &Plan, at: usize) -> impl Iterator<Item = usize> {
    let waits_for = &plan.changes[at].after_changes;
    plan.changes[..at].iter().enumerate().filter(|(_, change)| waits_for.contains(&change.key)).map(|(position, _)| position)
}

/// The changes that can be begun now, of the batch of hosts whose turn it is.
fn ready_in_turn(run: &Run<'_>, batches: &Batches, results: &Results) -> Vec<usize> {
    let unfinished = batches.unfinished(results);
    if unfinished.is_empty() {
        return ready(run, results, &|_| true);
    }
    let mut in_turn = unfinished.into_iter().map(|batch| ready(run, results, &|at| !batches.is_after(at, batch)));
    in_turn.find(|ready| !ready.is_empty()).unwrap_or_default()
}

/// The changes that can be begun now, in the order of the plan. A target that orders by itself takes what its other changes
/// need along with them: one round trip, however long the chain.
fn ready(run: &Run<'_>, results: &Results, is_open: &dyn Fn(usize) -> bool) -> Vec<usize> {
    let changes = &run.approved.plan().changes;
    let mut ready: Vec<usize> = Vec::new();
    let mut batches: BTreeMap<&TargetName, (bool, usize)> = BTreeMap::new();
    for at in (0..changes.len()).filter(|&at| results[at].is_none() && is_open(at)) {
        let target = &changes[at].key.target;
        let (by_itself, room) = batches.entry(target).or_insert_with(|| {
            run.providers
                .get(target)
                .map_or((false, usize::MAX), |provider| (provider.orders_by_itself(), provider.batch().max(1)))
        });
        let along =
            |position: usize| *by_itself && changes[position].key.target == *target && ready.binary_search(&position).is_ok();
        let is_met = |position: usize| results[position] == Some(ChangeResult::Done) || along(position);
        if *room > 0 && before(run.approved.plan(), at).all(is_met) {
            ready.push(at);
            *room -= 1;
        }
    }
    ready
}

/// Marks what can no longer be begun, until nothing more follows from it.
fn skip_after_failures(run: &Run<'_>, batches: &Batches, results: &mut Results) {
    let plan = run.approved.plan();
    let mut again = true;
    while std::mem::take(&mut again) {
        let stopped = batches.failed(results);
        // The plan's order is topological, and that of the batches another.
        for at in 0..plan.changes.len() {
            let failed = |position: &usize| results[*position].as_ref().is_some_and(|result| *result != ChangeResult::Done);
            if results[at].is_some() {
                continue;
            }
            let key = |cause: usize| plan.changes[cause].key.clone();
            let needed = before(plan, at).find(failed).map(|cause| ChangeResult::Skipped(key(cause)));
            let behind = stopped.filter(|(batch, _)| batches.is_after(at, *batch));
            let left = needed.or_else(|| behind.map(|(_, cause)| ChangeResult::Behind(key(cause))));
            if let Some(result) = left {
                (run.progress)(Progress::Ended(&plan.changes[at], &result));
                results[at] = Some(result);
                again = true;
            }
        }
    }
}

type Ended = Vec<(usize, ChangeResult, Option<Receipt>)>;

/// One batch on each target at once.
async fn carry_out_ready(run: &Run<'_>, ready: &[usize], known: &order::Attributes) -> Result<Ended, StoreError> {
    let mut by_target: BTreeMap<&TargetName, Vec<usize>> = BTreeMap::new();
    for &at in ready {
        by_target.entry(&run.approved.plan().changes[at].key.target).or_default().push(at);
    }
    let batches = by_target.into_iter().map(|(target, positions)| carry_out_batch(run, target, positions, known));
    let mut ended = Vec::new();
    for batch in join_all(batches).await {
        ended.extend(batch?);
    }
    Ok(ended)
}

async fn carry_out_batch(
    run: &Run<'_>,
    target: &TargetName,
    positions: Vec<usize>,
    known: &order::Attributes,
) -> Result<Ended, StoreError> {
    let changes = &run.approved.plan().changes;
    let Some(provider) = run.providers.get(target) else {
        let failure = |at: usize| Failure {
            message: format!("the target `{target}` of {} is not defined", changes[at].key),
            hint: None,
            retry: Retry::Stalled,
        };
        return Ok(positions.into_iter().map(|at| (at, ChangeResult::Refused(failure(at)), None)).collect());
    };
    let mut orders = Vec::new();
    let mut ordered = Vec::new();
    let mut ended = Ended::new();
    for at in positions {
        let failed = |position: &usize| ended.iter().any(|(other, ..)| other == position);
        if let Some(cause) = before(run.approved.plan(), at).find(failed) {
            ended.push((at, ChangeResult::Skipped(changes[cause].key.clone()), None));
            continue;
        }
        match order::order(run, &changes[at], known).await {
            Ok(order) => {
                orders.push(order);
                ordered.push(at);
            }
            Err(failure) => ended.push((at, ChangeResult::Refused(failure), None)),
        }
    }
    let now = Utc::now();
    let operations: Vec<Operation> = orders.iter().map(|order| intent(run, order, now, provider.settle())).collect();
    boundary::reach("before_intent");
    run.store.intend(&operations)?;
    boundary::reach("after_intent");
    ordered.iter().for_each(|&at| (run.progress)(Progress::Begins(&changes[at])));
    let outcomes = provider.carry_out(&orders).await;
    boundary::reach("after_effect");
    let mut settled = Vec::new();
    for ((at, order), outcome) in ordered.into_iter().zip(&orders).zip(outcomes) {
        let (result, receipt) = result_of(outcome);
        settled.push(settlement(run, &changes[at], &order.marker.operation, &result, receipt.as_ref()));
        ended.push((at, result, receipt));
    }
    run.store.settle(&settled)?;
    boundary::reach("after_outcome");
    Ok(ended)
}

fn intent(run: &Run<'_>, order: &crate::provider::Order, now: DateTime<Utc>, settle: std::time::Duration) -> Operation {
    let change = &order.change;
    Operation {
        id: order.marker.operation.clone(),
        environment: run.generation.environment.clone(),
        generation: run.generation.number,
        key: change.key.clone(),
        action: change.action,
        claim: change.claim.clone(),
        from: change.from.as_ref().map(|from| from.on(change.key.target.clone())),
        after: change.after.clone(),
        desired: change.desired,
        precondition: change.precondition.clone(),
        revision: order.revision.clone(),
        depends_on: change.depends_on.clone(),
        state: OperationState::Intent,
        intent_at: now,
        settle_until: TimeDelta::from_std(settle)
            .ok()
            .and_then(|settle| now.checked_add_signed(settle))
            .unwrap_or(DateTime::<Utc>::MAX_UTC),
        error: None,
    }
}

fn result_of(outcome: Outcome) -> (ChangeResult, Option<Receipt>) {
    let failure = |error: crate::provider::ProviderError| Failure {
        message: crate::provider::chain(&error),
        hint: error.hint.clone(),
        retry: error.retry,
    };
    match outcome {
        Outcome::Done(receipt) => (ChangeResult::Done, Some(receipt)),
        Outcome::Refused(error) => (ChangeResult::Refused(failure(error)), None),
        Outcome::Conflict(message) => (ChangeResult::Conflict(message), None),
        Outcome::Unknown(error) => (ChangeResult::Unknown(failure(error)), None),
        Outcome::NotBegun(needed) => (ChangeResult::Skipped(needed), None),
    }
}

fn settlement(run: &Run<'_>, change: &Change, operation: &str, result: &ChangeResult, receipt: Option<&Receipt>) -> Settled {
    let (state, error) = match result {
        ChangeResult::Done => (OperationState::Done, None),
        ChangeResult::Refused(failure) => (OperationState::Refused, Some(failure.message.clone())),
        ChangeResult::Conflict(message) => (OperationState::Conflict, Some(message.clone())),
        ChangeResult::Unknown(failure) => (OperationState::Unknown, Some(failure.message.clone())),
        // Ordered along with what it needs, and not begun.
        ChangeResult::Skipped(_) | ChangeResult::Behind(_) | ChangeResult::NotBegun => (OperationState::Refused, None),
    };
    let inventory = receipt.map(|receipt| {
        (change.action != Action::Delete).then(|| Owned {
            claim: change.claim.clone(),
            properties: receipt.properties.clone(),
            attributes: receipt.attributes.clone(),
            fingerprint: receipt.fingerprint.clone(),
            desired: change.desired,
            revision: run.generation.revision.clone(),
            operation: operation.to_owned(),
            depends_on: change.depends_on.clone(),
        })
    });
    Settled { operation: operation.to_owned(), state, at: Utc::now(), error, inventory }
}

/// The changes that a report shows as not carried out, for people: one line each.
pub fn failures(report: &Report) -> Vec<String> {
    let is_left =
        |result: &ChangeResult| matches!(result, ChangeResult::Skipped(_) | ChangeResult::Behind(_) | ChangeResult::NotBegun);
    let left = report.results.iter().filter(|(_, result)| is_left(result)).count();
    let mut lines: Vec<String> = report
        .results
        .iter()
        .filter_map(|(change, result)| {
            let what = format!("{} {}", change.action.as_str(), change.key);
            match result {
                ChangeResult::Refused(failure) => {
                    Some(with_hint(format!("{what}: {}", failure.message), failure.hint.as_deref()))
                }
                ChangeResult::Unknown(failure) => {
                    Some(with_hint(format!("{what}: outcome unknown: {}", failure.message), failure.hint.as_deref()))
                }
                ChangeResult::Conflict(message) => Some(format!("{what}: {message}")),
                ChangeResult::Done | ChangeResult::Skipped(_) | ChangeResult::Behind(_) | ChangeResult::NotBegun => None,
            }
        })
        .collect();
    let behind = report.results.iter().filter_map(|(change, result)| match result {
        ChangeResult::Behind(cause) => Some((&change.key.target, cause)),
        _ => None,
    });
    let (hosts, causes): (BTreeSet<String>, BTreeSet<&InstanceKey>) =
        behind.map(|(host, cause)| (format!("`{host}`"), cause)).unzip();
    if let Some(cause) = causes.first() {
        let hosts = hosts.into_iter().collect::<Vec<_>>().join(", ");
        lines.push(format!("{hosts}: left as they are, in a later batch than {cause}, which was not carried out"));
    }
    if left > 0 {
        lines.push(format!("{left} more not begun"));
    }
    lines
}

fn with_hint(line: String, hint: Option<&str>) -> String {
    match hint {
        Some(hint) => format!("{line} ({hint})"),
        None => line,
    }
}
