//! One resource on two targets: two instances, each with a life of its own.

use std::time::Duration;

use trunkline::edge;
use trunkline::model::Secret;

use super::scene::{PRODUCTION, changes};
use crate::edge::bench::workerd;
use crate::proxy::Proxy;
use crate::world::{TOKEN, World};

#[tokio::test(flavor = "multi_thread")]
async fn each_target_has_its_own_instance() {
    let world = World::with_production().await;
    let folder = tempfile::tempdir().unwrap();
    let loopback = "127.0.0.1:0".parse().unwrap();
    let mut options = edge::Options::new(loopback, loopback, folder.path().into(), Secret::new(TOKEN.as_bytes().to_vec()));
    options.linger = Duration::ZERO;
    options.workerd = Some(workerd());
    let second = edge::start(options).await.unwrap();
    let proxy = Proxy::start(second.api_addr()).await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let get = async |path: &str| {
        let url = format!("http://{}{path}", second.http_addr());
        client.get(url).header("host", "api.example.com").send().await.unwrap().text().await.unwrap()
    };
    world.edit(
        PRODUCTION,
        "[kv.counts]",
        &format!(
            "[edge.other]\nendpoint = \"http://{}/client/v4\"\napi_token = {{ secret = \"edge-token\" }}\n\n[kv.counts]",
            proxy.address
        ),
    );
    world.commit("Another edge");
    world.apply();
    world.assert_converged();
    assert_eq!(world.status("production")["owned"], 6);
    assert_eq!([get("/").await, get("/count").await, get("/count").await], ["hello with key", "1", "2"]);
    assert_eq!(world.get("api.example.com", "/count").await.1, "1", "each has its own data");

    // What drifted on one is healed there, and the other gets no write.
    let drifted = "/client/v4/accounts/00000000000000000000000000000000/workers/scripts/api-production/subdomain";
    let response = client
        .post(format!("http://{}{drifted}", second.api_addr()))
        .bearer_auth(TOKEN)
        .json(&serde_json::json!({ "enabled": true }))
        .send()
        .await
        .unwrap();
    assert!(response.status().is_success());
    assert_eq!(changes(&world), ["update worker.api@other"]);
    world.proxy.reset();
    proxy.reset();
    world.apply();
    world.assert_converged();
    assert_eq!(world.proxy.writes(), [""; 0]);
    assert_eq!(proxy.writes(), [format!("POST {drifted}")]);

    // A Worker that leaves one target is pruned there and stays on the other.
    world.edit(PRODUCTION, "[worker.api]", "[worker.api]\non = { targets = [\"local\"] }");
    world.commit("On one of them only");
    assert_eq!(changes(&world), ["delete worker.api@other"]);
    world.apply();
    world.assert_converged();
    assert_ne!(get("/").await, "hello with key");
    assert_eq!(world.get("api.example.com", "/").await.1, "hello with key");
    assert_eq!(world.status("production")["owned"], 5);
    second.stop().await;
    world.end().await;
}
