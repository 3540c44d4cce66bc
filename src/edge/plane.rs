//! One change of the edge at a time, from validation to disk to the running process.
//!
//! Goes in: an edit of the state. Comes out: the edited state, durable and live; or a refusal, and nothing has changed.
//!
//! The order is: start the new process (which validates), make the state durable, switch. Killed before the second step,
//! the edge comes back with the old state; after it, with the new.
//!
//! **Invariant:** what is live is what is on disk; what did not start is neither.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use super::EdgeError;
use super::disk::Disk;
use super::local::Local;
use super::record::State;
use super::runtime::{PrepareError, Supervisor};
use super::seal::Seal;
use crate::model::Digest;

/// The edge's state, where it is kept, and what runs it.
pub(super) struct Plane {
    disk: Arc<Disk>,
    pub(super) seal: Arc<Seal>,
    pub(super) supervisor: Arc<Supervisor>,
    pub(super) local: Arc<Local>,
    writer: Mutex<()>,
}

impl Plane {
    /// A plane over a data folder and a supervisor that already runs its state.
    pub(super) fn new(disk: Arc<Disk>, seal: Arc<Seal>, supervisor: Arc<Supervisor>, local: Arc<Local>) -> Self {
        Self { disk, seal, supervisor, local, writer: Mutex::new(()) }
    }

    /// What is live.
    pub(super) fn state(&self) -> Arc<State> {
        self.supervisor.state()
    }

    /// Edits the state. Must not be dropped half-way: callers run it in a task of its own.
    pub(super) async fn change<T, E>(&self, edit: impl FnOnce(&mut State) -> Result<T, E>) -> Result<T, E>
    where
        E: From<EdgeError> + From<PrepareError>,
    {
        self.change_if_valid(edit, |_| None).await.map(|(value, _)| value)
    }

    /// Edits the state; `trial` may give another state that has to start as well, such as the one in which a new version
    /// would serve. Returns how long that took to start.
    pub(super) async fn change_if_valid<T, E>(
        &self,
        edit: impl FnOnce(&mut State) -> Result<T, E>,
        trial: impl FnOnce(&State) -> Option<State>,
    ) -> Result<(T, Duration), E>
    where
        E: From<EdgeError> + From<PrepareError>,
    {
        let _one_at_a_time = self.writer.lock().await;
        let before = self.state();
        let mut after = State::clone(&before);
        let value = edit(&mut after)?;
        let startup = match trial(&after) {
            Some(trial) => Box::pin(self.supervisor.validate(&trial)).await?,
            None => Duration::ZERO,
        };
        let prepared = Box::pin(self.supervisor.prepare(&after)).await?;
        let (disk, after) = (Arc::clone(&self.disk), Arc::new(after));
        let saved = {
            let (before, after) = (Arc::clone(&before), Arc::clone(&after));
            blocking(move || disk.save(&before, &after)).await
        };
        if let Err(error) = saved {
            self.supervisor.abandon(prepared);
            return Err(error.into());
        }
        self.supervisor.install(after, prepared);
        // A queue may have a consumer now, or a consumer run.
        self.local.queues.wake();
        Ok((value, startup))
    }

    /// Keeps a blob.
    pub(super) async fn put_blob(&self, bytes: bytes::Bytes) -> Result<Digest, EdgeError> {
        let disk = Arc::clone(&self.disk);
        blocking(move || disk.put_blob(&bytes)).await
    }

    /// Reads a blob.
    pub(super) async fn blob(&self, digest: Digest) -> Result<Vec<u8>, EdgeError> {
        let disk = Arc::clone(&self.disk);
        blocking(move || disk.blob(digest)).await
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, EdgeError> + Send + 'static) -> Result<T, EdgeError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
