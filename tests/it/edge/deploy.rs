//! Deploying through the API: versions, secrets, refusals, and what is never shown.

use serde_json::json;
use trunkline::edge::{self, EdgeError, Options, Runtime};
use trunkline::model::Secret;

use super::bench::{Bench, TOKEN, options};

fn text(answer: &str) -> String {
    format!("export default {{ fetch() {{ return new Response({answer:?}); }} }};")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_answers_and_a_new_version_takes_over() {
    let bench = Bench::start().await;
    bench.put("api", &text("one"), json!([])).await;
    assert_eq!(bench.get("api.localhost", "/").await, (200, "one".to_owned()));
    bench.release("api", &text("two"), json!([])).await;
    assert_eq!(bench.get("api.localhost:8080", "/").await, (200, "two".to_owned()));
    assert_eq!(bench.get("other.localhost", "/").await.0, 404);
    bench.done("POST", "/workers/scripts/api/subdomain", Some(json!({ "enabled": false }))).await;
    assert_eq!(bench.get("api.localhost", "/").await.0, 404);
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_script_is_refused_with_the_runtimes_message_and_the_old_one_keeps_running() {
    let bench = Bench::start().await;
    bench.put("api", &text("good"), json!([])).await;
    let metadata = json!({ "main_module": "index.js", "compatibility_date": "2026-06-01" });
    for (code, expected) in [("throw new Error('boom at start');", "boom at start"), ("export default {", "SyntaxError")] {
        for (method, path) in [("PUT", "/workers/scripts/api"), ("POST", "/workers/scripts/api/versions")] {
            let (status, answer) =
                bench.upload(method, path, &metadata, &[("index.js", "application/javascript+module", code)]).await;
            assert_eq!((status, answer["errors"][0]["code"].as_u64()), (400, Some(10021)), "{answer}");
            assert!(answer["errors"][0]["message"].as_str().unwrap().contains(expected), "{answer}");
        }
    }
    let versions = bench.done("GET", "/workers/scripts/api/versions", None).await;
    assert_eq!(versions["items"].as_array().unwrap().len(), 1);
    assert_eq!(bench.get("api.localhost", "/").await, (200, "good".to_owned()));
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_edge_has_not_is_refused_and_what_does_not_exist_has_cloudflares_codes() {
    let bench = Bench::start().await;
    for path in ["settings", "deployments", "secrets", "versions", "schedules", "subdomain", "content/v2"] {
        assert_eq!(bench.refused("GET", &format!("/workers/scripts/none/{path}"), None).await, (404, 10007), "{path}");
    }
    assert_eq!(bench.refused("GET", "/workers/services/none", None).await, (404, 10090));
    assert_eq!(bench.refused("GET", "/nothing/here", None).await, (404, 7003));
    assert_eq!(bench.refused("GET", "/client/v4/accounts/nonsense/workers/scripts", None).await, (404, 7003));
    bench.put("api", &text("x"), json!([])).await;
    let body = json!({ "versions": [{ "version_id": "none", "percentage": 100 }] });
    assert_eq!(bench.refused("POST", "/workers/scripts/api/deployments", Some(body)).await, (404, 10222));
    for (binding, code) in [
        (json!({ "name": "B", "type": "vectorize", "index_name": "b" }), 10021),
        (json!({ "name": "B", "type": "r2_bucket", "bucket_name": "none" }), 10085),
        (json!({ "name": "D", "type": "d1", "id": "none" }), 10181),
        (json!({ "name": "Q", "type": "queue", "queue_name": "none" }), 100_124),
        (json!({ "name": "L", "type": "ratelimit", "namespace_id": "1", "simple": { "limit": 1, "period": 7 } }), 10021),
        (json!({ "name": "K", "type": "kv_namespace" }), 10021),
        (json!({ "name": "K", "type": "kv_namespace", "namespace_id": "none" }), 10041),
        (json!({ "name": "S", "type": "service", "service": "none" }), 10143),
        (json!({ "name": "I", "type": "inherit" }), 10057),
    ] {
        let metadata = json!({ "main_module": "index.js", "bindings": [binding] });
        let modules = [("index.js", "application/javascript+module", "export default {}")];
        let (_, answer) =
            bench.upload("POST", "/workers/scripts/api/versions?bindings_inherit=strict", &metadata, &modules).await;
        assert_eq!(answer["errors"][0]["code"], code, "{binding} {answer}");
    }
    let response = bench.client.get(bench.account_url("/workers/scripts")).bearer_auth("wrong").send().await.unwrap();
    assert_eq!(response.status(), 401);
    let response = bench.client.get(bench.account_url("/workers/scripts")).send().await.unwrap();
    assert!(response.text().await.unwrap().contains("10000"));
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_kept_across_uploads_guard_a_rollback_and_are_nowhere_in_clear() {
    const VALUE: &str = "planted-secret-value-4711";
    let bench = Bench::start().await;
    let code = "export default { fetch(r, env) { return new Response(`${env.KEY} ${env.PLAIN}`); } };";
    bench.put("api", code, json!([{ "name": "PLAIN", "type": "plain_text", "text": "p" }])).await;
    let before =
        bench.done("GET", "/workers/scripts/api/deployments", None).await["deployments"][0]["versions"][0]["version_id"].clone();
    bench.done("PUT", "/workers/scripts/api/secrets", Some(json!({ "name": "KEY", "text": VALUE, "type": "secret_text" }))).await;
    assert_eq!(bench.get("api.localhost", "/").await.1, format!("{VALUE} p"));
    // An upload that says nothing of secrets keeps them; one that lists what to keep, keeps that.
    bench.release("api", code, json!([{ "name": "PLAIN", "type": "plain_text", "text": "q" }])).await;
    assert_eq!(bench.get("api.localhost", "/").await.1, format!("{VALUE} q"));
    let listed = bench.done("GET", "/workers/scripts/api/secrets", None).await;
    assert_eq!(listed, json!([{ "name": "KEY", "type": "secret_text" }]));
    assert_eq!(
        bench.refused("PUT", "/workers/scripts/api/secrets", Some(json!({ "name": "PLAIN", "text": "x" }))).await.1,
        10053
    );
    assert_eq!(bench.refused("DELETE", "/workers/scripts/api/secrets/NONE", None).await.1, 10056);

    let body = json!({ "strategy": "percentage", "versions": [{ "version_id": before, "percentage": 100 }] });
    assert_eq!(bench.refused("POST", "/workers/scripts/api/deployments", Some(body.clone())).await.1, 10220);
    bench.done("POST", "/workers/scripts/api/deployments?force=true", Some(body)).await;
    assert_eq!(bench.get("api.localhost", "/").await.1, "undefined p");

    // Now the newest version is not the one that serves.
    assert_eq!(bench.refused("PUT", "/workers/scripts/api/secrets", Some(json!({ "name": "KEY", "text": "x" }))).await.1, 10215);
    let metadata = json!({ "bindings": [] });
    assert_eq!(bench.refused("PATCH", "/workers/scripts/api/settings", Some(metadata)).await.1, 10214);

    for path in ["/workers/scripts", "/workers/scripts/api/settings", "/workers/scripts/api/versions", "/workers/workers"] {
        assert!(!bench.call("GET", path, None).await.1.to_string().contains(VALUE), "{path}");
    }
    let pid = bench.edge().pids().0.unwrap();
    for file in ["cmdline", "environ"] {
        let bytes = std::fs::read(format!("/proc/{pid}/{file}")).unwrap();
        assert!(!bytes.windows(VALUE.len()).any(|w| w == VALUE.as_bytes()), "{file}");
    }
    assert_nowhere(bench.folder.path(), VALUE);
    bench.stop().await;
}

fn assert_nowhere(folder: &std::path::Path, value: &str) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            assert_nowhere(&entry.path(), value);
        } else if kind.is_file() {
            let bytes = std::fs::read(entry.path()).unwrap();
            assert!(!bytes.windows(value.len()).any(|w| w == value.as_bytes()), "{}", entry.path().display());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn annotations_come_back_in_versions_and_deployments_and_tags_in_the_list() {
    let bench = Bench::start().await;
    let metadata = json!({ "main_module": "index.js", "tags": ["owner:a"], "annotations": { "workers/tag": "t1", "workers/message": "m1" } });
    // The SDKs put every module in a part of the same name: the file name counts.
    let modules = [("index.js", "application/javascript+module", "export default {}")];
    let (_, first) = bench.upload("PUT", "/workers/scripts/api", &metadata, &modules).await;
    let versions = bench.done("GET", "/workers/scripts/api/versions", None).await;
    assert_eq!(versions["items"][0]["annotations"]["workers/tag"], "t1");
    assert_eq!(bench.done("GET", "/workers/scripts", None).await[0]["tags"], json!(["owner:a"]));
    assert_eq!(bench.done("GET", "/workers/scripts?tags=owner:a:no", None).await, json!([]));
    // The same content has the same etag, and makes a new version all the same.
    let (_, again) = bench.upload("PUT", "/workers/scripts/api", &json!({ "main_module": "index.js" }), &modules).await;
    assert_eq!(first["result"]["etag"], again["result"]["etag"]);
    assert_eq!(again["result"]["tags"], json!(["owner:a"]));
    let id = bench.done("GET", "/workers/scripts/api/versions", None).await["items"][0]["id"].as_str().unwrap().to_owned();
    let body = json!({
        "strategy": "percentage",
        "versions": [{ "version_id": id, "percentage": 100 }],
        "annotations": { "workers/message": "m2" },
    });
    bench.done("POST", "/workers/scripts/api/deployments", Some(body)).await;
    let deployments = bench.done("GET", "/workers/scripts/api/deployments", None).await;
    assert_eq!(deployments["deployments"][0]["annotations"]["workers/message"], "m2");
    assert_eq!(deployments["deployments"].as_array().unwrap().len(), 3);
    let shown = bench.done("GET", &format!("/workers/scripts/api/versions/{id}"), None).await;
    assert_eq!(shown["number"], 2);
    assert_eq!(shown["resources"]["script"]["etag"], first["result"]["etag"]);
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_runtime_it_says_so_stores_and_never_pretends() {
    let folder = tempfile::tempdir().unwrap();
    let any = "127.0.0.1:0".parse().unwrap();
    let empty = Options::new(any, any, folder.path().to_owned(), Secret::new(b" \n".to_vec()));
    assert!(matches!(edge::start(empty).await, Err(EdgeError::EmptyToken)));
    let mut named = options(folder.path());
    named.workerd = Some("/nonexistent/workerd".into());
    assert!(matches!(edge::start(named).await, Err(EdgeError::WorkerdUnusable(_))));

    // Where none can be found is a matter of the environment, so that another process has to try it.
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "edge::deploy::stored_only", "--ignored", "--nocapture"])
        .env("PATH", folder.path())
        .env_remove("TRUNKLINE_WORKERD")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&output.stderr));
}

/// Run by the test above, in an environment without a runtime.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by without_a_runtime_it_says_so_stores_and_never_pretends, in an environment of its own"]
async fn stored_only() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    let any = "127.0.0.1:0".parse().unwrap();
    let start = || edge::start(Options::new(any, any, folder.path().to_owned(), Secret::new(TOKEN.into())));
    let edge = start().await.unwrap();
    assert!(matches!(edge.runtime(), Runtime::Missing { hint } if hint.contains("npm install workerd")));
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut bench = Bench { edge: Some(edge), folder: tempfile::tempdir().unwrap(), client };
    bench.put("api", &text("never"), json!([])).await;
    let (status, said) = bench.get("api.localhost", "/").await;
    assert_eq!(status, 503);
    assert!(said.contains("workerd is not installed"), "{said}");
    let kv = bench.done("POST", "/storage/kv/namespaces", Some(json!({ "title": "t" }))).await;
    let values = format!("/storage/kv/namespaces/{}/keys", kv["id"].as_str().unwrap());
    assert_eq!(bench.call("GET", &values, None).await.0, 409, "certainly not done");
    bench.edge.take().unwrap().stop().await;
    bench.edge = Some(start().await.unwrap());
    assert_eq!(bench.done("GET", "/workers/scripts", None).await[0]["id"], "api");
    bench.stop().await;
}
