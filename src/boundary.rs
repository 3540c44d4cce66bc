//! The named boundaries of an apply, at which the crash tests kill the process.
//!
//! Goes in: nothing. Comes out: nothing; with the feature `failpoints`, the end of the process.
//!
//! With the feature, every boundary that is reached adds its name as a line to the file that `TRUNKLINE_BOUNDARIES`
//! names: a trace, and the counter of each. Where `TRUNKLINE_KILL_AT` is `name#n` as well, the process kills itself
//! (SIGKILL) when the boundary `name` is reached for the n-th time, from 1.
//!
//! **Invariant:** without the feature there is nothing here that runs. Nothing is decided by a boundary.

/// Every boundary, in the order in which an apply reaches them.
pub const ALL: [&str; 33] = [
    "before_settled",
    "after_settled",
    "before_generation",
    "before_intent",
    "after_intent",
    "after_listed",
    "after_listed_delete",
    "after_worker",
    "after_version",
    "after_deployment",
    "after_tags",
    "after_crons",
    "after_route_delete",
    "after_route",
    "after_subdomain",
    "after_worker_delete",
    "before_host_intent",
    "after_host_intent",
    "after_candidate",
    "after_rename",
    "after_unlink",
    "before_host_record",
    "after_host_record",
    "after_effect",
    "after_outcome",
    "before_end",
    "after_end",
    "after_note",
    "after_applied_ref",
    "after_push",
    "after_published",
    "after_proposal",
    "before_conclusion",
];

/// Those between an effect on a target and its record in the journal.
pub const UNRECORDED: [&str; 15] = [
    "after_listed",
    "after_listed_delete",
    "after_worker",
    "after_version",
    "after_deployment",
    "after_tags",
    "after_crons",
    "after_route_delete",
    "after_route",
    "after_worker_delete",
    "after_rename",
    "after_unlink",
    "before_host_record",
    "after_host_record",
    "after_effect",
];

/// Says that the boundary `name` is reached.
#[cfg(feature = "failpoints")]
pub fn reach(name: &'static str) {
    use std::io::Write as _;

    let Some(path) = std::env::var_os("TRUNKLINE_BOUNDARIES") else { return };
    let file = std::fs::File::options().create(true).append(true).open(&path);
    if file.and_then(|mut file| file.write_all(format!("{name}\n").as_bytes())).is_err() {
        return;
    }
    let Ok(order) = std::env::var("TRUNKLINE_KILL_AT") else { return };
    let Some((wanted, times)) = order.split_once('#') else { return };
    let reached = || std::fs::read_to_string(&path).unwrap_or_default().lines().filter(|line| *line == name).count();
    // At least: two tasks may have come here at once.
    if wanted == name && times.parse().is_ok_and(|times| reached() >= times) {
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
