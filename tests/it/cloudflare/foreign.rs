//! What is not ours survives what we do.

use http::Method;
use serde_json::json;
use trunkline::model::{Binding, ModuleType, Spec};
use trunkline::plan::Action;
use trunkline::provider::Outcome;

use super::world::{ACCOUNT, SECRET, World, done, key, route, shown, var, worker};

fn settings(script: &str, part: &str) -> String {
    format!("/accounts/{ACCOUNT}/workers/scripts/{script}/{part}")
}

async fn simple(world: &mut World, script: &str) -> trunkline::model::WorkerSpec {
    let mut spec = worker(script);
    world.module(&mut spec, "index.js", ModuleType::Esm, "export default { fetch: () => new Response('1') }");
    spec.bindings =
        [("LEVEL".to_owned(), var("info")), ("STRIPE".to_owned(), Binding::Secret { name: SECRET.0.parse().unwrap() })].into();
    spec.crons = ["*/5 * * * *".to_owned()].into();
    spec
}

#[tokio::test]
async fn a_change_between_plan_and_apply_is_a_conflict_and_nothing_is_written() {
    let mut world = World::start().await;
    let key = key("production/worker.a@main");
    let mut spec = simple(&mut world, "a").await;
    world.apply(Action::Create, &key, &Spec::Worker(spec.clone())).await;
    spec.bindings.insert("LEVEL".into(), var("debug"));
    let order = world.order(Action::Update, &key, Some(&Spec::Worker(spec))).await;
    world
        .foreign(Method::PATCH, &settings("a", "script-settings"), Some(json!({"tags":["trunkline:production/worker.a","x"]})))
        .await;
    world.proxy.reset();
    let outcome = world.carry_out(&order).await;
    assert!(matches!(outcome, Outcome::Conflict(_)), "{}", shown(&outcome));
    assert_eq!(world.proxy.writes(), [""; 0]);
}

#[tokio::test]
async fn a_worker_of_another_owner_is_never_written() {
    let mut world = World::start().await;
    let (ours, theirs) = (key("production/worker.a@main"), key("staging/worker.a@main"));
    let spec = Spec::Worker(simple(&mut world, "a").await);
    // Planned while nothing was there.
    let order = world.order(Action::Create, &ours, Some(&spec)).await;
    world.apply(Action::Create, &theirs, &spec).await;
    world.proxy.reset();
    let outcome = world.carry_out(&order).await;
    assert!(matches!(outcome, Outcome::Conflict(_)), "{}", shown(&outcome));
    // Planned as an adoption of what another environment owns.
    let order = world.order(Action::Adopt, &ours, Some(&spec)).await;
    let outcome = world.carry_out(&order).await;
    assert!(matches!(outcome, Outcome::Conflict(_)), "{}", shown(&outcome));
    assert_eq!(world.proxy.writes(), [""; 0]);
}

#[tokio::test]
async fn adoption_and_a_move_write_the_owner_and_keep_the_tags_of_others() {
    let mut world = World::start().await;
    let (first, second) = (key("production/worker.a@main"), key("production/worker.b@main"));
    let spec = Spec::Worker(simple(&mut world, "a").await);
    world.apply(Action::Create, &first, &spec).await;
    world.foreign(Method::PATCH, &settings("a", "script-settings"), Some(json!({"tags":["cf:service=a"]}))).await;
    world.inventory.clear();
    let observed = world.present(&first, Some(&spec), false).await;
    assert_eq!(observed.owner, None);

    world.apply(Action::Adopt, &first, &spec).await;
    assert_eq!(world.present(&first, Some(&spec), false).await.owner, Some(first.address.clone()));

    let owned = world.inventory[&first].clone();
    world.inventory.insert(second.clone(), owned);
    let mut order = world.order(Action::Move, &second, Some(&spec)).await;
    order.change.from = Some(first.address.clone());
    world.proxy.reset();
    done(world.carry_out(&order).await);
    assert_eq!(world.proxy.writes().len(), 1, "{:?}", world.proxy.writes());
    let scripts = world.foreign(Method::GET, &format!("/accounts/{ACCOUNT}/workers/scripts"), None).await;
    assert_eq!(scripts["result"][0]["tags"], json!(["cf:service=a", "trunkline:production/worker.b"]));
}

#[tokio::test]
async fn foreign_crons_and_routes_survive() {
    let mut world = World::start().await;
    let key = key("production/worker.a@main");
    let mut spec = simple(&mut world, "a").await;
    spec.routes = [route("a.example.com/*")].into();
    world.apply(Action::Create, &key, &Spec::Worker(spec.clone())).await;
    let crons = json!([{"cron":"*/5 * * * *"},{"cron":"1 1 * * *"}]);
    world.foreign(Method::PUT, &settings("a", "schedules"), Some(crons)).await;
    let zone = world.foreign(Method::GET, "/zones?name=example.com", None).await["result"][0]["id"].as_str().unwrap().to_owned();
    let routes = format!("/zones/{zone}/workers/routes");
    world.foreign(Method::POST, &routes, Some(json!({"pattern":"theirs.example.com/*","script":"a"}))).await;

    spec.crons = ["0 3 * * *".to_owned()].into();
    spec.routes = [route("b.example.com/*")].into();
    let spec = Spec::Worker(spec);
    world.apply(Action::Update, &key, &spec).await;
    let present = world.present(&key, Some(&spec), true).await;
    let names = |table: &str| present.properties[table].as_table().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(names("crons"), ["0 3 * * *", "1 1 * * *"]);
    assert_eq!(names("routes"), ["b.example.com/*", "theirs.example.com/*"]);

    // A route that belongs to another Worker is not taken from it.
    let mut other = simple(&mut world, "other").await;
    other.routes = [route("theirs.example.com/*")].into();
    let order = world.order(Action::Create, &super::world::key("production/worker.other@main"), Some(&Spec::Worker(other))).await;
    world.proxy.reset();
    let outcome = world.carry_out(&order).await;
    assert!(matches!(outcome, Outcome::Conflict(_)), "{}", shown(&outcome));
    assert_eq!(world.proxy.writes(), [""; 0]);
}

/// Uploads and deploys a version as another client would: what is there is inherited, and `binding` added.
async fn foreign_version(world: &World, script: &str, inherited: &[&str], binding: serde_json::Value) {
    let mut bindings: Vec<_> = inherited.iter().map(|name| json!({"name": name, "type": "inherit"})).collect();
    bindings.push(binding);
    let metadata = json!({"main_module":"index.js","compatibility_date":"2026-11-01","bindings":bindings,"annotations":{}});
    let source = "export default { fetch: () => new Response('by another') }";
    let body = format!(
        "--B\r\nContent-Disposition: form-data; name=\"metadata\"\r\n\r\n{metadata}\r\n--B\r\nContent-Disposition: form-data; \
         name=\"index.js\"; filename=\"index.js\"\r\nContent-Type: application/javascript+module\r\n\r\n{source}\r\n--B--\r\n"
    );
    let made = world.foreign_bytes(&settings(script, "versions"), "multipart/form-data; boundary=B", body).await;
    let body = json!({"strategy":"percentage","versions":[{"version_id":made["result"]["id"],"percentage":100}]});
    world.foreign(Method::POST, &settings(script, "deployments"), Some(body)).await;
}

#[tokio::test]
async fn foreign_bindings_and_secrets_survive_an_update() {
    for deep in [false, true] {
        let mut world = World::start().await;
        let key = key("production/worker.a@main");
        let mut spec = simple(&mut world, "a").await;
        let first = Spec::Worker(spec.clone());
        world.apply(Action::Create, &key, &first).await;
        foreign_version(&world, "a", &["LEVEL", "STRIPE"], json!({"name":"THEIRS","type":"plain_text","text":"x"})).await;
        let theirs = json!({"name":"THEIR_SECRET","type":"secret_text","text":"their value"});
        foreign_version(&world, "a", &["LEVEL", "STRIPE", "THEIRS"], theirs).await;

        // The code is drift, and so are our secrets, which nobody can read; their bindings are not ours.
        let present = world.present(&key, Some(&first), false).await;
        assert_ne!(present.properties["modules"], world.desired(&key, &first)["modules"]);
        assert_eq!(present.marker, None);
        assert_eq!(present.owner, Some(key.address.clone()));

        world.apply(Action::Update, &key, &first).await;
        let names = |present: &trunkline::model::Present| {
            present.properties["bindings"].as_table().unwrap().keys().cloned().collect::<Vec<_>>()
        };
        let all = ["LEVEL", "STRIPE", "THEIRS", "THEIR_SECRET"];
        let present = world.present(&key, Some(&first), deep).await;
        assert_eq!(present.properties["modules"], world.desired(&key, &first)["modules"]);
        assert_eq!(names(&world.present(&key, Some(&first), true).await), all);

        // Once more, from what a fingerprint says: the plan no longer sees what is not ours, and it is kept all the same.
        spec.bindings.insert("LEVEL".into(), var("debug"));
        spec.bindings.remove("STRIPE");
        let second = Spec::Worker(spec);
        world.apply(Action::Update, &key, &second).await;
        assert_eq!(names(&world.present(&key, Some(&second), true).await), ["LEVEL", "THEIRS", "THEIR_SECRET"]);
    }
}

#[tokio::test]
async fn a_gradual_deployment_of_somebody_is_left_alone() {
    let mut world = World::start().await;
    let key = key("production/worker.a@main");
    let mut spec = simple(&mut world, "a").await;
    world.apply(Action::Create, &key, &Spec::Worker(spec.clone())).await;
    spec.bindings.insert("LEVEL".into(), var("debug"));
    let spec = Spec::Worker(spec);
    world.apply(Action::Update, &key, &spec).await;
    let versions = world.foreign(Method::GET, &settings("a", "versions?page=1&per_page=10"), None).await;
    let id = |n: usize| versions["result"]["items"][n]["id"].clone();
    let shares = json!([{"version_id":id(0),"percentage":90},{"version_id":id(1),"percentage":10}]);
    world.foreign(Method::POST, &settings("a", "deployments"), Some(json!({"strategy":"percentage","versions":shares}))).await;
    let observed = world.observe(&key, Some(&spec), false).await;
    let trunkline::model::Observed::Unknown(reason) = observed else { panic!("{observed:?}") };
    assert!(reason.contains("share the requests") && reason.contains("wrangler versions deploy"), "{reason}");
}
