//! The stand-in, by clients that we did not write: Cloudflare's SDK for Python, and wrangler. Then its own knobs.

#[path = "stand_in/clients.rs"]
pub(crate) mod clients;
#[path = "stand_in/knobs.rs"]
mod knobs;
