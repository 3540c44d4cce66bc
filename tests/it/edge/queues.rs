//! Queues: from a Worker's `send` to another's `queue()`, through failures, swaps and restarts.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::bench::Bench;
use super::wrangler::wrangler;

const PRODUCER: &str = r#"export default {
  async fetch(request, env) {
    const url = new URL(request.url);
    const count = Number(url.searchParams.get("n") ?? 1);
    const body = n => ({ n, at: new Date(0), fail: url.searchParams.get("fail") });
    const messages = Array.from({ length: count }, (_, n) => ({ body: body(n), contentType: "v8" }));
    if (count === 1) await env.Q.send(body(0), { contentType: "v8" }); else await env.Q.sendBatch(messages);
    return new Response("sent");
  }
};"#;

/// Counts in KV what it got; a message that says `fail` is tried again.
const CONSUMER: &str = r#"export default {
  async fetch(request, env) {
    const { keys } = await env.KV.list();
    return Response.json(Object.fromEntries(await Promise.all(keys.map(async ({ name }) => [name, await env.KV.get(name)]))));
  },
  async queue(batch, env) {
    for (const message of batch.messages) {
      const kind = message.body.at instanceof Date ? "date" : typeof message.body.at;
      const key = `${batch.queue}/${message.body.n ?? "api"}/${kind}`;
      await env.KV.put(key, String(Number(await env.KV.get(key) ?? 0) + 1));
      if (message.body.fail === "yes" && batch.queue === "jobs") message.retry();
    }
    await env.KV.put("largest", String(Math.max(Number(await env.KV.get("largest") ?? 0), batch.messages.length)));
  },
};"#;

struct Set {
    jobs: String,
    dead: String,
    producer: Value,
}

/// A producer, a consumer of `jobs` and its dead letters.
async fn set(bench: &Bench, settings: Value) -> Set {
    let jobs = bench.done("POST", "/queues", Some(json!({ "queue_name": "jobs" }))).await;
    let dead = bench.done("POST", "/queues", Some(json!({ "queue_name": "dead" }))).await;
    let kv = bench.done("POST", "/storage/kv/namespaces", Some(json!({ "title": "kv" }))).await;
    let producer = json!([{ "name": "Q", "type": "queue", "queue_name": "jobs" }]);
    bench.put("producer", PRODUCER, producer.clone()).await;
    bench.put("consumer", CONSUMER, json!([{ "name": "KV", "type": "kv_namespace", "namespace_id": kv["id"] }])).await;
    let id = |queue: &Value| queue["queue_id"].as_str().unwrap().to_owned();
    let (jobs, dead) = (id(&jobs), id(&dead));
    let wanted = json!({ "type": "worker", "script_name": "consumer", "dead_letter_queue": "dead", "settings": settings });
    bench.done("POST", &format!("/queues/{jobs}/consumers"), Some(wanted)).await;
    Set { jobs, dead, producer }
}

/// Waits until the consumer has counted so.
async fn counted(bench: &Bench, wanted: impl Fn(&Value) -> bool) -> Value {
    let since = Instant::now();
    loop {
        let counts = bench.json("consumer.localhost", "/").await;
        if wanted(&counts) {
            return counts;
        }
        assert!(since.elapsed() < Duration::from_secs(30), "not counted: {counts}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_reaches_its_consumer_as_it_was_sent() {
    let bench = Bench::start().await;
    let set = set(&bench, json!({ "batch_size": 10, "max_wait_time_ms": 60_000 })).await;
    // A full batch does not wait.
    assert_eq!(bench.get("producer.localhost", "/?n=10").await, (200, "sent".to_owned()));
    let counts = counted(&bench, |counts| counts["jobs/9/date"] == "1" && counts["largest"] == "10").await;
    assert_eq!(counts["jobs/0/date"], "1", "what structured clone keeps, comes: {counts}");
    let shown = bench.done("GET", &format!("/queues/{}", set.jobs), None).await;
    assert_eq!(shown["producers"][0]["script"], "producer");
    assert_eq!(shown["consumers"][0]["script"], "consumer");
    assert_eq!(bench.done("GET", &format!("/queues/{}/metrics", set.jobs), None).await["backlog_count"], 0);
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_fails_is_tried_again_and_ends_among_the_dead_letters() {
    let bench = Bench::start().await;
    let set = set(&bench, json!({ "batch_size": 1, "max_wait_time_ms": 0, "max_retries": 2 })).await;
    bench.get("producer.localhost", "/?fail=yes").await;
    let metrics = format!("/queues/{}/metrics", set.dead);
    let since = Instant::now();
    while bench.done("GET", &metrics, None).await["backlog_count"] != 1 {
        assert!(since.elapsed() < Duration::from_secs(30), "no dead letter");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(bench.json("consumer.localhost", "/").await["jobs/0/date"], "3", "one delivery and two retries");
    // The dead letters have a consumer of their own, now.
    let wanted = json!({ "type": "worker", "script_name": "consumer", "settings": { "batch_size": 1 } });
    bench.done("POST", &format!("/queues/{}/consumers", set.dead), Some(wanted)).await;
    counted(&bench, |counts| counts["dead/0/date"] == "1").await;
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_survive_swaps_and_a_restart() {
    let mut bench = Bench::start().await;
    let set = set(&bench, json!({ "batch_size": 1, "max_wait_time_ms": 0 })).await;
    let queue = format!("/queues/{}", set.jobs);
    bench.done("PATCH", &queue, Some(json!({ "settings": { "delivery_paused": true } }))).await;
    for round in 0..20 {
        bench.get("producer.localhost", &format!("/?n={}", 2)).await;
        bench.release("producer", &format!("{PRODUCER}// {round}"), set.producer.clone()).await;
    }
    bench.restart().await;
    assert_eq!(bench.done("GET", &format!("{queue}/metrics"), None).await["backlog_count"], 40);
    bench.done("PATCH", &queue, Some(json!({ "settings": { "delivery_paused": false } }))).await;
    let since = Instant::now();
    while bench.done("GET", &format!("{queue}/metrics"), None).await["backlog_count"] != 0 {
        assert!(since.elapsed() < Duration::from_secs(60), "not delivered");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_are_managed_and_messages_pulled_over_the_api() {
    let bench = Bench::start().await;
    let made = bench.done("POST", "/queues", Some(json!({ "queue_name": "pulled", "settings": { "delivery_delay": 0 } }))).await;
    let queue = format!("/queues/{}", made["queue_id"].as_str().unwrap());
    assert_eq!(bench.refused("POST", "/queues", Some(json!({ "queue_name": "pulled" }))).await, (409, 11009));
    assert_eq!(bench.refused("POST", "/queues", Some(json!({ "queue_name": "a b" }))).await.0, 400);
    assert_eq!(bench.done("GET", "/queues?name=none", None).await, json!([]));
    assert_eq!(bench.done("GET", "/queues?page=1&name=pulled", None).await[0]["queue_name"], "pulled");
    bench.done("POST", &format!("{queue}/messages"), Some(json!({ "body": { "a": 1 } }))).await;
    assert_eq!(bench.refused("POST", &format!("{queue}/messages/pull"), Some(json!({}))).await.0, 400);
    let consumers = format!("{queue}/consumers");
    let missing = json!({ "type": "worker", "script_name": "none" });
    assert_eq!(bench.refused("POST", &consumers, Some(missing)).await, (404, 10007));
    let wanted = json!({ "type": "http_pull", "settings": { "max_retries": 1 } });
    let consumer = bench.done("POST", &consumers, Some(wanted.clone())).await;
    assert_eq!(bench.refused("POST", &consumers, Some(wanted)).await, (400, 11004));
    for round in 1..=2 {
        let pulled = bench.done("POST", &format!("{queue}/messages/pull"), Some(json!({ "batch_size": 5 }))).await;
        let message = &pulled["messages"][0];
        assert_eq!((&message["body"], &message["attempts"]), (&json!("{\"a\":1}"), &json!(round)));
        let lease = json!([{ "lease_id": message["lease_id"] }]);
        let body = if round == 1 { json!({ "retries": lease }) } else { json!({ "acks": lease }) };
        bench.done("POST", &format!("{queue}/messages/ack"), Some(body)).await;
    }
    assert_eq!(bench.done("GET", &format!("{queue}/metrics"), None).await["backlog_count"], 0);
    let own = format!("{consumers}/{}", consumer["consumer_id"].as_str().unwrap());
    let changed = bench.done("PUT", &own, Some(json!({ "type": "http_pull", "settings": { "batch_size": 7 } }))).await;
    assert_eq!(changed["settings"]["batch_size"], 7);
    bench.done("DELETE", &own, None).await;
    assert_eq!(bench.done("GET", &consumers, None).await, json!([]));
    bench.done("DELETE", &queue, None).await;
    assert_eq!(bench.refused("GET", &queue, None).await, (404, 11000));
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrangler_makes_a_queue_with_producer_and_consumer() {
    let bench = Bench::start().await;
    let folder = tempfile::tempdir().unwrap();
    let project = folder.path();
    let run = async |arguments: &[&str]| wrangler(&bench, project, arguments, "").await;
    run(&["queues", "create", "jobs"]).await;
    let said = run(&["queues", "list"]).await;
    assert!(said.contains("jobs"), "{said}");
    let kv = bench.done("POST", "/storage/kv/namespaces", Some(json!({ "title": "kv" }))).await;
    let code = format!(
        "const sender = {};\nconst taker = {};\nexport default {{ ...taker, fetch(request, env) {{ return request.method === 'POST' ? sender.fetch(request, env) : taker.fetch(request, env); }} }};",
        PRODUCER.trim_start_matches("export default ").trim_end_matches(';'),
        CONSUMER.trim_start_matches("export default ").trim_end_matches(';')
    );
    fs::write(project.join("index.js"), code).unwrap();
    let settings = json!({
        "name": "consumer", "main": "index.js", "compatibility_date": "2026-04-01", "workers_dev": true,
        "kv_namespaces": [{ "binding": "KV", "id": kv["id"] }],
        "queues": {
            "producers": [{ "binding": "Q", "queue": "jobs", "delivery_delay": 0 }],
            "consumers": [{ "queue": "jobs", "max_batch_size": 2, "max_batch_timeout": 1 }],
        },
    });
    fs::write(project.join("wrangler.json"), settings.to_string()).unwrap();
    run(&["deploy"]).await;
    let url = format!("http://{}/?n=2", bench.edge().http_addr());
    let sent = bench.client.post(url).header("host", "consumer.localhost").send().await.unwrap();
    assert_eq!(sent.status(), 200);
    counted(&bench, |counts| counts["jobs/1/date"] == "1").await;
    // A deploy that changes nothing of it puts the same consumer.
    run(&["deploy"]).await;
    let queue = bench.done("GET", "/queues", None).await[0].clone();
    assert_eq!(queue["consumers"][0]["settings"]["batch_size"], 2, "{queue}");
    run(&["queues", "consumer", "remove", "jobs", "consumer"]).await;
    run(&["queues", "consumer", "add", "jobs", "consumer", "--batch-size", "3"]).await;
    assert_eq!(bench.done("GET", "/queues", None).await[0]["consumers"][0]["settings"]["batch_size"], 3);
    run(&["delete", "--force"]).await;
    run(&["queues", "delete", "jobs"]).await;
    assert_eq!(bench.done("GET", "/queues", None).await, json!([]));
    bench.stop().await;
}
