//! One limit for each token: what one environment is told, all wait for that share it.

use std::time::{Duration, Instant};

use http::Method;
use trunkline::model::Retry;
use trunkline::provider::cloudflare::{CloudflareProvider, Paces};
use trunkline::provider::{Lookup, Provider as _, ProviderError, Query};

use super::world::{TOKEN, World, key, paced, patience};
use crate::proxy::{Answer, Fault};

fn query(environment: &str) -> Query {
    let lookup = Lookup { claim: "a".into(), spec: None, owned: None };
    Query { instances: [(key(&format!("{environment}/worker.a@main")), lookup)].into(), ..Query::default() }
}

async fn refused(provider: &CloudflareProvider, environment: &str) -> ProviderError {
    provider.observe(&query(environment)).await.expect_err("it is not to be called")
}

/// For how long an error says that nothing is to be tried again.
fn later(error: &ProviderError) -> Duration {
    let Retry::After(delay) = error.retry else { panic!("{error:?}") };
    delay
}

#[tokio::test]
async fn what_one_environment_is_told_all_wait_for_that_share_its_token() {
    let world = World::start().await;
    let paces = Paces::new(4);
    let of = |token: &str| paced(world.proxy.address, token, patience(), paces.clone());
    let (staging, production, other) = (of(TOKEN), of(TOKEN), of("another-token"));
    let busy = Answer::error(429, 10429).header("retry-after", "300");
    world.proxy.inject(Method::GET, "/workers/scripts", 1, Fault::AnswerBefore(busy));
    let error = refused(&staging, "staging").await;
    assert!(later(&error) > Duration::from_secs(200), "{error:?}");

    world.proxy.reset();
    let error = refused(&production, "production").await;
    assert!(later(&error) > Duration::from_secs(200), "{error:?}");
    assert!(error.message.contains(", until 2") && error.message.ends_with(" UTC"), "it says until when: {error}");
    assert!(error.hint.is_some_and(|hint| hint.contains("a token of its own")));
    assert!(world.proxy.calls().is_empty(), "nobody calls meanwhile");

    let error = refused(&other, "production").await;
    assert_eq!(error.retry, Retry::Stalled, "another token is another limit: {error}");
    assert!(!world.proxy.calls().is_empty());
}

#[tokio::test]
async fn a_refusal_that_does_not_say_how_long_is_not_tried_again_at_once() {
    let world = World::start().await;
    world.proxy.inject(Method::GET, "/workers/scripts", 99, Fault::AnswerBefore(Answer::error(429, 10429)));
    let error = refused(&world.provider, "production").await;
    assert!(later(&error) > Duration::from_secs(5), "{error:?}");
    let asked = world.proxy.calls().iter().filter(|call| call.path.ends_with("/workers/scripts")).count();
    assert_eq!(asked, 1);
}

#[tokio::test]
async fn calls_are_spread_before_the_budget_is_gone_whoever_makes_them() {
    let world = World::start().await;
    let paces = Paces::new(4);
    let of = |token: &str| paced(world.proxy.address, token, patience(), paces.clone());
    let (staging, production, other) = (of(TOKEN), of(TOKEN), of("another-token"));
    let nearly = |page: &str| Answer::body(200, page).header("ratelimit", "\"default\";r=2;t=3");
    let none = r#"{"success":true,"errors":[],"messages":[],"result":[]}"#;
    for list in ["/workers/scripts", "/workers/workers"] {
        world.proxy.inject(Method::GET, list, 1, Fault::AnswerBefore(nearly(none)));
    }
    staging.observe(&query("staging")).await.unwrap();
    let begun = Instant::now();
    production.observe(&query("production")).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(1), "the second list waits its turn");
    // One whose token has a budget of its own does not wait for it.
    refused(&other, "production").await;
    assert_eq!(world.proxy.calls().len(), 6);
}
