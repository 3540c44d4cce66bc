//! One environment: what does not concern it costs nothing, and what does costs what it must.

use std::time::Duration;

use serde_json::json;

use super::passes::Passes;
use crate::world::World;

const PRODUCTION: &str = "environments/production/production.toml";
const NOTHING: [&str; 0] = [];

/// What a look at a target with Workers, namespaces and routes reads, however many there are: the namespaces and the two lists
/// of Workers, which show the routes.
const LISTS: [&str; 3] = ["GET /storage/kv/namespaces", "GET /workers/scripts", "GET /workers/workers"];

async fn zone(world: &World) -> String {
    world.foreign("GET", "/zones?name=example.com", None).await[0]["id"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_costs_what_it_changes() {
    let world = World::with_production().await;
    let passes = Passes::of(&world);
    let first = passes.pass("production", false).await;
    assert_eq!(first.parsed, 4, "the repository's settings, the fleet, and two files of the environment");
    let files =
        || ["/etc/motd", "/etc/engine/engine.conf"].map(|p| std::fs::metadata(world.host(p)).unwrap().modified().unwrap());
    let (zone, written) = (zone(&world).await, files());

    // A file that nobody reads: nothing is called, and nothing is parsed or read.
    world.write("README.md", "unrelated");
    world.write("workers/other/index.js", "nobody's");
    world.commit("Unrelated");
    let cost = passes.pass("production", false).await;
    assert_eq!((cost.parsed, cost.read), (0, 0));
    assert_eq!((cost.reads, cost.writes), (vec![], vec![]));
    assert!(cost.outcome.plan.is_none());

    // The same commit again; and by somebody who asks, who is shown everything.
    let cost = passes.pass("production", false).await;
    assert_eq!((cost.parsed, cost.read, cost.reads.len(), cost.writes.len()), (0, 0, 0, 0));
    let cost = passes.pass("production", true).await;
    assert_eq!((cost.parsed, cost.writes.len()), (0, 0), "{:?}", cost.writes);
    let deep = ["deployments", "schedules", "subdomain"].map(|rest| format!("GET /workers/scripts/api-production/{rest}"));
    let routes = format!("GET /zones/{zone}/workers/routes");
    let lists = LISTS.map(str::to_owned);
    assert!(deep.iter().chain(&lists).chain([&routes]).all(|line| cost.reads.contains(line)), "{:?}", cost.reads);
    assert_eq!(cost.reads.len(), 8, "the lists, the routes of the zone, and four of the Worker: {:?}", cost.reads);

    // A comment: one file is parsed, the lists are read, and that is that.
    world.edit(PRODUCTION, "[kv.counts]", "# What is counted.\n[kv.counts]");
    world.commit("Explain");
    let cost = passes.pass("production", false).await;
    assert_eq!((cost.parsed, cost.read), (1, 1));
    assert_eq!(cost.writes, NOTHING);
    assert_eq!(cost.reads, LISTS);
    assert_eq!(passes.generations("production"), 1);

    // A changed var, a changed secret, changed code: a version and its deployment each.
    let two = ["POST /workers/scripts/api-production/versions", "POST /workers/scripts/api-production/deployments"];
    world.edit(PRODUCTION, "GREETING = \"hello\"", "GREETING = \"good evening\"");
    world.commit("Greet");
    let cost = passes.pass("production", false).await;
    assert_eq!((cost.parsed, &cost.writes[..]), (1, &two.map(str::to_owned)[..]));
    world.set_secret("production", "key", "another");
    world.commit("Rotate");
    let cost = passes.pass("production", false).await;
    assert_eq!((cost.parsed, &cost.writes[..]), (1, &two.map(str::to_owned)[..]));
    world.edit("workers/api/index.js", "new URL(request.url)", "new URL( request.url )");
    world.commit("Tidy");
    let cost = passes.pass("production", false).await;
    assert_eq!((cost.parsed, cost.read, &cost.writes[..]), (0, 1, &two.map(str::to_owned)[..]));
    assert_eq!(world.get("api.example.com", "/").await.1, "good evening with key");
    assert_eq!(passes.generations("production"), 4);
    assert_eq!(files(), written, "no file was touched by any of these");

    // The same secret sealed anew is another text in the file, and the same value.
    world.set_secret("production", "key", "another");
    world.commit("Seal it anew");
    let cost = passes.pass("production", false).await;
    assert_eq!((cost.parsed, &cost.writes[..]), (1, &NOTHING.map(str::to_owned)[..]));
    drop(passes);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_at_what_did_not_change_reads_lists_and_a_few_in_turn() {
    let world = World::with_production().await;
    let mut text = world.production().replace("[edge.local]", "[environment.sync]\ninterval = \"1s\"\n\n[edge.local]");
    for n in 0..10 {
        text.push_str(&format!("\n[worker.w{n}]\nmain = \"workers/w/index.js\"\n\n[kv.k{n}]\n"));
    }
    world.write(PRODUCTION, &text);
    world.write("workers/w/index.js", "export default { fetch() { return new Response('w'); } };");
    world.commit("Many");
    let passes = Passes::of(&world);
    passes.pass("production", false).await;
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let cost = passes.pass("production", false).await;
    let mut read = cost.reads.clone();
    read.retain(|line| LISTS.contains(&line.as_str()));
    assert_eq!(read, LISTS);
    assert_eq!(cost.reads.len(), LISTS.len() + 5 * 4, "no read for each Worker: {:?}", cost.reads);
    assert_eq!((cost.parsed, cost.read, cost.writes.len()), (0, 0, 0));

    // No list shows crons: they are seen when it is their Worker's turn. Five of the eleven are read in full at each look.
    world
        .foreign("PUT", "/accounts/00000000000000000000000000000000/workers/scripts/api-production/schedules", Some(json!([])))
        .await;
    for writes in [&NOTHING[..], &["PUT /workers/scripts/api-production/schedules"]] {
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        assert_eq!(passes.pass("production", false).await.writes, writes);
    }
    drop(passes);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_calls_nobody_for_an_unrelated_commit() {
    let world = World::with_production().await;
    let _daemon = world.daemon();
    world.wait_ready("production", &world.head()).await;
    world.proxy.reset();
    world.write("README.md", "unrelated");
    let commit = world.commit("Unrelated");
    world.wait_ready("production", &commit).await;
    assert!(world.proxy.calls().is_empty(), "{:?}", world.proxy.calls());
    assert_eq!(world.status("production")["generation"]["number"], 1);
    world.end().await;
}
