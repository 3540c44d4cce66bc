//! Why the source could not do what was asked, when to try again, and what a person can do.
//!
//! **Invariant:** no secret stands in any variant: credentials reach `git` through a program of the operator's, and a
//! [`Remote`](super::Remote) has no place for a password.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::model::{Retry, TreeError};

/// Why the source could not do what was asked. Whatever it says, the head that was accepted before still stands.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// There is no `git` command, or it cannot be executed.
    #[error("the `git` command cannot be started")]
    NoGit(#[source] io::Error),
    /// The daemon's own database cannot be made or read.
    #[error("the database `{path}` cannot be used")]
    Database {
        /// The database.
        path: PathBuf,
        /// What the system or libgit2 said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Another process has the database open.
    #[error("the database `{0}` is in use by another process")]
    Busy(PathBuf),
    /// The remote does not answer, or refuses to be read.
    #[error("the remote {remote} cannot be read: {detail}")]
    Unreachable {
        /// The remote.
        remote: String,
        /// What git said, escaped and bounded.
        detail: String,
    },
    /// The remote is a repository of another user on this machine, whose configuration would run as ours.
    #[error("the remote {0} belongs to another user of this machine")]
    ForeignOwner(String),
    /// The remote answers and has the branch, but its objects could not be taken over.
    #[error("what the remote {remote} sent was refused: {detail}")]
    Refused {
        /// The remote.
        remote: String,
        /// What git said, escaped and bounded.
        detail: String,
    },
    /// The remote has no commit at all.
    #[error("the remote {0} is empty")]
    Empty(String),
    /// The remote has commits, but not on this branch.
    #[error("the remote {remote} has no branch `{branch}`")]
    NoBranch {
        /// The remote.
        remote: String,
        /// The branch that is followed.
        branch: String,
    },
    /// The remote names its objects with SHA-256.
    #[error("the remote {0} is a SHA-256 repository, which is not supported")]
    ObjectFormat(String),
    /// The branch no longer holds the commit that was accepted last: it was force-pushed, or the repository replaced.
    #[error("the history of `{branch}` was rewritten: {to:.12} does not descend from {from:.12}")]
    Rewritten {
        /// The branch that is followed.
        branch: String,
        /// The head that was accepted last and still stands, 40 hex digits.
        from: String,
        /// The head that the remote has now, 40 hex digits.
        to: String,
    },
    /// A git process ran longer than its bound and was ended.
    #[error("`git {action}` took longer than {} seconds and was ended", limit.as_secs())]
    Timeout {
        /// The subcommand.
        action: String,
        /// The bound.
        limit: Duration,
    },
    /// More came than the bound.
    #[error("{what} of {from} exceeds the limit of {limit} bytes")]
    TooLarge {
        /// What was too large: `the pack`, `the list of refs`.
        what: &'static str,
        /// Where it came from.
        from: String,
        /// The bound in bytes.
        limit: u64,
    },
    /// The text names no commit of the database.
    #[error("`{0}` names no commit that has been fetched")]
    UnknownRevision(String),
    /// The abbreviated object id fits more than one object.
    #[error("`{0}` fits more than one object")]
    Ambiguous(String),
    /// The commit cannot become the head: the remote's branch does not hold it.
    #[error("{commit} is not on the branch `{branch}` of the remote")]
    NotOnBranch {
        /// The commit that was to be accepted.
        commit: String,
        /// The branch that is followed.
        branch: String,
    },
    /// A proposal may never be written to the branch that is followed.
    #[error("`{0}` is the branch that is followed; a proposal needs one of its own")]
    FollowedBranch(String),
    /// The text is no branch name.
    #[error(transparent)]
    Branch(#[from] super::BranchError),
    /// The commits do not differ in the paths that were to be reverted.
    #[error("{base:.7} is already like {good:.7} in what was to be reverted")]
    NothingToRevert {
        /// The commit to revert from.
        base: String,
        /// The commit to go back to.
        good: String,
    },
    /// A commit's tree cannot be read.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// An object or a ref of the database cannot be read or written.
    #[error("{action} in the database")]
    Object {
        /// What was being done.
        action: String,
        /// What libgit2 said.
        #[source]
        source: git2::Error,
    },
}

impl SourceError {
    /// When it makes sense to try again.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Unreachable { .. } | Self::Refused { .. } | Self::Timeout { .. } | Self::Busy(_) => Retry::Transient,
            // A missing branch may be a remote that is being moved or restored: looking again costs one fetch.
            Self::Empty(_) | Self::NoBranch { .. } => Retry::Transient,
            Self::Database { .. } | Self::Object { .. } => Retry::Transient,
            Self::NoGit(_)
            | Self::ForeignOwner(_)
            | Self::ObjectFormat(_)
            | Self::Rewritten { .. }
            | Self::TooLarge { .. }
            | Self::UnknownRevision(_)
            | Self::Ambiguous(_)
            | Self::NotOnBranch { .. }
            | Self::FollowedBranch(_)
            | Self::Branch(_)
            | Self::NothingToRevert { .. }
            | Self::Tree(_) => Retry::Stalled,
        }
    }

    /// What the reader can do now.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoGit(_) => "install git 2.39 or newer and make sure that it is in PATH".to_owned(),
            Self::Busy(_) => "another daemon runs on this database; stop it, or give each its own data folder".to_owned(),
            Self::Unreachable { remote, .. } => {
                format!("try `git ls-remote {remote}` as the daemon's user; https asks the askpass program, ssh must know the host key")
            }
            Self::ForeignOwner(remote) => {
                format!("run the daemon as the owner of {remote}, or reach it over ssh: its hooks and configuration run as whoever opens it")
            }
            Self::Refused { .. } => "run `git fsck --full` on the remote; a shallow or damaged repository cannot be followed".to_owned(),
            Self::Empty(_) => "push a first commit; until then nothing is applied and nothing is deleted".to_owned(),
            Self::NoBranch { branch, .. } => {
                format!("push `{branch}`, or set the branch in the daemon's settings; what is applied stays as it is")
            }
            Self::ObjectFormat(_) => "make the repository with `git init --object-format=sha1`".to_owned(),
            Self::Rewritten { branch, from, to } => format!(
                "look at `git log {from:.12}..{to:.12}`; accept the new history with `trunkline resume <environment>`, or push a descendant of {from:.12} to `{branch}`"
            ),
            Self::Timeout { .. } => "look at the network and at the size of the repository, or raise the time limit".to_owned(),
            Self::TooLarge { .. } => "take large files out of the repository, or raise the limit in the daemon's settings".to_owned(),
            Self::UnknownRevision(_) => "give the object id of a commit, or `HEAD~1`; `trunkline history` lists what was applied".to_owned(),
            Self::Ambiguous(_) => "give more digits of the object id".to_owned(),
            Self::NotOnBranch { .. } => "accept the commit that the branch has now, or one before it".to_owned(),
            Self::Database { .. } => "name another data folder with `--data`, or make this one writable; what is in the database may be \
                 deleted while the daemon is stopped, it is fetched again"
                .to_owned(),
            Self::Object { .. } => {
                "see whether the disk is full or read-only; the database may be deleted while the daemon is stopped, it is fetched again"
                    .to_owned()
            }
            Self::FollowedBranch(_) | Self::Branch(_) | Self::NothingToRevert { .. } | Self::Tree(_) => return None,
        };
        Some(hint)
    }

    /// What libgit2 said while doing `action`.
    pub(super) fn object(action: impl Into<String>) -> impl FnOnce(git2::Error) -> Self {
        let action = action.into();
        move |source| Self::Object { action, source }
    }

    /// What was said while making or opening the database at `path`.
    pub(super) fn database<E: Into<Box<dyn std::error::Error + Send + Sync>>>(
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(E) -> Self {
        let path = path.into();
        move |source| Self::Database { path, source: source.into() }
    }
}
