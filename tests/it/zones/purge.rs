//! Purges follow deployments of another version, and only those; what goes wrong with one is a warning.

use serde_json::{Value, json};

use super::{PRODUCTION, world};
use crate::world::World;

const DEFINITIONS: &str = r#"
[worker.app]
main = "workers/w/index.js"
vars = { LEVEL = "info" }
purge = { zone = "example.com", hosts = ["www.example.com"], prefixes = ["example.com/static"] }
"#;

/// What was purged, since last asked.
async fn purges(world: &World) -> Vec<Value> {
    let api = world.edge.as_ref().unwrap().api_addr();
    let url = format!("http://{api}/__purges");
    let answer = reqwest::Client::new().get(url).bearer_auth(crate::world::TOKEN).send().await.unwrap().bytes().await.unwrap();
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    answer["result"].as_array().unwrap().clone()
}

async fn fault(world: &World, fault: Value) {
    let api = world.edge.as_ref().unwrap().api_addr();
    let request = reqwest::Client::new().post(format!("http://{api}/__faults")).bearer_auth(crate::world::TOKEN);
    let answer = request.header("content-type", "application/json").body(fault.to_string()).send().await.unwrap();
    assert!(answer.status().is_success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_follows_a_deployment_and_its_failure_is_a_warning() {
    let world = world(DEFINITIONS).await;
    world.apply();
    let first = purges(&world).await;
    assert_eq!(first.len(), 2, "one call for each sort: {first:?}");
    assert_eq!((&first[0]["mode"], &first[0]["hosts"]), (&json!("invalidate"), &json!(["www.example.com"])));
    assert_eq!(first[1]["prefixes"], json!(["example.com/static"]));

    // No other version, no purge: nothing changed, then only a trigger.
    world.apply();
    world.edit(PRODUCTION, "vars =", "triggers = { crons = [\"0 3 * * *\"] }\nvars =");
    world.commit("A trigger");
    world.apply();
    assert_eq!(purges(&world).await.len(), 2);

    // The outcome is not known: it is done again.
    fault(&world, json!({ "match": "POST .*invalidate_cache", "status": 503, "after_effect": true })).await;
    world.edit(PRODUCTION, "LEVEL = \"info\"", "LEVEL = \"debug\"");
    world.commit("Another version");
    world.apply();
    assert_eq!(purges(&world).await.len(), 5);

    // It is refused: the deployment stands, and a warning says so.
    fault(&world, json!({ "match": "POST .*invalidate_cache", "status": 403, "code": 10000, "times": 2 })).await;
    world.edit(PRODUCTION, "LEVEL = \"debug\"", "LEVEL = \"warn\"");
    let commit = world.commit("A third version");
    let ran = world.apply();
    assert!(ran.err.contains("the cache of `example.com` was not purged by hosts") && ran.err.contains("api_token"), "{ran:?}");
    let status = world.status("production");
    assert_eq!(
        (&status["condition"], &status["applied"]),
        (&json!("Ready"), &json!(format!("main@sha1:{commit}"))),
        "{status:#}"
    );
    assert_eq!(status["warnings"].as_array().unwrap().len(), 2, "{status:#}");
    assert_eq!(purges(&world).await.len(), 5);
    world.assert_converged();
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_that_nobody_saw_the_end_of_is_done_by_the_next_pass() {
    let world = world(DEFINITIONS).await;
    world.apply();
    assert_eq!(purges(&world).await.len(), 2);
    world.edit(PRODUCTION, "LEVEL = \"info\"", "LEVEL = \"debug\"");
    world.commit("Another version");
    let mut killed = world.command(&["apply"]);
    killed.env("TRUNKLINE_BOUNDARIES", world.path("trace")).env("TRUNKLINE_KILL_AT", "after_deployment#1");
    assert!(!killed.output().unwrap().status.success());
    assert_eq!(purges(&world).await.len(), 2, "it was killed before");
    world.apply();
    assert_eq!(purges(&world).await.len(), 4);
    world.assert_converged();
    world.end().await;
}
