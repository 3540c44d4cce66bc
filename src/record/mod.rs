//! What the store keeps and everyone reads: generations, operations, holds, quarantine, rollouts, and the line in Git.
//!
//! Goes in: nothing. Comes out: plain data.
//!
//! **Invariant:** no I/O and no clock; times and ids come in as values. No secret can be in any of these types.

mod environment;
mod generation;
mod hold;
mod note;
mod operation;
mod rollout;

pub use environment::{Condition, ConditionReason, EnvironmentRecord, SourceRecord};
pub use generation::{Generation, GenerationState, RunKind, Tally};
pub use hold::{Quarantine, QuarantineEntry, Revert, absent_digest};
pub use note::Note;
pub use operation::{Operation, OperationState};
pub use rollout::{Pause, Promotion, RolloutOrders};
