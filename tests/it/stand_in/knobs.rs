//! What tests need of it: that it is off unless asked for, keeps what it said, lags and fails on demand.

use serde_json::json;

use crate::edge::bench::Bench;

const RECORD: &str = r#"{ "type": "A", "name": "a.example.com", "content": "192.0.2.1", "ttl": 1 }"#;

async fn zone(bench: &Bench) -> String {
    bench.done("GET", "/client/v4/zones?name=example.com", None).await[0]["id"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn without_it_an_edge_has_no_dns_and_says_so() {
    let bench = Bench::start().await;
    let zone = zone(&bench).await;
    let records = format!("/client/v4/zones/{zone}/dns_records");
    for path in [records.as_str(), "/cfd_tunnel", "/workers/dispatch/namespaces", "/__purges"] {
        assert_eq!(bench.refused("GET", path, None).await, (404, 7003), "{path}");
    }
    assert_eq!(bench.done("GET", "/workers/domains", None).await, json!([]));
    // Custom domains are of the edge itself; one that names no host is none.
    assert_eq!(bench.refused("PUT", "/workers/domains", Some(json!({}))).await, (400, 10026));
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_outlive_the_edge_and_lists_lag_on_demand() {
    let mut bench = Bench::start_with(|options| options.stand_in = true).await;
    let zone = zone(&bench).await;
    let records = format!("/client/v4/zones/{zone}/dns_records");
    bench.done("POST", "/__lists", Some(json!({ "delay_ms": 3_600_000 }))).await;
    let made = bench.done("POST", &records, Some(serde_json::from_str(RECORD).unwrap())).await;
    assert_eq!(bench.done("GET", &records, None).await, json!([]), "the list does not show it yet");
    let path = format!("{records}/{}", made["id"].as_str().unwrap());
    assert_eq!(bench.done("GET", &path, None).await, made, "the record itself does");
    bench.done("POST", "/__lists", Some(json!({ "delay_ms": 0 }))).await;
    assert_eq!(bench.done("GET", &records, None).await, json!([made]));

    // A fault after the effect: the caller does not know, the record is there.
    let fault = json!({ "match": "DELETE .*dns_records", "status": 503, "after_effect": true });
    bench.done("POST", "/__faults", Some(fault)).await;
    assert_eq!(bench.call("DELETE", &path, None).await.0, 503);
    assert_eq!(bench.refused("DELETE", &path, None).await, (404, 81044));

    let made = bench.done("POST", &records, Some(serde_json::from_str(RECORD).unwrap())).await;
    bench.restart_with(|options| options.stand_in = true).await;
    assert_eq!(bench.done("GET", &records, None).await, json!([made]));
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn purges_are_recorded_and_bounded() {
    let bench = Bench::start_with(|options| options.stand_in = true).await;
    let zone = zone(&bench).await;
    let path = |call: &str| format!("/client/v4/zones/{zone}/{call}");
    bench.done("POST", &path("invalidate_cache"), Some(json!({ "prefixes": ["example.com/static"] }))).await;
    bench.done("POST", &path("purge_cache"), Some(json!({ "purge_everything": true }))).await;
    let many: Vec<String> = (0..101).map(|n| format!("tag{n}")).collect();
    assert_eq!(bench.refused("POST", &path("purge_cache"), Some(json!({ "tags": many }))).await, (400, 1094));
    assert_eq!(bench.refused("POST", &path("purge_cache"), Some(json!({}))).await, (400, 1012));
    let recorded = bench.done("GET", "/__purges", None).await;
    let modes: Vec<_> = recorded.as_array().unwrap().iter().map(|purge| purge["mode"].as_str().unwrap()).collect();
    assert_eq!(modes, ["invalidate", "purge"], "{recorded}");
    assert_eq!((&recorded[0]["zone"], &recorded[0]["prefixes"]), (&json!("example.com"), &json!(["example.com/static"])));
    bench.stop().await;
}
