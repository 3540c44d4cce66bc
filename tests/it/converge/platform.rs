//! What somebody else does with Cloudflare's SDK for Python to what an account keeps: seen, and put right. What the API
//! cannot change is deleted by them, and made again.

use serde_json::{Value, json};

use super::scene::{assert_heals, changes, names};
use crate::world::World;
use crate::zones::{ACCOUNT, meddle, world};

const DEFINITIONS: &str = r#"
[r2.media]
storage_class = "Standard"
[r2.archive]
storage_class = "InfrequentAccess"

[tunnel.origin]

[vpc_service.engine]
host = "10.0.0.5"
http_port = 8080
tunnel = "origin"

[vpc_service.database]
type = "tcp"
tcp_port = 5432
host = "db.internal"
tunnel = "origin"

[mtls_certificate.client]
certificate = "certs/client.pem"
private_key = { secret = "client-key" }

[dispatch_namespace.customers]
"#;

async fn account() -> World {
    let world = world(DEFINITIONS).await;
    world.write("certs/client.pem", include_str!("../cloudflare/client.pem"));
    world.set_secret("production", "client-key", include_str!("../cloudflare/client.key"));
    world.commit("A certificate");
    world.apply();
    world.assert_converged();
    world
}

async fn all(world: &World, path: &str) -> Value {
    world.foreign("GET", &format!("/accounts/{ACCOUNT}/{path}"), None).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_sdk_changed_is_put_right_field_by_field() {
    let world = account().await;
    meddle(&world, &["change_buckets", "change_services"]).await;
    assert_heals(
        &world,
        &[
            ("r2.archive", &["storage_class"]),
            ("r2.media", &["storage_class"]),
            ("vpc_service.database", &["host.hostname", "tcp_port"]),
            ("vpc_service.engine", &["host.ipv4", "http_port"]),
        ],
    );
    let buckets = all(&world, "r2/buckets").await["buckets"].clone();
    let class = |name: &str| buckets.as_array().unwrap().iter().find(|b| b["name"] == name).unwrap()["storage_class"].clone();
    assert_eq!((class("media-production"), class("archive-production")), (json!("Standard"), json!("InfrequentAccess")));
    let services = all(&world, "connectivity/directory/services").await;
    let engine = services.as_array().unwrap().iter().find(|s| s["name"] == "engine-production").unwrap();
    assert_eq!((&engine["http_port"], &engine["host"]["ipv4"]), (&json!(8080), &json!("10.0.0.5")));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_sdk_deleted_is_made_again_and_what_is_theirs_stays() {
    let world = account().await;
    let before = all(&world, "mtls_certificates").await[0]["id"].clone();
    meddle(&world, &["make_theirs", "delete_services", "delete_certificates", "delete_namespaces"]).await;
    assert_eq!(
        changes(&world),
        [
            "create dispatch_namespace.customers@main",
            "create mtls_certificate.client@main",
            "create vpc_service.database@main",
            "create vpc_service.engine@main",
        ]
    );
    let gone: &[&str] = &[""];
    assert_heals(
        &world,
        &[
            ("dispatch_namespace.customers", gone),
            ("mtls_certificate.client", gone),
            ("vpc_service.database", gone),
            ("vpc_service.engine", gone),
        ],
    );
    let certificates = all(&world, "mtls_certificates").await;
    assert_eq!(names(&certificates, "name"), ["client-production".to_owned()].into());
    assert_ne!(certificates[0]["id"], before, "it is another one");
    let services = all(&world, "connectivity/directory/services").await;
    assert_eq!(names(&services, "name"), ["database-production", "engine-production", "theirs"].map(str::to_owned).into());
    let namespaces = all(&world, "workers/dispatch/namespaces").await;
    assert_eq!(names(&namespaces, "namespace_name"), ["customers-production", "theirs"].map(str::to_owned).into());
    let buckets = all(&world, "r2/buckets").await["buckets"].clone();
    assert_eq!(names(&buckets, "name"), ["archive-production", "media-production", "theirs"].map(str::to_owned).into());
    world.end().await;
}
