//! No process of ours outlives the edge.
//!
//! Goes in: nothing. Comes out: a process group for the runtime's processes that dies with the edge, however the edge
//! dies: its leader is a shell that reads from a pipe which only the edge holds open, and ends the group at its end.
//!
//! **Invariant:** a process is ended here only if it was started by an edge on this data folder: by its group, or by a
//! process id together with the time it was started.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread::sleep;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::super::EdgeError;

/// The group's leader and the record of what was started.
pub(in crate::edge) struct Guard {
    leader: Mutex<Child>,
    record: PathBuf,
}

impl Guard {
    /// Ends what an edge that was killed has left, then starts the leader. `record` is a file in the data folder.
    pub(in crate::edge) fn start(record: &Path) -> Result<Self, EdgeError> {
        end_leftovers(record);
        let _ = fs::remove_file(record);
        Ok(Self { leader: Mutex::new(lead()?), record: record.to_owned() })
    }

    /// The group to start a process in. A leader that someone ended is replaced.
    pub(in crate::edge) fn group(&self) -> Result<i32, EdgeError> {
        let mut leader = self.leader.lock().unwrap_or_else(PoisonError::into_inner);
        if !matches!(leader.try_wait(), Ok(None)) {
            *leader = lead()?;
        }
        Ok(i32::try_from(leader.id()).unwrap_or_default())
    }

    /// Remembers a process, for the case that even the leader is killed.
    pub(in crate::edge) fn remember(&self, pid: u32) {
        let Some(started) = start_time(pid) else { return };
        let line = format!("{pid} {started}\n");
        let written =
            OpenOptions::new().create(true).append(true).open(&self.record).and_then(|mut f| f.write_all(line.as_bytes()));
        if let Err(error) = written {
            tracing::warn!(path = %self.record.display(), %error, "A runtime process could not be recorded.");
        }
    }
}

impl Guard {
    /// Ends the group.
    pub(in crate::edge) fn end(&self) {
        let mut leader = self.leader.lock().unwrap_or_else(PoisonError::into_inner);
        // The pipe's end is the leader's sign to end the group; it ends itself with it.
        drop(leader.stdin.take());
        let _ = leader.wait();
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.end();
    }
}

fn lead() -> Result<Child, EdgeError> {
    use std::os::unix::process::CommandExt as _;
    let shell = Path::new("/bin/sh");
    let mut command = Command::new(shell);
    command.args(["-c", "trap '' HUP INT TERM; read -r _; kill -KILL 0"]).env_clear().process_group(0);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().map_err(|source| EdgeError::Spawn { program: shell.to_owned(), source })
}

/// Ends the recorded processes that still run, and waits until they are gone: two of them must not hold one store.
fn end_leftovers(record: &Path) {
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
    use std::os::unix::process::CommandExt as _;

    #[test]
    fn the_group_ends_with_the_guard() {
        let folder = tempfile::tempdir().unwrap();
        let guard = Guard::start(&folder.path().join("processes")).unwrap();
        let mut child = Command::new("sleep").arg("60").process_group(guard.group().unwrap()).spawn().unwrap();
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
        let _guard = Guard::start(&record).unwrap();
        assert!(!ours.wait().unwrap().success());
        assert!(other.try_wait().unwrap().is_none());
        other.kill().unwrap();
        other.wait().unwrap();
    }
}
