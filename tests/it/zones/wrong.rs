//! One zone that cannot be read keeps nobody from what lies in the others.

use http::Method;
use serde_json::Value;

use super::{ACCOUNT, PRODUCTION, blocked, records, rules, world, zone};
use crate::converge::scene::{changes, names};
use crate::proxy::{Answer, Fault};

/// The same of everything, in a zone that is there and in one that is not.
fn definitions() -> String {
    let of = |key: &str, zone: &str| {
        format!(
            r#"
[dns.{key}]
zone = "{zone}"
type = "A"
name = "a.{zone}"
content = "192.0.2.1"

[cache_rule.{key}]
zone = "{zone}"
expression = "true"

[worker.{key}]
main = "workers/w/index.js"
routes = [{{ pattern = "{zone}/*", zone_name = "{zone}" }}]
"#
        )
    };
    of("good", "example.com") + &of("wrong", "example.invalid")
}

const KINDS: [&str; 3] = ["dns", "cache_rule", "worker"];

#[tokio::test(flavor = "multi_thread")]
async fn what_lies_in_a_zone_that_is_not_there_is_unknown_and_the_rest_is_applied() {
    let world = world(&definitions()).await;
    world.proxy.reset();
    // The routes are read after the list of Workers: long after records and rules, here.
    world.proxy.inject(Method::GET, "/workers/scripts", 1, Fault::Delay(std::time::Duration::from_secs(2)));
    let plan = super::planned(&world);
    let lookups: Vec<String> =
        world.proxy.calls().iter().filter(|c| c.path.ends_with("/zones")).map(|c| c.query.clone()).collect();
    for zone in ["example.com", "example.invalid"] {
        let of = lookups.iter().filter(|query| query.contains(zone)).count();
        assert_eq!(of, 1, "one lookup for routes, records and rules: {lookups:?}");
    }
    // The next pass looks again: somebody may have added it.
    world.proxy.reset();
    super::planned(&world);
    assert!(world.proxy.calls().iter().any(|call| call.path.ends_with("/zones") && call.query.contains("example.invalid")));
    let of = |list: &str| -> Vec<String> {
        let items = plan[list].as_array().unwrap();
        let mut of: Vec<String> = items.iter().map(|item| item["address"].as_str().unwrap().to_owned()).collect();
        of.sort();
        of
    };
    assert_eq!(of("blocked"), ["cache_rule", "dns", "worker"].map(|kind| format!("production/{kind}.wrong")));
    assert_eq!(of("changes"), ["cache_rule", "dns", "worker"].map(|kind| format!("production/{kind}.good")));
    for kind in KINDS {
        let reason = blocked(&world, &format!("production/{kind}.wrong"));
        assert!(reason.contains("the account shows no zone `example.invalid`") && reason.contains("Zone Read"), "{reason}");
    }

    let ran = world.trunkline(&["apply"]);
    assert_eq!(ran.status, 1, "{ran:?}");
    assert_eq!((records(&world).await.len(), rules(&world).await.len()), (1, 1));
    let routes = world.foreign("GET", &format!("/zones/{}/workers/routes", zone(&world).await), None).await;
    assert_eq!(names(&routes, "pattern"), ["example.com/*".to_owned()].into());
    let scripts = world.foreign("GET", &format!("/accounts/{ACCOUNT}/workers/scripts"), None).await;
    assert_eq!(names(&scripts, "id"), ["good-production".to_owned()].into());

    // A zone whose name is put right is as good as the other.
    world.edit(PRODUCTION, "example.invalid", "example.org");
    world.commit("The name of the zone");
    world.apply();
    world.assert_converged();
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lies_in_a_zone_that_cannot_be_read_now_is_neither_absent_nor_changed() {
    let world = world(&definitions().replace("example.invalid", "example.org")).await;
    world.apply();
    world.assert_converged();
    let id = world.foreign("GET", "/zones?name=example.org", None).await[0]["id"].as_str().unwrap().to_owned();
    for (path, kind) in [
        ("dns_records", "dns"),
        ("rulesets/phases/http_request_cache_settings/entrypoint", "cache_rule"),
        ("workers/routes", "worker"),
    ] {
        world.proxy.reset();
        let refused = Answer::error(403, 10000);
        world.proxy.inject(Method::GET, &format!("/zones/{id}/{path}"), usize::MAX, Fault::AnswerBefore(refused));
        let plan: Value = super::planned(&world);
        assert_eq!(plan["changes"], serde_json::json!([]), "{kind}");
        let blocked = plan["blocked"].as_array().unwrap();
        assert_eq!((blocked.len(), &blocked[0]["address"]), (1, &format!("production/{kind}.wrong").into()), "{plan:#}");
        assert!(blocked[0].to_string().contains("code 10000"), "{plan:#}");
    }
    world.proxy.reset();
    assert_eq!(changes(&world), [""; 0]);
    world.end().await;
}
