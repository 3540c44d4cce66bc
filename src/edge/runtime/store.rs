//! The process that keeps KV and D1.
//!
//! Goes in: the folder of the store. Comes out: one Unix socket behind which every namespace and every database is; which
//! one is meant stands in a header that only the runtime's configuration and the edge itself set.
//!
//! The listening socket is the edge's: a process that ends is replaced, and who connects meanwhile waits in the socket's
//! backlog. Any number of namespaces and databases needs no restart, because a module of ours hands the header on to the
//! runtime's own services (bundled with workerd from 2026-11).
//!
//! **Invariant:** swaps of Workers do not touch this process.

use std::fs::{self, File};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Mutex as AsyncMutex;
use tokio_util::sync::CancellationToken;

use super::super::EdgeError;
use super::config::quote;
use super::guard::Guard;
use super::pool::Pool;
use super::process::{Launch, Process, StartError};

/// The header that says which namespace is meant.
pub(in crate::edge) const NAMESPACE_HEADER: &str = "x-trunkline-kv-namespace";
/// The header that says which database is meant.
pub(in crate::edge) const DATABASE_HEADER: &str = "x-trunkline-d1-database";
/// For how long the process may take to finish what it does.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// Chooses namespace or database by header, then does what the runtime's own service does. `__query` is the remote call of
/// a database's binding, which cannot pass a socket as it is; `__drop` forgets a database with its file.
const ROUTER: &str = r#"import kv from "./kv.js";
import D1, { D1Database as Base } from "./d1.js";
export { KVNamespace } from "./kv.js";
export class D1Database extends Base {
  async drop() { await this.ctx.storage.deleteAll(); }
}
export class Databases extends D1 {}
export default {
  async fetch(request, env, ctx) {
    const database = request.headers.get("DATABASE_HEADER");
    if (database === null) {
      return kv.fetch(request, env, { props: { namespace: request.headers.get("NAMESPACE_HEADER") } });
    }
    const target = ctx.exports.Databases({ props: { database } });
    switch (new URL(request.url).pathname) {
      case "/__query":
        try {
          return Response.json({ answer: await target.query(await request.json()) });
        } catch (error) {
          return Response.json({ error: String(error.message ?? error) });
        }
      case "/__drop":
        await env.DATABASE.getByName(database).drop();
        return new Response(null, { status: 204 });
      default:
        return target.fetch(request);
    }
  },
};
"#;

/// The store of KV and D1, started when it is first needed.
pub(in crate::edge) struct Store {
    inner: Arc<Inner>,
    started: AsyncMutex<Option<tokio::task::JoinHandle<()>>>,
    stop: CancellationToken,
}

struct Inner {
    workerd: PathBuf,
    guard: Arc<Guard>,
    folder: PathBuf,
    run: PathBuf,
    listener: OwnedFd,
    pool: Pool,
    pid: Mutex<Option<u32>>,
}

impl Store {
    /// A store in `folder` that will listen on `run/kv.sock`.
    pub(in crate::edge) fn new(workerd: &Path, guard: Arc<Guard>, folder: &Path, run: &Path) -> Result<Self, EdgeError> {
        let failed = |source| EdgeError::Folder { path: run.to_owned(), source };
        let open = Arc::new(File::open(run).map_err(failed)?);
        let _ = fs::remove_file(run.join("kv.sock"));
        let listener = UnixListener::bind(format!("/proc/self/fd/{}/kv.sock", open.as_raw_fd())).map_err(failed)?;
        let inner = Inner {
            workerd: workerd.to_owned(),
            guard,
            folder: folder.to_owned(),
            run: run.to_owned(),
            listener: listener.into(),
            pool: Pool::new(open, "kv.sock"),
            pid: Mutex::new(None),
        };
        Ok(Self { inner: Arc::new(inner), started: AsyncMutex::new(None), stop: CancellationToken::new() })
    }

    /// Starts the process if it does not run, and keeps it running from then on.
    pub(in crate::edge) async fn ensure_started(&self) -> Result<(), EdgeError> {
        let mut started = self.started.lock().await;
        if started.is_none() {
            let process = self.inner.launch().await?;
            let (inner, stop) = (Arc::clone(&self.inner), self.stop.clone());
            *started = Some(tokio::spawn(async move { inner.keep(process, stop).await }));
        }
        Ok(())
    }

    /// Connections to it.
    pub(in crate::edge) fn pool(&self) -> &Pool {
        &self.inner.pool
    }

    /// Its process id while it runs.
    pub(in crate::edge) fn pid(&self) -> Option<u32> {
        *self.inner.pid.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts it no more.
    pub(in crate::edge) fn abort(&self) {
        self.stop.cancel();
    }

    /// Lets it finish and ends it.
    pub(in crate::edge) async fn stop(&self) {
        self.stop.cancel();
        if let Some(task) = self.started.lock().await.take() {
            let _ = task.await;
        }
    }
}

impl Inner {
    async fn launch(&self) -> Result<Process, EdgeError> {
        let socket = self.listener.try_clone().map_err(|source| EdgeError::Folder { path: self.run.clone(), source })?;
        let config = config(&self.folder);
        let launch = Launch {
            workerd: &self.workerd,
            guard: &self.guard,
            config: config.as_bytes(),
            import_path: &self.folder,
            folder: &self.run,
            sockets: 1,
            held: Some(("kv", socket)),
        };
        let process = Box::pin(Process::start(launch)).await.map_err(|error| match error {
            StartError::Refused(said) => EdgeError::Store(said),
            StartError::Failed(error) => error,
        })?;
        *self.pid.lock().unwrap_or_else(PoisonError::into_inner) = process.pid();
        Ok(process)
    }

    async fn keep(&self, process: Process, stop: CancellationToken) {
        let mut current = Some(process);
        let mut attempts = 0;
        loop {
            let since = Instant::now();
            if let Some(mut process) = current.take() {
                tokio::select! {
                    // Ends only where the process ended by itself.
                    status = process.ended() => {
                        *self.pid.lock().unwrap_or_else(PoisonError::into_inner) = None;
                        tracing::error!(?status, said = process.last_words(), "The process of KV and D1 ended; it is started again.");
                    }
                    // Nothing was awaited in the process that is lost here.
                    () = stop.cancelled() => return process.stop(STOP_LIMIT).await,
                }
            }
            attempts = if since.elapsed() > super::HEALTHY { 0 } else { attempts + 1 };
            tokio::select! {
                () = tokio::time::sleep(super::backoff(attempts)) => {}
                () = stop.cancelled() => return,
            }
            match self.launch().await {
                Ok(process) => current = Some(process),
                Err(error) => tracing::error!(%error, "The process of KV and D1 does not start."),
            }
        }
    }
}

fn config(folder: &Path) -> String {
    let disk = |name: &str| quote(&folder.join(name).to_string_lossy());
    format!(
        "using Workerd = import \"/workerd/workerd.capnp\";
const config :Workerd.Config = (
  services = [
    (name = \"kv\", worker = .kv),
    (name = \"do\", disk = (path = {}, writable = true)),
    (name = \"blobs\", disk = (path = {}, writable = true)),
  ],
  sockets = [(name = \"kv\", address = \"unix:kv.sock\", http = (), service = \"kv\")],
);
const kv :Workerd.Worker = (
  modules = [
    (name = \"router.js\", esModule = {}),
    (name = \"kv.js\", bundled = \"/workerd/kv.js\"),
    (name = \"d1.js\", bundled = \"/workerd/d1.js\"),
  ],
  compatibilityDate = \"2026-06-01\",
  bindings = [
    (name = \"SHARD\", durableObjectNamespace = \"KVNamespace\"),
    (name = \"BLOBS\", service = \"blobs\"),
    (name = \"DATABASE\", durableObjectNamespace = \"D1Database\"),
  ],
  durableObjectNamespaces = [
    (className = \"KVNamespace\", uniqueKey = \"trunkline-kv\", enableSql = true),
    (className = \"D1Database\", uniqueKey = \"trunkline-d1\", enableSql = true),
  ],
  durableObjectStorage = (localDisk = \"do\"),
);
",
        disk("do"),
        disk("blobs"),
        quote(&ROUTER.replace("DATABASE_HEADER", DATABASE_HEADER).replace("NAMESPACE_HEADER", NAMESPACE_HEADER))
    )
}
