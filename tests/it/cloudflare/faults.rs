//! What goes wrong on the way: certainly nothing happened, or nobody knows, and never twice.

use std::time::{Duration, Instant};

use http::Method;
use trunkline::model::{Kind, ModuleType, Observed, PlatformSpec, Retry, Spec, WorkerSpec};
use trunkline::plan::Action;
use trunkline::provider::{Lookup, Outcome, Provider, ProviderError, Query};

use super::world::{ACCOUNT, SECRET, World, done, key, patience, provider, shown, var, worker};
use crate::proxy::{Answer, Fault};

async fn applied(world: &mut World) -> WorkerSpec {
    let mut spec = worker("a");
    world.module(&mut spec, "index.js", ModuleType::Esm, "export default { fetch: () => new Response('1') }");
    spec.bindings = [
        ("LEVEL".to_owned(), var("info")),
        ("STRIPE".to_owned(), trunkline::model::Binding::Secret { name: SECRET.0.parse().unwrap() }),
    ]
    .into();
    world.apply(Action::Create, &key("production/worker.a@main"), &Spec::Worker(spec.clone())).await;
    spec.bindings.insert("LEVEL".into(), var("debug"));
    spec
}

async fn versions(world: &World) -> usize {
    let list =
        world.foreign(Method::GET, &format!("/accounts/{ACCOUNT}/workers/scripts/a/versions?page=1&per_page=100"), None).await;
    list["result"]["items"].as_array().unwrap().len()
}

/// An error with its causes and its hint, as a person would see it.
fn whole(error: &ProviderError) -> String {
    let mut text = format!("{error} | {:?}", error.hint);
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(&format!(" | {cause}"));
        source = cause.source();
    }
    text
}

#[tokio::test]
async fn an_upload_without_an_answer_is_unknown_and_is_not_made_twice() {
    for fault in
        [Fault::DropAfter, Fault::AnswerAfter(Answer::error(503, 10013)), Fault::AnswerAfter(Answer::body(200, "<html>"))]
    {
        let mut world = World::start().await;
        let key = key("production/worker.a@main");
        let spec = Spec::Worker(applied(&mut world).await);
        let before = versions(&world).await;
        let order = world.order(Action::Update, &key, Some(&spec)).await;
        world.proxy.reset();
        world.proxy.inject(Method::POST, "/versions", 1, fault.clone());
        let outcome = world.carry_out(&order).await;
        assert!(matches!(outcome, Outcome::Unknown(_)), "{fault:?}: {}", shown(&outcome));
        assert_eq!(world.proxy.writes().len(), 1, "{fault:?}: {:?}", world.proxy.writes());
        assert_eq!(versions(&world).await, before + 1);

        // Observed, then ordered again: what was uploaded is found and deployed.
        let mut again = world.order(Action::Update, &key, Some(&spec)).await;
        again.earlier = vec![order.marker.operation.clone()];
        world.proxy.reset();
        done(world.carry_out(&again).await);
        assert_eq!(world.proxy.writes().len(), 1, "{:?}", world.proxy.writes());
        assert_eq!(versions(&world).await, before + 1);
        let present = world.present(&key, Some(&spec), true).await;
        assert_eq!(present.properties, world.desired(&key, &spec));
        // The version names the operation that uploaded it, its deployment the one that deployed it.
        assert_eq!(present.marker, Some(again.marker));
    }
}

#[tokio::test]
async fn a_call_that_never_arrived_is_unknown_and_is_made_again_when_asked() {
    let mut world = World::start().await;
    let key = key("production/worker.a@main");
    let spec = Spec::Worker(applied(&mut world).await);
    let before = versions(&world).await;
    let order = world.order(Action::Update, &key, Some(&spec)).await;
    world.proxy.inject(Method::POST, "/versions", 1, Fault::DropBefore);
    let outcome = world.carry_out(&order).await;
    assert!(matches!(outcome, Outcome::Unknown(_)), "{}", shown(&outcome));
    let mut again = world.order(Action::Update, &key, Some(&spec)).await;
    again.earlier = vec![order.marker.operation];
    world.proxy.reset();
    done(world.carry_out(&again).await);
    assert_eq!(world.proxy.writes().len(), 2);
    assert_eq!(versions(&world).await, before + 1);
}

#[tokio::test]
async fn a_deployment_that_was_refused_after_its_upload_is_unknown() {
    let mut world = World::start().await;
    let key = key("production/worker.a@main");
    let spec = Spec::Worker(applied(&mut world).await);
    let order = world.order(Action::Update, &key, Some(&spec)).await;
    world.proxy.inject(Method::POST, "/deployments", 1, Fault::AnswerBefore(Answer::error(400, 10021)));
    let outcome = world.carry_out(&order).await;
    assert!(matches!(outcome, Outcome::Unknown(_)), "{}", shown(&outcome));
    // The same upload refused is a refusal: nothing happened.
    let order = world.order(Action::Update, &key, Some(&spec)).await;
    world.proxy.inject(Method::POST, "/versions", 1, Fault::AnswerBefore(Answer::error(400, 10021)));
    let outcome = world.carry_out(&order).await;
    let Outcome::Refused(error) = outcome else { panic!("{}", shown(&outcome)) };
    assert!(error.hint.is_some_and(|hint| hint.contains("code")));
}

#[tokio::test]
async fn an_adoption_cut_short_before_its_owners_mark_needs_nothing_but_the_mark() {
    let mut world = World::start().await;
    let key = key("production/worker.a@main");
    let spec = Spec::Worker(applied(&mut world).await);
    let settings = format!("/accounts/{ACCOUNT}/workers/scripts/a/script-settings");
    world.foreign(Method::PATCH, &settings, Some(serde_json::json!({ "tags": ["theirs"] }))).await;
    world.inventory.clear();
    let order = world.order(Action::Adopt, &key, Some(&spec)).await;
    world.proxy.reset();
    world.proxy.inject(Method::PATCH, "/script-settings", 1, Fault::DropBefore);
    let outcome = world.carry_out(&order).await;
    assert!(matches!(outcome, Outcome::Unknown(_)), "{}", shown(&outcome));
    let present = world.present(&key, Some(&spec), true).await;
    assert_eq!((present.owner, present.marker.map(|marker| marker.operation)), (None, Some(order.marker.operation.clone())));

    let before = versions(&world).await;
    let mut again = world.order(Action::Adopt, &key, Some(&spec)).await;
    again.earlier = vec![order.marker.operation];
    world.proxy.reset();
    done(world.carry_out(&again).await);
    assert_eq!(world.proxy.writes().len(), 1, "{:?}", world.proxy.writes());
    assert_eq!(versions(&world).await, before);
    assert_eq!(world.present(&key, Some(&spec), true).await.owner, Some(key.address.clone()));
}

#[tokio::test]
async fn a_first_upload_without_an_answer_is_found_by_its_marker() {
    let mut world = World::start().await;
    let key = key("production/worker.a@main");
    let mut spec = worker("a");
    world.module(&mut spec, "index.js", ModuleType::Esm, "export default { fetch: () => new Response('1') }");
    spec.crons = ["*/5 * * * *".to_owned()].into();
    let spec = Spec::Worker(spec);
    let order = world.order(Action::Create, &key, Some(&spec)).await;
    world.proxy.inject(Method::PUT, "/scripts/a", 1, Fault::DropAfter);
    let outcome = world.carry_out(&order).await;
    assert!(matches!(outcome, Outcome::Unknown(_)), "{}", shown(&outcome));
    let observed = world.present(&key, Some(&spec), false).await;
    assert_eq!((observed.marker.as_ref(), observed.owner.as_ref()), (Some(&order.marker), Some(&key.address)));

    // The very order again, with its operation known: only what is missing is done.
    let mut again = order.clone();
    again.earlier = vec![order.marker.operation.clone()];
    world.proxy.reset();
    done(world.carry_out(&again).await);
    assert_eq!(world.proxy.writes().len(), 1, "{:?}", world.proxy.writes());
    assert_eq!(world.present(&key, Some(&spec), true).await.properties, world.desired(&key, &spec));
}

#[tokio::test]
async fn a_namespace_that_was_made_without_an_answer_is_taken_for_ours() {
    let mut world = World::start().await;
    let key = key("production/kv.sessions@main");
    let spec = Spec::Platform(PlatformSpec::new(Kind::Kv, "sessions"));
    let order = world.order(Action::Create, &key, Some(&spec)).await;
    world.proxy.inject(Method::POST, "/namespaces", 1, Fault::DropAfter);
    let outcome = world.carry_out(&order).await;
    assert!(matches!(outcome, Outcome::Unknown(_)), "{}", shown(&outcome));
    let outcome = world.carry_out(&order).await;
    assert!(matches!(outcome, Outcome::Conflict(_)), "{}", shown(&outcome));
    let mut again = order.clone();
    again.earlier = vec![order.marker.operation.clone()];
    let receipt = done(world.carry_out(&again).await);
    assert_eq!(world.present(&key, Some(&spec), false).await.attributes, receipt.attributes);

    // Refused as too many calls although it was carried out: the second call finds what the first one made.
    let other = super::world::key("production/kv.other@main");
    let spec = Spec::Platform(PlatformSpec::new(Kind::Kv, "other"));
    let order = world.order(Action::Create, &other, Some(&spec)).await;
    let busy = Answer::error(429, 10429).header("retry-after", "1");
    world.proxy.inject(Method::POST, "/namespaces", 1, Fault::AnswerAfter(busy));
    done(world.carry_out(&order).await);
}

#[tokio::test]
async fn too_many_calls_are_waited_for_and_not_for_ever() {
    let mut world = World::start().await;
    let key = key("production/worker.a@main");
    let spec = Spec::Worker(applied(&mut world).await);
    let order = world.order(Action::Update, &key, Some(&spec)).await;
    let busy = |seconds: &str| Fault::AnswerBefore(Answer::error(429, 10429).header("retry-after", seconds));
    world.proxy.reset();
    world.proxy.inject(Method::POST, "/versions", 1, busy("1"));
    let began = Instant::now();
    done(world.carry_out(&order).await);
    assert!(began.elapsed() >= Duration::from_secs(1));
    assert_eq!(world.proxy.writes().len(), 3, "{:?}", world.proxy.writes());

    let mut spec = applied_again(&spec);
    spec.bindings.insert("LEVEL".into(), var("trace"));
    let order = world.order(Action::Update, &key, Some(&Spec::Worker(spec))).await;
    world.proxy.inject(Method::POST, "/versions", 1, busy("300"));
    let outcome = world.carry_out(&order).await;
    let Outcome::Refused(error) = outcome else { panic!("{}", shown(&outcome)) };
    assert!(matches!(error.retry, Retry::After(d) if d > Duration::from_secs(200)), "{error:?}");
    // And what is asked next is told the same without a call.
    world.proxy.reset();
    let query = Query {
        instances: [(key, Lookup { claim: "a".into(), spec: None, owned: None })].into(),
        deep: false,
        ..Query::default()
    };
    let error = world.provider.observe(&query).await.unwrap_err();
    assert!(matches!(error.retry, Retry::After(_)), "{error:?}");
    assert!(world.proxy.calls().is_empty());
}

fn applied_again(spec: &Spec) -> WorkerSpec {
    let Spec::Worker(worker) = spec else { panic!("a Worker") };
    worker.clone()
}

#[tokio::test]
async fn reads_are_tried_again_and_writes_are_not() {
    let mut world = World::start().await;
    let key = key("production/worker.a@main");
    let spec = Spec::Worker(applied(&mut world).await);
    world.proxy.inject(Method::GET, "/workers/scripts", 1, Fault::DropBefore);
    world.proxy.inject(Method::GET, "/deployments", 2, Fault::AnswerBefore(Answer::error(502, 0)));
    world.present(&key, Some(&spec), true).await;

    world.proxy.inject(Method::GET, "/deployments", 99, Fault::AnswerBefore(Answer::error(503, 0)));
    let observed = world.observe(&key, Some(&spec), true).await;
    assert!(matches!(&observed, Observed::Unknown(reason) if reason.contains("503")), "{observed:?}");
    world.proxy.reset();
    let order = world.order(Action::Update, &key, Some(&spec)).await;
    world.proxy.reset();
    world.proxy.inject(Method::POST, "/versions", 1, Fault::AnswerBefore(Answer::error(500, 0)));
    world.carry_out(&order).await;
    assert_eq!(world.proxy.writes().len(), 1);
}

#[tokio::test]
async fn a_wrong_token_says_so_and_is_never_shown() {
    let world = World::start().await;
    let provider = provider(world.proxy.address, "w0rng-t0ken", patience());
    let query = Query {
        instances: [(key("production/worker.a@main"), Lookup { claim: "a".into(), spec: None, owned: None })].into(),
        deep: false,
        ..Query::default()
    };
    let error = provider.observe(&query).await.unwrap_err();
    assert_eq!(error.retry, Retry::Stalled);
    assert!(whole(&error).contains("api_token") && whole(&error).contains("401"), "{}", whole(&error));
    assert!(!whole(&error).contains("w0rng-t0ken"));
    // The control: it did go out, in the one header.
    assert_eq!(world.proxy.calls()[0].authorization.as_deref(), Some("Bearer w0rng-t0ken"));
    // A server that repeats what it was sent does not get it into an error either.
    let echo = Answer::body(400, r#"{"success":false,"errors":[{"code":1,"message":"bad header: Bearer w0rng-t0ken"}]}"#);
    world.proxy.inject(Method::GET, "/workers/scripts", 1, Fault::AnswerBefore(echo));
    let error = provider.observe(&query).await.unwrap_err();
    assert!(whole(&error).contains("is withheld") && !whole(&error).contains("w0rng-t0ken"), "{}", whole(&error));
}

#[tokio::test]
async fn a_secret_that_a_server_repeats_is_not_shown() {
    let mut world = World::start().await;
    let key = key("production/worker.a@main");
    let spec = Spec::Worker(applied(&mut world).await);
    let order = world.order(Action::Update, &key, Some(&spec)).await;
    let body = format!(r#"{{"success":false,"errors":[{{"code":10021,"message":"bad binding {}"}}]}}"#, SECRET.1);
    world.proxy.reset();
    world.proxy.inject(Method::POST, "/versions", 1, Fault::AnswerBefore(Answer::body(400, &body)));
    let Outcome::Refused(error) = world.carry_out(&order).await else { panic!("not refused") };
    assert!(whole(&error).contains("is withheld") && !whole(&error).contains(SECRET.1), "{}", whole(&error));
    // The control: the value did go out, in the body of the upload.
    let sent = world.proxy.calls().into_iter().find(|call| call.path.ends_with("/versions") && call.is_write()).unwrap();
    assert!(String::from_utf8_lossy(&sent.body).contains(SECRET.1));
}

#[tokio::test]
async fn an_endpoint_that_is_down_refuses_orders_and_observes_nothing() {
    let mut world = World::start().await;
    let key = key("production/worker.a@main");
    let spec = Spec::Worker(applied(&mut world).await);
    let order = world.order(Action::Update, &key, Some(&spec)).await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let down = provider(free, "x", patience());
    let query = Query {
        instances: [(key, Lookup { claim: "a".into(), spec: None, owned: None })].into(),
        deep: false,
        ..Query::default()
    };
    let error = down.observe(&query).await.unwrap_err();
    assert_eq!(error.retry, Retry::Transient);
    assert!(whole(&error).contains("no connection"), "{}", whole(&error));
    let outcome = down.carry_out(std::slice::from_ref(&order)).await.pop().unwrap();
    assert!(matches!(outcome, Outcome::Refused(_)), "{}", shown(&outcome));
}

#[tokio::test]
async fn garbage_and_contradictions_are_no_answers() {
    let mut world = World::start().await;
    let key = key("production/worker.a@main");
    let spec = Spec::Worker(applied(&mut world).await);
    for body in ["<html>hello</html>", r#"{"success":false,"errors":null}"#, "", r#"{"success":true,"result":7}"#] {
        world.proxy.reset();
        world.proxy.inject(Method::GET, "/workers/scripts", 9, Fault::AnswerBefore(Answer::body(200, body)));
        let query = Query {
            instances: [(key.clone(), Lookup { claim: "a".into(), spec: None, owned: None })].into(),
            deep: false,
            ..Query::default()
        };
        let found = world.provider.observe(&query).await;
        assert!(found.is_err(), "{body}: {found:?}");
        world.proxy.reset();
        let order = world.order(Action::Update, &key, Some(&spec)).await;
        world.proxy.inject(Method::POST, "/versions", 1, Fault::AnswerAfter(Answer::body(200, body)));
        let outcome = world.carry_out(&order).await;
        assert!(matches!(outcome, Outcome::Unknown(_)), "{body}: {}", shown(&outcome));
    }
    let challenge = Answer::body(403, "<html>").header("cf-mitigated", "challenge").header("cf-ray", "8f00-FRA");
    world.proxy.inject(Method::GET, "/workers/scripts", 1, Fault::AnswerBefore(challenge));
    let query = Query {
        instances: [(key, Lookup { claim: "a".into(), spec: None, owned: None })].into(),
        deep: false,
        ..Query::default()
    };
    let error = world.provider.observe(&query).await.unwrap_err();
    assert!(whole(&error).contains("challenge") && whole(&error).contains("8f00-FRA"), "{}", whole(&error));
}

#[tokio::test]
async fn an_order_that_cannot_be_made_up_is_refused_before_anything_is_sent() {
    let mut world = World::start().await;
    let key = key("production/worker.a@main");
    let good = applied(&mut world).await;
    for secret in ["bytes", "undefined"] {
        let mut spec = good.clone();
        spec.bindings.insert("OTHER".into(), trunkline::model::Binding::Secret { name: secret.parse().unwrap() });
        let order = world.order(Action::Update, &key, Some(&Spec::Worker(spec))).await;
        world.proxy.reset();
        let outcome = world.carry_out(&order).await;
        assert!(matches!(outcome, Outcome::Refused(_)), "{secret}: {}", shown(&outcome));
        assert_eq!(world.proxy.writes(), [""; 0], "{secret}");
    }
}

#[tokio::test]
async fn a_list_ends_whatever_the_server_says() {
    let world = World::start().await;
    let spec = Spec::Platform(PlatformSpec::new(Kind::Kv, "wanted"));
    let key = key("production/kv.wanted@main");
    let items: Vec<_> = (0..1000).map(|n| serde_json::json!({"id": format!("{n:032x}"), "title": format!("t{n}")})).collect();
    let page = |info: serde_json::Value| serde_json::json!({"success":true,"result":items,"result_info":info}).to_string();
    // A server that ignores `page` gives the same thousand for ever.
    world.proxy.inject(Method::GET, "/namespaces", 99, Fault::AnswerBefore(Answer::body(200, &page(serde_json::json!(null)))));
    assert_eq!(world.observe(&key, Some(&spec), false).await, Observed::Absent);
    let queries: Vec<_> = world.proxy.calls().into_iter().map(|call| call.query).collect();
    assert_eq!(queries, ["page=1&per_page=1000", "page=2&per_page=1000"]);
    // One that has more than it gives: what is not shown is not absent.
    world.proxy.reset();
    let more = page(serde_json::json!({"total_count":5000,"page":1,"per_page":1000}));
    world.proxy.inject(Method::GET, "/namespaces", 99, Fault::AnswerBefore(Answer::body(200, &more)));
    let query = Query {
        instances: [(key, Lookup { claim: "wanted".into(), spec: Some(spec), owned: None })].into(),
        deep: false,
        ..Query::default()
    };
    let error = world.provider.observe(&query).await.unwrap_err();
    assert!(whole(&error).contains("1000 of 5000"), "{}", whole(&error));
}

#[tokio::test]
async fn one_unreadable_kind_leaves_the_other_known() {
    let mut world = World::start().await;
    let worker_key = key("production/worker.a@main");
    applied(&mut world).await;
    let kv = key("production/kv.sessions@main");
    let lookup = |claim: &str| Lookup { claim: claim.into(), spec: None, owned: None };
    let query = Query {
        instances: [(worker_key.clone(), lookup("a")), (kv.clone(), lookup("sessions"))].into(),
        deep: false,
        ..Query::default()
    };
    world.proxy.inject(Method::GET, "/namespaces", 1, Fault::AnswerBefore(Answer::error(403, 10000)));
    let state = world.provider.observe(&query).await.unwrap();
    assert!(state[&worker_key].present().is_some());
    assert!(matches!(&state[&kv], Observed::Unknown(reason) if reason.contains("api_token")), "{:?}", state[&kv]);
    // A Worker that goes between the list and the read is absent.
    world.proxy.inject(Method::GET, "/deployments", 1, Fault::AnswerBefore(Answer::error(404, 10007)));
    let state = world.provider.observe(&query).await.unwrap();
    assert_eq!((&state[&worker_key], &state[&kv]), (&Observed::Absent, &Observed::Absent));
}
