//! Keys and values of a KV namespace, in the store that the Workers use.
//!
//! Goes in: calls of the API. Comes out: the same on the wire protocol of the runtime's KV service, and its answers back.
//!
//! **Invariant:** nothing is kept here.

use std::collections::BTreeMap;

use axum::body::Body as AxumBody;
use axum::extract::{FromRequest as _, Multipart, Path, Query, Request, State as Extracted};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::plane::Plane;
use super::super::runtime::Runtime;
use super::super::runtime::store::NAMESPACE_HEADER;
use super::answer::{Answer, Refusal, ok, ok_with};
use super::kv::no_namespace;
use super::store::Call;
use super::{Ctx, Name, Names, nothing, parse};

/// Pairs or keys in one bulk call, as at Cloudflare.
const BULK_PAIRS: usize = 10_000;
const METADATA_HEADER: &str = "cf-kv-metadata";

fn known(plane: &Plane, namespace: &str) -> Result<(), Refusal> {
    match plane.state().account.namespaces.contains_key(namespace) {
        true => Ok(()),
        false => Err(no_namespace(namespace)),
    }
}

/// A call about a namespace.
fn call(method: Method, target: String, namespace: &str) -> Call {
    Call::new(method, target, (NAMESPACE_HEADER, namespace))
}

/// Puts a key's metadata into a call.
fn with_metadata(call: &mut Call, metadata: &str) -> Result<(), Refusal> {
    let value = HeaderValue::from_bytes(metadata.as_bytes());
    let value = value.map_err(|_| Refusal::bad(10033, "the metadata cannot be sent"))?;
    call.headers.insert(METADATA_HEADER, value);
    Ok(())
}

fn no_key() -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, 10009, "get: 'key not found'")
}

/// A text as one segment or value of a URL.
fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'~' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

fn key_target(key: &str) -> String {
    format!("/{}?urlencoded=true", encode(key))
}

/// `GET values/{k}`: the value itself.
pub(super) async fn get(Extracted(plane): Ctx, Path((_, namespace, key)): Names) -> Result<Response, Refusal> {
    known(&plane, &namespace)?;
    let told = call(Method::GET, key_target(&key), &namespace).ask(&plane).await?;
    if told.status == StatusCode::NOT_FOUND {
        return Err(no_key());
    }
    Ok(([("content-type", "application/octet-stream")], AxumBody::from(told.body)).into_response())
}

/// `GET metadata/{k}`.
pub(super) async fn metadata(Extracted(plane): Ctx, Path((_, namespace, key)): Names) -> Answer {
    known(&plane, &namespace)?;
    let told = call(Method::GET, key_target(&key), &namespace).ask(&plane).await?;
    if told.status == StatusCode::NOT_FOUND {
        return Err(no_key());
    }
    let metadata = told.headers.get(METADATA_HEADER).map(HeaderValue::as_bytes);
    ok(metadata.and_then(|bytes| serde_json::from_slice::<Value>(bytes).ok()).unwrap_or_default())
}

/// When a key expires.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Expiry {
    expiration: Option<u64>,
    expiration_ttl: Option<u64>,
}

impl Expiry {
    fn query(&self) -> String {
        let mut query = String::new();
        if let Some(at) = self.expiration {
            query.push_str(&format!("&expiration={at}"));
        }
        if let Some(ttl) = self.expiration_ttl {
            query.push_str(&format!("&expiration_ttl={ttl}"));
        }
        query
    }
}

/// `PUT values/{k}`: the body is the value, or a form with `value` and `metadata`.
pub(super) async fn put(
    Extracted(plane): Ctx,
    Path((_, namespace, key)): Names,
    Query(expiry): Query<Expiry>,
    request: Request,
) -> Answer {
    known(&plane, &namespace)?;
    let kind = request.headers().get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let mut call = call(Method::PUT, format!("{}{}", key_target(&key), expiry.query()), &namespace);
    if kind.starts_with("multipart/form-data") {
        let malformed = |error: String| Refusal::bad(10026, format!("the form cannot be read: {error}"));
        let mut form = Multipart::from_request(request, &()).await.map_err(|error| malformed(error.body_text()))?;
        while let Some(field) = form.next_field().await.map_err(|error| malformed(error.body_text()))? {
            let name = field.name().unwrap_or_default().to_owned();
            let bytes = field.bytes().await.map_err(|error| malformed(error.body_text()))?;
            match name.as_str() {
                "value" => call.body = bytes,
                "metadata" if bytes != "null" => with_metadata(&mut call, &String::from_utf8_lossy(&bytes))?,
                _ => {}
            }
        }
    } else {
        call.body =
            Bytes::from_request(request, &()).await.map_err(|error| Refusal::new(error.status(), 10026, error.body_text()))?;
    }
    call.ask(&plane).await?;
    ok(nothing())
}

/// `DELETE values/{k}`.
pub(super) async fn delete(Extracted(plane): Ctx, Path((_, namespace, key)): Names) -> Answer {
    known(&plane, &namespace)?;
    call(Method::DELETE, key_target(&key), &namespace).ask(&plane).await?;
    ok(nothing())
}

#[derive(Debug, Deserialize)]
pub(super) struct KeysQuery {
    prefix: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

async fn list(plane: &Plane, namespace: &str, query: &KeysQuery) -> Result<(Vec<Value>, String), Refusal> {
    let mut target = format!("/?key_count_limit={}", query.limit.unwrap_or(1000));
    if let Some(prefix) = &query.prefix {
        target.push_str(&format!("&prefix={}", encode(prefix)));
    }
    if let Some(cursor) = query.cursor.as_deref().filter(|cursor| !cursor.is_empty()) {
        target.push_str(&format!("&cursor={}", encode(cursor)));
    }
    let told = call(Method::GET, target, namespace).ask(plane).await?;
    let mut page: Value = serde_json::from_slice(&told.body).unwrap_or_default();
    let keys = page["keys"].as_array_mut().map(std::mem::take).unwrap_or_default();
    let keys = keys.into_iter().map(|mut key| {
        // The store keeps metadata as text.
        if let Some(metadata) = key["metadata"].as_str().and_then(|text| serde_json::from_str(text).ok()) {
            key["metadata"] = metadata;
        }
        key
    });
    Ok((keys.collect(), page["cursor"].as_str().unwrap_or_default().to_owned()))
}

/// `GET keys`.
pub(super) async fn keys(Extracted(plane): Ctx, Path((_, namespace)): Name, Query(query): Query<KeysQuery>) -> Answer {
    known(&plane, &namespace)?;
    let (keys, cursor) = list(&plane, &namespace, &query).await?;
    let info = json!({ "count": keys.len(), "cursor": cursor });
    ok_with(json!(keys), Some(info), StatusCode::OK)
}

#[derive(Debug, Deserialize)]
struct Pair {
    key: String,
    value: String,
    #[serde(flatten)]
    expiry: Expiry,
    metadata: Option<Value>,
    #[serde(default)]
    base64: bool,
}

/// `PUT bulk`.
pub(super) async fn bulk_put(Extracted(plane): Ctx, Path((_, namespace)): Name, body: Bytes) -> Answer {
    known(&plane, &namespace)?;
    let pairs: Vec<Pair> = parse(&body)?;
    if pairs.len() > BULK_PAIRS {
        return Err(Refusal::bad(10033, format!("more than {BULK_PAIRS} pairs")));
    }
    let mut unsuccessful = Vec::new();
    let count = pairs.len();
    for pair in pairs {
        let value = match pair.base64 {
            true => base64::engine::general_purpose::STANDARD.decode(&pair.value).ok().map(Bytes::from),
            false => Some(Bytes::from(pair.value)),
        };
        let Some(body) = value else {
            unsuccessful.push(pair.key);
            continue;
        };
        let mut put = call(Method::PUT, format!("{}{}", key_target(&pair.key), pair.expiry.query()), &namespace);
        put.body = body;
        let metadata = pair.metadata.filter(|metadata| !metadata.is_null()).map(|metadata| metadata.to_string());
        let sendable = metadata.is_none_or(|metadata| with_metadata(&mut put, &metadata).is_ok());
        if !sendable || put.ask(&plane).await.is_err() {
            unsuccessful.push(pair.key);
        }
    }
    ok(json!({ "successful_key_count": count - unsuccessful.len(), "unsuccessful_keys": unsuccessful }))
}

/// `POST bulk/delete` and `DELETE bulk`: keys, as texts or as objects with a `name`.
pub(super) async fn bulk_delete(Extracted(plane): Ctx, Path((_, namespace)): Name, body: Bytes) -> Answer {
    known(&plane, &namespace)?;
    let items: Vec<Value> = parse(&body)?;
    if items.len() > BULK_PAIRS {
        return Err(Refusal::bad(10033, format!("more than {BULK_PAIRS} keys")));
    }
    let mut unsuccessful = Vec::new();
    let mut count = 0;
    for key in items.iter().filter_map(|item| item.as_str().or(item["name"].as_str())) {
        match call(Method::DELETE, key_target(key), &namespace).ask(&plane).await {
            Ok(_) => count += 1,
            Err(_) => unsuccessful.push(key),
        }
    }
    ok(json!({ "successful_key_count": count, "unsuccessful_keys": unsuccessful }))
}

/// `POST bulk/get`.
pub(super) async fn bulk_get(Extracted(plane): Ctx, Path((_, namespace)): Name, body: Bytes) -> Answer {
    known(&plane, &namespace)?;
    let asked = Call { body, ..call(Method::POST, "/bulk/get".to_owned(), &namespace) };
    let told = asked.ask(&plane).await?;
    let values: BTreeMap<String, Value> = serde_json::from_slice(&told.body).unwrap_or_default();
    ok(json!({ "values": values }))
}

/// Removes every key.
pub(super) async fn clear(plane: &Plane, namespace: &str) -> Result<(), Refusal> {
    if let Runtime::Missing { .. } = plane.supervisor.runtime() {
        return Ok(());
    }
    loop {
        let (keys, _) = list(plane, namespace, &KeysQuery { prefix: None, limit: None, cursor: None }).await?;
        if keys.is_empty() {
            return Ok(());
        }
        for key in keys.iter().filter_map(|key| key["name"].as_str()) {
            call(Method::DELETE, key_target(key), namespace).ask(plane).await?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_any_text_make_one_segment() {
        assert_eq!(key_target("a/b ?é."), "/a%2Fb%20%3F%C3%A9%2E?urlencoded=true");
    }
}
