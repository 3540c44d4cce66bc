//! Desired minus observed: the ordered changes that make the live world what the definitions say.
//!
//! Goes in: desired state, observed state, inventory. Comes out: a [`Plan`].
//!
//! **Invariant:** pure and deterministic; the same input gives the same bytes. Nothing is ever created or deleted on
//! an unknown observation, and only what the inventory holds is deleted.

mod change;
mod inventory;

pub use change::{Action, BlockReason, Blocked, Cause, Change, Orphan, Plan, Precondition, Why, pending};
pub use inventory::{Inventory, Owned};
