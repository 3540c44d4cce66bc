//! A file of SQL run on a D1 database: what `wrangler d1 execute --remote --file` does, in three calls.
//!
//! `init` names where to put the file, `PUT` puts it there, `ingest` runs it, in one transaction. The place is a URL that
//! is signed under the edge's key, good for an hour: whoever puts the file shows no other token.
//!
//! **Invariant:** a file is run only as the digest says that its caller named; nothing is kept of it.

use std::fs;

use axum::extract::{Path, State as Extracted};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use md5::{Digest as _, Md5};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use subtle::ConstantTimeEq as _;

use super::super::plane::Plane;
use super::answer::{Answer, Refusal, ok};
use super::{Ctx, Name, d1, parse};

/// Seconds.
const GOOD_FOR: i64 = 3600;

#[derive(Debug, Deserialize)]
struct Wanted {
    action: String,
    #[serde(default)]
    etag: String,
}

/// What the URL of an upload says.
#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    etag: String,
    exp: i64,
}

/// `POST database/{id}/import`.
pub(super) async fn import(Extracted(plane): Ctx, Path((_, id)): Name, headers: HeaderMap, body: Bytes) -> Answer {
    let id = d1::find(&plane.state(), &id)?;
    let wanted: Wanted = parse(&body)?;
    if wanted.etag.len() != 32 || !wanted.etag.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(Refusal::bad(7400, "an import names the MD5 of its file as `etag`"));
    }
    let etag = wanted.etag.to_ascii_lowercase();
    match wanted.action.as_str() {
        "init" => {
            let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
            let host = text("host").ok_or_else(|| Refusal::bad(7400, "the request names no host"))?;
            let scheme = if text("x-forwarded-proto") == Some("https") { "https" } else { "http" };
            let claims = json!(Claims { etag: etag.clone(), exp: chrono::Utc::now().timestamp() + GOOD_FOR }).to_string();
            let claims = URL_SAFE_NO_PAD.encode(claims);
            let signature = URL_SAFE_NO_PAD.encode(plane.seal.sign(claims.as_bytes()));
            ok(json!({
                "success": true, "type": "import", "messages": [], "filename": etag,
                "upload_url": format!("{scheme}://{host}/client/v4/d1-uploads/{claims}.{signature}"),
            }))
        }
        "ingest" => {
            let path = plane.assets.beside(&format!("import-{etag}.sql"));
            let sql = fs::read_to_string(&path).map_err(|_| Refusal::bad(7400, "the file is not there; upload it again"))?;
            let ran = run(&plane, &id, &sql).await;
            // Whatever came of it: a second try uploads it again.
            let _ = fs::remove_file(&path);
            ok(ran?)
        }
        other => Err(Refusal::bad(7400, format!("an import is over when `ingest` is: there is nothing to `{other}`"))),
    }
}

async fn run(plane: &Plane, id: &str, sql: &str) -> Result<Value, Refusal> {
    let queries = d1::queries(json!({ "sql": sql }))?;
    let results = Box::pin(d1::run(plane, id, &queries, false)).await?;
    let all = results.as_array().map(Vec::as_slice).unwrap_or_default();
    let sum = |field: &str| all.iter().filter_map(|result| result["meta"][field].as_u64()).sum::<u64>();
    let size = all.last().map(|result| result["meta"]["size_after"].clone());
    let meta = json!({
        "served_by": "workerd", "duration": 0.0, "changes": sum("changes"), "rows_read": sum("rows_read"),
        "rows_written": sum("rows_written"), "size_after": size, "changed_db": true,
    });
    Ok(json!({
        "success": true, "type": "import", "status": "complete", "messages": [],
        "result": { "num_queries": all.len(), "final_bookmark": "", "meta": meta },
    }))
}

/// `PUT d1-uploads/{token}`: the file, which has to be the one that was named.
pub(super) async fn upload(Extracted(plane): Ctx, Path(token): Path<String>, body: Bytes) -> Result<Response, Refusal> {
    let refused = || Refusal::new(StatusCode::UNAUTHORIZED, 10000, "this URL is not valid, or no longer");
    let (claims, signature) = token.split_once('.').ok_or_else(refused)?;
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| refused())?;
    if !bool::from(plane.seal.sign(claims.as_bytes()).ct_eq(&signature)) {
        return Err(refused());
    }
    let claims = URL_SAFE_NO_PAD.decode(claims).map_err(|_| refused())?;
    let claims: Claims = serde_json::from_slice(&claims).map_err(|_| refused())?;
    let etag: String = Md5::digest(&body).iter().map(|byte| format!("{byte:02x}")).collect();
    if claims.exp <= chrono::Utc::now().timestamp() || etag != claims.etag {
        return Err(refused());
    }
    plane.assets.put_beside(&format!("import-{etag}.sql"), &body)?;
    Ok([("etag", format!("\"{etag}\""))].into_response())
}
