//! What stays with the version before: a probe that fails, a revert, another commit in the middle.

use super::{deployments, greet, rolled, said, versions, wait_deployed};

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_fails_its_probe_gets_nothing_until_a_commit_mends_it() {
    let world = rolled("[50, 100]", "1s", Some(418)).await;
    greet(&world, "hello", "welcome");
    let ran = world.trunkline(&["apply"]);
    assert!(ran.status == 1 && ran.out.contains("answered 200, not 418"), "{ran:?}");
    let status = world.status("production");
    assert_eq!((status["condition"].as_str(), status["reason"].as_str()), (Some("Stalled"), Some("apply_failed")), "{status}");
    let expected: [&[(u64, u64)]; 3] = [&[(1, 100)], &[(1, 100), (2, 0)], &[(1, 100)]];
    assert_eq!(deployments(&world).await, expected);
    assert_eq!(world.get("api.example.com", "/").await.1, "hello with key");

    world.edit(super::FILE, "status = 418", "status = 200");
    let mended = world.commit("The probe expects what the Worker answers");
    let _daemon = world.daemon();
    world.wait_ready("production", &mended).await;
    assert_eq!(versions(&world).await.len(), 2, "what was uploaded is used");
    let all = deployments(&world).await;
    let expected: [&[(u64, u64)]; 3] = [&[(1, 100), (2, 0)], &[(1, 50), (2, 50)], &[(2, 100)]];
    assert_eq!(all[3..], expected, "{all:?}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revert_in_the_middle_is_at_once_and_uploads_nothing() {
    let world = rolled("[10, 100]", "1h", None).await;
    let _daemon = world.daemon();
    greet(&world, "hello", "welcome");
    wait_deployed(&world, &[(1, 90), (2, 10)]).await;
    world.git(&["revert", "--no-edit", "HEAD"]);
    let reverted = world.commit("Taken back");
    world.wait_ready("production", &reverted).await;
    let expected: [&[(u64, u64)]; 3] = [&[(1, 100)], &[(1, 90), (2, 10)], &[(1, 100)]];
    assert_eq!(deployments(&world).await, expected);
    assert_eq!(versions(&world).await.len(), 2);
    world.assert_converged();
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_in_the_middle_begins_anew_beside_what_has_most() {
    let world = rolled("[10, 100]", "1h", None).await;
    let mut daemon = world.daemon();
    greet(&world, "hello", "welcome");
    wait_deployed(&world, &[(1, 90), (2, 10)]).await;
    greet(&world, "welcome", "good day");
    wait_deployed(&world, &[(1, 90), (3, 10)]).await;
    // Two of the same revision, as a rollback to the one before what runs sees it.
    let rolled_back = said(&world, &["rollback", "production", "--owner", "ada"]);
    assert!(rolled_back.contains("quarantined until changed: production/worker.api"), "{rolled_back}");
    let all = deployments(&world).await;
    assert_eq!(all.last().unwrap().len(), 1, "a rollback has no steps: {all:?}");
    let answer = world.get("api.example.com", "/").await.1;
    assert!(["hello with key", "welcome with key"].contains(&answer.as_str()), "{answer}");
    assert_eq!(daemon.terminate(), 0, "{}", world.log());
    world.end().await;
}
