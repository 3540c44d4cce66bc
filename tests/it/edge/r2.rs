//! R2: objects of a bucket, from a Worker, over the API and by wrangler.

use std::fs;

use serde_json::{Value, json};

use super::bench::{Bench, TOKEN};
use super::wrangler::wrangler;

const CODE: &str = r#"const shown = object => object && ({ key: object.key, size: object.size, etag: object.etag, custom: object.customMetadata,
  type: object.httpMetadata?.contentType, range: object.range });
export default {
  async fetch(request, env) {
    const url = new URL(request.url), key = url.searchParams.get("key"), B = env.BUCKET;
    const options = JSON.parse(url.searchParams.get("options") ?? "{}");
    try {
      switch (url.pathname) {
        case "/put": return Response.json(shown(await B.put(key, request.body ?? url.searchParams.get("text"), options)));
        case "/head": return Response.json(shown(await B.head(key)));
        case "/get": {
          const object = await B.get(key, options);
          return Response.json(object && { ...shown(object), text: object.body ? await object.text() : null });
        }
        case "/list": {
          const page = await B.list(options);
          return Response.json({ ...page, objects: page.objects.map(shown) });
        }
        case "/delete": return Response.json(await B.delete(JSON.parse(key)) ?? null);
        case "/parts": {
          const upload = await B.createMultipartUpload(key, { customMetadata: { made: "of parts" } });
          const sizes = [5 * 1024 * 1024, 1000];
          const parts = [];
          for (const [at, size] of sizes.entries()) parts.push(await upload.uploadPart(at + 1, new Uint8Array(size).fill(65 + at)));
          const done = await upload.complete(parts);
          const tail = await (await B.get(key, { range: { suffix: 1001 } })).text();
          return Response.json({ ...shown(done), tail: `${tail[0]}${tail[1]}${tail.length}` });
        }
        case "/abort": {
          const upload = await B.createMultipartUpload(key);
          await upload.uploadPart(1, "part");
          await upload.abort();
          return Response.json(await B.head(key));
        }
      }
    } catch (error) {
      return Response.json({ error: error.message });
    }
  }
};"#;

async fn bucket(bench: &Bench) -> Value {
    bench.done("POST", "/r2/buckets", Some(json!({ "name": "media", "locationHint": "weur" }))).await;
    let bindings = json!([{ "name": "BUCKET", "type": "r2_bucket", "bucket_name": "media" }]);
    bench.put("app", CODE, bindings.clone()).await;
    bindings
}

async fn call(bench: &Bench, call: &str, key: &str, options: Value) -> Value {
    let encode = |text: &str| text.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
    let path = format!("/{call}?text=value&key={}&options={}", encode(key), encode(&options.to_string()));
    bench.json("app.localhost", &path).await
}

/// MD5 of `value`.
const MD5: &str = "2063c1608d6e0baf80249c42e2be5804";

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_puts_reads_lists_and_deletes_objects() {
    let bench = Bench::start().await;
    bucket(&bench).await;
    let options = json!({ "httpMetadata": { "contentType": "text/plain" }, "customMetadata": { "a": "b" }, "md5": MD5 });
    let put = call(&bench, "put", "k", options).await;
    let object = json!({ "key": "k", "size": 5, "etag": MD5, "custom": { "a": "b" }, "type": "text/plain" });
    assert_eq!(put, object);
    assert_eq!(call(&bench, "head", "k", json!({})).await["custom"], json!({ "a": "b" }));
    assert_eq!(call(&bench, "head", "none", json!({})).await, Value::Null);
    assert_eq!(call(&bench, "get", "none", json!({})).await, Value::Null);
    let got = call(&bench, "get", "k", json!({ "range": { "offset": 1, "length": 2 } })).await;
    assert_eq!((&got["text"], &got["range"]), (&json!("al"), &json!({ "offset": 1, "length": 2 })));
    assert_eq!(call(&bench, "get", "k", json!({ "range": { "suffix": 2 } })).await["text"], "ue");
    assert!(call(&bench, "get", "k", json!({ "range": { "offset": 9 } })).await["error"].as_str().unwrap().contains("10039"));
    // Conditions: a read that fails has no body, a write that fails changes nothing.
    assert_eq!(call(&bench, "get", "k", json!({ "onlyIf": { "etagMatches": "other" } })).await["text"], Value::Null);
    assert_eq!(call(&bench, "get", "k", json!({ "onlyIf": { "etagMatches": MD5 } })).await["text"], "value");
    assert_eq!(call(&bench, "put", "k", json!({ "onlyIf": { "etagDoesNotMatch": "*" } })).await, Value::Null);
    assert_eq!(call(&bench, "head", "k", json!({})).await["custom"], json!({ "a": "b" }));
    let wrong = call(&bench, "put", "wrong", json!({ "md5": "00000000000000000000000000000000" })).await;
    assert!(wrong["error"].as_str().unwrap().contains("10037"), "{wrong}");
    assert_eq!(call(&bench, "head", "wrong", json!({})).await, Value::Null);

    for key in ["dir/a", "dir/b", "dir/sub/c", "é/ü", "z"] {
        call(&bench, "put", key, json!({})).await;
    }
    let keys = |page: &Value| {
        page["objects"].as_array().unwrap().iter().map(|o| o["key"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let all = call(&bench, "list", "", json!({})).await;
    assert_eq!(keys(&all), ["dir/a", "dir/b", "dir/sub/c", "k", "z", "é/ü"]);
    let top = call(&bench, "list", "", json!({ "delimiter": "/" })).await;
    assert_eq!((keys(&top), &top["delimitedPrefixes"]), (vec!["k".to_owned(), "z".to_owned()], &json!(["dir/", "é/"])));
    let within = call(&bench, "list", "", json!({ "prefix": "dir/", "delimiter": "/" })).await;
    assert_eq!(
        (keys(&within), &within["delimitedPrefixes"]),
        (vec!["dir/a".to_owned(), "dir/b".to_owned()], &json!(["dir/sub/"]))
    );
    let mut cursor = Value::Null;
    let mut paged = Vec::new();
    loop {
        let options = if cursor.is_null() { json!({ "limit": 2 }) } else { json!({ "limit": 2, "cursor": cursor }) };
        let page = call(&bench, "list", "", options).await;
        paged.extend(keys(&page));
        if page["truncated"] == false {
            break;
        }
        cursor = page["cursor"].clone();
    }
    assert_eq!(paged, keys(&all));
    let included = call(&bench, "list", "", json!({ "prefix": "k", "include": ["customMetadata"] })).await;
    assert_eq!(included["objects"][0]["custom"], json!({ "a": "b" }));

    call(&bench, "delete", "[\"dir/a\", \"dir/b\", \"none\"]", json!({})).await;
    assert_eq!(keys(&call(&bench, "list", "", json!({ "prefix": "dir/" })).await), ["dir/sub/c"]);
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_multipart_upload_becomes_one_object_or_nothing() {
    let bench = Bench::start().await;
    bucket(&bench).await;
    let made = call(&bench, "parts", "large", json!({})).await;
    assert_eq!(
        (&made["size"], &made["tail"], &made["custom"]),
        (&json!(5_243_880), &json!("AB1001"), &json!({ "made": "of parts" }))
    );
    assert!(made["etag"].as_str().unwrap().ends_with("-2"), "{made}");
    assert_eq!(call(&bench, "abort", "none", json!({})).await, Value::Null);
    let files = fs::read_dir(bench.folder.path().join("r2/blobs")).unwrap().count();
    assert_eq!(files, 1, "what an upload was made of is gone");
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_survive_swaps_and_a_restart_and_the_api_has_the_same() {
    let mut bench = Bench::start().await;
    let bindings = bucket(&bench).await;
    call(&bench, "put", "a/b ü", json!({ "customMetadata": { "a": "b" } })).await;
    bench.swap("app", CODE, &bindings).await;
    bench.restart().await;
    assert_eq!(call(&bench, "get", "a/b ü", json!({})).await["text"], "value");

    let url = bench.account_url("/r2/buckets/media/objects/a/b%20%C3%BC");
    let got = bench.client.get(&url).bearer_auth(TOKEN).send().await.unwrap();
    assert_eq!(got.headers()["etag"], format!("\"{MD5}\""));
    assert_eq!(got.text().await.unwrap(), "value");
    let large = vec![b'x'; 3_000_000];
    let put =
        bench.client.put(&url).bearer_auth(TOKEN).header("content-type", "image/png").body(large.clone()).send().await.unwrap();
    assert_eq!(put.status(), 200);
    assert_eq!(call(&bench, "head", "a/b ü", json!({})).await["type"], "image/png");
    let got = bench.client.get(&url).bearer_auth(TOKEN).header("range", "bytes=0-9").send().await.unwrap();
    assert_eq!((got.status().as_u16(), got.bytes().await.unwrap().len()), (206, 10));
    assert_eq!(bench.done("GET", "/r2/buckets/media/objects", None).await[0]["key"], "a/b ü");

    assert_eq!(bench.refused("DELETE", "/r2/buckets/media", None).await, (409, 10008), "it is not empty");
    bench.done("DELETE", "/r2/buckets/media/objects/a/b%20%C3%BC", None).await;
    assert_eq!(bench.refused("GET", "/r2/buckets/media/objects/none", None).await, (404, 10007));
    assert_eq!(bench.refused("DELETE", "/r2/buckets/media", None).await, (409, 10008), "a Worker binds it");
    bench.done("DELETE", "/workers/scripts/app", None).await;
    bench.done("DELETE", "/r2/buckets/media", None).await;
    assert_eq!(bench.refused("GET", "/r2/buckets/media", None).await, (404, 10006));
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn buckets_are_known_by_jurisdiction_and_name_and_listed_in_pages() {
    let bench = Bench::start().await;
    for name in ["ccc", "aaa", "bbb"] {
        bench.done("POST", "/r2/buckets", Some(json!({ "name": name }))).await;
    }
    assert_eq!(bench.refused("POST", "/r2/buckets", Some(json!({ "name": "aaa" }))).await, (409, 10004));
    assert_eq!(bench.refused("POST", "/r2/buckets", Some(json!({ "name": "No" }))).await, (400, 10005));
    let (_, page) = bench.call("GET", "/r2/buckets?per_page=2", None).await;
    assert_eq!(page["result"]["buckets"][1]["name"], "bbb");
    let cursor = page["result_info"]["cursor"].as_str().unwrap();
    let (_, last) = bench.call("GET", &format!("/r2/buckets?per_page=2&cursor={cursor}"), None).await;
    assert_eq!(last["result"]["buckets"].as_array().unwrap().len(), 1);
    assert!(last["result_info"]["cursor"].is_null());
    let eu = |method: &'static str, path: &'static str| {
        bench
            .client
            .request(method.parse().unwrap(), bench.account_url(path))
            .bearer_auth(TOKEN)
            .header("cf-r2-jurisdiction", "eu")
    };
    assert_eq!(eu("GET", "/r2/buckets/aaa").send().await.unwrap().status(), 404);
    let made = eu("POST", "/r2/buckets").body(json!({ "name": "aaa" }).to_string()).send().await.unwrap();
    assert!(made.text().await.unwrap().contains(r#""jurisdiction":"eu""#));
    assert_eq!(bench.done("GET", "/r2/buckets/aaa/lifecycle", None).await, json!({ "rules": [] }));
    assert_eq!(bench.refused("GET", "/r2/buckets/aaa/cors", None).await, (404, 10059));
    assert_eq!(bench.refused("PUT", "/r2/buckets/aaa/domains/managed", Some(json!({ "enabled": true }))).await, (400, 10021));
    // As wrangler and the SDKs send it: in a header; what a body says does not count.
    assert_eq!(bench.refused("PATCH", "/r2/buckets/aaa", Some(json!({ "storage_class": "Standard" }))).await, (400, 10062));
    let changed = eu("PATCH", "/r2/buckets/aaa").header("cf-r2-storage-class", "InfrequentAccess").send().await.unwrap();
    assert!(changed.text().await.unwrap().contains(r#""storage_class":"InfrequentAccess""#));
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrangler_makes_a_bucket_and_puts_an_object() {
    let bench = Bench::start().await;
    let folder = tempfile::tempdir().unwrap();
    let project = folder.path();
    let run = async |arguments: &[&str]| wrangler(&bench, project, arguments, "").await;
    run(&["r2", "bucket", "create", "media"]).await;
    let said = run(&["r2", "bucket", "list"]).await;
    assert!(said.contains("media"), "{said}");
    fs::write(project.join("in.txt"), "an object").unwrap();
    run(&["r2", "object", "put", "media/dir/in.txt", "--remote", "--file", "in.txt", "--content-type", "text/plain"]).await;
    run(&["r2", "object", "get", "media/dir/in.txt", "--remote", "--file", "out.txt"]).await;
    assert_eq!(fs::read_to_string(project.join("out.txt")).unwrap(), "an object");
    run(&["r2", "object", "delete", "media/dir/in.txt", "--remote"]).await;
    run(&["r2", "bucket", "delete", "media"]).await;
    assert_eq!(bench.done("GET", "/r2/buckets", None).await["buckets"], json!([]));
    bench.stop().await;
}
