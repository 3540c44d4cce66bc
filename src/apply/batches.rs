//! The batches of hosts that a plan names, one after the other.
//!
//! Goes in: a plan, and what became of its changes so far. Comes out: which batch may be at work now, and what keeps the later
//! ones from ever beginning.
//!
//! **Invariant:** no change on a host is begun while one on a host of an earlier batch can still be carried out; where one of
//! them was not carried out, none is begun at all.

use std::collections::{BTreeMap, BTreeSet};

use super::{ChangeResult, Results};
use crate::model::TargetName;
use crate::plan::Plan;

/// Which batch each change is in, by its position; none for what is on no host, or on hosts that are not parted.
pub(super) struct Batches(Vec<Option<usize>>);

impl Batches {
    pub(super) fn of(plan: &Plan) -> Self {
        let of_host: BTreeMap<&TargetName, usize> =
            plan.batches.iter().enumerate().flat_map(|(at, hosts)| hosts.iter().map(move |host| (host, at))).collect();
        Self(plan.changes.iter().map(|change| of_host.get(&change.key.target).copied()).collect())
    }

    /// The batches that are not finished, in their order. The first is at work; where nothing of it can begin before a later
    /// one has, as when a tunnel is replaced that hosts of both use, that one is.
    pub(super) fn unfinished(&self, results: &Results) -> BTreeSet<usize> {
        self.0.iter().zip(results).filter(|(_, result)| result.is_none()).filter_map(|(batch, _)| *batch).collect()
    }

    /// The first batch of which a change was not carried out, and that change: no later one is begun.
    pub(super) fn failed(&self, results: &Results) -> Option<(usize, usize)> {
        let left = |(at, (batch, result)): (usize, (&Option<usize>, &Option<ChangeResult>))| {
            let result = result.as_ref().filter(|result| **result != ChangeResult::Done)?;
            // What was not begun because of something else is no cause of its own.
            let own = matches!(result, ChangeResult::Refused(_) | ChangeResult::Conflict(_) | ChangeResult::Unknown(_));
            Some(((*batch)?, !own, at))
        };
        let first = self.0.iter().zip(results).enumerate().filter_map(left).min();
        first.map(|(batch, _, at)| (batch, at))
    }

    /// Whether the change at `at` is in a later batch than `batch`.
    pub(super) fn is_after(&self, at: usize, batch: usize) -> bool {
        self.0.get(at).copied().flatten().is_some_and(|own| own > batch)
    }
}
