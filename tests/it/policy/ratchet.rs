//! A commit never relaxes the rules that judge it.

use trunkline::policy::{Refusal, RuleFiles, RulesFrom, RunKind, Verdict, ratchet};

use super::world::{World, file, refused, rules, said, shipped};

/// The shipped rules with the one on file modes weakened: nothing is denied any more.
fn weakened() -> RuleFiles {
    let mut files = shipped();
    let strict = String::from_utf8(files["policies/files.rego"].to_vec()).unwrap();
    let weak = strict.replace("`[2367]$`", "`[9]$`");
    assert_ne!(weak, strict, "the rule no longer has the text that this test weakens");
    files.insert("policies/files.rego".to_owned(), weak.as_bytes().into());
    files
}

fn open_file() -> World {
    World::creating([("production/file.config@fra1", file(0o666))])
}

fn judged(world: &World, pinned: Option<RuleFiles>, recorded: Option<RuleFiles>, own: RuleFiles) -> Verdict {
    world.judged_by(&ratchet(world.kind, pinned, recorded, own).compile().unwrap())
}

#[test]
fn a_commit_that_weakens_a_rule_and_breaks_it_is_denied() {
    let verdict = judged(&open_file(), None, Some(shipped()), weakened());
    let Err(Refusal::Denied(messages)) = &verdict.approved else { panic!("{verdict:?}") };
    assert_eq!(messages.len(), 1, "{messages:?}");
    assert!(messages[0].hint.as_ref().unwrap().contains("a commit cannot relax the rules that judge it"), "{messages:?}");
    assert!(!verdict.bootstrap);

    // Nor does it help to take the rules away altogether.
    let verdict = judged(&open_file(), None, Some(shipped()), RuleFiles::new());
    assert_eq!(refused(&verdict).len(), 1);
}

#[test]
fn weakening_first_and_using_it_in_a_later_commit_is_two_decisions() {
    let chosen = ratchet(RunKind::Apply, None, Some(shipped()), weakened());
    let harmless = World::creating([("production/file.config@fra1", file(0o644))]);
    assert!(harmless.judged_by(&chosen.compile().unwrap()).approved.is_ok());
    let verdict = judged(&open_file(), None, Some(chosen.to_record().clone()), weakened());
    assert!(verdict.approved.is_ok());
    // Unless the daemon's settings pin the rules.
    let verdict = judged(&open_file(), Some(shipped()), Some(chosen.to_record().clone()), weakened());
    assert!(refused(&verdict)[0].starts_with("trunkline.files.deny"));
}

#[test]
fn a_rule_that_a_commit_adds_counts_at_once() {
    let verdict = judged(&open_file(), None, Some(RuleFiles::new()), shipped());
    assert_eq!(refused(&verdict).len(), 1);
    let mut pinned = shipped();
    pinned.remove("policies/files.rego");
    assert_eq!(refused(&judged(&open_file(), Some(pinned), None, shipped())).len(), 1);
}

#[test]
fn the_first_revision_is_judged_by_its_own_rules_and_says_so() {
    let verdict = judged(&open_file(), None, None, weakened());
    assert!(verdict.bootstrap);
    assert_eq!(verdict.approved.unwrap().judged_by().0, RulesFrom::Bootstrap);
    assert!(judged(&open_file(), None, None, shipped()).approved.is_err());
}

#[test]
fn a_rollback_is_judged_by_the_rules_in_force_and_does_not_loosen_them() {
    let world = open_file().rolling_back();
    // The old revision's rules, laxer or stricter, have no say.
    assert_eq!(refused(&judged(&world, None, Some(shipped()), weakened())).len(), 1);
    assert!(judged(&world, None, Some(weakened()), shipped()).approved.is_ok());
    let chosen = ratchet(RunKind::Rollback, None, Some(shipped()), weakened());
    assert_eq!(chosen.from, RulesFrom::Current);
    let next = judged(&open_file(), None, Some(chosen.to_record().clone()), weakened());
    assert_eq!(refused(&next).len(), 1, "after the rollback, the weak rules of the old revision judged");
}

#[test]
fn what_both_benches_say_is_said_once() {
    let mut own = shipped();
    own.insert("policies/more.rego".to_owned(), b"package trunkline.more\nwarn contains \"look\"".as_slice().into());
    let verdict = judged(&open_file(), None, Some(shipped()), own);
    assert_eq!(refused(&verdict).len(), 1);
    assert_eq!(said(&verdict.warnings), ["trunkline.more.warn  look"]);
    let hint = verdict.approved.unwrap_err().messages()[0].hint.clone().unwrap();
    assert!(!hint.contains("relax"), "{hint}");
}

#[test]
fn broken_rules_of_a_commit_are_shown_where_they_are_broken() {
    let own = rules(&[("policies/x.rego", "package trunkline.x\ndeny contains \"a\" if {")]);
    let faults = ratchet(RunKind::Apply, None, Some(shipped()), own.clone()).compile().unwrap_err();
    assert_eq!(faults[0].path, "policies/x.rego");
    let faults = ratchet(RunKind::Apply, None, Some(own), shipped()).compile().unwrap_err();
    assert!(faults[0].message.starts_with("in the rules of the last recorded generation: "), "{faults:?}");
}
