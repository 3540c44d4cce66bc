//! Versions that share the requests, on the real edge: who answers, what is deployed, and at which price.

use http::Method;
use serde_json::{Value as Json, json};
use trunkline::model::{InstanceKey, ModuleType, Observed, Probe, Rollout, Spec, TRAFFIC, Value, WorkerSpec, traffic};
use trunkline::plan::Action;
use trunkline::provider::{Order, Outcome};

use super::world::{ACCOUNT, World, done, key, var, worker};

const CODE: &str = "export default { fetch(request, env) { return new Response(env.LEVEL); } };";

fn path(rest: &str) -> String {
    format!("/accounts/{ACCOUNT}/workers/scripts/api/{rest}")
}

/// A Worker that answers with its var, at its first version; what is rolled out of it is asked for `probe` before.
async fn made(world: &mut World, probe: Option<Probe>) -> (InstanceKey, WorkerSpec) {
    let key = key("production/worker.api@main");
    let mut spec = worker("api");
    spec.workers_dev = true;
    spec.rollout = Some(Box::new(Rollout { steps: vec![10, 50, 100], interval_seconds: 60, probe }));
    world.module(&mut spec, "index.js", ModuleType::Esm, CODE);
    spec.bindings.insert("LEVEL".into(), var("1"));
    world.apply(Action::Create, &key, &Spec::Worker(spec.clone())).await;
    (key, spec)
}

fn at_level(spec: &WorkerSpec, level: &str) -> Spec {
    let mut spec = spec.clone();
    spec.bindings.insert("LEVEL".into(), var(level));
    Spec::Worker(spec)
}

/// The order of a plan that moves the share of the requests.
async fn order(world: &mut World, key: &InstanceKey, spec: &Spec, (from, to): (u8, u8)) -> Order {
    let mut order = world.order(Action::Update, key, Some(spec)).await;
    order.change.before.as_mut().unwrap().insert(TRAFFIC.to_owned(), Value::Integer(from.into()));
    order.change.after.as_mut().unwrap().insert(TRAFFIC.to_owned(), Value::Integer(to.into()));
    // A plan's digest has no share in it.
    let same = trunkline::model::canonical_digest(&world.desired(key, spec));
    (order.change.desired, order.marker.desired) = (same, same);
    order
}

/// Carries it out, which must succeed; the writes that it took.
async fn shift(world: &mut World, key: &InstanceKey, spec: &Spec, shares: (u8, u8)) -> Vec<String> {
    let order = order(world, key, spec, shares).await;
    world.proxy.reset();
    done(world.carry_out(&order).await);
    let prefix = format!("/client/v4{}", path(""));
    world.proxy.writes().into_iter().map(|line| line.replace(&prefix, "")).collect()
}

/// The deployments, oldest first: versions by their numbers, with their shares.
async fn deployments(world: &World) -> Vec<Vec<(u64, u64)>> {
    let versions = world.foreign(Method::GET, &path("versions?page=1&per_page=50"), None).await;
    let number = |id: &Json| {
        let items = versions["result"]["items"].as_array().unwrap();
        items.iter().find(|item| item["id"] == *id).unwrap()["number"].as_u64().unwrap()
    };
    let found = world.foreign(Method::GET, &path("deployments"), None).await;
    let mut all: Vec<Vec<(u64, u64)>> = found["result"]["deployments"]
        .as_array()
        .unwrap()
        .iter()
        .map(|deployment| {
            let shares = deployment["versions"].as_array().unwrap().iter();
            let mut shares: Vec<_> =
                shares.map(|s| (number(&s["version_id"]), s["percentage"].as_f64().unwrap().round() as u64)).collect();
            shares.sort_unstable();
            shares
        })
        .collect();
    all.reverse();
    all
}

/// What the Worker answers; to a client with this key, or from this version.
async fn answer(world: &World, client: &reqwest::Client, header: (&str, &str)) -> String {
    let url = format!("http://{}/", world.edge.http_addr());
    let request = client.get(url).header("host", "api.localhost").header(header.0, header.1);
    request.send().await.unwrap().text().await.unwrap()
}

/// How many of 200 clients get the answer `level`.
async fn answered(world: &World, level: &str) -> usize {
    let (client, mut count) = (reqwest::Client::new(), 0);
    for number in 0..200 {
        let header = ("cloudflare-workers-version-key", format!("client-{number}"));
        count += usize::from(answer(world, &client, (header.0, &header.1)).await == level);
    }
    count
}

#[tokio::test]
async fn a_version_gets_its_share_of_the_requests_and_each_step_is_one_write() {
    let mut world = World::start().await;
    let (key, spec) = made(&mut world, None).await;
    let second = at_level(&spec, "2");
    assert_eq!(shift(&mut world, &key, &second, (0, 10)).await, ["POST versions", "POST deployments"]);
    let few = answered(&world, "2").await;
    assert!((5..=40).contains(&few), "{few} of 200");
    let versions = world.foreign(Method::GET, &path("versions?page=1&per_page=50"), None).await;
    for (index, level) in ["2", "1"].into_iter().enumerate() {
        let id = versions["result"]["items"][index]["id"].as_str().unwrap();
        let name = "cloudflare-workers-version-overrides";
        assert_eq!(answer(&world, &reqwest::Client::new(), (name, &format!("api=\"{id}\""))).await, level);
    }

    // What is there is the new version, with its share, whatever the store still knows.
    let owned = world.inventory[&key].clone();
    assert_eq!(traffic(&owned.properties), 10);
    for (deep, forgotten) in [(false, false), (true, false), (true, true)] {
        if forgotten {
            world.inventory.clear();
        }
        let present = world.present(&key, Some(&second), deep).await;
        assert_eq!(traffic(&present.properties), 10);
        assert_eq!(present.attributes, owned.attributes);
        assert_eq!(present.marker.unwrap().desired, owned.desired);
        let mut properties = present.properties;
        properties.remove(TRAFFIC);
        assert_eq!(properties, world.desired(&key, &second));
    }
    for attribute in ["former_version_id", "former_desired", "stepped_at"] {
        assert!(owned.attributes.contains_key(attribute), "{attribute}");
    }

    // A later operation is known by what it deployed.
    world.inventory.insert(key.clone(), owned);
    assert_eq!(shift(&mut world, &key, &second, (10, 50)).await, ["POST deployments"]);
    let half = answered(&world, "2").await;
    assert!((60..=140).contains(&half), "{half} of 200");
    let operation = world.inventory[&key].operation.clone();
    let marker = world.present(&key, Some(&second), true).await.marker.unwrap();
    assert_eq!(marker.operation, operation);

    assert_eq!(shift(&mut world, &key, &second, (50, 100)).await, ["POST deployments"]);
    assert_eq!(answered(&world, "2").await, 200);
    assert!(!world.inventory[&key].properties.contains_key(TRAFFIC));
    let expected: [&[(u64, u64)]; 4] = [&[(1, 100)], &[(1, 90), (2, 10)], &[(1, 50), (2, 50)], &[(2, 100)]];
    assert_eq!(deployments(&world).await, expected);
    assert_eq!(world.present(&key, Some(&second), true).await.properties, world.desired(&key, &second));
}

#[tokio::test]
async fn the_version_before_comes_back_without_an_upload_and_another_one_begins_beside_it() {
    let mut world = World::start().await;
    let (key, spec) = made(&mut world, None).await;
    let (first, second, third) = (at_level(&spec, "1"), at_level(&spec, "2"), at_level(&spec, "3"));
    shift(&mut world, &key, &second, (0, 10)).await;
    assert_eq!(shift(&mut world, &key, &first, (10, 100)).await, ["POST deployments"]);
    assert_eq!(answered(&world, "1").await, 200);
    shift(&mut world, &key, &second, (0, 10)).await;
    shift(&mut world, &key, &third, (0, 10)).await;
    let all = deployments(&world).await;
    let last = all.last().unwrap();
    assert_eq!(last.iter().map(|(_, share)| *share).collect::<Vec<_>>(), [90, 10], "{all:?}");
    assert_eq!(last[0], (all[0][0].0, 90), "it is beside the version that has most: {all:?}");
    assert!(answered(&world, "2").await == 0 && answered(&world, "3").await > 0);
}

#[tokio::test]
async fn a_version_that_does_not_answer_its_probe_gets_no_request() {
    let mut world = World::start().await;
    let url = format!("http://{}/health", world.edge.http_addr());
    let probe = |status| Some(Probe { url: url.clone(), status, host: Some("api.localhost".to_owned()) });
    let (key, mut spec) = made(&mut world, probe(418)).await;
    let second = at_level(&spec, "2");
    for (attempt, uploads) in [(0, 1), (1, 0)] {
        let order = order(&mut world, &key, &second, (0, 10)).await;
        world.proxy.reset();
        let outcome = world.carry_out(&order).await;
        let Outcome::Refused(error) = outcome else { panic!("{outcome:?}") };
        let said = error.to_string();
        assert!(said.contains("gets no requests") && said.contains("answered 200, not 418"), "{said}");
        let writes = world.proxy.writes();
        assert_eq!(writes.iter().filter(|line| line.ends_with("/versions") || line.contains("/versions?")).count(), uploads);
        let all = deployments(&world).await;
        let expected: [&[(u64, u64)]; 2] = [&[(1, 100), (2, 0)], &[(1, 100)]];
        assert_eq!(all[1 + 2 * attempt..], expected, "attempt {attempt}: {all:?}");
        assert_eq!(answered(&world, "1").await, 200);
        // The former version is there as if nothing had been.
        assert_eq!(traffic(&world.present(&key, Some(&second), true).await.properties), 100);
    }
    // Nobody there at all is another matter: it may pass.
    spec.rollout.as_mut().unwrap().probe = Some(Probe { url: "http://127.0.0.1:1/".into(), status: 200, host: None });
    let order_of = at_level(&spec, "2");
    let unreachable = order(&mut world, &key, &order_of, (0, 10)).await;
    let Outcome::Refused(error) = world.carry_out(&unreachable).await else { panic!() };
    assert_eq!(error.retry, trunkline::model::Retry::Transient, "{error}");

    // Once it answers, the same version goes on.
    spec.rollout.as_mut().unwrap().probe = probe(200);
    let second = at_level(&spec, "2");
    let writes = shift(&mut world, &key, &second, (0, 10)).await;
    assert_eq!(writes, ["POST deployments", "POST deployments"], "it is staged, then it gets its share");
    let all = deployments(&world).await;
    let expected: [&[(u64, u64)]; 2] = [&[(1, 100), (2, 0)], &[(1, 90), (2, 10)]];
    assert_eq!(all[all.len() - 2..], expected);
}

#[tokio::test]
async fn a_split_that_somebody_moved_is_gone_on_with_and_one_that_nobody_defined_is_not() {
    let mut world = World::start().await;
    let (key, mut spec) = made(&mut world, None).await;
    let second = at_level(&spec, "2");
    shift(&mut world, &key, &second, (0, 10)).await;
    let versions = world.foreign(Method::GET, &path("versions?page=1&per_page=10"), None).await;
    let id = |n: usize| versions["result"]["items"][n]["id"].clone();
    let shares = json!([{ "version_id": id(0), "percentage": 33.3 }, { "version_id": id(1), "percentage": 66.7 }]);
    let body = json!({ "strategy": "percentage", "versions": shares });
    world.foreign(Method::POST, &path("deployments"), Some(body)).await;
    assert_eq!(traffic(&world.present(&key, Some(&second), false).await.properties), 33);
    assert_eq!(shift(&mut world, &key, &second, (33, 50)).await, ["POST deployments"]);

    // Neither the definition nor the record nor the deployment speaks of a rollout.
    world.foreign(Method::POST, &path("deployments"), Some(json!({ "strategy": "percentage", "versions": shares }))).await;
    world.inventory.clear();
    spec.rollout = None;
    let Observed::Unknown(reason) = world.observe(&key, Some(&at_level(&spec, "2")), true).await else { panic!() };
    assert!(reason.contains("share the requests"), "{reason}");
}
