//! The installation's own certificate authority: made once, and never sent anywhere but its certificate.
//!
//! **Invariant:** a request to be certified decides nothing but the key: names, uses and dates are ours. Nothing that is
//! issued may issue.

use std::path::Path;

use chrono::{DateTime, TimeDelta, Utc};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, SerialNumber,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::LinkError;
use super::home::{read, write_private};
use crate::model::TargetName;

/// For how long an agent's certificate is good.
pub(super) const AGENT_LIFE: TimeDelta = TimeDelta::hours(24);
/// For how long the listener's is; a new one is made at each start, and each day.
const LISTENER_LIFE: TimeDelta = TimeDelta::days(30);
const AUTHORITY_LIFE: TimeDelta = TimeDelta::days(3650);
/// Clocks differ.
const SLACK: TimeDelta = TimeDelta::minutes(5);

const CERTIFICATE: &str = "ca.pem";
const KEY: &str = "ca.key";

/// The authority, with its key.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// What was issued.
pub(super) struct Issued {
    pub(super) der: CertificateDer<'static>,
    pub(super) pem: String,
    pub(super) until: DateTime<Utc>,
}

impl Authority {
    /// The authority of the folder, made where there is none.
    ///
    /// # Errors
    /// [`LinkError`]
    pub fn make(folder: &Path, now: DateTime<Utc>) -> Result<Self, LinkError> {
        match Self::open(folder) {
            Err(LinkError::NoAuthority(_)) => {}
            opened => return opened,
        }
        let key = KeyPair::generate().map_err(failed)?;
        let mut params = params(now, AUTHORITY_LIFE)?;
        params.distinguished_name.push(DnType::CommonName, "Trunkline agents");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).map_err(failed)?;
        // The certificate last: without it there is no authority.
        write_private(&folder.join(KEY), key.serialize_pem().as_bytes())?;
        write_private(&folder.join(CERTIFICATE), certificate.pem().as_bytes())?;
        Ok(Self { issuer: Issuer::new(params, key), pem: certificate.pem() })
    }

    /// The authority of the folder.
    ///
    /// # Errors
    /// [`LinkError::NoAuthority`] where there is none.
    pub fn open(folder: &Path) -> Result<Self, LinkError> {
        let path = folder.join(CERTIFICATE);
        let Some(pem) = read(&path)? else { return Err(LinkError::NoAuthority(folder.to_owned())) };
        let damaged = |what: String| LinkError::Damaged { path: path.clone(), what };
        let key = read(&folder.join(KEY))?.ok_or_else(|| damaged(format!("the file `{KEY}` beside it is missing")))?;
        let key = KeyPair::from_pem(&key).map_err(|error| damaged(format!("its key is none: {error}")))?;
        let issuer = Issuer::from_ca_cert_pem(&pem, key).map_err(|error| damaged(error.to_string()))?;
        Ok(Self { issuer, pem })
    }

    /// The authority's certificate, which either side trusts.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A certificate for the agent `name`, for the key that `request` (PEM) proves to have.
    pub(super) fn certify(&self, name: &TargetName, request: &str, now: DateTime<Utc>) -> Result<Issued, LinkError> {
        let mut request = CertificateSigningRequestParams::from_pem(request)
            .map_err(|error| LinkError::Certificate(format!("the request is none: {error}")))?;
        request.params = leaf(now, AGENT_LIFE, ExtendedKeyUsagePurpose::ClientAuth)?;
        let uri = format!("spiffe://trunkline/tenant/default/agent/{name}").try_into().map_err(failed)?;
        request.params.subject_alt_names = vec![SanType::URI(uri)];
        request.params.distinguished_name.push(DnType::CommonName, name.as_str());
        let certificate = request.signed_by(&self.issuer).map_err(failed)?;
        Ok(Issued { der: certificate.der().clone(), pem: certificate.pem(), until: now + AGENT_LIFE })
    }

    /// A key and a certificate for whoever listens under `host`, a name or an address.
    pub(super) fn listener(
        &self,
        host: &str,
        now: DateTime<Utc>,
    ) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), LinkError> {
        let key = KeyPair::generate().map_err(failed)?;
        let mut params = leaf(now, LISTENER_LIFE, ExtendedKeyUsagePurpose::ServerAuth)?;
        params.subject_alt_names = CertificateParams::new(vec![host.to_owned()]).map_err(failed)?.subject_alt_names;
        let certificate = params.signed_by(&key, &self.issuer).map_err(failed)?;
        Ok((certificate.der().clone(), PrivatePkcs8KeyDer::from(key.serialize_der()).into()))
    }
}

/// A key for a host, and its request to be certified, both PEM.
pub(super) fn request() -> Result<(KeyPair, String), LinkError> {
    let key = KeyPair::generate().map_err(failed)?;
    let request = CertificateParams::new(Vec::new()).and_then(|params| params.serialize_request(&key)).map_err(failed)?;
    Ok((key, request.pem().map_err(failed)?))
}

/// Trust in one authority alone.
pub(super) fn trust(pem: &str) -> Result<rustls::RootCertStore, LinkError> {
    let certificate = CertificateDer::from_pem_slice(pem.as_bytes());
    let certificate = certificate.map_err(|error| LinkError::Certificate(format!("the authority's is none: {error}")))?;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).map_err(failed)?;
    Ok(roots)
}

fn params(now: DateTime<Utc>, life: TimeDelta) -> Result<CertificateParams, LinkError> {
    let mut params = CertificateParams::new(Vec::new()).map_err(failed)?;
    let at = |when: DateTime<Utc>| time::OffsetDateTime::from_unix_timestamp(when.timestamp()).map_err(failed);
    params.not_before = at(now - SLACK)?;
    params.not_after = at(now + life)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.serial_number = Some(SerialNumber::from_slice(uuid::Uuid::new_v4().as_bytes()));
    Ok(params)
}

fn leaf(now: DateTime<Utc>, life: TimeDelta, usage: ExtendedKeyUsagePurpose) -> Result<CertificateParams, LinkError> {
    let mut params = params(now, life)?;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    Ok(params)
}

fn failed(error: impl std::fmt::Display) -> LinkError {
    LinkError::Certificate(error.to_string())
}
