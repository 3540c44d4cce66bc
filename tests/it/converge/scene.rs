//! What a plan says, and the calls of other clients.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::edge::bench::cache;
use crate::world::{TOKEN, World};

/// The account of an edge whose definition names none.
pub(crate) const ACCOUNT: &str = "00000000000000000000000000000000";
/// Where most definitions of these tests stand.
pub(crate) const PRODUCTION: &str = "environments/production/production.toml";

/// The one plan as JSON; it must be one that has changes or is empty, or where `blocked` one that says what is blocked.
pub(crate) fn plan(world: &World) -> Value {
    let ran = world.trunkline(&["plan", "--output", "json"]);
    let document: Value = serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    let plan = document["plans"][0]["plan"].clone();
    let blocked = !plan["blocked"].as_array().unwrap().is_empty();
    let changes = !plan["changes"].as_array().unwrap().is_empty();
    let expected = if blocked { 1 } else { 2 * i32::from(changes) };
    assert_eq!(ran.status, expected, "{document:#}\n{}", ran.err);
    plan
}

/// What is to be done, sorted: `update worker.api@local`.
pub(crate) fn changes(world: &World) -> Vec<String> {
    let plan = plan(world);
    let local = |change: &Value| change["address"].as_str().unwrap().split_once('/').unwrap().1.to_owned();
    let changes = plan["changes"].as_array().unwrap().iter();
    let mut lines: Vec<String> =
        changes.map(|c| format!("{} {}@{}", c["action"].as_str().unwrap(), local(c), c["target"].as_str().unwrap())).collect();
    lines.sort();
    lines
}

/// The fields that drifted, by resource; nothing else may be planned.
pub(crate) fn drift(world: &World) -> BTreeMap<String, BTreeSet<String>> {
    let plan = plan(world);
    let mut drifted: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for change in plan["changes"].as_array().unwrap() {
        assert_eq!(change["drift"], true, "{change:#}");
        let fields = drifted.entry(change["address"].as_str().unwrap().split_once('/').unwrap().1.to_owned()).or_default();
        for why in change["why"].as_array().unwrap() {
            assert_eq!(why["cause"], "drift", "{change:#}");
            fields.insert(why["field"].as_str().unwrap().to_owned());
        }
    }
    drifted
}

/// Asserts that exactly these fields drifted, then that one pass heals them and leaves nothing to do.
pub(crate) fn assert_heals(world: &World, expected: &[(&str, &[&str])]) {
    let expected: BTreeMap<String, BTreeSet<String>> = expected
        .iter()
        .map(|(resource, fields)| ((*resource).to_owned(), fields.iter().map(|field| (*field).to_owned()).collect()))
        .collect();
    assert_eq!(drift(world), expected);
    world.apply();
    world.assert_converged();
}

/// A path below a Worker.
pub(crate) fn script(name: &str, rest: &str) -> String {
    format!("/accounts/{ACCOUNT}/workers/scripts/{name}{rest}")
}

/// A path below the account's KV namespaces.
pub(crate) fn kv(rest: &str) -> String {
    format!("/accounts/{ACCOUNT}/storage/kv/namespaces{rest}")
}

/// The id of the zone `example.com`.
pub(crate) async fn zone(world: &World) -> String {
    world.foreign("GET", "/zones?name=example.com", None).await[0]["id"].as_str().unwrap().to_owned()
}

/// The id of the KV namespace `title`, if there is one.
pub(crate) async fn namespace(world: &World, title: &str) -> Option<String> {
    let all = world.foreign("GET", &kv("?per_page=100"), None).await;
    let found = all.as_array().unwrap().iter().find(|n| n["title"] == title)?;
    Some(found["id"].as_str().unwrap().to_owned())
}

/// The names of `field` of every item of an answer, sorted.
pub(crate) fn names(items: &Value, field: &str) -> BTreeSet<String> {
    items.as_array().unwrap().iter().map(|item| item[field].as_str().unwrap().to_owned()).collect()
}

/// The names of a Worker's bindings.
pub(crate) async fn bindings(world: &World, name: &str) -> BTreeSet<String> {
    names(&world.foreign("GET", &script(name, "/settings"), None).await["bindings"], "name")
}

/// A KV namespace with one key, made by somebody else; its id.
pub(crate) async fn foreign_namespace(world: &World, title: &str) -> String {
    let made = world.foreign("POST", &kv(""), Some(json!({ "title": title }))).await;
    let id = made["id"].as_str().unwrap().to_owned();
    world.foreign("PUT", &kv(&format!("/{id}/values/theirs")), Some(json!("kept"))).await;
    id
}

/// Somebody else changes what the Worker `api-production` of [`World::with_production`] is bound to: our greeting to
/// `greeting`, and a binding of theirs.
pub(crate) async fn tamper(world: &World, greeting: &str) {
    let bindings = json!([
        { "name": "GREETING", "type": "plain_text", "text": greeting },
        { "name": "COUNTS", "type": "inherit" },
        { "name": "KEY", "type": "inherit" },
        { "name": "THEIRS", "type": "plain_text", "text": "theirs" },
    ]);
    world.foreign("PATCH", &script("api-production", "/settings"), Some(json!({ "bindings": bindings }))).await;
}

/// Runs the real wrangler against the edge; what it said.
pub(crate) fn wrangler(world: &World, folder: &Path, arguments: &[&str], input: &str) -> String {
    let program = cache().join("node_modules/wrangler/bin/wrangler.js");
    assert!(program.exists(), "these tests need wrangler: run tests/run, which installs it (npm install wrangler@4.86.0)");
    let api = world.edge.as_ref().unwrap().api_addr();
    let mut child = Command::new("node")
        .arg(program)
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", folder)
        .env("CLOUDFLARE_API_BASE_URL", format!("http://{api}/client/v4"))
        .env("CLOUDFLARE_API_TOKEN", TOKEN)
        .env("CLOUDFLARE_ACCOUNT_ID", ACCOUNT)
        .env("WRANGLER_SEND_METRICS", "false")
        .env("CI", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("these tests need node 20 on PATH");
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "wrangler {arguments:?}: {}\n{said}", output.status);
    said
}
