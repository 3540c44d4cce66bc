//! The planner: each rule by data, the laws by random worlds, the text by whole pages.

mod laws;
mod rules;
mod sketch;
mod text;
mod world;
