//! How much one apply may delete before a person is asked.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::acknowledgement::Acknowledgement;
use super::approve::{Message, RunKind};
use crate::model::{Address, EnvironmentId};
use crate::plan::{Action, Plan, Reversibility};

/// What one apply may delete. Instances whose deletion is acknowledged by name do not count, and the instances of one
/// single resource are never held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// At most this many instances.
    pub instances: usize,
    /// At most this share of the instances that the environment owns, in percent.
    pub percent: u8,
}

impl Default for Budget {
    fn default() -> Self {
        Self { instances: 5, percent: 20 }
    }
}

impl Budget {
    fn allows(self, deleted: usize, owned: usize) -> bool {
        // Compared as `deleted / owned <= percent / 100`, without the rounding; `usize` is at most 64 bits wide.
        let share = (deleted as u128) * 100 <= (owned as u128) * u128::from(self.percent);
        deleted <= self.instances && share
    }
}

/// Rule names of what is built in, as they stand in messages.
const DATA: &str = "trunkline/delete-data";
const ONE_WAY: &str = "trunkline/one-way";
const BUDGET: &str = "trunkline/delete-budget";

/// What waits for a person: deletions of data that Git does not hold, more deletions than the budget, changes that cannot
/// be taken back.
pub(super) fn held(
    plan: &Plan,
    budget: Budget,
    owned: usize,
    acknowledged: &BTreeSet<Acknowledgement>,
    kind: RunKind,
) -> Vec<Message> {
    let mut deletes: BTreeMap<&Address, usize> = BTreeMap::new();
    for change in plan.changes.iter().filter(|change| change.action == Action::Delete) {
        *deletes.entry(&change.key.address).or_default() += 1;
    }
    deletes.retain(|address, _| !acknowledged.contains(&Acknowledgement::Delete((*address).clone())));
    let one_way = plan.changes.iter().filter(|change| change.reversal.verdict == Reversibility::OneWay);
    let (lost, changed): (Vec<_>, Vec<_>) = one_way.partition(|change| change.action == Action::Delete);
    let lost: BTreeSet<&Address> = lost.into_iter().map(|change| &change.key.address).collect();
    let data = lost.into_iter().filter(|address| deletes.contains_key(address)).map(|address| Message {
        rule: DATA.to_owned(),
        message: format!("deleting {} destroys data that Git does not hold", address.local()),
        address: Some(address.clone()),
        hint: Some(hint(&Acknowledgement::Delete(address.clone()), kind)),
    });
    let changed: BTreeMap<&Address, &Vec<String>> =
        changed.into_iter().map(|change| (&change.key.address, &change.reversal.reasons)).collect();
    let changed = changed.into_iter().filter_map(|(address, reasons)| {
        let acknowledgement = Acknowledgement::OneWay(address.clone());
        (!acknowledged.contains(&acknowledgement)).then(|| Message {
            rule: ONE_WAY.to_owned(),
            message: format!("changing {} cannot be taken back: {}", address.local(), reasons.join("; ")),
            address: Some(address.clone()),
            hint: Some(hint(&acknowledgement, kind)),
        })
    });
    data.chain(changed).chain(over_budget(&plan.environment, &deletes, budget, owned, acknowledged, kind)).collect()
}

fn over_budget(
    environment: &EnvironmentId,
    deletes: &BTreeMap<&Address, usize>,
    budget: Budget,
    owned: usize,
    acknowledged: &BTreeSet<Acknowledgement>,
    kind: RunKind,
) -> Option<Message> {
    let deleted: usize = deletes.values().sum();
    let acknowledgement = Acknowledgement::DeleteBudget(environment.clone());
    if deletes.len() <= 1 || budget.allows(deleted, owned) || acknowledged.contains(&acknowledgement) {
        return None;
    }
    let Budget { instances, percent } = budget;
    Some(Message {
        rule: BUDGET.to_owned(),
        message: format!(
            "{deleted} of {owned} owned instances would be deleted; the budget is {instances} and no more than {percent} %"
        ),
        address: None,
        hint: Some(hint(&acknowledgement, kind)),
    })
}

fn hint(acknowledgement: &Acknowledgement, kind: RunKind) -> String {
    match kind {
        RunKind::Apply => format!("if it is meant, commit with the trailer `Acknowledge: {acknowledgement}`"),
        RunKind::Rollback => format!("if it is meant, roll back with the acknowledgement `{acknowledgement}`"),
    }
}
