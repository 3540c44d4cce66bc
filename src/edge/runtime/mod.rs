//! The runtime: `workerd` processes, started, watched, swapped and ended.
//!
//! Goes in: states of the edge. Comes out: for each request the generation that answers it. A new configuration is started
//! beside the running one; when it listens, routing and process are switched in one step, and the old process ends when
//! its requests are done. Starting is also the validation: what does not start is refused and the running one stays.
//! Workers with Durable Objects run in a process of their own ([`track`]): a new configuration is tried with objects in
//! memory, then the old process ends, then the new one starts, and requests wait meanwhile.
//!
//! **Invariant:** a request that has entered a generation finishes in it; nothing ends a generation that is current.

use std::time::Duration;

pub(super) mod config;
pub(super) mod events;
mod generation;
mod guard;
mod locate;
pub(super) mod pool;
mod process;
pub(super) mod store;
mod supervisor;
pub(super) mod track;

pub use guard::{LEAD_VERB, lead_group};
pub use locate::find_workerd;

pub(super) use locate::version_of;
pub(super) use supervisor::{Entry, PrepareError, Settings, Supervisor};

/// A process that ran for this long starts a new series of attempts when it ends.
const HEALTHY: Duration = Duration::from_secs(60);

/// Whether deployed Workers run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Runtime {
    /// They run, on the program with this version.
    Running {
        /// Such as `workerd 2026-11-17`.
        version: String,
    },
    /// The process ended or does not start; it is tried again.
    Restarting {
        /// Such as `workerd 2026-11-17`.
        version: String,
        /// How often it was tried.
        attempts: u32,
        /// What it said last.
        said: String,
    },
    /// There is no program to run them; they are stored only.
    Missing {
        /// How to get one.
        hint: String,
    },
}

/// 50 ms, doubled with each attempt, at most 30 s.
fn backoff(attempts: u32) -> Duration {
    Duration::from_millis(50 << attempts.min(10)).min(Duration::from_secs(30))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_between_attempts_grows_to_half_a_minute() {
        assert_eq!(backoff(0), Duration::from_millis(50));
        assert_eq!(backoff(3), Duration::from_millis(400));
        assert_eq!(backoff(40), Duration::from_secs(30));
    }
}
