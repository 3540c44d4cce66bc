//! The static files of a Worker: what is to be served is told first, and only what the platform does not have goes up.
//!
//! Goes in: an order whose files are all in its bundle. Comes out: the token that an upload of the Worker names them by.
//!
//! **Invariant:** nothing here changes what is served: files that no version names are forgotten by the platform. So a
//! failure is a refusal of the order. The session's own token is a secret, and goes nowhere but to the API.

use std::collections::BTreeMap;

use base64::Engine as _;
use bytes::Bytes;
use http::Method;
use serde_json::{Map, Value as Json, json};

use crate::model::{Content, Digest, Properties, Retry, Secret, Value};
use crate::provider::{Order, ProviderError};

use super::super::CloudflareProvider;
use super::super::client::Payload;
use super::super::fault::Fault;
use super::super::multipart::{self, Part};

/// The files among the properties of a Worker.
fn files(properties: &Properties) -> BTreeMap<&String, Content> {
    let table = properties.get("assets").and_then(|assets| assets.as_table()?.get("files")?.as_table());
    let content = |(path, value)| match value {
        &Value::Content { content } => Some((path, content)),
        _ => None,
    };
    table.into_iter().flatten().filter_map(content).collect()
}

/// Whether a Worker is to serve files.
pub(super) fn any(properties: &Properties) -> bool {
    properties.contains_key("assets")
}

/// What the platform knows a file by: 32 hex digits of its bytes and its extension, which says its type.
fn hash(path: &str, content: Content) -> String {
    let extension = path.rsplit_once('/').map_or(path, |(_, name)| name).rsplit_once('.').map_or("", |(_, e)| e);
    Digest::of(format!("{}.{extension}", content.sha256).as_bytes()).to_string()[..32].to_owned()
}

/// What an upload of the Worker says of its files: the token for them and how they are served.
///
/// # Errors
/// Where a file's bytes are not in the bundle, or the API refuses; nothing was changed.
pub(super) async fn upload(provider: &CloudflareProvider, script: &str, order: &Order) -> Result<Json, Fault> {
    let after = order.change.after.clone().unwrap_or_default();
    let files = files(&after);
    let by_hash: BTreeMap<String, (&String, Content)> =
        files.iter().map(|(path, content)| (hash(path, *content), (*path, *content))).collect();
    let manifest: Map<String, Json> = files
        .iter()
        .map(|(path, content)| ((*path).clone(), json!({ "hash": hash(path, *content), "size": content.size })))
        .collect();
    let path = provider.account.script(script, &["assets-upload-session"]);
    let body = Payload::Json(json!({ "manifest": manifest }));
    let session: Json = provider.client.write(Method::POST, &path, body, &[]).await?;
    let mut token = jwt(&session).ok_or_else(|| malformed("the session has no token"))?;
    let buckets = session.get("buckets").and_then(Json::as_array).cloned().unwrap_or_default();
    let last = buckets.len().saturating_sub(1);
    for (index, bucket) in buckets.iter().enumerate() {
        let wanted = bucket.as_array().into_iter().flatten().filter_map(Json::as_str);
        let mut parts = Vec::new();
        for hash in wanted {
            let (path, content) = by_hash.get(hash).ok_or_else(|| malformed("it asks for a file that was not named"))?;
            let bytes = order.contents.get(&content.sha256);
            let bytes = bytes.ok_or_else(|| malformed(&format!("the bytes of `{path}` are not in the bundle")))?;
            let mime = mime_guess::from_path(path).first_raw().unwrap_or("application/octet-stream");
            let part = Part {
                name: hash.to_owned(),
                filename: Some(hash.to_owned()),
                content_type: mime.to_owned(),
                content: Bytes::new(),
            };
            parts.push((part, base64::engine::general_purpose::STANDARD.encode(bytes)));
        }
        let boundary = format!("trunkline-{}", uuid::Uuid::now_v7().simple());
        let parts: Vec<(&Part, &[u8])> = parts.iter().map(|(part, content)| (part, content.as_bytes())).collect();
        let bytes = Bytes::from(multipart::write(&parts, &boundary).map_err(Fault::own)?);
        let content_type = format!("multipart/form-data; boundary={boundary}");
        let payload = Payload::Session { token: token.clone(), content_type, bytes };
        let path = format!("{}?base64=true", provider.account.path(&["workers", "assets", "upload"]));
        let answer: Json = provider.client.write(Method::POST, &path, payload, &[&token]).await?;
        if index == last {
            token = jwt(&answer).ok_or_else(|| malformed("the last upload was answered without a token"))?;
        }
    }
    let config = after.get("assets").and_then(|assets| assets.as_table()?.get("config")?.as_table());
    let config = config.map(super::super::collection::object).unwrap_or_default();
    // The token is shown to nobody but the API: it stands in the upload's metadata, whose bytes are wiped.
    let token = token.expose_text().unwrap_or_default();
    Ok(json!({ "jwt": token, "config": config }))
}

fn jwt(answer: &Json) -> Option<Secret> {
    Some(Secret::new(answer.get("jwt")?.as_str()?.as_bytes().to_vec()))
}

fn malformed(what: &str) -> Fault {
    Fault::own(ProviderError::new(format!("the static files cannot be uploaded: {what}"), Retry::Stalled))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_by_its_bytes_and_its_type() {
        let content = Content::of(b"x");
        assert_eq!(hash("/a.html", content), hash("/b/c.html", content));
        assert_ne!(hash("/a.html", content), hash("/a.txt", content));
        assert_eq!(hash("/a", content).len(), 32);
    }
}
