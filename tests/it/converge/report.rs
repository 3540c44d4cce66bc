//! `drift = "report"`: drift is shown and left, and everything else goes on.

use serde_json::json;

use super::scene::{PRODUCTION, changes, drift, script, tamper};
use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn drift_is_shown_and_left_where_the_definitions_say_so() {
    let world = World::with_production().await;
    world.edit(PRODUCTION, "[edge.local]", "[environment.sync]\ndrift = \"report\"\n\n[edge.local]");
    world.commit("Report drift");
    world.apply();
    tamper(&world, "tampered").await;
    world.foreign("PUT", &script("api-production", "/schedules"), Some(json!([]))).await;
    std::fs::write(world.host("/etc/motd"), "edited").unwrap();
    assert_eq!(drift(&world).keys().collect::<Vec<_>>(), ["file.motd", "worker.api"]);

    let left = async |world: &World| {
        assert_eq!(world.get("api.example.com", "/").await.1, "tampered with key");
        assert_eq!(std::fs::read_to_string(world.host("/etc/motd")).unwrap(), "edited");
        let status = world.status("production");
        assert_eq!((status["condition"].as_str(), status["reason"].as_str()), (Some("Stalled"), Some("drifted")), "{status:#}");
        let message = status["message"].as_str().unwrap();
        assert!(message.contains("file.motd") && message.contains("worker.api"), "{message}");
    };
    world.proxy.reset();
    assert_eq!(world.trunkline(&["apply"]).status, 1);
    assert_eq!(world.proxy.writes(), [""; 0]);
    left(&world).await;
    assert_eq!(world.status("production")["generation"]["number"], 1);

    // A commit is applied, and what drifted beside it stays, and stays shown.
    world.edit(PRODUCTION, "mode = \"0640\"", "mode = \"0600\"");
    let commit = world.commit("Close it");
    assert_eq!(changes(&world), ["update file.engine@origin", "update file.motd@origin", "update worker.api@local"]);
    world.proxy.reset();
    assert_eq!(world.trunkline(&["apply"]).status, 1);
    assert_eq!(world.proxy.writes(), [""; 0]);
    left(&world).await;
    let status = world.status("production");
    assert_eq!(status["generation"]["number"], 2);
    assert_eq!(status["applied"], format!("main@sha1:{commit}"));
    assert_eq!(drift(&world).keys().collect::<Vec<_>>(), ["file.motd", "worker.api"]);

    world.edit(PRODUCTION, "drift = \"report\"", "drift = \"heal\"");
    world.commit("Heal drift");
    world.apply();
    world.assert_converged();
    assert_eq!(world.get("api.example.com", "/").await.1, "hello with key");
    world.end().await;
}
