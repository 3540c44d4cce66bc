//! From a host to the daemon: a TLS connection that trusts the installation's authority alone, and the WebSocket on it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;

use super::authority::{AGENT_LIFE, request, trust};
use super::wire::{self, FromAgent, PATH, ToAgent, broken, halves};
use super::{Home, LinkError, Token};
use crate::agent::Payload;
use crate::model::Secret;

/// How long a connection may take to be made.
const PATIENCE: Duration = Duration::from_secs(20);

/// Shows the token to the daemon, and keeps the certificate that it answers in `data`. The key is made here and stays here.
///
/// # Errors
/// [`LinkError`]; whatever was in `data` is untouched then.
pub async fn enrol(token: Token, data: &Path) -> Result<Home, LinkError> {
    let (key, request) = request()?;
    let socket = connect(&token.address, &token.authority, None).await?;
    let (mut writing, mut reading) = halves(socket, wire::STRANGER_LIMIT);
    writing.send(&FromAgent::Enrol { id: token.id, secret: Payload::new(token.secret), request }).await?;
    let answer = reading.next::<ToAgent>().await?;
    writing.close().await;
    let certificate = match answer {
        Some(ToAgent::Certificate(certificate)) => certificate,
        Some(ToAgent::Refused(why)) => return Err(LinkError::Refused(why)),
        _ => return Err(LinkError::Broken("the daemon gave no answer".into())),
    };
    let Token { name, address, authority, .. } = token;
    let key = Payload::new(Secret::new(key.serialize_pem().into_bytes()));
    let home = Home { name, address, until: Utc::now() + AGENT_LIFE, authority, certificate, key };
    home.save(data)?;
    Ok(home)
}

/// The connection of an agent that has enrolled.
pub(super) async fn dial(home: &Home) -> Result<WebSocketStream<TlsStream<TcpStream>>, LinkError> {
    if home.until <= Utc::now() {
        return Err(LinkError::RanOut(home.until));
    }
    connect(&home.address, &home.authority, Some((&home.certificate, home.key.expose()))).await
}

async fn connect(
    address: &str,
    authority: &str,
    own: Option<(&str, &[u8])>,
) -> Result<WebSocketStream<TlsStream<TcpStream>>, LinkError> {
    let config = rustls::ClientConfig::builder_with_protocol_versions(&[&rustls::version::TLS13]);
    let config = config.with_root_certificates(trust(authority)?);
    let config = match own {
        None => config.with_no_client_auth(),
        Some((certificate, key)) => {
            let unreadable = |error: rustls::pki_types::pem::Error| LinkError::Certificate(error.to_string());
            let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).map_err(unreadable)?;
            let key = PrivateKeyDer::from_pem_slice(key).map_err(unreadable)?;
            let with = config.with_client_auth_cert(vec![certificate], key);
            with.map_err(|error| LinkError::Certificate(error.to_string()))?
        }
    };
    let unreachable = |source| LinkError::Unreachable { address: address.to_owned(), source };
    let whole = async {
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host).trim_matches(['[', ']']);
        let name = ServerName::try_from(host.to_owned()).map_err(|_| unreachable(std::io::ErrorKind::InvalidInput.into()))?;
        let stream = TcpStream::connect(address).await.map_err(unreachable)?;
        let _ = stream.set_nodelay(true);
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(unreachable)?;
        let (socket, _) =
            tokio_tungstenite::client_async_with_config(format!("wss://{address}{PATH}"), stream, Some(wire::config(usize::MAX)))
                .await
                .map_err(broken)?;
        Ok(socket)
    };
    match tokio::time::timeout(PATIENCE, Box::pin(whole)).await {
        Ok(connected) => connected,
        Err(_) => Err(unreachable(std::io::ErrorKind::TimedOut.into())),
    }
}
