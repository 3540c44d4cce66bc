//! Objects of an R2 bucket over the API: put, read, listed, deleted.
//!
//! **Invariant:** an object's bytes stream; no object is ever in memory as a whole.

use axum::body::Body;
use axum::extract::{Path, Query, Request, State as Extracted};
use axum::response::{IntoResponse as _, Response};
use futures_util::StreamExt as _;
use http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
    EXPIRES, HeaderName, LAST_MODIFIED, RANGE,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::local::r2::{Given, HttpFields, ListQuery, Object, R2Error, Range, stream};
use super::answer::{Answer, Refusal, ok, ok_with};
use super::{Ctx, Name, Names, r2};

/// `PUT objects/{key}`: the body is the object.
pub(super) async fn put(Extracted(plane): Ctx, Path((_, bucket, key)): Names, request: Request) -> Answer {
    let (parts, body) = request.into_parts();
    let id = r2::find(&plane.state(), &parts.headers, &bucket)?;
    let text = |name: HeaderName| parts.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let expires = text(EXPIRES).and_then(|text| chrono::DateTime::parse_from_rfc2822(&text).ok());
    let http = HttpFields {
        content_type: text(CONTENT_TYPE),
        content_language: text(CONTENT_LANGUAGE),
        content_disposition: text(CONTENT_DISPOSITION),
        content_encoding: text(CONTENT_ENCODING),
        cache_control: text(CACHE_CONTROL),
        cache_expiry: expires.map(|time| time.timestamp_millis()),
    };
    let storage_class = text(HeaderName::from_static("cf-r2-storage-class"))
        .or_else(|| plane.state().account.buckets.get(&id).map(|bucket| bucket.storage_class.clone()));
    let mut writer = plane.local.buckets.writer().await?;
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        writer.write(&chunk.map_err(|_| R2Error::Invalid("the request broke off".to_owned()))?).await?;
    }
    let blob = writer.finish().await?;
    let given = Given { http, storage_class, ..Given::default() };
    let object = plane.local.buckets.put(&id, &key, blob, given, None).await?;
    ok(shown(&object))
}

/// `GET objects/{key}`: the object itself, or a range of it.
pub(super) async fn get(Extracted(plane): Ctx, Path((_, bucket, key)): Names, headers: HeaderMap) -> Result<Response, Refusal> {
    let id = r2::find(&plane.state(), &headers, &bucket)?;
    let (object, file) = plane.local.buckets.get(&id, &key).await?;
    let range = headers.get(RANGE).and_then(|value| value.to_str().ok()).and_then(Range::of_header);
    let (offset, length) = range.unwrap_or_default().within(object.size)?;
    let mut response = Body::from_stream(stream(file, offset, length)?).into_response();
    if range.is_some() {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let shown = format!("bytes {offset}-{}/{}", (offset + length).saturating_sub(1), object.size);
        set(response.headers_mut(), CONTENT_RANGE, &shown);
    }
    let http = &object.http;
    let fallback = Some("application/octet-stream".to_owned());
    for (name, value) in [
        (CONTENT_TYPE, http.content_type.as_ref().or(fallback.as_ref())),
        (CONTENT_LANGUAGE, http.content_language.as_ref()),
        (CONTENT_DISPOSITION, http.content_disposition.as_ref()),
        (CONTENT_ENCODING, http.content_encoding.as_ref()),
        (CACHE_CONTROL, http.cache_control.as_ref()),
    ] {
        if let Some(value) = value {
            set(response.headers_mut(), name, value);
        }
    }
    set(response.headers_mut(), CONTENT_LENGTH, &length.to_string());
    set(response.headers_mut(), ETAG, &format!("\"{}\"", object.etag));
    set(response.headers_mut(), LAST_MODIFIED, &time(object.uploaded, "%a, %d %b %Y %H:%M:%S GMT"));
    Ok(response)
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

fn time(ms: i64, format: &str) -> String {
    chrono::DateTime::from_timestamp_millis(ms).map(|time| time.format(format).to_string()).unwrap_or_default()
}

/// `DELETE objects/{key}`: one that is not there does not matter.
pub(super) async fn delete(Extracted(plane): Ctx, Path((_, bucket, key)): Names, headers: HeaderMap) -> Answer {
    let id = r2::find(&plane.state(), &headers, &bucket)?;
    plane.local.buckets.delete(&id, vec![key.clone()]).await?;
    ok(json!({ "key": key }))
}

#[derive(Debug, Deserialize)]
pub(super) struct Page {
    prefix: Option<String>,
    delimiter: Option<String>,
    cursor: Option<String>,
    start_after: Option<String>,
    per_page: Option<usize>,
}

/// `GET objects`: a page of keys.
pub(super) async fn list(Extracted(plane): Ctx, Path((_, bucket)): Name, Query(page): Query<Page>, headers: HeaderMap) -> Answer {
    let id = r2::find(&plane.state(), &headers, &bucket)?;
    let query = ListQuery {
        limit: page.per_page,
        prefix: page.prefix,
        cursor: page.cursor,
        delimiter: page.delimiter,
        start_after: page.start_after,
    };
    let listing = plane.local.buckets.list(&id, query).await?;
    let mut info = json!({ "is_truncated": listing.cursor.is_some(), "delimited": listing.prefixes });
    if let Some(cursor) = &listing.cursor {
        info["cursor"] = json!(cursor);
    }
    let objects: Vec<Value> = listing.objects.iter().map(shown).collect();
    ok_with(json!(objects), Some(info), StatusCode::OK)
}

fn shown(object: &Object) -> Value {
    json!({
        "key": object.key,
        "etag": object.etag,
        "version": object.version,
        "size": object.size.to_string(),
        "last_modified": time(object.uploaded, "%Y-%m-%dT%H:%M:%S%.3fZ"),
        "http_metadata": object.http,
        "custom_metadata": object.custom,
        "storage_class": object.storage_class,
    })
}
