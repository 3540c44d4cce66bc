//! Where an environment stands: what was last seen, what was concluded.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::model::{Digest, EnvironmentId, Inputs, InstanceKey, Revision};

/// Why an environment is not ready; a closed set, so that tools can match on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConditionReason {
    /// The revision runs, and nothing differs.
    Applied,
    /// A pass is under way.
    Applying,
    /// The source cannot be read, or its history was rewritten.
    Source,
    /// The definitions have faults.
    InvalidDefinition,
    /// The modules of a Worker cannot be built.
    BuildFailed,
    /// The environment left the repository without `retire = true`.
    DefinitionMissing,
    /// A secret cannot be opened.
    Secret,
    /// A target cannot be read or does not answer.
    Unreachable,
    /// A rule says no.
    Denied,
    /// A budget, an acknowledgement or a person holds it.
    Held,
    /// The desired state was taken back before and is still the same.
    Quarantined,
    /// A thing of that name is there and is not ours.
    NotOurs,
    /// Some change was not carried out.
    ApplyFailed,
    /// An outcome is unknown and settles.
    Settling,
    /// A new version of a Worker has not all requests yet.
    RollingOut,
    /// The live world differs, and the environment only reports drift.
    Drifted,
}

impl ConditionReason {
    /// The word in statuses, such as `invalid_definition`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Applying => "applying",
            Self::Source => "source",
            Self::InvalidDefinition => "invalid_definition",
            Self::BuildFailed => "build_failed",
            Self::DefinitionMissing => "definition_missing",
            Self::Secret => "secret",
            Self::Unreachable => "unreachable",
            Self::Denied => "denied",
            Self::Held => "held",
            Self::Quarantined => "quarantined",
            Self::NotOurs => "not_ours",
            Self::ApplyFailed => "apply_failed",
            Self::Settling => "settling",
            Self::RollingOut => "rolling_out",
            Self::Drifted => "drifted",
        }
    }
}

/// `Ready`, `Reconciling` or `Stalled`, with a reason and a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "condition")]
pub enum Condition {
    /// What is merged is what runs.
    Ready {
        /// Why.
        reason: ConditionReason,
        /// For people.
        message: String,
    },
    /// It is on its way, or waits for something that passes by itself.
    Reconciling {
        /// Why.
        reason: ConditionReason,
        /// For people.
        message: String,
    },
    /// A person or a commit has to do something.
    Stalled {
        /// Why.
        reason: ConditionReason,
        /// For people: what is wrong, where, and what to do now.
        message: String,
    },
}

impl Condition {
    /// The word for people.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Ready { .. } => "Ready",
            Self::Reconciling { .. } => "Reconciling",
            Self::Stalled { .. } => "Stalled",
        }
    }

    /// Why.
    pub fn reason(&self) -> ConditionReason {
        match self {
            Self::Ready { reason, .. } | Self::Reconciling { reason, .. } | Self::Stalled { reason, .. } => *reason,
        }
    }

    /// Whether there is nothing left for a pass to do until something changes: it is ready, or differs and is to be left
    /// so.
    pub fn is_settled(&self) -> bool {
        matches!(self, Self::Ready { .. }) || self.reason() == ConditionReason::Drifted
    }

    /// For people.
    pub fn message(&self) -> &str {
        match self {
            Self::Ready { message, .. } | Self::Reconciling { message, .. } | Self::Stalled { message, .. } => message,
        }
    }
}

/// What the store keeps of an environment besides its generations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvironmentRecord {
    /// Which one.
    pub environment: EnvironmentId,
    /// The newest revision that was looked at.
    pub seen: Option<Revision>,
    /// The newest revision whose desired state is what runs.
    pub applied: Option<Revision>,
    /// What the last complete pass read; `None` until one ended well, so that an unready environment is always
    /// looked at again.
    pub inputs: Option<Inputs>,
    /// Digest of the rules that the last complete pass was judged by.
    pub rules: Option<Digest>,
    /// The bundle that runs.
    pub bundle: Option<Digest>,
    /// The bundle whose rules are those of the policy ratchet: the last one that was applied and not rolled back to.
    pub rules_of: Option<Digest>,
    /// Where it stands.
    pub condition: Condition,
    /// When it came to stand there.
    pub since: DateTime<Utc>,
    /// When the live world was last observed in a complete pass.
    pub observed_at: Option<DateTime<Utc>>,
    /// The last instance that was read in full, whatever its fingerprint said, because it was its turn: what no list shows is
    /// read in rounds.
    #[serde(default)]
    pub read_to: Option<InstanceKey>,
    /// How often the live world is to be looked at, in seconds; from the last resolution.
    pub interval_seconds: u64,
    /// Passes that failed in a row: the delay before the next one grows with it.
    pub failures: u32,
    /// Records that Git does not have yet.
    pub unpublished: bool,
    /// Owned, not defined, and kept: with the reason.
    pub orphaned: Vec<String>,
    /// Warnings of definitions and policy in the last pass.
    pub warnings: Vec<String>,
}

impl EnvironmentRecord {
    /// An environment that was never looked at.
    pub fn new(environment: EnvironmentId, now: DateTime<Utc>) -> Self {
        let message = "not looked at yet".to_owned();
        Self {
            environment,
            seen: None,
            applied: None,
            inputs: None,
            rules: None,
            bundle: None,
            rules_of: None,
            condition: Condition::Reconciling { reason: ConditionReason::Applying, message },
            since: now,
            observed_at: None,
            read_to: None,
            interval_seconds: 300,
            failures: 0,
            unpublished: false,
            orphaned: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// The same under `condition`; `since` moves only when the word or the reason changes.
    #[must_use]
    pub fn conclude(mut self, condition: Condition, now: DateTime<Utc>) -> Self {
        if self.condition.word() != condition.word() || self.condition.reason() != condition.reason() {
            self.since = now;
        }
        self.condition = condition;
        self
    }
}

/// What is known of the repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceRecord {
    /// The remote, without any credentials.
    pub remote: String,
    /// The newest revision that was accepted.
    pub head: Option<Revision>,
    /// When that was found; finding the same again does not move it.
    pub at: DateTime<Utc>,
    /// What is wrong with it, and what to do; the environments are held at what runs.
    pub fault: Option<String>,
    /// Since when.
    pub fault_since: Option<DateTime<Utc>>,
}
