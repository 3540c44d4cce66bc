//! A generation: one apply or rollback of one environment, numbered forward only.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::model::{Digest, EnvironmentId, Revision, canonical_digest};
use crate::plan::{Action, Plan};

/// What sort of run made a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunKind {
    /// A commit was applied.
    Apply,
    /// An earlier revision was applied again because a person said so, or what drifted of it since.
    Rollback,
}

impl RunKind {
    /// The word for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Apply => "apply",
            Self::Rollback => "rollback",
        }
    }
}

/// How far a generation came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GenerationState {
    /// It is being applied, or the daemon died while it was.
    Applying,
    /// Every change was carried out and read back.
    Applied,
    /// Some change was not carried out; a later generation takes it up.
    Failed,
}

impl GenerationState {
    /// The word for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Applying => "applying",
            Self::Applied => "applied",
            Self::Failed => "failed",
        }
    }
}

/// How many changes of each sort.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Created.
    pub create: usize,
    /// Updated.
    pub update: usize,
    /// Deleted.
    pub delete: usize,
    /// Taken over.
    pub adopt: usize,
    /// Moved.
    #[serde(rename = "move")]
    pub moved: usize,
}

impl Tally {
    /// Counts the changes of a plan.
    pub fn of(plan: &Plan) -> Self {
        let mut tally = Self::default();
        for change in &plan.changes {
            match change.action {
                Action::Create => tally.create += 1,
                Action::Update => tally.update += 1,
                Action::Delete => tally.delete += 1,
                Action::Adopt => tally.adopt += 1,
                Action::Move => tally.moved += 1,
            }
        }
        tally
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { create, update, delete, adopt, moved } = self;
        write!(f, "{create} created, {update} updated, {delete} deleted")?;
        if *adopt > 0 {
            write!(f, ", {adopt} adopted")?;
        }
        if *moved > 0 {
            write!(f, ", {moved} moved")?;
        }
        Ok(())
    }
}

/// One generation of one environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generation {
    /// Whose generation.
    pub environment: EnvironmentId,
    /// From 1, forward only.
    pub number: u64,
    /// What was applied.
    pub revision: Revision,
    /// By what sort of run.
    pub kind: RunKind,
    /// The content-addressed bundle that was applied.
    pub bundle: Digest,
    /// Digest of the plan that was carried out.
    pub plan: Digest,
    /// How many changes of each sort the plan held.
    pub tally: Tally,
    /// How far it came.
    pub state: GenerationState,
    /// What went wrong, where it failed.
    pub message: Option<String>,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// The hash of the generation before it: the chain shows that none was taken out or changed.
    pub previous: Option<Digest>,
}

impl Generation {
    /// Ends it as failed, `now` that its process is known to have died. What it did stands in the journal.
    pub fn interrupt(&mut self, now: DateTime<Utc>) {
        self.state = GenerationState::Failed;
        self.finished_at = Some(now);
        self.message = Some("interrupted: its process ended before it did; what it left is taken up".to_owned());
    }

    /// The hash that the next generation names.
    pub fn hash(&self) -> Digest {
        canonical_digest(self)
    }
}
