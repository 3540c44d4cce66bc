//! A repository that is away, empty, without the branch, or rewritten: everything is held at what runs.

use std::time::Duration;

use super::{assert_production_untouched, assert_says, assert_staging_goes_on, message, turn_staging, two_environments};
use crate::world::World;

fn away(world: &World) {
    std::fs::rename(world.path("remote.git"), world.path("elsewhere.git")).unwrap();
}

fn back(world: &World) {
    std::fs::rename(world.path("elsewhere.git"), world.path("remote.git")).unwrap();
}

async fn wait_held(world: &World) -> String {
    for environment in ["staging", "production"] {
        world.wait(environment, |status| status["reason"] == "source").await;
    }
    message(&world.status("production"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_remote_holds_everything_until_it_is_back() {
    let world = two_environments().await;
    world.edit(
        "environments/staging/staging.toml",
        "[environment]\n",
        "[environment]\nsync = { interval = \"10s\", drift = \"heal\" }\n",
    );
    world.commit("Staging is looked at often");
    let good = world.head();
    let mut daemon = world.daemon();
    world.wait_ready("production", &good).await;
    world.wait_ready("staging", &good).await;
    world.proxy.reset();
    away(&world);
    let held = wait_held(&world).await;
    assert_says(&held, &[&format!("held at main@sha1:{}", &good[..7]), "remote.git cannot be read", "git ls-remote"]);
    let text = world.trunkline(&["status"]);
    assert_eq!(text.status, 2);
    assert_says(&text.out, &["Stalled (source)"]);
    assert_production_untouched(&world).await;
    // What runs is kept as it was merged: held is not left alone.
    let turn = world.host("/etc/staging/turn");
    std::fs::write(&turn, "by hand\n").unwrap();
    let begun = std::time::Instant::now();
    while std::fs::read_to_string(&turn).unwrap() != "0\n" {
        assert!(begun.elapsed() < Duration::from_secs(60), "the drift was not healed\n{}", world.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    // One that starts while the remote is away knows what it knew.
    daemon.kill();
    let mut daemon = world.daemon();
    tokio::time::sleep(Duration::from_secs(3)).await;
    wait_held(&world).await;
    let applied = world.trunkline(&["apply"]);
    assert_eq!(applied.status, 1, "{applied:?}");
    assert_says(&applied.err, &["nothing is applied", "cannot be read", "git ls-remote"]);
    assert_production_untouched(&world).await;

    back(&world);
    turn_staging(&world, 1);
    let commit = world.commit("Go on");
    world.wait_ready("production", &commit).await;
    assert_staging_goes_on(&world, &commit, 1).await;
    assert_production_untouched(&world).await;
    assert_eq!(daemon.terminate(), 0, "{}", world.log());

    away(&world);
    for verb in ["plan", "apply"] {
        let ran = world.trunkline(&[verb]);
        assert_eq!((ran.status, ran.out.as_str()), (1, ""), "{ran:?}");
        assert_says(&ran.err, &["remote.git cannot be read", "  hint: try `git ls-remote"]);
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_never_saw_the_remote_waits_for_it() {
    let world = two_environments().await;
    let commit = world.head();
    away(&world);
    let mut daemon = world.daemon();
    let begun = std::time::Instant::now();
    loop {
        let ran = world.trunkline(&["status"]);
        if ran.out.contains("cannot be read") {
            assert_says(&ran.out, &["no revision yet", "no environment was looked at yet"]);
            assert_eq!(ran.status, 2, "not all is well: {ran:?}");
            let history = world.trunkline(&["history"]);
            assert_eq!((history.status, history.out.as_str(), history.err.as_str()), (0, "", "nothing was applied yet\n"));
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{ran:?}\n{}", world.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    back(&world);
    world.wait_ready("production", &commit).await;
    assert_eq!(daemon.terminate(), 0, "{}", world.log());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rewritten_history_is_held_until_a_person_accepts_it() {
    let world = two_environments().await;
    let root = world.head();
    world.edit("environments/production/production.toml", "kept by trunkline", "kept by nobody");
    world.commit("Lost by the force-push");
    world.edit("environments/production/production.toml", "kept by nobody", "kept by trunkline");
    let good = world.commit("Lost by the force-push as well");
    let mut daemon = world.daemon();
    world.wait_ready("production", &good).await;
    world.wait_ready("staging", &good).await;
    world.proxy.reset();

    world.git(&["reset", "--quiet", "--hard", &root]);
    turn_staging(&world, 1);
    world.git(&["add", "--all"]);
    world.git(&["commit", "--quiet", "--message", "Another history"]);
    world.git(&["push", "--quiet", "--force"]);
    let rewritten = world.head();
    let held = wait_held(&world).await;
    assert_says(&held, &["history of `main` was rewritten", &good[..12], &rewritten[..12], "trunkline resume <environment>"]);
    // Over several polls.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_production_untouched(&world).await;
    assert_eq!(std::fs::read_to_string(world.host("/etc/staging/turn")).unwrap(), "0\n");

    let resumed = world.trunkline(&["resume", "production"]);
    assert_eq!(resumed.status, 0, "{resumed:?}");
    assert_says(&resumed.out, &["rewritten history is accepted", &rewritten[..7]]);
    world.wait_ready("production", &rewritten).await;
    assert_staging_goes_on(&world, &rewritten, 1).await;
    assert_production_untouched(&world).await;
    let again = world.trunkline(&["resume", "production"]);
    assert_eq!(again.status, 0);
    assert_says(&again.out, &["nothing holds production"]);
    assert_eq!(daemon.terminate(), 0, "{}", world.log());
    let planned = world.trunkline(&["plan"]);
    assert_eq!(planned.status, 0, "what was accepted by the daemon is planned for: {planned:?}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_repository_and_a_missing_branch_apply_nothing_and_delete_nothing() {
    let world = World::empty().await;
    for verb in ["plan", "apply"] {
        let ran = world.trunkline(&[verb]);
        assert_eq!((ran.status, ran.out.as_str()), (1, ""), "{ran:?}");
        assert_says(&ran.err, &["remote.git is empty", "  hint: push a first commit"]);
    }
    let mut daemon = world.daemon();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let status = world.trunkline(&["status"]);
    assert_says(&status.out, &["remote.git is empty", "no environment was looked at yet"]);
    assert_eq!(daemon.terminate(), 0, "{}", world.log());
    world.end().await;

    let world = two_environments().await;
    let good = world.head();
    let mut daemon = world.daemon();
    world.wait_ready("production", &good).await;
    world.wait_ready("staging", &good).await;
    world.proxy.reset();
    world.git_in(&world.path("remote.git"), &["branch", "--quiet", "-m", "main", "trunk"]);
    let held = wait_held(&world).await;
    assert_says(&held, &["held at", "has no branch `main`", "what is applied stays as it is"]);
    assert_production_untouched(&world).await;
    assert_eq!(daemon.terminate(), 0, "{}", world.log());
    let ran = world.trunkline(&["apply"]);
    assert_eq!(ran.status, 1, "{ran:?}");
    assert_says(&ran.err, &["has no branch `main`", "  hint: push `main`"]);
    assert_production_untouched(&world).await;
    world.end().await;
}
