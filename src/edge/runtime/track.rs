//! Which Workers are replaced with overlap, and which are stopped first.
//!
//! Durable Objects are in one place at a time: two processes with the same objects would each have their own. So a Worker
//! that owns some is stopped before its successor starts, and with it every Worker that is bound to it, either way round,
//! since bindings do not leave a process.
//!
//! **Invariant:** a Worker has one track; Workers that are bound to each other have the same.

use std::collections::{BTreeMap, BTreeSet};

use super::super::record::{Binding, State};

/// How a process is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::edge) enum Track {
    /// The next one starts, then the old one ends.
    Overlapping,
    /// The old one ends, then the next one starts. Requests wait in between.
    Exclusive,
}

/// The Workers that are stopped before they are replaced; the others overlap.
pub(in crate::edge) fn exclusive(state: &State) -> BTreeSet<&str> {
    let mut neighbours: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut reached: BTreeSet<&str> = BTreeSet::new();
    for script in state.scripts.values() {
        let name = script.name.as_str();
        if !script.objects.is_empty() {
            reached.insert(name);
        }
        for (version, _) in script.serving() {
            for binding in version.bindings.values() {
                let target = match binding {
                    Binding::Service { service, .. } => Some(service.as_str()),
                    Binding::DurableObjectNamespace { namespace_id, .. } => {
                        state.objects(namespace_id).map(|(script, _)| script.name.as_str())
                    }
                    _ => None,
                };
                if let Some(target) = target {
                    neighbours.entry(name).or_default().insert(target);
                    neighbours.entry(target).or_default().insert(name);
                }
            }
        }
    }
    let mut front: Vec<&str> = reached.iter().copied().collect();
    while let Some(name) = front.pop() {
        for next in neighbours.get(name).into_iter().flatten() {
            if reached.insert(next) {
                front.push(next);
            }
        }
    }
    reached
}
