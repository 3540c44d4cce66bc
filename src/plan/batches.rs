//! The hosts of an environment in batches: changes reach those of one batch at a time.
//!
//! Goes in: the definitions, what is owned, the changes. Comes out: the batches that have something to do, in their order.
//!
//! **Invariant:** which hosts make a batch follows from the hosts of the environment alone, and not from what there is to do:
//! when one of them fails, none of a later batch moves up beside it.

use std::collections::BTreeSet;

use super::change::Change;
use super::inventory::Inventory;
use crate::model::{DesiredState, TargetKind, TargetName};

/// The hosts with changes, batch by batch, by their names; nothing where they are all changed at once.
pub(super) fn batches(desired: &DesiredState, inventory: &Inventory, changes: &[Change]) -> Vec<Vec<TargetName>> {
    let Some(batch) = desired.sync.batch else { return Vec::new() };
    let is_host =
        |name: &&TargetName| desired.targets.get(*name).is_some_and(|target| matches!(target.kind, TargetKind::Host(_)));
    let used: BTreeSet<&TargetName> =
        desired.resources.keys().chain(inventory.keys()).map(|key| &key.target).filter(is_host).collect();
    let used: Vec<&TargetName> = used.into_iter().collect();
    let all = used.chunks(batch.size(used.len())).map(|chunk| chunk.iter().copied().cloned().collect());
    with_changes(all, changes)
}

/// Those of `batches` that have something to do; one alone is none.
pub(super) fn with_changes(batches: impl IntoIterator<Item = Vec<TargetName>>, changes: &[Change]) -> Vec<Vec<TargetName>> {
    let changed: BTreeSet<&TargetName> = changes.iter().map(|change| &change.key.target).collect();
    let kept = batches.into_iter().map(|batch| batch.into_iter().filter(|host| changed.contains(host)).collect::<Vec<_>>());
    let kept: Vec<Vec<TargetName>> = kept.filter(|batch| !batch.is_empty()).collect();
    if kept.len() > 1 { kept } else { Vec::new() }
}
