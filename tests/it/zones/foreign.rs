//! What is not ours in a zone survives everything.

use serde_json::json;

use super::{PRODUCTION, blocked, meddle, records, world, zone};
use crate::converge::scene::changes;

const DEFINITIONS: &str = r#"
[dns.www]
zone = "example.com"
type = "A"
name = "www.example.com"
content = "192.0.2.1"

[dns.text]
zone = "example.com"
type = "TXT"
name = "example.com"
content = "ours=1"

[cache_rule.one]
zone = "example.com"
expression = "true"
order = 1

[cache_rule.two]
zone = "example.com"
expression = "false"
order = 2
"#;

#[tokio::test(flavor = "multi_thread")]
async fn records_and_rules_of_others_keep_their_places_and_their_bytes() {
    let world = world(DEFINITIONS).await;
    let before = meddle(&world, &["theirs", "show"]).await;
    let theirs = async || {
        let mut now = meddle(&world, &["show"]).await;
        now["records"].as_array_mut().unwrap().retain(|r| !r["comment"].as_str().unwrap_or_default().contains("trunkline:"));
        now["rules"].as_array_mut().unwrap().retain(|rule| !rule["ref"].as_str().unwrap().contains("trunkline:"));
        now
    };
    world.apply();
    world.assert_converged();
    assert_eq!(theirs().await, before);
    world.edit(PRODUCTION, "192.0.2.1", "192.0.2.2");
    world.edit(PRODUCTION, "order = 1\n", "order = 3\n");
    world.edit(PRODUCTION, "ours=1", "ours=2");
    world.commit("Change ours");
    world.apply();
    world.assert_converged();
    assert_eq!(theirs().await, before);
    world.edit(PRODUCTION, "digest_key = { secret = \"digest-key\" }", "digest_key = { secret = \"digest-key\" }\nretire = true");
    world.commit("End it\n\nAcknowledge: production delete-budget");
    world.apply();
    assert_eq!(meddle(&world, &["show"]).await, before, "only ours went");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_there_before_us_is_left_until_it_is_adopted() {
    let text = "[dns.www]\nzone = \"example.com\"\ntype = \"A\"\nname = \"www.example.com\"\ncontent = \"192.0.2.1\"\n\n[cache_rule.theirs]\nzone = \"example.com\"\nexpression = \"true\"\nref = \"their-rule\"\n";
    let world = world(text).await;
    let id = zone(&world).await;
    let record = json!({ "type": "A", "name": "www.example.com", "content": "192.0.2.1", "ttl": 300, "comment": "by hand", "tags": ["theirs"] });
    let made = world.foreign("POST", &format!("/zones/{id}/dns_records"), Some(record)).await;
    let rule = json!({ "rules": [{ "action": "set_cache_settings", "expression": "false", "ref": "their-rule", "action_parameters": { "cache": true } }] });
    let path = format!("/zones/{id}/rulesets/phases/http_request_cache_settings/entrypoint");
    let ruleset = world.foreign("PUT", &path, Some(rule)).await;
    for address in ["production/dns.www", "production/cache_rule.theirs"] {
        assert!(blocked(&world, address).contains("not_ours"), "{address}");
    }
    world.edit(PRODUCTION, "[dns.www]", "[dns.www]\nadopt = true");
    world.edit(PRODUCTION, "[cache_rule.theirs]", "[cache_rule.theirs]\nadopt = true");
    world.commit("Take them over");
    assert_eq!(changes(&world), ["adopt cache_rule.theirs@main", "adopt dns.www@main"]);
    world.apply();
    world.assert_converged();
    let record = records(&world).await.remove(0);
    assert_eq!((&record["id"], &record["ttl"], &record["tags"]), (&made["id"], &json!(1), &json!(["theirs"])));
    assert_eq!(record["comment"], "by hand trunkline:production/dns.www", "what a person wrote there stays");
    let rule = world.foreign("GET", &path, None).await["rules"][0].clone();
    assert_eq!(
        (&rule["id"], &rule["expression"], &rule["ref"]),
        (&ruleset["rules"][0]["id"], &json!("true"), &json!("their-rule"))
    );
    world.end().await;
}
