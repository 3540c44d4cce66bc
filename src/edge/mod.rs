//! The edge: a self-hosted Workers plane. Cloudflare's own runtime (workerd) behind the Workers part of Cloudflare's REST
//! API (v4), so that one provider drives both and wrangler works against it.
//!
//! Goes in: API calls on one socket, HTTP requests on another. Comes out: deployed Workers that answer them.
//!
//! ```text
//!   --listen  api/    calls ──> plane (one change at a time) ──> disk       JSON files, blobs, sealed secrets
//!                                     │
//!   --http    front/  requests ──> runtime (supervisor) ──> workerd: the Workers, one process per generation
//!                                     │          │             │ unix sockets
//!                     cron, queues ───┘          │          workerd: KV, D1, a process that swaps do not touch
//!                                                │          local/: queues, R2, cache, limits, analytics, in the edge itself
//!                                             workerd: Workers with Durable Objects, stopped before they are replaced
//! ```
//!
//! What it has: ES modules, vars, JSON vars, secrets, KV, D1, R2, queues, Durable Objects, static assets, service bindings,
//! crons, routes, `workers.dev`-like names, versions and deployments with shares, the Cache API, rate limits, analytics,
//! client certificates, and links into its own network where it was started to allow them. What it has not: other
//! bindings, DNS, TLS of its own; an upload that needs one is refused, never accepted in part. The edge has one account, called by any 32 hex digits; a zone
//! exists when a request names it, and its id follows from its name. With a stand-in, it also keeps the records of
//! what cannot run here.
//!
//! **Invariant:** nothing is acknowledged before it is durable; where the runtime is missing, that is said and nothing
//! pretends to run; a secret's value leaves only into the runtime's configuration, which is in memory.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::model::Secret;

mod api;
mod assets;
mod cron;
mod disk;
mod front;
mod local;
mod plane;
mod record;
mod release;
mod runtime;
mod seal;
mod stand_in;

pub use release::{FetchError, Fetching, REGISTRY, Release, WORKERD};
pub use runtime::{LEAD_VERB, Runtime, find_workerd, lead_group};

use disk::Disk;
use local::Local;
use plane::Plane;
use runtime::{Settings, Supervisor};
use seal::Seal;
use stand_in::StandIn;

/// How to get the runtime.
const INSTALL_HINT: &str =
    "install it with `npm install workerd` and put its folder on PATH, or set TRUNKLINE_WORKERD to the program";
/// While it is on its way.
const AWAITED_HINT: &str = "it is being fetched; the edge's log says how far it is";

/// How an edge is started.
pub struct Options {
    /// Where the REST API listens, under `/client/v4`; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where requests for Workers come in; port 0 takes a free one.
    pub http: SocketAddr,
    /// The data folder; made if missing, held by one edge at a time.
    pub data: PathBuf,
    /// What callers of the API have to present as a bearer token.
    pub token: Secret,
    /// The runtime's program; without one it is looked for by [`find_workerd`].
    pub workerd: Option<PathBuf>,
    /// Where none is named, none is looked for: it is being fetched, and what is deployed is kept until then.
    pub awaits_workerd: bool,
    /// The file of the key that secrets are sealed under; `key` in the data folder if not given. Made if missing.
    pub key: Option<PathBuf>,
    /// For how long what a Worker gave to `waitUntil` may go on after its last response, when its process is replaced or
    /// the edge stops. At most eight replaced processes linger.
    pub linger: Duration,
    /// Whether Workers may `fetch` private and loopback addresses, such as an origin on the same host or network. Without
    /// it they reach public addresses only.
    pub private_network: bool,
    /// The `trunkline` program, by which the runtime's processes end however the edge ends: started with [`LEAD_VERB`], it
    /// calls [`lead_group`]. Without it, what an edge that was killed has left ends when the next one starts.
    pub guard: Option<PathBuf>,
    /// Opens the test-only calls `/__faults` and `/__cron`: injected faults, and crons at a given time.
    pub faults: bool,
    /// Keeps the records of what an edge cannot run (DNS, rulesets, custom domains, tunnels and more), so that definitions of
    /// them can be tried without an account. It pretends nothing about traffic.
    pub stand_in: bool,
}

impl Options {
    /// Options with nothing but what has no default.
    pub fn new(listen: SocketAddr, http: SocketAddr, data: PathBuf, token: Secret) -> Self {
        let linger = Duration::from_secs(30);
        Self {
            listen,
            http,
            data,
            token,
            workerd: None,
            awaits_workerd: false,
            key: None,
            linger,
            private_network: false,
            guard: None,
            faults: false,
            stand_in: false,
        }
    }
}

/// Why an edge does not start, or could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum EdgeError {
    /// The token is empty.
    #[error("the edge's token is empty")]
    EmptyToken,
    /// A socket cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// The cause.
        source: io::Error,
    },
    /// A folder cannot be used.
    #[error("cannot use the folder {}", path.display())]
    Folder {
        /// The folder, or something in it.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Another edge holds the data folder.
    #[error("another edge uses the data folder {}", .0.display())]
    Locked(PathBuf),
    /// A file cannot be read or written.
    #[error("cannot use the file {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The key file is open to others.
    #[error("the key file {} has mode {mode:o}; only its owner may read it", path.display())]
    KeyMode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The key file holds no key.
    #[error("{} holds no age identity", .0.display())]
    Key(PathBuf),
    /// A secret cannot be sealed.
    #[error("a secret cannot be sealed under the edge's key")]
    Seal,
    /// A sealed secret cannot be opened.
    #[error("a sealed secret cannot be opened with the edge's key")]
    Unseal,
    /// There is no runtime on this machine.
    #[error("workerd is not installed")]
    WorkerdMissing,
    /// The runtime is still being fetched.
    #[error("workerd is still being fetched")]
    WorkerdAwaited,
    /// The path named is no runtime.
    #[error("{} is not a workerd program that runs here", .0.display())]
    WorkerdUnusable(PathBuf),
    /// A program cannot be started.
    #[error("cannot start {}", program.display())]
    Spawn {
        /// The program.
        program: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A database of the edge's own cannot be used.
    #[error("cannot use the database {}", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: rusqlite::Error,
    },
    /// The store of KV and D1 does not start.
    #[error("the store of KV and D1 does not start: {0}")]
    Store(String),
}

impl EdgeError {
    /// What the reader can do now.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::EmptyToken => Some("write a long random text into the token file, such as from `openssl rand -hex 32`"),
            Self::WorkerdMissing | Self::WorkerdUnusable(_) => Some(INSTALL_HINT),
            Self::KeyMode { .. } => Some("make it readable by its owner only: `chmod 600`"),
            Self::Listen { source, .. } if source.kind() == io::ErrorKind::AddrInUse => {
                Some("another program listens there: stop it, or name another port with `--listen` or `--http`")
            }
            Self::Listen { .. } => Some("name an address of this machine, and a port that this user may listen on"),
            Self::Locked(_) => Some("stop the other edge, or give this one a data folder of its own"),
            Self::Store(_) => Some("the edge needs workerd 2026-11 or newer, which brings KV and D1"),
            _ => None,
        }
    }
}

/// A running edge. It ends with [`Edge::stop`]; when it is dropped instead, or killed with an [`Options::guard`], its
/// processes end at once.
pub struct Edge {
    api_addr: SocketAddr,
    http_addr: SocketAddr,
    supervisor: Arc<Supervisor>,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
    /// Stopped last: Workers use it until they end.
    local: (JoinHandle<()>, CancellationToken),
    stopped: bool,
}

/// The token in a file, without the white space around it.
///
/// # Errors
/// [`EdgeError::File`] if it cannot be read, [`EdgeError::EmptyToken`] if there is none in it.
pub fn read_token(path: &Path) -> Result<Secret, EdgeError> {
    let bytes = fs::read(path).map_err(|source| EdgeError::File { path: path.to_owned(), source })?;
    let bytes = zeroize::Zeroizing::new(bytes);
    match bytes.trim_ascii() {
        [] => Err(EdgeError::EmptyToken),
        token => Ok(Secret::new(token.to_vec())),
    }
}

/// Starts an edge: it listens on both sockets, and what was deployed runs, when this returns.
///
/// # Errors
/// [`EdgeError`]. A missing runtime is none, see [`Edge::runtime`]; one that was named and does not run is.
pub async fn start(options: Options) -> Result<Edge, EdgeError> {
    if options.token.expose().trim_ascii().is_empty() {
        return Err(EdgeError::EmptyToken);
    }
    let disk = Arc::new(Disk::open(&options.data)?);
    let seal = Arc::new(Seal::open(&options.key.unwrap_or_else(|| disk.root().join("key")))?);
    let state = disk.load()?;
    disk.sweep(&state)?;
    let workerd = match options.workerd.as_deref() {
        None if options.awaits_workerd => Err(EdgeError::WorkerdAwaited),
        named => find_workerd(named),
    };
    let settings = Settings { guard: options.guard, linger: options.linger, private_network: options.private_network };
    let supervisor = Supervisor::new(workerd, &disk, Arc::clone(&seal), settings)?;
    if let Runtime::Missing { hint } = supervisor.runtime() {
        tracing::warn!(hint, "There is no workerd: Workers are stored and do not run.");
    }
    let local = Arc::new(Local::open(&disk)?);
    let local_listener = Local::listen(&disk.root().join("run"))?;
    let local_stop = CancellationToken::new();
    let serving = local::serve(local_listener, Arc::clone(&local), Arc::clone(&supervisor), local_stop.clone());
    let stand_in = if options.stand_in { Some(Arc::new(StandIn::open(disk.root())?)) } else { None };
    let also = api::Also { faults: options.faults, stand_in };
    let (api, api_addr) = listen(options.listen).await?;
    let (http, http_addr) = listen(options.http).await?;
    let serving = tokio::spawn(serving);
    Box::pin(supervisor.resume(state)).await;
    let queues = local.queues.clone();
    let plane = Arc::new(Plane::new(disk, seal, Arc::clone(&supervisor), local));
    let stop = CancellationToken::new();
    let tasks = vec![
        tokio::spawn(front::serve(http, Arc::clone(&supervisor), stop.clone())),
        tokio::spawn(cron::run(Arc::clone(&supervisor), stop.clone())),
        tokio::spawn(local::queue::deliver::run(Arc::clone(&supervisor), queues, stop.clone())),
        tokio::spawn(api::serve(api, plane, options.token, also, stop.clone())),
    ];
    let local = (serving, local_stop);
    Ok(Edge { api_addr, http_addr, supervisor, stop, tasks, local, stopped: false })
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), EdgeError> {
    let failed = |source| EdgeError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

impl Edge {
    /// Where the API listens.
    pub fn api_addr(&self) -> SocketAddr {
        self.api_addr
    }

    /// Where requests for Workers come in.
    pub fn http_addr(&self) -> SocketAddr {
        self.http_addr
    }

    /// Whether Workers run.
    pub fn runtime(&self) -> Runtime {
        self.supervisor.runtime()
    }

    /// The ids of the processes that run now: that of the Workers and that of KV.
    pub fn pids(&self) -> (Option<u32>, Option<u32>) {
        self.supervisor.pids()
    }

    /// Takes no more requests, lets those in hand finish within half a minute, lingers for what was given to `waitUntil`,
    /// and ends everything.
    pub async fn stop(mut self) {
        self.stop.cancel();
        for task in self.tasks.drain(..) {
            let _ = task.await;
        }
        self.supervisor.shut_down().await;
        self.local.1.cancel();
        self.stopped = true;
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        self.stop.cancel();
        self.local.1.cancel();
        if !self.stopped {
            self.supervisor.abort();
        }
    }
}
