//! Swaps under load: no request fails, and KV loses nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use super::bench::{Bench, TOKEN};

fn code(generation: usize) -> String {
    format!(
        r#"export default {{
  async fetch(request, env) {{
    const url = new URL(request.url);
    if (url.pathname === "/count") {{
      const key = url.searchParams.get("key");
      const count = Number(await env.KV.get(key) ?? 0) + 1;
      await env.KV.put(key, String(count));
      return new Response(String(count));
    }}
    if (url.pathname === "/echo") return new Response(request.body);
    if (url.pathname === "/slow") {{
      await new Promise(done => setTimeout(done, 1500));
      return new Response("slow {generation}");
    }}
    return new Response("generation {generation}");
  }}
}};"#
    )
}

/// One client that asks until told to stop; fails at the first answer that is not 200. Returns how often it asked.
async fn ask(url: String, body: Option<Vec<u8>>, stop: Arc<AtomicBool>) -> usize {
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build().unwrap();
    let mut asked = 0;
    while !stop.load(Ordering::Relaxed) {
        let request = match &body {
            Some(body) => client.post(&url).body(body.clone()),
            None => client.get(&url),
        };
        let response =
            request.header("host", "app.localhost").send().await.unwrap_or_else(|error| panic!("request {asked}: {error:?}"));
        let status = response.status();
        let said = response.bytes().await.unwrap();
        assert!(status == 200, "request {asked}: {status} {}", String::from_utf8_lossy(&said));
        if let Some(body) = &body {
            assert!(said == body, "request {asked} came back changed");
        }
        asked += 1;
    }
    asked
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::print_stdout, reason = "the numbers are what the test is read for")]
async fn a_hundred_swaps_under_load_fail_no_request_and_lose_no_count() {
    const SWAPS: usize = 100;
    let bench = Bench::start().await;
    let kv = bench.done("POST", "/storage/kv/namespaces", Some(json!({ "title": "counts" }))).await;
    let id = kv["id"].as_str().unwrap().to_owned();
    let bindings = json!([{ "name": "KV", "type": "kv_namespace", "namespace_id": id }]);
    bench.put("app", &code(0), bindings.clone()).await;

    let stop = Arc::new(AtomicBool::new(false));
    let base = format!("http://{}", bench.edge().http_addr());
    let start = |path: &str, body| tokio::spawn(ask(format!("{base}{path}"), body, Arc::clone(&stop)));
    let counters = [start("/count?key=a", None), start("/count?key=b", None)];
    let others = [start("/", None), start("/echo", Some(vec![b'x'; 200_000])), start("/slow", None)];
    let since = Instant::now();
    for generation in 1..=SWAPS {
        bench.put("app", &code(generation), bindings.clone()).await;
        assert_eq!(bench.get("app.localhost", "/").await.1, format!("generation {generation}"));
        if generation % 25 == 0 {
            // A namespace more must not cost a request either.
            bench.done("POST", "/storage/kv/namespaces", Some(json!({ "title": generation.to_string() }))).await;
        }
    }
    println!("{SWAPS} swaps in {:?}", since.elapsed());
    stop.store(true, Ordering::Relaxed);
    for (key, task) in ["a", "b"].into_iter().zip(counters) {
        let asked = task.await.unwrap();
        assert!(asked > SWAPS, "the load was none: {asked}");
        let url = bench.account_url(&format!("/storage/kv/namespaces/{id}/values/{key}"));
        let value = bench.client.get(url).bearer_auth(TOKEN).send().await.unwrap().text().await.unwrap();
        assert_eq!(value, asked.to_string(), "the counter {key}");
        println!("counter {key}: {asked}");
    }
    for task in others {
        println!("other requests: {}", task.await.unwrap());
    }
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_in_flight_finishes_on_the_old_generation() {
    let bench = Bench::start().await;
    bench.put("app", &code(1).replace("env.KV", "null"), json!([])).await;
    let old = bench.edge().pids().0.unwrap();
    let started = AtomicUsize::new(0);
    let slow = async {
        started.fetch_add(1, Ordering::Relaxed);
        bench.get("app.localhost", "/slow").await
    };
    let swap = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        bench.put("app", &code(2).replace("env.KV", "null"), json!([])).await;
        assert_eq!(bench.get("app.localhost", "/").await.1, "generation 2");
    };
    let (answer, ()) = tokio::join!(slow, swap);
    assert_eq!(answer, (200, "slow 1".to_owned()));
    // The old process ends once its last request is done.
    let since = Instant::now();
    while std::path::Path::new(&format!("/proc/{old}/cmdline")).exists() {
        assert!(since.elapsed() < Duration::from_secs(60), "the old process is still there");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn work_after_the_response_is_done_though_the_worker_is_replaced() {
    let bench = Bench::start_with(|options| options.linger = Duration::from_secs(4)).await;
    let kv = bench.done("POST", "/storage/kv/namespaces", Some(json!({ "title": "kv" }))).await;
    let bindings = json!([{ "name": "KV", "type": "kv_namespace", "namespace_id": kv["id"] }]);
    let code = r#"export default {
  async fetch(request, env, ctx) {
    if (new URL(request.url).pathname === "/read") return new Response(await env.KV.get("late") ?? "none");
    ctx.waitUntil((async () => {
      await new Promise(done => setTimeout(done, 2000));
      await env.KV.put("late", "done");
    })());
    return new Response("early");
  }
};"#;
    bench.put("app", code, bindings.clone()).await;
    assert_eq!(bench.get("app.localhost", "/").await.1, "early");
    bench.put("app", &format!("{code}// 2"), bindings).await;
    let since = Instant::now();
    while bench.get("app.localhost", "/read").await.1 != "done" {
        assert!(since.elapsed() < Duration::from_secs(60), "what was given to waitUntil was lost");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    bench.stop().await;
}
