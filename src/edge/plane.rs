//! One change of the edge at a time, from validation to disk to the running process.
//!
//! Goes in: an edit of the state. Comes out: the edited state, durable and live; or a refusal, and nothing has changed.
//!
//! The order is: start the new process (which validates), make the state durable, switch. Killed before the second step,
//! the edge comes back with the old state; after it, with the new. Workers with Durable Objects are tried first and started
//! last, when their predecessors have ended.
//!
//! **Invariant:** what is live is what is on disk; what did not start is neither.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use super::EdgeError;
use super::assets::Assets;
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
    pub(super) assets: Assets,
    writer: Mutex<()>,
}

impl Plane {
    /// A plane over a data folder and a supervisor that already runs its state.
    pub(super) fn new(disk: Arc<Disk>, seal: Arc<Seal>, supervisor: Arc<Supervisor>, local: Arc<Local>) -> Self {
        let assets = Assets::new(disk.root());
        Self { disk, seal, supervisor, local, assets, writer: Mutex::new(()) }
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
        Box::pin(self.supervisor.install(after, prepared)).await;
        // A queue may have a consumer now, or a consumer run.
        self.local.queues.wake();
        Ok((value, startup))
    }

    /// Keeps a blob.
    pub(super) async fn put_blob(&self, bytes: bytes::Bytes) -> Result<Digest, EdgeError> {
        let disk = Arc::clone(&self.disk);
        blocking(move || disk.put_blob(&bytes)).await
    }

    /// Removes Durable Objects that nobody owns any more: their classes are gone, durably, and what ran them has ended.
    pub(super) async fn free_objects(&self, ids: Vec<String>) {
        let disk = Arc::clone(&self.disk);
        let freed = blocking(move || ids.iter().try_for_each(|id| disk.free_objects(id))).await;
        if let Err(error) = freed {
            tracing::warn!(%error, "The files of deleted Durable Objects are left until the next start.");
        }
    }

    /// The ids of the Durable Objects of a class that have stored something.
    pub(super) async fn stored_objects(&self, id: &str) -> Result<Vec<String>, EdgeError> {
        let (disk, id) = (Arc::clone(&self.disk), id.to_owned());
        blocking(move || disk.stored_objects(&id)).await
    }

    /// Reads a blob.
    pub(super) async fn blob(&self, digest: Digest) -> Result<Vec<u8>, EdgeError> {
        let disk = Arc::clone(&self.disk);
        blocking(move || disk.blob(digest)).await
    }
}

/// Work on files, off the threads that serve.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, EdgeError> + Send + 'static,
) -> Result<T, EdgeError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
