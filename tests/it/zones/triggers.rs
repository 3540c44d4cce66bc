//! A version holds no triggers: crons, routes and custom domains come back with a rollback all the same, and those of others
//! stay.

use serde_json::json;

use super::{ACCOUNT, PRODUCTION, world, zone};
use crate::converge::scene::names;

const DEFINITIONS: &str = r#"
[worker.app]
main = "workers/w/index.js"
vars = { LEVEL = "info" }
triggers = { crons = ["0 3 * * *"] }
routes = [{ pattern = "app.example.com/*", zone_name = "example.com" }]

[domain.app]
hostname = "www.example.com"
zone_name = "example.com"
worker = "app"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_brings_triggers_back_and_keeps_those_of_others() {
    let world = world(DEFINITIONS).await;
    let good = world.head();
    world.apply();
    let id = zone(&world).await;
    let crons = json!([{ "cron": "0 3 * * *" }, { "cron": "9 9 * * *" }]);
    let script = format!("/accounts/{ACCOUNT}/workers/scripts/app-production");
    world.foreign("PUT", &format!("{script}/schedules"), Some(crons)).await;
    let route = json!({ "pattern": "theirs.example.com/*", "script": "app-production" });
    world.foreign("POST", &format!("/zones/{id}/workers/routes"), Some(route)).await;

    world.edit(PRODUCTION, "\"0 3 * * *\"", "\"0 4 * * *\"");
    world.edit(PRODUCTION, "pattern = \"app.example.com/*\"", "pattern = \"next.example.com/*\"");
    world.edit(PRODUCTION, "hostname = \"www.example.com\"", "hostname = \"next.example.com\"");
    world.edit(PRODUCTION, "LEVEL = \"info\"", "LEVEL = \"debug\"");
    world.commit("The next one");
    world.apply();
    world.assert_converged();
    let state = async || {
        let crons = world.foreign("GET", &format!("{script}/schedules"), None).await;
        let routes = world.foreign("GET", &format!("/zones/{id}/workers/routes"), None).await;
        let domains = world.foreign("GET", &format!("/accounts/{ACCOUNT}/workers/domains"), None).await;
        [names(&crons["schedules"], "cron"), names(&routes, "pattern"), names(&domains, "hostname")]
    };
    let set = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect();
    let next: [std::collections::BTreeSet<String>; 3] =
        [set(&["0 4 * * *", "9 9 * * *"]), set(&["next.example.com/*", "theirs.example.com/*"]), set(&["next.example.com"])];
    assert_eq!(state().await, next);

    let ran = world.trunkline(&["rollback", "production", "--to", &good]);
    assert_eq!(ran.status, 0, "{ran:?}");
    let back = [set(&["0 3 * * *", "9 9 * * *"]), set(&["app.example.com/*", "theirs.example.com/*"]), set(&["www.example.com"])];
    assert_eq!(state().await, back);
    world.end().await;
}
