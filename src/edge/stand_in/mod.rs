//! The stand-in: the records of what an edge cannot run, on its router. Only where the edge was started with `stand_in`.
//!
//! Goes in: calls about zones, DNS records, rulesets, custom domains, tunnels, dispatch namespaces, cache
//! purges. Comes out: what Cloudflare's API would answer of the *record* of each:
//! ids, unique names, pages, growing versions, error codes.
//!
//! **Invariant:** it pretends nothing about traffic: no name resolves, no tunnel connects, nothing is cached. What may hold
//! a secret (a password, a private key, a tunnel's own secret) is checked and dropped, never kept.

mod dispatch;
mod dns;
mod domains;
mod purge;
mod records;
mod routes;
mod rulesets;
mod tunnels;
mod zones;

use std::sync::Arc;

use axum::Extension;
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::api::answer::{Answer, Paging, Refusal, ok_with, page};

pub(super) use records::StandIn;
pub(super) use routes::{knobs, routes};

/// The records, as handlers get them.
type Kept = Extension<Arc<StandIn>>;

/// The query of a list, whatever is in it.
type Asked = axum::extract::Query<std::collections::BTreeMap<String, String>>;

/// A body that is an object.
fn object(body: &bytes::Bytes) -> Result<Map<String, Value>, Refusal> {
    super::api::parse(body)
}

/// The text of a field.
fn text<'a>(object: &'a Map<String, Value>, field: &str) -> Option<&'a str> {
    object.get(field).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// A field that must be there.
fn needed<'a>(object: &'a Map<String, Value>, field: &str, code: u32) -> Result<&'a str, Refusal> {
    text(object, field).ok_or_else(|| Refusal::bad(code, format!("`{field}` is required")))
}

/// There is no such thing.
fn missing(code: u32, what: &str, id: &str) -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, code, format!("there is no {what} {id}"))
}

/// A list by `page` and `per_page`.
fn pages(items: Vec<Value>, asked: &std::collections::BTreeMap<String, String>, (default, limit): (usize, usize)) -> Answer {
    // Cloudflare's own SDK for Python writes whole numbers as it was given them, `20.0` among them.
    let number = |name: &str| asked.get(name).and_then(|text| text.trim_end_matches(".0").parse().ok());
    let paging = Paging { page: number("page"), per_page: number("per_page") };
    let (items, info) = page(items, &paging, default, limit);
    ok_with(json!(items), Some(info), StatusCode::OK)
}

/// A list by cursor: the cursor is the number of items that were shown.
fn cursor_pages(items: Vec<Value>, asked: &std::collections::BTreeMap<String, String>, default: usize) -> Answer {
    let number = |name: &str| asked.get(name).and_then(|text| text.parse::<usize>().ok());
    let per_page = number("per_page").unwrap_or(default).clamp(1, 1000);
    let from = number("cursor").unwrap_or(0).min(items.len());
    let upto = (from + per_page).min(items.len());
    let cursor = if upto < items.len() { upto.to_string() } else { String::new() };
    let shown: Vec<Value> = items.into_iter().skip(from).take(per_page).collect();
    ok_with(json!(shown), Some(json!({ "count": shown.len(), "per_page": per_page, "cursor": cursor })), StatusCode::OK)
}
