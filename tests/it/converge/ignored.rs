//! `ignore` in the whole program: what others change there stays, at every pass and through every apply.

use serde_json::json;

use super::scene::{PRODUCTION, bindings, changes, drift, script, tamper};
use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_ignored_is_made_once_and_then_left_to_others() {
    let world = World::with_production().await;
    world.edit(
        PRODUCTION,
        "[worker.api]\n",
        "[worker.api]\nignore = [\"bindings.GREETING\", \"bindings.KEY\", \"crons\", \"compatibility_date\"]\n",
    );
    world.commit("Leave some of it to others");
    world.apply();
    world.assert_converged();
    assert_eq!(world.get("api.example.com", "/").await.1, "hello with key", "it is made as it is defined");

    tamper(&world, "theirs").await;
    let crons = json!([{ "cron": "1 2 3 * *" }]);
    world.foreign("PUT", &script("api-production", "/schedules"), Some(crons.clone())).await;
    assert!(drift(&world).is_empty());
    world.proxy.reset();
    world.apply();
    world.assert_converged();
    assert_eq!(world.proxy.writes(), [""; 0]);

    // A change of something else uploads a version: what is ignored goes with it as it is.
    world.edit(PRODUCTION, "vars = { GREETING = \"hello\" }", "vars = { GREETING = \"good day\", MORE = \"more\" }");
    world.edit(PRODUCTION, "2026-11-01", "2026-10-01");
    world.commit("A greeting that nobody will see, and a var");
    assert_eq!(changes(&world), ["update worker.api@local"]);
    world.apply();
    world.assert_converged();
    assert_eq!(world.get("api.example.com", "/").await.1, "theirs with key");
    let names = bindings(&world, "api-production").await;
    assert!(["GREETING", "MORE", "THEIRS"].iter().all(|name| names.contains(*name)), "{names:?}");
    let live = world.foreign("GET", &script("api-production", "/schedules"), None).await;
    assert_eq!(live["schedules"][0]["cron"], "1 2 3 * *");
    assert_eq!(live["schedules"].as_array().unwrap().len(), 1);
    let settings = world.foreign("GET", &script("api-production", "/settings"), None).await;
    assert_eq!(settings["compatibility_date"], "2026-11-01");

    // What is no longer ignored is put right.
    world.edit(PRODUCTION, "ignore = [\"bindings.GREETING\", \"bindings.KEY\", \"crons\", \"compatibility_date\"]\n", "");
    world.commit("All of it is ours again");
    world.apply();
    world.assert_converged();
    assert_eq!(world.get("api.example.com", "/").await.1, "good day with key");
    world.end().await;
}
