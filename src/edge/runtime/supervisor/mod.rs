//! The supervisor: what is current, and how it is replaced as a whole.
//!
//! Goes in: states of the edge. Comes out: the generation that answers a request, and why a state cannot run.
//!
//! **Invariant:** table, state and generation are switched in one step, and a request is counted in its generation under
//! the same lock.

mod revive;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::{TaskTracker, task_tracker::TaskTrackerToken};

use crate::edge::disk::Disk;
use crate::edge::front::Table;
use crate::edge::record::State;
use crate::edge::seal::Seal;
use crate::edge::{EdgeError, INSTALL_HINT};

use super::generation::Generation;
use super::guard::Guard;
use super::process::StartError;
use super::store::Store;
use super::{Runtime, config, locate, pool};

/// For how long requests on a replaced generation may go on.
const DRAIN: Duration = Duration::from_secs(30);
/// For how long a validated configuration is kept running for the deployment that is likely to follow.
const CANDIDATE: Duration = Duration::from_secs(20);
/// How many replaced processes may linger for work that outlives its response.
const LINGERING: usize = 8;
/// What is current: replaced as a whole.
#[derive(Clone)]
struct Live {
    table: Arc<Table>,
    state: Arc<State>,
    generation: Option<Arc<Generation>>,
    trouble: Option<(u32, String)>,
}

/// The supervisor of all processes.
pub(in crate::edge) struct Supervisor {
    live: RwLock<Live>,
    engine: Option<Engine>,
    seal: Arc<Seal>,
    missing: String,
    settings: Settings,
    /// The oldest first.
    lingering: Mutex<VecDeque<CancellationToken>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// What an operator chooses of the runtime.
#[derive(Debug, Clone)]
pub(in crate::edge) struct Settings {
    /// The program that leads the processes' group.
    pub(in crate::edge) guard: Option<PathBuf>,
    /// For how long what was given to `waitUntil` may go on.
    pub(in crate::edge) linger: Duration,
    /// Whether Workers may call private and loopback addresses.
    pub(in crate::edge) private_network: bool,
}

struct Engine {
    workerd: PathBuf,
    version: String,
    data: PathBuf,
    store: Store,
    candidate: Mutex<Option<Arc<Generation>>>,
    /// Last, so that it is dropped last: the group ends with it.
    guard: Arc<Guard>,
}

/// What a change of the state means for the processes.
pub(in crate::edge) enum Prepared {
    /// The running one stays.
    Keep,
    /// Another takes over; `None` where nothing serves any more.
    Switch(Option<Arc<Generation>>),
}

/// A request's way to a Worker.
pub(in crate::edge) struct Entry {
    pub(in crate::edge) generation: Arc<Generation>,
    /// While it is held, the generation is not ended.
    _token: TaskTrackerToken,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.generation.touch();
    }
}

impl Supervisor {
    /// A supervisor with nothing running. `workerd` is the program, or why there is none.
    pub(in crate::edge) fn new(
        workerd: Result<PathBuf, EdgeError>,
        disk: &Disk,
        seal: Arc<Seal>,
        settings: Settings,
    ) -> Result<Arc<Self>, EdgeError> {
        let data = disk.root().to_owned();
        let run = data.join("run");
        let (engine, missing) = match workerd {
            Ok(workerd) => {
                let version = locate::version_of(&workerd)?;
                let guard = Arc::new(Guard::start(settings.guard.clone(), &data.join("processes"))?);
                clear(&run)?;
                let store = Store::new(&workerd, Arc::clone(&guard), &data.join("kv"), &run)?;
                (Some(Engine { workerd, version, data, store, candidate: Mutex::new(None), guard }), String::new())
            }
            Err(EdgeError::WorkerdMissing) => (None, INSTALL_HINT.to_owned()),
            Err(error) => return Err(error),
        };
        let state = Arc::new(State::default());
        let live = Live { table: Arc::new(Table::new(&state)), state, generation: None, trouble: None };
        Ok(Arc::new(Self {
            live: RwLock::new(live),
            engine,
            seal,
            missing,
            settings,
            lingering: Mutex::new(VecDeque::new()),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        }))
    }

    /// Whether Workers run.
    pub(in crate::edge) fn runtime(&self) -> Runtime {
        let Some(engine) = &self.engine else { return Runtime::Missing { hint: self.missing.clone() } };
        let version = engine.version.clone();
        match self.live().trouble.clone() {
            Some((attempts, said)) => Runtime::Restarting { version, attempts, said },
            None => Runtime::Running { version },
        }
    }

    /// The state that is live.
    pub(in crate::edge) fn state(&self) -> Arc<State> {
        Arc::clone(&self.live().state)
    }

    /// Connections to the KV store, started if need be; `None` where there is no runtime.
    pub(in crate::edge) async fn store(&self) -> Result<Option<&pool::Pool>, EdgeError> {
        let Some(engine) = &self.engine else { return Ok(None) };
        engine.store.ensure_started().await?;
        Ok(Some(engine.store.pool()))
    }

    /// The routing table, and the way into the generation that goes with it.
    pub(in crate::edge) fn enter(&self) -> (Arc<Table>, Option<Entry>) {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        // The token is taken under the lock: a switch that follows finds it counted.
        let entry = live.generation.as_ref().map(|g| Entry { generation: Arc::clone(g), _token: g.requests.token() });
        (Arc::clone(&live.table), entry)
    }

    /// The way into the generation that runs a Worker.
    pub(in crate::edge) fn enter_for(&self, _script: &str) -> Option<Entry> {
        self.enter().1
    }

    /// The process ids that run now: Workers, KV. For tests and status.
    pub(in crate::edge) fn pids(&self) -> (Option<u32>, Option<u32>) {
        let workers = self.live().generation.as_ref().and_then(|generation| generation.pid());
        (workers, self.engine.as_ref().and_then(|engine| engine.store.pid()))
    }

    /// Starts what a state needs, beside what runs. A refusal carries the runtime's message.
    pub(in crate::edge) async fn prepare(&self, state: &State) -> Result<Prepared, PrepareError> {
        let Some(engine) = &self.engine else { return Ok(Prepared::Keep) };
        if !state.account.namespaces.is_empty() || !state.account.databases.is_empty() {
            engine.store.ensure_started().await.map_err(PrepareError::Failed)?;
        }
        let config = config::render(self.source(state)).map_err(PrepareError::Failed)?;
        let current = self.live().generation.clone();
        let Some(config) = config else {
            return Ok(if current.is_none() { Prepared::Keep } else { Prepared::Switch(None) });
        };
        if current.is_some_and(|generation| generation.digest == config.digest) {
            return Ok(Prepared::Keep);
        }
        let kept = engine.candidate().take();
        if let Some(candidate) = kept {
            if candidate.digest == config.digest {
                return Ok(Prepared::Switch(Some(candidate)));
            }
            self.retire(candidate);
        }
        let started = Generation::start(&engine.workerd, &engine.guard, &engine.data, &config).await;
        match started {
            Ok(generation) => Ok(Prepared::Switch(Some(generation))),
            Err(StartError::Refused(said)) => Err(PrepareError::Refused(plain(&said))),
            Err(StartError::Failed(error)) => Err(PrepareError::Failed(error)),
        }
    }

    /// Validates a state that is not to serve yet, and keeps its process for the deployment that is likely to follow.
    /// Returns how long it took to start.
    pub(in crate::edge) async fn validate(self: &Arc<Self>, state: &State) -> Result<Duration, PrepareError> {
        let (Prepared::Switch(Some(generation)), Some(engine)) = (self.prepare(state).await?, &self.engine) else {
            return Ok(Duration::ZERO);
        };
        let startup = generation.startup;
        let replaced = engine.candidate().replace(Arc::clone(&generation));
        if let Some(replaced) = replaced {
            self.retire(replaced);
        }
        let this = Arc::clone(self);
        self.tasks.spawn(async move {
            tokio::select! {
                () = tokio::time::sleep(CANDIDATE) => {}
                () = this.stop.cancelled() => {}
            }
            let Some(engine) = &this.engine else { return };
            let unused = engine.candidate().take_if(|candidate| Arc::ptr_eq(candidate, &generation));
            if let Some(unused) = unused {
                this.retire(unused);
            }
        });
        Ok(startup)
    }

    /// Lets go of what was prepared, where the change did not come about.
    pub(in crate::edge) fn abandon(&self, prepared: Prepared) {
        if let Prepared::Switch(Some(generation)) = prepared {
            self.retire(generation);
        }
    }

    /// Makes a state live, with its process. From here on every new request goes by it.
    pub(in crate::edge) fn install(self: &Arc<Self>, state: Arc<State>, prepared: Prepared) {
        let table = Arc::new(Table::new(&state));
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        live.table = table;
        live.state = state;
        if let Prepared::Switch(next) = prepared {
            let old = std::mem::replace(&mut live.generation, next.clone());
            live.trouble = None;
            drop(live);
            if let Some(next) = next {
                self.watch(next);
            }
            if let Some(old) = old {
                self.retire(old);
            }
        }
    }

    /// Makes the state that was loaded live, whether or not its process starts; if not, it is tried again.
    pub(in crate::edge) async fn resume(self: &Arc<Self>, state: State) {
        let prepared = self.prepare(&state).await;
        let state = Arc::new(state);
        match prepared {
            Ok(prepared) => self.install(state, prepared),
            Err(error) => {
                tracing::error!(%error, "The Workers do not start; they are tried again.");
                self.install(state, Prepared::Keep);
                self.revive(None, error.to_string());
            }
        }
    }

    /// Ends all processes at once, for an edge that is dropped and not stopped.
    pub(in crate::edge) fn abort(&self) {
        self.stop.cancel();
        if let Some(engine) = &self.engine {
            engine.store.abort();
            engine.guard.end();
        }
    }

    /// Ends everything: waits for requests in hand, up to the drain's limit.
    pub(in crate::edge) async fn shut_down(&self) {
        self.stop.cancel();
        let current = self.live.write().unwrap_or_else(PoisonError::into_inner).generation.take();
        if let Some(current) = current {
            self.retire(current);
        }
        self.tasks.close();
        self.tasks.wait().await;
        if let Some(engine) = &self.engine {
            engine.store.stop().await;
        }
    }

    /// What a configuration is rendered from.
    fn source<'a>(&'a self, state: &'a State) -> config::Source<'a> {
        config::Source { state, seal: &self.seal, private_network: self.settings.private_network }
    }

    fn live(&self) -> std::sync::RwLockReadGuard<'_, Live> {
        self.live.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn retire(&self, generation: Arc<Generation>) {
        let hurry = CancellationToken::new();
        let mut lingering = self.lingering.lock().unwrap_or_else(PoisonError::into_inner);
        lingering.push_back(hurry.clone());
        if lingering.len() > LINGERING
            && let Some(oldest) = lingering.pop_front()
        {
            oldest.cancel();
        }
        drop(lingering);
        let linger = self.settings.linger;
        self.tasks.spawn(async move { generation.retire(DRAIN, linger, hurry).await });
    }
}

impl Engine {
    fn candidate(&self) -> std::sync::MutexGuard<'_, Option<Arc<Generation>>> {
        self.candidate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a state cannot run.
#[derive(Debug, thiserror::Error)]
pub(in crate::edge) enum PrepareError {
    /// The runtime refused it and said this.
    #[error("{0}")]
    Refused(String),
    /// The machine is at fault.
    #[error(transparent)]
    Failed(EdgeError),
}

/// What the runtime said, without the names that only its configuration knows.
fn plain(said: &str) -> String {
    let lines = said.lines().map(|line| match line.strip_prefix("service ").and_then(|rest| rest.split_once(": ")) {
        Some((service, message)) => match service.rsplit_once('@') {
            Some((script, _)) => format!("{script}: {message}"),
            None => message.to_owned(),
        },
        None => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Removes what earlier generations left: sockets in folders.
fn clear(run: &std::path::Path) -> Result<(), EdgeError> {
    let failed = |source| EdgeError::Folder { path: run.to_owned(), source };
    for entry in std::fs::read_dir(run).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_type().map_err(failed)?.is_dir() {
            std::fs::remove_dir_all(entry.path()).map_err(failed)?;
        } else {
            std::fs::remove_file(entry.path()).map_err(failed)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_runtime_says_names_the_worker_and_not_the_service() {
        assert_eq!(
            plain("service api@0192: Uncaught Error: boom\n  at index.js:1:7"),
            "api: Uncaught Error: boom\n  at index.js:1:7"
        );
        assert_eq!(plain("service cron: x"), "x");
    }
}
