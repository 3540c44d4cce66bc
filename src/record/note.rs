//! The line that each generation writes under `refs/notes/trunkline`, so that `git log --notes=trunkline` is an audit
//! and a lost store can be rebuilt.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::generation::{Generation, GenerationState, RunKind, Tally};
use crate::model::{Digest, EnvironmentId};

/// One JSON line: what ran where and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// When the generation ended; first, so that lines sort by time.
    pub at: DateTime<Utc>,
    /// Where.
    pub environment: EnvironmentId,
    /// The generation.
    pub generation: u64,
    /// Apply or rollback.
    pub kind: RunKind,
    /// How it ended.
    pub state: GenerationState,
    /// How many changes of each sort.
    pub changes: Tally,
    /// Digest of the plan.
    pub plan: Digest,
    /// Digest of the bundle.
    pub bundle: Digest,
}

impl Note {
    /// The line for a generation that ended; `None` while it runs.
    pub fn of(generation: &Generation) -> Option<Self> {
        Some(Self {
            at: generation.finished_at?,
            environment: generation.environment.clone(),
            generation: generation.number,
            kind: generation.kind,
            state: generation.state,
            changes: generation.tally,
            plan: generation.plan,
            bundle: generation.bundle,
        })
    }
}
