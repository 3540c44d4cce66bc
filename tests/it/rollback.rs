//! Back to a recorded revision, at once: what it takes back stays away until somebody changes it or says so.
#![allow(clippy::print_stdout, reason = "what is printed is what a person reads: shown when a test fails")]

mod asked;
mod away;
mod held;
mod proposal;
mod pruned;
mod quarantine;

use crate::world::{Ran, World};

const FILE: &str = "environments/production/production.toml";

fn greet(world: &World, from: &str, to: &str) {
    world.edit(FILE, &format!("GREETING = \"{from}\""), &format!("GREETING = \"{to}\""));
}

/// A first revision that is good, and a second that greets badly; both were applied.
async fn good_and_bad() -> (World, String, String) {
    let world = World::with_production().await;
    let good = world.head();
    world.apply();
    greet(&world, "hello", "bad");
    let bad = world.commit("A bad greeting");
    world.apply();
    assert_greets(&world, "bad").await;
    (world, good, bad)
}

async fn assert_greets(world: &World, greeting: &str) {
    assert_eq!(world.get("api.example.com", "/").await, (200, format!("{greeting} with key")));
}

/// Rolls production back, which must succeed.
fn roll_back(world: &World, to: &str) -> Ran {
    let ran = world.trunkline(&["rollback", "production", "--to", to, "--owner", "ada"]);
    assert_eq!(ran.status, 0, "{ran:?}\n{}", world.log());
    println!("-----\n{}{}", ran.out, ran.err);
    ran
}

/// Waits until production is held by the quarantine at `commit`; the message.
async fn wait_held(world: &World, commit: &str) -> String {
    let seen = format!("main@sha1:{commit}");
    let status = world.wait("production", |status| status["reason"] == "quarantined" && status["seen"] == seen.as_str()).await;
    let message = status["message"].as_str().unwrap().to_owned();
    println!("-----\n{message}");
    message
}

fn history(world: &World) -> Vec<String> {
    world.trunkline(&["history", "production"]).out.lines().map(str::to_owned).collect()
}
