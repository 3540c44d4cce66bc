//! What is there, and how we know.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::address::{Address, InstanceKey};
use super::marker::Marker;
use super::value::Properties;

/// How the present state is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// It was read in full, at this time.
    DeepRead(DateTime<Utc>),
    /// A list showed the same fingerprint as after an earlier deep read or apply.
    Fingerprint,
}

/// A thing that is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Present {
    /// What it is like, in the same shape as the desired properties; may hold items that are not ours.
    pub properties: Properties,
    /// What the target calls it: `id` of a KV namespace; `version_id`, `etag` of a Worker.
    pub attributes: BTreeMap<String, String>,
    /// An opaque text that changes whenever the thing changes: the precondition of a change.
    pub fingerprint: String,
    /// Who owns it, by a mark at the target; `None` where there is no mark of ours.
    pub owner: Option<Address>,
    /// The operation that put the present state there, where it is ours.
    pub marker: Option<Marker>,
    /// How we know.
    pub evidence: Evidence,
}

/// One instance, observed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Observed {
    /// It is there.
    Present(Box<Present>),
    /// It is certainly not there.
    Absent,
    /// It could not be found out, with the reason. Nothing is ever created or deleted on it.
    Unknown(String),
}

impl Observed {
    /// What is there, if it is.
    pub fn present(&self) -> Option<&Present> {
        match self {
            Self::Present(present) => Some(present),
            Self::Absent | Self::Unknown(_) => None,
        }
    }
}

/// All that was asked for of an environment. An instance that is missing here counts as unknown.
pub type ObservedState = BTreeMap<InstanceKey, Observed>;
