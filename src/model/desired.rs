//! Desired state: all definitions of one environment, resolved, with the bytes that they refer to.
//!
//! A [`Bundle`] is everything that an apply needs besides the identity: it is recorded with each generation, so that
//! a rollback works while the remote is away. Secrets are in it as the repository holds them, encrypted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::address::{Address, EnvironmentId, InstanceKey};
use super::digest::{Content, Digest};
use super::name::{ResourceName, TargetName};
use super::spec::Spec;
use super::target::{ApiToken, Target};

/// Bytes by their digest.
pub type Contents = BTreeMap<Digest, Arc<[u8]>>;

/// Desired state with the bytes that it refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// What is desired.
    pub desired: DesiredState,
    /// Every module, source and rendered template that `desired` names by digest.
    pub contents: Contents,
}

/// What is desired of one environment. Serializable; contains no secret value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesiredState {
    /// Whose state this is.
    pub environment: EnvironmentId,
    /// For people.
    pub description: Option<String>,
    /// The environment ends: everything that it owns is to be deleted.
    pub retire: bool,
    /// When and how it is reconciled.
    pub sync: Sync,
    /// The secret under whose value the marks of secrets are made.
    pub digest_key: Option<ResourceName>,
    /// Where instances live.
    pub targets: BTreeMap<TargetName, Target>,
    /// The instances.
    pub resources: BTreeMap<InstanceKey, Desired>,
    /// The encrypted values.
    pub secrets: BTreeMap<ResourceName, SealedSecret>,
    /// The Rego files of the repository's policy folder at this revision, by path.
    pub policies: BTreeMap<String, Content>,
}

impl DesiredState {
    /// The secrets that any resource or target of this environment uses, the digest key among them.
    pub fn used_secrets(&self) -> BTreeSet<ResourceName> {
        let of_resources = self.resources.values().flat_map(|d| d.spec.secrets());
        let of_targets = self.targets.values().filter_map(|t| t.kind.api_token().and_then(ApiToken::secret).cloned());
        of_resources.chain(of_targets).chain(self.digest_key.clone()).collect()
    }
}

/// What to do about drift.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DriftMode {
    /// Put it right.
    #[default]
    Heal,
    /// Show it and leave it.
    Report,
}

/// When and how an environment is reconciled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sync {
    /// How often the live world is looked at although no commit came, in seconds; at least 1.
    pub interval_seconds: u64,
    /// What to do about drift.
    pub drift: DriftMode,
    /// Owned instances that left the definitions are deleted.
    pub prune: bool,
    /// How many hosts are changed at a time; all of them where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<Batch>,
}

/// How many hosts are changed at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Batch {
    /// So many; at least 1.
    Hosts(u32),
    /// So many percent of the environment's hosts, from 1 to 100, rounded down, and never none.
    Percent(u32),
}

impl Batch {
    /// So many of `hosts` at a time; never 0.
    pub fn size(self, hosts: usize) -> usize {
        let size = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        match self {
            Self::Hosts(number) => size(number).max(1),
            Self::Percent(percent) => (hosts.saturating_mul(size(percent)) / 100).max(1),
        }
    }
}

impl Default for Sync {
    fn default() -> Self {
        Self { interval_seconds: 300, drift: DriftMode::Heal, prune: true, batch: None }
    }
}

/// A value as the repository holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedSecret {
    /// The age file, ASCII-armored.
    pub age: String,
}

/// Where a resource is defined, for `why` and for errors: never part of a digest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Origin {
    /// The file that defines it.
    pub path: String,
    /// The line of its table, from 1.
    pub line: usize,
    /// Field (as in its properties, dotted) to file and line, where a field stands elsewhere than the table:
    /// a base, a source file.
    pub fields: BTreeMap<String, (String, usize)>,
}

/// One desired instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Desired {
    /// What it is to be like.
    pub spec: Spec,
    /// What must be there before it: instances on the same or another target.
    pub depends_on: BTreeSet<InstanceKey>,
    /// Its former address, where the definition says `moved`.
    pub moved_from: Option<Address>,
    /// Take over a thing of this name that is there and not ours.
    pub adopt: bool,
    /// The definition does not name the thing at the target, and its claim was made from its key and environment. An
    /// instance that we own keeps the claim that it has: the remote name never follows a move.
    #[serde(default)]
    pub claim_is_default: bool,
    /// The fields, dotted as in its properties, that are left as they are once it is there: whoever changes one changes
    /// nothing of ours. When it is made they are what the definition says.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub ignore: BTreeSet<String>,
    /// Where it is defined.
    pub origin: Origin,
}
