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
use super::super::process::StartError;
use super::{PrepareError, Supervisor, plain};

impl Supervisor {
    /// Starts a new process when this one ends by itself.
    pub(super) fn watch(self: &Arc<Self>, generation: Arc<Generation>) {
        let this = Arc::clone(self);
        self.tasks.spawn(async move {
            if let Some(said) = generation.crashed().await {
                tracing::error!(%said, "The Workers' process ended; it is started again.");
                this.revive(Some(generation), said);
            }
        });
    }

    /// Tries again and again to run the live state, as long as `dead` is what is current.
    pub(super) fn revive(self: &Arc<Self>, dead: Option<Arc<Generation>>, said: String) {
        let this = Arc::clone(self);
        self.tasks.spawn(async move {
            let since = Instant::now();
            let mut said = said;
            for attempt in 0.. {
                let state = {
                    let mut live = this.live.write().unwrap_or_else(PoisonError::into_inner);
                    if !same(live.generation.as_ref(), dead.as_ref()) {
                        return;
                    }
                    live.trouble = Some((attempt, said.clone()));
                    Arc::clone(&live.state)
                };
                tokio::select! {
                    () = tokio::time::sleep(backoff(attempt)) => {}
                    () = this.stop.cancelled() => return,
                }
                match Box::pin(this.restart(&state)).await {
                    Ok(next) => {
                        this.replace(dead.as_ref(), next);
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

    async fn restart(&self, state: &State) -> Result<Option<Arc<Generation>>, PrepareError> {
        let Some(engine) = &self.engine else { return Ok(None) };
        let Some(config) = config::render(self.source(state)).map_err(PrepareError::Failed)? else {
            return Ok(None);
        };
        match Generation::start(&engine.workerd, &engine.guard, &engine.data, &config).await {
            Ok(generation) => Ok(Some(generation)),
            Err(StartError::Refused(said)) => Err(PrepareError::Refused(plain(&said))),
            Err(StartError::Failed(error)) => Err(PrepareError::Failed(error)),
        }
    }

    fn replace(self: &Arc<Self>, dead: Option<&Arc<Generation>>, next: Option<Arc<Generation>>) {
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        if !same(live.generation.as_ref(), dead) {
            // A deployment came first.
            drop(live);
            return next.into_iter().for_each(|next| self.retire(next));
        }
        live.generation.clone_from(&next);
        live.trouble = None;
        drop(live);
        dead.into_iter().for_each(|dead| self.retire(Arc::clone(dead)));
        next.into_iter().for_each(|next| self.watch(next));
    }
}

fn same(a: Option<&Arc<Generation>>, b: Option<&Arc<Generation>>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
        (None, None) => true,
        _ => false,
    }
}
