//! The planner: each rule by data, the laws by random worlds, the text by whole pages.

mod histories;
mod ignored;
mod laws;
mod ownership;
mod rollouts;
mod rules;
mod sketch;
mod text;
mod world;
