//! The protocol of the runtime's R2 binding.
//!
//! Reads are `GET` with the request in the header `CF-R2-Request`. Writes are `PUT` whose body begins with the request, of
//! `CF-R2-Metadata-Size` bytes; an object's bytes follow. Answers are metadata of `CF-R2-Metadata-Size` bytes and an
//! object's bytes; a refusal is in `CF-R2-Error`. Tried on workerd 2026-11-17.
//!
//! **Invariant:** a body that breaks off leaves nothing.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Seek as _, SeekFrom};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use http::{HeaderValue, Method, Response, StatusCode};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio_util::io::ReaderStream;

use super::super::super::record::State;
use super::super::{Body, Call, full, status};
use super::blob::hex;
use super::multipart::Named;
use super::{Buckets, Checksums, Condition, Given, HttpFields, ListQuery, Listing, Object, R2Error, Range};

/// Bytes of a request's own part.
const REQUEST_LIMIT: usize = 1024 * 1024;

/// What a binding asks for. Fields have the names that the runtime gives them.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Asked {
    method: String,
    object: String,
    objects: Vec<String>,
    range: Option<Range>,
    range_header: Option<String>,
    only_if: Option<Condition>,
    http_fields: HttpFields,
    custom_fields: Vec<Field>,
    storage_class: Option<String>,
    /// Base64; the others are hex.
    md5: Option<String>,
    sha1: Option<String>,
    sha256: Option<String>,
    sha384: Option<String>,
    sha512: Option<String>,
    upload_id: String,
    part_number: u32,
    parts: Vec<Named>,
    include: Vec<u8>,
    #[serde(flatten)]
    list: ListQuery,
    ssec: Value,
}

#[derive(Debug, Deserialize)]
struct Field {
    k: String,
    v: String,
}

impl Asked {
    fn given(&mut self) -> Given {
        let custom: BTreeMap<String, String> = self.custom_fields.drain(..).map(|field| (field.k, field.v)).collect();
        let storage_class = self.storage_class.take().filter(|class| !class.is_empty());
        Given { http: std::mem::take(&mut self.http_fields), custom, storage_class }
    }

    fn checksums(&self) -> Checksums {
        let md5 = self.md5.as_ref().and_then(|text| STANDARD.decode(text).ok()).map(|bytes| hex(&bytes));
        let lower = |text: &Option<String>| text.as_ref().map(|text| text.to_ascii_lowercase());
        let [sha1, sha256, sha384, sha512] = [&self.sha1, &self.sha256, &self.sha384, &self.sha512].map(lower);
        Checksums { md5, sha1, sha256, sha384, sha512 }
    }
}

/// Answers one request of a binding.
pub(in crate::edge::local) async fn answer(buckets: &Buckets, state: &State, call: Call) -> Response<Body> {
    if !state.account.buckets.contains_key(&call.of) {
        return refusal(&R2Error::NoSuchBucket, None);
    }
    let bucket = call.of;
    let (parts, body) = call.request.into_parts();
    let answered = match parts.method {
        Method::GET => {
            let asked = parts.headers.get("cf-r2-request").map(HeaderValue::as_bytes).unwrap_or_default();
            match parse(asked) {
                Ok(asked) => Box::pin(read(buckets, &bucket, asked)).await,
                Err(error) => Err(error),
            }
        }
        Method::PUT => {
            let size = parts.headers.get("cf-r2-metadata-size").and_then(|value| value.to_str().ok()?.parse().ok());
            Box::pin(write(buckets, &bucket, size.unwrap_or(0), body)).await
        }
        _ => return status(StatusCode::METHOD_NOT_ALLOWED),
    };
    answered.unwrap_or_else(|error| refusal(&error, None))
}

fn parse(bytes: &[u8]) -> Result<Asked, R2Error> {
    let asked: Asked =
        serde_json::from_slice(bytes).map_err(|error| R2Error::Invalid(format!("the request cannot be read: {error}")))?;
    match asked.ssec.is_null() {
        true => Ok(asked),
        false => Err(R2Error::Invalid("this edge does not have encryption with a customer's key (`ssecKey`)".to_owned())),
    }
}

async fn read(buckets: &Buckets, bucket: &str, asked: Asked) -> Result<Response<Body>, R2Error> {
    match asked.method.as_str() {
        "head" => {
            let object = buckets.head(bucket, &asked.object).await?;
            Ok(metadata(&object.shown(None), StatusCode::OK))
        }
        "get" => {
            let (object, file) = buckets.get(bucket, &asked.object).await?;
            if let Some(condition) = &asked.only_if
                && let Err(error) = condition.judge(Some(&object))
            {
                return Ok(refusal(&error, Some(&object)));
            }
            let of_header = asked.range_header.as_deref().and_then(Range::of_header);
            let (offset, length) = asked.range.or(of_header).unwrap_or_default().within(object.size)?;
            let shown = object.shown(Some((offset, length))).to_string();
            let mut response = Response::new(with_bytes(shown.clone(), file, offset, length)?);
            let total = shown.len() as u64 + length;
            response.headers_mut().insert("content-length", HeaderValue::from(total));
            response.headers_mut().insert("cf-r2-metadata-size", HeaderValue::from(shown.len()));
            Ok(response)
        }
        "list" => {
            let listing = buckets.list(bucket, asked.list).await?;
            Ok(metadata(&listed(&listing, &asked.include), StatusCode::OK))
        }
        method => Err(R2Error::Invalid(format!("this edge does not have the R2 call `{method}`"))),
    }
}

/// A page; metadata is in it where it is asked for (0 for HTTP's, 1 for one's own).
fn listed(listing: &Listing, include: &[u8]) -> Value {
    let objects = listing.objects.iter().map(|object| {
        let mut shown = object.shown(None);
        for (number, field, empty) in [(0, "httpFields", json!({})), (1, "customFields", json!([]))] {
            if !include.contains(&number) {
                shown[field] = empty;
            }
        }
        shown
    });
    let mut shown = json!({
        "objects": objects.collect::<Vec<_>>(),
        "truncated": listing.cursor.is_some(),
        "delimitedPrefixes": listing.prefixes,
    });
    if let Some(cursor) = &listing.cursor {
        shown["cursor"] = cursor.as_str().into();
    }
    shown
}

async fn write(buckets: &Buckets, bucket: &str, size: usize, mut body: Incoming) -> Result<Response<Body>, R2Error> {
    if size == 0 || size > REQUEST_LIMIT {
        return Err(R2Error::Invalid("the request has no metadata, or too much".to_owned()));
    }
    let mut head = BytesMut::new();
    while head.len() < size {
        head.extend_from_slice(&chunk(&mut body).await?.ok_or_else(broken)?);
    }
    let rest = head.split_off(size).freeze();
    let mut asked = parse(&head)?;
    let key = std::mem::take(&mut asked.object);
    match asked.method.as_str() {
        "put" => {
            let blob = store(buckets, rest, body, asked.checksums()).await?;
            let object = buckets.put(bucket, &key, blob, asked.given(), asked.only_if.take()).await?;
            Ok(metadata(&object.shown(None), StatusCode::OK))
        }
        "delete" => {
            let keys = if asked.objects.is_empty() { vec![key] } else { asked.objects };
            buckets.delete(bucket, keys).await?;
            Ok(status(StatusCode::OK))
        }
        "createMultipartUpload" => {
            let id = buckets.begin(bucket, &key, asked.given()).await?;
            Ok(metadata(&json!({ "uploadId": id }), StatusCode::OK))
        }
        "uploadPart" => {
            let blob = store(buckets, rest, body, Checksums::default()).await?;
            let etag = buckets.put_part(bucket, &key, &asked.upload_id, asked.part_number, blob).await?;
            Ok(metadata(&json!({ "etag": etag }), StatusCode::OK))
        }
        "completeMultipartUpload" => {
            let object = buckets.complete(bucket, &key, &asked.upload_id, asked.parts).await?;
            Ok(metadata(&object.shown(None), StatusCode::OK))
        }
        "abortMultipartUpload" => {
            buckets.abandon(bucket, &key, &asked.upload_id).await?;
            Ok(status(StatusCode::OK))
        }
        method => Err(R2Error::Invalid(format!("this edge does not have the R2 call `{method}`"))),
    }
}

/// The next bytes of a body; `None` at its end.
async fn chunk(body: &mut Incoming) -> Result<Option<Bytes>, R2Error> {
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(|_| broken())?.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

fn broken() -> R2Error {
    R2Error::Invalid("the request broke off".to_owned())
}

/// Writes what is left of a body to a file.
async fn store(buckets: &Buckets, first: Bytes, mut body: Incoming, expected: Checksums) -> Result<super::Blob, R2Error> {
    let mut writer = buckets.writer().await?;
    writer.expect(expected)?;
    writer.write(&first).await?;
    while let Some(bytes) = chunk(&mut body).await? {
        writer.write(&bytes).await?;
    }
    writer.finish().await
}

/// A body of metadata and a part of a file.
fn with_bytes(head: String, file: File, offset: u64, length: u64) -> Result<Body, R2Error> {
    let head = futures_util::stream::once(async move { Ok(Bytes::from(head)) });
    let frames = head.chain(stream(file, offset, length)?).map(|bytes: std::io::Result<Bytes>| bytes.map(Frame::data));
    Ok(StreamBody::new(frames).map_err(Into::into).boxed_unsync())
}

/// A part of a file, as it is read.
pub(in crate::edge) fn stream(
    mut file: File,
    offset: u64,
    length: u64,
) -> Result<ReaderStream<tokio::io::Take<tokio::fs::File>>, R2Error> {
    file.seek(SeekFrom::Start(offset))?;
    Ok(ReaderStream::with_capacity(tokio::fs::File::from_std(file).take(length), 64 * 1024))
}

fn metadata(value: &Value, code: StatusCode) -> Response<Body> {
    let text = value.to_string();
    let size = text.len();
    let mut response = Response::new(full(text));
    *response.status_mut() = code;
    response.headers_mut().insert("cf-r2-metadata-size", HeaderValue::from(size));
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/json"));
    response
}

fn refusal(error: &R2Error, object: Option<&Object>) -> Response<Body> {
    let (code, v4code) = error.codes();
    let mut response = match object {
        Some(object) => metadata(&object.shown(None), code),
        None => status(code),
    };
    let said = json!({ "version": 1, "v4code": v4code, "message": error.to_string() }).to_string();
    if let Ok(value) = HeaderValue::from_str(&said) {
        response.headers_mut().insert("cf-r2-error", value);
    }
    response
}
