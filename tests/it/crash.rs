//! `kill -9` at every named boundary of an apply, and around every call that changes something: after a restart the
//! installation is as if nothing had happened.
//!
//! A life is a walk through every [`Stage`]. One life goes undisturbed: it says which boundaries each stage reaches and
//! how often, which calls it makes, and what is there at the end of each. In every other life each stage is killed at
//! another one of these places, some of them again while they recover, and must come to the same end.
#![allow(clippy::print_stderr, reason = "the table of kills is what a reader of the run wants to see")]

mod life;
mod seen;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;
use std::time::Instant;

use trunkline::boundary;

use life::{Kill, Killed, Life, Stage, Step};

/// How many lives are walked side by side.
const LIVES: usize = 3;

/// At least this many kills, and this many between an effect and its record.
const LEAST: (usize, usize) = (60, 30);

#[test]
fn killed_anywhere_it_comes_to_the_same_end() {
    let begun = Instant::now();
    let (ends, places) = runtime().block_on(undisturbed());
    let lives = Mutex::new(lives(&places));
    let killed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..LIVES {
            scope.spawn(|| {
                loop {
                    let Some(steps) = lives.lock().unwrap().pop_front() else { return };
                    let kills = runtime().block_on(disturbed(&steps, &ends));
                    killed.lock().unwrap().extend(kills);
                }
            });
        }
    });
    let killed = killed.into_inner().unwrap();
    let total = killed.len();
    let unrecorded = killed.iter().filter(|killed| killed.is_unrecorded()).count();
    let table = table(&killed);
    eprintln!("{table}\n{total} kills, {unrecorded} between an effect and its record, in {:.0?}", begun.elapsed());
    assert!(total >= LEAST.0 && unrecorded >= LEAST.1, "only {total} kills, {unrecorded} between an effect and its record");
    let missed: Vec<&str> = boundary::ALL.into_iter().filter(|name| !killed.iter().any(|k| k.at == *name)).collect();
    assert_eq!(missed, Vec::<&str>::new(), "boundaries at which nothing was killed");
}

fn runtime() -> tokio::runtime::Runtime {
    // The edge runs in here too, and must go on while the life waits for a process.
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// What is there at the end of each stage, and where each can be killed.
type Ends = BTreeMap<Stage, serde_json::Value>;
type Places = BTreeMap<Stage, Vec<Kill>>;

async fn undisturbed() -> (Ends, Places) {
    let mut life = Life::begin().await;
    let (mut ends, mut places) = (Ends::new(), Places::new());
    for stage in Stage::ALL {
        let walked = life.walk(&Step::undisturbed(stage)).await;
        ends.insert(stage, seen::seen(&life, stage).await);
        places.insert(stage, walked.places);
    }
    life.end().await;
    (ends, places)
}

/// The lives: the k-th is killed at the k-th place of every stage.
fn lives(places: &Places) -> VecDeque<Vec<Step>> {
    let longest = places.values().map(Vec::len).max().unwrap_or_default();
    (0..longest)
        .map(|number| Stage::ALL.map(|stage| Step::killed(stage, places[&stage].get(number).cloned(), number)).into())
        .collect()
}

async fn disturbed(steps: &[Step], ends: &Ends) -> Vec<Killed> {
    let mut life = Life::begin().await;
    let mut killed = Vec::new();
    for step in steps {
        let walked = life.walk(step).await;
        let end = seen::seen(&life, step.stage).await;
        let wanted = &ends[&step.stage];
        assert!(end == *wanted, "{step:?} ends otherwise:\n{}\n{}", seen::difference(wanted, &end), life.world.log());
        killed.extend(walked.killed);
    }
    life.end().await;
    killed
}

fn table(killed: &[Killed]) -> String {
    let mut rows: BTreeMap<&str, (usize, usize, usize)> = BTreeMap::new();
    for killed in killed {
        let row = rows.entry(&killed.at).or_default();
        row.0 += 1;
        row.1 += usize::from(killed.is_unrecorded());
        row.2 += usize::from(killed.again);
    }
    let mut table = format!("{:<48} {:>5} {:>10} {:>14}\n", "killed at", "kills", "unrecorded", "in a recovery");
    for (at, (kills, unrecorded, again)) in rows {
        table += &format!("{at:<48} {kills:>5} {unrecorded:>10} {again:>14}\n");
    }
    table
}
