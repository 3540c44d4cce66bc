//! The source against real repositories: what is fetched, what is refused, what is recorded, what is proposed.

mod fetching;
mod killed;
mod recording;
mod remote;
mod trees;
mod waking;
