//! While what is merged may not run, what runs is kept as it is.

use super::{FILE, assert_greets, good_and_bad, greet, history, roll_back};
use crate::world::World;

const ACCOUNT: &str = "00000000000000000000000000000000";

/// Deletes a file and replaces a Worker, as somebody would.
async fn drift(world: &World) {
    std::fs::remove_file(world.host("/etc/motd")).unwrap();
    let source = "export default { fetch: () => new Response('theirs') }";
    world.upload_foreign(ACCOUNT, "api-production", source).await;
    assert!(!world.get("api.example.com", "/").await.1.contains("with key"));
}

/// `apply`, which must be held; its output.
fn held(world: &World) -> String {
    let ran = world.trunkline(&["apply"]);
    assert_eq!(ran.status, 1, "{ran:?}");
    ran.out
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_rolled_back_to_is_healed_and_its_quarantine_stays() {
    let (world, good, _) = good_and_bad().await;
    roll_back(&world, &good);
    assert!(held(&world).contains("quarantined"));
    drift(&world).await;
    let out = held(&world);
    assert!(out.contains("quarantined"), "{out}");
    assert_greets(&world, "hello").await;
    assert_eq!(std::fs::read_to_string(world.host("/etc/motd")).unwrap(), "kept by trunkline\n");
    let status = world.status("production");
    assert_eq!((&status["reason"], &status["applied"]), (&"quarantined".into(), &format!("main@sha1:{good}").as_str().into()));
    assert_eq!(status["quarantined"], serde_json::json!(["production/worker.api"]));
    let generations = history(&world);
    assert!(generations.len() == 4 && generations[0].contains("rollback"), "{generations:?}");

    // Healed once: another look finds nothing to do.
    world.proxy.reset();
    held(&world);
    assert_eq!(world.proxy.writes(), [""; 0]);
    assert_eq!(history(&world).len(), 4);
    // And what is mended still rolls forward by itself.
    greet(&world, "bad", "mended");
    world.commit("Mended");
    world.apply();
    assert_greets(&world, "mended").await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_is_healed_while_a_commit_cannot_be_read() {
    let world = World::with_production().await;
    world.apply();
    world.write("environments/production/mistake.toml", "[kv.x]\nnonsense = 1\n");
    world.commit("A mistake");
    assert!(held(&world).contains("invalid_definition"));
    drift(&world).await;
    assert!(held(&world).contains("invalid_definition"));
    assert_greets(&world, "hello").await;
    assert!(world.host("/etc/motd").exists());
    let generations = history(&world);
    assert!(generations.len() == 2 && generations[0].contains("apply"), "{generations:?}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_that_is_only_reported_is_left_while_held_too() {
    let world = World::with_production().await;
    world.edit(FILE, "[edge.local]", "[environment.sync]\ndrift = \"report\"\n\n[edge.local]");
    world.commit("Only report drift");
    world.apply();
    world.write("environments/production/mistake.toml", "[kv.x]\nnonsense = 1\n");
    world.commit("A mistake");
    std::fs::remove_file(world.host("/etc/motd")).unwrap();
    held(&world);
    assert!(!world.host("/etc/motd").exists());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_commit_left_half_done_is_no_drift() {
    let world = World::with_production().await;
    world.apply();
    greet(&world, "hello", "half");
    world.edit(FILE, "content = \"kept by", "validate = [\"/bin/false\", \"{candidate}\"]\ncontent = \"no longer kept by");
    world.commit("Half of it fails");
    assert!(held(&world).contains("apply_failed"));
    assert_greets(&world, "half").await;
    world.write("environments/production/mistake.toml", "[kv.x]\nnonsense = 1\n");
    world.commit("A mistake on top");
    assert!(held(&world).contains("invalid_definition"));
    assert_greets(&world, "half").await;
    world.end().await;
}
