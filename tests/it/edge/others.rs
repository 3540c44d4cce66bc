//! The smaller services of the edge: rate limits, analytics, the Cache API.

use serde_json::{Value, json};

use super::bench::Bench;

const CODE: &str = r#"export default {
  async fetch(request, env) {
    const url = new URL(request.url);
    const at = "http://cached.example.com/a?b";
    switch (url.pathname) {
      case "/limit": return Response.json((await env.LIMIT.limit({ key: url.searchParams.get("key") })).success);
      case "/point": env.EVENTS.writeDataPoint({ indexes: ["i"], blobs: ["a", "b"], doubles: [1.5] }); return Response.json(null);
      case "/cache-put": {
        const headers = { "cache-control": "max-age=60", "x-own": "kept" };
        await caches.default.put(at, new Response("cached", { headers }));
        return Response.json(null);
      }
      case "/cache-get": {
        const found = await caches.default.match(at);
        return Response.json(found ? [await found.text(), found.headers.get("x-own"), found.headers.get("cf-cache-status")] : null);
      }
      case "/cache-delete": return Response.json(await caches.default.delete(at));
    }
  }
};"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_limit_counts_over_swaps_and_a_point_is_written() {
    let bench = Bench::start().await;
    let bindings = json!([
        { "name": "LIMIT", "type": "ratelimit", "namespace_id": "1001", "simple": { "limit": 3, "period": 60 } },
        { "name": "EVENTS", "type": "analytics_engine", "dataset": "clicks" },
    ]);
    bench.put("app", CODE, bindings.clone()).await;
    let mut allowed = 0;
    for round in 0..6 {
        bench.release("app", &format!("{CODE}// {round}"), bindings.clone()).await;
        allowed += u32::from(bench.json("app.localhost", "/limit?key=a").await == true);
    }
    // A window may have ended in between.
    assert!((3..6).contains(&allowed), "{allowed}");
    assert_eq!(bench.json("app.localhost", "/limit?key=b").await, true);
    bench.json("app.localhost", "/point").await;
    let file = bench.folder.path().join("analytics/clicks.jsonl");
    let since = std::time::Instant::now();
    while !file.exists() {
        assert!(since.elapsed() < std::time::Duration::from_secs(60), "no data point was written");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let line: Value = serde_json::from_str(std::fs::read_to_string(&file).unwrap().trim()).unwrap();
    assert_eq!((&line["index"], &line["blobs"], &line["doubles"]), (&json!("i"), &json!(["a", "b"]), &json!([1.5])));
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_put_into_the_cache_is_found_over_a_swap_until_it_is_deleted() {
    let bench = Bench::start().await;
    bench.put("app", CODE, json!([])).await;
    assert_eq!(bench.json("app.localhost", "/cache-get").await, Value::Null);
    bench.json("app.localhost", "/cache-put").await;
    bench.release("app", &format!("{CODE}// 2"), json!([])).await;
    assert_eq!(bench.json("app.localhost", "/cache-get").await, json!(["cached", "kept", "HIT"]));
    assert_eq!(bench.json("app.localhost", "/cache-delete").await, true);
    assert_eq!(bench.json("app.localhost", "/cache-get").await, Value::Null);
    assert_eq!(bench.json("app.localhost", "/cache-delete").await, false);
    bench.stop().await;
}
