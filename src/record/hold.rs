//! What a rollback left behind: the faults that may not come back by themselves.

use serde::{Deserialize, Serialize};

use crate::model::{Address, Digest, EnvironmentId, Inputs, Revision, TargetName};

/// One desired state of one resource that a bad generation introduced.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct QuarantineEntry {
    /// The resource.
    pub address: Address,
    /// The target that it may not be so on; `None` for any.
    #[serde(default)]
    pub target: Option<TargetName>,
    /// Digest of its desired properties; [`absent_digest`] where the bad generation had taken it away.
    pub desired: Digest,
}

/// What stands for "not desired at all" in a quarantine.
pub fn absent_digest() -> Digest {
    Digest::of(b"absent")
}

/// Everything that an abandoned generation introduced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantine {
    /// Whose.
    pub environment: EnvironmentId,
    /// The revision that was abandoned.
    pub abandoned: Revision,
    /// The generation that took it back.
    pub generation: u64,
    /// Who said so.
    pub owner: String,
    /// What may not come back.
    pub entries: Vec<QuarantineEntry>,
    /// Digest over all that the abandoned revision desired, its targets included: that may not come back either, whatever
    /// it is that differs. `None` where it is not known, or what was rolled back to has the same.
    #[serde(default)]
    pub whole: Option<Digest>,
    /// The revert that has still to be proposed to people.
    #[serde(default)]
    pub revert: Option<Revert>,
}

/// A revert that makes what is merged what runs after a rollback.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revert {
    /// The revision that runs again.
    pub good: Revision,
    /// What the environment read of the abandoned one: files that it did not read are not reverted.
    pub inputs: Option<Inputs>,
}
