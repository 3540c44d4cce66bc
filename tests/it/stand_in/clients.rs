//! Whole round trips.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use tokio::process::Command;

use crate::edge::bench::{ACCOUNT, Bench, TOKEN, cache};

/// Runs a command to its end; what it said. Fails with it where it fails.
async fn run(mut command: Command) -> String {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let child = command.spawn().expect("these tests need python3 and node: run tests/run, which says what is missing");
    let output = tokio::time::timeout(Duration::from_secs(300), child.wait_with_output()).await.expect("it hangs").unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{said}", output.status);
    said
}

/// A script of `tests/python` with the SDK that tests/run installs.
pub(crate) async fn python(api: SocketAddr, (token, account): (&str, &str), script: &str, arguments: &[&str]) -> String {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let packages = tests.join(".cache/python");
    assert!(packages.join("cloudflare").exists(), "these tests need the SDK: run tests/run, which installs it");
    let mut command = Command::new("python3");
    command.arg(tests.join("python").join(script)).args(arguments).env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("PYTHONPATH", packages);
    command.env("PYTHONDONTWRITEBYTECODE", "1").env("CLOUDFLARE_BASE_URL", format!("http://{api}/client/v4"));
    command.env("CLOUDFLARE_API_TOKEN", token).env("CLOUDFLARE_ACCOUNT_ID", account);
    run(command).await
}

async fn wrangler(bench: &Bench, project: &Path, arguments: &[&str]) -> String {
    let program: PathBuf = cache().join("node_modules/wrangler/bin/wrangler.js");
    assert!(program.exists(), "these tests need wrangler: run tests/run, which installs it (npm install wrangler@4.86.0)");
    let mut command = Command::new("node");
    command.arg(program).args(arguments).current_dir(project);
    command.env("CLOUDFLARE_API_BASE_URL", bench.url("/client/v4")).env("CLOUDFLARE_API_TOKEN", TOKEN);
    command.env("CLOUDFLARE_ACCOUNT_ID", ACCOUNT).env("WRANGLER_SEND_METRICS", "false").env("CI", "1").env("HOME", project);
    command.env("XDG_CONFIG_HOME", project).env("WRANGLER_LOG_PATH", project.join("logs")).env("NO_COLOR", "1");
    run(command).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sdk_for_python_makes_whole_round_trips() {
    let bench = Bench::start_with(|options| options.stand_in = true).await;
    // A call that says "later" is repeated, by a client that we did not write.
    let later = json!({ "match": "POST /zones", "status": 429, "retry_after": 1 });
    bench.done("POST", "/__faults", Some(later)).await;
    let said = python(bench.edge().api_addr(), (TOKEN, ACCOUNT), "round_trips.py", &[]).await;
    let products = [
        "zones",
        "dns",
        "rulesets",
        "tunnels",
        "services",
        "hyperdrive",
        "domains",
        "cache",
        "dispatch",
        "kv",
        "d1",
        "r2",
        "queues",
    ];
    for product in products {
        assert!(said.contains(&format!("{product}: done")), "{said}");
    }
    assert_eq!(bench.done("GET", "/__faults", None).await, json!([]), "the fault was met");
    let kept = fs::read_to_string(bench.folder.path().join("stand_in.json")).unwrap();
    assert!(!kept.contains("planted"), "a password is dropped");
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrangler_does_what_needs_a_zone_and_more() {
    let bench = Bench::start_with(|options| options.stand_in = true).await;
    let folder = tempfile::tempdir().unwrap();
    let project = folder.path();
    fs::write(project.join("index.js"), "export default { fetch() { return new Response('x'); } };").unwrap();
    let settings = json!({
        "name": "app",
        "main": "index.js",
        "compatibility_date": "2026-04-01",
        "routes": [
            { "pattern": "app.example.com", "zone_name": "example.com", "custom_domain": true },
            { "pattern": "example.com/app/*", "zone_name": "example.com" },
        ],
        "workers_dev": false,
    });
    fs::write(project.join("wrangler.json"), settings.to_string()).unwrap();
    for _ in 0..2 {
        wrangler(&bench, project, &["deploy"]).await;
        let domains = bench.done("GET", "/workers/domains", None).await;
        assert_eq!(
            (domains[0]["hostname"].as_str(), domains.as_array().unwrap().len()),
            (Some("app.example.com"), 1),
            "{domains}"
        );
    }
    let zone = bench.done("GET", "/client/v4/zones?name=example.com", None).await[0]["id"].as_str().unwrap().to_owned();
    let routes = bench.done("GET", &format!("/client/v4/zones/{zone}/workers/routes"), None).await;
    assert_eq!(routes[0]["pattern"], "example.com/app/*");
    let records = bench.done("GET", &format!("/client/v4/zones/{zone}/dns_records"), None).await;
    assert_eq!(records[0]["name"], "app.example.com");

    let database = "postgres://ads:planted@db.example.com:5432/ads";
    wrangler(&bench, project, &["hyperdrive", "create", "db", "--connection-string", database]).await;
    let said = wrangler(&bench, project, &["hyperdrive", "list"]).await;
    assert!(said.contains("db.example.com") && !said.contains("planted"), "{said}");
    wrangler(&bench, project, &["dispatch-namespace", "create", "customers"]).await;
    let said = wrangler(&bench, project, &["dispatch-namespace", "list"]).await;
    assert!(said.contains("customers"), "{said}");
    wrangler(&bench, project, &["deploy", "--dispatch-namespace", "customers", "--name", "theirs"]).await;
    assert_eq!(bench.done("GET", "/workers/dispatch/namespaces/customers", None).await["script_count"], 1);

    let pem = |what: &str| format!("-----BEGIN {what}-----\nMAo=\n-----END {what}-----\n");
    fs::write(project.join("cert.pem"), pem("CERTIFICATE")).unwrap();
    fs::write(project.join("key.pem"), pem("PRIVATE KEY")).unwrap();
    wrangler(&bench, project, &["mtls-certificate", "upload", "--cert", "cert.pem", "--key", "key.pem", "--name", "client"])
        .await;
    let said = wrangler(&bench, project, &["mtls-certificate", "list"]).await;
    assert!(said.contains("client"), "{said}");
    bench.stop().await;
}
