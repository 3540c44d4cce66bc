//! In which rounds the orders of one request are carried out.

use std::collections::BTreeSet;

use super::{FileTask, Order, Ordered};
use crate::model::Kind;

/// The positions of the orders, round by round: none before those that it comes after, and all of one sort that are ready at
/// once. Orders that wait for each other are in none.
pub(super) fn rounds(orders: &[Order]) -> Vec<Vec<usize>> {
    let mut waiting: BTreeSet<(u8, usize)> = orders.iter().enumerate().map(|(at, order)| (rank(&order.what), at)).collect();
    let mut done: BTreeSet<usize> = BTreeSet::new();
    let mut rounds = Vec::new();
    loop {
        let ready = |at: usize| orders[at].after.iter().all(|before| done.contains(before));
        let Some(rank) = waiting.iter().find(|(_, at)| ready(*at)).map(|(rank, _)| *rank) else { return rounds };
        let round: Vec<usize> = waiting.iter().filter(|(other, at)| *other == rank && ready(*at)).map(|(_, at)| *at).collect();
        waiting.retain(|(_, at)| !round.contains(at));
        done.extend(&round);
        rounds.push(round);
    }
}

/// Which sort of order comes first where none needs the other: a package brings users and units, a folder is there before
/// what lies in it, and all of that before what runs on it. What goes, goes the other way round, at the end.
fn rank(what: &Ordered) -> u8 {
    let (kind, deletes) = match what {
        Ordered::File(order) => (Kind::File, matches!(order.task, FileTask::Delete)),
        Ordered::Thing(order) => (order.key.address.kind, order.wanted.is_none()),
    };
    let rank = match kind {
        Kind::Package => 0,
        Kind::Directory => 1,
        Kind::File => 2,
        _ => 3,
    };
    if deletes { u8::MAX - rank } else { rank }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::{FileOrder, ThingOrder, Wanted};
    use crate::model::{Digest, Marker};
    use crate::plan::Precondition;

    fn order(key: &str, delete: bool, after: &[usize]) -> Order {
        let key: crate::model::InstanceKey = format!("production/{key}@fra1").parse().unwrap();
        let marker = Marker {
            key: key.clone(),
            revision: format!("main@sha1:{}", "a".repeat(40)).parse().unwrap(),
            desired: Digest::of(b""),
            operation: String::new(),
        };
        let (from, precondition) = (None, Precondition::Absent);
        let what = if key.address.kind == Kind::File {
            Ordered::File(FileOrder { key, from, path: "/x".into(), precondition, marker, task: FileTask::Delete })
        } else {
            let wanted = Wanted { fields: Default::default(), contents: Default::default(), values: Default::default() };
            let wanted = (!delete).then(|| Box::new(wanted));
            Ordered::Thing(ThingOrder { key, from, claim: "x".into(), precondition, marker, wanted })
        };
        Order { after: after.iter().copied().collect(), what }
    }

    #[test]
    fn all_units_are_one_round_however_they_are_ordered() {
        let orders = [
            order("unit.a", false, &[]),
            order("unit.b", false, &[3]),
            order("package.c", false, &[]),
            order("directory.d", false, &[]),
            order("package.e", true, &[]),
            order("file.f", true, &[]),
            order("unit.g", true, &[]),
        ];
        assert_eq!(rounds(&orders), [vec![2], vec![3], vec![0, 1], vec![6], vec![5], vec![4]]);
        let cycle = [order("unit.a", false, &[1]), order("unit.b", false, &[0]), order("unit.c", false, &[])];
        assert_eq!(rounds(&cycle), [vec![2]]);
    }
}
