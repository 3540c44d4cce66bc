//! The HTTP front: every request from outside comes in here and goes to the Worker that its URL leads to.
//!
//! Goes in: a listening socket and the supervisor. Comes out: responses, streamed.
//!
//! **Invariant:** the front holds no state of its own; what is live is asked for each request, once.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::runtime::Supervisor;

mod forward;
mod pattern;
mod table;

pub(super) use pattern::Pattern;
pub(super) use table::{ACCOUNT_SUBDOMAIN, Table};

/// How long a client may take to send a request's head.
const HEAD_LIMIT: Duration = Duration::from_secs(30);
/// For how long connections may go on after the stop.
const DRAIN: Duration = Duration::from_secs(30);

/// Serves until the token is cancelled, then lets requests in hand finish.
pub(super) async fn serve(listener: TcpListener, supervisor: Arc<Supervisor>, stop: CancellationToken) {
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            // Cancel-safe: a connection is either returned or still in the backlog.
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                let _ = stream.set_nodelay(true);
                connections.spawn(connection(TokioIo::new(stream), peer, Arc::clone(&supervisor), stop.clone()));
            }
            Err(error) => {
                // Out of descriptors, most likely: what is open must close first.
                tracing::warn!(%error, "A connection could not be accepted.");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    drop(listener);
    connections.close();
    let _ = tokio::time::timeout(DRAIN, connections.wait()).await;
}

async fn connection(io: TokioIo<tokio::net::TcpStream>, peer: SocketAddr, supervisor: Arc<Supervisor>, stop: CancellationToken) {
    let service = service_fn(move |request| {
        let supervisor = Arc::clone(&supervisor);
        async move { Ok::<_, std::convert::Infallible>(forward::answer(request, peer, &supervisor).await) }
    });
    let serving = http1::Builder::new().timer(TokioTimer::new()).header_read_timeout(HEAD_LIMIT).serve_connection(io, service);
    let mut serving = pin!(serving.with_upgrades());
    let served = tokio::select! {
        served = serving.as_mut() => served,
        () = stop.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%peer, %error, "A connection ended early.");
    }
}
