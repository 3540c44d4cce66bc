//! While the remote is away: the recorded bundle is enough.

use super::{assert_greets, good_and_bad, greet, roll_back, wait_held};
use crate::world::World;

fn away(world: &World) {
    std::fs::rename(world.path("remote.git"), world.path("elsewhere.git")).unwrap();
}

fn back(world: &World) {
    std::fs::rename(world.path("elsewhere.git"), world.path("remote.git")).unwrap();
}

fn proposals(world: &World) -> String {
    world.git_in(&world.path("remote.git"), &["for-each-ref", "--format=%(refname)", "refs/heads/trunkline/"])
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_remote_away_a_daemon_rolls_back_and_publishes_later() {
    let (world, good, bad) = good_and_bad().await;
    let mut daemon = world.daemon();
    world.wait_ready("production", &bad).await;
    away(&world);
    world.wait("production", |status| status["reason"] == "source").await;
    let ran = roll_back(&world, &good);
    assert_greets(&world, "hello").await;
    assert!(ran.out.contains("it is not pushed"), "{ran:?}");
    // Also for one that starts now.
    daemon.kill();
    let mut daemon = world.daemon();
    wait_held(&world, &bad).await;
    assert_greets(&world, "hello").await;
    let ran = world.trunkline(&["resume", "production"]);
    println!("{}{}", ran.out, ran.err);
    assert_eq!(ran.status, 0, "what is lifted is lifted: {ran:?}");
    world.wait("production", |status| status["applied"] == format!("main@sha1:{bad}").as_str()).await;
    assert_greets(&world, "bad").await;
    roll_back(&world, &good);
    assert_greets(&world, "hello").await;
    back(&world);
    greet(&world, "bad", "better");
    let fixed = world.commit("A fix");
    world.wait_ready("production", &fixed).await;
    world.wait("production", |status| status["published"] == true).await;
    let notes = world.git_in(&world.path("remote.git"), &["notes", "--ref=trunkline", "show", &good]);
    assert_eq!(notes.matches("\"kind\":\"rollback\"").count(), 2, "{notes}");
    assert_eq!(daemon.terminate(), 0, "{}", world.log());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_remote_away_the_command_alone_rolls_back() {
    let (world, good, bad) = good_and_bad().await;
    away(&world);
    let ran = roll_back(&world, &good);
    assert!(ran.out.contains("it is not pushed"), "{ran:?}");
    assert_greets(&world, "hello").await;
    back(&world);
    let mut daemon = world.daemon();
    wait_held(&world, &bad).await;
    let begun = std::time::Instant::now();
    while proposals(&world).is_empty() {
        assert!(begun.elapsed().as_secs() < 60, "the revert was never pushed\n{}", world.log());
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    assert_eq!(daemon.terminate(), 0, "{}", world.log());
    world.end().await;
}
