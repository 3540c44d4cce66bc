//! What a state needs, started or tried before the state is live.
//!
//! Goes in: a state. Comes out: for each track, nothing where the running process will do, or what takes its place.
//!
//! **Invariant:** what is refused here has changed nothing: what runs, runs on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::edge::record::State;

use super::super::config::{self, Config};
use super::super::generation::Generation;
use super::super::track::Track;
use super::{CANDIDATE, PrepareError, Supervisor};

/// What the runtime says of a class of Durable Objects that a Worker does not export; it starts all the same.
const NO_CLASS: &str = "no such Durable Object class is exported";

/// What a change of the state means for the processes: outside, `None` where the running one stays; inside, `None` where
/// nothing serves any more.
#[derive(Default)]
pub(in crate::edge) struct Prepared {
    /// Runs already, beside the one that it replaces.
    pub(super) overlapping: Option<Option<Arc<Generation>>>,
    /// Was tried, and is started when the one that it replaces has ended.
    pub(super) exclusive: Option<Option<Config>>,
}

impl Supervisor {
    /// Starts or tries what a state needs. A refusal carries the runtime's message.
    pub(in crate::edge) async fn prepare(&self, state: &State) -> Result<Prepared, PrepareError> {
        let exclusive = self.prepare_exclusive(state, true).await?;
        let overlapping = self.prepare_overlapping(state).await?;
        Ok(Prepared { overlapping, exclusive })
    }

    pub(super) async fn prepare_overlapping(&self, state: &State) -> Result<Option<Option<Arc<Generation>>>, PrepareError> {
        let Some(engine) = &self.engine else { return Ok(None) };
        if !state.account.namespaces.is_empty() || !state.account.databases.is_empty() {
            engine.store.ensure_started().await.map_err(PrepareError::Failed)?;
        }
        let config = config::render(self.source(engine, state, Track::Overlapping)).map_err(PrepareError::Failed)?;
        let current = self.live().overlapping.generation.clone();
        let Some(config) = config else { return Ok(current.map(|_| None)) };
        if current.is_some_and(|generation| generation.digest == config.digest) {
            return Ok(None);
        }
        let kept = engine.candidate().take();
        if let Some(candidate) = kept {
            if candidate.digest == config.digest {
                return Ok(Some(Some(candidate)));
            }
            self.retire(candidate);
        }
        let started = Generation::start(&engine.workerd, &engine.guard, &engine.data, &config).await;
        started.map(|generation| Some(Some(generation))).map_err(PrepareError::of)
    }

    /// Tries the configuration with Durable Objects in memory, unless it was tried before or is not to be.
    pub(super) async fn prepare_exclusive(&self, state: &State, try_it: bool) -> Result<Option<Option<Config>>, PrepareError> {
        let Some(engine) = &self.engine else { return Ok(None) };
        let source = self.source(engine, state, Track::Exclusive);
        let config = config::render(source).map_err(PrepareError::Failed)?;
        let current = self.live().exclusive.generation.clone();
        let Some(config) = config else { return Ok(current.map(|_| None)) };
        if current.is_some_and(|generation| generation.digest == config.digest) {
            return Ok(None);
        }
        let tried = *engine.tried() == Some(config.digest);
        if try_it && !tried {
            let trial = config::render(config::Source { trial: true, ..source }).map_err(PrepareError::Failed)?;
            if let Some(trial) = trial {
                let started = Generation::start(&engine.workerd, &engine.guard, &engine.data, &trial).await;
                let generation = started.map_err(PrepareError::of)?;
                // What it says comes through a pipe, on its own time.
                tokio::time::sleep(Duration::from_millis(20)).await;
                let said = generation.said().await;
                generation.retire(Duration::from_secs(1), Duration::ZERO, CancellationToken::new()).await;
                if let Some(line) = said.as_deref().and_then(|said| said.lines().find(|line| line.contains(NO_CLASS))) {
                    return Err(PrepareError::Refused(line.to_owned()));
                }
            }
            *engine.tried() = Some(config.digest);
        }
        Ok(Some(Some(config)))
    }

    /// Validates a state that is not to serve yet, and keeps its process for the deployment that is likely to follow.
    /// Returns how long it took to start.
    pub(in crate::edge) async fn validate(self: &Arc<Self>, state: &State) -> Result<Duration, PrepareError> {
        let since = Instant::now();
        let prepared = self.prepare(state).await?;
        let tried = if prepared.exclusive.is_some() { since.elapsed() } else { Duration::ZERO };
        let (Some(Some(generation)), Some(engine)) = (prepared.overlapping, &self.engine) else { return Ok(tried) };
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
        if let Some(Some(generation)) = prepared.overlapping {
            self.retire(generation);
        }
    }
}
