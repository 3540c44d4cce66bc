//! D1: a Worker's database, the same over the API, and wrangler's work with it.

use std::fs;

use serde_json::{Value, json};

use super::bench::Bench;
use super::wrangler::wrangler;

const CODE: &str = r#"export default {
  async fetch(request, env) {
    const url = new URL(request.url);
    if (url.pathname === "/add") {
      const { meta } = await env.DB.prepare("INSERT INTO clicks (who) VALUES (?)").bind(url.searchParams.get("who")).run();
      return Response.json(meta.changes);
    }
    if (url.pathname === "/batch") {
      const all = await env.DB.batch([env.DB.prepare("SELECT 1 AS a"), env.DB.prepare("SELECT ? AS b").bind("two")]);
      return Response.json(all.map(one => one.results));
    }
    const { results } = await env.DB.prepare("SELECT who, count(*) AS n FROM clicks GROUP BY who ORDER BY who").all();
    return Response.json(results);
  }
};"#;

async fn database(bench: &Bench, name: &str) -> (String, Value) {
    let made = bench.done("POST", "/d1/database", Some(json!({ "name": name, "primary_location_hint": "weur" }))).await;
    let id = made["uuid"].as_str().unwrap().to_owned();
    let bindings = json!([{ "name": "DB", "type": "d1", "id": id }]);
    (id, bindings)
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_survive_swaps_and_a_restart_and_the_api_sees_them() {
    let mut bench = Bench::start().await;
    let (id, bindings) = database(&bench, "ads").await;
    let query = format!("/d1/database/{id}/query");
    bench.done("POST", &query, Some(json!({ "sql": "CREATE TABLE clicks (who TEXT); CREATE INDEX w ON clicks (who);" }))).await;
    bench.put("app", CODE, bindings.clone()).await;
    let kv = bench.edge().pids().1;
    assert_eq!(bench.json("app.localhost", "/add?who=a").await, 1);
    bench.swap("app", CODE, &bindings).await;
    assert_eq!(bench.edge().pids().1, kv, "a swap of a Worker leaves the databases' process alone");
    assert_eq!(bench.json("app.localhost", "/add?who=a").await, 1);
    assert_eq!(bench.json("app.localhost", "/batch").await, json!([[{ "a": 1 }], [{ "b": "two" }]]));
    bench.restart().await;
    assert_eq!(bench.json("app.localhost", "/").await, json!([{ "who": "a", "n": 2 }]));

    let raw = bench
        .done(
            "POST",
            &format!("/d1/database/{id}/raw"),
            Some(json!({ "sql": "SELECT who FROM clicks WHERE who = ?", "params": ["a"] })),
        )
        .await;
    assert_eq!(raw[0]["results"], json!({ "columns": ["who"], "rows": [["a"], ["a"]] }));
    let two = bench.done("POST", &query, Some(json!({ "sql": "SELECT 1 AS a; SELECT 2 AS b" }))).await;
    assert_eq!((&two[0]["results"], &two[1]["results"]), (&json!([{ "a": 1 }]), &json!([{ "b": 2 }])));
    let batch =
        json!({ "batch": [{ "sql": "INSERT INTO clicks VALUES (?)", "params": ["b"] }, { "sql": "SELECT * FROM none" }] });
    assert_eq!(bench.refused("POST", &query, Some(batch)).await, (400, 7500));
    // The batch was one transaction: nothing of it is there.
    assert_eq!(bench.json("app.localhost", "/").await, json!([{ "who": "a", "n": 2 }]));
    let shown = bench.done("GET", &format!("/d1/database/{id}"), None).await;
    assert_eq!(shown["num_tables"], 1);
    assert!(shown["file_size"].as_u64().unwrap() > 0);
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_binding_that_calls_by_rpc_finds_the_same_database() {
    let bench = Bench::start().await;
    let (id, bindings) = database(&bench, "ads").await;
    bench.done("POST", &format!("/d1/database/{id}/query"), Some(json!({ "sql": "CREATE TABLE clicks (who TEXT)" }))).await;
    let metadata = json!({
        "main_module": "index.js", "compatibility_date": "2026-06-01", "bindings": bindings,
        "compatibility_flags": ["d1_binding_jsrpc"],
    });
    let modules = [("index.js", "application/javascript+module", CODE)];
    let (status, answer) = bench.upload("PUT", "/workers/scripts/app", &metadata, &modules).await;
    assert_eq!(status, 200, "{answer}");
    bench.done("POST", "/workers/scripts/app/subdomain", Some(json!({ "enabled": true }))).await;
    assert_eq!(bench.json("app.localhost", "/add?who=rpc").await, 1);
    assert_eq!(bench.json("app.localhost", "/").await, json!([{ "who": "rpc", "n": 1 }]));
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn databases_are_listed_changed_and_deleted_with_what_is_in_them() {
    let bench = Bench::start().await;
    let (id, bindings) = database(&bench, "ads").await;
    database(&bench, "other").await;
    assert_eq!(bench.refused("POST", "/d1/database", Some(json!({ "name": "ads" }))).await, (400, 7502));
    assert_eq!(bench.refused("POST", "/d1/database", Some(json!({ "name": "x", "jurisdiction": "mars" }))).await.1, 7400);
    let (_, page) = bench.call("GET", "/d1/database?per_page=1&page=2", None).await;
    assert_eq!((page["result"].as_array().unwrap().len(), &page["result_info"]["total_count"]), (1, &json!(2)));
    assert_eq!(bench.done("GET", "/d1/database?name=oth", None).await[0]["name"], "other");
    assert_eq!(bench.done("GET", "/d1/database?page=3", None).await, json!([]));
    let path = format!("/d1/database/{id}");
    for (method, mode) in [("PATCH", "auto"), ("PUT", "disabled")] {
        let changed = bench.done(method, &path, Some(json!({ "read_replication": { "mode": mode } }))).await;
        assert_eq!(changed["read_replication"]["mode"], mode);
    }
    let query = format!("{path}/query");
    bench.done("POST", &query, Some(json!({ "sql": "CREATE TABLE clicks (who TEXT)" }))).await;
    bench.put("app", CODE, bindings).await;
    assert_eq!(bench.refused("DELETE", &path, None).await.0, 400, "a Worker binds it");
    bench.done("DELETE", "/workers/scripts/app", None).await;
    bench.done("DELETE", &path, None).await;
    assert_eq!(bench.refused("GET", &path, None).await, (404, 7404));
    assert_eq!(bench.refused("POST", &query, Some(json!({ "sql": "SELECT 1" }))).await, (404, 7404));
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrangler_makes_migrates_asks_and_deletes_a_database() {
    let bench = Bench::start().await;
    let folder = tempfile::tempdir().unwrap();
    let project = folder.path();
    let run = async |arguments: &[&str]| wrangler(&bench, project, arguments, "").await;
    run(&["d1", "create", "ads", "--location", "weur"]).await;
    let id = bench.done("GET", "/d1/database", None).await[0]["uuid"].as_str().unwrap().to_owned();
    let said = run(&["d1", "list"]).await;
    assert!(said.contains(&id) && said.contains("ads"), "{said}");
    fs::write(project.join("index.js"), CODE).unwrap();
    fs::create_dir(project.join("migrations")).unwrap();
    fs::write(
        project.join("migrations/0001_init.sql"),
        "CREATE TABLE clicks (who TEXT);\nINSERT INTO clicks VALUES ('first; one');",
    )
    .unwrap();
    let settings = json!({
        "name": "app", "main": "index.js", "compatibility_date": "2026-04-01", "workers_dev": true,
        "d1_databases": [{ "binding": "DB", "database_name": "ads", "database_id": id }],
    });
    fs::write(project.join("wrangler.json"), settings.to_string()).unwrap();
    run(&["d1", "migrations", "apply", "ads", "--remote"]).await;
    let said = run(&["d1", "migrations", "apply", "ads", "--remote"]).await;
    assert!(said.contains("No migrations to apply"), "{said}");
    let said =
        run(&["d1", "execute", "ads", "--remote", "--json", "--command", "SELECT * FROM clicks; SELECT name FROM d1_migrations"])
            .await;
    assert!(said.contains("first; one") && said.contains("0001_init.sql"), "{said}");
    fs::write(project.join("more.sql"), "INSERT INTO clicks VALUES ('of a file');\nINSERT INTO clicks VALUES ('x; y');").unwrap();
    run(&["d1", "execute", "ads", "--remote", "--yes", "--file", "more.sql"]).await;
    let left = bench
        .done("POST", &format!("/d1/database/{id}/query"), Some(json!({ "sql": "DELETE FROM clicks WHERE who <> 'first; one'" })))
        .await;
    assert_eq!(left[0]["meta"]["changes"], 2);
    run(&["deploy"]).await;
    assert_eq!(bench.json("app.localhost", "/").await, json!([{ "who": "first; one", "n": 1 }]));
    run(&["delete", "--force"]).await;
    run(&["d1", "delete", "ads", "--skip-confirmation"]).await;
    assert_eq!(bench.done("GET", "/d1/database", None).await, json!([]));
    bench.stop().await;
}
