//! Git: one remote, one branch, and the daemon's own bare database of them.
//!
//! Goes in: [`Options`]. Comes out: revisions, trees of commits, and what was recorded; notes, refs and proposals go
//! back to the remote. All calls block; a [`Source`] is `Send` and not `Sync`, so it has one owner inside `spawn_blocking`.
//!
//! Refs of the database:
//!
//! | ref | what |
//! |---|---|
//! | `refs/heads/<branch>` | the head that was accepted last: what is applied from; `HEAD` points at it |
//! | `refs/remote/head`, `refs/remote/notes/*` | what the remote had at the last fetch; `refs/remote/applied/*` what was pushed to it |
//! | `refs/notes/trunkline` | one JSON line per environment and generation, on the commit that was applied |
//! | `refs/trunkline/applied/<tenant>/<environment>` | the commit that an environment runs; the tenant is always there, so that no name is a folder of another |
//! | `refs/proposals/<branch>` | commits that were proposed, for people to merge |
//!
//! The network is left to the `git` command, hardened; objects are read and written in process.
//!
//! **Invariant:** no checkout exists: no hook, filter, symbolic link or submodule is ever followed. The accepted head moves
//! only to a descendant, or where an operator says so; whatever fails, it stays. SHA-1 repositories only.

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use git2::Repository;

mod branch;
mod command;
mod database;
mod error;
mod fetch;
mod folder;
mod history;
mod names;
mod notes;
mod object;
mod push;
mod remote;
mod revert;
mod tree;

pub use branch::{Branch, BranchError};
pub use error::SourceError;
pub use fetch::Fetched;
pub use folder::Folder;
pub use history::CommitInfo;
pub use push::Pushed;
pub use remote::{Remote, RemoteError, Transport};
pub use revert::Proposal;
pub use tree::GitTree;

/// Where the configuration is, and within which bounds it is taken over.
#[derive(Debug, Clone)]
pub struct Options {
    /// The daemon's own bare repository; made where it is missing. Nobody else writes to it.
    pub database: PathBuf,
    /// The configuration repository.
    pub remote: Remote,
    /// The branch that is followed.
    pub branch: Branch,
    /// Bounds on everything that is read.
    pub limits: Limits,
    /// Whether notes and applied refs are pushed to the remote.
    pub push_records: bool,
    /// Who commits notes and proposals.
    pub committer: Committer,
    /// A program that prints the user name and the password that git asks for: how https gets its token without it
    /// standing in an argument, a URL or the environment.
    pub askpass: Option<PathBuf>,
    /// The ssh program and its arguments. The default is `ssh -oBatchMode=yes` with timeouts: host keys must be known.
    pub ssh_command: Option<Vec<String>>,
    /// The commit that was accepted last, as somebody else remembers it (40 hex digits): where the database was lost, what
    /// does not descend from it is a rewritten history like any other.
    pub known: Option<String>,
}

impl Options {
    /// The defaults for everything but the three that have none.
    pub fn new(database: PathBuf, remote: Remote, branch: Branch) -> Self {
        Self {
            database,
            remote,
            branch,
            limits: Limits::default(),
            push_records: true,
            committer: Committer::default(),
            askpass: None,
            ssh_command: None,
            known: None,
        }
    }
}

/// Bounds on what is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// One pack of a fetch, in bytes.
    pub pack_bytes: u64,
    /// Writable memory of a git process, in bytes.
    pub memory_bytes: u64,
    /// How long a git process may run.
    pub wall_time: Duration,
    /// One file, in bytes.
    pub blob_bytes: u64,
    /// Entries of one folder, commits with notes, and paths that one commit changes.
    pub entries: usize,
    /// Names along one path.
    pub depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            pack_bytes: 1 << 30,
            memory_bytes: 1 << 30,
            wall_time: Duration::from_secs(300),
            blob_bytes: 64 << 20,
            entries: 100_000,
            depth: 64,
        }
    }
}

/// Who commits notes and proposals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committer {
    /// The name.
    pub name: String,
    /// The address.
    pub email: String,
}

impl Default for Committer {
    fn default() -> Self {
        Self { name: "Trunkline".to_owned(), email: "trunkline@localhost".to_owned() }
    }
}

/// The remote, as the daemon's own database knows it. Everything but [`fetch`](Self::fetch),
/// [`push_records`](Self::push_records), [`push_proposal`](Self::push_proposal) and [`propose_revert`](Self::propose_revert) works while the remote is away.
pub struct Source {
    options: Options,
    repository: Repository,
    trees: RefCell<tree::Cache>,
    /// The commit that was looked into last, and its tree.
    root: RefCell<Option<(String, git2::Oid)>>,
    reads: Cell<u64>,
    /// Held while notes are read, merged and written: handles take turns, so that no line is lost.
    notes: Arc<Mutex<()>>,
    owner: Arc<database::Owner>,
}

impl Source {
    /// Opens the database, or makes it. What a killed process left behind there (locks, half-written packs, a git process
    /// that still runs) is cleared away; its configuration is written anew.
    ///
    /// # Errors
    /// [`SourceError::Busy`] where another process has it open, [`SourceError::Database`] where it cannot be used.
    pub fn open(options: Options) -> Result<Self, SourceError> {
        let (repository, owner) = database::open(&options)?;
        let (notes, owner) = (Arc::default(), Arc::new(owner));
        Ok(Self { options, repository, trees: RefCell::default(), root: RefCell::default(), reads: Cell::new(0), notes, owner })
    }

    /// Another handle on the same database, for another thread: one for the network, say, so that what only reads never
    /// waits for it. At most one of them may call what needs the network at a time.
    ///
    /// # Errors
    /// [`SourceError::Database`] where the database cannot be opened again.
    pub fn another(&self) -> Result<Self, SourceError> {
        let repository = database::reopen(&self.options.database)?;
        let (options, notes, owner) = (self.options.clone(), self.notes.clone(), self.owner.clone());
        Ok(Self { options, repository, trees: RefCell::default(), root: RefCell::default(), reads: Cell::new(0), notes, owner })
    }

    /// What the source was opened with.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// How many objects were read from the database since it was opened; what the cache answers is not counted.
    pub fn objects_read(&self) -> u64 {
        self.reads.get()
    }

    fn signature(&self) -> Result<git2::Signature<'static>, SourceError> {
        let Committer { name, email } = &self.options.committer;
        git2::Signature::now(name, email).map_err(SourceError::object("cannot use the committer's name and address"))
    }
}
