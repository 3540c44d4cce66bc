//! Settings of a Worker: those of a version, and those of the Worker as a whole.

use trunkline::model::{Binding, ModuleType, Properties, Spec, Value, WorkerSpec};
use trunkline::plan::Action;

use super::world::{ACCOUNT, World, key, worker};

fn table(json: &serde_json::Value) -> Value {
    Value::of_json(json).unwrap()
}

async fn made(world: &mut World) -> WorkerSpec {
    let mut spec = worker("ads-api-production");
    world.module(&mut spec, "index.js", ModuleType::Esm, "export default { fetch() { return new Response('x') } }");
    spec.bindings.insert(
        "VERSION".into(),
        Binding::Provided { fields: Properties::from([("type".to_owned(), "version_metadata".into())]) },
    );
    spec.settings = Properties::from([
        ("placement".to_owned(), table(&serde_json::json!({ "mode": "smart" }))),
        ("limits".to_owned(), table(&serde_json::json!({ "cpu_ms": 50 }))),
        ("observability".to_owned(), table(&serde_json::json!({ "enabled": true, "head_sampling_rate": 0.1 }))),
        ("logpush".to_owned(), Value::Bool(true)),
    ]);
    spec
}

#[tokio::test]
async fn settings_converge_and_cost_one_write_where_they_differ() {
    let mut world = World::start().await;
    let key = key("production/worker.ads-api@main");
    let mut worker = made(&mut world).await;
    let spec = Spec::Worker(worker.clone());
    assert_eq!(world.apply(Action::Create, &key, &spec).await.len(), 1, "all of it goes with the first upload");
    let present = world.present(&key, Some(&spec), true).await;
    for (field, value) in world.desired(&key, &spec) {
        assert_eq!(present.properties.get(&field), Some(&value), "{field}");
    }

    // What belongs to no version is written by itself.
    worker.settings.insert("observability".to_owned(), table(&serde_json::json!({ "enabled": true, "head_sampling_rate": 1 })));
    worker.settings.remove("logpush");
    let spec = Spec::Worker(worker.clone());
    let writes = world.apply(Action::Update, &key, &spec).await;
    let script = format!("/client/v4/accounts/{ACCOUNT}/workers/scripts/ads-api-production");
    assert_eq!(writes, [format!("PATCH {script}/script-settings")]);
    let shown = world.foreign(http::Method::GET, &format!("/accounts/{ACCOUNT}/workers/scripts"), None).await;
    assert_eq!(shown["result"][0]["logpush"], false, "as if it had never been set: {shown}");
    let present = world.present(&key, Some(&spec), true).await;
    assert_eq!(present.properties["observability"].as_table().unwrap()["head_sampling_rate"], Value::Integer(1));

    // What belongs to a version makes one.
    worker.settings.remove("limits");
    let spec = Spec::Worker(worker);
    let writes = world.apply(Action::Update, &key, &spec).await;
    assert_eq!(writes, [format!("POST {script}/versions"), format!("POST {script}/deployments")]);
    let present = world.present(&key, Some(&spec), true).await;
    assert_eq!(present.properties.get("limits"), None);
    assert_eq!(present.properties["placement"], table(&serde_json::json!({ "mode": "smart" })));
    assert!(world.apply(Action::Update, &key, &spec).await.is_empty());
}
