//! May this plan run: Rego rules over desired state and plan, a budget on deletions, acknowledgements by name.
//!
//! Goes in: a [`Plan`](crate::plan::Plan), the desired state behind it, the rules that judge it, the time, and what
//! people acknowledged. Comes out: a [`Verdict`] with an [`ApprovedPlan`], or a refusal that names every reason.
//!
//! Which rules judge is the policy ratchet's matter ([`ratchet()`]): a commit never relaxes the rules that judge it.
//! The shape of what a rule sees stands in `policies/README.md`.
//!
//! **Invariant:** the only maker of [`ApprovedPlan`]. Pure: no I/O, and no clock that a rule could read; the evaluator's
//! own stopwatch can only refuse. Whatever goes wrong while judging is a denial, never a pass.

mod acknowledgement;
mod approve;
mod budget;
mod input;
mod judge;
mod ratchet;
mod rules;
mod token;
mod trial;

pub use acknowledgement::{Acknowledgement, ParseAcknowledgementError, acknowledged_deletes, acknowledgements};
pub use approve::{ApprovedPlan, Message, Refusal, Request, RunKind, Verdict, evaluate};
pub use budget::Budget;
pub use ratchet::{Ratchet, RuleFiles, Rules, RulesFrom, ratchet};
pub use rules::RuleSet;
pub use trial::{Trial, TrialOutcome, run_tests};
