//! What is kept of what was applied, so that the store does not grow for ever.
//!
//! Generations, their plans and their operations stay: they are the history, a chain that shows a gap. What is large goes:
//! bundles that no rollback needs, and contents that no kept bundle names. A revision whose bundle is gone is still in Git.
//!
//! **Invariant:** what runs, what the policy ratchet judges by, what a quarantine speaks of, and the newest [`KEPT`] bundles
//! of an environment, of those that were applied and of all, are never pruned.

use std::collections::BTreeSet;

use rusqlite::{OptionalExtension, Transaction, params};

use super::{StoreError, from_row};
use crate::model::EnvironmentId;
use crate::record::{EnvironmentRecord, GenerationState, Quarantine};

/// How many bundles of an environment are kept, the newest first.
pub const KEPT: usize = 50;

/// A bundle of the environment, and the newest generations that it was of.
struct Kept {
    digest: String,
    newest: Option<u64>,
    applied: Option<u64>,
}

/// Prunes what the environment of `record` no longer needs, in the transaction that `record` is written in.
pub(super) fn prune(transaction: &Transaction<'_>, record: &EnvironmentRecord) -> Result<(), StoreError> {
    let id = record.environment.to_string();
    let mut bundles = bundles(transaction, &id)?;
    let mut needed: BTreeSet<String> = [record.bundle, record.rules_of].into_iter().flatten().map(|d| d.to_string()).collect();
    for rank in [|kept: &Kept| kept.newest, |kept: &Kept| kept.applied] {
        bundles.sort_by_key(|kept| std::cmp::Reverse(rank(kept)));
        needed.extend(bundles.iter().filter(|kept| rank(kept).is_some()).take(KEPT).map(|kept| kept.digest.clone()));
    }
    let mut doomed: Vec<String> = bundles.into_iter().map(|kept| kept.digest).filter(|digest| !needed.contains(digest)).collect();
    if doomed.is_empty() {
        return Ok(());
    }
    let quarantined = quarantined(transaction, &record.environment)?;
    doomed.retain(|digest| !quarantined.contains(digest));
    for digest in doomed {
        drop_bundle(transaction, &digest)?;
    }
    Ok(())
}

fn bundles(transaction: &Transaction<'_>, id: &str) -> Result<Vec<Kept>, StoreError> {
    let mut statement = transaction.prepare_cached(
        "SELECT digest,
            (SELECT max(number) FROM generation WHERE environment = ?1 AND bundle = digest),
            (SELECT max(number) FROM generation WHERE environment = ?1 AND bundle = digest AND state = ?2)
         FROM bundle WHERE environment = ?1",
    )?;
    let kept = |row: &rusqlite::Row<'_>| Ok(Kept { digest: row.get(0)?, newest: row.get(1)?, applied: row.get(2)? });
    Ok(statement.query_map(params![id, GenerationState::Applied.as_str()], kept)?.collect::<Result<_, _>>()?)
}

/// The bundles of the generations that a quarantine speaks of: what was abandoned, what took it back, what runs again.
fn quarantined(transaction: &Transaction<'_>, environment: &EnvironmentId) -> Result<BTreeSet<String>, StoreError> {
    let id = environment.to_string();
    let text: Option<String> =
        transaction.query_row("SELECT record FROM quarantine WHERE environment = ?1", [&id], |row| row.get(0)).optional()?;
    let Some(text) = text else { return Ok(BTreeSet::new()) };
    let quarantine: Quarantine = from_row("quarantine", &text)?;
    let good = quarantine.revert.as_ref().map(|revert| revert.good.full());
    let mut statement = transaction.prepare_cached(
        "SELECT DISTINCT bundle FROM generation WHERE environment = ?1
         AND (number = ?2 OR json_extract(record, '$.revision') IN (?3, ?4))",
    )?;
    let of = params![id, quarantine.generation, quarantine.abandoned.full(), good];
    Ok(statement.query_map(of, |row| row.get(0))?.collect::<Result<_, _>>()?)
}

/// Drops a bundle, and the contents that no other one needs, of whatever environment.
fn drop_bundle(transaction: &Transaction<'_>, digest: &str) -> Result<(), StoreError> {
    transaction.execute(
        "DELETE FROM blob WHERE digest IN (SELECT blob FROM bundle_blob WHERE bundle = ?1)
         AND NOT EXISTS (SELECT 1 FROM bundle_blob AS other WHERE other.blob = blob.digest AND other.bundle <> ?1)",
        [digest],
    )?;
    transaction.execute("DELETE FROM bundle_blob WHERE bundle = ?1", [digest])?;
    transaction.execute("DELETE FROM bundle WHERE digest = ?1", [digest])?;
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use chrono::{DateTime, Utc};

    use super::*;
    use crate::model::{Bundle, Content, DesiredState, Digest, Revision, Sync};
    use crate::plan::Plan;
    use crate::record::{Revert, RunKind};
    use crate::store::{Begin, Store};

    pub(in crate::store) fn environment(name: &str) -> EnvironmentId {
        name.parse().unwrap()
    }

    pub(in crate::store) fn content(text: &str) -> Content {
        Content::of(text.as_bytes())
    }

    /// A bundle that needs these texts: rules need no target.
    pub(in crate::store) fn bundle(name: &str, texts: &[&str]) -> Bundle {
        let desired = DesiredState {
            environment: environment(name),
            description: None,
            retire: false,
            sync: Sync::default(),
            digest_key: None,
            targets: BTreeMap::new(),
            resources: BTreeMap::new(),
            secrets: BTreeMap::new(),
            policies: texts.iter().map(|text| (format!("policies/{text}.rego"), content(text))).collect(),
        };
        let contents = texts.iter().map(|text| (content(text).sha256, Arc::from(text.as_bytes()))).collect();
        Bundle { desired, contents }
    }

    fn revision(number: usize) -> Revision {
        format!("main@sha1:{number:040x}").parse().unwrap()
    }

    /// A store with one environment, to which texts are applied one after the other.
    struct Bench {
        store: Store,
        record: EnvironmentRecord,
        /// The bundle whose rules judge, where that is not what runs.
        judges: Option<Digest>,
    }

    impl Bench {
        fn new() -> Self {
            let record = EnvironmentRecord::new(environment("production"), DateTime::UNIX_EPOCH);
            Self { store: Store::in_memory().unwrap(), record, judges: None }
        }

        /// A generation of the revision `number` with these texts.
        fn generation(&mut self, number: usize, texts: &[&str], state: GenerationState) -> Digest {
            let digest = self.store.put_bundle(&bundle(&self.record.environment.to_string(), texts)).unwrap();
            let plan = Plan {
                environment: self.record.environment.clone(),
                changes: vec![],
                orphaned: vec![],
                blocked: vec![],
                rolling: vec![],
                batches: vec![],
                warnings: vec![],
            };
            let (revision, now): (Revision, DateTime<Utc>) = (revision(number), DateTime::UNIX_EPOCH);
            let begin = Begin { plan: &plan, revision: &revision, kind: RunKind::Apply, bundle: digest, quarantine: None, now };
            let mut generation = self.store.begin_generation(&begin).unwrap();
            generation.state = state;
            generation.finished_at = Some(now);
            if state == GenerationState::Applied {
                self.record.bundle = Some(digest);
                self.record.rules_of = self.judges.or(Some(digest));
            }
            self.store.end_generation(&generation, &self.record).unwrap();
            digest
        }

        fn apply(&mut self, number: usize) -> Digest {
            self.generation(number, &["shared", &number.to_string()], GenerationState::Applied)
        }

        fn apply_one(&mut self, number: usize) {
            self.apply(number);
        }

        fn blobs(&self) -> i64 {
            self.store.connection().query_row("SELECT count(*) FROM blob", [], |row| row.get(0)).unwrap()
        }

        /// Whether the bundle is there, whole.
        fn has(&self, digest: &Digest) -> bool {
            self.store.bundle(digest).unwrap().is_some_and(|bundle| bundle.contents.len() == bundle.desired.policies.len())
        }
    }

    #[test]
    fn the_newest_are_kept_whole_and_the_history_stays() {
        let mut bench = Bench::new();
        let digests: Vec<Digest> = (1..=KEPT + 7).map(|number| bench.apply(number)).collect();
        let (gone, kept) = digests.split_at(7);
        assert!(gone.iter().all(|digest| bench.store.bundle(digest).unwrap().is_none()));
        assert!(kept.iter().all(|digest| bench.has(digest)));
        // One text of each, and the one that all share.
        assert_eq!(bench.blobs(), KEPT as i64 + 1);
        assert_eq!(bench.store.generations(&environment("production"), usize::MAX).unwrap().len(), KEPT + 7);
    }

    #[test]
    fn what_runs_survives_any_number_of_failures() {
        let mut bench = Bench::new();
        let before = bench.apply(1);
        let runs = bench.apply(2);
        for number in 3..KEPT * 2 + 10 {
            bench.generation(number, &[&number.to_string()], GenerationState::Failed);
        }
        assert!(bench.has(&runs), "what runs");
        assert!(bench.has(&before), "what a rollback goes to");
        assert!(bench.blobs() <= KEPT as i64 + 3);
    }

    #[test]
    fn a_bundle_that_is_applied_again_and_again_displaces_nothing() {
        let mut bench = Bench::new();
        let before = bench.apply(1);
        for _ in 0..KEPT * 2 {
            bench.apply(2);
        }
        assert!(bench.has(&before));
    }

    #[test]
    fn what_judges_is_kept_though_something_else_runs() {
        let mut bench = Bench::new();
        let judges = bench.apply(1);
        bench.judges = Some(judges);
        let next = bench.apply(2);
        (3..KEPT + 10).for_each(|number| bench.apply_one(number));
        assert!(bench.has(&judges) && !bench.has(&next));
    }

    #[test]
    fn what_no_generation_is_of_goes_once_it_no_longer_runs() {
        let mut bench = Bench::new();
        let applied = bench.apply(1);
        let put = |text: &str| bench.store.put_bundle(&bundle("production", &[text])).unwrap();
        let (first, second) = (put("a comment"), put("another"));
        bench.record.bundle = Some(second);
        bench.store.end_pass(&bench.record).unwrap();
        assert!(bench.has(&applied) && bench.has(&second) && !bench.has(&first));
    }

    #[test]
    fn what_a_quarantine_speaks_of_is_kept() {
        let mut bench = Bench::new();
        let (good, bad) = (bench.apply(1), bench.apply(2));
        let quarantine = Quarantine {
            environment: environment("production"),
            abandoned: revision(2),
            generation: 1,
            owner: "ada".to_owned(),
            entries: vec![],
            whole: None,
            revert: Some(Revert { good: revision(1), inputs: None }),
        };
        bench.store.put_quarantine(&environment("production"), Some(&quarantine)).unwrap();
        (3..KEPT + 10).for_each(|number| bench.apply_one(number));
        assert!(bench.has(&good) && bench.has(&bad));
        bench.store.put_quarantine(&environment("production"), None).unwrap();
        bench.apply(KEPT + 10);
        assert!(!bench.has(&good) && !bench.has(&bad), "nothing speaks of them any more");
    }

    #[test]
    fn what_another_environment_needs_is_kept() {
        let mut bench = Bench::new();
        let other = bench.store.put_bundle(&bundle("staging", &["1", "of staging"])).unwrap();
        (1..KEPT + 10).for_each(|number| bench.apply_one(number));
        assert!(bench.has(&other), "a content that both name, and a bundle that was only just put");
    }
}
