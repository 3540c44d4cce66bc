//! Static assets: uploaded once, served beside the Worker, kept with their version.

use std::fs;

use serde_json::{Value, json};

use super::bench::{Bench, TOKEN};
use super::wrangler::wrangler;

const CODE: &str = r#"export default {
  async fetch(request, env) {
    const path = new URL(request.url).pathname;
    if (path === "/from-worker") return env.ASSETS.fetch(new URL("/page", request.url));
    return new Response("worker " + path);
  }
};"#;

fn site(files: &[(&str, &str)]) -> (Value, Vec<(String, String)>) {
    let hash = |text: &str| trunkline::model::Digest::of(text.as_bytes()).to_string()[..32].to_owned();
    let manifest: serde_json::Map<String, Value> =
        files.iter().map(|(path, text)| ((*path).to_owned(), json!({ "hash": hash(text), "size": text.len() }))).collect();
    (json!({ "manifest": manifest }), files.iter().map(|(_, text)| (hash(text), (*text).to_owned())).collect())
}

/// Uploads what is asked for; the token that stands for the whole.
async fn upload(bench: &Bench, files: &[(&str, &str)]) -> (usize, String) {
    let (manifest, contents) = site(files);
    let session = bench.done("POST", "/workers/scripts/app/assets-upload-session", Some(manifest)).await;
    let mut jwt = session["jwt"].as_str().unwrap().to_owned();
    let mut sent = 0;
    for bucket in session["buckets"].as_array().unwrap() {
        let mut body = String::new();
        for hash in bucket.as_array().unwrap() {
            use base64::Engine as _;
            let hash = hash.as_str().unwrap();
            let (_, text) = contents.iter().find(|(known, _)| known == hash).unwrap();
            let text = base64::engine::general_purpose::STANDARD.encode(text);
            body += &format!("--B\r\nContent-Disposition: form-data; name=\"{hash}\"; filename=\"{hash}\"\r\n\r\n{text}\r\n");
            sent += 1;
        }
        body += "--B--\r\n";
        let url = bench.account_url("/workers/assets/upload?base64=true");
        let forged = bench.client.post(&url).bearer_auth(TOKEN).header("content-type", "multipart/form-data; boundary=B");
        assert_eq!(forged.body(body.clone()).send().await.unwrap().status(), 401, "the edge's own token is none of a session");
        let request = bench.client.post(&url).bearer_auth(session["jwt"].as_str().unwrap());
        let request = request.header("content-type", "multipart/form-data; boundary=B").body(body);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 201);
        let answer: Value = response.json().await.unwrap();
        jwt = answer["result"]["jwt"].as_str().unwrap_or(&jwt).to_owned();
    }
    (sent, jwt)
}

async fn put(bench: &Bench, code: &str, assets: Value) -> (u16, Value) {
    let metadata = json!({
        "main_module": "index.js", "compatibility_date": "2026-06-01", "bindings": [{ "name": "ASSETS", "type": "assets" }],
        "assets": assets,
    });
    let modules = [("index.js", "application/javascript+module", code)];
    let answer = bench.upload("PUT", "/workers/scripts/app", &metadata, &modules).await;
    bench.done("POST", "/workers/scripts/app/subdomain", Some(json!({ "enabled": true }))).await;
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn assets_are_served_beside_the_worker_and_kept_with_their_version() {
    let mut bench = Bench::start().await;
    let first = [("/page.html", "<h1>one</h1>"), ("/404.html", "nothing"), ("/a b/ü.txt", "text")];
    let (sent, jwt) = upload(&bench, &first).await;
    assert_eq!(sent, 3);
    let config = json!({ "html_handling": "auto-trailing-slash", "not_found_handling": "none", "_headers": "/page\n  x-own: yes\n",
        "_redirects": "/old /page 301\n" });
    let (status, answer) = put(&bench, CODE, json!({ "jwt": jwt, "config": config })).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["result"]["has_assets"], true);
    assert_eq!(bench.get("app.localhost", "/page").await, (200, "<h1>one</h1>".to_owned()));
    assert_eq!(bench.get("app.localhost", "/a%20b/%C3%BC.txt").await, (200, "text".to_owned()));
    assert_eq!(bench.get("app.localhost", "/other").await.1, "worker /other");
    assert_eq!(bench.get("app.localhost", "/from-worker").await.1, "<h1>one</h1>");
    let url = format!("http://{}/page", bench.edge().http_addr());
    let response = bench.client.get(url).header("host", "app.localhost").send().await.unwrap();
    assert_eq!(response.headers()["x-own"], "yes");
    assert_eq!(bench.get("app.localhost", "/old").await.1, "<h1>one</h1>", "a redirect is followed");

    // The same once more sends nothing; another page sends that one.
    assert_eq!(upload(&bench, &first).await.0, 0);
    let (sent, jwt) = upload(&bench, &[("/page.html", "<h1>two</h1>"), first[1]]).await;
    assert_eq!(sent, 1);
    let before = bench.done("GET", "/workers/scripts/app/versions", None).await["items"][0]["id"].as_str().unwrap().to_owned();
    put(&bench, CODE, json!({ "jwt": jwt, "config": config })).await;
    assert_eq!(bench.get("app.localhost", "/page").await.1, "<h1>two</h1>");
    bench.deploy("app", &before).await;
    assert_eq!(bench.get("app.localhost", "/page").await.1, "<h1>one</h1>", "a rollback brings its assets back");
    bench.restart().await;
    assert_eq!(bench.get("app.localhost", "/page").await.1, "<h1>one</h1>");

    let (status, answer) = put(&bench, CODE, json!({ "jwt": "x.y.z" })).await;
    assert_eq!((status, &answer["errors"][0]["code"]), (400, &json!(100_312)), "{answer}");
    let wrong = json!({ "manifest": { "/../x": { "hash": "0".repeat(32), "size": 1 } } });
    assert_eq!(bench.refused("POST", "/workers/scripts/app/assets-upload-session", Some(wrong)).await.0, 400);
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrangler_deploys_assets_with_and_without_a_worker() {
    let bench = Bench::start().await;
    let folder = tempfile::tempdir().unwrap();
    let project = folder.path();
    fs::create_dir_all(project.join("public/sub")).unwrap();
    fs::write(project.join("public/index.html"), "<h1>home</h1>").unwrap();
    fs::write(project.join("public/sub/page.html"), "<h1>page</h1>").unwrap();
    fs::write(project.join("public/_headers"), "/*\n  x-own: yes\n").unwrap();
    let assets = json!({ "directory": "public", "not_found_handling": "single-page-application" });
    let settings = json!({ "name": "site", "compatibility_date": "2026-04-01", "workers_dev": true, "assets": assets });
    fs::write(project.join("wrangler.json"), settings.to_string()).unwrap();
    wrangler(&bench, project, &["deploy"], "").await;
    assert_eq!(bench.get("site.localhost", "/").await, (200, "<h1>home</h1>".to_owned()));
    assert_eq!(bench.get("site.localhost", "/sub/page").await.1, "<h1>page</h1>");
    assert_eq!(bench.get("site.localhost", "/any/path").await.1, "<h1>home</h1>");

    fs::write(project.join("index.js"), CODE).unwrap();
    let assets = json!({ "directory": "public", "binding": "ASSETS", "run_worker_first": ["/api/*"] });
    let settings = json!({
        "name": "app", "main": "index.js", "compatibility_date": "2026-04-01", "workers_dev": true, "assets": assets,
    });
    fs::write(project.join("wrangler.json"), settings.to_string()).unwrap();
    wrangler(&bench, project, &["deploy"], "").await;
    assert_eq!(bench.get("app.localhost", "/sub/page").await.1, "<h1>page</h1>");
    assert_eq!(bench.get("app.localhost", "/api/x").await.1, "worker /api/x");
    let said = wrangler(&bench, project, &["deploy"], "").await;
    assert!(said.contains("No updated asset files"), "{said}");
    bench.stop().await;
}
