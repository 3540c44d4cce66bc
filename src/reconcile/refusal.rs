//! Why nothing was rolled back.

use crate::model::{EnvironmentId, Revision};

/// Why nothing was rolled back.
#[derive(Debug, thiserror::Error)]
pub enum RollbackError {
    /// The environment was never applied.
    #[error("{0} has no recorded generation")]
    NoRecord(EnvironmentId),
    /// Nothing that was applied before what runs is recorded.
    #[error("nothing was applied in {0} before what runs")]
    NoPrevious(EnvironmentId),
    /// No recorded generation is of this revision.
    #[error("no applied generation of {environment} is of revision `{wanted}`")]
    NoSuchRevision {
        /// Where.
        environment: EnvironmentId,
        /// What was asked for.
        wanted: String,
    },
    /// More than one recorded revision begins with these digits.
    #[error("`{0}` is the beginning of more than one recorded revision")]
    Ambiguous(String),
    /// The revision is what runs.
    #[error("{revision} is what runs in {environment} already")]
    Current {
        /// Where.
        environment: EnvironmentId,
        /// The revision.
        revision: String,
    },
    /// The bundle was pruned, and Git cannot make up for it.
    #[error("the bundle of {revision} is no longer kept, and its definitions cannot be read from Git again: {reason}")]
    Gone {
        /// The revision.
        revision: Revision,
        /// Why Git cannot make up for it.
        reason: String,
    },
    /// The pass went no further.
    #[error("the rollback was not carried out: {0}")]
    Stopped(String),
    /// The store cannot be read or written.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
}

impl RollbackError {
    /// What the reader can do now.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoSuchRevision { environment, .. } => {
                Some(format!("`trunkline history {environment}` lists the recorded revisions; give at least four digits of one"))
            }
            Self::Ambiguous(_) => Some("give more digits; `trunkline history` lists the recorded revisions".to_owned()),
            Self::NoPrevious(environment) => Some(format!(
                "`trunkline history {environment}` lists what was; a first revision is taken back by a commit, or ended by `retire = true`"
            )),
            Self::Gone { .. } => Some(format!(
                "the newest {} bundles of an environment are kept; roll back to a newer revision, or merge a commit that restores the files",
                crate::store::KEPT
            )),
            Self::NoRecord(_) => Some("`trunkline status` lists the environments".to_owned()),
            Self::Current { .. } | Self::Stopped(_) | Self::Store(_) => None,
        }
    }
}
