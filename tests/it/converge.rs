//! For every kind: apply, then there is nothing to do; also after somebody else changed it. What is not ours survives
//! everything, and what we own is never lost sight of.

mod batches;
mod foreign;
mod host;
mod ignored;
mod kinds;
mod ownership;
mod platform;
mod report;
pub(crate) mod scene;
mod targets;
mod wrangler;
