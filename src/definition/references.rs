//! What resources refer to: where it must live, in which order it can come, what moved from where.

use std::collections::{BTreeMap, BTreeSet};

use super::reading::Reading;
use super::scope::{Defined, Draft, Scope};
use super::worker::Reference;
use crate::document::{Fault, Place, Placed};
use crate::model::{Kind, ResourceName};

/// What each resource needs.
pub(super) type Needs = BTreeMap<(Kind, ResourceName), Vec<Reference>>;

/// What a resource refers to must live on each of its targets.
pub(super) fn check_placement<T>(reading: &mut Reading<'_>, scope: &Scope, draft: &Draft<T>, references: &[Reference]) {
    for (kind, name, place) in references {
        let Some(Defined { key, targets: Some(there) }) = scope.defined(*kind, name) else { continue };
        let missing: Vec<String> = draft.targets.difference(there).map(|target| format!("`{target}`")).collect();
        if there.is_empty() || missing.is_empty() {
            continue;
        }
        let list = there.iter().map(|target| format!("`{target}`")).collect::<Vec<_>>().join(", ");
        reading.fault(
            Fault::new(*place, format!("`{kind}.{name}` is not on {}, where this is", missing.join(", ")))
                .related(key, format!("this is on {list} only"))
                .hint("give both the same `on`"),
        );
    }
}

/// What moved is no longer defined, and only one thing moved from it.
pub(super) fn check_moved(
    reading: &mut Reading<'_>,
    scope: &Scope,
    kind: Kind,
    (name, moved): (&ResourceName, Option<&Placed<ResourceName>>),
) {
    let Some(moved) = moved else { return };
    let others: Vec<(&ResourceName, Place)> = match kind {
        Kind::Worker => movers(&scope.workers, &moved.value, |t| t.moved.as_ref()),
        Kind::File => movers(&scope.files, &moved.value, |t| t.moved.as_ref()),
        kind if kind.is_of_hosts() => {
            scope.hosted.get(&kind).map(|drafts| movers(drafts, &moved.value, |t| t.moved())).unwrap_or_default()
        }
        _ => scope.platform.get(&kind).map(|drafts| movers(drafts, &moved.value, |t| t.moved())).unwrap_or_default(),
    };
    if let Some(Defined { key, .. }) = scope.defined(kind, &moved.value) {
        reading.fault(
            Fault::new(moved.place, format!("`{kind}.{}` is still defined, so that nothing has moved from it", moved.value))
                .related(key, "defined here")
                .hint("remove `moved`, or the old table"),
        );
    } else if let Some((other, place)) = others.into_iter().find(|(other, _)| *other < name) {
        let message = format!("`{kind}.{other}` and `{kind}.{name}` both moved from `{kind}.{}`", moved.value);
        reading.fault(Fault::new(moved.place, message).related(place, "the other one").hint("keep one `moved`"));
    }
}

fn movers<'a, T>(
    drafts: &'a BTreeMap<ResourceName, Draft<T>>,
    from: &ResourceName,
    moved: impl Fn(&T) -> Option<&Placed<ResourceName>>,
) -> Vec<(&'a ResourceName, Place)> {
    drafts
        .iter()
        .filter_map(|(name, draft)| moved(&draft.written).filter(|m| m.value == *from).map(|m| (name, m.place)))
        .collect()
}

/// What needs itself, by way of others, cannot be made in any order.
pub(super) fn check_cycles(reading: &mut Reading<'_>, needs: &Needs) {
    let mut done: BTreeSet<&(Kind, ResourceName)> = BTreeSet::new();
    for start in needs.keys() {
        // An explicit stack: a chain of thousands of Workers is no reason to run out of the real one.
        let mut path: Vec<(&(Kind, ResourceName), usize)> = Vec::new();
        if !done.contains(start) {
            path.push((start, 0));
        }
        while let Some((resource, next)) = path.last_mut() {
            let resource: &(Kind, ResourceName) = resource;
            let needed = needs.get(resource).map_or(&[][..], Vec::as_slice);
            let Some((kind, name, place)) = needed.get(*next) else {
                done.insert(resource);
                path.pop();
                continue;
            };
            *next += 1;
            let Some((known, _)) = needs.get_key_value(&(*kind, name.clone())) else { continue };
            if done.contains(known) {
                continue;
            }
            if let Some(at) = path.iter().position(|(open, _)| *open == known) {
                let cycle = path[at..].iter().map(|(resource, _)| *resource).chain([known]);
                let workers_only = path[at..].iter().all(|((kind, _), _)| *kind == Kind::Worker);
                let cycle = cycle.map(|(kind, name)| format!("{kind}.{name}")).collect::<Vec<_>>().join(" -> ");
                let (what, hint) = if workers_only {
                    ("Workers", "remove one of the service bindings; a call back can go over a route")
                } else {
                    ("resources", "remove one of the references")
                };
                reading.fault(Fault::new(*place, format!("these {what} need each other: {cycle}")).hint(hint));
                continue;
            }
            path.push((known, 0));
        }
    }
}
