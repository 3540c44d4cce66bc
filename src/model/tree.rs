//! A commit's tree, as the rooms that read definitions see it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// What an entry of a tree is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryMode {
    /// A regular file.
    File,
    /// A file with the executable bit.
    Executable,
    /// A folder.
    Folder,
    /// A symbolic link: never followed.
    Symlink,
    /// A submodule: never followed.
    Submodule,
}

/// One entry of a tree: what it is and the id of its content.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Entry {
    /// What it is.
    pub mode: EntryMode,
    /// The Git object id, 40 hex digits; of a folder, the id of its tree.
    pub id: String,
}

/// Why a tree cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// A file is larger than the bound.
    #[error("`{path}` has {size} bytes; the limit is {limit}")]
    TooLarge {
        /// The file.
        path: String,
        /// Its size in bytes.
        size: u64,
        /// The bound in bytes.
        limit: u64,
    },
    /// A path leads over a symbolic link or a submodule, or is not a file.
    #[error("`{path}` is {what}, which is never followed")]
    Refused {
        /// The path.
        path: String,
        /// What it is: `a symbolic link`, `a submodule`, `a folder`.
        what: &'static str,
    },
    /// A folder or the tree has more entries, or is deeper, than the bound.
    #[error("`{path}` has more than {limit} entries")]
    TooMany {
        /// The folder.
        path: String,
        /// The bound.
        limit: usize,
    },
    /// An entry's name cannot be a path on any host: `.git`, `..`, control characters, not UTF-8, a duplicate.
    #[error("the tree holds an entry named {name}, which is refused")]
    Name {
        /// The name, escaped.
        name: String,
    },
    /// The object database cannot be read.
    #[error("the object database cannot be read at `{path}`")]
    Database {
        /// The path that was looked up.
        path: String,
        /// The database's own error.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// A tree that can be looked into. Paths are from the root, with `/`, never absolute, without `.` or `..`; the
/// root is the empty path.
///
/// Implementations: a commit of the daemon's own database, a folder (`check` and `plan --worktree` only), and an
/// in-memory one for tests.
pub trait Tree {
    /// What stands at `path`; `None` where nothing does.
    ///
    /// # Errors
    /// [`TreeError`]
    fn entry(&self, path: &str) -> Result<Option<Entry>, TreeError>;

    /// The names and entries of the folder `path`, sorted by name; `None` where it is no folder.
    ///
    /// # Errors
    /// [`TreeError`]
    fn list(&self, path: &str) -> Result<Option<Vec<(String, Entry)>>, TreeError>;

    /// The bytes of the file at `path`; `None` where nothing stands.
    ///
    /// # Errors
    /// [`TreeError::Refused`] for what is not a regular file, [`TreeError::TooLarge`] over `limit` bytes.
    fn read(&self, path: &str, limit: u64) -> Result<Option<Arc<[u8]>>, TreeError>;
}
