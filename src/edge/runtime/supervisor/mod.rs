//! The supervisor: what is current, and how it is replaced as a whole.
//!
//! Goes in: states of the edge. Comes out: the generation that answers a request, and why a state cannot run.
//!
//! **Invariant:** table, state and generation are switched in one step, and a request is counted in its generation under
//! the same lock.

mod prepare;
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
use crate::edge::{AWAITED_HINT, EdgeError, INSTALL_HINT};

use super::config::Config;
use super::generation::Generation;
use super::guard::Guard;
use super::process::StartError;
use super::store::Store;
use super::track::Track;
use super::{Runtime, config, locate, pool};
use crate::model::Digest;

pub(in crate::edge) use prepare::Prepared;

/// For how long requests on a replaced generation may go on.
const DRAIN: Duration = Duration::from_secs(30);
/// For how long a validated configuration is kept running for the deployment that is likely to follow.
const CANDIDATE: Duration = Duration::from_secs(20);
/// For how long requests on a process with Durable Objects may go on when it is replaced: others wait for its successor.
const HANDOVER: Duration = Duration::from_secs(3);
/// How many replaced processes may linger for work that outlives its response.
const LINGERING: usize = 8;
/// What is current: replaced as a whole.
#[derive(Clone)]
struct Live {
    table: Arc<Table>,
    state: Arc<State>,
    overlapping: Slot,
    exclusive: Slot,
}

/// What runs on one track.
#[derive(Clone, Default)]
struct Slot {
    generation: Option<Arc<Generation>>,
    trouble: Option<(u32, String)>,
}

impl Live {
    fn slot(&self, track: Track) -> &Slot {
        match track {
            Track::Overlapping => &self.overlapping,
            Track::Exclusive => &self.exclusive,
        }
    }

    fn slot_mut(&mut self, track: Track) -> &mut Slot {
        match track {
            Track::Overlapping => &mut self.overlapping,
            Track::Exclusive => &mut self.exclusive,
        }
    }
}

/// The supervisor of all processes.
pub(in crate::edge) struct Supervisor {
    live: RwLock<Live>,
    engine: Option<Engine>,
    seal: Arc<Seal>,
    missing: String,
    settings: Settings,
    /// Held while the process with Durable Objects is replaced or started again: there is one at a time.
    handover: tokio::sync::Mutex<()>,
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
    /// The configuration with Durable Objects that was tried last, and ran.
    tried: Mutex<Option<Digest>>,
    /// Last, so that it is dropped last: the group ends with it.
    guard: Arc<Guard>,
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
                let (candidate, tried) = (Mutex::new(None), Mutex::new(None));
                (Some(Engine { workerd, version, data, store, candidate, tried, guard }), String::new())
            }
            Err(EdgeError::WorkerdMissing) => (None, INSTALL_HINT.to_owned()),
            Err(EdgeError::WorkerdAwaited) => (None, AWAITED_HINT.to_owned()),
            Err(error) => return Err(error),
        };
        let state = Arc::new(State::default());
        let live = Live { table: Arc::new(Table::new(&state)), state, overlapping: Slot::default(), exclusive: Slot::default() };
        Ok(Arc::new(Self {
            live: RwLock::new(live),
            engine,
            seal,
            missing,
            settings,
            handover: tokio::sync::Mutex::new(()),
            lingering: Mutex::new(VecDeque::new()),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        }))
    }

    /// Whether Workers run.
    pub(in crate::edge) fn runtime(&self) -> Runtime {
        let Some(engine) = &self.engine else { return Runtime::Missing { hint: self.missing.clone() } };
        let version = engine.version.clone();
        let live = self.live();
        match live.overlapping.trouble.clone().or_else(|| live.exclusive.trouble.clone()) {
            Some((attempts, said)) => Runtime::Restarting { version, attempts, said },
            None => Runtime::Running { version },
        }
    }

    /// Whether Workers may reach private addresses.
    pub(in crate::edge) fn private_network(&self) -> bool {
        self.settings.private_network
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

    /// The routing table, and the way into the generation that goes with it on the track that is chosen by it.
    pub(in crate::edge) fn enter(&self, choose: impl FnOnce(&Table) -> Track) -> (Arc<Table>, Option<Entry>) {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        let generation = live.slot(choose(&live.table)).generation.as_ref();
        // The token is taken under the lock: a switch that follows finds it counted.
        let entry = generation.map(|g| Entry { generation: Arc::clone(g), _token: g.requests.token() });
        (Arc::clone(&live.table), entry)
    }

    /// The way into the generation that runs a Worker.
    pub(in crate::edge) fn enter_for(&self, script: &str) -> Option<Entry> {
        self.enter(|table| table.track(script)).1
    }

    /// The process ids that run now: Workers, KV. For tests and status.
    pub(in crate::edge) fn pids(&self) -> (Option<u32>, Option<u32>) {
        let live = self.live();
        let generation = live.overlapping.generation.as_ref().or(live.exclusive.generation.as_ref());
        let workers = generation.and_then(|generation| generation.pid());
        (workers, self.engine.as_ref().and_then(|engine| engine.store.pid()))
    }

    /// Makes a state live, with its processes. From here on every new request goes by it. Returns when they run.
    pub(in crate::edge) async fn install(self: &Arc<Self>, state: Arc<State>, prepared: Prepared) {
        let table = Arc::new(Table::new(&state));
        let Prepared { overlapping, exclusive } = prepared;
        let _alone = if exclusive.is_some() { Some(self.handover.lock().await) } else { None };
        let (mut retired, mut watched, mut stopped) = (None, None, None);
        {
            let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
            live.table = table;
            live.state = Arc::clone(&state);
            if let Some(next) = overlapping {
                retired = std::mem::replace(&mut live.overlapping.generation, next.clone());
                live.overlapping.trouble = None;
                watched = next;
            }
            if exclusive.is_some() {
                // Requests find nothing from here on, and wait.
                stopped = live.exclusive.generation.take();
                live.exclusive.trouble = None;
            }
        }
        if let Some(next) = watched {
            self.watch(next, Track::Overlapping);
        }
        if let Some(old) = retired {
            self.retire(old);
        }
        if let Some(next) = exclusive {
            if let Some(old) = stopped {
                old.retire(HANDOVER, Duration::ZERO, CancellationToken::new()).await;
            }
            if let Some(config) = next {
                self.follow(&config).await;
            }
        }
    }

    /// Starts the process with Durable Objects, after the one before it has ended; tries again if need be.
    async fn follow(self: &Arc<Self>, config: &Config) {
        let Some(engine) = &self.engine else { return };
        match Generation::start(&engine.workerd, &engine.guard, &engine.data, config).await {
            Ok(next) => self.replace(None, Some(next), Track::Exclusive),
            Err(error) => {
                let error = PrepareError::of(error);
                tracing::error!(%error, "The Workers with Durable Objects do not start; they are tried again.");
                self.revive(None, error.to_string(), Track::Exclusive);
            }
        }
    }

    /// Makes the state that was loaded live, whether or not its processes start; if not, they are tried again.
    pub(in crate::edge) async fn resume(self: &Arc<Self>, state: State) {
        let exclusive = self.prepare_exclusive(&state, false).await;
        let exclusive = exclusive.inspect_err(|error| tracing::error!(%error, "The Workers with Durable Objects do not start."));
        let overlapping = self.prepare_overlapping(&state).await;
        let state = Arc::new(state);
        let failed = overlapping.as_ref().err().map(ToString::to_string);
        let prepared = Prepared { overlapping: overlapping.ok().flatten(), exclusive: exclusive.ok().flatten() };
        self.install(state, prepared).await;
        if let Some(error) = failed {
            tracing::error!(error, "The Workers do not start; they are tried again.");
            self.revive(None, error, Track::Overlapping);
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
        let (overlapping, exclusive) = {
            let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
            (live.overlapping.generation.take(), live.exclusive.generation.take())
        };
        overlapping.into_iter().chain(exclusive).for_each(|current| self.retire(current));
        self.tasks.close();
        self.tasks.wait().await;
        if let Some(engine) = &self.engine {
            engine.store.stop().await;
        }
    }

    /// What a configuration is rendered from.
    fn source<'a>(&'a self, engine: &'a Engine, state: &'a State, track: Track) -> config::Source<'a> {
        let private_network = self.settings.private_network;
        config::Source { state, seal: &self.seal, private_network, data: &engine.data, track, trial: false }
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
    fn tried(&self) -> std::sync::MutexGuard<'_, Option<Digest>> {
        self.tried.lock().unwrap_or_else(PoisonError::into_inner)
    }

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

impl PrepareError {
    fn of(error: StartError) -> Self {
        match error {
            StartError::Refused(said) => Self::Refused(plain(&said)),
            StartError::Failed(error) => Self::Failed(error),
        }
    }
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
