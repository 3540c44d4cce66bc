//! Queues: messages on disk, taken by Workers in batches or pulled over the API.
//!
//! Goes in: messages of Workers and of the API. Comes out: batches for consumers, at least once each.
//!
//! **Invariant:** a message is on disk before it is acknowledged, and goes only when a consumer has settled it, its attempts
//! are spent, or its retention is over.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::super::EdgeError;
use super::{blocking, make_folder};

pub(in crate::edge) mod deliver;
mod store;
pub(super) mod wire;

use store::Messages;
pub(in crate::edge) use store::{Failed, Message, New, Stats};

/// The queues' messages, and the call to look at them.
#[derive(Clone)]
pub(in crate::edge) struct Queues {
    messages: Arc<Mutex<Messages>>,
    look: Arc<Notify>,
}

impl Queues {
    /// Opens the messages in a folder. What a Worker had in hand when the edge ended counts as a failed attempt.
    pub(in crate::edge) fn open(folder: &Path) -> Result<Self, EdgeError> {
        make_folder(folder)?;
        let messages = Messages::open(&folder.join("queues.sqlite"))?;
        Ok(Self { messages: Arc::new(Mutex::new(messages)), look: Arc::default() })
    }

    /// Something has changed that may make a batch due.
    pub(in crate::edge) fn wake(&self) {
        self.look.notify_one();
    }

    /// Does something with the messages, off the threads that serve.
    pub(in crate::edge) async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Messages) -> rusqlite::Result<T> + Send + 'static,
    ) -> rusqlite::Result<T> {
        let messages = Arc::clone(&self.messages);
        blocking(move || {
            let mut messages: MutexGuard<'_, Messages> = messages.lock().unwrap_or_else(PoisonError::into_inner);
            work(&mut messages)
        })
        .await
    }

    /// Adds messages to a queue.
    pub(in crate::edge) async fn send(&self, queue: &str, new: Vec<New>) -> rusqlite::Result<Stats> {
        let id = queue.to_owned();
        let stats = self
            .with(move |messages| {
                messages.insert(&id, &new, super::now_ms())?;
                messages.stats(&id)
            })
            .await?;
        self.wake();
        Ok(stats)
    }
}
