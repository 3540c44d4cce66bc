//! What other clients of the REST API did.

use serde_json::json;

use super::scene::{
    ACCOUNT, PRODUCTION, assert_heals, bindings, changes, foreign_namespace, kv, names, namespace, script, tamper, zone,
};
use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_ours_is_healed() {
    let world = World::with_production().await;
    world.apply();
    let zone = zone(&world).await;

    // Crons are in no list: a plan reads them.
    world.foreign("PUT", &script("api-production", "/schedules"), Some(json!([{ "cron": "9 9 * * *" }]))).await;
    assert_heals(&world, &[("worker.api", &["crons.\"0 3 * * *\""])]);
    let crons = world.foreign("GET", &script("api-production", "/schedules"), None).await;
    assert_eq!(names(&crons["schedules"], "cron"), ["0 3 * * *", "9 9 * * *"].map(str::to_owned).into());

    tamper(&world, "tampered").await;
    assert_eq!(world.get("api.example.com", "/").await.1, "tampered with key");
    // A version of theirs holds secrets that nobody can read: they are set again.
    assert_heals(&world, &[("worker.api", &["bindings.GREETING.text", "bindings.KEY.text"])]);

    let routes = world.foreign("GET", &format!("/zones/{zone}/workers/routes"), None).await;
    let route = routes[0]["id"].as_str().unwrap();
    world.foreign("DELETE", &format!("/zones/{zone}/workers/routes/{route}"), None).await;
    world.foreign("POST", &script("api-production", "/subdomain"), Some(json!({ "enabled": true }))).await;
    assert_eq!(world.get("api.example.com", "/").await.0, 404);
    assert_heals(&world, &[("worker.api", &["routes.\"api.example.com/*\"", "workers_dev"])]);
    assert_eq!(world.get("api.example.com", "/").await.1, "hello with key");

    // The edge refuses to delete a namespace that is in use, as long as its binding is there.
    let id = namespace(&world, "counts-production").await.unwrap();
    world.foreign("DELETE", &script("api-production", ""), None).await;
    world.foreign("DELETE", &kv(&format!("/{id}")), None).await;
    assert_eq!(changes(&world), ["create kv.counts@local", "create worker.api@local"]);
    assert_heals(&world, &[("kv.counts", &[""]), ("worker.api", &[""])]);
    assert_ne!(namespace(&world, "counts-production").await.unwrap(), id);
    assert_eq!(world.get("api.example.com", "/count").await.1, "1", "the data went with the namespace");

    let id = namespace(&world, "counts-production").await.unwrap();
    world.foreign("PUT", &kv(&format!("/{id}")), Some(json!({ "title": "renamed by hand" }))).await;
    assert_heals(&world, &[("kv.counts", &["title"])]);
    assert_eq!(world.get("api.example.com", "/count").await.1, "2", "it is the same namespace");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_ours_survives_everything() {
    let world = World::with_production().await;
    world.apply();
    let zone = zone(&world).await;
    let settings = script("api-production", "/script-settings");
    let tags = world.foreign("GET", &settings, None).await["tags"].clone();
    let all: Vec<_> = tags.as_array().unwrap().iter().cloned().chain([json!("theirs")]).collect();
    world.foreign("PATCH", &settings, Some(json!({ "tags": all }))).await;
    tamper(&world, "hello").await;
    let secret = json!({ "name": "THEIR_SECRET", "type": "secret_text", "text": "x" });
    world.foreign("PUT", &script("api-production", "/secrets"), Some(secret)).await;
    let crons = json!([{ "cron": "0 3 * * *" }, { "cron": "9 9 * * *" }]);
    world.foreign("PUT", &script("api-production", "/schedules"), Some(crons)).await;
    let route = json!({ "pattern": "theirs.example.com/*", "script": "api-production" });
    world.foreign("POST", &format!("/zones/{zone}/workers/routes"), Some(route)).await;
    let id = foreign_namespace(&world, "theirs").await;
    std::fs::write(world.host("/etc/engine/theirs.conf"), "theirs").unwrap();

    // Everything of ours changes, then everything of ours that holds no data goes.
    world.apply();
    world.assert_converged();
    world.edit(PRODUCTION, "\"0 3 * * *\"", "\"0 4 * * *\"");
    world.edit(PRODUCTION, "pattern = \"api.example.com/*\"", "pattern = \"www.example.com/*\"");
    world.edit(PRODUCTION, "GREETING = \"hello\"", "GREETING = \"good evening\"");
    world.edit(PRODUCTION, "KEY = { secret = \"key\" }\n", "");
    world.edit(PRODUCTION, "[kv.counts]", "[kv.counts]\ntitle = \"counts\"");
    world.commit("Change everything");
    assert_eq!(changes(&world), ["update kv.counts@local", "update worker.api@local"]);
    world.apply();
    world.assert_converged();
    let ours_and_theirs = ["COUNTS", "GREETING", "THEIRS", "THEIR_SECRET"].map(str::to_owned).into();
    assert_eq!(bindings(&world, "api-production").await, ours_and_theirs);
    let crons = world.foreign("GET", &script("api-production", "/schedules"), None).await;
    assert_eq!(names(&crons["schedules"], "cron"), ["0 4 * * *", "9 9 * * *"].map(str::to_owned).into());
    let patterns = names(&world.foreign("GET", &format!("/zones/{zone}/workers/routes"), None).await, "pattern");
    assert_eq!(patterns, ["theirs.example.com/*", "www.example.com/*"].map(str::to_owned).into());
    assert_eq!(world.get("theirs.example.com", "/").await.1, "good evening without key");
    let tags = world.foreign("GET", &settings, None).await["tags"].clone();
    assert!(tags.as_array().unwrap().contains(&json!("theirs")), "{tags}");
    assert!(tags.as_array().unwrap().contains(&json!("trunkline:production/worker.api")), "{tags}");
    let keys = world.foreign("GET", &kv(&format!("/{id}/keys")), None).await;
    assert_eq!(names(&keys, "name"), ["theirs".to_owned()].into());

    world.edit(PRODUCTION, "digest_key = { secret = \"digest-key\" }", "digest_key = { secret = \"digest-key\" }\nretire = true");
    world.commit("End it\n\nAcknowledge: production/kv.counts delete\nAcknowledge: production delete-budget");
    world.apply();
    let scripts = world.foreign("GET", &format!("/accounts/{ACCOUNT}/workers/scripts"), None).await;
    assert_eq!(scripts, json!([]), "ours is gone");
    assert!(namespace(&world, "counts").await.is_none());
    assert_eq!(namespace(&world, "theirs").await, Some(id.clone()));
    let keys = world.foreign("GET", &kv(&format!("/{id}/keys")), None).await;
    assert_eq!(names(&keys, "name"), ["theirs".to_owned()].into());
    assert!(!world.host("/etc/engine/engine.conf").exists() && !world.host("/etc/motd").exists());
    assert_eq!(std::fs::read_to_string(world.host("/etc/engine/theirs.conf")).unwrap(), "theirs");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_there_before_us_is_left_until_it_is_adopted() {
    let world = World::with_production().await;
    // A namespace and a file stand where ours are to be.
    let id = foreign_namespace(&world, "counts-production").await;
    std::fs::create_dir_all(world.host("/etc")).unwrap();
    std::fs::write(world.host("/etc/motd"), "theirs").unwrap();
    let plan = super::scene::plan(&world);
    let mut blocked: Vec<String> = plan["blocked"]
        .as_array()
        .unwrap()
        .iter()
        .map(|b| format!("{} {}", b["address"], b["reason"]).replace('"', ""))
        .collect();
    blocked.sort();
    assert_eq!(blocked, ["production/file.motd not_ours", "production/kv.counts not_ours", "production/worker.api dependency"]);

    // What is not in the way is applied all the same; the environment is not ready, and says why.
    let ran = world.trunkline(&["apply"]);
    assert_eq!(ran.status, 1, "{ran:?}");
    let status = world.status("production");
    assert_eq!((status["condition"].as_str(), status["reason"].as_str()), (Some("Stalled"), Some("not_ours")), "{status:#}");
    assert!(world.host("/etc/engine/engine.conf").exists());
    assert_eq!(std::fs::read_to_string(world.host("/etc/motd")).unwrap(), "theirs");
    assert_eq!(world.foreign("GET", &format!("/accounts/{ACCOUNT}/workers/scripts"), None).await, json!([]));

    world.edit(PRODUCTION, "[kv.counts]", "[kv.counts]\nadopt = true");
    world.edit(PRODUCTION, "path = \"/etc/motd\"", "path = \"/etc/motd\"\nadopt = true");
    world.commit("Take them over");
    // What can carry no mark is ours as soon as it is what the definition says: that is a record, and no change.
    assert_eq!(changes(&world), ["adopt file.motd@origin", "create worker.api@local"]);
    world.apply();
    world.assert_converged();
    assert_eq!(std::fs::read_to_string(world.host("/etc/motd")).unwrap(), "kept by trunkline\n");
    assert_eq!(namespace(&world, "counts-production").await, Some(id.clone()));
    let keys = world.foreign("GET", &kv(&format!("/{id}/keys")), None).await;
    assert_eq!(names(&keys, "name"), ["theirs".to_owned()].into());
    world.end().await;
}
