//! The named boundaries of an apply, at which the crash tests kill the process.
//!
//! Goes in: the name of a boundary that is reached. Comes out: nothing, or the end of the process.
//!
//! **Invariant:** without the feature `failpoints` there is nothing here that runs.

/// Every boundary, in the order in which an apply reaches them.
pub const ALL: [&str; 9] = [
    "before_generation",
    "before_intent",
    "after_intent",
    "after_effect",
    "after_outcome",
    "before_end",
    "after_end",
    "after_note",
    "after_push",
];

/// Says that the boundary `name` is reached.
///
/// With the feature `failpoints` the process kills itself (SIGKILL) when `TRUNKLINE_KILL_AT` is `name#n` and this is the
/// n-th time, from 1, that the boundary is reached.
#[cfg(feature = "failpoints")]
pub fn reach(name: &'static str) {
    use std::collections::BTreeMap;
    use std::sync::Mutex;

    // The one static of the program, and only where it is built to be killed.
    static REACHED: Mutex<BTreeMap<&'static str, u64>> = Mutex::new(BTreeMap::new());
    let Ok(order) = std::env::var("TRUNKLINE_KILL_AT") else { return };
    let mut reached = REACHED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let count = reached.entry(name).or_default();
    *count += 1;
    if order == format!("{name}#{count}") {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        // The signal is on its way: nothing more may happen.
        loop {
            std::thread::park();
        }
    }
}

/// Says that the boundary `name` is reached.
#[cfg(not(feature = "failpoints"))]
pub fn reach(_name: &'static str) {}
