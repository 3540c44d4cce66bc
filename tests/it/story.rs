//! The main job, from a push to the live Worker and back, by the daemon.

use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_merged_commit_runs_and_a_revert_takes_it_back() {
    let world = World::with_production().await;
    let mut daemon = world.daemon();
    world.wait_ready("production", &world.head()).await;
    assert_eq!(world.get("api.example.com", "/").await, (200, "hello with key".to_owned()));
    assert_eq!(
        std::fs::read_to_string(world.host("/etc/engine/engine.conf")).unwrap(),
        "greeting = hello\npassword = password-of-the-file\n"
    );

    world.edit("environments/production/production.toml", "GREETING = \"hello\"", "GREETING = \"good evening\"");
    let commit = world.commit("Greet");
    world.wait_ready("production", &commit).await;
    assert_eq!(world.get("api.example.com", "/").await.1, "good evening with key");

    world.git(&["revert", "--no-edit", "HEAD"]);
    world.git(&["push", "--quiet"]);
    let status = world.wait_ready("production", &world.head()).await;
    assert_eq!(status["generation"]["number"], 3);
    assert_eq!(world.get("api.example.com", "/").await.1, "hello with key");

    assert_eq!(daemon.terminate(), 0, "{}", world.log());
    world.assert_converged();
    let history = world.trunkline(&["history"]).out;
    assert_eq!(history.lines().count(), 3, "{history}");
    world.git(&["fetch", "--quiet", "origin", "refs/notes/trunkline:refs/notes/trunkline"]);
    let notes = world.git(&["log", "--notes=trunkline"]);
    assert_eq!(notes.matches("\"environment\":\"production\"").count(), 3, "{notes}");
    world.end().await;
}
