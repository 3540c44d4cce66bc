//! What people say of a version that is on its way: promote, pause, abort, resume.

use super::{deployments, greet, rolled, said, versions, wait_deployed};

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_survives_a_restart_and_a_step_by_hand_is_taken_under_it() {
    let world = rolled("[10, 50, 100]", "1s", None).await;
    let ran = world.trunkline(&["promote", "production"]);
    assert!(ran.status == 1 && ran.err.contains("nothing is rolling out in production"), "{ran:?}");
    let ran = world.trunkline(&["pause", "production", "nonsense"]);
    assert!(ran.status == 1 && ran.err.contains("owns no Worker `nonsense`"), "{ran:?}");
    let paused = said(&world, &["pause", "production", "worker.api", "--reason", "wait for the load", "--owner", "ada"]);
    assert!(paused.contains("production/worker.api gets no further share by itself: paused by ada"), "{paused}");

    let new = greet(&world, "hello", "welcome");
    for _ in 0..2 {
        let mut daemon = world.daemon();
        let status = world.wait("production", |status| status["reason"] == "rolling_out").await;
        assert!(status["message"].as_str().unwrap().contains("10 %, paused by ada at "), "{status}");
        assert_eq!(status["paused"][0]["owner"], "ada");
        assert_eq!(status["paused"][0]["reason"], "wait for the load");
        // A look at everything, long after the step is due, or not: it stays.
        said(&world, &["apply"]);
        assert_eq!(deployments(&world).await.len(), 2);
        daemon.kill();
    }
    let shown = world.trunkline(&["status"]).out;
    assert!(shown.contains("rolling out: worker.api on local: 10 %") && shown.contains("paused: worker.api, by ada"), "{shown}");

    // Without a daemon, and with one.
    let promoted = said(&world, &["promote", "production", "--owner", "bob"]);
    assert!(promoted.contains("worker.api on local: 50 %, paused by ada"), "{promoted}");
    let mut daemon = world.daemon();
    world.wait("production", |status| status["reason"] == "rolling_out").await;
    let ran = world.trunkline(&["promote", "production", "api", "--to", "20"]);
    assert!(ran.status == 1 && ran.err.contains("production/worker.api@local is at 50 % already"), "{ran:?}");
    said(&world, &["promote", "production", "api", "--to", "80"]);
    let expected: [&[(u64, u64)]; 4] = [&[(1, 100)], &[(1, 90), (2, 10)], &[(1, 50), (2, 50)], &[(1, 20), (2, 80)]];
    assert_eq!(deployments(&world).await, expected);

    let resumed = said(&world, &["resume", "production"]);
    assert!(resumed.contains("the pause by ada") && resumed.contains("lifted"), "{resumed}");
    let status = world.wait_ready("production", &new).await;
    assert_eq!(status["paused"], serde_json::json!([]));
    wait_deployed(&world, &[(2, 100)]).await;
    assert_eq!(daemon.terminate(), 0, "{}", world.log());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_gives_everything_back_and_holds_the_version_until_it_is_changed_or_resumed() {
    let world = rolled("[10, 50, 100]", "1h", None).await;
    let mut daemon = world.daemon();
    world.edit(super::FILE, "kept by trunkline", "kept as before");
    let bad = greet(&world, "hello", "bad");
    wait_deployed(&world, &[(1, 90), (2, 10)]).await;
    world.wait("production", |status| status["reason"] == "rolling_out").await;
    let aborted = said(&world, &["abort", "production", "api", "--owner", "ada"]);
    assert!(aborted.contains("production/worker.api@local") && aborted.contains("quarantined until changed"), "{aborted}");
    wait_deployed(&world, &[(1, 100)]).await;
    assert_eq!(world.get("api.example.com", "/").await.1, "hello with key");
    let motd = std::fs::read_to_string(world.host("/etc/motd")).unwrap();
    assert_eq!(motd, "kept as before\n", "the rest of the revision stays");
    let seen = format!("main@sha1:{bad}");
    let held = |status: &serde_json::Value| status["reason"] == "quarantined" && status["seen"] == seen.as_str();
    let status = world.wait("production", held).await;
    assert!(status["message"].as_str().unwrap().contains("production/worker.api still as in"), "{status}");
    assert_eq!(status["quarantined"], serde_json::json!(["production/worker.api"]));

    // It holds over a restart; what drifts is healed to what was left by it.
    daemon.kill();
    std::fs::remove_file(world.host("/etc/motd")).unwrap();
    assert_eq!(world.trunkline(&["apply"]).status, 1, "it is held");
    assert_eq!(std::fs::read_to_string(world.host("/etc/motd")).unwrap(), "kept as before\n");
    let mut daemon = world.daemon();
    world.wait("production", held).await;
    assert_eq!(deployments(&world).await.len(), 3);

    // Resumed, it begins anew with what was uploaded; changed, with another version.
    said(&world, &["resume", "production"]);
    wait_deployed(&world, &[(1, 90), (2, 10)]).await;
    assert_eq!(versions(&world).await.len(), 2);
    world.wait("production", |status| status["reason"] == "rolling_out").await;
    said(&world, &["abort", "production"]);
    wait_deployed(&world, &[(1, 100)]).await;
    let mended = greet(&world, "bad", "better");
    wait_deployed(&world, &[(1, 90), (3, 10)]).await;
    said(&world, &["promote", "production", "--to", "100"]);
    world.wait_ready("production", &mended).await;
    assert_eq!(world.status("production")["quarantined"], serde_json::json!([]));
    assert_eq!(daemon.terminate(), 0, "{}", world.log());
    world.end().await;
}
