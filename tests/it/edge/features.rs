//! What a Worker finds on the edge: bindings, routes, crons, shares, streams, sockets.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::bench::{Bench, TOKEN};

#[tokio::test(flavor = "multi_thread")]
async fn bindings_of_every_kind_reach_the_worker() {
    let bench = Bench::start().await;
    let target = r#"import { WorkerEntrypoint } from "cloudflare:workers";
export class Clicks extends WorkerEntrypoint { add(n) { return n + 1; } }
export default { fetch() { return new Response("target"); } };"#;
    bench.put("target", target, json!([])).await;
    let kv = bench.done("POST", "/storage/kv/namespaces", Some(json!({ "title": "kv" }))).await;
    let id = kv["id"].as_str().unwrap();
    let code = r#"import text from "./note.txt";
import { name } from "./lib/name.js";
export default {
  async fetch(request, env) {
    const called = await (await env.TARGET.fetch("http://x/")).text();
    await env.KV.put("from-worker", "w", { metadata: { a: 1 } });
    return Response.json({ called, added: await env.CLICKS.add(41), conf: env.CONF, plain: env.PLAIN, secret: env.SECRET,
      api: await env.KV.get("from-api"), text, name, id: env.META.id, url: request.url, ip: request.headers.get("cf-connecting-ip") });
  }
};"#;
    let tricky = "quotes \" and \\ and \n and é and \u{1}";
    let metadata = json!({ "main_module": "index.js", "compatibility_date": "2026-06-01", "bindings": [
        { "name": "TARGET", "type": "service", "service": "target" },
        { "name": "CLICKS", "type": "service", "service": "target", "entrypoint": "Clicks" },
        { "name": "CONF", "type": "json", "json": { "deep": [1, "two"] } },
        { "name": "PLAIN", "type": "plain_text", "text": tricky },
        { "name": "SECRET", "type": "secret_text", "text": tricky },
        { "name": "KV", "type": "kv_namespace", "namespace_id": id },
        { "name": "META", "type": "version_metadata" },
    ] });
    let modules = [
        ("note.txt", "text/plain", "a note"),
        ("lib/name.js", "application/javascript+module", "export const name = 'lib';"),
        ("index.js", "application/javascript+module", code),
    ];
    let (status, answer) = bench.upload("PUT", "/workers/scripts/app", &metadata, &modules).await;
    assert_eq!(status, 200, "{answer}");
    bench.done("POST", "/workers/scripts/app/subdomain", Some(json!({ "enabled": true }))).await;
    let values = format!("/storage/kv/namespaces/{id}");
    let put = bench.client.put(bench.account_url(&format!("{values}/values/from-api"))).bearer_auth(TOKEN).body("a");
    assert_eq!(put.send().await.unwrap().status(), 200);
    let (status, said) = bench.get("app.localhost", "/x?y").await;
    assert_eq!(status, 200, "{said}");
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    let version = bench.done("GET", "/workers/scripts/app/versions", None).await["items"][0]["id"].clone();
    let expected = json!({
        "called": "target", "added": 42, "conf": { "deep": [1, "two"] }, "plain": tricky, "secret": tricky, "api": "a",
        "text": "a note", "name": "lib", "id": version, "url": "http://app.localhost/x?y", "ip": "127.0.0.1",
    });
    assert_eq!(said, expected);
    let keys = bench.done("GET", &format!("{values}/keys"), None).await;
    assert_eq!(keys, json!([{ "name": "from-api" }, { "name": "from-worker", "metadata": { "a": 1 } }]));
    assert_eq!(bench.done("GET", &format!("{values}/metadata/from-worker"), None).await, json!({ "a": 1 }));
    // What is bound is not deleted.
    assert_eq!(bench.refused("DELETE", &values, None).await.1, 10037);
    assert_eq!(bench.refused("DELETE", "/workers/scripts/target", None).await.1, 10064);
    bench.done("DELETE", "/workers/scripts/app", None).await;
    bench.done("DELETE", &values, None).await;
    assert_eq!(bench.refused("GET", &format!("{values}/keys"), None).await.0, 404);
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kv_pages_and_bulk_calls() {
    let bench = Bench::start().await;
    for title in ["c", "a", "b"] {
        bench.done("POST", "/storage/kv/namespaces", Some(json!({ "title": title }))).await;
    }
    assert_eq!(bench.refused("POST", "/storage/kv/namespaces", Some(json!({ "title": "a" }))).await.1, 10014);
    let page = bench.done("GET", "/storage/kv/namespaces?per_page=2&order=title", None).await;
    assert_eq!((page[0]["title"].as_str(), page[1]["title"].as_str()), (Some("a"), Some("b")));
    assert_eq!(bench.done("GET", "/storage/kv/namespaces?per_page=2&page=3", None).await, json!([]));
    let base = format!("/storage/kv/namespaces/{}", page[0]["id"].as_str().unwrap());
    let pairs: Vec<_> = (0..30).map(|n| json!({ "key": format!("k/{n:02}"), "value": "v", "metadata": { "n": n } })).collect();
    let put = bench.done("PUT", &format!("{base}/bulk"), Some(json!(pairs))).await;
    assert_eq!(put["successful_key_count"], 30);
    let (_, first) = bench.call("GET", &format!("{base}/keys?limit=20&prefix=k/"), None).await;
    let cursor = first["result_info"]["cursor"].as_str().unwrap();
    let (_, second) = bench.call("GET", &format!("{base}/keys?limit=20&prefix=k/&cursor={cursor}"), None).await;
    assert_eq!((first["result"].as_array().unwrap().len(), second["result"].as_array().unwrap().len()), (20, 10));
    let got = bench.done("POST", &format!("{base}/bulk/get"), Some(json!({ "keys": ["k/00", "none"] }))).await;
    assert_eq!(got["values"], json!({ "k/00": "v", "none": null }));
    bench.done("POST", &format!("{base}/bulk/delete"), Some(json!(["k/00"]))).await;
    assert_eq!(bench.refused("GET", &format!("{base}/values/k%2F00"), None).await, (404, 10009));
    assert_eq!(bench.refused("PUT", &format!("{base}/values/x?expiration_ttl=1"), None).await.0, 400);
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_lead_to_workers_and_one_pattern_has_one_owner() {
    let bench = Bench::start().await;
    for name in ["site", "api"] {
        bench.put(name, &format!("export default {{ fetch(r) {{ return new Response('{name} ' + r.url) }} }}"), json!([])).await;
    }
    let zone = bench.done("GET", "/client/v4/zones?name=example.com", None).await[0]["id"].as_str().unwrap().to_owned();
    let routes = format!("/client/v4/zones/{zone}/workers/routes");
    let site = bench.done("POST", &routes, Some(json!({ "pattern": "*example.com/*", "script": "site" }))).await;
    bench.done("PUT", "/workers/scripts/api/routes", Some(json!([{ "pattern": "example.com/api/*", "zone_id": zone }]))).await;
    assert_eq!(bench.get("Example.com:80", "/api/x?q=1").await.1, "api http://Example.com:80/api/x?q=1");
    assert!(bench.get("www.example.com", "/api/x").await.1.starts_with("site "));
    assert_eq!(bench.refused("POST", &routes, Some(json!({ "pattern": "*example.com/*", "script": "api" }))).await, (409, 10020));
    assert_eq!(bench.refused("POST", &routes, Some(json!({ "pattern": "other.org/*", "script": "api" }))).await.1, 10022);
    assert_eq!(bench.refused("POST", &routes, Some(json!({ "pattern": "example.com/b", "script": "none" }))).await.1, 10007);
    let path = format!("{routes}/{}", site["id"].as_str().unwrap());
    bench.done("PUT", &path, Some(json!({ "pattern": "www.example.com/*", "script": "site" }))).await;
    assert_eq!(bench.get("example.com", "/").await.0, 404);
    bench.done("DELETE", &path, None).await;
    bench.done("DELETE", "/workers/scripts/api", None).await;
    assert_eq!(bench.done("GET", &routes, None).await, json!([]));
    bench.stop().await;
}

const CRON: &str = r#"export default {
  async scheduled(event, env) {
    if (event.cron === "1 1 1 1 *") throw new Error("cron fails");
    await env.KV.put("cron", `${event.cron} ${event.scheduledTime}`);
  },
  async fetch(request, env) { return new Response(await env.KV.get("cron") ?? "never"); }
};"#;

#[tokio::test(flavor = "multi_thread")]
async fn crons_call_the_handler_at_the_minute() {
    let bench = Bench::start().await;
    let kv = bench.done("POST", "/storage/kv/namespaces", Some(json!({ "title": "kv" }))).await;
    bench.put("app", CRON, json!([{ "name": "KV", "type": "kv_namespace", "namespace_id": kv["id"] }])).await;
    assert_eq!(bench.refused("PUT", "/workers/scripts/app/schedules", Some(json!([{ "cron": "* * * * 0" }]))).await.1, 10100);
    let schedules = bench.done("PUT", "/workers/scripts/app/schedules", Some(json!([{ "cron": "* * * * *" }]))).await;
    assert_eq!(schedules["schedules"][0]["cron"], "* * * * *");
    let now = json!({ "script": "app", "cron": "0 0 * * *", "time": 1_700_000_000_000_i64 });
    bench.done("POST", "/__cron", Some(now)).await;
    assert_eq!(bench.get("app.localhost", "/").await.1, "0 0 * * * 1700000000000");
    bench.refused("POST", "/__cron", Some(json!({ "script": "app", "cron": "1 1 1 1 *" }))).await;
    // The real clock: within a minute and a little.
    let since = Instant::now();
    loop {
        let said = bench.get("app.localhost", "/").await.1;
        if let Some(time) = said.strip_prefix("* * * * * ") {
            assert_eq!(time.parse::<i64>().unwrap() % 60_000, 0, "{said}");
            break;
        }
        assert!(since.elapsed() < Duration::from_secs(70), "no cron within a minute: {said}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_of_two_versions_shares_requests_and_an_override_picks_one() {
    let bench = Bench::start().await;
    let text = |n| format!("export default {{ fetch() {{ return new Response('{n}') }} }}");
    bench.put("app", &text(1), json!([])).await;
    let one = bench.done("GET", "/workers/scripts/app/versions", None).await["items"][0]["id"].as_str().unwrap().to_owned();
    let two = bench.release("app", &text(2), json!([])).await;
    let versions = json!([{ "version_id": one, "percentage": 50 }, { "version_id": two, "percentage": 50 }]);
    bench.done("POST", "/workers/scripts/app/deployments", Some(json!({ "strategy": "percentage", "versions": versions }))).await;
    let mut seen = std::collections::BTreeMap::<String, usize>::new();
    for _ in 0..200 {
        *seen.entry(bench.get("app.localhost", "/").await.1).or_default() += 1;
    }
    assert!(seen["1"] > 50 && seen["2"] > 50, "{seen:?}");
    for _ in 0..10 {
        let request = bench.client.get(format!("http://{}/", bench.edge().http_addr())).header("host", "app.localhost");
        let request = request.header("Cloudflare-Workers-Version-Overrides", format!("app=\"{one}\""));
        assert_eq!(request.send().await.unwrap().text().await.unwrap(), "1");
    }
    let wrong = json!({ "strategy": "percentage", "versions": [{ "version_id": one, "percentage": 50 }] });
    assert_eq!(bench.refused("POST", "/workers/scripts/app/deployments", Some(wrong)).await.0, 400);
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_stream_and_sockets_are_upgraded() {
    let bench = Bench::start().await;
    let code = r#"export default {
  async fetch(request) {
    if (request.headers.get("upgrade") === "websocket") {
      const [client, server] = Object.values(new WebSocketPair());
      server.accept();
      server.addEventListener("message", event => server.send("echo " + event.data));
      return new Response(null, { status: 101, webSocket: client });
    }
    const { readable, writable } = new TransformStream();
    (async () => {
      const writer = writable.getWriter();
      await writer.write(new TextEncoder().encode("first"));
      await new Promise(done => setTimeout(done, 8000));
      await writer.write(new TextEncoder().encode("second"));
      await writer.close();
    })();
    return new Response(readable);
  }
};"#;
    bench.put("app", code, json!([])).await;
    let since = Instant::now();
    let mut response =
        bench.client.get(format!("http://{}/", bench.edge().http_addr())).header("host", "app.localhost").send().await.unwrap();
    assert_eq!(response.chunk().await.unwrap().unwrap(), "first");
    assert!(since.elapsed() < Duration::from_millis(7500), "the first part came late");
    assert_eq!(response.text().await.unwrap(), "second");

    let mut stream = tokio::net::TcpStream::connect(bench.edge().http_addr()).await.unwrap();
    let head = "GET / HTTP/1.1\r\nHost: app.localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut said = Vec::new();
    while !said.windows(4).any(|w| w == b"\r\n\r\n") {
        said.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(said).unwrap().to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 101") && head.contains("s3pplmbitxaq9kygzzhzrbk+xoo="), "{head}");
    // A masked text frame `hi` with a mask of zeroes, and the answer `echo hi`.
    stream.write_all(&[0x81, 0x82, 0, 0, 0, 0, b'h', b'i']).await.unwrap();
    let mut frame = [0; 9];
    stream.read_exact(&mut frame).await.unwrap();
    assert_eq!(&frame, b"\x81\x07echo hi");
    drop(stream);
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_injected_fault_hides_the_answer_and_not_the_effect() {
    let bench = Bench::start().await;
    bench.done("POST", "/__faults", Some(json!({ "match": "POST .*namespaces", "status": 503, "after_effect": true }))).await;
    assert_eq!(bench.call("POST", "/storage/kv/namespaces", Some(json!({ "title": "a" }))).await.0, 503);
    assert_eq!(bench.done("GET", "/storage/kv/namespaces", None).await[0]["title"], "a");
    bench.done("POST", "/__faults", Some(json!({ "match": "POST .*namespaces", "status": 429, "retry_after": 1 }))).await;
    assert_eq!(bench.call("POST", "/storage/kv/namespaces", Some(json!({ "title": "b" }))).await.0, 429);
    assert_eq!(bench.done("GET", "/storage/kv/namespaces", None).await.as_array().unwrap().len(), 1);
    assert_eq!(bench.done("GET", "/__faults", None).await, json!([]));
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn private_addresses_are_out_of_reach_unless_allowed() {
    let code = r#"export default {
  async fetch(request) {
    try { return await fetch(request.headers.get("x-target"), { headers: { host: "other" } }); }
    catch (error) { return new Response("refused", { status: 500 }); }
  }
};"#;
    for (allowed, expected) in [(false, 500), (true, 404)] {
        let bench = Bench::start_with(|options| options.private_network = allowed).await;
        bench.put("app", code, json!([])).await;
        // The front itself is the origin: it has no Worker for its address and says 404.
        let front = format!("http://{}/", bench.edge().http_addr());
        let request = bench.client.get(&front).header("host", "app.localhost").header("x-target", &front);
        assert_eq!(request.send().await.unwrap().status(), expected);
        bench.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_custom_domain_leads_a_whole_host_to_its_worker() {
    let mut bench = Bench::start().await;
    for name in ["site", "api"] {
        bench.put(name, &format!("export default {{ fetch(r) {{ return new Response('{name}') }} }}"), json!([])).await;
    }
    let wanted = json!({ "hostname": "Www.example.com", "service": "site", "zone_name": "example.com" });
    let made = bench.done("PUT", "/workers/domains", Some(wanted)).await;
    assert_eq!(bench.get("www.example.com", "/any").await, (200, "site".to_owned()));
    let listed = bench.done("GET", "/workers/domains?service=site", None).await;
    assert_eq!((&listed[0]["hostname"], &listed[0]["zone_name"]), (&json!("www.example.com"), &json!("example.com")));
    assert_eq!(bench.done("GET", "/workers/domains?service=api", None).await, json!([]));
    // What wrangler does for a Worker whose file names a custom domain, with and without the word to take it.
    let records = |take: bool| json!({ "override_scope": true, "override_existing_origin": take, "origins": [{ "hostname": "www.example.com" }] });
    assert_eq!(bench.refused("PUT", "/workers/scripts/api/domains/records", Some(records(false))).await, (409, 100_116));
    bench.done("PUT", "/workers/scripts/api/domains/records", Some(records(true))).await;
    bench.restart().await;
    assert_eq!(bench.get("www.example.com", "/any").await.1, "api");
    let missing = json!({ "hostname": "x.example.com", "service": "none", "zone_name": "example.com" });
    assert_eq!(bench.refused("PUT", "/workers/domains", Some(missing)).await, (404, 10007));
    let outside = json!({ "hostname": "x.example.org", "service": "api", "zone_name": "example.com" });
    assert_eq!(bench.refused("PUT", "/workers/domains", Some(outside)).await.0, 400);
    bench.done("DELETE", &format!("/workers/domains/{}", made["id"].as_str().unwrap()), None).await;
    assert_eq!(bench.get("www.example.com", "/any").await.0, 404);
    bench.stop().await;
}
