//! What all environments share on their way to hosts: connections, the binary that is put there, and how many are talked
//! to at once.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use tempfile::TempDir;
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};

use super::ssh::Login;
use crate::model::{Digest, Retry};
use crate::provider::ProviderError;

/// How the daemon goes to hosts, by its own settings.
#[derive(Debug, Clone)]
pub struct ChannelOptions {
    /// The binary that is put on hosts: our own.
    pub executor: PathBuf,
    /// A configuration for `ssh` in the place of the user's and the system's.
    pub ssh_config: Option<PathBuf>,
    /// The private key that is shown to hosts; else those that `ssh` finds by itself.
    pub ssh_key: Option<PathBuf>,
    /// The known hosts, in the place of the user's and the system's.
    pub known_hosts: Option<PathBuf>,
    /// How many hosts are talked to at once.
    pub concurrency: usize,
    /// The longest request, in bytes, where a connection itself does not take less.
    pub request_bytes: usize,
}

impl Default for ChannelOptions {
    fn default() -> Self {
        Self {
            executor: "/proc/self/exe".into(),
            ssh_config: None,
            ssh_key: None,
            known_hosts: None,
            concurrency: 16,
            request_bytes: usize::MAX,
        }
    }
}

/// Shared by all environments of a daemon; a copy is the same.
#[derive(Clone)]
pub struct Channels(Arc<Shared>);

impl Default for Channels {
    fn default() -> Self {
        Self::new(ChannelOptions::default())
    }
}

struct Shared {
    options: ChannelOptions,
    turns: Semaphore,
    executor: OnceCell<Executor>,
    folder: Mutex<Option<Arc<TempDir>>>,
    lines: Mutex<BTreeMap<Login, Arc<Line>>>,
}

/// The binary that is put on hosts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Executor {
    pub(super) sha256: Digest,
}

/// What is known of one login.
#[derive(Default)]
pub(super) struct Line {
    /// A connection was there, and may be still.
    pub(super) connected: AtomicBool,
    /// Held by whoever puts the executor there.
    pub(super) installing: tokio::sync::Mutex<()>,
}

impl Channels {
    /// Opens nothing yet.
    pub fn new(options: ChannelOptions) -> Self {
        let turns = Semaphore::new(options.concurrency.max(1));
        Self(Arc::new(Shared { options, turns, executor: OnceCell::new(), folder: Mutex::default(), lines: Mutex::default() }))
    }

    pub(super) fn options(&self) -> &ChannelOptions {
        &self.0.options
    }

    /// Waits until a host may be talked to.
    pub(super) async fn turn(&self) -> Result<SemaphorePermit<'_>, ProviderError> {
        // Nobody closes it.
        self.0.turns.acquire().await.map_err(|error| ProviderError::new("no host is talked to", Retry::Transient).source(error))
    }

    pub(super) fn line(&self, login: &Login) -> Arc<Line> {
        let mut lines = self.0.lines.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(lines.entry(login.clone()).or_default())
    }

    /// The binary, read once: what a process was started from stays what it is.
    pub(super) async fn executor(&self) -> Result<Executor, ProviderError> {
        let path = self.0.options.executor.clone();
        let read = || async move {
            let failed = |error: std::io::Error| {
                ProviderError::new("our own binary cannot be read, to be put on hosts", Retry::Transient).source(error)
            };
            let bytes = tokio::task::spawn_blocking(move || std::fs::read(path).map(|bytes| Digest::of(&bytes))).await;
            bytes.map_err(std::io::Error::other).and_then(|digest| digest).map(|sha256| Executor { sha256 }).map_err(failed)
        };
        self.0.executor.get_or_try_init(read).await.copied()
    }

    /// The folder of the sockets of connections: nobody else can look into it, and its path is short, as those of sockets
    /// have to be.
    pub(super) fn folder(&self) -> Result<Arc<TempDir>, ProviderError> {
        let mut folder = self.0.folder.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(folder) = folder.as_ref().filter(|folder| folder.path().is_dir()) {
            return Ok(Arc::clone(folder));
        }
        let made = tempfile::Builder::new().prefix("trunkline-ssh-").permissions(Permissions::from_mode(0o700)).tempdir();
        let made = made.map(Arc::new).map_err(|error| {
            ProviderError::new("there can be no folder for the connections to hosts", Retry::Transient)
                .hint(format!("make room in {}, or name another folder in TMPDIR", std::env::temp_dir().display()))
                .source(error)
        })?;
        *folder = Some(Arc::clone(&made));
        Ok(made)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let folder = self.folder.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        let lines = std::mem::take(self.lines.get_mut().unwrap_or_else(PoisonError::into_inner));
        if let Some(folder) = folder {
            // A connection that stays would keep a session on the host for as long as it is kept open.
            let ending: Vec<_> = lines.keys().filter_map(|login| login.hang_up(folder.path())).collect();
            ending.into_iter().for_each(|mut ending| _ = ending.wait());
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn no_more_hosts_are_talked_to_at_once_than_was_said() {
        let channels = Channels::new(ChannelOptions { concurrency: 2, ..ChannelOptions::default() });
        let copy = channels.clone();
        let (first, _second) = (channels.turn().now_or_never().unwrap(), copy.turn().now_or_never().unwrap());
        assert!(copy.turn().now_or_never().is_none());
        drop(first);
        assert!(copy.turn().now_or_never().is_some());
    }

    #[test]
    fn the_folder_of_connections_is_ours_alone_and_goes_with_them() {
        let channels = Channels::default();
        let path = channels.folder().unwrap().path().to_owned();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        drop(channels);
        assert!(!path.exists());
    }
}
