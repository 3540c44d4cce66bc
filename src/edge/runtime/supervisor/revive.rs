//! A process that ended by itself is started again, as long as nothing newer took its place.
//!
//! Goes in: a generation that is current. Comes out: another of the same state, however often that has to be tried.
//!
//! **Invariant:** a deployment that comes meanwhile wins.

use std::sync::{Arc, PoisonError};
use std::time::Instant;

use crate::edge::record::State;

use super::super::backoff;
use super::super::config;
use super::super::generation::Generation;
use super::super::track::Track;
use super::{PrepareError, Supervisor};

impl Supervisor {
    /// Starts a new process when this one ends by itself.
    pub(super) fn watch(self: &Arc<Self>, generation: Arc<Generation>, track: Track) {
        let this = Arc::clone(self);
        self.tasks.spawn(async move {
            if let Some(said) = generation.crashed().await {
                tracing::error!(%said, "The Workers' process ended; it is started again.");
                this.revive(Some(generation), said, track);
            }
        });
    }

    /// Tries again and again to run the live state, as long as `dead` is what is current.
    pub(super) fn revive(self: &Arc<Self>, dead: Option<Arc<Generation>>, said: String, track: Track) {
        let this = Arc::clone(self);
        self.tasks.spawn(async move {
            let since = Instant::now();
            let mut said = said;
            for attempt in 0.. {
                if this.still_dead(dead.as_ref(), track, attempt, &said).is_none() {
                    return;
                }
                tokio::select! {
                    () = tokio::time::sleep(backoff(attempt)) => {}
                    () = this.stop.cancelled() => return,
                }
                let _alone = match track {
                    Track::Overlapping => None,
                    Track::Exclusive => Some(this.handover.lock().await),
                };
                // A deployment may have come while this waited.
                let Some(state) = this.still_dead(dead.as_ref(), track, attempt, &said) else { return };
                match Box::pin(this.restart(&state, track)).await {
                    Ok(next) => {
                        this.replace(dead.as_ref(), next, track);
                        let downtime = since.elapsed().as_millis();
                        tracing::info!(downtime, "The Workers' process runs again.");
                        return;
                    }
                    Err(error) => {
                        said = error.to_string();
                        tracing::error!(%error, attempt, "The Workers do not start.");
                    }
                }
            }
        });
    }

    /// The live state, with the trouble noted, as long as nothing has taken the place of what ended.
    fn still_dead(&self, dead: Option<&Arc<Generation>>, track: Track, attempt: u32, said: &str) -> Option<Arc<State>> {
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        let state = Arc::clone(&live.state);
        let slot = live.slot_mut(track);
        if !same(slot.generation.as_ref(), dead) {
            return None;
        }
        slot.trouble = Some((attempt, said.to_owned()));
        Some(state)
    }

    async fn restart(&self, state: &State, track: Track) -> Result<Option<Arc<Generation>>, PrepareError> {
        let Some(engine) = &self.engine else { return Ok(None) };
        let Some(config) = config::render(self.source(engine, state, track)).map_err(PrepareError::Failed)? else {
            return Ok(None);
        };
        let started = Generation::start(&engine.workerd, &engine.guard, &engine.data, &config).await;
        started.map(Some).map_err(PrepareError::of)
    }

    /// Puts a process in the place of one that ended, or of none.
    pub(super) fn replace(self: &Arc<Self>, dead: Option<&Arc<Generation>>, next: Option<Arc<Generation>>, track: Track) {
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        let slot = live.slot_mut(track);
        if !same(slot.generation.as_ref(), dead) {
            // A deployment came first.
            drop(live);
            return next.into_iter().for_each(|next| self.retire(next));
        }
        slot.generation.clone_from(&next);
        slot.trouble = None;
        drop(live);
        dead.into_iter().for_each(|dead| self.retire(Arc::clone(dead)));
        next.into_iter().for_each(|next| self.watch(next, track));
    }
}

fn same(a: Option<&Arc<Generation>>, b: Option<&Arc<Generation>>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
        (None, None) => true,
        _ => false,
    }
}
