//! Every kind with everything that it can say: applied once, there is nothing left to do; changed by somebody else, it is
//! healed.

use serde_json::json;

use super::{ACCOUNT, PRODUCTION, blocked, meddle, records, rules, world, zone};
use crate::converge::scene::{changes, drift};

const DEFINITIONS: &str = r#"
[dns.www]
zone = "example.com"
type = "A"
name = "WWW.example.com"
content = "192.0.2.1"
ttl = 300
comment = "the site"

[dns.www6]
zone = "example.com"
type = "AAAA"
name = "www.example.com"
content = "2001:DB8:0::1"

[dns.cdn]
zone = "example.com"
type = "CNAME"
name = "cdn.example.com."
content = "Origin.Example.ORG."
ttl = 300
proxied = true

[dns.mail]
zone = "example.com"
type = "MX"
name = "example.com"
content = "mx.example.com."
priority = 10

[dns.spf]
zone = "example.com"
type = "TXT"
name = "example.com"
content = "\"v=spf1 \" \"-all\""

[dns.sip]
zone = "example.com"
type = "SRV"
name = "_sip._tcp.example.com"
content = "5 5060 SIP.example.com."
priority = 20

[dns.ca]
zone = "example.com"
type = "CAA"
name = "example.com"
content = "0 issue letsencrypt.org"

[dns.wild]
zone = "example.org"
type = "A"
name = "*.example.org"
content = "192.0.2.5"

[worker.app]
main = "workers/w/index.js"

[domain.app]
hostname = "app.example.com"
zone_name = "example.com"
worker = "app"

[cache_rule.static]
zone = "example.com"
expression = 'starts_with(http.request.uri.path, "/static/")'
description = "static files"
edge_ttl = "1d"
browser_ttl = "respect_origin"
order = 10

[cache_rule.api]
zone = "example.com"
expression = 'starts_with(http.request.uri.path, "/api/")'
cache = false
order = 20

[cache_rule.rest]
zone = "example.com"
expression = "true"
enabled = false
"#;

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_a_zone_converges_and_is_healed_after_the_sdk_changed_it() {
    let world = world(DEFINITIONS).await;
    let ran = world.trunkline(&["check", world.path("clone").to_str().unwrap()]);
    assert!(
        ran.status == 0 && format!("{}{}", ran.out, ran.err).contains("a record that is proxied has the automatic time"),
        "{ran:?}"
    );
    world.apply();
    world.assert_converged();
    let all = records(&world).await;
    let of = |name: &str, sort: &str| all.iter().find(|r| r["name"] == name && r["type"] == sort).unwrap().clone();
    assert_eq!(of("www.example.com", "A")["comment"], "the site trunkline:production/dns.www");
    assert_eq!(of("cdn.example.com", "CNAME")["content"], "origin.example.org");
    assert_eq!(of("example.com", "TXT")["content"], "\"v=spf1 -all\"");
    assert_eq!(of("_sip._tcp.example.com", "SRV")["data"]["priority"], 20);
    assert_eq!(of("app.example.com", "AAAA")["content"], "100::", "the domain brought it");
    let order = |rules: &[serde_json::Value]| rules.iter().map(|r| r["ref"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    let ours = ["static:10", "api:20", "rest"].map(|name| format!("trunkline:production/cache_rule.{name}"));
    let mut found = order(&rules(&world).await);
    found.retain(|reference| !reference.ends_with("rest"));
    assert_eq!(found, ours[..2]);

    // A second pass that reads everything writes nothing.
    world.proxy.reset();
    world.apply();
    assert_eq!(world.proxy.writes(), [""; 0]);

    meddle(&world, &["change_records", "change_rules"]).await;
    let drifted = drift(&world);
    let fields =
        |of: &str| drifted.get(of).map(|fields| fields.iter().map(String::as_str).collect::<Vec<_>>()).unwrap_or_default();
    assert_eq!(fields("dns.www"), ["content", "ttl"], "{drifted:?}");
    assert_eq!((fields("dns.mail"), fields("dns.cdn")), (vec!["priority"], vec![""]), "{drifted:?}");
    let rule = fields("cache_rule.static");
    assert!(rule.contains(&"expression") && rule.contains(&"order") && rule.contains(&"description"), "{rule:?}");
    assert_eq!(drifted.len(), 4, "{drifted:?}");
    world.apply();
    world.assert_converged();
    let mut found = order(&rules(&world).await);
    found.retain(|reference| !reference.ends_with("rest"));
    assert_eq!(found, ours[..2]);
    let first = rules(&world).await.into_iter().find(|rule| rule["ref"] == ours[0].as_str()).unwrap();
    assert_eq!(first["action_parameters"]["edge_ttl"], json!({ "mode": "override_origin", "default": 86400 }));
    assert_eq!(first["action_parameters"]["origin_error_page_passthru"], true, "what is not ours of it stays");

    // A change of each sort of field; a key renamed.
    for (from, to) in [
        ("content = \"192.0.2.1\"", "content = \"192.0.2.2\""),
        ("comment = \"the site\"\n", ""),
        ("priority = 10", "priority = 5"),
        ("[dns.wild]", "[dns.wildcard]\nmoved = \"wild\""),
        ("[cache_rule.api]", "[cache_rule.rpc]\nmoved = \"api\""),
        ("order = 10", "order = 30"),
        ("edge_ttl = \"1d\"\n", ""),
        ("description = \"static files\"\n", ""),
        ("enabled = false\n", ""),
        ("hostname = \"app.example.com\"", "hostname = \"www2.example.com\""),
    ] {
        world.edit(PRODUCTION, from, to);
    }
    world.commit("Change everything");
    let planned = changes(&world);
    for change in [
        "update dns.www@main",
        "update dns.mail@main",
        "move dns.wildcard@main",
        "move cache_rule.rpc@main",
        "update cache_rule.static@main",
        "delete domain.app@main",
        "create domain.app@main",
    ] {
        assert!(planned.contains(&change.to_owned()), "{change} is not in {planned:?}");
    }
    world.apply();
    world.assert_converged();
    let found = order(&rules(&world).await);
    let at = |name: &str| found.iter().position(|reference| reference.contains(name)).unwrap();
    assert!(at("cache_rule.rpc:20") < at("cache_rule.static:30"), "{found:?}");
    let all = records(&world).await;
    assert!(
        all.iter().any(|r| r["name"] == "www2.example.com") && !all.iter().any(|r| r["name"] == "app.example.com"),
        "{all:?}"
    );
    let www = all.iter().find(|r| r["name"] == "www.example.com" && r["type"] == "A").unwrap();
    assert_eq!((&www["content"], &www["comment"]), (&json!("192.0.2.2"), &json!("trunkline:production/dns.www")));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_that_is_not_there_is_told_by_its_name() {
    let text = "[dns.a]\nzone = \"example.invalid\"\ntype = \"A\"\nname = \"a.example.invalid\"\ncontent = \"192.0.2.1\"\n";
    let world = world(text).await;
    let reason = blocked(&world, "production/dns.a");
    assert!(reason.contains("the account shows no zone `example.invalid`") && reason.contains("Zone Read"), "{reason}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_of_another_worker_is_never_taken() {
    let text = "[worker.app]\nmain = \"workers/w/index.js\"\n\n[domain.app]\nhostname = \"app.example.com\"\nzone_name = \"example.com\"\nworker = \"app\"\n";
    let world = world(text).await;
    world.upload_foreign(ACCOUNT, "other", "export default { fetch() { return new Response('o'); } };").await;
    let id = zone(&world).await;
    let theirs = json!({ "hostname": "app.example.com", "service": "other", "zone_id": id });
    let path = format!("/accounts/{ACCOUNT}/workers/domains");
    world.foreign("PUT", &path, Some(theirs)).await;
    assert!(blocked(&world, "production/domain.app").contains("not_ours"));
    // Not even by the word of the definition.
    world.edit(PRODUCTION, "worker = \"app\"\n", "worker = \"app\"\nadopt = true\n");
    world.commit("Take it over");
    let ran = world.trunkline(&["apply"]);
    assert_eq!(ran.status, 1, "{ran:?}");
    assert!(format!("{}{}", ran.out, ran.err).contains("is a custom domain of `other`"), "{ran:?}");
    assert_eq!(world.foreign("GET", &path, None).await[0]["service"], "other");

    // Once it is free, it is ours, and is taken back from whoever takes it after that.
    let domain = world.foreign("GET", &path, None).await[0]["id"].as_str().unwrap().to_owned();
    world.foreign("DELETE", &format!("{path}/{domain}"), None).await;
    world.apply();
    world.assert_converged();
    meddle(&world, &["change_domain"]).await;
    assert_eq!(changes(&world), ["update domain.app@main"]);
    world.apply();
    assert_eq!(world.foreign("GET", &path, None).await[0]["service"], "app-production");

    // A Worker that gets another key keeps its name, and its domain.
    world.edit(PRODUCTION, "[worker.app]", "[worker.site]\nmoved = \"app\"");
    world.edit(PRODUCTION, "worker = \"app\"", "worker = \"site\"");
    world.commit("Another key");
    assert_eq!(changes(&world), ["move worker.site@main"]);
    world.apply();
    world.assert_converged();
    assert_eq!(world.foreign("GET", &path, None).await[0]["service"], "app-production");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_made_twice_when_the_process_is_killed_before_it_saw_the_answer() {
    let text = "[dns.a]\nzone = \"example.com\"\ntype = \"A\"\nname = \"a.example.com\"\ncontent = \"192.0.2.1\"\n\n[cache_rule.a]\nzone = \"example.com\"\nexpression = \"true\"\norder = 1\n";
    let world = world(text).await;
    let kill = |at: &str| {
        let mut killed = world.command(&["apply"]);
        let _ = std::fs::remove_file(world.path("trace"));
        killed.env("TRUNKLINE_BOUNDARIES", world.path("trace")).env("TRUNKLINE_KILL_AT", at);
        assert!(!killed.output().unwrap().status.success(), "{at}");
    };
    kill("after_listed#1");
    world.apply();
    world.assert_converged();
    assert_eq!((records(&world).await.len(), rules(&world).await.len()), (1, 1));
    for (from, to, at) in
        [("192.0.2.1", "192.0.2.2", "after_listed#1"), ("expression = \"true\"", "expression = \"false\"", "after_listed#1")]
    {
        world.edit(PRODUCTION, from, to);
        world.commit("A change");
        kill(at);
        world.apply();
        world.assert_converged();
    }
    assert_eq!(
        (&records(&world).await[0]["content"], &rules(&world).await[0]["expression"]),
        (&json!("192.0.2.2"), &json!("false"))
    );
    world.write(
        PRODUCTION,
        std::fs::read_to_string(world.path("clone").join(PRODUCTION)).unwrap().split("[dns.a]").next().unwrap(),
    );
    world.commit("Both go\n\nAcknowledge: production delete-budget");
    kill("after_listed_delete#1");
    world.apply();
    world.assert_converged();
    assert_eq!((records(&world).await.len(), rules(&world).await.len()), (0, 0));
    world.end().await;
}
