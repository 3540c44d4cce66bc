//! Desired minus observed: the ordered changes that make the live world what the definitions say.
//!
//! Goes in: desired state, observed state, inventory. Comes out: a [`Plan`], the [`Records`] that need no change, and
//! the plan as text and as JSON.
//!
//! A pass calls, in this order: [`inherit_claims`] once, so that everything after it speaks of the same names;
//! [`lookups`] for what to observe; [`recover()`] for operations whose outcome was never seen; [`plan()`] and
//! [`records()`]; and, in the executor just before each order, [`resolve_pending`].
//!
//! **Invariant:** pure and deterministic; the same input gives the same bytes. Nothing is ever created or deleted on
//! an unknown observation, and only what the inventory holds is deleted.

mod batches;
mod change;
mod claims;
mod compare;
mod content;
mod ignored;
mod inventory;
mod json;
mod order;
mod pending;
mod planner;
mod records;
mod recover;
mod render;
mod reversal;
mod rollout;
mod secrecy;
mod survey;
mod toml;
mod why;

pub use change::{Action, BlockReason, Blocked, Cause, Change, Orphan, Plan, Precondition, Why};
pub use claims::{Lookups, Sought, inherit_claims, lookups};
pub use compare::{Difference, differences};
pub use inventory::{Inventory, Owned};
pub use json::to_json;
pub use pending::{pending, resolve_pending};
pub use planner::{Input, fields, plan};
pub use records::{Records, records};
pub use recover::{Attempt, Resolution, recover};
pub use render::{RenderOptions, render_text};
pub use reversal::{Reversal, Reversibility, holds_data};
pub use rollout::{Rolling, Steering, Warning};
