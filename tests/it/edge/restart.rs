//! What survives: a restart, a crash of the runtime, a kill of the edge.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use super::bench::{Bench, TOKEN, options};

const COUNT: &str = r#"export default {
  async fetch(request, env) {
    const count = Number(await env.KV.get("n") ?? 0) + 1;
    await env.KV.put("n", String(count));
    return new Response(`${count} ${env.KEY}`);
  }
};"#;

async fn counting(bench: &Bench) {
    let kv = bench.done("POST", "/storage/kv/namespaces", Some(json!({ "title": "n" }))).await;
    let bindings = json!([
        { "name": "KV", "type": "kv_namespace", "namespace_id": kv["id"] },
        { "name": "KEY", "type": "secret_text", "text": "secret" },
    ]);
    bench.put("app", COUNT, bindings).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_there_after_a_restart() {
    let mut bench = Bench::start().await;
    counting(&bench).await;
    bench.done("PUT", "/workers/scripts/app/schedules", Some(json!([{ "cron": "*/5 * * * *" }]))).await;
    bench
        .done("PUT", "/workers/scripts/app/routes", Some(json!([{ "pattern": "app.example.com/*", "zone_name": "example.com" }])))
        .await;
    assert_eq!(bench.get("app.example.com", "/").await, (200, "1 secret".to_owned()));
    let paths = [
        "/workers/scripts",
        "/workers/scripts/app/versions",
        "/workers/scripts/app/deployments",
        "/workers/scripts/app/schedules",
    ];
    let mut before = Vec::new();
    for path in paths {
        before.push(bench.done("GET", path, None).await);
    }
    bench.restart().await;
    for (path, before) in paths.into_iter().zip(before) {
        assert_eq!(bench.done("GET", path, None).await, before, "{path}");
    }
    assert_eq!(bench.get("app.example.com", "/").await, (200, "2 secret".to_owned()));
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runtime_that_is_killed_is_started_again_and_requests_wait_for_it() {
    let bench = Bench::start().await;
    counting(&bench).await;
    assert_eq!(bench.get("app.localhost", "/").await.1, "1 secret");
    let (workers, kv) = bench.edge().pids();
    kill(workers.unwrap());
    // A request that the dying process has taken is answered with 502: it may have had its effect.
    while Path::new(&format!("/proc/{}", workers.unwrap())).exists() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(bench.get("app.localhost", "/").await.1, "2 secret");
    kill(kv.unwrap());
    let since = Instant::now();
    // A connection that the Workers' process kept to the old one may break; the count goes on.
    while bench.get("app.localhost", "/").await.1 != "3 secret" {
        assert!(since.elapsed() < Duration::from_secs(60), "KV did not come back");
    }
    assert_ne!(bench.edge().pids(), (workers, kv));
    bench.stop().await;
}

fn kill(pid: u32) {
    assert!(Command::new("kill").args(["-KILL", &pid.to_string()]).status().unwrap().success());
}

/// Whether a process runs; what is left of one that ended does not count.
fn runs(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_that_is_dropped_ends_its_processes() {
    let bench = Bench::start().await;
    counting(&bench).await;
    let (workers, kv) = bench.edge().pids();
    drop(bench);
    let since = Instant::now();
    while runs(workers.unwrap()) || runs(kv.unwrap()) {
        assert!(since.elapsed() < Duration::from_secs(60), "a runtime process outlived the edge");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_that_is_killed_leaves_no_process_and_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut last = None;
    for round in 1..=3 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "edge::restart::edge_to_be_killed", "--ignored", "--nocapture"])
            .env("TRUNKLINE_TEST_FOLDER", folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let ready = lines.into_iter().find_map(|line| line.split_once("ready ").map(|(_, rest)| rest.to_owned())).unwrap();
        let words: Vec<&str> = ready.split(' ').collect();
        let pids: Vec<u32> = words[..2].iter().map(|pid| pid.parse().unwrap()).collect();
        assert!(pids.iter().all(|pid| runs(*pid)));
        assert_eq!(words[2], round.to_string(), "the counter after {} kills", round - 1);
        kill(child.id());
        child.wait().unwrap();
        let since = Instant::now();
        while pids.iter().any(|pid| runs(*pid)) {
            assert!(since.elapsed() < Duration::from_secs(60), "a runtime process outlived the edge");
            std::thread::sleep(Duration::from_millis(10));
        }
        last = Some(pids);
    }
    assert!(last.is_some());
}

/// What starts the leader of a group, and not in its own.
fn leader() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trunkline"));
    command.arg(trunkline::edge::LEAD_VERB).stdin(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[test]
fn the_leader_outlives_a_request_to_end_and_ends_its_group_with_its_input() {
    let mut leading = leader().process_group(0).spawn().unwrap();
    let group = leading.id().cast_signed();
    let mut member = Command::new("sleep").arg("60").process_group(group).spawn().unwrap();
    let since = Instant::now();
    let handled = || {
        let status = std::fs::read_to_string(format!("/proc/{group}/status")).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
        u64::from_str_radix(caught.trim(), 16).unwrap() & (1 << 14) != 0
    };
    while !handled() {
        assert!(since.elapsed() < Duration::from_secs(60), "the leader handles no SIGTERM");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(Command::new("kill").args(["-TERM", &group.to_string()]).status().unwrap().success());
    std::thread::sleep(Duration::from_millis(100));
    assert!(leading.try_wait().unwrap().is_none() && member.try_wait().unwrap().is_none());
    drop(leading.stdin.take());
    assert_eq!((leading.wait().unwrap().signal(), member.wait().unwrap().signal()), (Some(9), Some(9)));
}

#[test]
fn a_leader_without_a_group_of_its_own_ends_nobody() {
    let output = leader().stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("leads no group"), "{output:?}");
}

/// Run by `an_edge_that_is_killed_leaves_no_process_and_comes_back`, in a process that can be killed.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by an_edge_that_is_killed_leaves_no_process_and_comes_back, in a process of its own"]
#[expect(clippy::print_stdout, reason = "its parent reads what it prints")]
async fn edge_to_be_killed() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let folder = std::env::var_os("TRUNKLINE_TEST_FOLDER").unwrap();
    let edge = trunkline::edge::start(options(Path::new(&folder))).await.unwrap();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let bench = Bench { edge: Some(edge), folder: tempfile::tempdir().unwrap(), client };
    if bench.done("GET", "/workers/scripts", None).await == json!([]) {
        counting(&bench).await;
    }
    let (status, said) = bench.get("app.localhost", "/").await;
    assert_eq!(status, 200, "{said}");
    let (workers, kv) = bench.edge().pids();
    println!("ready {} {} {said}", workers.unwrap(), kv.unwrap());
    // Changes go on until the kill comes.
    loop {
        let body = json!({ "name": "KEY", "text": "secret" }).to_string();
        let request = bench.client.put(bench.account_url("/workers/scripts/app/secrets")).bearer_auth(TOKEN);
        let _ = request.header("content-type", "application/json").body(body).send().await;
    }
}
