//! Why a change is there: the line of a file at a commit, or a live field that somebody else changed.
//!
//! Goes in: the differences of one instance. Comes out: one [`Why`] for each.
//!
//! **Invariant:** drift is only what no commit explains: what is desired is what was last applied, and the live thing
//! is not.

use std::collections::BTreeSet;

use super::change::{Action, Cause, Why};
use super::compare::{Difference, differences, dotted};
use super::pending::resolve;
use super::planner::Scene;
use super::survey::Wanted;
use crate::model::{InstanceKey, Kind, Origin, Properties, TRAFFIC, canonical_digest};

/// The place that defines `path`: the longest part of it that has a place of its own, else the table.
fn defined(origin: &Origin, path: &[String], commit: &str) -> Cause {
    let own = (1..=path.len()).rev().find_map(|n| {
        let part = &path[..n];
        // A place may be kept under the key as TOML writes it or with its parts merely joined.
        origin.fields.get(&dotted(part)).or_else(|| origin.fields.get(&part.join(".")))
    });
    let (path, line) = own.cloned().unwrap_or_else(|| (origin.path.clone(), origin.line));
    Cause::Definition { path, line, commit: commit.to_owned() }
}

fn whole(cause: Cause) -> Why {
    Why { field: String::new(), cause }
}

/// Why an instance that is not there is made.
pub(super) fn of_creation(scene: &Scene<'_>, key: &InstanceKey, wanted: &Wanted<'_>) -> Vec<Why> {
    let origin = &wanted.desired.origin;
    let commit = scene.input.commit;
    if wanted.owned.is_none() {
        return vec![whole(defined(origin, &[], commit))];
    }
    let changed = Changed::since_last(scene, key, wanted);
    let fields = changed.paths.iter().map(|path| Why { field: dotted(path), cause: defined(origin, path, commit) });
    [whole(Cause::Drift)].into_iter().chain(fields).collect()
}

/// Why the name at the target changes.
pub(super) fn of_claim(commit: &str, kind: Kind, origin: &Origin) -> Why {
    let field = kind.claim_field();
    Why { field: field.to_owned(), cause: defined(origin, &[field.to_owned()], commit) }
}

/// Why an instance that is there is changed.
pub(super) fn of_difference(
    scene: &Scene<'_>,
    key: &InstanceKey,
    wanted: &Wanted<'_>,
    action: Action,
    found: &[Difference],
) -> Vec<Why> {
    let origin = &wanted.desired.origin;
    let commit = scene.input.commit;
    let changed = Changed::since_last(scene, key, wanted);
    let fields = found.iter().map(|difference| {
        // Which share a version has follows from its rollout, and never from drift.
        let gradual = difference.path.first().is_some_and(|field| field == TRAFFIC);
        let drifted = !gradual && action != Action::Adopt && !changed.explains(&difference.path);
        let cause = if drifted { Cause::Drift } else { defined(origin, &difference.path, commit) };
        Why { field: difference.field(), cause }
    });
    let takes_over = matches!(action, Action::Adopt | Action::Move);
    takes_over.then(|| whole(defined(origin, &[], commit))).into_iter().chain(fields).collect()
}

/// What the definitions changed since the last apply.
struct Changed {
    paths: BTreeSet<Vec<String>>,
    /// What was last applied is not known: then nothing is drift.
    unknown: bool,
}

impl Changed {
    fn since_last(scene: &Scene<'_>, key: &InstanceKey, wanted: &Wanted<'_>) -> Self {
        let symbolic = wanted.desired.spec.properties(scene.input.marks);
        let Some(owned) = wanted.owned else {
            let marker = scene.input.observed.get(key).and_then(|observed| observed.present()?.marker.as_ref());
            let same = marker.is_some_and(|marker| marker.desired == canonical_digest(&symbolic));
            return Self { paths: BTreeSet::new(), unknown: !same };
        };
        if owned.desired == canonical_digest(&symbolic) {
            return Self { paths: BTreeSet::new(), unknown: false };
        }
        // As it would have been applied then: names that targets gave are those that were known then.
        let then: Properties = resolve(&symbolic, &|pending| {
            let needed = pending.instance(&key.target);
            scene.input.inventory.get(&needed)?.attributes.get(&pending.attribute).cloned()
        });
        let paths = differences(&owned.properties, &then).into_iter().map(|difference| difference.path).collect();
        Self { paths, unknown: false }
    }

    /// Whether a change of the definitions explains a difference at `path`, or in part of what is there.
    fn explains(&self, path: &[String]) -> bool {
        self.unknown || self.paths.iter().any(|changed| changed.starts_with(path) || path.starts_with(changed))
    }
}
