//! Whether a plan may run: acknowledgements, quarantine, rules.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::offline::LeftOut;
use super::{Context, Prepared, Scene, Stop, with_source};
use crate::apply::{ChangeResult, Report};
use crate::model::{Address, DesiredState, Digest, InstanceKey, ResourceName, Retry, Revision, SecretMark, canonical_digest};
use crate::plan::{self, BlockReason, Inventory, Plan};
use crate::policy::{self, Acknowledgement, ApprovedPlan, Budget, Refusal, Request, RuleFiles};
use crate::record::{Condition, ConditionReason, EnvironmentRecord, QuarantineEntry, absent_digest};
use crate::source::SourceError;

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
    let commits = with_source(&context.source, move |source| match source.commits(after.as_deref(), &upto, COMMITS) {
        // The repository lacks what was applied last (it was lost, and the history rewritten since): of what came after it,
        // only the newest commit is certain.
        Err(SourceError::UnknownRevision(_)) if after.is_some() => source.commits(None, &upto, 1),
        commits => commits,
    });
    let commits = match commits.await {
        // A rollback to a commit that the repository lacks.
        Err(SourceError::UnknownRevision(_)) => Vec::new(),
        commits => commits.map_err(|error| Stop::internal(&error))?,
    };
    Ok(policy::acknowledgements(commits.iter().map(|commit| commit.message.as_str())))
}

/// Desired digests by instance.
pub(super) type Digests = BTreeMap<InstanceKey, Digest>;

/// The desired digest of every instance.
pub(super) fn desired_digests(desired: &DesiredState, marks: &BTreeMap<ResourceName, SecretMark>) -> Digests {
    desired.resources.iter().map(|(key, d)| (key.clone(), canonical_digest(&d.spec.properties(marks)))).collect()
}

/// The digest over all that makes a difference to what runs: instances, what they are called, and where they live.
pub(super) fn whole_digest(desired: &DesiredState, digests: &Digests) -> Digest {
    let claims: Vec<(&InstanceKey, &str)> = desired.resources.iter().map(|(key, d)| (key, d.spec.claim())).collect();
    let digests: Vec<(&InstanceKey, &Digest)> = digests.iter().collect();
    canonical_digest(&(&desired.targets, desired.retire, claims, digests))
}

/// Whether what is desired is still as the entry says.
pub(super) fn carries(digests: &Digests, entry: &QuarantineEntry) -> bool {
    let QuarantineEntry { address, target, desired } = entry;
    let mut there =
        digests.iter().filter(|(key, _)| key.address == *address && target.as_ref().is_none_or(|target| key.target == *target));
    if *desired == absent_digest() { there.next().is_none() } else { there.any(|(_, digest)| digest == desired) }
}

/// Holds a desired state that still carries what a rollback took back.
///
/// # Errors
/// [`Stop`], naming what it carries.
pub fn held_by_quarantine(context: &Context, prepared: &Prepared) -> Result<(), Stop> {
    let environment = &prepared.bundle.desired.environment;
    let Some(quarantine) = context.store.quarantine(environment).map_err(|error| Stop::internal(&error))? else {
        return Ok(());
    };
    let digests = desired_digests(&prepared.bundle.desired, &prepared.marks);
    let carried = quarantine.entries.iter().filter(|entry| carries(&digests, entry));
    let mut held: BTreeSet<String> = carried.map(|entry| entry.address.to_string()).collect();
    if held.is_empty() && quarantine.whole == Some(whole_digest(&prepared.bundle.desired, &digests)) {
        held.insert("everything".to_owned());
    }
    if held.is_empty() {
        // What was taken back is gone from the definitions: it rolls forward by itself.
        return Ok(());
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
    let mut acknowledged = if deletes { acknowledgements(context, record, revision).await? } else { BTreeSet::new() };
    if kind == policy::RunKind::Rollback {
        // Whoever rolls back names a state that ran: what came since is to go, however much it is. Data stays an orphan.
        acknowledged.insert(Acknowledgement::DeleteBudget(record.environment.clone()));
    }
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
            Err(Stop::stalled(ConditionReason::Denied, format!("denied: {}", lines(messages).join("\ndenied: "))))
        }
        Err(Refusal::Held(messages)) => {
            Err(Stop::stalled(ConditionReason::Held, format!("held: {}", lines(messages).join("\nheld: "))))
        }
    }
}

/// Says no to taking over what another environment owns: what carries no mark of its owner is told by our own records only.
/// To be asked before anything is recorded, since an adoption that changes nothing is no more than a record.
pub(super) fn takes_from_nobody(context: &Context, prepared: &Prepared) -> Result<(), Stop> {
    let store = |error: crate::store::StoreError| Stop::internal(&error);
    let id = |attributes: &BTreeMap<String, String>| attributes.get("id").cloned();
    let adopted = prepared.plan.changes.iter().filter(|change| change.action == plan::Action::Adopt);
    let adopted =
        adopted.filter_map(|c| Some((id(&prepared.observed.get(&c.key)?.present()?.attributes)?, (&c.key, c.claim.as_str()))));
    let learnt =
        prepared.recovery.learnt().filter_map(|(key, owned)| Some((id(&owned.attributes)?, (key, owned.claim.as_str()))));
    // A thing whose id is its name may have a namesake in another account, which is another thing.
    let taken: BTreeMap<String, _> = adopted.chain(learnt).filter(|(id, (_, claim))| id.as_str() != *claim).collect();
    if taken.is_empty() {
        return Ok(());
    }
    for other in context.store.environments().map_err(store)? {
        if other.environment == prepared.bundle.desired.environment {
            continue;
        }
        for (owner, owned) in context.store.inventory(&other.environment).map_err(store)? {
            let same = |(key, _): &&(&crate::model::InstanceKey, &str)| key.address.kind == owner.address.kind;
            if let Some((key, claim)) = id(&owned.attributes).and_then(|id| taken.get(&id)).filter(same) {
                let message =
                    format!("{key}: `{claim}` belongs to {owner}, and is not taken over; two environments cannot own one thing");
                return Err(Stop::stalled(ConditionReason::NotOurs, message));
            }
        }
    }
    Ok(())
}

/// Says no to rules that cannot be compiled: once they were recorded with a revision, nothing could be judged any more, not
/// even the commit that mends them.
pub(super) fn rules_are_sound(prepared: &Prepared) -> Result<(), Stop> {
    let files = rule_files(&prepared.bundle);
    policy::RuleSet::compile(&files).map(drop).map_err(|faults| {
        let read = |path: &str| files.get(path).cloned();
        Stop::stalled(ConditionReason::Denied, crate::document::render(&faults, &read, false))
    })
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
/// What is on a host that is left out waits for that host.
pub(super) fn blocked(plan: &Plan, left_out: &LeftOut) -> Option<Condition> {
    let blocked: Vec<_> = plan.blocked.iter().filter(|blocked| !left_out.includes(&blocked.key.target)).collect();
    let first = blocked.iter().find(|b| !matches!(b.reason, BlockReason::Dependency(_))).or_else(|| blocked.first())?;
    let more = blocked.len() - 1;
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
        | ChangeResult::Behind(_)
        | ChangeResult::Done => true,
        ChangeResult::Refused(failure) => failure.retry != Retry::Stalled,
    };
    if report.results.iter().all(|(_, result)| passes(result)) {
        Condition::Reconciling { reason: ConditionReason::ApplyFailed, message }
    } else {
        Condition::Stalled { reason: ConditionReason::ApplyFailed, message }
    }
}

/// What a rollback from `bad` to `good` quarantines: what came, and what went; on one target only, where the resource was or
/// is like that on another.
pub(super) fn introduced(bad: &Digests, good: &Digests) -> Vec<QuarantineEntry> {
    let of = |digests: &Digests, address: &Address| digests.keys().any(|key| key.address == *address);
    let entry = |key: &InstanceKey, anywhere: bool, desired: Digest| QuarantineEntry {
        address: key.address.clone(),
        target: (!anywhere).then(|| key.target.clone()),
        desired,
    };
    let came = bad.iter().filter(|(key, digest)| good.get(*key) != Some(*digest)).map(|(key, digest)| {
        let new = !good.iter().any(|(other, was)| other.address == key.address && was == digest);
        entry(key, new, *digest)
    });
    let went = good.keys().filter(|key| !bad.contains_key(*key));
    let went = went.map(|key| entry(key, !of(bad, &key.address), absent_digest()));
    let entries: BTreeSet<QuarantineEntry> = came.chain(went).collect();
    entries.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digests(instances: &[(&str, &str)]) -> Digests {
        instances.iter().map(|(key, text)| (key.parse().unwrap(), Digest::of(text.as_bytes()))).collect()
    }

    #[test]
    fn what_a_rollback_took_back_is_known_again_and_nothing_else_is() {
        let good = digests(&[("p/worker.a@eu", "1"), ("p/worker.b@eu", "1"), ("p/worker.b@us", "1"), ("p/kv.c@eu", "1")]);
        let cases: [(&str, &[(&str, &str)]); 5] = [
            ("changed", &[("p/worker.a@eu", "2"), ("p/worker.b@eu", "1"), ("p/worker.b@us", "1"), ("p/kv.c@eu", "1")]),
            (
                "added",
                &[("p/worker.a@eu", "1"), ("p/worker.b@eu", "1"), ("p/worker.b@us", "1"), ("p/kv.c@eu", "1"), ("p/kv.d@eu", "1")],
            ),
            ("removed", &[("p/worker.a@eu", "1"), ("p/worker.b@eu", "1"), ("p/worker.b@us", "1")]),
            (
                "on one target more",
                &[
                    ("p/worker.a@eu", "1"),
                    ("p/worker.a@us", "1"),
                    ("p/worker.b@eu", "1"),
                    ("p/worker.b@us", "1"),
                    ("p/kv.c@eu", "1"),
                ],
            ),
            ("on one target less", &[("p/worker.a@eu", "1"), ("p/worker.b@eu", "1"), ("p/kv.c@eu", "1")]),
        ];
        for (what, bad) in cases {
            let bad = digests(bad);
            let entries = introduced(&bad, &good);
            assert_eq!(entries.len(), 1, "{what}: {entries:?}");
            assert!(carries(&bad, &entries[0]), "{what}");
            assert!(!carries(&good, &entries[0]), "{what}");
            // An unrelated commit on top still carries it.
            let mut on_top = bad.clone();
            on_top.insert("p/worker.new@eu".parse().unwrap(), Digest::of(b"1"));
            assert!(carries(&on_top, &entries[0]), "{what}");
        }
        assert_eq!(introduced(&good, &good), []);
    }
}
