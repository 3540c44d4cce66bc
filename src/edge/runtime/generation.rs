//! One process that runs every Worker, from the moment it listens until the last request in it is done.
//!
//! Goes in: a configuration. Comes out: pools of connections to its Workers, and a token for each request.
//!
//! **Invariant:** a generation is ended only when it is no longer the current one, and then only after its requests are
//! done or the drain's limit is over.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::super::EdgeError;
use super::config::{Config, EVENTS_SOCKET};
use super::guard::Guard;
use super::pool::Pool;
use super::process::{Launch, Process, StartError};
use crate::model::Digest;

/// A running process and the ways into it.
#[derive(Debug)]
pub(in crate::edge) struct Generation {
    /// Digest of the configuration that it runs.
    pub(in crate::edge) digest: Digest,
    /// How long it took to start.
    pub(in crate::edge) startup: Duration,
    /// Counts the requests in it.
    pub(in crate::edge) requests: TaskTracker,
    pools: BTreeMap<(String, String), Pool>,
    events: Pool,
    folder: PathBuf,
    process: Mutex<Option<Process>>,
    pid: Option<u32>,
    retired: CancellationToken,
    last_request: std::sync::Mutex<Option<Instant>>,
}

impl Generation {
    /// Starts a process for a configuration and waits until it listens.
    pub(in crate::edge) async fn start(
        workerd: &Path,
        guard: &Guard,
        data: &Path,
        config: &Config,
    ) -> Result<Arc<Self>, StartError> {
        let folder = data.join("run").join(super::super::record::fresh_hex());
        let failed = |source| StartError::Failed(EdgeError::Folder { path: folder.clone(), source });
        fs::create_dir(&folder).map_err(failed)?;
        let open = Arc::new(File::open(&folder).map_err(failed)?);
        let since = Instant::now();
        let launch = Launch {
            workerd,
            guard,
            config: config.text.as_bytes(),
            import_path: data,
            folder: &folder,
            sockets: config.sockets.len() + 1,
            held: None,
        };
        let process = match Box::pin(Process::start(launch)).await {
            Ok(process) => process,
            Err(error) => {
                let _ = fs::remove_dir_all(&folder);
                return Err(error);
            }
        };
        let pools = config.sockets.iter().map(|(key, socket)| (key.clone(), Pool::new(Arc::clone(&open), socket)));
        Ok(Arc::new(Self {
            digest: config.digest,
            startup: since.elapsed(),
            requests: TaskTracker::new(),
            pools: pools.collect(),
            events: Pool::new(open, EVENTS_SOCKET),
            folder,
            pid: process.pid(),
            process: Mutex::new(Some(process)),
            retired: CancellationToken::new(),
            last_request: std::sync::Mutex::new(None),
        }))
    }

    /// Connections to one version of a Worker.
    pub(in crate::edge) fn pool(&self, script: &str, version: &str) -> Option<&Pool> {
        self.pools.get(&(script.to_owned(), version.to_owned()))
    }

    /// Connections to the helper that calls the handlers which HTTP cannot reach.
    pub(in crate::edge) fn events(&self) -> &Pool {
        &self.events
    }

    /// The process's id.
    pub(in crate::edge) fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// Waits until the process ends by itself; returns what it said. Returns `None` when it is retired first.
    pub(in crate::edge) async fn crashed(&self) -> Option<String> {
        let mut process = self.process.lock().await;
        let running = process.as_mut()?;
        tokio::select! {
            status = running.ended() => {
                let said = running.last_words();
                *process = None;
                let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
                Some(said.map_or_else(|| status.clone(), |said| format!("{status}: {said}")))
            }
            () = self.retired.cancelled() => None,
        }
    }

    /// What the process has said so far.
    pub(in crate::edge) async fn said(&self) -> Option<String> {
        self.process.lock().await.as_ref()?.last_words()
    }

    /// Notes that a request in it has ended.
    pub(in crate::edge) fn touch(&self) {
        *self.last_request.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Lets the requests in it finish, up to `limit`, then what Workers gave to `waitUntil`: the runtime does not say
    /// whether there is any, so that it is `linger` from the last request's end, unless `hurry` is cancelled. Then ends
    /// the process, again with that limit.
    pub(in crate::edge) async fn retire(&self, limit: Duration, linger: Duration, hurry: CancellationToken) {
        self.retired.cancel();
        self.requests.close();
        // Requests beyond the limit are cut, as the process is.
        let _ = tokio::time::timeout(limit, self.requests.wait()).await;
        let last = *self.last_request.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(left) = last.and_then(|last| linger.checked_sub(last.elapsed())) {
            let mut process = self.process.lock().await;
            tokio::select! {
                () = tokio::time::sleep(left) => {}
                () = hurry.cancelled() => {}
                // A process that has ended has nothing left to do.
                () = ended(process.as_mut()) => {}
            }
        }
        let process = self.process.lock().await.take();
        if let Some(process) = process {
            process.stop(limit).await;
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

async fn ended(process: Option<&mut Process>) {
    if let Some(process) = process {
        let _ = process.ended().await;
    }
}
