//! An environment that fails is tried again after its delay, however often the daemon is woken meanwhile: by the interval,
//! and by the record of the very failure, which the daemon pushes into the repository that it watches.

use std::time::{Duration, Instant};

use http::Method;
use trunkline::record::{Condition, ConditionReason, Generation, GenerationState};
use trunkline::store::Store;

use crate::proxy::{Answer, Fault};
use crate::world::World;

/// How long three attempts may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// The first three generations of a daemon whose Worker is refused each time; each read of the account takes `slow` longer.
async fn three_failures(slow: Option<Duration>) -> Vec<Generation> {
    let world = World::with_production().await;
    let refused = Fault::AnswerBefore(Answer::error(500, 10013));
    world.proxy.inject(Method::PUT, "/scripts/api-production", 1_000, refused);
    if let Some(slow) = slow {
        world.proxy.inject(Method::GET, "/workers/scripts", 1_000, Fault::Delay(slow));
    }
    let _daemon = world.daemon();
    let production = "production".parse().unwrap();
    let begun = Instant::now();
    let mut generations = loop {
        assert!(begun.elapsed() < PATIENCE, "{}", world.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
        // Its tables come just after its file.
        let Ok(store) = Store::read_only(&world.path("data")) else { continue };
        let Ok(found) = store.generations(&production, 10) else { continue };
        if found.iter().filter(|generation| generation.state == GenerationState::Failed).count() >= 3 {
            let record = store.environment(&production).unwrap().unwrap();
            let failed = matches!(record.condition, Condition::Reconciling { reason: ConditionReason::ApplyFailed, .. });
            assert!(failed, "it would wait for a commit, and this shows nothing: {:?}", record.condition);
            break found;
        }
    };
    generations.reverse();
    // The record of each was pushed, and so woke the daemon: the daemon pushes nothing else.
    let notes = world.git_in(&world.path("remote.git"), &["notes", "--ref=trunkline", "show", &world.head()]);
    assert!(notes.lines().count() >= 2, "{notes}");
    world.end().await;
    generations
}

fn assert_delays_grow(generations: &[Generation]) {
    for (failures, pair) in (1..).zip(generations.windows(2)) {
        let delay = pair[1].started_at - pair[0].finished_at.unwrap();
        let least = chrono::TimeDelta::seconds(2_i64.pow(failures));
        assert!(delay >= least, "generation {} began {delay} after the one before it ended", pair[1].number);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_record_of_a_failure_does_not_wake_what_failed() {
    assert_delays_grow(&three_failures(None).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_wakes_the_daemon_while_a_pass_fails_brings_no_other_one_at_once() {
    // Longer than the interval: every pass is woken into.
    assert_delays_grow(&three_failures(Some(Duration::from_millis(1_200))).await);
}
