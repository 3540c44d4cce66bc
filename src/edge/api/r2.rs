//! R2 buckets: made, listed, changed, deleted.
//!
//! A bucket is known by its jurisdiction and its name; the header `cf-r2-jurisdiction` says the first.
//!
//! **Invariant:** a bucket that holds an object, or that a serving Worker binds, is not deleted.

use axum::extract::{Path, Query, State as Extracted};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::local::r2::R2Error;
use super::super::record::{Binding, Bucket, State, fresh_hex, now};
use super::answer::{Answer, Refusal, ok, ok_with};
use super::{Ctx, Name, Names, bound_by, parse};

/// Buckets of one edge.
const LIMIT: usize = 10_000;

impl From<R2Error> for Refusal {
    fn from(error: R2Error) -> Self {
        let (status, code) = error.codes();
        Self::new(status, code, error.to_string())
    }
}

/// The jurisdiction that a call names.
pub(super) fn jurisdiction(headers: &HeaderMap) -> Result<&str, Refusal> {
    let named = headers.get("cf-r2-jurisdiction").map_or(Ok("default"), |value| value.to_str());
    match named.unwrap_or_default() {
        named @ ("default" | "eu" | "fedramp") => Ok(named),
        _ => Err(Refusal::bad(10029, "cf-r2-jurisdiction is `default`, `eu` or `fedramp`")),
    }
}

/// The id of a bucket that a call names.
pub(super) fn find(state: &State, headers: &HeaderMap, name: &str) -> Result<String, Refusal> {
    let id = state.account.bucket_id(Some(jurisdiction(headers)?), name);
    id.cloned().ok_or_else(|| R2Error::NoSuchBucket.into())
}

fn shown(bucket: &Bucket) -> Value {
    json!({
        "name": bucket.name,
        "creation_date": bucket.creation_date,
        "location": bucket.location.as_ref().map(|location| location.to_ascii_uppercase()),
        "storage_class": bucket.storage_class,
        "jurisdiction": bucket.jurisdiction,
    })
}

#[derive(Debug, Deserialize)]
pub(super) struct ListQuery {
    name_contains: Option<String>,
    start_after: Option<String>,
    cursor: Option<String>,
    per_page: Option<usize>,
    direction: Option<String>,
}

/// `GET buckets`: by name, in pages with a cursor.
pub(super) async fn list(
    Extracted(plane): Ctx,
    Path(_account): Path<String>,
    Query(query): Query<ListQuery>,
    headers: HeaderMap,
) -> Answer {
    let state = plane.state();
    let jurisdiction = jurisdiction(&headers)?;
    let fits = |bucket: &&Bucket| {
        bucket.jurisdiction == jurisdiction && query.name_contains.as_ref().is_none_or(|part| bucket.name.contains(part))
    };
    let mut found: Vec<&Bucket> = state.account.buckets.values().filter(fits).collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    let descending = query.direction.as_deref() == Some("desc");
    if descending {
        found.reverse();
    }
    let after = query.cursor.as_deref().filter(|cursor| !cursor.is_empty()).or(query.start_after.as_deref());
    if let Some(after) = after {
        found.retain(|bucket| if descending { bucket.name.as_str() < after } else { bucket.name.as_str() > after });
    }
    let per_page = query.per_page.unwrap_or(1000).clamp(1, 1000);
    let more = found.len() > per_page;
    found.truncate(per_page);
    let mut info = json!({ "per_page": per_page });
    if more && let Some(last) = found.last() {
        info["cursor"] = json!(last.name);
    }
    let buckets: Vec<Value> = found.into_iter().map(shown).collect();
    ok_with(json!({ "buckets": buckets }), Some(info), StatusCode::OK)
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wanted {
    name: String,
    location_hint: Option<String>,
    storage_class: Option<String>,
}

fn storage_class(named: &str) -> Result<String, Refusal> {
    match named {
        "Standard" | "InfrequentAccess" => Ok(named.to_owned()),
        other => Err(Refusal::bad(10062, format!("a storage class is `Standard` or `InfrequentAccess`, not `{other}`"))),
    }
}

/// `POST buckets`.
pub(super) async fn create(Extracted(plane): Ctx, Path(_account): Path<String>, headers: HeaderMap, body: Bytes) -> Answer {
    let wanted: Wanted = parse(&body)?;
    let jurisdiction = jurisdiction(&headers)?.to_owned();
    let name = wanted.name;
    let characters = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !(3..=63).contains(&name.len()) || !characters || name.starts_with('-') || name.ends_with('-') {
        let message =
            "The specified bucket name is not valid: it has 3 to 63 small letters, digits and hyphens, none of them at an end";
        return Err(Refusal::bad(10005, message));
    }
    let location = wanted.location_hint.map(|hint| hint.to_ascii_lowercase());
    let locations = ["apac", "eeur", "enam", "weur", "wnam", "oc"];
    if let Some(other) = location.as_deref().filter(|hint| !locations.contains(hint)) {
        return Err(Refusal::bad(10042, format!("locationHint is one of {}, not `{other}`", locations.join(", "))));
    }
    let storage_class = storage_class(wanted.storage_class.as_deref().unwrap_or("Standard"))?;
    let bucket = Bucket { name, jurisdiction, creation_date: now(), location, storage_class };
    let edit = |state: &mut State| {
        if state.account.bucket_id(Some(&bucket.jurisdiction), &bucket.name).is_some() {
            let message = "The bucket you tried to create already exists, and you own it.";
            return Err(Refusal::new(StatusCode::CONFLICT, 10004, message));
        }
        if state.account.buckets.len() >= LIMIT {
            return Err(Refusal::bad(10009, format!("this edge keeps at most {LIMIT} buckets")));
        }
        let answer = shown(&bucket);
        state.account_mut().buckets.insert(fresh_hex(), bucket);
        Ok(answer)
    };
    ok(Box::pin(plane.change(edit)).await?)
}

/// `GET buckets/{name}`.
pub(super) async fn show(Extracted(plane): Ctx, Path((_, name)): Name, headers: HeaderMap) -> Answer {
    let state = plane.state();
    let id = find(&state, &headers, &name)?;
    ok(shown(&state.account.buckets[&id]))
}

/// `PATCH buckets/{name}`: another storage class for objects to come, in `cf-r2-storage-class`; what a body says is not read.
pub(super) async fn update(Extracted(plane): Ctx, Path((_, name)): Name, headers: HeaderMap) -> Answer {
    let class = headers.get("cf-r2-storage-class").and_then(|value| value.to_str().ok());
    let class = storage_class(class.unwrap_or_default())?;
    let edit = |state: &mut State| {
        let id = find(state, &headers, &name)?;
        let bucket = state.account_mut().buckets.get_mut(&id).ok_or(R2Error::NoSuchBucket)?;
        bucket.storage_class = class;
        Ok::<_, Refusal>(shown(bucket))
    };
    ok(Box::pin(plane.change(edit)).await?)
}

/// What a bucket has of the settings that this edge does not: none, as on a bucket where nobody has made any.
pub(super) async fn setting(Extracted(plane): Ctx, Path((_, name, setting)): Names, headers: HeaderMap) -> Answer {
    let id = find(&plane.state(), &headers, &name)?;
    match setting.as_str() {
        "cors" => Err(Refusal::new(StatusCode::NOT_FOUND, 10059, "The CORS configuration does not exist.")),
        "lifecycle" | "lock" => ok(json!({ "rules": [] })),
        "domains/custom" => ok(json!({ "domains": [] })),
        "domains/managed" => ok(json!({ "bucketId": id, "domain": "", "enabled": false })),
        other => Err(Refusal::no_route(other)),
    }
}

/// Settings that this edge does not have.
pub(super) async fn no_setting(Path((_, _name, setting)): Names) -> Refusal {
    Refusal::bad(
        10021,
        format!("this edge has no `{setting}` of R2 buckets: objects are reached by bindings and by the API only"),
    )
}

/// `DELETE buckets/{name}`.
pub(super) async fn delete(Extracted(plane): Ctx, Path((_, name)): Name, headers: HeaderMap) -> Answer {
    let id = find(&plane.state(), &headers, &name)?;
    if !plane.local.buckets.is_empty(&id).await? {
        let message = "The bucket you tried to delete is not empty. Delete its objects first.";
        return Err(Refusal::new(StatusCode::CONFLICT, 10008, message));
    }
    let edit = |state: &mut State| {
        let Some(bucket) = state.account.buckets.get(&id) else { return Err(R2Error::NoSuchBucket.into()) };
        let binds = |binding: &Binding| match binding {
            Binding::R2Bucket { bucket_name, jurisdiction } => {
                *bucket_name == bucket.name && jurisdiction.as_deref().unwrap_or("default") == bucket.jurisdiction
            }
            _ => false,
        };
        if let Some(user) = bound_by(state, binds) {
            return Err(Refusal::new(StatusCode::CONFLICT, 10008, format!("the bucket is bound by the Worker `{user}`")));
        }
        state.account_mut().buckets.remove(&id);
        Ok::<_, Refusal>(())
    };
    Box::pin(plane.change(edit)).await?;
    plane.local.buckets.forget(&id).await?;
    ok(json!({}))
}
