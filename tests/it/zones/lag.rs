//! Lists that show late what is there: what bears our mark is ours, and nothing is made twice.

use http::Method;
use serde_json::{Value, json};

use super::{PRODUCTION, blocked, records, world, zone};
use crate::proxy::{Answer, Fault};
use crate::world::World;

const RECORD: &str = "[dns.a]\nzone = \"example.com\"\ntype = \"A\"\nname = \"a.example.com\"\ncontent = \"192.0.2.1\"\n";

/// How far the lists of the API are behind from now on.
async fn lag(world: &World, milliseconds: u64) {
    let api = world.edge.as_ref().unwrap().api_addr();
    let request = reqwest::Client::new().post(format!("http://{api}/__lists")).bearer_auth(crate::world::TOKEN);
    let body = json!({ "delay_ms": milliseconds }).to_string();
    let answer = request.header("content-type", "application/json").body(body).send().await.unwrap();
    assert!(answer.status().is_success());
}

/// The next `times` lists of records show nothing.
fn show_nothing(world: &World, times: usize) {
    let empty = r#"{"success":true,"errors":[],"messages":[],"result":[],"result_info":{"page":1,"per_page":1000,"count":0,"total_count":0}}"#;
    world.proxy.reset();
    world.proxy.inject(Method::GET, "/dns_records", times, Fault::AnswerBefore(Answer::body(200, empty)));
}

fn writes(world: &World) -> Vec<String> {
    let calls = world.proxy.calls();
    calls
        .iter()
        .filter(|call| call.is_write())
        .map(|call| format!("{} {}", call.method, call.status.unwrap_or_default()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_of_ours_that_the_list_shows_late_is_taken_as_made() {
    let world = world(RECORD).await;
    world.apply();
    let made = records(&world).await;
    // For the plan, for the order, and at the first look at what the API says is there.
    show_nothing(&world, 3);
    world.apply();
    assert_eq!(writes(&world), ["POST 400", "PATCH 200"]);
    world.assert_converged();
    let now = records(&world).await;
    assert_eq!((now.len(), &now[0]["id"], &now[0]["comment"]), (1, &made[0]["id"], &made[0]["comment"]));
    assert_eq!(world.status("production")["condition"], "Ready");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_stays_behind_is_a_conflict_until_it_has_caught_up() {
    let world = world(RECORD).await;
    lag(&world, 3_600_000).await;
    world.apply();
    let ran = world.trunkline(&["apply"]);
    assert_eq!(ran.status, 1, "{ran:?}");
    let status = world.status("production");
    assert_eq!((&status["condition"], &status["reason"]), (&json!("Reconciling"), &json!("apply_failed")), "{status:#}");
    assert!(status["message"].as_str().unwrap().contains("the list does not show it yet"), "{status:#}");
    lag(&world, 0).await;
    assert_eq!(records(&world).await.len(), 1);
    // No commit and no person is needed.
    world.proxy.reset();
    world.apply();
    assert_eq!(world.proxy.writes(), [""; 0]);
    world.assert_converged();
    assert_eq!(world.status("production")["condition"], "Ready");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_of_somebody_else_that_the_list_shows_late_is_left_alone() {
    let world = world(RECORD).await;
    let theirs = json!({ "type": "A", "name": "a.example.com", "content": "192.0.2.1", "ttl": 300, "comment": "by hand" });
    let id = zone(&world).await;
    let made: Value = world.foreign("POST", &format!("/zones/{id}/dns_records"), Some(theirs)).await;
    show_nothing(&world, 2);
    let ran = world.trunkline(&["apply"]);
    assert_eq!(ran.status, 1, "{ran:?}");
    assert!(format!("{}{}", ran.out, ran.err).contains("bears no mark of ours"), "{ran:?}");
    assert_eq!(writes(&world), ["POST 400"]);
    assert_eq!(records(&world).await, std::slice::from_ref(&made));
    world.proxy.reset();
    assert!(blocked(&world, "production/dns.a").contains("not_ours"));
    world.edit(PRODUCTION, "[dns.a]", "[dns.a]\nadopt = true");
    world.commit("Take it over");
    world.apply();
    world.assert_converged();
    assert_eq!(records(&world).await[0]["id"], made["id"]);
    world.end().await;
}
