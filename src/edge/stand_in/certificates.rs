//! Client certificates (mTLS) of an account: the certificates themselves. A private key is asked for and dropped.

use axum::Extension;
use axum::extract::{Path, Query};
use bytes::Bytes;
use serde_json::{Value, json};

use super::super::api::answer::{Answer, Refusal, ok};
use super::super::record::{hex_of, now};
use super::records::Records;
use super::{Asked, Kept, missing, needed, object, text};

const SET: &str = "certificates";

/// The list says it, and `PUT` of a newer one is not part of the API: a certificate never changes.
const YEAR: i64 = 365;

fn no_certificate(id: &str) -> Refusal {
    missing(1424, "certificate", id)
}

fn is_pem(text: &str, what: &str) -> bool {
    text.contains(&format!("-----BEGIN {what}")) || what == "KEY" && text.contains("PRIVATE KEY-----")
}

/// `GET mtls_certificates`.
pub(super) async fn list(Extension(kept): Kept, Query(_asked): Asked) -> Answer {
    ok(kept.listed().all(SET).to_vec())
}

/// `POST mtls_certificates`.
pub(super) async fn create(Extension(kept): Kept, body: Bytes) -> Answer {
    let wanted = object(&body)?;
    let pem = needed(&wanted, "certificates", 1405)?;
    let ca = wanted.get("ca").and_then(Value::as_bool).unwrap_or(false);
    if !is_pem(pem, "CERTIFICATE") {
        return Err(Refusal::bad(1405, "`certificates` is no certificate in PEM"));
    }
    match text(&wanted, "private_key") {
        Some(key) if is_pem(key, "KEY") => {}
        None if ca => {}
        Some(_) | None => return Err(Refusal::bad(1410, "`private_key` is required, in PEM, for a leaf certificate")),
    }
    let serial = hex_of(pem);
    let made = json!({
        "id": uuid::Uuid::now_v7().to_string(),
        "name": text(&wanted, "name").unwrap_or_default(),
        "ca": ca,
        "certificates": pem,
        "issuer": "CN=stand-in",
        "serial_number": serial,
        "signature": "SHA256WithRSA",
        "uploaded_on": now(),
        "expires_on": (chrono::Utc::now() + chrono::TimeDelta::days(YEAR)).to_rfc3339(),
    });
    let edit = |records: &mut Records| {
        if records.all(SET).iter().any(|other| other["serial_number"] == made["serial_number"]) {
            return Err(Refusal::bad(1406, "this certificate was uploaded already"));
        }
        records.add(SET, made.clone())?;
        Ok(made)
    };
    ok(kept.change(edit).await?)
}

/// `GET mtls_certificates/{c}`.
pub(super) async fn show(Extension(kept): Kept, Path((_, id)): Path<(String, String)>) -> Answer {
    ok(kept.now().find(SET, ("id", &id)).cloned().ok_or_else(|| no_certificate(&id))?)
}

/// `DELETE mtls_certificates/{c}`.
pub(super) async fn delete(Extension(kept): Kept, Path((_, id)): Path<(String, String)>) -> Answer {
    ok(kept.change(|records| records.remove(SET, ("id", &id)).ok_or_else(|| no_certificate(&id))).await?)
}
