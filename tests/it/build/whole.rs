//! The whole program: a commit with sources becomes a running Worker, and a build that fails stalls its environment only.

use super::tools;
use crate::world::World;

async fn with_builds() -> World {
    let world = World::with_production().await;
    std::fs::write(world.path("daemon.toml"), format!("[build]\ntools = [{:?}]\ntimeout = \"2m\"\n", tools())).unwrap();
    world.write(
        "workers/api/src/index.ts",
        "import { word } from './word';\nexport default { fetch: () => new Response(word) };\n",
    );
    world.write("workers/api/src/word.ts", "export const word: string = 'built';\n");
    let environment = "environments/production/production.toml";
    world.edit(environment, "main = \"workers/api/index.js\"", "build = { esbuild = \"workers/api/src/index.ts\" }");
    world.commit("The Worker comes from a build");
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn sources_become_a_running_worker_and_the_next_plan_is_empty() {
    let world = with_builds().await;
    let config = world.path("daemon.toml").display().to_string();
    let ran = world.trunkline(&["apply", "--config", &config]);
    assert_eq!(ran.status, 0, "{ran:?}");
    assert_eq!(world.get("api.example.com", "/").await, (200, "built".to_owned()));
    let plan = world.trunkline(&["plan", "--config", &config]);
    assert_eq!(plan.status, 0, "{plan:?}");
    // What was built is in the record: taking it back needs no tool.
    world.edit("workers/api/src/word.ts", "'built'", "'built again'");
    world.commit("Another word");
    assert_eq!(world.trunkline(&["apply", "--config", &config]).status, 0);
    assert_eq!(world.get("api.example.com", "/").await.1, "built again");
    let rollback = world.trunkline(&["rollback", "production"]);
    assert_eq!(rollback.status, 0, "{rollback:?}");
    assert_eq!(world.get("api.example.com", "/").await.1, "built");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_fails_stalls_its_environment_and_no_other() {
    let world = with_builds().await;
    let config = world.path("daemon.toml").display().to_string();
    assert_eq!(world.trunkline(&["apply", "--config", &config]).status, 0);
    let staging = world.production().replace("api.example.com/*", "staging.example.com/*").replace("[file.", "[file.s-");
    let staging = staging.split("[file.").next().unwrap().to_owned();
    world.write("environments/staging/staging.toml", &staging);
    world.write("environments/staging/secrets.toml", "");
    world.set_secret("staging", "edge-token", crate::world::TOKEN);
    world.set_secret("staging", "key", "key-of-staging");
    world.write("workers/api/src/word.ts", "export const word: string = ;\n");
    world.commit("A mistake");
    let ran = world.trunkline(&["apply", "--config", &config]);
    assert_eq!(ran.status, 1, "{ran:?}");
    let production = world.status("production");
    assert_eq!((production["condition"].as_str(), production["reason"].as_str()), (Some("Stalled"), Some("build_failed")));
    let message = production["message"].as_str().unwrap();
    assert!(message.contains("worker.api") && message.contains("workers/api/src/word.ts:1:"), "{message}");
    assert_eq!(world.status("staging")["condition"], "Ready");
    assert_eq!(world.get("api.example.com", "/").await.1, "built");
    let plan = world.trunkline(&["plan", "production", "--config", &config]);
    assert!(plan.status == 1 && plan.err.contains("word.ts:1:"), "{plan:?}");
    // The next good commit rolls forward by itself.
    world.write("workers/api/src/word.ts", "export const word: string = 'mended';\n");
    world.commit("Mended");
    assert_eq!(world.trunkline(&["apply", "--config", &config]).status, 0);
    assert_eq!(world.get("api.example.com", "/").await.1, "mended");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn check_runs_builds_only_when_it_is_told_to() {
    let world = with_builds().await;
    let (config, clone) = (world.path("daemon.toml").display().to_string(), world.path("clone").display().to_string());
    let check = world.trunkline(&["check", &clone, "--config", &config]);
    assert_eq!(check.status, 0, "{check:?}");
    assert!(check.err.contains("the build of worker.api was not run; `trunkline check --build` runs it"), "{check:?}");
    assert!(!world.path("data/builds").exists());
    let check = world.trunkline(&["check", &clone, "--build", "--config", &config]);
    assert!(check.status == 0 && check.err.contains("worker.api was built"), "{check:?}");
    world.write("workers/api/src/word.ts", "export const word = ;\n");
    let check = world.trunkline(&["check", &clone, "--build", "--config", &config, "--output", "json"]);
    let document: serde_json::Value = serde_json::from_str(&check.out).unwrap();
    assert_eq!((check.status, &document["ok"]), (1, &false.into()));
    assert!(document["builds"][0]["fault"].as_str().unwrap().contains("word.ts:1:"), "{document}");
    world.end().await;
}
