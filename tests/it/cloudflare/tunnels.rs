//! Tunnels and what lies behind them, and dispatch namespaces: the records of them, which a stand-in keeps.

use http::Method;
use serde_json::json;
use trunkline::provider::Outcome;

use super::account::{Account, lines};
use super::world::shown;
use crate::proxy::{Answer, Fault, Moment};

const DEFINED: &str = r#"
[tunnel.origin]
ingress = [
    { hostname = "api.example.com", path = "^/v1/", service = "http://localhost:8080" },
    { hostname = "*.example.com", service = "http_status:503" },
]
[vpc_service.engine]
host = "10.0.0.5"
http_port = 8080
tunnel = "origin"
[vpc_service.database]
type = "tcp"
tcp_port = 5432
host = "db.internal"
resolvers = ["10.0.0.2"]
tunnel = "origin"
cert_verification = "verify_ca"
[dispatch_namespace.customers]
"#;

async fn account() -> Account {
    let mut account = Account::start().await;
    account.define(DEFINED);
    account
}

fn configuration(account: &Account) -> String {
    format!("cfd_tunnel/{}/configurations", account.attribute("tunnel.origin", "id"))
}

#[tokio::test]
async fn a_tunnel_and_what_is_behind_it_converge() {
    let mut account = account().await;
    let order = lines(&account.apply().await);
    let at = |line: &str| order.iter().position(|found| found == line).unwrap_or_else(|| panic!("{line}: {order:#?}"));
    assert!(at("create tunnel.origin") < at("create vpc_service.engine"));
    account.assert_converged().await;
    let config = account.foreign("GET", &configuration(&account), None).await["config"].clone();
    assert_eq!(config["ingress"].as_array().unwrap().len(), 3);
    assert_eq!(config["ingress"][2], json!({ "service": "http_status:404" }));
    let id = account.attribute("tunnel.origin", "id");
    let services = account.foreign("GET", "connectivity/directory/services", None).await;
    assert!(services.to_string().matches(&id).count() == 2, "{services}");

    // Another name is the same tunnel; what lies behind it stays as it is.
    account.define(&DEFINED.replace("[tunnel.origin]", "[tunnel.origin]\nname = \"renamed\""));
    assert_eq!(lines(&account.apply().await), ["update tunnel.origin: name"]);
    assert_eq!(account.attribute("tunnel.origin", "id"), id);
    account.assert_converged().await;
    account.define(&DEFINED.replace("8080\n", "8081\n"));
    // Where the definition names none it keeps the name that it has.
    assert_eq!(lines(&account.apply().await), ["update vpc_service.engine: http_port"]);
    account.assert_converged().await;
}

#[tokio::test]
async fn rules_that_somebody_added_stand_in_the_plan_as_going_and_the_rest_is_kept() {
    let mut account = account().await;
    account.apply().await;
    let path = configuration(&account);
    let theirs = json!({ "config": {
        "ingress": [{ "hostname": "theirs.example.com", "service": "http://localhost:1" }, { "service": "http_status:404" }],
        "originRequest": { "connectTimeout": 5 },
    } });
    account.foreign("PUT", &path, Some(theirs)).await;
    // No list shows rules: only a deep look sees them.
    let (_, planned) = account.plan(false).await;
    assert!(planned.is_empty());
    let (_, planned) = account.plan(true).await;
    assert_eq!(lines(&planned), ["update tunnel.origin: ingress"]);
    let before = serde_json::to_string(&planned.changes[0].before).unwrap();
    assert!(before.contains("theirs.example.com"), "{before}");

    // What a definition changes is looked at in full before it is planned.
    account.define(&DEFINED.replace("localhost:8080", "localhost:8081"));
    assert_eq!(lines(&account.apply().await), ["update tunnel.origin: ingress"]);
    account.assert_converged().await;
    let config = account.foreign("GET", &path, None).await["config"].clone();
    assert_eq!(config["originRequest"], json!({ "connectTimeout": 5 }));
    assert_eq!(config["ingress"][0]["service"], "http://localhost:8081");
}

#[tokio::test]
async fn rules_that_change_after_the_plan_are_not_overwritten() {
    let mut account = account().await;
    account.apply().await;
    let path = configuration(&account);
    account.define(&DEFINED.replace("localhost:8080", "localhost:8081"));
    let (bundle, planned) = account.plan(false).await;
    let theirs = json!({ "config": { "ingress": [{ "service": "http_status:500" }] } });
    account.foreign("PUT", &path, Some(theirs)).await;
    let order = account.order(&bundle, &planned.changes[0]);
    let outcome = account.world.carry_out(&order).await;
    assert!(matches!(outcome, Outcome::Conflict(_)), "{}", shown(&outcome));
    let config = account.foreign("GET", &path, None).await["config"].clone();
    assert_eq!(config["ingress"], json!([{ "service": "http_status:500" }]));
}

#[tokio::test]
async fn a_tunnel_that_was_made_in_part_is_ours_and_is_completed() {
    let mut account = account().await;
    account.define("[tunnel.origin]\ningress = [{ hostname = \"a.example.com\", service = \"http://localhost:1\" }]\n");
    account.world.proxy.at_write(2, Moment::BeforeEffect, || {});
    let (_, outcome) = account.try_apply().await;
    assert!(matches!(outcome, Some(Outcome::Unknown(_))), "{outcome:?}");
    assert_eq!(lines(&account.apply().await), ["update tunnel.origin: ingress"]);
    account.assert_converged().await;
    let all = account.foreign("GET", "cfd_tunnel?is_deleted=false", None).await;
    assert_eq!(all.as_array().unwrap().len(), 1, "{all}");
}

#[tokio::test]
async fn a_tunnel_in_use_is_not_deleted_and_its_token_is_in_no_record() {
    let mut account = account().await;
    account.foreign("POST", "cfd_tunnel", Some(json!({ "name": "theirs", "config_src": "cloudflare" }))).await;
    account.apply().await;
    let token = account.world.provider.tunnel_token(&account.attribute("tunnel.origin", "id")).await;
    let token = token.map(|token| token.expose_text().unwrap().to_owned()).unwrap_or_else(|error| panic!("{error}"));
    assert!(token.len() > 40);
    let inventory = serde_json::to_string(&account.world.inventory.values().collect::<Vec<_>>()).unwrap();
    assert!(!inventory.contains(&token));

    account.define("");
    account.acknowledged = ["p/dispatch_namespace.customers".parse().unwrap()].into();
    let (_, planned) = account.plan(false).await;
    let order = lines(&planned);
    let last = order.iter().position(|line| line == "delete tunnel.origin").unwrap();
    assert!(order[..last].iter().filter(|line| line.contains("vpc_service")).count() == 2, "{order:#?}");
    let id = account.attribute("tunnel.origin", "id");
    account.world.proxy.inject(Method::DELETE, &id, 1, Fault::AnswerBefore(Answer::error(400, 1022)));
    let (_, outcome) = account.try_apply().await;
    let Some(Outcome::Refused(error)) = outcome else { panic!("{outcome:?}") };
    assert_eq!(error.to_string(), "tunnel `origin-p` has active connections, and is not deleted");
    assert!(error.hint.unwrap().contains("cloudflared"));
    account.apply().await;
    assert!(account.world.inventory.is_empty());
    let all = account.foreign("GET", "cfd_tunnel?is_deleted=false", None).await;
    assert_eq!(all.as_array().unwrap().iter().map(|one| one["name"].clone()).collect::<Vec<_>>(), ["theirs"]);
}

#[tokio::test]
async fn a_tunnel_that_hosts_configure_is_not_taken_for_one_of_ours() {
    let mut account = Account::start().await;
    account.foreign("POST", "cfd_tunnel", Some(json!({ "name": "origin-p" }))).await;
    account.define("[tunnel.origin]\nadopt = true\ningress = []\n");
    let (_, outcome) = account.try_apply().await;
    let Some(Outcome::Refused(error)) = outcome else { panic!("{outcome:?}") };
    assert_eq!(error.to_string(), "tunnel `origin-p` is configured by files on its hosts");
}
