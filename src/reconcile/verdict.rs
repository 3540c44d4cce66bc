//! Whether a plan may run: acknowledgements, quarantine, rules.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::{Context, Prepared, Scene, Stop, with_source};
use crate::apply::{ChangeResult, Report};
use crate::model::{Address, DesiredState, Digest, EnvironmentId, ResourceName, Retry, Revision, SecretMark, canonical_digest};
use crate::plan::{self, BlockReason, Inventory, Plan};
use crate::policy::{self, Acknowledgement, ApprovedPlan, Budget, Refusal, Request, RuleFiles};
use crate::record::{Condition, ConditionReason, EnvironmentRecord, QuarantineEntry, absent_digest};

/// How many commits are searched for trailers.
const COMMITS: usize = 1_000;

/// The plan; commits are searched for acknowledgements only where one could matter.
pub(super) async fn plan(
    context: &Context,
    record: &EnvironmentRecord,
    scene: &Scene<'_>,
    inventory: &Inventory,
) -> Result<Plan, Stop> {
    let made = plan::plan(&scene.input(inventory, &BTreeSet::new()));
    if made.orphaned.is_empty() {
        return Ok(made);
    }
    let acknowledged = policy::acknowledged_deletes(&acknowledgements(context, record, scene.revision).await?);
    Ok(if acknowledged.is_empty() { made } else { plan::plan(&scene.input(inventory, &acknowledged)) })
}

/// The acknowledgements in the commits since the last applied revision: each is used once, since the next search starts
/// behind it.
pub(super) async fn acknowledgements(
    context: &Context,
    record: &EnvironmentRecord,
    revision: &Revision,
) -> Result<BTreeSet<Acknowledgement>, Stop> {
    if revision.is_worktree() {
        return Ok(BTreeSet::new());
    }
    let (after, upto) = (record.applied.as_ref().map(|r| r.commit.clone()), revision.commit.clone());
    let commits = with_source(&context.source, move |source| source.commits(after.as_deref(), &upto, COMMITS)).await;
    let commits = commits.map_err(|error| Stop::internal(&error))?;
    Ok(policy::acknowledgements(commits.iter().map(|commit| commit.message.as_str())))
}

/// Every desired digest by address; an instance on several targets has one for each.
pub(super) fn desired_digests(desired: &DesiredState, marks: &BTreeMap<ResourceName, SecretMark>) -> BTreeSet<(Address, Digest)> {
    desired.resources.iter().map(|(key, d)| (key.address.clone(), canonical_digest(&d.spec.properties(marks)))).collect()
}

/// Holds a desired state that still carries what a rollback took back.
pub(super) fn held_by_quarantine(context: &Context, prepared: &Prepared) -> Result<(), Stop> {
    let environment = &prepared.bundle.desired.environment;
    let Some(quarantine) = context.store.quarantine(environment).map_err(|error| Stop::internal(&error))? else {
        return Ok(());
    };
    let digests = desired_digests(&prepared.bundle.desired, &prepared.marks);
    let carries = |entry: &&QuarantineEntry| {
        if entry.desired == absent_digest() {
            !digests.iter().any(|(address, _)| *address == entry.address)
        } else {
            digests.contains(&(entry.address.clone(), entry.desired))
        }
    };
    let held: BTreeSet<String> = quarantine.entries.iter().filter(carries).map(|entry| entry.address.to_string()).collect();
    if held.is_empty() {
        // What was taken back is gone from the definitions: it rolls forward by itself, and the quarantine has done its work.
        return context.store.put_quarantine(environment, None).map_err(|error| Stop::internal(&error));
    }
    let held: Vec<String> = held.into_iter().collect();
    Err(Stop::stalled(
        ConditionReason::Quarantined,
        format!(
            "held: {} still as in {}, which was rolled back by {}; merge a commit that changes it, or run `trunkline resume {environment}`",
            held.join(", "),
            quarantine.abandoned,
            quarantine.owner,
        ),
    ))
}

/// Judges a plan by the rules of the ratchet and by those of the commit itself.
///
/// # Errors
/// [`Stop`] where the rules, a budget or a missing acknowledgement say no.
pub async fn judge(
    context: &Context,
    record: &EnvironmentRecord,
    prepared: &Prepared,
    revision: &Revision,
    pinned: Option<RuleFiles>,
    kind: policy::RunKind,
    now: DateTime<Utc>,
) -> Result<(ApprovedPlan, Vec<String>), Stop> {
    let ratchet = policy::ratchet(kind, pinned, recorded_rules(context, record)?, rule_files(&prepared.bundle));
    let rules = ratchet.compile().map_err(|faults| {
        let read = |path: &str| ratchet.standing.get(path).or_else(|| ratchet.own.as_ref()?.get(path)).cloned();
        Stop::stalled(ConditionReason::Denied, crate::document::render(&faults, &read, false))
    })?;
    let deletes = prepared.plan.changes.iter().any(|change| change.action == plan::Action::Delete);
    let acknowledged = if deletes { acknowledgements(context, record, revision).await? } else { BTreeSet::new() };
    let verdict = policy::evaluate(Request {
        plan: &prepared.plan,
        desired: &prepared.bundle.desired,
        rules: &rules,
        kind,
        now,
        budget: Budget { instances: context.settings.max_deletes, percent: context.settings.max_delete_percent },
        owned: prepared.inventory.len(),
        acknowledged: &acknowledged,
    });
    let lines = |messages: Vec<policy::Message>| messages.iter().map(line).collect::<Vec<_>>();
    match verdict.approved {
        Ok(approved) => {
            let mut warnings = lines(verdict.warnings);
            if verdict.bootstrap {
                warnings.push(
                    "bootstrap: this first revision is judged by its own rules; from the next on, by those recorded with it"
                        .to_owned(),
                );
            }
            Ok((approved, warnings))
        }
        Err(Refusal::Denied(messages)) => {
            Err(Stop::stalled(ConditionReason::Denied, format!("denied: {}", lines(messages).join("; "))))
        }
        Err(Refusal::Held(messages)) => {
            Err(Stop::stalled(ConditionReason::Held, format!("held: {}", lines(messages).join("; "))))
        }
    }
}

fn line(message: &policy::Message) -> String {
    let policy::Message { address, rule, message, hint } = message;
    let address = address.as_ref().map(|address| format!("{address}: ")).unwrap_or_default();
    let hint = hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
    format!("{address}{message}{hint} [{rule}]")
}

fn recorded_rules(context: &Context, record: &EnvironmentRecord) -> Result<Option<RuleFiles>, Stop> {
    let Some(digest) = record.rules_of else { return Ok(None) };
    let bundle = context.store.bundle(&digest).map_err(|error| Stop::internal(&error))?;
    Ok(bundle.map(|bundle| rule_files(&bundle)))
}

fn rule_files(bundle: &crate::model::Bundle) -> RuleFiles {
    let files = bundle.desired.policies.iter();
    files.filter_map(|(path, content)| Some((path.clone(), bundle.contents.get(&content.sha256)?.clone()))).collect()
}

/// Where the environment stands, if something could not be planned for.
pub(super) fn blocked(plan: &Plan) -> Option<Condition> {
    let first = plan.blocked.iter().find(|b| !matches!(b.reason, BlockReason::Dependency(_))).or_else(|| plan.blocked.first())?;
    let more = plan.blocked.len() - 1;
    let more = if more == 0 { String::new() } else { format!("; and {more} more") };
    Some(match &first.reason {
        BlockReason::Unknown(message) => {
            Condition::Reconciling { reason: ConditionReason::Unreachable, message: format!("{}: {message}{more}", first.key) }
        }
        BlockReason::NotOurs(message) => {
            Condition::Stalled { reason: ConditionReason::NotOurs, message: format!("{}: {message}{more}", first.key) }
        }
        BlockReason::Dependency(key) => Condition::Stalled {
            reason: ConditionReason::NotOurs,
            message: format!("{} needs {key}, which is blocked{more}", first.key),
        },
    })
}

/// Where an environment stands after an apply that was not complete.
pub(super) fn failed(report: &Report, message: String) -> Condition {
    let passes = |result: &ChangeResult| match result {
        ChangeResult::Unknown(_)
        | ChangeResult::Conflict(_)
        | ChangeResult::NotBegun
        | ChangeResult::Skipped(_)
        | ChangeResult::Done => true,
        ChangeResult::Refused(failure) => failure.retry != Retry::Stalled,
    };
    if report.results.iter().all(|(_, result)| passes(result)) {
        Condition::Reconciling { reason: ConditionReason::ApplyFailed, message }
    } else {
        Condition::Stalled { reason: ConditionReason::ApplyFailed, message }
    }
}

/// What a rollback from `bad` to `good` quarantines.
pub(super) fn introduced(
    environment: &EnvironmentId,
    bad: &BTreeSet<(Address, Digest)>,
    good: &BTreeSet<(Address, Digest)>,
) -> Vec<QuarantineEntry> {
    let came = bad.difference(good).map(|(address, desired)| QuarantineEntry { address: address.clone(), desired: *desired });
    let left = good
        .iter()
        .filter(|(address, _)| !bad.iter().any(|(other, _)| other == address))
        .map(|(address, _)| QuarantineEntry { address: address.clone(), desired: absent_digest() });
    let entries: BTreeSet<_> = came.chain(left).filter(|entry| entry.address.environment == *environment).collect();
    entries.into_iter().collect()
}
