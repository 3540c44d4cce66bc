//! The real wrangler against the edge.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::bench::{ACCOUNT, Bench, TOKEN, cache};

/// Runs wrangler in a project; what it said. Fails with it where wrangler fails.
pub(super) async fn wrangler(bench: &Bench, project: &Path, arguments: &[&str], input: &str) -> String {
    let program = cache().join("node_modules/wrangler/bin/wrangler.js");
    assert!(program.exists(), "these tests need wrangler: run tests/run, which installs it (npm install wrangler@4.86.0)");
    let mut command = Command::new("node");
    command.arg(program).args(arguments).current_dir(project).kill_on_drop(true);
    command.env("CLOUDFLARE_API_BASE_URL", bench.url("/client/v4")).env("CLOUDFLARE_API_TOKEN", TOKEN);
    command.env("CLOUDFLARE_ACCOUNT_ID", ACCOUNT).env("WRANGLER_SEND_METRICS", "false").env("CI", "1").env("HOME", project);
    command.env("XDG_CONFIG_HOME", project).env("WRANGLER_LOG_PATH", project.join("logs")).env("NO_COLOR", "1");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("these tests need node 20 on PATH");
    child.stdin.take().unwrap().write_all(input.as_bytes()).await.unwrap();
    let output = tokio::time::timeout(Duration::from_secs(120), child.wait_with_output()).await.expect("wrangler hangs").unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "wrangler {arguments:?}: {}\n{said}", output.status);
    said
}

fn write_project(project: &Path, greeting: &str, kv: &str) {
    let code = r#"export default {
  async fetch(request, env) {
    const called = await (await env.HELPER.fetch("http://x/")).text();
    return new Response([env.GREETING, env.CONF.a, env.KEY, await env.KV.get("k"), called].join(" "));
  },
  async scheduled(event, env) { await env.KV.put("k", "cron"); },
};"#;
    fs::write(project.join("index.js"), code).unwrap();
    let settings = json!({
        "name": "app",
        "main": "index.js",
        "compatibility_date": "2026-04-01",
        "vars": { "GREETING": greeting, "CONF": { "a": 1 } },
        "kv_namespaces": [{ "binding": "KV", "id": kv }],
        "services": [{ "binding": "HELPER", "service": "helper" }],
        "triggers": { "crons": ["0 4 29 2 *"] },
        "routes": [{ "pattern": "app.example.com/*", "zone_name": "example.com" }],
        "workers_dev": true,
    });
    fs::write(project.join("wrangler.json"), settings.to_string()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn wrangler_does_its_work_against_the_edge() {
    let bench = Bench::start().await;
    let folder = tempfile::tempdir().unwrap();
    let project = folder.path();
    let run = async |arguments: &[&str], input: &str| wrangler(&bench, project, arguments, input).await;

    let said = run(&["whoami"], "").await;
    assert!(said.contains("Trunkline edge"), "{said}");
    let helper = project.join("helper");
    fs::create_dir(&helper).unwrap();
    fs::write(helper.join("index.js"), "export default { fetch() { return new Response('helped'); } };").unwrap();
    fs::write(
        helper.join("wrangler.json"),
        json!({ "name": "helper", "main": "index.js", "compatibility_date": "2026-04-01" }).to_string(),
    )
    .unwrap();
    wrangler(&bench, &helper, &["deploy"], "").await;

    let said = run(&["kv", "namespace", "create", "store"], "").await;
    let kv = bench.done("GET", "/storage/kv/namespaces", None).await[0]["id"].as_str().unwrap().to_owned();
    assert!(said.contains(&kv), "{said}");
    let said = run(&["kv", "namespace", "list"], "").await;
    assert!(said.contains(&kv) && said.contains("store"), "{said}");
    run(&["kv", "key", "put", "--remote", "--namespace-id", &kv, "k", "value"], "").await;
    assert_eq!(run(&["kv", "key", "get", "--remote", "--text", "--namespace-id", &kv, "k"], "").await.trim(), "value");

    write_project(project, "one", &kv);
    run(&["deploy"], "").await;
    run(&["secret", "put", "KEY"], "planted").await;
    let said = run(&["secret", "list"], "").await;
    assert!(said.contains("KEY") && !said.contains("planted"), "{said}");
    let first = "one 1 planted value helped";
    for host in ["app.example.com", "app.localhost"] {
        assert_eq!(bench.get(host, "/").await, (200, first.to_owned()), "{host}");
    }
    assert_eq!(bench.done("GET", "/workers/scripts/app/schedules", None).await["schedules"][0]["cron"], "0 4 29 2 *");

    write_project(project, "two", &kv);
    run(&["deploy", "--message", "second"], "").await;
    assert_eq!(bench.get("app.localhost", "/").await.1, first.replace("one", "two"), "the secret survives a deploy");
    let said = run(&["deployments", "list"], "").await;
    assert!(said.contains("second"), "{said}");
    let said = run(&["versions", "list"], "").await;
    let versions = bench.done("GET", "/workers/scripts/app/versions", None).await;
    let versions = versions["items"].as_array().unwrap();
    assert_eq!(versions.len(), 3);
    assert!(versions.iter().all(|version| said.contains(version["id"].as_str().unwrap())), "{said}");

    run(&["rollback", "--message", "back", "--yes"], "").await;
    assert_eq!(bench.get("app.localhost", "/").await.1, first);
    run(&["delete", "--force"], "").await;
    assert_eq!(bench.get("app.localhost", "/").await.0, 404);
    assert_eq!(bench.done("GET", "/workers/scripts", None).await.as_array().unwrap().len(), 1);
    bench.stop().await;
}
