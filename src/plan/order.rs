//! The order of changes.
//!
//! Goes in: changes in any order. Comes out: the same, each after what it needs, with those edges written down.
//!
//! What an instance needs is there before it is made or changed; what is deleted goes after everything that used it
//! has been changed off it, except where its name is taken by another: then it goes first, because a name, like a
//! port, can be held by one only. Among changes that may come next, makes come before deletes, then by key.
//!
//! **Invariant:** deterministic, and total: where deletes and taken names ask for the impossible, a delete comes early
//! rather than never.

use std::collections::{BTreeMap, BTreeSet};

use super::change::{Action, Change};
use super::inventory::Inventory;
use crate::model::InstanceKey;

/// The edges of the changes: for each, those that come before it.
#[derive(Default)]
struct Edges {
    /// Must be so.
    hard: BTreeMap<usize, BTreeSet<usize>>,
    /// Is so where it can be.
    soft: BTreeMap<usize, BTreeSet<usize>>,
}

/// Orders `changes` and fills in their [`Change::after_changes`]. `moving` maps former to new keys; `takes_from` says
/// which instance gives up the name that one takes.
pub(super) fn order(
    changes: Vec<Change>,
    inventory: &Inventory,
    moving: &BTreeMap<InstanceKey, InstanceKey>,
    takes_from: &dyn Fn(&InstanceKey) -> Option<InstanceKey>,
) -> Vec<Change> {
    let Edges { mut hard, mut soft } = edges(&changes, inventory, moving, takes_from);
    let mut followers: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    for (after, before) in hard.iter().chain(&soft) {
        before.iter().for_each(|before| _ = followers.entry(*before).or_default().insert(*after));
    }
    let rank = |index: usize| (changes[index].action == Action::Delete, &changes[index].key, index);
    let waits = |edges: &BTreeMap<usize, BTreeSet<usize>>, index: usize| edges.get(&index).is_some_and(|set| !set.is_empty());
    let mut waiting: BTreeSet<_> = (0..changes.len()).map(rank).collect();
    let mut ready: BTreeSet<_> =
        waiting.iter().copied().filter(|(.., index)| !waits(&hard, *index) && !waits(&soft, *index)).collect();
    let mut done: Vec<(usize, BTreeSet<usize>)> = Vec::new();
    // The edges that were kept, as they are taken out of the graph one by one.
    let mut came_after: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    while !waiting.is_empty() {
        // Stuck: what is asked for cannot all be had. First give up that a delete comes late, then anything.
        let next = ready.pop_first().or_else(|| {
            let unhindered = waiting.iter().copied().find(|(.., index)| !waits(&hard, *index));
            unhindered.or_else(|| waiting.first().copied())
        });
        let Some(next) = next else { break };
        waiting.remove(&next);
        let (.., index) = next;
        done.push((index, came_after.remove(&index).unwrap_or_default()));
        for follower in followers.remove(&index).unwrap_or_default() {
            let of =
                |edges: &mut BTreeMap<usize, BTreeSet<usize>>| edges.get_mut(&follower).is_some_and(|set| set.remove(&index));
            let (was_hard, was_soft) = (of(&mut hard), of(&mut soft));
            if was_hard || was_soft {
                came_after.entry(follower).or_default().insert(index);
            }
            if waiting.contains(&rank(follower)) && !waits(&hard, follower) && !waits(&soft, follower) {
                ready.insert(rank(follower));
            }
        }
    }
    let keys: Vec<InstanceKey> = changes.iter().map(|change| change.key.clone()).collect();
    let mut changes: Vec<Option<Change>> = changes.into_iter().map(Some).collect();
    done.into_iter()
        .filter_map(|(index, before)| {
            let mut change = changes[index].take()?;
            change.after_changes = before.into_iter().map(|before| keys[before].clone()).collect();
            Some(change)
        })
        .collect()
}

fn edges(
    changes: &[Change],
    inventory: &Inventory,
    moving: &BTreeMap<InstanceKey, InstanceKey>,
    takes_from: &dyn Fn(&InstanceKey) -> Option<InstanceKey>,
) -> Edges {
    let of = |delete: bool| -> BTreeMap<&InstanceKey, usize> {
        let those = changes.iter().enumerate().filter(|(_, change)| (change.action == Action::Delete) == delete);
        those.map(|(index, change)| (&change.key, index)).collect()
    };
    let (made, deleted) = (of(false), of(true));
    // What happens to an owned instance, whatever its key will be.
    let fate = |key: &InstanceKey| deleted.get(key).or_else(|| made.get(moving.get(key).unwrap_or(key))).copied();
    let mut users: BTreeMap<&InstanceKey, Vec<&InstanceKey>> = BTreeMap::new();
    for (user, owned) in inventory {
        owned.depends_on.iter().for_each(|needed| users.entry(needed).or_default().push(user));
    }
    let mut edges = Edges::default();
    for (index, change) in changes.iter().enumerate() {
        if change.action == Action::Delete {
            let soft = edges.soft.entry(index).or_default();
            for user in users.get(&change.key).into_iter().flatten().filter(|user| **user != &change.key) {
                // Who goes on using it waits for its successor, and so cannot come before this delete.
                let goes_on =
                    made.get(moving.get(*user).unwrap_or(user)).is_some_and(|u| changes[*u].depends_on.contains(&change.key));
                soft.extend(fate(user).filter(|_| !goes_on));
            }
            continue;
        }
        let hard = edges.hard.entry(index).or_default();
        hard.extend(change.depends_on.iter().filter_map(|needed| made.get(needed)).filter(|needed| **needed != index));
        hard.extend(deleted.get(&change.key));
        hard.extend(takes_from(&change.key).and_then(|holder| fate(&holder)).filter(|holder| *holder != index));
    }
    edges
}
