//! HTTP/1.1 to a Unix socket, with connections kept for a moment.
//!
//! Goes in: a request. Comes out: the response, its body streaming, and the connection back in the pool once the body
//! has been read.
//!
//! **Invariant:** a request is sent once. Only one that certainly never left is tried on another connection.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

/// A body that streams.
pub(in crate::edge) type Body = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// Kept connections are used again within this time: well below the five seconds after which the runtime closes them.
const KEEP: Duration = Duration::from_secs(1);
/// More are not kept.
const KEPT: usize = 64;

/// Connections to one socket.
#[derive(Debug, Clone)]
pub(in crate::edge) struct Pool(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    folder: Arc<File>,
    socket: PathBuf,
    idle: Mutex<Vec<(SendRequest<Body>, Instant)>>,
}

/// Why a request was not answered.
#[derive(Debug)]
pub(in crate::edge) enum SendError {
    /// Nothing listens; the request was not sent and comes back.
    Unreachable(Box<Request<Body>>, io::Error),
    /// It was sent, and no answer came.
    Broken(hyper::Error),
}

/// A connection that goes back to the pool when its response has been read.
#[derive(Debug)]
pub(in crate::edge) struct Lease {
    pool: Pool,
    connection: Option<SendRequest<Body>>,
}

impl Pool {
    /// Connections to `socket`, a file name in `folder`, which is an open folder: paths of sockets must be shorter
    /// than 108 bytes, and a data folder's need not be.
    pub(in crate::edge) fn new(folder: Arc<File>, socket: &str) -> Self {
        Self(Arc::new(Inner { folder, socket: socket.into(), idle: Mutex::new(Vec::new()) }))
    }

    /// Sends a request.
    pub(in crate::edge) async fn send(&self, mut request: Request<Body>) -> Result<(Response<Incoming>, Lease), SendError> {
        while let Some(mut kept) = self.take() {
            if kept.ready().await.is_err() {
                continue;
            }
            match kept.try_send_request(request).await {
                Ok(response) => return Ok((response, Lease { pool: self.clone(), connection: Some(kept) })),
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(SendError::Broken(error.into_error())),
                },
            }
        }
        let mut fresh = match self.connect().await {
            Ok(fresh) => fresh,
            Err(error) => return Err(SendError::Unreachable(Box::new(request), error)),
        };
        match fresh.try_send_request(request).await {
            Ok(response) => Ok((response, Lease { pool: self.clone(), connection: Some(fresh) })),
            Err(mut error) => match error.take_message() {
                Some(unsent) => Err(SendError::Unreachable(Box::new(unsent), io::ErrorKind::ConnectionReset.into())),
                None => Err(SendError::Broken(error.into_error())),
            },
        }
    }

    fn take(&self) -> Option<SendRequest<Body>> {
        let mut idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|(connection, since)| since.elapsed() < KEEP && !connection.is_closed());
        idle.pop().map(|(connection, _)| connection)
    }

    async fn connect(&self) -> io::Result<SendRequest<Body>> {
        let path: PathBuf = Path::new("/proc/self/fd").join(self.0.folder.as_raw_fd().to_string()).join(&self.0.socket);
        let stream = UnixStream::connect(path).await?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        // Ends when the sender is dropped, or when the other side closes.
        tokio::spawn(connection.with_upgrades());
        Ok(sender)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take().filter(SendRequest::is_ready) {
            let mut idle = self.pool.0.idle.lock().unwrap_or_else(PoisonError::into_inner);
            if idle.len() < KEPT {
                idle.push((connection, Instant::now()));
            }
        }
    }
}
