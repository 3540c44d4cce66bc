//! Gradual versions by the whole program: every step is in the list of deployments, in order, whatever happens in between.

mod kept;
mod words;

use serde_json::Value;

use crate::world::World;

const FILE: &str = "environments/production/production.toml";
const SCRIPT: &str = "/accounts/00000000000000000000000000000000/workers/scripts/api-production";

/// A deployment: versions by their numbers, in ascending order, with their shares.
type Shares = Vec<(u64, u64)>;

/// Production with a Worker that is rolled out in `steps`, each of which lasts `interval`; its first revision is applied.
async fn rolled(steps: &str, interval: &str, probe: Option<u16>) -> World {
    let world = World::with_production().await;
    let http = world.edge.as_ref().unwrap().http_addr();
    let probe = probe
        .map(|status| format!(", probe = {{ url = \"http://{http}/health\", host = \"api.example.com\", status = {status} }}"));
    let rollout = format!("rollout = {{ steps = {steps}, interval = \"{interval}\"{} }}\n", probe.unwrap_or_default());
    world.edit(FILE, "main = \"workers/api/index.js\"\n", &format!("main = \"workers/api/index.js\"\n{rollout}"));
    world.commit("Gradually, from now on");
    world.apply();
    world
}

fn greet(world: &World, from: &str, to: &str) -> String {
    world.edit(FILE, &format!("GREETING = \"{from}\""), &format!("GREETING = \"{to}\""));
    world.commit(&format!("{to}, no longer {from}"))
}

async fn versions(world: &World) -> Vec<Value> {
    let found = world.foreign("GET", &format!("{SCRIPT}/versions?page=1&per_page=100"), None).await;
    found["items"].as_array().unwrap().clone()
}

/// The deployments, oldest first.
async fn deployments(world: &World) -> Vec<Shares> {
    let found = world.foreign("GET", &format!("{SCRIPT}/deployments"), None).await;
    // After the deployments: what they name is there.
    let versions = versions(world).await;
    let number = |id: &Value| versions.iter().find(|item| item["id"] == *id).unwrap()["number"].as_u64().unwrap();
    let one = |deployment: &Value| {
        let shares = deployment["versions"].as_array().unwrap().iter();
        let mut shares: Shares =
            shares.map(|s| (number(&s["version_id"]), s["percentage"].as_f64().unwrap().round() as u64)).collect();
        shares.sort_unstable();
        shares
    };
    let mut all: Vec<Shares> = found["deployments"].as_array().unwrap().iter().map(one).collect();
    all.reverse();
    all
}

/// Waits until the newest deployment is as `wanted` says.
async fn wait_deployed(world: &World, wanted: &[(u64, u64)]) {
    let begun = std::time::Instant::now();
    loop {
        let all = deployments(world).await;
        if all.last().is_some_and(|last| last == wanted) {
            return;
        }
        assert!(begun.elapsed().as_secs() < 60, "not {wanted:?}: {all:?}\n{}", world.log());
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// Runs a verb, which must succeed; what it said.
fn said(world: &World, arguments: &[&str]) -> String {
    let ran = world.trunkline(arguments);
    assert_eq!(ran.status, 0, "{ran:?}\n{}", world.log());
    ran.out
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_takes_every_step_and_says_where_it_stands() {
    let world = World::with_production().await;
    let rollout = "rollout = { steps = [10, 50, 100], interval = \"1s\" }\n";
    world.edit(FILE, "main = \"workers/api/index.js\"\n", &format!("main = \"workers/api/index.js\"\n{rollout}"));
    world.commit("Gradually, from the beginning");
    let ran = world.trunkline(&["plan"]);
    assert!(ran.status == 2 && ran.out.contains("! worker.api on local: a first upload cannot be gradual"), "{ran:?}");
    world.apply();
    let warnings = world.status("production")["warnings"].to_string();
    assert!(warnings.contains("production/worker.api@local: a first upload cannot be gradual"), "{warnings}");
    assert_eq!(deployments(&world).await, [[(1, 100)]]);

    let bad = greet(&world, "hello", "welcome");
    let ran = world.trunkline(&["plan"]);
    assert!(ran.out.contains("- traffic = 0") && ran.out.contains("+ traffic = 10"), "{}", ran.out);
    let mut daemon = world.daemon();
    world.wait_ready("production", &bad).await;
    let expected: [&[(u64, u64)]; 4] = [&[(1, 100)], &[(1, 90), (2, 10)], &[(1, 50), (2, 50)], &[(2, 100)]];
    assert_eq!(deployments(&world).await, expected);
    assert_eq!(world.get("api.example.com", "/").await.1, "welcome with key");
    world.assert_converged();
    // Each step is a generation of its own, journaled as any other change.
    let shown = (2..=4).map(|n| said(&world, &["history", "production", "--generation", &n.to_string()]));
    let steps: Vec<bool> = shown.zip(["10", "50", "100"]).map(|(text, to)| text.contains(&format!("+ traffic = {to}"))).collect();
    assert_eq!(steps, [true; 3]);
    assert_eq!(daemon.terminate(), 0, "{}", world.log());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_steps_it_goes_on_from_where_it_stood() {
    let world = rolled("[10, 20, 50, 100]", "1s", Some(200)).await;
    let new = greet(&world, "hello", "welcome");
    for share in [10, 20, 50] {
        let mut daemon = world.daemon();
        wait_deployed(&world, &[(1, 100 - share), (2, share)]).await;
        daemon.kill();
    }
    let _daemon = world.daemon();
    world.wait_ready("production", &new).await;
    let expected: [&[(u64, u64)]; 6] =
        [&[(1, 100)], &[(1, 100), (2, 0)], &[(1, 90), (2, 10)], &[(1, 80), (2, 20)], &[(1, 50), (2, 50)], &[(2, 100)]];
    assert_eq!(deployments(&world).await, expected);
    world.assert_converged();
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn apply_once_takes_one_step_and_is_well() {
    let world = rolled("[10, 100]", "1s", None).await;
    greet(&world, "hello", "welcome");
    world.apply();
    let status = world.status("production");
    assert_eq!((status["condition"].as_str(), status["reason"].as_str()), (Some("Reconciling"), Some("rolling_out")), "{status}");
    assert!(status["message"].as_str().unwrap().starts_with("rolling out worker.api on local: 10 %, next step, 100 %, at "));
    assert_eq!(status["rolling"][0]["traffic"], 10);
    assert_eq!(world.trunkline(&["status"]).status, 2);
    // Not due, or due: whichever it is when this runs, no step is left out.
    while world.status("production")["condition"] != "Ready" {
        world.apply();
    }
    let expected: [&[(u64, u64)]; 3] = [&[(1, 100)], &[(1, 90), (2, 10)], &[(2, 100)]];
    assert_eq!(deployments(&world).await, expected);
    world.end().await;
}
