//! Two environments on one base, one account and one host: what is done for one leaves the other as it is.

use std::os::unix::fs::MetadataExt as _;

use serde_json::{Value, json};

use super::passes::{Cost, Passes};
use crate::world::{TOKEN, WORKER, World};

const ACCOUNT: &str = "/accounts/00000000000000000000000000000000";

const BASE: &str = r#"[kv.counts]

[worker.api]
main = "workers/api/index.js"
compatibility_date = "2026-11-01"
triggers = { crons = ["0 3 * * *"] }
vars = { GREETING = "hello", LEVEL = "info" }

[worker.api.bindings]
COUNTS = { kv = "counts" }
KEY = { secret = "key" }

[file.engine]
template = "files/engine.conf"
vars = { greeting = "hello" }
"#;

async fn two() -> World {
    let world = World::empty().await;
    world.write("trunkline.toml", "format = 1\n");
    world.write("fleet/hosts.toml", &format!("[host.origin]\nconnect = \"local\"\nroot = {:?}\n", world.path("host")));
    world.write("bases/app/app.toml", BASE);
    world.write("workers/api/index.js", WORKER);
    world.write("files/engine.conf", "{{ environment }} {{ vars.greeting }} {{ secret(\"password\") }}\n");
    for (environment, level) in [("staging", "vars = { LEVEL = \"debug\" }\n"), ("production", "")] {
        world.write(
            &format!("environments/{environment}/{environment}.toml"),
            &format!(
                r#"[environment]
extends = ["bases/app"]
digest_key = {{ secret = "digest-key" }}

[edge.local]
endpoint = "{}"
api_token = {{ secret = "edge-token" }}

[worker.api]
routes = [{{ pattern = "{environment}.example.com/*", zone_name = "example.com" }}]
{level}
[file.engine]
path = "/etc/{environment}/engine.conf"
"#,
                world.endpoint()
            ),
        );
        world.write(&format!("environments/{environment}/secrets.toml"), "");
        for (name, value) in [("edge-token", TOKEN), ("key", "key"), ("password", "password")] {
            world.set_secret(environment, name, value);
        }
    }
    world.commit("Two environments");
    world
}

/// Everything that there is of an environment: its Worker with all versions and deployments, its namespace with its keys, its routes, its file.
async fn all(world: &World, environment: &str) -> Value {
    let script = format!("api-{environment}");
    let mut all = json!({});
    for rest in ["/versions", "/deployments", "/settings", "/script-settings", "/schedules", "/subdomain", "/secrets"] {
        all[rest] = world.foreign("GET", &format!("{ACCOUNT}/workers/scripts/{script}{rest}"), None).await;
    }
    for list in ["/workers/scripts", "/workers/workers"] {
        let items = world.foreign("GET", &format!("{ACCOUNT}{list}"), None).await;
        let mine = |item: &&Value| item["id"] == script.as_str() || item["name"] == script.as_str();
        all[list] = items.as_array().unwrap().iter().filter(mine).cloned().collect();
    }
    let namespaces = world.foreign("GET", &format!("{ACCOUNT}/storage/kv/namespaces"), None).await;
    let title = format!("counts-{environment}");
    let namespace = namespaces.as_array().unwrap().iter().find(|n| n["title"] == title.as_str()).unwrap().clone();
    all["keys"] =
        world.foreign("GET", &format!("{ACCOUNT}/storage/kv/namespaces/{}/keys", namespace["id"].as_str().unwrap()), None).await;
    all["namespace"] = namespace;
    let zone = world.foreign("GET", "/zones?name=example.com", None).await[0]["id"].as_str().unwrap().to_owned();
    let routes = world.foreign("GET", &format!("/zones/{zone}/workers/routes"), None).await;
    all["routes"] = routes.as_array().unwrap().iter().filter(|route| route["script"] == script.as_str()).cloned().collect();
    let file = world.host(&format!("/etc/{environment}/engine.conf"));
    let facts = std::fs::metadata(&file).unwrap();
    all["file"] = json!([std::fs::read_to_string(&file).unwrap(), facts.ino(), facts.mtime(), facts.mtime_nsec(), facts.mode()]);
    for present in ["/versions", "/deployments", "/secrets", "/workers/scripts", "/workers/workers", "routes"] {
        let text = all[present].to_string();
        assert!(text.len() > 20, "{present} of {environment}: {text}");
    }
    all
}

/// A pass over each.
async fn both(passes: &Passes<'_>) -> [Cost; 2] {
    [passes.pass("staging", false).await, passes.pass("production", false).await]
}

#[tokio::test(flavor = "multi_thread")]
async fn neighbours_never_touch_each_other() {
    let world = two().await;
    let passes = Passes::of(&world);
    both(&passes).await;
    for environment in ["staging", "production"] {
        let host = format!("{environment}.example.com");
        assert_eq!(world.get(&host, "/").await.1, "hello with key");
        assert_eq!(world.get(&host, "/count").await.1, "1");
    }
    let writes =
        |environment: &str| ["versions", "deployments"].map(|rest| format!("POST /workers/scripts/api-{environment}/{rest}"));
    let (staging, production) = (all(&world, "staging").await, all(&world, "production").await);

    // Everything of one: its own file, its own secret.
    world.edit("environments/staging/staging.toml", "LEVEL = \"debug\"", "LEVEL = \"trace\"");
    world.edit("environments/staging/staging.toml", "staging.example.com/*", "stage.example.com/*");
    world.edit("environments/staging/staging.toml", "engine.conf\"", "engine.conf\"\nmode = \"0600\"");
    world.set_secret("staging", "key", "another");
    world.commit("Staging only");
    let [of_staging, of_production] = both(&passes).await;
    assert!(of_staging.writes.iter().all(|line| line.contains("api-staging") || line.contains("/zones/")), "{of_staging:?}");
    assert_eq!(of_staging.writes.len(), 4, "version, deployment, a route less, a route more: {:?}", of_staging.writes);
    assert_eq!((of_production.reads.len(), of_production.writes.len(), of_production.parsed), (0, 0, 0));
    assert_eq!(all(&world, "production").await, production);
    assert_ne!(all(&world, "staging").await, staging, "what is compared can differ");
    assert_eq!(world.get("production.example.com", "/count").await.1, "2");
    let (staging, production) = (all(&world, "staging").await, all(&world, "production").await);

    // The base: what one of them overrides concerns the other alone.
    world.edit("bases/app/app.toml", "LEVEL = \"info\"", "LEVEL = \"warn\"");
    world.commit("Less is logged");
    let [of_staging, of_production] = both(&passes).await;
    assert_eq!(of_staging.writes, [""; 0]);
    assert_eq!(of_production.writes, writes("production"));
    assert_eq!(all(&world, "staging").await, staging);
    assert_eq!(all(&world, "production").await["file"], production["file"]);

    // What both take from it changes in both, and nothing else does.
    world.edit("bases/app/app.toml", "GREETING = \"hello\"", "GREETING = \"good evening\"");
    world.commit("Greet");
    let [of_staging, of_production] = both(&passes).await;
    assert_eq!(of_staging.writes, writes("staging"));
    assert_eq!(of_production.writes, writes("production"));
    for (environment, before) in [("staging", &staging), ("production", &production)] {
        let after = all(&world, environment).await;
        for same in ["file", "routes", "namespace", "/schedules", "/secrets"] {
            assert_eq!(after[same], before[same], "{environment}: {same}");
        }
    }

    // One of them ends; the other does not notice.
    let production = all(&world, "production").await;
    world.edit("environments/staging/staging.toml", "[environment]", "[environment]\nretire = true");
    world.commit("End staging\n\nAcknowledge: staging/kv.counts delete\nAcknowledge: staging delete-budget");
    let [of_staging, of_production] = both(&passes).await;
    assert_eq!(of_staging.writes.iter().filter(|line| line.starts_with("DELETE ")).count(), 3, "{:?}", of_staging.writes);
    assert!(of_production.reads.is_empty() && of_production.writes.is_empty());
    assert_eq!(all(&world, "production").await, production);
    assert!(!world.host("/etc/staging/engine.conf").exists());
    assert_eq!(world.get("production.example.com", "/").await.1, "good evening with key");

    // The same commit again, looked at in full: nothing.
    let again = passes.pass("production", true).await;
    assert_eq!(again.writes, [""; 0]);
    assert_eq!(all(&world, "production").await, production);
    drop(passes);
    world.end().await;
}
