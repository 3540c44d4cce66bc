//! Purges of a zone's cache: recorded, since there is no cache.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, State as Extracted};
use bytes::Bytes;
use serde_json::{Value, json};

use super::super::api::answer::{Answer, Refusal, ok};
use super::super::plane::Plane;
use super::super::record::now;
use super::{Kept, StandIn, object, zones};

/// What one call may name. Source: developers.cloudflare.com/cache/how-to/purge-cache.
const MOST: usize = 100;

/// What can be purged by.
const SORTS: [&str; 5] = ["purge_everything", "files", "hosts", "prefixes", "tags"];

/// `POST purge_cache`.
pub(super) async fn purge(
    Extracted(plane): Extracted<Arc<Plane>>,
    Extension(kept): Kept,
    Path(zone): Path<String>,
    body: Bytes,
) -> Answer {
    record(&plane, &kept, ("purge", &zone), &body).await
}

/// `POST invalidate_cache`: what is cached is asked for again before it is served.
pub(super) async fn invalidate(
    Extracted(plane): Extracted<Arc<Plane>>,
    Extension(kept): Kept,
    Path(zone): Path<String>,
    body: Bytes,
) -> Answer {
    record(&plane, &kept, ("invalidate", &zone), &body).await
}

async fn record(plane: &Plane, kept: &StandIn, (mode, zone): (&str, &str), body: &Bytes) -> Answer {
    let name = zones::name(plane, zone)?;
    let wanted = object(body)?;
    let said: Vec<&str> = SORTS.into_iter().filter(|sort| wanted.contains_key(*sort)).collect();
    let [sort] = said[..] else {
        return Err(Refusal::bad(1012, format!("Request must contain exactly one of {}", SORTS.join(", "))));
    };
    let sound = match &wanted[sort] {
        Value::Bool(all) => sort == "purge_everything" && *all,
        Value::Array(items) => sort != "purge_everything" && (1..=MOST).contains(&items.len()),
        _ => false,
    };
    if !sound {
        return Err(Refusal::bad(1094, format!("`{sort}` names 1 to {MOST} items, `purge_everything` is true")));
    }
    let entry = json!({ "mode": mode, "zone": name, "at": now(), sort: wanted[sort] });
    kept.change(|records| records.add("purges", entry)).await?;
    ok(json!({ "id": zone }))
}

/// `GET /__purges`: all of them, oldest first.
pub(super) async fn recorded(Extension(kept): Kept) -> Answer {
    ok(json!(kept.now().all("purges")))
}
