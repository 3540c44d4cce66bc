//! What the edge itself is for Workers, behind one Unix socket: queues, R2, the Cache API, rate limits, analytics.
//!
//! Goes in: requests of the runtime on its own wire protocols, with headers that say which service is meant and of what;
//! only the runtime's configuration sets these. Comes out: answers on the same protocols.
//!
//! **Invariant:** swaps of Workers do not touch it; what is acknowledged is durable, save the cache and the counts of rate
//! limits, which are in memory alone.

use std::convert::Infallible;
use std::fs::{self, File};
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;

use super::EdgeError;
use super::disk::Disk;
use super::runtime::Supervisor;
use super::runtime::pool::Body;

mod analytics;
mod cache;
mod limits;
pub(super) mod queue;
pub(super) mod r2;

use analytics::Analytics;
use cache::Cache;
use limits::Limits;
use queue::Queues;
use r2::Buckets;

/// Which service is meant.
pub(super) const SERVICE_HEADER: &str = "x-trunkline-service";
/// Which queue, bucket, dataset or namespace.
pub(super) const OF_HEADER: &str = "x-trunkline-of";
/// A setting of the binding.
pub(super) const WITH_HEADER: &str = "x-trunkline-with";

/// The socket's name in the folder `run`.
const SOCKET: &str = "edge.sock";

/// All services.
pub(super) struct Local {
    pub(super) queues: Queues,
    pub(super) buckets: Buckets,
    cache: Cache,
    limits: Limits,
    analytics: Analytics,
}

impl Local {
    /// Opens what is kept in the data folder.
    pub(super) fn open(disk: &Disk) -> Result<Self, EdgeError> {
        Ok(Self {
            queues: Queues::open(&disk.root().join("queues"))?,
            buckets: Buckets::open(&disk.root().join("r2"))?,
            cache: Cache::default(),
            limits: Limits::default(),
            analytics: Analytics::new(&disk.root().join("analytics")),
        })
    }

    /// The listening socket; made anew, since nothing that could use an older one runs.
    pub(super) fn listen(run: &Path) -> Result<UnixListener, EdgeError> {
        let failed = |source| EdgeError::Folder { path: run.to_owned(), source };
        let _ = fs::remove_file(run.join(SOCKET));
        // Paths of sockets must be shorter than 108 bytes, and a data folder's need not be.
        let open = File::open(run).map_err(failed)?;
        UnixListener::bind(format!("/proc/self/fd/{}/{SOCKET}", open.as_raw_fd())).map_err(failed)
    }
}

/// Serves until the token is cancelled, which is when no Worker runs any more.
pub(super) async fn serve(listener: UnixListener, local: Arc<Local>, supervisor: Arc<Supervisor>, stop: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            // Cancel-safe: a connection is either returned or still in the backlog.
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        let Ok((stream, _)) = accepted else {
            // Out of descriptors, most likely: what is open must close first.
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            continue;
        };
        let (local, supervisor) = (Arc::clone(&local), Arc::clone(&supervisor));
        let service = service_fn(move |request| {
            let (local, supervisor) = (Arc::clone(&local), Arc::clone(&supervisor));
            async move { Ok::<_, Infallible>(Box::pin(answer(&local, &supervisor, request)).await) }
        });
        let stop = stop.clone();
        tokio::spawn(async move {
            let serving = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::select! {
                _ = serving => {}
                () = stop.cancelled() => {}
            }
        });
    }
}

/// A request, and what the binding says of it.
struct Call {
    request: Request<Incoming>,
    of: String,
    with: Option<String>,
}

async fn answer(local: &Local, supervisor: &Supervisor, request: Request<Incoming>) -> Response<Body> {
    let header = |name| request.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok()).map(str::to_owned);
    let service = header(SERVICE_HEADER).unwrap_or_default();
    let (of, with) = (header(OF_HEADER).unwrap_or_default(), header(WITH_HEADER));
    let call = Call { request, of, with };
    match service.as_str() {
        "queue" => queue::wire::answer(&local.queues, &supervisor.state(), call).await,
        "r2" => r2::wire::answer(&local.buckets, &supervisor.state(), call).await,
        "cache" => local.cache.answer(call).await,
        "ratelimit" => local.limits.answer(call).await,
        "analytics" => local.analytics.answer(call).await,
        _ => status(StatusCode::NOT_FOUND),
    }
}

/// A body in memory.
fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// An answer without a body.
fn status(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(full(Bytes::new()));
    *response.status_mut() = status;
    response
}

/// An answer in JSON.
fn json(status: StatusCode, value: &serde_json::Value) -> Response<Body> {
    let mut response = Response::new(full(value.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/json"));
    response
}

/// A body as a whole; `None` where it is larger than allowed or breaks off.
async fn read(body: Incoming, limit: usize) -> Result<Bytes, StatusCode> {
    match Limited::new(body, limit).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(StatusCode::PAYLOAD_TOO_LARGE),
        Err(_) => Err(StatusCode::BAD_REQUEST),
    }
}

/// Work on files or a database, off the threads that serve.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Makes a folder that only its owner reads.
fn make_folder(path: &Path) -> Result<(), EdgeError> {
    use std::os::unix::fs::DirBuilderExt as _;
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| EdgeError::Folder { path: path.to_owned(), source })
}

/// Opens a database of ours and brings it to `schema`, which may be applied any number of times.
fn open_database(path: &Path, schema: &str) -> Result<rusqlite::Connection, EdgeError> {
    let failed = |source| EdgeError::Database { path: path.to_owned(), source };
    let connection = rusqlite::Connection::open(path).map_err(failed)?;
    connection.pragma_update(None, "journal_mode", "WAL").map_err(failed)?;
    connection.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
    connection.execute_batch(schema).map_err(failed)?;
    Ok(connection)
}

/// Now, in milliseconds since 1970.
fn now_ms() -> i64 {
    chrono::Utc::now().timestamp_millis()
}
