//! What the measurements run on: repositories of a chosen size, running programs, figures.
//!
//! **Invariant:** nothing of the machine's own configuration takes part, and everything is in a folder that goes away.
#![allow(dead_code, reason = "each measurement uses a part of this")]

pub(crate) mod figures;
pub(crate) mod programs;
pub(crate) mod repository;
pub(crate) mod sized;

/// Whatever goes wrong ends a measurement.
pub(crate) type Outcome<T> = Result<T, Box<dyn std::error::Error>>;
