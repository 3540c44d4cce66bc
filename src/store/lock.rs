//! One writer: an exclusive lock on a file of the data folder, held for the life of the process. The kernel lets go of
//! it when the process dies, however it dies.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// The lock, until it is dropped.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Why the lock cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("another trunkline{} works on {path}", .pid.as_deref().map(|p| format!(" (process {p})")).unwrap_or_default())]
    Held {
        /// The data folder.
        path: PathBuf,
        /// Its process id, where it wrote one.
        pid: Option<String>,
    },
    /// Others than its owner may write to the data folder: they could put a store, a socket or a repository there.
    #[error("the data folder {path} has mode {mode:04o}: others than its owner can write to it")]
    Writable {
        /// The data folder.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The data folder or the file in it cannot be used.
    #[error("the data folder {path} cannot be used")]
    File {
        /// The data folder.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
}

impl LockError {
    /// What the reader can do now.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Held { .. } => Some("stop it, or let it do the work: `trunkline apply`, `rollback` and `resume` speak to a running daemon by themselves".into()),
            Self::Writable { path, .. } => {
                Some(format!("`chmod 700 {}` if it is only for this, or name another folder with `--data`", path.display()))
            }
            Self::File { .. } => Some("name another folder with `--data`, or make this one writable".into()),
        }
    }
}

impl Lock {
    /// Takes the lock of the data folder `data`, making the folder (mode 0700) where there is none.
    ///
    /// # Errors
    /// [`LockError`]
    pub fn take(data: &Path) -> Result<Self, LockError> {
        let error = |source| LockError::File { path: data.to_owned(), source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(data).map_err(error)?;
        let mode = fs::metadata(data).map_err(error)?.permissions().mode() & 0o7777;
        if mode & 0o022 != 0 {
            return Err(LockError::Writable { path: data.to_owned(), mode });
        }
        let path = data.join("lock");
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path).map_err(error)?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut pid = String::new();
            let pid = file.read_to_string(&mut pid).ok().map(|_| pid.trim().to_owned()).filter(|p| !p.is_empty());
            return Err(LockError::Held { path: data.to_owned(), pid });
        }
        file.set_len(0).map_err(error)?;
        writeln!(file, "{}", std::process::id()).map_err(error)?;
        Ok(Self { _file: file })
    }
}
