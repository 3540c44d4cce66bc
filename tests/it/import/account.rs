//! Everything that an edge has, made by wrangler and by plain calls, is imported, taken over as it is, and left alone.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use trunkline::model::Kind;

use super::scene::{ENVIRONMENT, apply, assert_taken_over, desired, import, import_as, plan, run};
use crate::converge::scene::{ACCOUNT, bindings, foreign_namespace, kv, script, wrangler};
use crate::proxy::Call;
use crate::world::World;

/// A Worker with everything that wrangler can give one here.
const WORKER: &str = r#"import note from "./note.txt";
import settings from "./lib/settings.mjs";
import { greet } from "./lib/greet.mjs";
export default {
  async fetch(request, env) {
    const called = await (await env.HELPER.fetch("http://x/")).text();
    return new Response([greet(env.NAME), note.trim(), settings.level, env.LIMITS.rate, env.KEY.length, called].join(" "));
  },
  async scheduled() {},
};
"#;

fn project(world: &World, kv: &str) {
    let folder = world.path("home/project");
    std::fs::create_dir_all(folder.join("lib")).unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
    write("index.js", WORKER);
    write("note.txt", "a note\n");
    write("lib/settings.mjs", "export default { level: 7 };\n");
    write("lib/greet.mjs", "export const greet = (name) => `hello ${name}`;\n");
    let settings = json!({
        "name": "the_api-live",
        "main": "index.js",
        "no_bundle": true,
        "find_additional_modules": true,
        "rules": [{ "type": "ESModule", "globs": ["**/*.mjs"] }, { "type": "Text", "globs": ["**/*.txt"] }],
        "compatibility_date": "2026-04-01",
        "compatibility_flags": ["nodejs_compat"],
        "vars": { "NAME": "a \"reader\"\nof two lines", "LIMITS": { "rate": 5, "burst": [1, 2.5, true] }, "EMPTY": "" },
        "kv_namespaces": [{ "binding": "KV", "id": kv }],
        "r2_buckets": [{ "binding": "MEDIA", "bucket_name": "media" }],
        "services": [{ "binding": "HELPER", "service": "helper" }],
        "version_metadata": { "binding": "VERSION" },
        "analytics_engine_datasets": [{ "binding": "EVENTS", "dataset": "events" }],
        "triggers": { "crons": ["0 4 29 2 *", "*/5 * * * MON-FRI"] },
        "routes": [
            { "pattern": "app.example.com/*", "zone_name": "example.com" },
            { "pattern": "*.example.org/a-b/*", "zone_name": "example.org" },
        ],
        "workers_dev": true,
        "observability": { "enabled": true, "head_sampling_rate": 0.25 },
        "placement": { "mode": "smart" },
        "limits": { "cpu_ms": 50 },
    });
    write("wrangler.json", &settings.to_string());
    wrangler(world, &folder, &["deploy"], "");
    wrangler(world, &folder, &["secret", "put", "KEY"], "12345");
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_an_edge_has_is_taken_over_as_it_is() {
    let world = World::empty().await;
    let id = foreign_namespace(&world, "Ads & Co. / \"sessions\" \\ ünï — live").await;
    for title in ["ads", "Ads", "ads-live", "-", "''' \"\"\"", "a = 1 # b"] {
        foreign_namespace(&world, title).await;
    }
    for (name, class) in [("media", "Standard"), ("archive-live", "InfrequentAccess")] {
        let body = json!({ "name": name, "storageClass": class });
        world.foreign("POST", &format!("/accounts/{ACCOUNT}/r2/buckets"), Some(body)).await;
    }
    world.upload_foreign(ACCOUNT, "helper", "export default { fetch() { return new Response('helped'); } };").await;
    project(&world, &id);
    let answer = (200, "hello a \"reader\"\nof two lines a note 7 5 5 helped".to_owned());
    assert_eq!(world.get("app.example.com", "/").await, answer);

    world.proxy.reset();
    let ran = import(&world, &["--output", "json"]);
    assert_eq!(ran.status, 0, "{ran:?}");
    assert_eq!(world.proxy.writes(), [""; 0], "an import changes nothing");
    let said: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(said["left"], json!([]), "{said:#}");
    let asked: Vec<&str> = said["fill_in"].as_array().unwrap().iter().map(|remark| remark["key"].as_str().unwrap()).collect();
    assert_eq!(asked, ["worker `the_api-live`: bindings.KEY"], "{said:#}");
    let check = run(&world, &["check", world.path("clone").to_str().unwrap()]);
    assert_eq!(check.status, 0, "{}", check.err);

    let text = std::fs::read_to_string(world.path("clone/environments/live/worker-the-api.toml")).unwrap();
    for line in [
        "name = \"the_api-live\"",
        "main = \"workers/the-api/index.js\"",
        "HELPER = { service = \"helper\" }",
        "MEDIA = { r2 = \"media\" }",
        "VERSION = { version_metadata = true }",
        "# secret: `trunkline secrets set live key`, then `KEY = { secret = \"key\" }`",
        "observability = { enabled = true, head_sampling_rate = 0.25 }",
        "workers_dev = true",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    assert!(!text.contains("12345"), "{text}");
    let all = desired(&world, ENVIRONMENT);
    let titles: BTreeSet<&str> = all.keys().filter(|(kind, _)| *kind == Kind::Kv).map(|(_, title)| title.as_str()).collect();
    assert_eq!(titles.len(), 7, "{titles:?}");

    assert_taken_over(&world, &["helper", "the_api-live"]);
    assert_eq!(world.get("app.example.com", "/").await, answer, "nothing of it was uploaded again");
    assert!(bindings(&world, "the_api-live").await.contains("KEY"));

    // From now on it is ours: a change is made, and what was never in the definitions stays.
    world.edit("environments/live/worker-the-api.toml", "rate = 5", "rate = 6");
    world.commit("A change");
    let plan = plan(&world);
    assert_eq!(plan["changes"].as_array().unwrap().len(), 1, "{plan:#}");
    assert_eq!(plan["changes"][0]["foreign"], json!({ "bindings": ["KEY"] }), "{plan:#}");
    apply(&world);
    assert_eq!(world.get("app.example.com", "/").await.1, "hello a \"reader\"\nof two lines a note 7 6 5 helped");
    world.end().await;
}

/// Two Workers that call each other: one of them refers by name.
#[tokio::test(flavor = "multi_thread")]
async fn what_definitions_cannot_say_is_named_and_stays() {
    let world = World::empty().await;
    let code = "export default { fetch() { return new Response('here'); } };";
    for name in ["a", "b", "old_one"] {
        world.upload_foreign(ACCOUNT, name, code).await;
    }
    for (name, other) in [("a", "b"), ("b", "a")] {
        let bindings = json!([
            { "name": "OTHER", "type": "service", "service": other },
            { "name": "NULL", "type": "json", "json": { "a": null } },
            { "name": "LARGE", "type": "json", "json": [9_007_199_254_740_994_i64] },
            { "name": "TEXT", "type": "json", "json": "text" },
            { "name": "FINE", "type": "json", "json": { "a": { "b": [[], {}, 1.5, false, "x"] } } },
        ]);
        world.foreign("PATCH", &script(name, "/settings"), Some(json!({ "bindings": bindings }))).await;
    }
    // Another installation has this one.
    let tags = json!({ "tags": ["trunkline:elsewhere/worker.old"] });
    world.foreign("PATCH", &script("old_one", "/script-settings"), Some(tags)).await;
    let ran = import(&world, &["--only", "worker"]);
    assert_eq!(ran.status, 0, "{ran:?}");
    for line in [
        "worker `a`: bindings.NULL: it holds a `null`",
        "worker `a`: bindings.TEXT: it is text in the form of JSON",
        "worker.a: vars.LARGE: the number cannot be told apart",
        "worker `old_one`: it carries the mark of `elsewhere/worker.old`",
    ] {
        assert!(ran.err.contains(line), "{line} is not in\n{}", ran.err);
    }
    let text = |name: &str| std::fs::read_to_string(world.path(&format!("clone/environments/live/worker-{name}.toml"))).unwrap();
    assert!(text("a").contains("OTHER = { service = \"b\" }") && text("b").contains("OTHER = { script = \"a\" }"));
    assert!(!world.path("clone/workers/old-one").exists());
    assert_taken_over(&world, &["a", "b"]);
    let names: BTreeSet<String> = ["FINE", "LARGE", "NULL", "OTHER", "TEXT"].map(str::to_owned).into();
    assert_eq!(bindings(&world, "a").await, names);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_things_are_all_there_and_a_filter_takes_some() {
    let world = World::empty().await;
    for n in 0..300 {
        world.foreign("POST", &kv(""), Some(json!({ "title": format!("ns {n}") }))).await;
    }
    world.upload_foreign(ACCOUNT, "api", "export default { fetch() { return new Response('api'); } };").await;
    for n in 0..60 {
        let name = format!("z{n}.example.com");
        let zone = world.foreign("GET", &format!("/zones?name={name}"), None).await[0]["id"].as_str().unwrap().to_owned();
        let route = json!({ "pattern": format!("{name}/*"), "script": "api" });
        world.foreign("POST", &format!("/zones/{zone}/workers/routes"), Some(route)).await;
    }
    world.proxy.reset();
    let ran = import(&world, &[]);
    assert_eq!(ran.status, 0, "{}", ran.err);
    let of_zones = |call: &Call| call.path.ends_with("/v4/zones") && call.query.contains("page=");
    let pages = world.proxy.calls().into_iter().filter(of_zones).count();
    assert_eq!(pages, 2, "sixty zones are two pages");
    let all = desired(&world, ENVIRONMENT);
    assert_eq!(all.len(), 301);
    let worker = &all[&(Kind::Worker, "api".to_owned())];
    assert_eq!(worker["routes"].as_table().unwrap().len(), 60);
    assert_taken_over(&world, &["api"]);

    let ran = import_as(&world, "some", &["--only", "kv", "--filter", "ns 10?"]);
    assert_eq!(ran.status, 0, "{}", ran.err);
    assert_eq!(desired(&world, "some").len(), 10);
    world.end().await;
}

/// Without an account it is an edge, of which only what edges have is read.
#[tokio::test(flavor = "multi_thread")]
async fn an_edge_is_imported_as_one() {
    let world = World::empty().await;
    foreign_namespace(&world, "ads").await;
    world.upload_foreign(ACCOUNT, "api", "export default { fetch() { return new Response('api'); } };").await;
    let (endpoint, out) = (world.endpoint(), world.path("clone"));
    let arguments = ["import", "cloudflare", "--endpoint", &endpoint, "--environment", ENVIRONMENT, "--out"];
    let ran = run(&world, &[&arguments[..], &[out.to_str().unwrap()]].concat());
    assert!(ran.status == 0 && !ran.err.contains("Not carried"), "{ran:?}");
    let targets = std::fs::read_to_string(world.path("clone/environments/live/targets.toml")).unwrap();
    assert!(targets.contains("[edge.main]") && !targets.contains("account_id"), "{targets}");
    assert_eq!(desired(&world, ENVIRONMENT).len(), 2);
    assert!(!world.proxy.calls().iter().any(|call| call.path.contains("dns_records")), "no edge has records");
    assert_taken_over(&world, &["api"]);
    world.end().await;
}
