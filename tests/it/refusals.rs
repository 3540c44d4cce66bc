//! Bad input through the whole program: a clear error, the last good state untouched, other environments go on.
#![allow(clippy::print_stdout, reason = "what is printed is what a person reads: shown when a test fails")]

mod command_line;
mod definitions;
mod remote;
mod rules;
mod secrets;
mod targets;

use serde_json::Value;

use crate::world::World;

/// A second environment in the same repository, at the same edge and on the same host.
fn staging(world: &World) -> String {
    format!(
        r#"[environment]
digest_key = {{ secret = "digest-key" }}

[edge.local]
endpoint = "{}"
api_token = {{ secret = "edge-token" }}

[worker.web]
main = "workers/web/index.js"
compatibility_date = "2026-11-01"
vars = {{ TURN = "0" }}

[file.turn]
path = "/etc/staging/turn"
content = "0\n"
"#,
        world.endpoint()
    )
}

/// `production` and `staging`, committed and pushed.
async fn two_environments() -> World {
    let world = World::with_production().await;
    world.write("environments/staging/staging.toml", &staging(&world));
    world.write("workers/web/index.js", "export default { fetch: () => new Response('web') };\n");
    world.set_secret("staging", "edge-token", crate::world::TOKEN);
    world.commit("A second environment");
    world
}

/// Changes staging's Worker and file.
fn turn_staging(world: &World, turn: usize) {
    let path = "environments/staging/staging.toml";
    let text = std::fs::read_to_string(world.path("clone").join(path)).unwrap();
    let before = text.split("content = \"").nth(1).unwrap().split('\\').next().unwrap().to_owned();
    let text = text.replace(&format!("TURN = \"{before}\""), &format!("TURN = \"{turn}\""));
    world.write(path, &text.replace(&format!("content = \"{before}\\n\""), &format!("content = \"{turn}\\n\"")));
}

/// What runs in production is what ran before, and nothing was written there since the proxy was reset.
async fn assert_production_untouched(world: &World) {
    assert_eq!(world.get("api.example.com", "/").await, (200, "hello with key".to_owned()));
    let engine = std::fs::read_to_string(world.host("/etc/engine/engine.conf")).unwrap();
    assert_eq!(engine, "greeting = hello\npassword = password-of-the-file\n");
    assert_eq!(std::fs::read_to_string(world.host("/etc/motd")).unwrap(), "kept by trunkline\n");
    let writes: Vec<String> = world.proxy.writes().into_iter().filter(|line| !line.contains("web-staging")).collect();
    assert_eq!(writes, [""; 0]);
}

/// Staging is ready at `commit`, and its file says `turn`.
async fn assert_staging_goes_on(world: &World, commit: &str, turn: usize) {
    world.wait_ready("staging", commit).await;
    assert_eq!(std::fs::read_to_string(world.host("/etc/staging/turn")).unwrap(), format!("{turn}\n"));
}

/// Waits until production is stalled, or on its way, for `reason`, having seen `commit`; the message.
async fn wait_refused(world: &World, commit: &str, reason: &str) -> String {
    let seen = format!("main@sha1:{commit}");
    let status = world
        .wait("production", |status| {
            status["reason"] == reason && status["seen"] == seen.as_str() && status["condition"] != "Ready"
        })
        .await;
    message(&status)
}

fn message(status: &Value) -> String {
    status["message"].as_str().unwrap().to_owned()
}

/// Each of `parts` stands in `text`, which reads as a person expects: no cause twice, no Rust.
fn assert_says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} does not stand in:\n{text}");
    }
    assert_reads_well(text);
}

fn assert_reads_well(text: &str) {
    for line in text.lines() {
        let causes: Vec<&str> = line.split(": ").map(str::trim).filter(|cause| cause.len() > 3).collect();
        let doubled = causes.windows(2).any(|pair| pair[0].ends_with(pair[1]));
        assert!(!doubled, "a cause stands twice: {line}");
        assert!(line.chars().count() < 500, "a wall of text: {line}");
    }
    for word in ["Err(", "Some(", "os error 2: ", "panicked", "unwrap", "Error {", "  hint: hint"] {
        assert!(!text.contains(word), "{word:?} is not for people:\n{text}");
    }
    println!("-----\n{text}");
}
