//! The rules of the top-level `policies` judge what the definitions really give, and their own tests pass.

use std::collections::BTreeMap;

use trunkline::policy::{Refusal, RuleSet, TrialOutcome, run_tests};

use super::world::{World, file, kv, refused, rules, said, shipped, var, worker};

#[test]
fn every_test_of_the_shipped_rules_passes_and_each_rule_has_two() {
    let trials = run_tests(&shipped()).unwrap();
    let failed: Vec<_> = trials.iter().filter(|trial| trial.outcome != TrialOutcome::Passed).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    let mut by_file: BTreeMap<String, usize> = BTreeMap::new();
    for trial in trials {
        *by_file.entry(trial.path).or_default() += 1;
    }
    for path in shipped().keys().filter(|path| path.ends_with(".rego") && !path.ends_with("_test.rego")) {
        let tests = by_file.get(&path.replace(".rego", "_test.rego")).copied().unwrap_or_default();
        assert!(tests >= 2, "{path} has {tests} tests");
    }
}

#[test]
fn a_test_that_does_not_hold_or_cannot_run_is_no_pass() {
    let files = rules(&[(
        "policies/x_test.rego",
        "package trunkline.x_test\ntest_good if true\ntest_bad if 1 == 2\ntest_value := 3\n  test_broken if nothing(1)\n",
    )]);
    let outcomes: Vec<_> = run_tests(&files).unwrap().into_iter().map(|t| (t.rule, t.outcome)).collect();
    assert_eq!(outcomes.len(), 4, "{outcomes:?}");
    assert_eq!(outcomes[0], ("trunkline.x_test.test_good".to_owned(), TrialOutcome::Passed));
    assert_eq!(outcomes[1].1, TrialOutcome::Failed);
    assert_eq!(outcomes[2].1, TrialOutcome::Failed);
    let TrialOutcome::Broken(why) = &outcomes[3].1 else { panic!("{outcomes:?}") };
    assert!(why.starts_with("policies/x_test.rego:5:"), "{why}");
}

#[test]
fn a_sound_environment_passes_without_a_word() {
    let world = World::creating([
        ("production/worker.api@main", worker(&[("LOG_LEVEL", var("info"))], Some("2026-11-01"))),
        ("production/kv.sessions@main", kv()),
        ("production/file.config@fra1", file(0o640)),
    ]);
    let verdict = world.judged(shipped());
    assert_eq!(said(&verdict.warnings), Vec::<String>::new());
    let approved = verdict.approved.unwrap();
    assert_eq!(approved.plan(), &world.plan);
    assert_eq!(approved.digest(), world.plan.digest());
    assert_eq!(approved.judged_by().1, RuleSet::compile(&shipped()).unwrap().digest());
}

#[test]
fn each_shipped_rule_denies_what_it_is_for_and_all_are_said_at_once() {
    let key = ["AK", "IA", "ABCDEFGH12345678"].concat();
    let world = World::creating([
        ("production/worker.api@main", worker(&[("KEY", var(&key))], None)),
        ("production/worker.api@eu", worker(&[("KEY", var(&key))], None)),
        ("production/worker.old@main", worker(&[], Some("2021-01-01"))),
        ("production/file.config@fra1", file(0o666)),
    ]);
    let verdict = world.judged(shipped());
    assert!(matches!(verdict.approved, Err(Refusal::Denied(_))));
    let said = refused(&verdict);
    assert_eq!(said.len(), 4, "{said:#?}");
    for expected in [
        "trunkline.secrets.deny production/worker.api the plain var `KEY` looks like an AWS access key",
        "trunkline.compatibility.deny production/worker.api the Worker has no compatibility date",
        "trunkline.compatibility.deny production/worker.old the compatibility date 2021-01-01 is 2152 days old",
        "trunkline.files.deny production/file.config `/etc/ads/config.toml` would be writable by everyone on the host (mode 0666)",
    ] {
        assert!(said.iter().any(|line| line.starts_with(expected)), "{expected}\n{said:#?}");
    }
    assert!(!format!("{verdict:?}").contains(&key), "the value of a var was repeated");
}

#[test]
fn rules_see_the_time_they_are_given() {
    let world = World::creating([("production/worker.api@main", worker(&[], Some("2026-11-01")))]);
    let rule = r#"package trunkline.time
deny contains sprintf("%s %d", [input.now, input.now_ns]) if input.kind == "apply""#;
    let verdict = world.judged(rules(&[("policies/time.rego", rule)]));
    assert_eq!(refused(&verdict), ["trunkline.time.deny  2026-11-23T12:00:00Z 1795435200000000000"]);
}
