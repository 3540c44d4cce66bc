//! `[mtls_certificate.<name>]`: a certificate that Workers present to an origin, or by which they know one.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{PlatformToml, Writing, names};
use crate::definition::limit;
use crate::definition::reading::Reading;
use crate::definition::selector::OnToml;
use crate::definition::written::SecretRefToml;
use crate::document::{Fault, Placed, shown};
use crate::model::{Kind, PlatformSpec, ResourceName, TreeError, Value};

/// A certificate for mutual TLS.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "MtlsCertificate")]
pub(in crate::definition) struct MtlsCertificateToml {
    /// Where it lives; every target that takes certificates unless said otherwise.
    on: Option<Placed<OnToml>>,
    /// Its name at the target; its key, `-` and the environment's name unless said otherwise.
    name: Option<Placed<String>>,
    /// A file of the repository: the chain, as PEM. Where it changes another certificate is uploaded, what uses this one is
    /// changed to it, and this one is deleted.
    #[schemars(required)]
    certificate: Option<Placed<String>>,
    /// The key that belongs to it, as PEM.
    private_key: Option<Placed<SecretRefToml>>,
    /// It signs others, and has no key here.
    ca: Option<Placed<bool>>,
    /// Take over a certificate of this name that is there and not ours.
    adopt: Option<bool>,
    /// Its former key, when it was renamed.
    moved: Option<Placed<ResourceName>>,
}

impl PlatformToml for MtlsCertificateToml {
    heads!(name);

    fn claim(&self, reading: &mut Reading<'_>, default: Placed<String>) -> Option<String> {
        let written = self.name.clone().unwrap_or(default);
        reading.check(written.place, names::title(&written.value, "certificate", 128))
    }
    fn spec(&self, writing: &mut Writing<'_, '_, '_>) -> Result<Option<PlatformSpec>, TreeError> {
        let hint = "write the path of the chain, such as `certificate = \"certs/client.pem\"`";
        let chain = match writing.required("certificate", self.certificate.as_ref(), hint) {
            Some(path) => chain(writing, path)?,
            None => None,
        };
        let is_ca = self.ca.as_ref().is_some_and(|ca| ca.value);
        let hint = "write `private_key = { secret = \"client-key\" }`, or `ca = true` for one that signs others";
        let key =
            if is_ca { self.private_key.as_ref() } else { writing.required("private_key", self.private_key.as_ref(), hint) };
        let ca = writing.flag("ca", self.ca.as_ref()).unwrap_or(Value::Bool(false));
        let mut spec = writing.finish(Kind::MtlsCertificate, [("certificates", chain), ("ca", Some(ca))]);
        if let Some(Placed { place, value: SecretRefToml::Secret(name) }) = key {
            writing.scope.secret(writing.reading, name);
            writing.trace("private_key", Some(*place));
            spec.iter_mut().for_each(|spec| drop(spec.secrets.insert("private_key".to_owned(), name.value.clone())));
        }
        Ok(spec)
    }
}

/// The content of a file that holds certificates and nothing else.
fn chain(writing: &mut Writing<'_, '_, '_>, written: &Placed<String>) -> Result<Option<Value>, TreeError> {
    let Some(path) = writing.reading.path(written) else { return Ok(None) };
    let Some((bytes, content)) = writing.reading.blob(&path, limit::CERTIFICATE, written.place)? else { return Ok(None) };
    let text = std::str::from_utf8(&bytes).unwrap_or_default();
    let fault = |message: String, hint: &str| Fault::new(written.place, message).hint(hint);
    if text.contains("PRIVATE KEY-----") {
        let message = format!("the file `{}` holds a private key", shown(&written.value));
        let hint = "take it out of the repository and its history, make a new one, and store that with `trunkline secrets set`";
        writing.reading.fault(fault(message, hint));
        return Ok(None);
    }
    if !(text.contains("-----BEGIN CERTIFICATE-----") && text.contains("-----END CERTIFICATE-----")) {
        let message = format!("the file `{}` holds no certificate", shown(&written.value));
        writing.reading.fault(fault(message, "it begins with `-----BEGIN CERTIFICATE-----`"));
        return Ok(None);
    }
    writing.tracing.whole_file("certificates", &path);
    writing.contents.insert(content.sha256, bytes);
    Ok(Some(content.into()))
}
