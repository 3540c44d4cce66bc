//! The daemon's end: it listens, knows who is connected, and hands a request to the agent that it is for.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::Utc;
use rustls::pki_types::CertificateDer;
use rustls::server::WebPkiClientVerifier;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request as Handshake, Response};
use tokio_util::sync::CancellationToken;

use super::authority::{Authority, trust};
use super::session::{Asked, session, stranger};
use super::wire::{self, PATH};
use super::{LinkError, Register};
use crate::agent::{Answer, Request};
use crate::model::TargetName;

/// How long somebody may take to say who he is.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many may be at that at once.
const DOOR: usize = 64;
/// After this a new certificate is shown.
const FRESH: Duration = Duration::from_secs(24 * 3600);

/// Where agents are listened for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// The address to listen on.
    pub listen: SocketAddr,
    /// What agents call: `host:port`.
    pub address: String,
}

/// Who is connected.
pub struct Hub {
    register: Register,
    authority: Authority,
    sessions: Mutex<BTreeMap<TargetName, Session>>,
    listen: SocketAddr,
}

#[derive(Clone)]
pub(super) struct Session {
    /// Tells it from an earlier one of the same agent.
    pub(super) number: u64,
    pub(super) requests: mpsc::Sender<Asked>,
    pub(super) certificate: CertificateDer<'static>,
    pub(super) stop: CancellationToken,
}

/// Why a host gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Away {
    /// It is not connected; nothing was sent.
    #[error("the agent of the host is not connected")]
    NotConnected,
    /// Its certificate does not count any more; nothing was sent.
    #[error("the agent of the host was revoked")]
    Revoked,
    /// The connection ended before the answer: it may have done it.
    #[error("the connection to the agent of the host ended before its answer")]
    Lost,
}

impl Hub {
    /// Listens until `stop`.
    ///
    /// # Errors
    /// [`LinkError::NoAuthority`] where nobody was ever admitted: then nobody is listened for.
    pub async fn start(register: Register, listen: Listen, stop: CancellationToken) -> Result<Arc<Self>, LinkError> {
        let authority = Authority::open(register.folder())?;
        register.begin()?;
        let Listen { listen, address } = listen;
        let failed = |source| LinkError::Listen { address: listen, source };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let listen = listener.local_addr().map_err(failed)?;
        let hub = Arc::new(Self { register, authority, sessions: Mutex::default(), listen });
        let config = hub.config(&address)?;
        tokio::spawn(Arc::clone(&hub).accept(listener, (address, config), stop));
        Ok(hub)
    }

    /// The address that is listened on.
    pub fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// Sends `request` to the agent of `host`, and waits for its answer.
    ///
    /// # Errors
    /// [`Away`]
    pub async fn ask(&self, host: &TargetName, request: Request) -> Result<Answer, Away> {
        let session = self.sessions().get(host).cloned().ok_or(Away::NotConnected)?;
        if !matches!(self.register.counts(host, &session.certificate), Ok(true)) {
            session.stop.cancel();
            return Err(Away::Revoked);
        }
        let (reply, answer) = oneshot::channel();
        session.requests.send(Asked { request, reply }).await.map_err(|_| Away::NotConnected)?;
        answer.await.map_err(|_| Away::Lost)
    }

    /// Those that are connected now.
    pub fn connected(&self) -> Vec<TargetName> {
        self.sessions().keys().cloned().collect()
    }

    pub(super) fn sessions(&self) -> MutexGuard<'_, BTreeMap<TargetName, Session>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn register(&self) -> &Register {
        &self.register
    }

    pub(super) fn authority(&self) -> &Authority {
        &self.authority
    }

    fn config(&self, address: &str) -> Result<Arc<rustls::ServerConfig>, LinkError> {
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host).trim_matches(['[', ']']);
        let (certificate, key) = self.authority.listener(host, Utc::now())?;
        let failed = |error: &dyn std::fmt::Display| LinkError::Certificate(error.to_string());
        let roots = Arc::new(trust(self.authority.pem())?);
        // Whoever has no certificate yet can show a token, and nothing else.
        let verifier = WebPkiClientVerifier::builder(roots).allow_unauthenticated().build().map_err(|error| failed(&error))?;
        let config = rustls::ServerConfig::builder_with_protocol_versions(&[&rustls::version::TLS13])
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![certificate], key)
            .map_err(|error| failed(&error))?;
        Ok(Arc::new(config))
    }

    async fn accept(
        self: Arc<Self>,
        listener: TcpListener,
        (address, mut config): (String, Arc<rustls::ServerConfig>),
        stop: CancellationToken,
    ) {
        let door = Arc::new(Semaphore::new(DOOR));
        let mut made = Instant::now();
        let mut number = 0;
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stop.cancelled() => return,
            };
            let Ok((stream, peer)) = accepted else {
                // Out of descriptors: those that are open end some time.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            if made.elapsed() > FRESH
                && let Ok(fresh) = self.config(&address)
            {
                (config, made) = (fresh, Instant::now());
            }
            let Ok(place) = Arc::clone(&door).try_acquire_owned() else { continue };
            number += 1;
            let (hub, config, stop) = (Arc::clone(&self), Arc::clone(&config), stop.child_token());
            tokio::spawn(async move {
                let greeted = tokio::time::timeout(PATIENCE, Box::pin(hub.greet(stream, config))).await;
                match greeted {
                    Ok(Ok((socket, Some(certificate)))) => {
                        drop(place);
                        Box::pin(session(hub, (number, peer), socket, certificate, stop)).await;
                    }
                    Ok(Ok((socket, None))) => {
                        let _ = tokio::time::timeout(PATIENCE, Box::pin(stranger(&hub, peer, socket))).await;
                    }
                    Ok(Err(error)) => tracing::info!(%peer, %error, "A connection to the agents' port was refused."),
                    Err(_) => tracing::info!(%peer, "A connection to the agents' port said nothing in time."),
                }
            });
        }
    }

    async fn greet(
        &self,
        stream: TcpStream,
        config: Arc<rustls::ServerConfig>,
    ) -> Result<(Socket, Option<CertificateDer<'static>>), LinkError> {
        let _ = stream.set_nodelay(true);
        let stream = TlsAcceptor::from(config).accept(stream).await.map_err(|error| LinkError::Broken(error.to_string()))?;
        let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first).map(|first| first.clone().into_owned());
        #[expect(clippy::result_large_err, reason = "the form of the crate's callback")]
        let at_path = |request: &Handshake, response: Response| {
            if request.uri().path() == PATH {
                return Ok(response);
            }
            let mut refusal = ErrorResponse::new(None);
            *refusal.status_mut() = http::StatusCode::NOT_FOUND;
            Err(refusal)
        };
        let limit = if certificate.is_some() { usize::MAX } else { wire::STRANGER_LIMIT };
        let socket = tokio_tungstenite::accept_hdr_async_with_config(stream, at_path, Some(wire::config(limit)));
        Ok((socket.await.map_err(wire::broken)?, certificate))
    }
}

pub(super) type Socket = tokio_tungstenite::WebSocketStream<tokio_rustls::server::TlsStream<TcpStream>>;
