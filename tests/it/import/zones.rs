//! What lies in zones, and custom domains, on the edge's stand-in.

use serde_json::{Value, json};

use super::scene::{ENVIRONMENT, apply, desired, plan, run};
use crate::converge::scene::zone;
use crate::world::World;

/// An account, as its definitions name it.
const ACCOUNT: &str = "0123456789abcdef0123456789abcdef";

#[tokio::test(flavor = "multi_thread")]
async fn records_domains_and_rules_are_taken_over_as_they_are() {
    let world = World::empty().await;
    world.upload_foreign(ACCOUNT, "api", "export default { fetch() { return new Response('api'); } };").await;
    let zone = zone(&world).await;
    for record in [
        json!({ "type": "A", "name": "www.example.com", "content": "192.0.2.1", "ttl": 300, "comment": "the \"site\"" }),
        json!({ "type": "CNAME", "name": "cdn.example.com", "content": "www.example.com", "ttl": 1, "proxied": true }),
        json!({ "type": "MX", "name": "example.com", "content": "mx.example.com", "priority": 10, "ttl": 1 }),
        json!({ "type": "TXT", "name": "example.com", "content": "\"v=spf1 -all\"", "ttl": 1 }),
        json!({ "type": "A", "name": "*.example.com", "content": "192.0.2.2", "ttl": 1 }),
    ] {
        world.foreign("POST", &format!("/zones/{zone}/dns_records"), Some(record)).await;
    }
    let domain =
        json!({ "hostname": "api.example.com", "service": "api", "zone_name": "example.com", "environment": "production" });
    world.foreign("PUT", &format!("/accounts/{ACCOUNT}/workers/domains"), Some(domain)).await;
    let rule = |expression: &str, parameters: Value| json!({ "expression": expression, "action": "set_cache_settings", "action_parameters": parameters, "enabled": true });
    let rules = json!({ "rules": [
        rule("starts_with(http.request.uri.path, \"/static/\")", json!({ "cache": true, "edge_ttl": { "mode": "override_origin", "default": 86400 } })),
        rule("true", json!({ "cache": false })),
    ] });
    let path = format!("/zones/{zone}/rulesets/phases/http_request_cache_settings/entrypoint");
    world.foreign("PUT", &path, Some(rules)).await;

    let (endpoint, out) = (world.endpoint(), world.path("clone"));
    let arguments = ["import", "cloudflare", "--account", ACCOUNT, "--endpoint", &endpoint];
    let arguments = [&arguments[..], &["--environment", ENVIRONMENT, "--out", out.to_str().unwrap()]].concat();
    let ran = run(&world, &arguments);
    assert!(ran.status == 0 && !ran.err.contains("Not carried"), "{ran:?}");
    let targets = std::fs::read_to_string(world.path("clone/environments/live/targets.toml")).unwrap();
    assert!(targets.contains("[cloudflare.main]") && targets.contains(&endpoint), "{targets}");
    // The record that a custom domain brings is the domain's.
    assert_eq!(desired(&world, ENVIRONMENT).len(), 9, "{:#?}", desired(&world, ENVIRONMENT).keys());

    world.commit("Imported");
    let before = plan(&world);
    for change in before["changes"].as_array().unwrap() {
        assert_eq!((&change["action"], &change["fields"]), (&json!("adopt"), &json!([])), "{change:#}");
    }
    let kinds = |kind: &str| before["changes"].as_array().unwrap().iter().filter(|change| change["kind"] == kind).count();
    assert_eq!([kinds("dns"), kinds("domain"), kinds("worker")], [5, 0, 1], "{before:#}");
    apply(&world);
    assert_eq!(plan(&world)["changes"], json!([]));
    let records = world.foreign("GET", &format!("/zones/{zone}/dns_records?per_page=100"), None).await;
    let site = records.as_array().unwrap().iter().find(|record| record["name"] == "www.example.com").unwrap();
    assert!(site["comment"].as_str().unwrap().starts_with("the \"site\" trunkline:live/dns."), "{site}");
    world.end().await;
}
