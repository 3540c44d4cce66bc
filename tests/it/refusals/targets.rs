//! A target that refuses, is gone half-way, or holds things of others.

use http::Method;

use super::{assert_production_untouched, assert_says, assert_staging_goes_on, turn_staging, two_environments, wait_refused};
use crate::proxy::Fault;
use crate::world::TOKEN;

/// The account that stands for an edge's only one.
const ACCOUNT: &str = "00000000000000000000000000000000";

const FILE: &str = "environments/production/production.toml";

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_token_is_named_and_holds_its_environment_only() {
    let world = two_environments().await;
    let mut daemon = world.daemon();
    let good = world.head();
    world.wait_ready("production", &good).await;
    world.wait_ready("staging", &good).await;
    world.proxy.reset();
    world.set_secret("production", "edge-token", "not-the-token");
    world.edit(FILE, "GREETING = \"hello\"", "GREETING = \"good evening\"");
    turn_staging(&world, 1);
    let commit = world.commit("A token that the edge does not know");
    let message = wait_refused(&world, &commit, "unreachable").await;
    assert_says(&message, &["production/", "10000", "token"]);
    assert!(!message.contains("not-the-token"), "{message}");
    assert_staging_goes_on(&world, &commit, 1).await;
    assert_production_untouched(&world).await;
    assert_eq!(daemon.terminate(), 0, "{}", world.log());

    let planned = world.trunkline(&["plan", "production"]);
    assert_eq!(planned.status, 1, "{planned:?}");
    assert_says(&planned.out, &["10000", "token"]);
    let applied = world.trunkline(&["apply", "production"]);
    assert_eq!(applied.status, 1, "{applied:?}");
    assert_says(&applied.out, &["10000", "token"]);
    assert_production_untouched(&world).await;

    world.set_secret("production", "edge-token", TOKEN);
    world.commit("The token again");
    world.apply();
    assert_eq!(world.get("api.example.com", "/").await.1, "good evening with key");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_that_goes_half_way_through_is_gone_on_with_and_nothing_is_done_twice() {
    for fault in [Fault::DropBefore, Fault::DropAfter] {
        println!("===== {fault:?}");
        let world = two_environments().await;
        world.edit(FILE, "[kv.counts]", "[kv.counts]\n\n[kv.second]");
        let commit = world.commit("Two namespaces");
        // One namespace is made; from the next on, the connection is cut: every call, for as long as it lasts.
        world.proxy.inject(Method::POST, "/storage/kv/namespaces", 1, Fault::Delay(std::time::Duration::ZERO));
        world.proxy.inject(Method::POST, "/storage/kv/namespaces", 3, fault.clone());
        world.proxy.inject(Method::PUT, "/scripts/api-production", 2, fault);
        let mut daemon = world.daemon();
        world.wait_ready("production", &commit).await;
        world.wait_ready("staging", &commit).await;
        let writes = world.proxy.writes();
        assert_eq!(world.get("api.example.com", "/").await, (200, "hello with key".to_owned()), "{writes:#?}");
        let namespaces = world.foreign("GET", &format!("/accounts/{}/storage/kv/namespaces", ACCOUNT), None).await;
        let titles: Vec<&str> = namespaces.as_array().unwrap().iter().map(|n| n["title"].as_str().unwrap()).collect();
        assert_eq!(titles.len(), 2, "{titles:?}");
        assert_eq!(world.get("api.example.com", "/count").await.1, "1");
        assert_eq!(daemon.terminate(), 0, "{}", world.log());
        world.assert_converged();
        let history = world.trunkline(&["history", "production"]).out;
        assert_says(&history, &["failed", "applied", "outcome unknown"]);
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_that_goes_half_way_through_an_update_leaves_what_ran_and_the_others_go_on() {
    let world = two_environments().await;
    let good = world.head();
    let mut daemon = world.daemon();
    world.wait_ready("production", &good).await;
    world.wait_ready("staging", &good).await;
    world.proxy.reset();
    // The new version is uploaded; from its deployment on, nothing of production reaches the edge.
    world.proxy.inject(Method::POST, "/scripts/api-production/deployments", 1_000, Fault::DropBefore);
    world.edit(FILE, "GREETING = \"hello\"", "GREETING = \"good evening\"");
    turn_staging(&world, 1);
    let commit = world.commit("Half of this is done");
    let message = wait_refused(&world, &commit, "apply_failed").await;
    assert_says(&message, &["update production/worker.api@local", "outcome unknown"]);
    assert_staging_goes_on(&world, &commit, 1).await;
    let status = world.status("production");
    assert_eq!((&status["condition"], status["applied"].as_str()), (&"Reconciling".into(), Some(&*format!("main@sha1:{good}"))));
    assert_eq!(world.get("api.example.com", "/").await, (200, "hello with key".to_owned()));
    assert_eq!(std::fs::read_to_string(world.host("/etc/motd")).unwrap(), "kept by trunkline\n");

    world.proxy.reset();
    world.wait_ready("production", &commit).await;
    assert_eq!(world.get("api.example.com", "/").await.1, "good evening with key");
    assert_eq!(daemon.terminate(), 0, "{}", world.log());
    world.assert_converged();
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_that_is_down_is_waited_for() {
    let mut world = two_environments().await;
    let good = world.head();
    let mut daemon = world.daemon();
    world.wait_ready("production", &good).await;
    world.wait_ready("staging", &good).await;
    world.stop_edge().await;
    world.edit(FILE, "GREETING = \"hello\"", "GREETING = \"good evening\"");
    world.edit(FILE, "kept by trunkline", "kept again");
    let commit = world.commit("While the edge is down");
    let message = wait_refused(&world, &commit, "unreachable").await;
    assert_says(&message, &["production/", "127.0.0.1"]);
    assert_eq!(world.status("production")["condition"], "Reconciling", "nobody has to act: it is looked at again");
    world.start_edge().await;
    world.wait_ready("production", &commit).await;
    assert_eq!(world.get("api.example.com", "/").await.1, "good evening with key");
    assert_eq!(std::fs::read_to_string(world.host("/etc/motd")).unwrap(), "kept again\n");
    assert_eq!(daemon.terminate(), 0, "{}", world.log());
    world.assert_converged();
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_of_somebody_else_is_never_taken_over() {
    let world = two_environments().await;
    world.upload_foreign(ACCOUNT, "api-production", "export default { fetch: () => new Response('theirs') };").await;
    let mut daemon = world.daemon();
    let commit = world.head();
    let message = wait_refused(&world, &commit, "not_ours").await;
    assert_says(&message, &["production/worker.api@local", "api-production"]);
    world.wait_ready("staging", &commit).await;
    assert_eq!(daemon.terminate(), 0, "{}", world.log());
    let planned = world.trunkline(&["plan", "production"]);
    assert_eq!(planned.status, 1, "{planned:?}");
    assert_says(&planned.out, &["worker.api on local", "api-production", "adopt = true"]);
    let writes: Vec<String> = world.proxy.writes().into_iter().filter(|line| line.contains("api-production")).collect();
    assert_eq!(writes, [""; 0]);
    let theirs = world.foreign_text(&format!("/accounts/{}/workers/scripts/api-production", ACCOUNT)).await;
    assert!(theirs.contains("theirs"), "{theirs}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_workerd_says_of_a_script_reaches_the_status() {
    let world = two_environments().await;
    let mut daemon = world.daemon();
    let good = world.head();
    world.wait_ready("production", &good).await;
    world.wait_ready("staging", &good).await;
    world.proxy.reset();
    world.write("workers/api/index.js", "export default {\n  fetch() { return new Response(; }\n};\n");
    turn_staging(&world, 1);
    let committed = std::time::Instant::now();
    let commit = world.commit("A script that does not parse");
    let message = wait_refused(&world, &commit, "apply_failed").await;
    assert_says(&message, &["update production/worker.api@local", "10021", "SyntaxError", "index.js:2"]);
    assert_staging_goes_on(&world, &commit, 1).await;
    assert_eq!(world.status("production")["condition"], "Stalled");
    assert_eq!(world.get("api.example.com", "/").await, (200, "hello with key".to_owned()));
    let history = world.trunkline(&["history", "production", "-n", "20"]);
    assert_says(&history.out, &["failed", "10021"]);
    // A refusal that a commit must mend is tried again after half a minute at the earliest, then less often.
    let tried = history.out.lines().filter(|line| line.contains(&commit[..7])).count();
    let most = 1 + committed.elapsed().as_secs() / 30;
    assert!(tried as u64 <= most, "a refused script is not uploaded again and again: {}", history.out);
    assert_eq!(daemon.terminate(), 0, "{}", world.log());

    world.git(&["revert", "--no-edit", "HEAD"]);
    world.git(&["push", "--quiet"]);
    world.apply();
    world.proxy.reset();
    assert_production_untouched(&world).await;
    world.assert_converged();
    world.end().await;
}
