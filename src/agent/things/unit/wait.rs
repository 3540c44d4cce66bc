//! Wait until units that were started stand: they run and go on running, or they do not.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::systemctl::{Shown, show};
use crate::agent::Fault;

/// How long one may take to come up before it is left to itself, still starting.
const PATIENCE: Duration = Duration::from_secs(90);
/// How long systemd may start one again and again before that is a failure.
const RETRIES: Duration = Duration::from_secs(20);
/// How long one must have run to be called running: what cannot even read its configuration ends before.
const STEADY: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(100);

/// By name: what people should know of one that stands, or why it does not.
pub(super) type Waited = BTreeMap<String, Result<Vec<String>, Fault>>;

/// Waits for all that were started at once: their names, each with the id of the run before.
pub(super) fn wait(started: &[(&str, &str)]) -> Result<Waited, Fault> {
    let start = Instant::now();
    let mut since: BTreeMap<&str, (String, Instant)> = BTreeMap::new();
    let mut left = started.to_vec();
    let mut waited = Waited::new();
    while !left.is_empty() {
        let shown = show(left.iter().map(|(name, _)| *name))?;
        let now = Instant::now();
        left.retain(|(name, former)| {
            let Some(shown) = shown.get(*name) else { return true };
            // It is still to begin: what is seen is the run before.
            if shown.get("InvocationID") == *former && now.duration_since(start) < RETRIES {
                return true;
            }
            let run = format!("{} {}", shown.get("InvocationID"), shown.get("NRestarts"));
            let began = match since.get(name) {
                Some((same, began)) if *same == run => *began,
                _ => now,
            };
            since.insert(name, (run, began));
            let judged = judge(name, shown, now.duration_since(began), now.duration_since(start));
            judged.map(|judged| waited.insert((*name).to_owned(), judged)).is_none()
        });
        if !left.is_empty() {
            std::thread::sleep(PAUSE);
        }
    }
    Ok(waited)
}

/// What is to be said of one that has been in the same run for `steady`, `waited` after all were started; nothing yet for one
/// that is to be waited for.
fn judge(name: &str, shown: &Shown, steady: Duration, waited: Duration) -> Option<Result<Vec<String>, Fault>> {
    let failed = || {
        let fault = Fault { cause: Some(shown.why()), ..Fault::new(format!("`{name}` did not come up")) };
        Some(Err(fault.hint(format!("`journalctl -u {name}` on the host says what it wrote"))))
    };
    // What is no process stands as soon as it is there.
    let lasts = name.ends_with(".service") && shown.get("ActiveState") != "inactive";
    match shown.state() {
        "running" if !lasts || steady >= STEADY => Some(Ok(Vec::new())),
        "failed" => failed(),
        // Something may still be in the queue of systemd.
        "stopped" | "failing" if waited >= RETRIES => failed(),
        "starting" | "stopping" if waited >= PATIENCE => {
            Some(Ok(vec![format!("`{name}` is still starting after {} seconds", PATIENCE.as_secs())]))
        }
        _ => None,
    }
}
