//! Durable Objects: they are in one place, keep their data over swaps and restarts, and lose it with their class.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use super::bench::Bench;
use super::wrangler::wrangler;

fn code(class: &str, note: &str) -> String {
    format!(
        r#"import {{ DurableObject }} from "cloudflare:workers";
export class {class} extends DurableObject {{
  async add() {{
    this.ctx.storage.sql.exec("CREATE TABLE IF NOT EXISTS n (n INTEGER)");
    this.ctx.storage.sql.exec("INSERT INTO n VALUES (1)");
    return this.ctx.storage.sql.exec("SELECT count(*) AS c FROM n").one().c;
  }}
}}
export default {{
  async fetch(request, env) {{
    const url = new URL(request.url);
    if (url.pathname === "/note") return new Response("{note}");
    return Response.json(await env.ROOM.getByName(url.searchParams.get("room") ?? "r").add());
  }}
}};"#
    )
}

fn binding(class: &str) -> Value {
    json!({ "name": "ROOM", "type": "durable_object_namespace", "class_name": class })
}

async fn put(bench: &Bench, code: &str, class: &str, more: Value) -> (u16, Value) {
    let mut metadata = json!({ "main_module": "index.js", "compatibility_date": "2026-06-01", "bindings": [binding(class)] });
    metadata.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let modules = [("index.js", "application/javascript+module", code)];
    let answer = bench.upload("PUT", "/workers/scripts/rooms", &metadata, &modules).await;
    if answer.0 == 200 {
        bench.done("POST", "/workers/scripts/rooms/subdomain", Some(json!({ "enabled": true }))).await;
    }
    answer
}

fn made() -> Value {
    json!({ "migrations": { "new_tag": "v1", "new_sqlite_classes": ["Room"] } })
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_keep_their_data_over_swaps_a_restart_and_a_rename() {
    let mut bench = Bench::start().await;
    let (_, refused) = put(&bench, &code("Room", ""), "Room", json!({})).await;
    assert_eq!(refused["errors"][0]["code"], 10061, "no migration made the class: {refused}");
    let (status, answer) = put(&bench, &code("Room", ""), "Room", made()).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(bench.done("GET", "/workers/scripts", None).await[0]["migration_tag"], "v1");
    let namespaces = bench.done("GET", "/workers/durable_objects/namespaces", None).await;
    assert_eq!((&namespaces[0]["class"], &namespaces[0]["script"]), (&json!("Room"), &json!("rooms")));
    assert_eq!(bench.json("rooms.localhost", "/").await, 1);
    // Requests go on through the swaps: they wait, none fails, and every one is counted once.
    let url = format!("http://{}/", bench.edge().http_addr());
    let client = bench.client.clone();
    let stop = tokio_util::sync::CancellationToken::new();
    let asking = {
        let stop = stop.clone();
        tokio::spawn(async move {
            let mut asked = 0;
            while !stop.is_cancelled() {
                let response = client.get(&url).header("host", "rooms.localhost").send().await.unwrap();
                assert_eq!(response.status(), 200);
                asked += 1;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            asked
        })
    };
    bench.swap("rooms", &code("Room", ""), &json!([binding("Room")])).await;
    stop.cancel();
    let asked: u64 = asking.await.unwrap();
    assert_eq!(bench.json("rooms.localhost", "/").await, asked + 2);
    bench.restart().await;
    assert_eq!(bench.json("rooms.localhost", "/").await, asked + 3);
    let rename =
        json!({ "migrations": { "old_tag": "v1", "new_tag": "v2", "renamed_classes": [{ "from": "Room", "to": "Hall" }] } });
    let (status, answer) = put(&bench, &code("Hall", ""), "Hall", rename.clone()).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(bench.json("rooms.localhost", "/").await, asked + 4);
    let (status, answer) = put(&bench, &code("Hall", ""), "Hall", rename).await;
    assert_eq!((status, &answer["errors"][0]["code"]), (412, &json!(10079)), "the tag has moved on");
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_class_that_is_deleted_loses_its_data_and_other_workers_bind_it_while_it_is_there() {
    let bench = Bench::start().await;
    put(&bench, &code("Room", ""), "Room", made()).await;
    assert_eq!(bench.json("rooms.localhost", "/").await, 1);
    let other = "export default { async fetch(r, env) { return Response.json(await env.ROOM.getByName('r').add()); } };";
    let bound = json!([{ "name": "ROOM", "type": "durable_object_namespace", "class_name": "Room", "script_name": "rooms" }]);
    bench.put("visitor", other, bound).await;
    assert_eq!(bench.json("visitor.localhost", "/").await, 2);
    let references = bench.done("GET", "/workers/workers/rooms", None).await["references"].clone();
    assert_eq!(references["durable_objects"][0]["worker_name"], "visitor", "{references}");
    let id = bench.done("GET", "/workers/durable_objects/namespaces", None).await[0]["id"].as_str().unwrap().to_owned();
    let objects = bench.done("GET", &format!("/workers/durable_objects/namespaces/{id}/objects"), None).await;
    assert_eq!(objects.as_array().unwrap().len(), 1);
    assert_eq!(bench.refused("DELETE", "/workers/scripts/rooms", None).await.1, 10064, "another Worker binds it");
    bench.done("DELETE", "/workers/scripts/visitor", None).await;
    let folder = bench.folder.path().join("objects").join(&id);
    assert!(folder.exists());
    let delete = json!({
        "bindings": [],
        "migrations": { "old_tag": "v1", "new_tag": "v2", "deleted_classes": ["Room"] },
    });
    let plain = "export default { fetch() { return new Response('no rooms'); } };";
    let (status, answer) = put(&bench, plain, "Room", delete).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(bench.get("rooms.localhost", "/").await, (200, "no rooms".to_owned()));
    assert!(!folder.exists(), "the data is still there");
    // The same name again is another class.
    let again = json!({ "migrations": { "old_tag": "v2", "new_tag": "v3", "new_sqlite_classes": ["Room"] } });
    put(&bench, &code("Room", ""), "Room", again).await;
    assert_eq!(bench.json("rooms.localhost", "/").await, 1);
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_does_not_start_leaves_the_objects_running() {
    let bench = Bench::start().await;
    put(&bench, &code("Room", "good"), "Room", made()).await;
    bench.json("rooms.localhost", "/").await;
    for bad in ["throw new Error('boom');".to_owned(), code("Other", "")] {
        let (status, answer) = put(&bench, &bad, "Room", json!({})).await;
        assert_eq!((status, &answer["errors"][0]["code"]), (400, &json!(10021)), "{answer}");
    }
    assert_eq!(bench.get("rooms.localhost", "/note").await.1, "good");
    assert_eq!(bench.json("rooms.localhost", "/").await, 2);
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_there_again_when_their_process_was_killed() {
    let bench = Bench::start().await;
    put(&bench, &code("Room", ""), "Room", made()).await;
    for round in 1..=3 {
        assert_eq!(bench.json("rooms.localhost", "/").await, round);
        let pid = bench.edge().pids().0.unwrap();
        assert!(std::process::Command::new("kill").args(["-KILL", &pid.to_string()]).status().unwrap().success());
        // A request that the dying process has taken is answered with 502: it may have had its effect.
        while std::path::Path::new(&format!("/proc/{pid}")).exists() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    assert_eq!(bench.json("rooms.localhost", "/").await, 4);
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_versions_that_share_requests_have_the_same_objects() {
    let bench = Bench::start().await;
    put(&bench, &code("Room", "one"), "Room", made()).await;
    let first = bench.done("GET", "/workers/scripts/rooms/versions", None).await["items"][0]["id"].clone();
    let second = bench.release("rooms", &code("Room", "two"), json!([binding("Room")])).await;
    let shares = json!([{ "version_id": first, "percentage": 50 }, { "version_id": second, "percentage": 50 }]);
    let body = json!({ "strategy": "percentage", "versions": shares });
    bench.done("POST", "/workers/scripts/rooms/deployments", Some(body)).await;
    let ask = async |version: &str, path: &str| {
        let url = format!("http://{}{path}", bench.edge().http_addr());
        let asked = format!("rooms=\"{version}\"");
        let request = bench.client.get(url).header("host", "rooms.localhost");
        let response = request.header("cloudflare-workers-version-overrides", asked).send().await.unwrap();
        response.text().await.unwrap()
    };
    let first = first.as_str().unwrap();
    assert_eq!((ask(first, "/note").await, ask(&second, "/note").await), ("one".to_owned(), "two".to_owned()));
    for round in 0..3 {
        assert_eq!(ask(first, "/").await, (2 * round + 1).to_string());
        assert_eq!(ask(&second, "/").await, (2 * round + 2).to_string());
    }
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exports_declare_the_classes() {
    let bench = Bench::start().await;
    let object = json!({ "type": "durable-object", "storage": "sqlite" });
    let (status, answer) = put(&bench, &code("Room", ""), "Room", json!({ "exports": { "Room": object } })).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["result"]["exports_reconciliation"]["created"], json!(["Room"]));
    assert_eq!(bench.json("rooms.localhost", "/").await, 1);
    let (_, refused) = put(&bench, &code("Hall", ""), "Hall", json!({ "exports": { "Hall": object } })).await;
    assert_eq!(refused["errors"][0]["code"], 100_402, "{refused}");
    let (_, refused) = put(&bench, &code("Room", ""), "Hall", json!({ "exports": { "Room": object } })).await;
    assert_eq!(refused["errors"][0]["code"], 100_406, "{refused}");
    let renamed =
        json!({ "exports": { "Room": { "type": "durable-object", "state": "renamed", "renamed_to": "Hall" }, "Hall": object } });
    let (status, answer) = put(&bench, &code("Hall", ""), "Hall", renamed).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(bench.json("rooms.localhost", "/").await, 2);
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrangler_migrates_durable_objects() {
    let bench = Bench::start().await;
    let folder = tempfile::tempdir().unwrap();
    let project = folder.path();
    let write = |class: &str, migrations: Value| {
        fs::write(project.join("index.js"), code(class, "")).unwrap();
        let settings = json!({
            "name": "rooms", "main": "index.js", "compatibility_date": "2026-04-01", "workers_dev": true,
            "durable_objects": { "bindings": [{ "name": "ROOM", "class_name": class }] }, "migrations": migrations,
        });
        fs::write(project.join("wrangler.json"), settings.to_string()).unwrap();
    };
    let first = json!({ "tag": "v1", "new_sqlite_classes": ["Room"] });
    write("Room", json!([first]));
    wrangler(&bench, project, &["deploy"], "").await;
    assert_eq!(bench.json("rooms.localhost", "/").await, 1);
    wrangler(&bench, project, &["deploy"], "").await;
    assert_eq!(bench.json("rooms.localhost", "/").await, 2);
    write("Hall", json!([first, { "tag": "v2", "renamed_classes": [{ "from": "Room", "to": "Hall" }] }]));
    wrangler(&bench, project, &["deploy"], "").await;
    assert_eq!(bench.json("rooms.localhost", "/").await, 3);
    assert_eq!(bench.done("GET", "/workers/scripts", None).await[0]["migration_tag"], "v2");
    bench.stop().await;
}
