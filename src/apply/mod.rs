//! Run an approved plan: intents before calls, outcomes with the inventory, independent changes side by side.
//!
//! Goes in: an [`ApprovedPlan`], its bundle, the providers. Comes out: one [`ChangeResult`] for each change; the journal
//! has been written on the way.
//!
//! **Invariant:** the executor decides nothing but what is ready: what is done, to what, and in which order stands in
//! the plan. There is no dry run in here; a dry run is not calling this.

pub mod boundary;
mod order;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;

use crate::model::{Contents, DesiredState, InstanceKey, ObservedState, Retry, TargetName};
use crate::plan::{Action, Change, Inventory, Owned};
use crate::policy::ApprovedPlan;
use crate::provider::{Outcome, Provider, Receipt};
use crate::record::{Generation, Operation, OperationState};
use crate::store::{Settled, Store, StoreError};

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
    let mut results: BTreeMap<InstanceKey, ChangeResult> = BTreeMap::new();
    loop {
        skip_after_failures(run, &mut results);
        let done = |key: &InstanceKey| results.get(key) == Some(&ChangeResult::Done);
        let ready: Vec<&Change> =
            plan.changes.iter().filter(|c| !results.contains_key(&c.key) && c.after_changes.iter().all(done)).collect();
        if ready.is_empty() || run.stop.is_cancelled() {
            break;
        }
        for (change, result, receipt) in carry_out_ready(run, &ready, &known).await? {
            if let Some(receipt) = receipt {
                known.insert(change.key.clone(), receipt.attributes);
            }
            (run.progress)(Progress::Ended(change, &result));
            results.insert(change.key.clone(), result);
        }
    }
    let results = plan
        .changes
        .iter()
        .map(|change| (change.clone(), results.remove(&change.key).unwrap_or(ChangeResult::NotBegun)))
        .collect();
    Ok(Report { results })
}

/// Marks what can no longer be begun, until nothing more follows from it.
fn skip_after_failures(run: &Run<'_>, results: &mut BTreeMap<InstanceKey, ChangeResult>) {
    // The plan's order is topological: one walk reaches every consequence.
    for change in &run.approved.plan().changes {
        let failed = |key: &&InstanceKey| results.get(key).is_some_and(|result| *result != ChangeResult::Done);
        if results.contains_key(&change.key) {
            continue;
        }
        if let Some(cause) = change.after_changes.iter().find(failed) {
            let result = ChangeResult::Skipped(cause.clone());
            (run.progress)(Progress::Ended(change, &result));
            results.insert(change.key.clone(), result);
        }
    }
}

type Ended<'a> = Vec<(&'a Change, ChangeResult, Option<Receipt>)>;

/// One batch on each target at once.
async fn carry_out_ready<'a>(run: &Run<'_>, ready: &[&'a Change], known: &order::Attributes) -> Result<Ended<'a>, StoreError> {
    let mut by_target: BTreeMap<&TargetName, Vec<&'a Change>> = BTreeMap::new();
    for change in ready {
        by_target.entry(&change.key.target).or_default().push(change);
    }
    let batches = by_target.into_iter().map(|(target, changes)| carry_out_batch(run, target, changes, known));
    let mut ended = Vec::new();
    for batch in join_all(batches).await {
        ended.extend(batch?);
    }
    Ok(ended)
}

async fn carry_out_batch<'a>(
    run: &Run<'_>,
    target: &TargetName,
    mut changes: Vec<&'a Change>,
    known: &order::Attributes,
) -> Result<Ended<'a>, StoreError> {
    let Some(provider) = run.providers.get(target) else {
        let failure = |change: &Change| Failure {
            message: format!("the target `{target}` of {} is not defined", change.key),
            hint: None,
            retry: Retry::Stalled,
        };
        return Ok(changes.into_iter().map(|change| (change, ChangeResult::Refused(failure(change)), None)).collect());
    };
    changes.truncate(provider.batch().max(1));
    let mut orders = Vec::new();
    let mut ordered = Vec::new();
    let mut ended: Ended<'a> = Vec::new();
    for change in changes {
        match order::order(run, change, known) {
            Ok(order) => {
                orders.push(order);
                ordered.push(change);
            }
            Err(failure) => ended.push((change, ChangeResult::Refused(failure), None)),
        }
    }
    let now = Utc::now();
    let operations: Vec<Operation> = orders.iter().map(|order| intent(run, order, now, provider.settle())).collect();
    boundary::reach("before_intent");
    run.store.intend(&operations)?;
    boundary::reach("after_intent");
    ordered.iter().for_each(|change| (run.progress)(Progress::Begins(change)));
    let outcomes = provider.carry_out(&orders).await;
    boundary::reach("after_effect");
    let mut settled = Vec::new();
    for ((change, order), outcome) in ordered.into_iter().zip(&orders).zip(outcomes) {
        let (result, receipt) = result_of(outcome);
        settled.push(settlement(run, change, &order.marker.operation, &result, receipt.as_ref()));
        ended.push((change, result, receipt));
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
        settle_until: now + TimeDelta::from_std(settle).unwrap_or(TimeDelta::MAX),
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
    }
}

fn settlement(run: &Run<'_>, change: &Change, operation: &str, result: &ChangeResult, receipt: Option<&Receipt>) -> Settled {
    let (state, error) = match result {
        ChangeResult::Done => (OperationState::Done, None),
        ChangeResult::Refused(failure) => (OperationState::Refused, Some(failure.message.clone())),
        ChangeResult::Conflict(message) => (OperationState::Conflict, Some(message.clone())),
        ChangeResult::Unknown(failure) => (OperationState::Unknown, Some(failure.message.clone())),
        // Only what was ordered is settled.
        ChangeResult::Skipped(_) | ChangeResult::NotBegun => (OperationState::Refused, None),
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
    Settled { operation: operation.to_owned(), state, error, inventory }
}

/// The changes that a report shows as not carried out, for people: one line each.
pub fn failures(report: &Report) -> Vec<String> {
    let skipped: BTreeSet<_> = report
        .results
        .iter()
        .filter(|(_, r)| matches!(r, ChangeResult::Skipped(_) | ChangeResult::NotBegun))
        .map(|(c, _)| &c.key)
        .collect();
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
                ChangeResult::Done | ChangeResult::Skipped(_) | ChangeResult::NotBegun => None,
            }
        })
        .collect();
    if !skipped.is_empty() {
        lines.push(format!("{} more not begun", skipped.len()));
    }
    lines
}

fn with_hint(line: String, hint: Option<&str>) -> String {
    match hint {
        Some(hint) => format!("{line} ({hint})"),
        None => line,
    }
}
