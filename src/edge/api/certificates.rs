//! Certificates that a Worker presents (`mtls_certificate`), and those of authorities that it trusts then.
//!
//! **Invariant:** a private key goes in and never comes out.

use axum::extract::{Path, Query, State as Extracted};
use bytes::Bytes;
use http::StatusCode;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::record::{Binding, Certificate, State, fresh_uuid, now};
use super::answer::{Answer, Paging, Refusal, ok, ok_with, page};
use super::{Ctx, Name, bound_by, parse};
use crate::model::Secret;

fn none(id: &str) -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, 1414, format!("there is no certificate with the id {id}"))
}

fn shown(id: &str, certificate: &Certificate) -> Value {
    json!({
        "id": id,
        "name": certificate.name,
        "ca": certificate.ca,
        "certificates": certificate.chain,
        "uploaded_on": certificate.uploaded_on,
        // The edge does not look into certificates; the runtime does when it uses one.
        "expires_on": null,
    })
}

#[derive(Deserialize)]
struct Wanted {
    #[serde(default)]
    name: Option<String>,
    certificates: String,
    private_key: Option<String>,
    #[serde(default)]
    ca: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct Filter {
    ca: Option<bool>,
    name: Option<String>,
}

/// `GET mtls_certificates`.
pub(super) async fn list(
    Extracted(plane): Ctx,
    Path(_account): Path<String>,
    Query(paging): Query<Paging>,
    Query(filter): Query<Filter>,
) -> Answer {
    let state = plane.state();
    let fits = |certificate: &Certificate| {
        filter.ca.is_none_or(|ca| ca == certificate.ca) && filter.name.as_ref().is_none_or(|name| *name == certificate.name)
    };
    let found = state.account.certificates.iter().filter(|(_, certificate)| fits(certificate));
    let (found, info) = page(found.map(|(id, certificate)| shown(id, certificate)).collect(), &paging, 50, 1000);
    ok_with(json!(found), Some(info), StatusCode::OK)
}

/// `POST mtls_certificates`.
pub(super) async fn create(Extracted(plane): Ctx, Path(_account): Path<String>, body: Bytes) -> Answer {
    let wanted: Wanted = parse(&body)?;
    let mut chain = CertificateDer::pem_slice_iter(wanted.certificates.as_bytes());
    if chain.next().is_none_or(|first| first.is_err()) || chain.any(|other| other.is_err()) {
        return Err(Refusal::bad(1400, "`certificates` is a chain in PEM, the leaf first"));
    }
    let private_key = match (wanted.ca, wanted.private_key) {
        (true, _) => None,
        (false, Some(key)) if PrivateKeyDer::from_pem_slice(key.as_bytes()).is_ok() => {
            Some(plane.seal.seal_text(&Secret::new(key.into_bytes()))?)
        }
        (false, _) => return Err(Refusal::bad(1400, "a certificate that is presented comes with its `private_key` in PEM")),
    };
    let name = wanted.name.filter(|name| !name.is_empty()).unwrap_or_else(|| format!("certificate-{}", &fresh_uuid()[..8]));
    let certificate = Certificate { name, ca: wanted.ca, chain: wanted.certificates, private_key, uploaded_on: now() };
    let edit = |state: &mut State| {
        if state.account.certificates.values().any(|other| other.chain == certificate.chain && other.ca == certificate.ca) {
            return Err(Refusal::bad(1406, "this certificate is there already"));
        }
        let id = fresh_uuid();
        let answer = shown(&id, &certificate);
        state.account_mut().certificates.insert(id, certificate);
        Ok::<_, Refusal>(answer)
    };
    ok(Box::pin(plane.change(edit)).await?)
}

/// `GET mtls_certificates/{id}`.
pub(super) async fn show(Extracted(plane): Ctx, Path((_, id)): Name) -> Answer {
    let state = plane.state();
    ok(shown(&id, state.account.certificates.get(&id).ok_or_else(|| none(&id))?))
}

/// `DELETE mtls_certificates/{id}`.
pub(super) async fn delete(Extracted(plane): Ctx, Path((_, id)): Name) -> Answer {
    let edit = |state: &mut State| {
        let binds = |binding: &Binding| matches!(binding, Binding::MtlsCertificate { certificate_id } if *certificate_id == id);
        if let Some(user) = bound_by(state, binds) {
            return Err(Refusal::bad(1409, format!("the certificate is bound by the Worker `{user}`")));
        }
        let removed = state.account_mut().certificates.remove(&id).ok_or_else(|| none(&id))?;
        Ok(shown(&id, &removed))
    };
    ok(Box::pin(plane.change(edit)).await?)
}
