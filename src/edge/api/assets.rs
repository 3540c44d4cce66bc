//! Static assets: what is missing is asked for, uploaded, and put together when a version names it.
//!
//! Goes in: a manifest of paths and hashes. Comes out: the hashes to upload in buckets, and a token for the upload; with
//! the last file, a token that stands for the whole set, which an upload of a Worker names. A token is a JWT, signed under
//! the edge's key, good for an hour.
//!
//! **Invariant:** a token leads to one manifest, and the one that a Worker may name is given out only when all is there.

use axum::extract::{FromRequest as _, Multipart, Path, Request, State as Extracted};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::json;
use subtle::ConstantTimeEq as _;

use super::super::assets::{Assets, Manifest, fault};
use super::super::plane::{Plane, blocking};
use super::super::record;
use super::super::seal::Seal;
use super::answer::{Answer, Refusal, ok, ok_with};
use super::upload::Metadata;
use super::{Ctx, Name, parse};
use crate::model::Digest;

/// Files of one site, as at Cloudflare on a paid plan.
const FILES: usize = 100_000;
/// Bytes of one file.
pub(super) const FILE_LIMIT: u64 = 25 * 1024 * 1024;
/// Bytes that one bucket of an upload holds.
const BUCKET: u64 = 40 * 1024 * 1024;
/// Files that one bucket holds.
const BUCKET_FILES: usize = 500;
/// Seconds.
const GOOD_FOR: i64 = 3600;

#[derive(Debug, Deserialize)]
struct Wanted {
    manifest: Manifest,
}

/// What a token says.
#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    manifest: Digest,
    /// Whether every file is there.
    complete: bool,
    exp: i64,
}

fn sign(seal: &Seal, manifest: Digest, complete: bool) -> String {
    let claims = Claims { manifest, complete, exp: chrono::Utc::now().timestamp() + GOOD_FOR };
    let part = |value: String| URL_SAFE_NO_PAD.encode(value);
    let head = part(json!({ "alg": "HS256", "typ": "JWT" }).to_string());
    let body = format!("{head}.{}", part(json!(claims).to_string()));
    let signature = URL_SAFE_NO_PAD.encode(seal.sign(body.as_bytes()));
    format!("{body}.{signature}")
}

fn verify(seal: &Seal, token: &str) -> Option<Claims> {
    let (body, signature) = token.rsplit_once('.')?;
    let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
    if !bool::from(seal.sign(body.as_bytes()).ct_eq(&signature)) {
        return None;
    }
    let claims = URL_SAFE_NO_PAD.decode(body.split_once('.')?.1).ok()?;
    let claims: Claims = serde_json::from_slice(&claims).ok()?;
    (claims.exp > chrono::Utc::now().timestamp()).then_some(claims)
}

/// `POST scripts/{n}/assets-upload-session`.
pub(super) async fn session(Extracted(plane): Ctx, Path((_, _name)): Name, body: Bytes) -> Answer {
    let Wanted { manifest } = parse(&body)?;
    if manifest.len() > FILES {
        return Err(Refusal::bad(100_317, format!("a Worker has at most {FILES} assets")));
    }
    if let Some(fault) = fault(&manifest) {
        return Err(Refusal::bad(100_308, fault));
    }
    if let Some((path, _)) = manifest.iter().find(|(_, entry)| entry.size > FILE_LIMIT) {
        return Err(Refusal::bad(100_308, format!("the asset `{path}` is larger than 25 MiB")));
    }
    let assets = plane.assets.clone();
    let (digest, missing, manifest) = blocking(move || {
        let digest = assets.put_manifest(&manifest)?;
        Ok((digest, assets.missing(&manifest), manifest))
    })
    .await?;
    let jwt = sign(&plane.seal, digest, missing.is_empty());
    ok(json!({ "buckets": buckets(&manifest, missing), "jwt": jwt }))
}

/// Hashes in parcels that one call can carry.
fn buckets(manifest: &Manifest, missing: Vec<String>) -> Vec<Vec<String>> {
    let mut buckets: Vec<Vec<String>> = Vec::new();
    let mut bytes = 0;
    for hash in missing {
        let size = manifest.values().find(|entry| entry.hash == hash).map_or(0, |entry| entry.size);
        match buckets.last_mut().filter(|bucket| bytes + size <= BUCKET && bucket.len() < BUCKET_FILES) {
            Some(bucket) => bucket.push(hash),
            None => {
                bytes = 0;
                buckets.push(vec![hash]);
            }
        }
        bytes += size;
    }
    buckets
}

/// `POST workers/assets/upload?base64=true`: files, each in a part that is named for its hash. The session's token is the
/// authorization.
pub(super) async fn upload(Extracted(plane): Ctx, headers: HeaderMap, request: Request) -> Answer {
    let unauthorized = || Refusal::new(StatusCode::UNAUTHORIZED, 100_311, "the token of this upload is not valid, or no longer");
    let token = headers.get("authorization").and_then(|value| value.to_str().ok()?.strip_prefix("Bearer ")).unwrap_or_default();
    let claims = verify(&plane.seal, token).ok_or_else(unauthorized)?;
    let manifest = plane.assets.manifest(claims.manifest).ok_or_else(unauthorized)?;
    let malformed = |error: String| Refusal::bad(10026, format!("the form cannot be read: {error}"));
    let mut form = Multipart::from_request(request, &()).await.map_err(|error| malformed(error.body_text()))?;
    while let Some(field) = form.next_field().await.map_err(|error| malformed(error.body_text()))? {
        let hash = field.name().unwrap_or_default().to_owned();
        let bytes = field.bytes().await.map_err(|error| malformed(error.body_text()))?;
        let entry = manifest.values().find(|entry| entry.hash == hash);
        let entry = entry.ok_or_else(|| Refusal::bad(100_309, format!("the manifest has no file with the hash {hash}")))?;
        let bytes = STANDARD.decode(bytes.trim_ascii());
        let bytes = bytes.map_err(|_| Refusal::bad(100_310, format!("the file {hash} is not in base64")))?;
        if bytes.len() as u64 != entry.size {
            let (got, wanted) = (bytes.len(), entry.size);
            return Err(Refusal::bad(100_310, format!("the file {hash} has {got} bytes and not {wanted}, as the manifest says")));
        }
        let assets = plane.assets.clone();
        blocking(move || assets.put_file(&hash, &bytes)).await?;
    }
    let complete = plane.assets.missing(&manifest).is_empty();
    let jwt = complete.then(|| sign(&plane.seal, claims.manifest, true));
    ok_with(json!({ "jwt": jwt }), None, StatusCode::CREATED)
}

/// The assets that an upload of a Worker names, put together; those of the version before it where it keeps them.
pub(super) async fn of_upload(
    plane: &Plane,
    metadata: &Metadata,
    before: Option<&record::Version>,
) -> Result<Option<record::Assets>, Refusal> {
    if metadata.keep_assets == Some(true) && metadata.assets["jwt"].is_null() {
        let kept = before.and_then(|version| version.assets.clone());
        let config = metadata.assets.get("config").filter(|config| !config.is_null()).cloned();
        return Ok(kept.map(|kept| record::Assets { config: config.unwrap_or(kept.config), ..kept }));
    }
    let Some(token) = metadata.assets["jwt"].as_str() else {
        return match metadata.assets.is_null() {
            true => Ok(None),
            false => Err(Refusal::bad(100_312, "the assets have no `jwt` of an upload that is complete")),
        };
    };
    let claims = verify(&plane.seal, token).filter(|claims| claims.complete);
    let claims = claims.ok_or_else(|| Refusal::bad(100_312, "the `jwt` of the assets is not valid, or no longer"))?;
    let assets: Assets = plane.assets.clone();
    let digest = claims.manifest;
    blocking(move || match assets.manifest(digest) {
        Some(manifest) => assets.make_site(digest, &manifest).map(|()| true),
        None => Ok(false),
    })
    .await?
    .then(|| Some(record::Assets { site: digest, config: metadata.assets["config"].clone() }))
    .ok_or_else(|| Refusal::bad(100_312, "the files of the assets are no longer there; upload them again"))
}

#[cfg(test)]
mod tests {
    use super::super::super::assets::Entry;
    use super::*;

    #[test]
    fn a_token_is_good_as_it_was_signed() {
        let folder = tempfile::tempdir().unwrap();
        let seal = Seal::open(&folder.path().join("key")).unwrap();
        let token = sign(&seal, Digest::of(b"m"), true);
        assert!(verify(&seal, &token).is_some_and(|claims| claims.complete && claims.manifest == Digest::of(b"m")));
        let other = sign(&seal, Digest::of(b"n"), true);
        let (body, _) = other.rsplit_once('.').unwrap();
        let (_, signature) = token.rsplit_once('.').unwrap();
        assert!(verify(&seal, &format!("{body}.{signature}")).is_none());
        assert!(verify(&seal, "").is_none());
    }

    #[test]
    fn buckets_hold_what_one_call_carries() {
        let entry = |n: u8, size| (format!("/{n}"), Entry { hash: n.to_string(), size });
        let manifest: Manifest = [entry(1, BUCKET), entry(2, 1), entry(3, 1)].into();
        let hashes = |all: &[&str]| all.iter().map(|hash| (*hash).to_owned()).collect::<Vec<_>>();
        assert_eq!(buckets(&manifest, hashes(&["1", "2", "3"])), [hashes(&["1"]), hashes(&["2", "3"])]);
        assert!(buckets(&manifest, Vec::new()).is_empty());
    }
}
