//! No process of ours outlives the edge.
//!
//! Goes in: the program that leads. Comes out: a process group for the runtime's processes that dies with the edge,
//! however the edge dies: its leader ([`lead_group`], in a process of its own) reads from a pipe which only the edge holds
//! open, and ends the group at its end. The kernel's own way, a signal at the parent's death, would not do: it comes at the
//! end of the thread that started the process, and is set only after the process was started.
//!
//! **Invariant:** a process is ended here only if it was started by an edge on this data folder: by its group, or by a
//! process id together with the time it was started.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread::sleep;
use std::time::Duration;

use rustix::process::{Pid, Signal, getpgrp, getpid, kill_current_process_group, kill_process};
use tokio::signal::unix::{SignalKind, signal};

use super::super::EdgeError;

/// The verb of the command line that is [`lead_group`].
pub const LEAD_VERB: &str = "edge-guard";

/// The group's leader and the record of what was started.
pub(in crate::edge) struct Guard {
    leader: Option<Leader>,
    record: PathBuf,
}

struct Leader {
    program: PathBuf,
    process: Mutex<Child>,
}

impl Guard {
    /// Ends what an edge that was killed has left, then starts the leader: `program`, with [`LEAD_VERB`]. `record` is a
    /// file in the data folder. Without a leader the record is all there is.
    pub(in crate::edge) fn start(program: Option<PathBuf>, record: &Path) -> Result<Self, EdgeError> {
        end_recorded(record);
        let _ = fs::remove_file(record);
        let leader = match program {
            Some(program) => Some(Leader { process: Mutex::new(lead(&program)?), program }),
            None => None,
        };
        Ok(Self { leader, record: record.to_owned() })
    }

    /// The group to start a process in; 0 is one of its own. A leader that someone ended is replaced.
    pub(in crate::edge) fn group(&self) -> Result<i32, EdgeError> {
        let Some(leader) = &self.leader else { return Ok(0) };
        let mut process = leader.process.lock().unwrap_or_else(PoisonError::into_inner);
        if !matches!(process.try_wait(), Ok(None)) {
            *process = lead(&leader.program)?;
        }
        Ok(i32::try_from(process.id()).unwrap_or_default())
    }

    /// Remembers a process, for the case that there is no leader or that even the leader is killed.
    pub(in crate::edge) fn remember(&self, pid: u32) {
        let Some(started) = start_time(pid) else { return };
        let line = format!("{pid} {started}\n");
        let written =
            OpenOptions::new().create(true).append(true).open(&self.record).and_then(|mut f| f.write_all(line.as_bytes()));
        if let Err(error) = written {
            tracing::warn!(path = %self.record.display(), %error, "A runtime process could not be recorded.");
        }
    }

    /// Ends the group, or else what is recorded.
    pub(in crate::edge) fn end(&self) {
        let Some(leader) = &self.leader else { return end_recorded(&self.record) };
        let mut process = leader.process.lock().unwrap_or_else(PoisonError::into_inner);
        // The pipe's end is the leader's sign to end the group; it ends itself with it.
        drop(process.stdin.take());
        let _ = process.wait();
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.end();
    }
}

/// Starts the leader, in a group of its own.
fn lead(program: &Path) -> Result<Child, EdgeError> {
    let mut command = Command::new(program);
    command.arg0("trunkline").arg(LEAD_VERB).env_clear().process_group(0);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().map_err(|source| EdgeError::Spawn { program: program.to_owned(), source })
}

/// What the leader of the runtime's process group does: waits for the end of its standard input, then ends its group,
/// and itself with it. It outlives the signals that ask a process to end. Called within a Tokio runtime.
///
/// # Errors
/// Where this process leads no group, and so would end others than it should; or the system's, from reading.
pub fn lead_group() -> io::Result<()> {
    if getpgrp() != getpid() {
        return Err(io::Error::other("this process leads no group of its own: only an edge starts it"));
    }
    for kind in [SignalKind::hangup(), SignalKind::interrupt(), SignalKind::terminate()] {
        // Once there is a handler, it stays.
        drop(signal(kind)?);
    }
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(kill_current_process_group(Signal::KILL)?)
}

/// Ends the recorded processes that still run, and waits until they are gone: two of them must not hold one store.
fn end_recorded(record: &Path) {
    let text = fs::read_to_string(record).unwrap_or_default();
    let recorded: Vec<(u32, &str)> =
        text.lines().filter_map(|line| line.split_once(' ')).filter_map(|(pid, at)| Some((pid.parse().ok()?, at))).collect();
    for _ in 0..500 {
        let left: Vec<u32> =
            recorded.iter().filter(|(pid, at)| start_time(*pid).as_deref() == Some(*at)).map(|(pid, _)| *pid).collect();
        if left.is_empty() {
            return;
        }
        for pid in left.into_iter().filter_map(|pid| Pid::from_raw(i32::try_from(pid).ok()?)) {
            let _: Result<(), _> = kill_process(pid, Signal::KILL);
        }
        sleep(Duration::from_millis(10));
    }
}

/// When a process was started, in clock ticks since boot (field 22 of `/proc/PID/stat`); `None` where there is none, or
/// only its remains.
fn start_time(pid: u32) -> Option<String> {
    let read: io::Result<String> = fs::read_to_string(format!("/proc/{pid}/stat"));
    let text = read.ok()?;
    // The second field is the program's name in parentheses and may hold anything.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    (state != "Z").then(|| fields.nth(18).map(str::to_owned))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_leader_what_was_recorded_ends_with_the_guard() {
        let folder = tempfile::tempdir().unwrap();
        let guard = Guard::start(None, &folder.path().join("processes")).unwrap();
        let mut child = Command::new("sleep").arg("60").process_group(guard.group().unwrap()).spawn().unwrap();
        guard.remember(child.id());
        drop(guard);
        assert!(!child.wait().unwrap().success());
    }

    #[test]
    fn leftovers_are_ended_and_a_reused_process_id_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let record = folder.path().join("processes");
        let mut ours = Command::new("sleep").arg("60").spawn().unwrap();
        let mut other = Command::new("sleep").arg("60").spawn().unwrap();
        let started = start_time(ours.id()).unwrap();
        fs::write(&record, format!("{} {started}\n{} 1\n", ours.id(), other.id())).unwrap();
        let _guard = Guard::start(None, &record).unwrap();
        assert!(!ours.wait().unwrap().success());
        assert!(other.try_wait().unwrap().is_none());
        other.kill().unwrap();
        other.wait().unwrap();
    }
}
