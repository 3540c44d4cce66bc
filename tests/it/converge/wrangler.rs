//! What people do with wrangler is drift where it is about what is ours, and survives where it is not.

use super::scene::{assert_heals, bindings, changes, namespace, wrangler};
use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn what_wrangler_did_is_seen_and_healed_and_what_is_theirs_survives() {
    let world = World::with_production().await;
    world.apply();
    assert_eq!(world.get("api.example.com", "/count").await.1, "1");
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str], input: &str| wrangler(&world, folder.path(), arguments, input);

    // Another Worker's name, code and vars over ours. wrangler drops every binding that its file does not name, but
    // for secrets.
    std::fs::write(folder.path().join("index.js"), "export default { fetch: () => new Response('deployed by hand') };").unwrap();
    std::fs::write(
        folder.path().join("wrangler.json"),
        r#"{"name":"api-production","main":"index.js","compatibility_date":"2026-04-01","workers_dev":true,"vars":{"GREETING":"by hand"}}"#,
    )
    .unwrap();
    run(&["deploy"], "");
    assert_eq!(world.get("api.example.com", "/").await.1, "deployed by hand");
    assert_heals(
        &world,
        &[(
            "worker.api",
            &[
                "bindings.COUNTS",
                "bindings.GREETING.text",
                "bindings.KEY.text",
                "compatibility_date",
                "modules.\"index.js\".content",
                "workers_dev",
            ],
        )],
    );
    assert_eq!(world.get("api.example.com", "/").await.1, "hello with key");
    assert_eq!(world.get("api.example.com", "/count").await.1, "2", "the same namespace");

    // Our secret with another value, a secret of theirs, a namespace of theirs.
    std::fs::remove_file(folder.path().join("wrangler.json")).unwrap();
    run(&["secret", "put", "KEY", "--name", "api-production"], "theirs");
    run(&["secret", "put", "THEIRS", "--name", "api-production"], "theirs");
    run(&["kv", "namespace", "create", "theirs"], "");
    assert_heals(&world, &[("worker.api", &["bindings.KEY.text"])]);
    assert!(bindings(&world, "api-production").await.contains("THEIRS"));
    assert!(namespace(&world, "theirs").await.is_some());

    run(&["delete", "--name", "api-production", "--force"], "");
    assert_eq!(world.get("api.example.com", "/").await.0, 404);
    assert_eq!(changes(&world), ["create worker.api@local"]);
    assert_heals(&world, &[("worker.api", &[""])]);
    assert_eq!(world.get("api.example.com", "/").await.1, "hello with key");
    assert_eq!(world.get("api.example.com", "/count").await.1, "3", "the same namespace");
    world.end().await;
}
