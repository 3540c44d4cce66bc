//! The edge with the real runtime and the real wrangler.

#[path = "edge/assets.rs"]
mod assets;
#[path = "edge/bench.rs"]
pub(crate) mod bench;
#[path = "edge/d1.rs"]
mod d1;
#[path = "edge/deploy.rs"]
mod deploy;
#[path = "edge/features.rs"]
mod features;
#[path = "edge/links.rs"]
mod links;
#[path = "edge/objects.rs"]
mod objects;
#[path = "edge/others.rs"]
mod others;
#[path = "edge/queues.rs"]
mod queues;
#[path = "edge/r2.rs"]
mod r2;
#[path = "edge/release.rs"]
mod release;
#[path = "edge/restart.rs"]
mod restart;
#[path = "edge/swap.rs"]
mod swap;
#[path = "edge/wrangler.rs"]
mod wrangler;
