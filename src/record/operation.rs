//! The journal's row: one change of one instance, from its intent to its outcome.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::model::{Digest, EnvironmentId, InstanceKey, Properties, Revision};
use crate::plan::{Action, Precondition};

/// How far an operation came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperationState {
    /// The call may be under way, or the daemon died around it: the outcome is unknown until it is observed.
    Intent,
    /// The call ended without a definite answer: the outcome is unknown until it is observed.
    Unknown,
    /// It was carried out and read back.
    Done,
    /// It was certainly not carried out.
    Refused,
    /// The live thing was not what the plan saw; nothing was changed.
    Conflict,
    /// Its outcome was unknown; the effect was found afterwards.
    FoundDone,
    /// Its outcome was unknown; no effect was found after settling.
    NotSeen,
}

impl OperationState {
    /// The word for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Intent => "intent",
            Self::Unknown => "unknown",
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Conflict => "conflict",
            Self::FoundDone => "found done",
            Self::NotSeen => "not seen",
        }
    }

    /// Whether the outcome has still to be observed.
    pub fn is_unresolved(self) -> bool {
        matches!(self, Self::Intent | Self::Unknown)
    }
}

/// One change of one instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// A UUIDv7; written at the target.
    pub id: String,
    /// Whose operation.
    pub environment: EnvironmentId,
    /// The generation that it belongs to.
    pub generation: u64,
    /// What it is for.
    pub key: InstanceKey,
    /// What it does.
    pub action: Action,
    /// What the instance is called at the target.
    pub claim: String,
    /// For a move: the former instance, which leaves the inventory.
    pub from: Option<InstanceKey>,
    /// What is to be there, every value known.
    pub after: Option<Properties>,
    /// Digest of the desired properties.
    pub desired: Digest,
    /// What had to be so.
    pub precondition: Precondition,
    /// The revision that is applied.
    pub revision: Revision,
    /// What must stay there for as long as the instance does.
    pub depends_on: BTreeSet<InstanceKey>,
    /// How far it came.
    pub state: OperationState,
    /// When the intent was made durable.
    pub intent_at: DateTime<Utc>,
    /// Before this an unknown outcome may not be observed. Written anew when the outcome is known to be unknown.
    pub settle_until: DateTime<Utc>,
    /// What went wrong, without any secret.
    pub error: Option<String>,
}
