//! Reading rules, and what happens when a rule misbehaves.

use trunkline::policy::{Refusal, RuleSet};

use super::world::{World, refused, rules, said, worker};

fn world() -> World {
    World::creating([("production/worker.api@main", worker(&[], Some("2026-11-01")))])
}

/// What the rule `text` in a package of its own leads to.
fn denials(text: &str) -> Vec<String> {
    let verdict = world().judged(rules(&[("policies/x.rego", &format!("package trunkline.x\n{text}\n"))]));
    assert!(matches!(verdict.approved, Err(Refusal::Denied(_))), "{text}: {verdict:?}");
    refused(&verdict)
}

#[test]
fn faults_of_all_files_are_shown_at_once_with_their_places() {
    let files = rules(&[
        ("policies/a.rego", "package trunkline.a\n\ndeny contains \"x\" if {\n"),
        ("policies/b.rego", "package other.b\n"),
        ("policies/c.rego", "package trunkline.c\ndeny contains \"old\" if time.now_ns() > 3\nwarn contains http.send({})\n"),
        ("policies/d.rego", "package trunkline.d\n# time.now_ns() in a comment is nobody's business\n"),
        ("policies/e.rego", "package trunkline.e\ndeny[\"v0\"] { true }\n"),
        ("policies/notes.md", "time.now_ns()"),
        ("policies/f_test.rego", "this is no Rego"),
    ]);
    let faults = RuleSet::compile(&files).unwrap_err();
    let shown: Vec<String> = faults
        .iter()
        .map(|fault| {
            let text = std::str::from_utf8(&files[&fault.path]).unwrap();
            let line = fault.start.map(|at| text[..at].matches('\n').count() + 1);
            format!("{}:{line:?} {}", fault.path, fault.message)
        })
        .collect();
    let paths: Vec<&str> = faults.iter().map(|fault| fault.path.as_str()).collect();
    assert_eq!(
        paths,
        ["policies/a.rego", "policies/b.rego", "policies/c.rego", "policies/c.rego", "policies/e.rego"],
        "{shown:#?}"
    );
    assert!(shown[1].contains("Some(1)") && shown[1].contains("neither `trunkline` nor below it"), "{shown:#?}");
    assert!(shown[2].contains("Some(2)") && shown[2].contains("`time.now_ns`"), "{shown:#?}");
    assert!(shown[3].contains("Some(3)") && shown[3].contains("`http.send`"), "{shown:#?}");
    assert!(shown[4].contains("Some(2)"), "{shown:#?}");
    assert_eq!(faults[2].hint.as_deref(), Some("use `input.now_ns`, or `input.now` for the text"));
}

#[test]
fn what_only_the_whole_shows_is_found_when_the_rules_are_read() {
    let unsafe_variable = rules(&[("policies/x.rego", "package trunkline.x\ndeny contains \"x\" if nothing > 3\n")]);
    let faults = RuleSet::compile(&unsafe_variable).unwrap_err();
    assert_eq!(faults[0].path, "policies/x.rego", "{faults:?}");
    assert!(faults[0].start.is_some(), "{faults:?}");
    assert!(RuleSet::compile(&rules(&[("policies/x.rego", "package trunkline.x\nx := \"\u{e9}\n")])).is_err());
    let not_text = [("policies/x.rego".to_owned(), [0xff_u8, 0xfe].as_slice().into())].into();
    assert_eq!(RuleSet::compile(&not_text).unwrap_err()[0].message, "the file is not UTF-8");
}

#[test]
fn every_name_that_conftest_knows_judges() {
    let text = "deny contains \"1\"\ndeny_more contains \"2\"\nviolation contains {\"msg\": \"3\"}\nwarn_late contains \"4\"\ndenying contains \"5\"\nhelper if deny[_]\n";
    let verdict = world().judged(rules(&[("policies/x.rego", &format!("package trunkline\n{text}"))]));
    let denied = refused(&verdict);
    assert_eq!(denied, ["trunkline.deny  1", "trunkline.deny_more  2", "trunkline.violation  3"]);
    assert_eq!(said(&verdict.warnings), ["trunkline.warn_late  4"]);
}

#[test]
fn a_rule_that_fails_denies_and_says_where() {
    for (text, expected) in [
        ("deny contains \"x\" if to_number(input.kind) > 3", "policies/x.rego:2:"),
        ("deny contains \"x\" if nowhere(input.kind)", "could not find function"),
        ("warn contains \"x\" if to_number(input.kind) > 3", "policies/x.rego:2:"),
        ("deny := true", "not a set"),
        ("deny := {\"msg\": \"x\"}", "not a set"),
        ("deny contains 3", "not a set"),
        ("warn contains {\"message\": \"x\"}", "not a set"),
        // Whatever the spelling, the clock is not there.
        ("deny contains \"x\" if time[`now` + \"_ns\"]() > 3", ""),
        ("deny contains \"x\" if count(numbers.range(0, 1000000000000000000)) > 3", "at most 100000 numbers"),
        ("deny contains \"x\" if count(numbers.range_step(-9223372036854775808, 9223372036854775807, 1)) > 3", "at most 100000"),
    ] {
        let full = format!("package trunkline.x\n{text}\n");
        if let Ok(_sound) = RuleSet::compile(&rules(&[("policies/x.rego", &full)])) {
            let denied = denials(text);
            assert_eq!(denied.len(), 1, "{text}");
            assert!(denied[0].contains("cannot judge") && denied[0].contains(expected), "{text}: {denied:?}");
        } else {
            assert!(expected.is_empty(), "{text} was refused when it was read");
        }
    }
}

#[test]
fn a_rule_that_thinks_for_too_long_denies() {
    let text =
        "deny contains \"x\" if {\n\tsome a in numbers.range(1, 90000)\n\tsome b in numbers.range(1, 90000)\n\ta * b < 0\n}";
    let begun = std::time::Instant::now();
    let denied = denials(text);
    assert!(denied[0].contains("limit"), "{denied:?}");
    assert!(begun.elapsed() < std::time::Duration::from_secs(60), "{:?}", begun.elapsed());
}

#[test]
fn ranges_are_those_of_rego() {
    let text = "deny contains \"ok\" if {\n\tnumbers.range(3, 1) == [3, 2, 1]\n\tnumbers.range(2, 2) == [2]\n\tnumbers.range_step(0, 7, 3) == [0, 3, 6]\n\tnumbers.range_step(7, 0, 3) == [7, 4, 1]\n}";
    assert_eq!(denials(text), ["trunkline.x.deny  ok"]);
}

#[test]
fn an_odd_address_does_not_swallow_the_message() {
    let denied = denials("deny contains {\"msg\": \"bad\", \"address\": \"nonsense\"}");
    assert_eq!(denied, ["trunkline.x.deny  nonsense: bad"]);
}

#[test]
fn the_same_rules_have_the_same_digest_and_tests_do_not_count() {
    let one = rules(&[("policies/x.rego", "package trunkline.x")]);
    let digest = |files: &trunkline::policy::RuleFiles| RuleSet::compile(files).unwrap().digest();
    let mut with_test = one.clone();
    with_test.insert("policies/x_test.rego".to_owned(), b"package trunkline.x_test".as_slice().into());
    assert_eq!(digest(&one), digest(&with_test));
    assert_ne!(digest(&one), digest(&rules(&[("policies/x.rego", "package trunkline.x\n")])));
    assert_ne!(digest(&one), digest(&rules(&[("policies/y.rego", "package trunkline.x")])));
}

#[test]
fn deletions_wait_for_a_person() {
    let held = |world: &World| match world.judged(rules(&[])).approved {
        Err(Refusal::Held(messages)) => said(&messages),
        other => panic!("{other:?}"),
    };
    let approved = |world: &World| world.judged(rules(&[])).approved.is_ok();
    // Data needs its name; the hint is the line to write.
    let data = World::deleting(&["production/kv.sessions@main"], 100);
    assert_eq!(held(&data).len(), 1);
    let Err(refusal) = data.judged(rules(&[])).approved else { unreachable!() };
    assert!(refusal.messages()[0].hint.as_ref().unwrap().contains("`Acknowledge: production/kv.sessions delete`"));
    assert!(!approved(&World::deleting(&["production/kv.sessions@main"], 100).acknowledging("production/kv.other delete")));
    assert!(!approved(&World::deleting(&["production/kv.sessions@main"], 100).acknowledging("staging/kv.sessions delete")));
    assert!(!approved(&World::deleting(&["production/kv.sessions@main"], 100).acknowledging("production delete-budget")));
    assert!(approved(&World::deleting(&["production/kv.sessions@main"], 100).acknowledging("production/kv.sessions delete")));
    // A share of what is owned, a number, and never one resource alone.
    let two = ["production/worker.a@main", "production/worker.b@main"];
    assert!(approved(&World::deleting(&two, 10)));
    assert_eq!(
        held(&World::deleting(&two, 9)),
        ["trunkline/delete-budget  2 of 9 owned instances would be deleted; the budget is 5 and no more than 20 %"]
    );
    assert!(approved(&World::deleting(&two, 9).acknowledging("production delete-budget")));
    assert!(approved(&World::deleting(&two, 9).acknowledging("production/worker.a delete")));
    assert!(!approved(&World::deleting(&two, 9).acknowledging("staging delete-budget")));
    assert!(approved(&World::deleting(&["production/worker.a@main", "production/worker.a@eu"], 2)));
    let many: Vec<String> = (0..6).map(|n| format!("production/worker.w{n}@main")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert!(approved(&World::deleting(&many[..5], 1000)));
    assert!(!approved(&World::deleting(&many, 1000)));
}

#[test]
fn what_cannot_be_taken_back_waits_for_a_person_by_name() {
    let mut world = World::creating([("production/d1.ads@main", super::world::kv())]);
    assert!(world.judged(rules(&[])).approved.is_ok());
    let reversal = &mut world.plan.changes[0].reversal;
    reversal.verdict = trunkline::plan::Reversibility::OneWay;
    reversal.reasons = vec!["what 0002.sql does is not undone".into()];
    let told = refused(&world.judged(rules(&[])));
    assert_eq!(
        told,
        ["trunkline/one-way production/d1.ads changing d1.ads cannot be taken back: what 0002.sql does is not undone"]
    );
    let hint = match world.judged(rules(&[])).approved {
        Err(Refusal::Held(held)) => held[0].hint.clone().unwrap(),
        other => panic!("{other:?}"),
    };
    assert!(hint.contains("`Acknowledge: production/d1.ads one-way`"), "{hint}");
    assert!(world.acknowledging("production/d1.ads one-way").judged(rules(&[])).approved.is_ok());
}

#[test]
fn a_denial_lists_what_would_be_held_besides() {
    let world = World::deleting(&["production/kv.sessions@main"], 10);
    let verdict = world.judged(rules(&[("policies/x.rego", "package trunkline\ndeny contains \"no\"")]));
    assert!(matches!(verdict.approved, Err(Refusal::Denied(_))));
    assert_eq!(refused(&verdict).len(), 2);
}

#[test]
fn rule_sets_can_be_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<RuleSet>();
    shared::<trunkline::policy::Rules>();
}
