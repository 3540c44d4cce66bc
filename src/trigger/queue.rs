//! One place where everything that wakes comes together, and bursts become one.
//!
//! **Invariant:** what has happened is never lost between two calls of [`Triggers::next`], also when a call is dropped half-way:
//! everything that is known stands in [`Triggers`], nothing in the future.

use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

use chrono::{DateTime, Utc};
use notify::RecommendedWatcher;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::watch::watch;
use super::{Options, TriggerError, Wake};

/// Wall-clock time may jump: a schedule is looked at again at least this often.
const CLOCK_CHECK: Duration = Duration::from_secs(30);

/// Wakes on request; cheap to clone.
#[derive(Debug, Clone)]
pub struct Waker {
    events: mpsc::Sender<Wake>,
}

impl Waker {
    /// Asks for a look, soon. Never blocks; requests that come faster than they are seen are one.
    pub fn wake(&self) {
        self.tell(Wake::Request);
    }

    fn tell(&self, wake: Wake) {
        // Full: enough wakes are waiting already, and one says as much as many.
        let _ = self.events.try_send(wake);
    }
}

/// Everything that wakes, as one queue.
pub struct Triggers {
    options: Options,
    stop: CancellationToken,
    waker: Waker,
    events: mpsc::Receiver<Wake>,
    watcher: Option<RecommendedWatcher>,
    burst: Option<Burst>,
    poll: Option<Instant>,
    scheduled: Option<DateTime<Utc>>,
}

#[derive(Debug, Clone, Copy)]
struct Burst {
    wake: Wake,
    ends: Instant,
    at_latest: Instant,
}

/// Starts to watch. The first wake is what happens first: look once before waiting for it.
///
/// # Errors
/// [`TriggerError`] where the repository cannot be watched.
pub fn start(options: Options, stop: CancellationToken) -> Result<Triggers, TriggerError> {
    let (sender, events) = mpsc::channel(16);
    let waker = Waker { events: sender };
    let mut triggers = Triggers { options, stop, waker, events, watcher: None, burst: None, poll: None, scheduled: None };
    triggers.watch()?;
    triggers.set_clocks(Utc::now());
    Ok(triggers)
}

impl Triggers {
    /// A handle to ask for a look.
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// The next reason to look. What comes while the caller is at work is told by the next call, once.
    ///
    /// Cancel-safe: see the module's invariant.
    pub async fn next(&mut self) -> Wake {
        loop {
            let burst = self.burst;
            let poll = self.poll;
            let scheduled = self.scheduled;
            tokio::select! {
                biased;
                // Cancel-safe: a token stays cancelled.
                () = self.stop.cancelled() => return Wake::Stop,
                // Cancel-safe: only time goes by, and the deadline stands in `self`. Before the events, which could go on for ever.
                () = until(burst.map(|burst| burst.ends)) => {
                    return self.told(burst.map_or(Wake::Poll, |burst| burst.wake));
                }
                // Cancel-safe: `recv` gives an event or takes none; the burst is kept in `self` without waiting again.
                Some(wake) = self.events.recv() => self.collect(wake),
                // Cancel-safe, as is the one below: only time goes by.
                () = due(scheduled) => {
                    if scheduled.is_some_and(|at| at <= Utc::now()) {
                        return self.told(Wake::Schedule);
                    }
                }
                () = until(poll) => {
                    // The watched repository may have been moved and put back: a watch holds on to what it was.
                    if let Err(error) = self.watch() {
                        warn!(error = &error as &dyn std::error::Error, "Cannot watch the repository; polling goes on.");
                    }
                    return self.told(Wake::Poll);
                }
            }
        }
    }

    fn collect(&mut self, wake: Wake) {
        let now = Instant::now();
        let quiet = self.options.quiet;
        let burst = self.burst.get_or_insert(Burst { wake, ends: now, at_latest: now + quiet * 10 });
        burst.wake = burst.wake.max(wake);
        burst.ends = (now + quiet).min(burst.at_latest);
    }

    /// The caller is about to look: what has been collected is thereby done with, and the clocks start anew.
    fn told(&mut self, wake: Wake) -> Wake {
        while let Ok(wake) = self.events.try_recv() {
            self.collect(wake);
        }
        let wake = self.burst.take().map_or(wake, |burst| burst.wake.max(wake));
        self.set_clocks(Utc::now());
        wake
    }

    fn set_clocks(&mut self, now: DateTime<Utc>) {
        self.poll = self.options.poll.map(|interval| Instant::now() + varied(interval));
        self.scheduled = self.options.schedules.iter().filter_map(|schedule| schedule.next(now)).min();
    }

    /// Made here, before anything waits: no event between the start and the first wait is missed.
    fn watch(&mut self) -> Result<(), TriggerError> {
        self.watcher = None;
        if let Some(path) = &self.options.watch {
            let waker = self.waker.clone();
            self.watcher = Some(watch(path, move || waker.tell(Wake::Changed))?);
        }
        Ok(())
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Until `at`, or until it is time to look at the wall clock again.
async fn due(at: Option<DateTime<Utc>>) {
    match at {
        Some(at) => {
            let left = (at - Utc::now()).to_std().unwrap_or_default();
            tokio::time::sleep(left.min(CLOCK_CHECK)).await;
        }
        None => std::future::pending().await,
    }
}

/// `interval`, up to a tenth more or less.
fn varied(interval: Duration) -> Duration {
    // Each `RandomState` has keys of its own: chance enough for this.
    let chance = std::hash::RandomState::new().build_hasher().finish() % 2001;
    let tenths = u32::try_from(chance).unwrap_or(1000);
    interval * (9000 + tenths) / 10_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_varies_by_a_tenth() {
        let interval = Duration::from_secs(100);
        let all: Vec<Duration> = (0..500).map(|_| varied(interval)).collect();
        assert!(all.iter().all(|d| (90..=110).contains(&d.as_secs())));
        assert!(all.iter().any(|d| d.as_secs() < 97) && all.iter().any(|d| d.as_secs() > 103));
    }
}
