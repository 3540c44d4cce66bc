//! When to look: poll, watch, schedule, request.
//!
//! Goes in: [`Options`] and a token that stops everything. Comes out: one [`Wake`] for each burst, by [`Triggers::next`].
//!
//! **Invariant:** a wake only says "look": it carries nothing of the event, so that one that is lost is only a delay and
//! fifty are one.

use std::path::PathBuf;
use std::time::Duration;

mod queue;
mod schedule;
mod watch;

pub use queue::{Triggers, Waker, start};
pub use schedule::{Schedule, ScheduleError};

/// Why to look. Ordered: of several at once, the greatest is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Wake {
    /// The poll interval went by.
    Poll,
    /// A schedule fired.
    Schedule,
    /// The watched repository changed.
    Changed,
    /// Somebody asked: a person, a webhook.
    Request,
    /// The daemon is to stop; told for ever after.
    Stop,
}

/// What wakes.
#[derive(Debug, Clone)]
pub struct Options {
    /// How often to look without any other reason; varied by a tenth either way, so that many daemons do not call one
    /// Git host in step. Counted from the last wake of any sort. `None` for never.
    pub poll: Option<Duration>,
    /// A repository on this machine, bare or not, whose refs are watched.
    pub watch: Option<PathBuf>,
    /// Times, in UTC.
    pub schedules: Vec<Schedule>,
    /// A burst of events has ended when none came for so long; a burst longer than ten times as long is cut.
    pub quiet: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { poll: Some(Duration::from_secs(60)), watch: None, schedules: Vec::new(), quiet: Duration::from_millis(50) }
    }
}

/// Why nothing can wake.
#[derive(Debug, thiserror::Error)]
pub enum TriggerError {
    /// The folder is no repository, or may not be read.
    #[error("`{0}` cannot be watched: it is no git repository that this user can read")]
    NoRepository(PathBuf),
    /// The system does not let us watch.
    #[error("`{path}` cannot be watched")]
    Watch {
        /// The folder.
        path: PathBuf,
        /// What the system said; the limits on inotify are among the reasons.
        #[source]
        source: notify::Error,
    },
}
