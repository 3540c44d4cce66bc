//! The kinds of the account level: databases, queues with what takes their messages, tunnels and what lies behind them.

use serde_json::{Value, json};
use trunkline::model::Kind;

use super::scene::{ENVIRONMENT, assert_taken_over, desired, import};
use crate::converge::scene::{ACCOUNT, script};
use crate::world::World;

async fn made(world: &World, path: &str, body: Value) -> Value {
    world.foreign("POST", &format!("/accounts/{ACCOUNT}/{path}"), Some(body)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_account_keeps_is_taken_over_and_what_needs_a_secret_is_a_comment() {
    let world = World::empty().await;
    let database = made(&world, "d1/database", json!({ "name": "ads-live" })).await["uuid"].as_str().unwrap().to_owned();
    made(&world, "queues", json!({ "queue_name": "dead" })).await;
    let queue = made(&world, "queues", json!({ "queue_name": "clicks" })).await["queue_id"].as_str().unwrap().to_owned();
    let code = "export default { fetch() { return new Response('w'); }, async queue() {} };";
    world.upload_foreign(ACCOUNT, "writer", code).await;
    let consumer = json!({
        "type": "worker", "script_name": "writer", "dead_letter_queue": "dead",
        "settings": { "batch_size": 7, "max_retries": 2, "max_wait_time_ms": 3000 },
    });
    made(&world, &format!("queues/{queue}/consumers"), consumer).await;
    let origin = json!({ "scheme": "postgres", "host": "db.example.com", "port": 5432, "database": "ads", "user": "me", "password": "hunter22" });
    made(&world, "hyperdrive/configs", json!({ "name": "db", "origin": origin })).await;
    let tunnel = made(&world, "cfd_tunnel", json!({ "name": "origin", "config_src": "cloudflare" })).await["id"].clone();
    let rules = json!({ "config": { "ingress": [
        { "hostname": "api.example.com", "path": "/v1", "service": "http://localhost:8080" },
        { "service": "http_status:404" },
    ] } });
    let path = format!("/accounts/{ACCOUNT}/cfd_tunnel/{}/configurations", tunnel.as_str().unwrap());
    world.foreign("PUT", &path, Some(rules)).await;
    let service = json!({
        "name": "engine", "type": "http", "http_port": 8080,
        "host": { "ipv4": "10.0.0.5", "network": { "tunnel_id": tunnel } },
    });
    made(&world, "connectivity/directory/services", service).await;
    made(&world, "workers/dispatch/namespaces", json!({ "name": "customers" })).await;
    let bindings = json!([
        { "name": "DB", "type": "d1", "id": database },
        { "name": "OUT", "type": "queue", "queue_name": "clicks" },
    ]);
    world.foreign("PATCH", &script("writer", "/settings"), Some(json!({ "bindings": bindings }))).await;

    let ran = import(&world, &[]);
    assert_eq!(ran.status, 0, "{ran:?}");
    let text = |kind: &str| std::fs::read_to_string(world.path(&format!("clone/environments/live/{kind}.toml"))).unwrap();
    let hyperdrive = text("hyperdrive");
    assert!(
        hyperdrive.contains("# [hyperdrive.db]") && hyperdrive.contains("password = { secret = \"db-password\" }"),
        "{hyperdrive}"
    );
    assert!(!hyperdrive.contains("hunter22"));
    assert!(text("vpc_service").contains("tunnel = \"origin\""), "{}", text("vpc_service"));
    let all = desired(&world, ENVIRONMENT);
    let has = |kind: Kind, claim: &str| all.contains_key(&(kind, claim.to_owned()));
    for (kind, claim) in [
        (Kind::D1, "ads-live"),
        (Kind::Queue, "clicks"),
        (Kind::Queue, "dead"),
        (Kind::QueueConsumer, "clicks"),
        (Kind::Tunnel, "origin"),
        (Kind::VpcService, "engine"),
        (Kind::DispatchNamespace, "customers"),
        (Kind::Worker, "writer"),
    ] {
        assert!(has(kind, claim), "{kind} {claim}: {:#?}\n{}", all.keys(), ran.err);
    }
    assert!(!has(Kind::Hyperdrive, "db"));
    assert_taken_over(&world, &["writer"]);
    world.end().await;
}
