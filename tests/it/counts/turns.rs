//! What no list shows is read in turns: each look reads as much as the one before, and nothing stays hidden.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;

use super::everything::PLAIN;
use super::passes::{Cost, Passes};
use super::size;
use crate::world::World;

const WORKERS: usize = 30;
const LOOKS: usize = 12;
/// Workers that have their turn at a look, and the calls that each of them costs.
const TURNS: (usize, usize) = (5, 4);

/// A look that is due.
async fn look(passes: &Passes<'_>) -> Cost {
    let id = "production".parse().unwrap();
    let mut record = passes.context.store.environment(&id).unwrap().unwrap();
    record.observed_at = record.observed_at.map(|at| at - Duration::from_secs(3_600));
    passes.context.store.put_environment(&record).unwrap();
    passes.pass("production", false).await
}

/// The Workers whose crons were read.
fn read(cost: &Cost) -> BTreeSet<String> {
    let crons = cost.reads.iter().filter_map(|line| line.strip_prefix("GET /workers/scripts/")?.strip_suffix("/schedules"));
    crons.map(str::to_owned).collect()
}

async fn without_crons(world: &World, worker: usize) {
    let path = format!("/accounts/{}/workers/scripts/w{worker:04}-production/schedules", "0".repeat(32));
    world.foreign("PUT", &path, Some(json!([]))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_that_no_list_shows_is_found_within_a_round_at_the_same_calls_for_every_look() {
    let world = size::world(WORKERS, ("1h", PLAIN)).await;
    let passes = Passes::of(&world);
    passes.pass("production", false).await;

    let (mut all, mut counts) = (BTreeSet::new(), BTreeSet::new());
    for _ in 0..LOOKS {
        let cost = look(&passes).await;
        assert_eq!(cost.writes, [""; 0]);
        assert_eq!(read(&cost).len(), TURNS.0);
        counts.insert(cost.reads.len());
        all.extend(read(&cost));
    }
    assert_eq!(all.len(), WORKERS);
    assert_eq!(counts.len(), 1, "each look costs the same: {counts:?}");
    // What is not due reads lists alone.
    world.edit("environments/production/production.toml", "[kv.a]", "# Nothing new.\n[kv.a]");
    world.commit("A comment");
    let lists = passes.pass("production", false).await.reads.len();
    assert_eq!(counts, [lists + TURNS.0 * TURNS.1].into());

    // Somebody takes crons away, of whichever Worker.
    let taken = [0, 13, WORKERS - 1];
    for worker in taken {
        without_crons(&world, worker).await;
    }
    let mut healed = Vec::new();
    for _ in 0..LOOKS {
        healed.extend(look(&passes).await.writes);
    }
    healed.sort();
    assert_eq!(healed, taken.map(|worker| format!("PUT /workers/scripts/w{worker:04}-production/schedules")));

    // A person who asks need not wait.
    without_crons(&world, 7).await;
    assert_eq!(world_plan(passes, &world).await, 2);
    world.end().await;
}

/// The exit status of `plan`.
async fn world_plan(passes: Passes<'_>, world: &World) -> i32 {
    drop(passes);
    world.trunkline(&["plan"]).status
}
