//! Which rules judge: a commit never relaxes the rules that judge it.
//!
//! A plan must pass two benches. The *standing* rules are those pinned in the daemon's settings or, failing that, those
//! that the last generation recorded; the first revision of all has only its own, once, and is shown as bootstrap. The
//! commit's *own* rules judge beside them. So a rule that a commit adds or sharpens counts at once, and one that it
//! takes away or blunts goes on judging that commit; it is gone for the next, once this one is recorded.
//!
//! A rollback is judged by the standing rules alone, with `input.kind` set to `rollback`: those of the old revision had
//! their say when it was new, and may be weaker. What a rollback's generation records is the standing rules again, so
//! that going back does not loosen the ratchet for what comes after.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::approve::RunKind;
use super::rules::{RuleSet, digest};
use crate::model::Diagnostic;

/// The files of a policy folder, by path from the repository's root.
pub type RuleFiles = BTreeMap<String, Arc<[u8]>>;

/// Where the standing rules come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RulesFrom {
    /// The daemon's settings.
    Pinned,
    /// The last recorded generation.
    Recorded,
    /// The first revision's own: nothing was recorded before it.
    Bootstrap,
    /// Those in force now, for a rollback.
    Current,
}

/// The rules that judge a plan, as files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ratchet {
    /// The rules that no commit relaxes.
    pub standing: RuleFiles,
    /// Where they come from.
    pub from: RulesFrom,
    /// The commit's own, where they are others and have a say.
    pub own: Option<RuleFiles>,
    recorded: RuleFiles,
}

/// Chooses the rules that judge a plan of `kind`: `pinned` in the settings, else `recorded` with the last generation,
/// else the revision's `own`.
pub fn ratchet(kind: RunKind, pinned: Option<RuleFiles>, recorded: Option<RuleFiles>, own: RuleFiles) -> Ratchet {
    let in_force = recorded.clone();
    let (standing, from) = match (pinned, recorded, kind) {
        (Some(pinned), _, _) => (pinned, RulesFrom::Pinned),
        (None, Some(recorded), RunKind::Apply) => (recorded, RulesFrom::Recorded),
        (None, Some(recorded), RunKind::Rollback) => (recorded, RulesFrom::Current),
        (None, None, _) => (own.clone(), RulesFrom::Bootstrap),
    };
    let beside = kind == RunKind::Apply && digest(&standing) != digest(&own);
    let recorded = match kind {
        RunKind::Apply => own.clone(),
        RunKind::Rollback => in_force.unwrap_or_else(|| own.clone()),
    };
    Ratchet { own: beside.then_some(own), standing, from, recorded }
}

impl Ratchet {
    /// What the generation records as its rules: the `recorded` of the next [`ratchet`].
    pub fn to_record(&self) -> &RuleFiles {
        &self.recorded
    }

    /// The rules, ready to judge.
    ///
    /// # Errors
    /// Every fault of every file; those of the standing rules say that they are not the commit's.
    pub fn compile(&self) -> Result<Rules, Vec<Diagnostic>> {
        let standing = RuleSet::compile(&self.standing).map_err(|faults| self.place(faults));
        let own = self.own.as_ref().map(RuleSet::compile).transpose();
        match (standing, own) {
            (Ok(standing), Ok(own)) => Ok(Rules { standing, from: self.from, own }),
            (Err(mut faults), Err(more)) => {
                faults.extend(more);
                Err(faults)
            }
            (Err(faults), Ok(_)) | (Ok(_), Err(faults)) => Err(faults),
        }
    }

    fn place(&self, mut faults: Vec<Diagnostic>) -> Vec<Diagnostic> {
        let whose = match self.from {
            RulesFrom::Bootstrap => return faults,
            RulesFrom::Pinned => "in the pinned rules",
            RulesFrom::Recorded | RulesFrom::Current => "in the rules of the last recorded generation",
        };
        for fault in &mut faults {
            fault.message = format!("{whose}: {}", fault.message);
            fault.hint.get_or_insert_with(|| "pin working rules in the daemon's settings".to_owned());
        }
        faults
    }
}

/// The rules that judge a plan.
#[derive(Debug, Clone)]
pub struct Rules {
    pub(super) standing: RuleSet,
    pub(super) from: RulesFrom,
    pub(super) own: Option<RuleSet>,
}

impl Rules {
    /// Where the standing rules come from.
    pub fn from(&self) -> RulesFrom {
        self.from
    }

    /// The rules that no commit relaxes.
    pub fn standing(&self) -> &RuleSet {
        &self.standing
    }

    /// The commit's own, where they are others and have a say.
    pub fn own(&self) -> Option<&RuleSet> {
        self.own.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(text: &str) -> RuleFiles {
        [("policies/x.rego".to_owned(), Arc::from(text.as_bytes()))].into()
    }

    #[test]
    fn the_standing_rules_are_pinned_else_recorded_else_own() {
        use RulesFrom::{Bootstrap, Current, Pinned, Recorded};
        use RunKind::{Apply, Rollback};
        let (pin, rec) = (|| Some(files("pinned")), || Some(files("recorded")));
        let cases = [
            (Apply, pin(), rec(), "pinned", Pinned, true, "own"),
            (Apply, None, rec(), "recorded", Recorded, true, "own"),
            (Apply, None, None, "own", Bootstrap, false, "own"),
            (Rollback, pin(), rec(), "pinned", Pinned, false, "recorded"),
            (Rollback, None, rec(), "recorded", Current, false, "recorded"),
            (Rollback, None, None, "own", Bootstrap, false, "own"),
        ];
        for (kind, pinned, recorded, standing, from, beside, record) in cases {
            let chosen = ratchet(kind, pinned, recorded, files("own"));
            assert_eq!((&chosen.standing, chosen.from), (&files(standing), from), "{kind:?} {from:?}");
            assert_eq!(chosen.own.is_some(), beside, "{kind:?} {from:?}");
            assert_eq!(chosen.to_record(), &files(record), "{kind:?} {from:?}");
        }
    }

    #[test]
    fn rules_that_did_not_change_judge_once() {
        let mut with_test = files("recorded");
        with_test.insert("policies/x_test.rego".to_owned(), Arc::from(b"tests never judge".as_slice()));
        assert!(ratchet(RunKind::Apply, None, Some(files("recorded")), with_test).own.is_none());
    }
}
