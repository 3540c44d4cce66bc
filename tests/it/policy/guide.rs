//! What `policies/README.md` shows is so: its rules run, and the input it prints is the input that rules get.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;
use trunkline::model::{ApiToken, CloudflareTarget, Target, TargetKind};
use trunkline::policy::{RuleFiles, TrialOutcome, run_tests};

use super::world::{World, key, refused, rules, var, worker};

/// The blocks of the guide that are marked as `language`.
fn blocks(language: &str) -> Vec<String> {
    let guide = include_str!("../../../policies/README.md");
    let open = format!("```{language}\n");
    guide.split(&open).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

#[test]
fn the_rule_and_the_test_in_the_guide_work() {
    let files: RuleFiles = blocks("rego")
        .into_iter()
        .enumerate()
        .map(|(n, text)| {
            let path = if text.contains("_test\n") { format!("policies/{n}_test.rego") } else { format!("policies/{n}.rego") };
            (path, text.as_bytes().into())
        })
        .collect();
    assert_eq!(files.len(), 2);
    let trials = run_tests(&files).unwrap();
    assert_eq!(trials.len(), 1);
    assert_eq!(trials[0].outcome, TrialOutcome::Passed);
}

/// The input that a rule gets, said by a rule.
fn input(world: &World) -> Json {
    let verdict = world.judged(rules(&[("policies/x.rego", "package trunkline.x\ndeny contains json.marshal(input)")]));
    serde_json::from_str(refused(&verdict)[0].strip_prefix("trunkline.x.deny  ").unwrap()).unwrap()
}

/// The keys of the table at `pointer`, `*` standing for its only item.
fn keys(json: &Json, pointer: &str) -> BTreeSet<String> {
    let mut at = json;
    for part in pointer.split('/').filter(|part| !part.is_empty()) {
        at = match (part, at) {
            ("*", Json::Array(items)) => &items[0],
            ("*", Json::Object(items)) => items.values().next().unwrap(),
            (name, at) => &at[name],
        };
    }
    at.as_object().unwrap_or_else(|| panic!("no table at {pointer}: {at}")).keys().cloned().collect()
}

#[test]
fn the_input_in_the_guide_has_the_keys_of_the_real_one() {
    let shown: Json = serde_json::from_str(&blocks("json")[0]).unwrap();
    let mut world =
        World::creating([("production/worker.ads-api@main", worker(&[("LOG_LEVEL", var("info"))], Some("2026-11-01")))])
            .acknowledging("production/kv.sessions delete");
    let account = CloudflareTarget {
        account_id: "0123456789abcdef0123456789abcdef".into(),
        api_token: ApiToken::Secret("cloudflare-token".parse().unwrap()),
        endpoint: "https://api.cloudflare.com/client/v4".into(),
    };
    let target = Target { region: None, labels: BTreeMap::new(), kind: TargetKind::Cloudflare(account) };
    world.desired.targets = [("main".parse().unwrap(), target)].into();
    world.plan.changes[0].depends_on = [key("production/kv.sessions@main")].into();
    let real = input(&world);
    for table in [
        "",
        "environment",
        "rules",
        "budget",
        "plan",
        "plan/changes/*",
        "desired",
        "desired/sync",
        "desired/targets/*",
        "desired/resources/*",
    ] {
        assert_eq!(keys(&shown, table), keys(&real, table), "{table}");
    }
    assert_eq!(shown["environment"], real["environment"]);
    assert_eq!(shown["acknowledged"], real["acknowledged"]);
    assert_eq!(shown["now_ns"], real["now_ns"]);
    let binding = serde_json::json!({ "type": "plain_text", "text": "info" });
    assert_eq!(real["desired"]["resources"]["production/worker.ads-api@main"]["properties"]["bindings"]["LOG_LEVEL"], binding);
    assert_eq!(real["plan"]["changes"][0]["after"]["bindings"]["LOG_LEVEL"], binding);
    assert!(!real.to_string().contains("cloudflare-token"), "where a token comes from is not for rules");
}
