//! What lies in zones: DNS records, custom domains, cache rules, purges; through the whole program, with Cloudflare's SDK for
//! Python as the other one who changes things.

#[path = "zones/foreign.rs"]
mod foreign;
#[path = "zones/kinds.rs"]
mod kinds;
#[path = "zones/lag.rs"]
mod lag;
#[path = "zones/purge.rs"]
mod purge;
#[path = "zones/triggers.rs"]
mod triggers;
#[path = "zones/wrong.rs"]
mod wrong;

use serde_json::Value;

use crate::stand_in::clients::python;
use crate::world::{TOKEN, World};

/// The account that these tests name.
pub(crate) const ACCOUNT: &str = "0123456789abcdef0123456789abcdef";
/// Where the definitions stand.
const PRODUCTION: &str = "environments/production/production.toml";

/// A world with `text` as its definitions, on an account whose API is the edge's with its stand-in.
pub(crate) async fn world(text: &str) -> World {
    let world = World::empty().await;
    world.write("trunkline.toml", "format = 1\n");
    world.write("environments/production/secrets.toml", "");
    let head = format!(
        "[environment]\ndigest_key = {{ secret = \"digest-key\" }}\n\n[cloudflare.main]\naccount_id = \"{ACCOUNT}\"\nendpoint = \"{}\"\napi_token = {{ secret = \"edge-token\" }}\n\n",
        world.endpoint()
    );
    world.write(PRODUCTION, &format!("{head}{text}"));
    world.write("workers/w/index.js", "export default { fetch() { return new Response('w'); } };");
    world.set_secret("production", "edge-token", TOKEN);
    world.commit("Definitions");
    world
}

/// Steps of somebody else, see `tests/python/meddle.py`; what the last one printed.
pub(crate) async fn meddle(world: &World, steps: &[&str]) -> Value {
    let api = world.edge.as_ref().unwrap().api_addr();
    let said = python(api, (TOKEN, ACCOUNT), "meddle.py", steps).await;
    serde_json::from_str(&said).unwrap_or(Value::Null)
}

/// The id of `example.com`.
async fn zone(world: &World) -> String {
    world.foreign("GET", "/zones?name=example.com", None).await[0]["id"].as_str().unwrap().to_owned()
}

/// The records of `example.com`.
async fn records(world: &World) -> Vec<Value> {
    let path = format!("/zones/{}/dns_records?per_page=1000", zone(world).await);
    world.foreign("GET", &path, None).await.as_array().unwrap().clone()
}

/// The cache rules of `example.com`.
async fn rules(world: &World) -> Vec<Value> {
    let path = format!("/zones/{}/rulesets/phases/http_request_cache_settings/entrypoint", zone(world).await);
    world.foreign("GET", &path, None).await["rules"].as_array().unwrap().clone()
}

/// The plan, whatever is in it.
fn planned(world: &World) -> Value {
    let ran = world.trunkline(&["plan", "--output", "json"]);
    let document: Value = serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    document["plans"][0]["plan"].clone()
}

/// The reason why an instance is blocked, as a plan says it.
fn blocked(world: &World, address: &str) -> String {
    let all = planned(world)["blocked"].as_array().cloned().unwrap_or_default();
    all.iter().filter(|blocked| blocked["address"] == address).map(ToString::to_string).collect()
}
