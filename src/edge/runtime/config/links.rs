//! Links to what is beside the edge, in the configuration: services, databases, a network with a certificate.
//!
//! **Invariant:** an address is one that the directory holds; a Worker chooses none.

use zeroize::Zeroizing;

use super::super::super::EdgeError;
use super::super::super::record::{Account, Certificate, Hyperdrive, Service};
use super::super::super::seal::Seal;
use super::quote;

/// A service as the runtime has it; `None` where its host makes no address.
pub(super) fn service(service: &Service) -> Option<String> {
    let (address, tls) = service.address()?;
    let address = quote(&address);
    Some(match (service.kind.as_str(), tls) {
        ("tcp", _) => format!("external = (address = {address}, tcp = ())"),
        (_, false) => format!("external = (address = {address}, http = ())"),
        (_, true) => format!("external = (address = {address}, https = (tlsOptions = (trustBrowserCas = true)))"),
    })
}

/// The way to a database, and the binding that names it.
pub(super) fn hyperdrive(name: &str, config: &Hyperdrive, seal: &Seal) -> Result<(String, Zeroizing<String>), EdgeError> {
    let host = if config.host.contains(':') { format!("[{}]", config.host) } else { config.host.clone() };
    let service = format!("external = (address = {}, tcp = ())", quote(&format!("{host}:{}", config.port)));
    let password = seal.open_sealed(&config.password)?;
    let password = Zeroizing::new(quote(password.expose_text().ok_or(EdgeError::Unseal)?));
    let scheme = if config.scheme == "mysql" { "mysql" } else { "postgresql" };
    let binding = Zeroizing::new(format!(
        "hyperdrive = (designator = {}, database = {}, user = {}, password = {}, scheme = \"{scheme}\")",
        quote(name),
        quote(&config.database),
        quote(&config.user),
        password.as_str()
    ));
    Ok((service, binding))
}

/// The network as a Worker reaches it with a certificate of its own. Authorities that were uploaded are trusted in it.
pub(super) fn network(
    certificate: &Certificate,
    account: &Account,
    seal: &Seal,
    networks: &str,
) -> Result<Zeroizing<String>, EdgeError> {
    let sealed = certificate.private_key.as_ref().ok_or(EdgeError::Unseal)?;
    let key = seal.open_sealed(sealed)?;
    let key = Zeroizing::new(quote(key.expose_text().ok_or(EdgeError::Unseal)?));
    let authorities = account.certificates.values().filter(|other| other.ca).map(|other| quote(&other.chain));
    let authorities = authorities.collect::<Vec<_>>().join(", ");
    Ok(Zeroizing::new(format!(
        "network = (allow = [{networks}], tlsOptions = (trustBrowserCas = true, trustedCertificates = [{authorities}], \
         keypair = (privateKey = {}, certificateChain = {})))",
        key.as_str(),
        quote(&certificate.chain)
    )))
}
