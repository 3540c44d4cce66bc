//! What the platform keeps in lists, kind by kind: converged, put right, left alone, deleted. The account is an edge, which
//! runs what these kinds are.

use serde_json::json;
use trunkline::model::Address;
use trunkline::plan::{RenderOptions, render_text, to_json};
use trunkline::provider::Outcome;

use super::account::{Account, lines};
use super::world::{CLIENT_KEY, shown};
use crate::proxy::Moment;

/// Every kind that an edge runs, and a Worker that is bound to all of them.
pub(super) const ALL: &str = r#"
[kv.sessions]
[r2.media]
location = "weur"
[r2.private]
jurisdiction = "eu"
[d1.ads]
location = "weur"
read_replication = "auto"
migrations = "migrations/ads"
[queue.clicks]
delivery_delay = 5
retention = 3600
consumer = { worker = "api", batch_size = 50, batch_timeout = 2, dead_letter_queue = "dead" }
[queue.dead]
consumer = { http_pull = true, visibility_timeout_ms = 20000 }
[hyperdrive.db]
origin = { scheme = "postgres", host = "db.example.com", database = "ads", user = "ads", password = { secret = "value-one" } }
caching = { max_age = 30 }
connection_limit = 20
[mtls_certificate.client]
certificate = "certs/client.pem"
private_key = { secret = "client-key" }
[worker.api]
main = "w/index.js"
compatibility_date = "2026-11-01"
[worker.api.bindings]
SESSIONS = { kv = "sessions" }
MEDIA = { r2 = "media" }
PRIVATE = { r2 = "private" }
ADS = { d1 = "ads" }
CLICKS = { queue = "clicks", delivery_delay = 10 }
DB = { hyperdrive = "db" }
CLIENT = { mtls_certificate = "client" }
"#;

const INIT: &str = "CREATE TABLE ads (id INTEGER PRIMARY KEY);\nINSERT INTO ads VALUES (1);\n-- no end";
const SECOND: &str = "INSERT INTO ads VALUES (2)";

async fn account() -> Account {
    let mut account = Account::start().await;
    account.write("migrations/ads/0001_init.sql", INIT);
    account.define(ALL);
    account
}

async fn rows(account: &Account, sql: &str) -> serde_json::Value {
    let path = format!("d1/database/{}/query", account.attribute("d1.ads", "id"));
    account.foreign("POST", &path, Some(json!({ "sql": sql }))).await[0]["results"].clone()
}

#[tokio::test]
async fn every_kind_converges_and_no_secret_is_seen() {
    let mut account = account().await;
    let (_, planned) = account.plan(true).await;
    let planned = format!("{}{}", render_text(&planned, &|_| None, &RenderOptions::default()), to_json(&planned));
    let first = account.apply().await;
    let order: Vec<String> = lines(&first);
    let at = |line: &str| order.iter().position(|found| found == line).unwrap_or_else(|| panic!("{line}: {order:#?}"));
    // The Worker sends to the queue that it takes from.
    assert!(at("create queue.clicks") < at("create worker.api"));
    assert!(at("create worker.api") < at("create queue_consumer.clicks"));
    account.assert_converged().await;
    assert_eq!(rows(&account, "SELECT id FROM ads").await, json!([{ "id": 1 }]));

    // Values are in the bodies of the two calls that take them, and nowhere else.
    let bodies: Vec<String> =
        account.world.proxy.calls().iter().map(|call| String::from_utf8_lossy(&call.body).into_owned()).collect();
    let key = CLIENT_KEY.lines().nth(1).unwrap();
    for secret in ["s3cr3t-of-value-one", key] {
        assert_eq!(bodies.iter().filter(|body| body.contains(secret)).count(), 1, "{secret}");
        let inventory = serde_json::to_string(&account.world.inventory.values().collect::<Vec<_>>()).unwrap();
        assert!(!planned.contains(secret) && !inventory.contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn one_look_at_all_kinds_is_one_list_of_each() {
    let mut account = account().await;
    account.apply().await;
    account.plan(false).await;
    account.world.proxy.reset();
    let (_, planned) = account.plan(false).await;
    assert!(planned.is_empty());
    let mut calls: Vec<String> = account.world.proxy.calls().iter().map(|call| call.line()).collect();
    calls.sort();
    // R2 has one list for each jurisdiction; consumers are in the list of queues; Workers have two lists.
    assert_eq!(calls.len(), 9, "{calls:#?}");
    calls.dedup();
    assert_eq!(calls.len(), 8, "{calls:#?}");
}

#[tokio::test]
async fn what_somebody_else_changes_is_seen_field_by_field_and_put_right() {
    let mut account = account().await;
    account.apply().await;
    let id = |address: &str| account.attribute(address, "id");
    let queue = id("queue.clicks");
    let consumer = format!("queues/{queue}/consumers/{}", id("queue_consumer.clicks"));
    let changes = [
        (
            "PUT",
            format!("storage/kv/namespaces/{}", id("kv.sessions")),
            json!({ "title": "theirs" }),
            "update kv.sessions: title",
        ),
        (
            "PATCH",
            format!("queues/{queue}"),
            json!({ "settings": { "delivery_delay": 7, "message_retention_period": 3600 } }),
            "update queue.clicks: settings.delivery_delay",
        ),
        (
            "PUT",
            consumer.clone(),
            json!({ "type": "worker", "script_name": "api-p", "dead_letter_queue": "dead-p", "settings": { "batch_size": 1, "max_wait_time_ms": 2000 } }),
            "update queue_consumer.clicks: settings.batch_size",
        ),
        ("DELETE", consumer, json!({}), "create queue_consumer.clicks"),
        (
            "PATCH",
            format!("hyperdrive/configs/{}", id("hyperdrive.db")),
            json!({ "origin_connection_limit": 50 }),
            // Somebody who wrote there may have set the password too.
            "update hyperdrive.db: origin.password, origin_connection_limit",
        ),
        (
            "PATCH",
            format!("d1/database/{}", id("d1.ads")),
            json!({ "read_replication": { "mode": "disabled" } }),
            "update d1.ads: read_replication.mode",
        ),
    ];
    for (method, path, body, expected) in changes {
        account.foreign(method, &path, Some(body).filter(|_| method != "DELETE")).await;
        let (_, planned) = account.plan(true).await;
        assert_eq!(lines(&planned), [expected], "{method} {path}");
        assert!(planned.changes.iter().all(trunkline::plan::Change::is_drift_only), "{planned:#?}");
        // An apply follows lists; what no list shows is seen by the deep look that came before it.
        if !expected.contains("d1.") {
            assert_eq!(lines(&account.apply().await), [expected]);
            account.assert_converged().await;
        }
    }
}

#[tokio::test]
async fn what_is_not_ours_is_left_alone_and_what_holds_data_waits_for_a_word() {
    let mut account = account().await;
    account.foreign("POST", "queues", Some(json!({ "queue_name": "theirs" }))).await;
    account.foreign("POST", "d1/database", Some(json!({ "name": "theirs" }))).await;
    account.foreign("POST", "r2/buckets", Some(json!({ "name": "theirs" }))).await;
    // The same name in another jurisdiction is another bucket.
    account.foreign("POST", "r2/buckets", Some(json!({ "name": "private-p" }))).await;
    let config =
        json!({ "name": "theirs", "origin": { "scheme": "mysql", "host": "h", "database": "d", "user": "u", "password": "p" } });
    account.foreign("POST", "hyperdrive/configs", Some(config)).await;
    account.apply().await;
    account.define("");
    let (_, planned) = account.plan(true).await;
    let kept: Vec<String> = planned.orphaned.iter().map(|orphan| orphan.key.address.local().to_string()).collect();
    assert_eq!(kept, ["kv.sessions", "r2.media", "r2.private", "d1.ads", "queue.clicks", "queue.dead"]);
    account.acknowledged = kept.iter().map(|kept| format!("p/{kept}").parse::<Address>().unwrap()).collect();
    let planned = account.apply().await;
    let order = lines(&planned);
    let at = |line: &str| order.iter().position(|found| found == line).unwrap_or_else(|| panic!("{line}: {order:#?}"));
    assert!(at("delete queue_consumer.clicks") < at("delete worker.api"));
    assert!(at("delete worker.api") < at("delete queue.clicks"));
    assert!(account.world.inventory.is_empty(), "{:?}", account.world.inventory);
    for (path, field, names) in [
        ("queues", "queue_name", vec!["theirs"]),
        ("d1/database", "name", vec!["theirs"]),
        ("hyperdrive/configs", "name", vec!["theirs"]),
        ("storage/kv/namespaces", "title", vec![]),
        ("mtls_certificates", "name", vec![]),
    ] {
        let all = account.foreign("GET", path, None).await;
        let found: Vec<&str> = all.as_array().unwrap().iter().filter_map(|item| item[field].as_str()).collect();
        assert_eq!(found, names, "{path}");
    }
    let buckets = account.foreign("GET", "r2/buckets", None).await["buckets"].clone();
    assert_eq!(buckets.as_array().unwrap().len(), 2, "{buckets}");
}

#[tokio::test]
async fn a_thing_of_that_name_is_taken_over_only_where_the_definition_says_so() {
    let mut account = Account::start().await;
    account.foreign("POST", "queues", Some(json!({ "queue_name": "clicks-p" }))).await;
    account.define("[queue.clicks]\ndelivery_delay = 3\n");
    let (_, planned) = account.plan(false).await;
    assert!(planned.is_empty() && planned.blocked.len() == 1, "{planned:#?}");
    account.define("[queue.clicks]\ndelivery_delay = 3\nadopt = true\n");
    assert_eq!(lines(&account.apply().await), ["adopt queue.clicks: settings.delivery_delay"]);
    account.assert_converged().await;
}

#[tokio::test]
async fn a_setting_that_leaves_the_definition_is_the_platforms_own_again() {
    let mut account = Account::start().await;
    account.define("[queue.a]\ndelivery_delay = 3\nretention = 60\n");
    account.apply().await;
    account.define("[queue.a]\nretention = 60\n");
    account.apply().await;
    account.assert_converged().await;
    let queues = account.foreign("GET", "queues", None).await;
    let settings = &queues[0]["settings"];
    assert_eq!((&settings["delivery_delay"], &settings["message_retention_period"]), (&json!(0), &json!(60)));

    // Another name is no other queue, and its consumer goes along.
    account.define("[queue.a]\nname = \"renamed\"\nretention = 60\nconsumer = { http_pull = true }\n");
    assert_eq!(lines(&account.apply().await), ["update queue.a: queue_name", "create queue_consumer.a"]);
    account.define("[queue.a]\nname = \"again\"\nretention = 60\nconsumer = { http_pull = true }\n");
    assert_eq!(lines(&account.apply().await), ["update queue.a: queue_name"]);
    account.assert_converged().await;
}

#[tokio::test]
async fn a_password_is_set_again_where_it_changed() {
    let mut account = account().await;
    account.apply().await;
    account.define(&ALL.replace("value-one", "value-two"));
    account.world.proxy.reset();
    assert_eq!(lines(&account.apply().await), ["update hyperdrive.db: origin.password"]);
    let writes = account.world.proxy.writes();
    assert_eq!(writes.len(), 1, "{writes:?}");
    let sent: Vec<String> =
        account.world.proxy.calls().iter().map(|call| String::from_utf8_lossy(&call.body).into_owned()).collect();
    assert_eq!(sent.iter().filter(|body| body.contains("s3cr3t-of-value-two")).count(), 1);
    account.assert_converged().await;
}

#[tokio::test]
async fn another_certificate_takes_the_place_of_the_old_one_in_two_steps() {
    let mut account = account().await;
    account.apply().await;
    let old = account.attribute("mtls_certificate.client", "id");
    account.define(&ALL.replace("certs/client.pem", "certs/other.pem"));
    let planned = account.apply().await;
    assert_eq!(
        lines(&planned),
        ["update mtls_certificate.client: certificates", "update worker.api: bindings.CLIENT.certificate_id"]
    );
    let new = account.attribute("mtls_certificate.client", "id");
    assert_ne!(old, new);
    // Nothing uses the old one any more: it goes by itself.
    assert_eq!(lines(&account.apply().await), ["update mtls_certificate.client: superseded"]);
    let all = account.foreign("GET", "mtls_certificates", None).await;
    assert_eq!(all.as_array().unwrap().iter().map(|one| one["id"].clone()).collect::<Vec<_>>(), [json!(new)]);
    account.assert_converged().await;
}

#[tokio::test]
async fn what_cannot_be_changed_is_refused_before_any_call() {
    let mut account = Account::start().await;
    account.define("[kv.a]\n[r2.b]\n[d1.c]\n");
    account.apply().await;
    account.define("[kv.a]\njurisdiction = \"eu\"\n");
    account.world.proxy.reset();
    let (_, outcome) = account.try_apply().await;
    let Some(Outcome::Refused(error)) = outcome else { panic!("{outcome:?}") };
    assert_eq!(error.to_string(), "the jurisdiction of kv `a-p` cannot be changed");
    assert!(error.hint.is_some());
    assert_eq!(account.world.proxy.writes(), [""; 0]);
    // A bucket or a database of another name would begin without its data.
    account.define("[kv.a]\n[r2.b]\nname = \"other\"\n[d1.c]\nname = \"other\"\n");
    let (_, planned) = account.plan(false).await;
    assert_eq!(planned.blocked.len(), 2, "{planned:#?}");
    assert!(planned.is_empty());
}

#[tokio::test]
async fn a_migration_is_applied_once_whatever_became_of_the_call() {
    let mut account = account().await;
    account.apply().await;
    account.write("migrations/ads/0002_second.sql", SECOND);
    // It is carried out there, and nobody hears of it. Two queries read for the plan, two for the change, and one makes the
    // table of names.
    account.world.proxy.reset();
    account.world.proxy.at_write(6, Moment::AfterEffect, || {});
    let (planned, outcome) = account.try_apply().await;
    assert_eq!(lines(&planned), ["update d1.ads: migrations.\"0002_second.sql\""]);
    assert!(matches!(outcome, Some(Outcome::Unknown(_))), "{outcome:?}");
    assert_eq!(rows(&account, "SELECT count(*) AS n FROM ads").await, json!([{ "n": 2 }]));
    account.apply().await;
    account.assert_converged().await;
    assert_eq!(rows(&account, "SELECT count(*) AS n FROM ads").await, json!([{ "n": 2 }]));

    // One that fails is not applied in part, and says so; those before it are.
    account.write("migrations/ads/0003_third.sql", "INSERT INTO ads VALUES (3);");
    account.write("migrations/ads/0004_wrong.sql", "INSERT INTO ads VALUES (4); INSERT INTO nowhere VALUES (1);");
    let (_, outcome) = account.try_apply().await;
    assert!(shown(outcome.as_ref().unwrap()).contains("migration `0004_wrong.sql`"), "{outcome:?}");
    assert_eq!(rows(&account, "SELECT count(*) AS n FROM ads").await, json!([{ "n": 3 }]));
    account.write("migrations/ads/0004_wrong.sql", "INSERT INTO ads VALUES (4);");
    account.apply().await;
    // A file that was applied is not looked at again, and neither is one that left.
    account.write("migrations/ads/0003_third.sql", "DROP TABLE ads;");
    account.assert_converged().await;
    let recorded = rows(&account, "SELECT name FROM d1_migrations ORDER BY id").await;
    let names: Vec<&str> = recorded.as_array().unwrap().iter().filter_map(|row| row["name"].as_str()).collect();
    assert_eq!(names, ["0001_init.sql", "0002_second.sql", "0003_third.sql", "0004_wrong.sql"]);
}

#[tokio::test]
async fn a_database_that_was_made_in_part_is_ours_and_is_completed() {
    let mut account = account().await;
    account.write("migrations/ads/0001_init.sql", "NONSENSE;");
    account.define("[d1.ads]\nmigrations = \"migrations/ads\"\n");
    let (_, outcome) = account.try_apply().await;
    assert!(matches!(outcome, Some(Outcome::Unknown(_))), "{outcome:?}");
    account.write("migrations/ads/0001_init.sql", INIT);
    assert_eq!(lines(&account.apply().await), ["update d1.ads: migrations.\"0001_init.sql\""]);
    account.assert_converged().await;
}
