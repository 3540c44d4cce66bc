//! What is applied is what is observed, at the price that is promised.

use http::Method;
use trunkline::model::{
    Binding, Evidence, InstanceKey, Kind, Marker, ModuleType, Observed, PlatformSpec, Properties, Spec, WorkerSpec,
};
use trunkline::plan::Action;
use trunkline::provider::Outcome;

use super::world::{ACCOUNT, SECRET, World, done, key, route, shown, var, worker};

/// A Worker that uses everything that a definition can say, and the KV namespace that it is bound to.
async fn whole(world: &mut World) -> (InstanceKey, WorkerSpec) {
    let kv = key("production/kv.sessions@main");
    world.apply(Action::Create, &kv, &Spec::Platform(PlatformSpec::new(Kind::Kv, "sessions-production"))).await;
    let mut spec = worker("ads-api-production");
    world.module(
        &mut spec,
        "index.js",
        ModuleType::Esm,
        "import t from './lib/t.txt'; export default { fetch: () => new Response(t) }",
    );
    world.module(&mut spec, "lib/t.txt", ModuleType::Text, "hello");
    spec.compatibility_flags = ["nodejs_compat".to_owned()].into();
    spec.bindings = [
        ("LEVEL".to_owned(), var("info")),
        ("LIMITS".to_owned(), Binding::Json { json: r#"{"a":[1,true],"b":"x"}"#.into() }),
        ("STRIPE".to_owned(), Binding::Secret { name: SECRET.0.parse().unwrap() }),
        (
            "SESSIONS".to_owned(),
            Binding::Resource { address: "production/kv.sessions".parse().unwrap(), fields: Properties::new() },
        ),
    ]
    .into();
    spec.crons = ["*/5 * * * *".to_owned()].into();
    spec.routes = [route("api.example.com/*")].into();
    spec.workers_dev = true;
    (key("production/worker.ads-api@main"), spec)
}

#[tokio::test]
async fn what_was_applied_is_what_is_observed() {
    let mut world = World::start().await;
    let (key, spec) = whole(&mut world).await;
    let spec = Spec::Worker(spec);
    let writes = world.apply(Action::Create, &key, &spec).await;
    let script = format!("/client/v4/accounts/{ACCOUNT}/workers/scripts/ads-api-production");
    assert_eq!(writes.len(), 4, "{writes:?}");
    assert_eq!(writes[0], format!("PUT {script}"));
    assert_eq!(writes[1], format!("PUT {script}/schedules"));
    assert_eq!(writes[3], format!("POST {script}/subdomain"));

    let deep = world.present(&key, Some(&spec), true).await;
    assert_eq!(deep.properties, world.desired(&key, &spec));
    assert!(matches!(deep.evidence, Evidence::DeepRead(_)));
    assert_eq!(deep.owner.as_ref(), Some(&key.address));
    assert_eq!(deep.marker.as_ref().map(|m| m.operation.as_str()), Some("operation-2"));
    let owned = &world.inventory[&key];
    assert_eq!(deep.fingerprint, owned.fingerprint);
    assert_eq!(deep.attributes, owned.attributes);

    // The same without an inventory: everything is read from the target, secrets alone cannot be.
    let owned = world.inventory.remove(&key).unwrap();
    let unowned = world.present(&key, Some(&spec), false).await;
    let mut expected = world.desired(&key, &spec);
    let bindings = expected.get_mut("bindings").unwrap();
    if let trunkline::model::Value::Table(bindings) = bindings {
        let unknown = Binding::Secret { name: "x".parse().unwrap() }.value(&Default::default());
        bindings.insert("STRIPE".to_owned(), unknown);
    }
    assert_eq!(unowned.properties, expected);
    world.inventory.insert(key, owned);
}

#[tokio::test]
async fn an_unchanged_account_costs_lists_only() {
    let mut world = World::start().await;
    let (key, spec) = whole(&mut world).await;
    let spec = Spec::Worker(spec);
    world.apply(Action::Create, &key, &spec).await;
    for pass in 0..2 {
        world.proxy.reset();
        let present = world.present(&key, Some(&spec), false).await;
        assert_eq!(present.evidence, Evidence::Fingerprint);
        assert_eq!(present.properties, world.desired(&key, &spec));
        let calls: Vec<_> = world.proxy.calls().iter().map(|call| call.line()).collect();
        assert!(calls.len() <= 3, "pass {pass}: {calls:?}");
        assert!(
            calls
                .iter()
                .all(|c| c.ends_with("/workers/scripts") || c.ends_with("/workers/workers") || c.ends_with("/workers/routes")),
            "{calls:?}"
        );
    }
}

#[tokio::test]
async fn a_changed_worker_costs_two_writes_and_an_unchanged_one_none() {
    let mut world = World::start().await;
    let (key, mut spec) = whole(&mut world).await;
    world.apply(Action::Create, &key, &Spec::Worker(spec.clone())).await;
    spec.bindings.insert("LEVEL".into(), var("debug"));
    let changed = Spec::Worker(spec.clone());
    let writes = world.apply(Action::Update, &key, &changed).await;
    let script = format!("/client/v4/accounts/{ACCOUNT}/workers/scripts/ads-api-production");
    assert_eq!(writes, [format!("POST {script}/versions"), format!("POST {script}/deployments")]);
    assert_eq!(world.present(&key, Some(&changed), true).await.properties, world.desired(&key, &changed));
    assert_eq!(world.present(&key, Some(&changed), false).await.evidence, Evidence::Fingerprint);

    assert_eq!(world.apply(Action::Update, &key, &changed).await, [""; 0]);

    // What is not versioned is written by itself, and nothing else is.
    spec.crons = ["0 3 * * *".to_owned()].into();
    spec.routes = [route("api.example.com/v2/*")].into();
    spec.workers_dev = false;
    let triggers = Spec::Worker(spec);
    let writes = world.apply(Action::Update, &key, &triggers).await;
    let kinds: Vec<&str> = writes.iter().map(|w| w.split(' ').next().unwrap()).collect();
    assert_eq!(kinds, ["PUT", "DELETE", "POST", "POST"], "{writes:?}");
    assert_eq!(world.present(&key, Some(&triggers), true).await.properties, world.desired(&key, &triggers));
}

#[tokio::test]
async fn a_secret_that_leaves_the_definition_leaves_the_worker() {
    let mut world = World::start().await;
    let (key, mut spec) = whole(&mut world).await;
    world.apply(Action::Create, &key, &Spec::Worker(spec.clone())).await;
    spec.bindings.remove("STRIPE");
    let spec = Spec::Worker(spec);
    world.apply(Action::Update, &key, &spec).await;
    assert_eq!(world.present(&key, Some(&spec), true).await.properties, world.desired(&key, &spec));
}

#[tokio::test]
async fn a_deleted_worker_takes_its_routes_along() {
    let mut world = World::start().await;
    let (key, spec) = whole(&mut world).await;
    let spec = Spec::Worker(spec);
    world.apply(Action::Create, &key, &spec).await;
    let order = world.order(Action::Delete, &key, None).await;
    world.proxy.reset();
    done(world.carry_out(&order).await);
    let writes = world.proxy.writes();
    assert_eq!(writes.len(), 2, "{writes:?}");
    assert!(writes[0].starts_with("DELETE /client/v4/zones/"), "{writes:?}");
    assert_eq!(world.observe(&key, Some(&spec), false).await, Observed::Absent);
    // Again, as after a crash: there is nothing to do.
    done(world.carry_out(&order).await);
}

#[tokio::test]
async fn a_namespace_is_made_renamed_and_deleted() {
    let mut world = World::start().await;
    let (kv, other) = (key("production/kv.sessions@main"), key("production/kv.other@main"));
    let spec = |title: &str| Spec::Platform(PlatformSpec::new(Kind::Kv, title));
    // Enough of them for several pages.
    for n in 0..5 {
        let key = key(&format!("production/kv.n{n}@main"));
        world.apply(Action::Create, &key, &spec(&format!("n{n}"))).await;
    }
    assert_eq!(world.apply(Action::Create, &kv, &spec("one")).await.len(), 1);
    let present = world.present(&kv, Some(&spec("one")), false).await;
    assert_eq!((present.properties, present.owner), (world.desired(&kv, &spec("one")), None));
    assert_eq!(present.fingerprint, world.inventory[&kv].fingerprint);
    let id = present.attributes["id"].clone();

    let writes = world.apply(Action::Update, &kv, &spec("two")).await;
    assert_eq!(writes.len(), 1, "{writes:?}");
    let present = world.present(&kv, Some(&spec("two")), false).await;
    assert_eq!((present.properties, &present.attributes["id"]), (world.desired(&kv, &spec("two")), &id));

    let taken = world.order(Action::Create, &other, Some(&spec("three"))).await;
    world
        .foreign(Method::POST, &format!("/accounts/{ACCOUNT}/storage/kv/namespaces"), Some(serde_json::json!({"title":"three"})))
        .await;
    let outcome = world.carry_out(&taken).await;
    assert!(matches!(outcome, Outcome::Conflict(_)), "{}", shown(&outcome));

    let order = world.order(Action::Delete, &kv, None).await;
    done(world.carry_out(&order).await);
    assert_eq!(world.observe(&kv, Some(&spec("two")), false).await, Observed::Absent);
    done(world.carry_out(&order).await);
}

#[tokio::test]
async fn a_version_carries_its_operation_and_a_worker_its_owner() {
    let mut world = World::start().await;
    let (key, mut spec) = whole(&mut world).await;
    world.apply(Action::Create, &key, &Spec::Worker(spec.clone())).await;
    spec.bindings.insert("LEVEL".into(), var("debug"));
    let spec = Spec::Worker(spec);
    let order = world.order(Action::Update, &key, Some(&spec)).await;
    done(world.carry_out(&order).await);
    let present = world.present(&key, Some(&spec), true).await;
    assert_eq!(present.marker, Some(order.marker));
    assert_eq!(present.owner, Some(key.address.clone()));
    let scripts = world.foreign(Method::GET, &format!("/accounts/{ACCOUNT}/workers/scripts"), None).await;
    assert_eq!(scripts["result"][0]["tags"], serde_json::json!([Marker::owner_tag(&key.address)]));
}
