//! The plan as plain data.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::batches::with_changes;
use super::reversal::Reversal;
use super::rollout::{Rolling, Warning};
use crate::model::{Address, Digest, EnvironmentId, InstanceKey, Properties, TargetName, canonical_digest};

/// What a change does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Deletes an instance that left the definitions.
    Delete,
    /// Makes an instance that is not there.
    Create,
    /// Changes an instance that we own.
    Update,
    /// Takes over a thing that is there and not ours, because the definition says `adopt = true`, and makes it what
    /// the definition says.
    Adopt,
    /// Gives an instance that we own a new address; `before` and `after` show what changes besides.
    Move,
}

impl Action {
    /// The word for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delete => "delete",
            Self::Create => "create",
            Self::Update => "update",
            Self::Adopt => "adopt",
            Self::Move => "move",
        }
    }
}

/// What must be so at the target when the change is carried out; else it is a conflict, and nothing is overwritten.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precondition {
    /// Nothing of that name is there.
    Absent,
    /// The thing has this fingerprint (see [`crate::model::Present`]).
    Fingerprint(String),
}

/// Why a change is there: for people, never part of the digest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Why {
    /// The field, dotted (`bindings.LOG_LEVEL.text`); empty for the instance as a whole.
    pub field: String,
    /// What explains it.
    pub cause: Cause,
}

/// What explains a change.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// A definition says so: file, line from 1, and the commit.
    Definition {
        /// The file.
        path: String,
        /// The line, from 1.
        line: usize,
        /// The commit's object id, or `worktree`.
        commit: String,
    },
    /// The live thing was changed by somebody else since we applied it.
    Drift,
    /// The instance is no longer defined.
    NoLongerDefined,
    /// The environment is being retired.
    Retired,
}

/// One change of one instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The instance; for a move, under its new address.
    pub key: InstanceKey,
    /// What is done.
    pub action: Action,
    /// What it is called at the target.
    pub claim: String,
    /// For a move: the former address.
    pub from: Option<Address>,
    /// What is there now, as far as it is ours; `None` where nothing is.
    pub before: Option<Properties>,
    /// What is to be there; `None` for a delete.
    pub after: Option<Properties>,
    /// Items on the thing that are neither desired nor were applied by us, by table (`bindings`, `crons`, `routes`):
    /// the executor keeps them.
    pub foreign: BTreeMap<String, BTreeSet<String>>,
    /// What must be so when it is carried out.
    pub precondition: Precondition,
    /// The instances whose changes that stand earlier in this plan must have been carried out before. Its own key is
    /// among them where it is the second half of a replacement.
    pub after_changes: BTreeSet<InstanceKey>,
    /// What must stay there for as long as this does; recorded in the inventory.
    pub depends_on: BTreeSet<InstanceKey>,
    /// Digest of the desired properties, values not known yet left symbolic: the same in every installation and before
    /// and after a merge. Of the properties before, for a delete.
    pub desired: Digest,
    /// Whether it can be taken back; follows from the rest.
    pub reversal: Reversal,
    /// Why, for people.
    pub why: Vec<Why>,
}

impl Change {
    /// Whether it only puts right what somebody else changed at the target: no commit explains any part of it.
    pub fn is_drift_only(&self) -> bool {
        matches!(self.action, Action::Create | Action::Update)
            && !self.why.is_empty()
            && self.why.iter().all(|why| why.cause == Cause::Drift)
    }
}

/// Something that is owned but no longer defined, and is not deleted now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orphan {
    /// The instance.
    pub key: InstanceKey,
    /// What it is called at the target.
    pub claim: String,
    /// Why it is kept, and what would delete it.
    pub reason: String,
}

/// An instance that cannot be planned for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blocked {
    /// The instance.
    pub key: InstanceKey,
    /// What stands in the way.
    pub reason: BlockReason,
}

/// What stands in the way of planning for an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "reason", content = "message")]
pub enum BlockReason {
    /// It could not be observed.
    Unknown(String),
    /// A thing of that name is there, and neither the inventory nor a mark says that it is ours.
    NotOurs(String),
    /// It needs another instance that is blocked.
    Dependency(InstanceKey),
}

/// The ordered set of changes of one environment. Changes stand in the order in which they may be carried out.
///
/// An instance has one change; or two where it is replaced, because what it is called at the target changes and the
/// target cannot rename it: the delete of the old thing, then the create of the new one. The old one goes first,
/// because the two may share a route, and because the inventory holds one thing for each instance: killed in between,
/// the next plan finds nothing there and creates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Whose plan it is.
    pub environment: EnvironmentId,
    /// What is to be done.
    pub changes: Vec<Change>,
    /// What is owned, not defined, and kept.
    pub orphaned: Vec<Orphan>,
    /// What could not be planned for.
    pub blocked: Vec<Blocked>,
    /// Versions that have not all requests, also when the changes have been carried out.
    #[serde(default)]
    pub rolling: Vec<Rolling>,
    /// The hosts with changes, batch by batch: one is begun when all changes of the one before are carried out. Empty where
    /// all hosts are changed at once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub batches: Vec<Vec<TargetName>>,
    /// What people should know of the changes.
    #[serde(default)]
    pub warnings: Vec<Warning>,
}

impl Plan {
    /// The plan without the changes that only put drift right, for an environment that reports drift and leaves it.
    ///
    /// A change is left out as a whole or not at all: a Worker is uploaded in one piece, so that one whose definition
    /// changed is healed with it. One that a remaining change waits for stays, since that could not be carried out
    /// without it.
    #[must_use]
    pub fn without_drift(&self) -> Self {
        let mut needed: BTreeSet<&InstanceKey> = BTreeSet::new();
        let mut kept = Vec::new();
        for change in self.changes.iter().rev() {
            if !change.is_drift_only() || needed.contains(&change.key) {
                needed.extend(&change.after_changes);
                kept.push(change.clone());
            }
        }
        kept.reverse();
        Self { batches: with_changes(self.batches.iter().cloned(), &kept), changes: kept, ..self.clone() }
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Digest over addresses, actions, before, after and preconditions of all changes, and neither `why` nor commit
    /// nor time: the plan reviewed on a pull request and the plan after its merge have the same one.
    pub fn digest(&self) -> Digest {
        #[derive(Serialize)]
        struct Counted<'a> {
            key: &'a InstanceKey,
            action: Action,
            from: &'a Option<Address>,
            before: &'a Option<Properties>,
            after: &'a Option<Properties>,
            precondition: &'a Precondition,
        }
        let counted: Vec<_> = self
            .changes
            .iter()
            .map(|change| {
                // Taken apart without `..`: a new field does not compile until somebody decides whether it counts.
                let Change {
                    key,
                    action,
                    claim: _,
                    from,
                    before,
                    after,
                    foreign: _,
                    precondition,
                    after_changes: _,
                    depends_on: _,
                    desired: _,
                    reversal: _,
                    why: _,
                } = change;
                Counted { key, action: *action, from, before, after, precondition }
            })
            .collect();
        canonical_digest(&counted)
    }
}
