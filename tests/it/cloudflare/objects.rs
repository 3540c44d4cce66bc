//! Durable Objects and static files, through the provider, on the real runtime.

use trunkline::model::{Assets, Binding, Content, Migration, ModuleType, Properties, Spec, Value, WorkerSpec};
use trunkline::plan::Action;

use super::world::{ACCOUNT, World, key, worker};

const CODE: &str = r#"import { DurableObject } from "cloudflare:workers";
export class Room extends DurableObject {
  async fetch() {
    const count = ((await this.ctx.storage.get("n")) ?? 0) + 1;
    await this.ctx.storage.put("n", count);
    return new Response(String(count));
  }
}
export class Hall extends Room {}
export default {
  async fetch(request, env) {
    const path = new URL(request.url).pathname;
    if (path.startsWith("/file")) return env.ASSETS.fetch(request);
    return env.ROOM.get(env.ROOM.idFromName("one")).fetch(request);
  },
};
"#;

fn migration(tag: &str, steps: &serde_json::Value) -> Migration {
    Migration { tag: tag.to_owned(), steps: Value::of_json(steps).unwrap().as_table().unwrap().clone() }
}

fn file(world: &mut World, assets: &mut Assets, path: &str, text: &str) {
    let content = Content::of(text.as_bytes());
    world.contents.insert(content.sha256, text.as_bytes().into());
    assets.files.insert(path.to_owned(), content);
}

fn script() -> String {
    format!("/client/v4/accounts/{ACCOUNT}/workers/scripts/rooms-production")
}

async fn rooms(world: &mut World) -> WorkerSpec {
    let mut spec = worker("rooms-production");
    world.module(&mut spec, "index.js", ModuleType::Esm, CODE);
    spec.workers_dev = true;
    spec.bindings.insert("ROOM".into(), Binding::DurableObject { class: "Room".into(), script: None });
    spec
}

#[tokio::test]
async fn classes_go_from_step_to_step_and_keep_their_data() {
    let mut world = World::start().await;
    let key = key("production/worker.rooms@main");
    let mut worker = rooms(&mut world).await;
    worker.migrations = vec![migration("v1", &serde_json::json!({ "new_sqlite_classes": ["Room"] }))];
    let spec = Spec::Worker(worker.clone());
    world.apply(Action::Create, &key, &spec).await;
    assert_eq!(world.present(&key, Some(&spec), true).await.properties, world.desired(&key, &spec));
    assert_eq!(world.answer("rooms-production.localhost", "/").await, "1");
    assert!(world.apply(Action::Update, &key, &spec).await.is_empty());

    // One call uploads, takes the step and deploys.
    worker.migrations.push(migration("v2", &serde_json::json!({ "renamed_classes": [{ "from": "Room", "to": "Hall" }] })));
    worker.bindings.insert("ROOM".into(), Binding::DurableObject { class: "Hall".into(), script: None });
    let spec = Spec::Worker(worker.clone());
    let writes = world.apply(Action::Update, &key, &spec).await;
    assert_eq!(writes, [format!("PUT {}", script())]);
    assert_eq!(world.present(&key, Some(&spec), true).await.properties, world.desired(&key, &spec));
    assert_eq!(world.answer("rooms-production.localhost", "/").await, "2");

    // A step that the definition does not have: nothing is guessed.
    worker.migrations = vec![migration("other", &serde_json::json!({ "new_classes": ["Other"] }))];
    let order = world.order(Action::Update, &key, Some(&Spec::Worker(worker))).await;
    let outcome = super::world::shown(&world.carry_out(&order).await);
    assert!(outcome.contains("is at migration `v2`"), "{outcome}");
}

#[tokio::test]
async fn declared_exports_converge_although_ended_ones_are_not_shown() {
    let mut world = World::start().await;
    let key = key("production/worker.rooms@main");
    let mut worker = rooms(&mut world).await;
    let object = || Value::of_json(&serde_json::json!({ "type": "durable-object", "storage": "sqlite" })).unwrap();
    worker.exports = Properties::from([("Room".to_owned(), object()), ("Hall".to_owned(), object())]);
    let spec = Spec::Worker(worker.clone());
    world.apply(Action::Create, &key, &spec).await;
    assert_eq!(world.answer("rooms-production.localhost", "/").await, "1");

    world.module(&mut worker, "index.js", ModuleType::Esm, &CODE.replace("export class Hall extends Room {}\n", ""));
    let ended = Value::of_json(&serde_json::json!({ "type": "durable-object", "state": "deleted" })).unwrap();
    worker.exports.insert("Hall".to_owned(), ended);
    let spec = Spec::Worker(worker);
    let writes = world.apply(Action::Update, &key, &spec).await;
    assert_eq!(writes, [format!("PUT {}", script())]);
    let present = world.present(&key, Some(&spec), true).await;
    let exports = |properties: &Properties| properties["exports"].as_table().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(exports(&present.properties), ["Hall", "Room"]);
    assert!(world.apply(Action::Update, &key, &spec).await.is_empty());
    assert_eq!(world.answer("rooms-production.localhost", "/").await, "2");
}

#[tokio::test]
async fn only_what_is_new_of_static_files_goes_up() {
    let mut world = World::start().await;
    let key = key("production/worker.rooms@main");
    let mut worker = rooms(&mut world).await;
    worker.migrations = vec![migration("v1", &serde_json::json!({ "new_sqlite_classes": ["Room"] }))];
    let provided = Properties::from([("type".to_owned(), "assets".into())]);
    worker.bindings.insert("ASSETS".into(), Binding::Provided { fields: provided });
    let mut assets = Assets { files: std::collections::BTreeMap::new(), config: Properties::new() };
    assets.config.insert("run_worker_first".to_owned(), Value::Bool(true));
    file(&mut world, &mut assets, "/file-a.txt", "first");
    file(&mut world, &mut assets, "/file-b.txt", "second");
    worker.assets = Some(assets.clone());
    let spec = Spec::Worker(worker.clone());
    world.apply(Action::Create, &key, &spec).await;
    assert_eq!(world.answer("rooms-production.localhost", "/file-a.txt").await, "first");
    assert!(world.apply(Action::Update, &key, &spec).await.is_empty());

    // Another version with the same files needs no session.
    world.module(&mut worker, "more.txt", ModuleType::Text, "more");
    let spec = Spec::Worker(worker.clone());
    let writes = world.apply(Action::Update, &key, &spec).await;
    assert_eq!(writes, [format!("POST {}/versions", script()), format!("POST {}/deployments", script())]);
    assert_eq!(world.answer("rooms-production.localhost", "/file-b.txt").await, "second");

    file(&mut world, &mut assets, "/file-b.txt", "third");
    worker.assets = Some(assets);
    let spec = Spec::Worker(worker);
    let writes = world.apply(Action::Update, &key, &spec).await;
    let upload = format!("POST /client/v4/accounts/{ACCOUNT}/workers/assets/upload");
    let calls: Vec<&str> = writes.iter().map(|w| w.split('?').next().unwrap()).collect();
    let session = format!("POST {}/assets-upload-session", script());
    let (version, deployment) = (format!("POST {}/versions", script()), format!("POST {}/deployments", script()));
    assert_eq!(calls, [session.as_str(), &upload, &version, &deployment]);
    assert_eq!(world.answer("rooms-production.localhost", "/file-b.txt").await, "third");
    assert_eq!(world.answer("rooms-production.localhost", "/file-a.txt").await, "first");
    assert!(world.apply(Action::Update, &key, &spec).await.is_empty());
}
