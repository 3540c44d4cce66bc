//! Zones are looked up once, and again where the API no longer knows the id that was found.

use super::everything::ACCOUNT;
use super::passes::Passes;
use crate::world::{TOKEN, World};

const FILE: &str = "environments/production/production.toml";

async fn world() -> World {
    let world = World::empty().await;
    world.write("trunkline.toml", "format = 1\n");
    world.write("environments/production/secrets.toml", "");
    let target = format!(
        "[cloudflare.main]\naccount_id = \"{ACCOUNT}\"\nendpoint = \"{}\"\napi_token = {{ secret = \"edge-token\" }}\n",
        world.endpoint()
    );
    let records = "[dns.a]\nzone = \"example.com\"\ntype = \"A\"\nname = \"a.example.com\"\ncontent = \"192.0.2.1\"\n";
    let rules = "[cache_rule.a]\nzone = \"example.com\"\nexpression = \"true\"\n";
    world.write(FILE, &format!("{target}{records}{rules}"));
    world.set_secret("production", "edge-token", TOKEN);
    world.commit("A zone");
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_that_was_taken_out_and_added_again_is_found_again() {
    let world = world().await;
    let passes = Passes::of(&world);
    let lookups = |reads: &[String]| reads.iter().filter(|line| *line == "GET /zones").count();
    assert_eq!(lookups(&passes.pass("production", false).await.reads), 1, "records and rules share it");
    assert_eq!(lookups(&passes.pass("production", true).await.reads), 0, "it is known");

    let id = world.foreign("GET", "/zones?name=example.com", None).await[0]["id"].as_str().unwrap().to_owned();
    world.foreign("DELETE", &format!("/zones/{id}"), None).await;
    let again = passes.pass("production", true).await;
    assert_eq!(lookups(&again.reads), 1, "{:?}", again.reads);
    let made = [format!("POST /zones/{id}/dns_records"), format!("POST /zones/{id}/rulesets")];
    let mut writes = again.writes.clone();
    writes.sort();
    assert_eq!(writes, made);
    assert_eq!(passes.pass("production", true).await.writes, [""; 0]);
    drop(passes);
    world.end().await;
}
