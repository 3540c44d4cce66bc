//! The edge with the real runtime and the real wrangler.

#[path = "edge/bench.rs"]
pub(crate) mod bench;
#[path = "edge/deploy.rs"]
mod deploy;
#[path = "edge/features.rs"]
mod features;
#[path = "edge/restart.rs"]
mod restart;
#[path = "edge/swap.rs"]
mod swap;
#[path = "edge/wrangler.rs"]
mod wrangler;
