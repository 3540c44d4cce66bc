//! One `workerd` process.
//!
//! Goes in: a configuration as text. Comes out: a process that listens on all its sockets, or what it said instead.
//!
//! **Invariant:** the configuration, which holds secrets, goes through an anonymous memory file: it is on no disk, in no
//! environment and in no argument.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use command_fds::{CommandFdExt as _, FdMapping};
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use super::super::EdgeError;
use super::guard::Guard;

/// For how long a new process may take until it listens.
const START_LIMIT: Duration = Duration::from_secs(30);
/// How many lines of what a process says are kept.
const KEPT_LINES: usize = 40;

/// What to start.
pub(in crate::edge) struct Launch<'a> {
    pub(in crate::edge) workerd: &'a Path,
    pub(in crate::edge) guard: &'a Guard,
    /// The configuration, in Cap'n Proto's text form.
    pub(in crate::edge) config: &'a [u8],
    /// Where `embed "/…"` looks.
    pub(in crate::edge) import_path: &'a Path,
    /// The working folder; socket paths are relative to it.
    pub(in crate::edge) folder: &'a Path,
    /// How many sockets it has to listen on.
    pub(in crate::edge) sockets: usize,
    /// A listening socket that it takes over, by its name in the configuration.
    pub(in crate::edge) held: Option<(&'static str, OwnedFd)>,
}

/// A process that listens.
#[derive(Debug)]
pub(in crate::edge) struct Process {
    child: Child,
    said: Said,
    /// Kept open: the runtime writes to it while it runs.
    _control: BufReader<pipe::Receiver>,
}

/// The last lines of what a process said.
#[derive(Debug, Clone, Default)]
struct Said(Arc<Mutex<Vec<String>>>);

/// Why a process does not listen.
#[derive(Debug)]
pub(in crate::edge) enum StartError {
    /// It said so: the configuration or the code in it is at fault.
    Refused(String),
    /// The machine is at fault.
    Failed(EdgeError),
}

impl Process {
    /// Starts it and waits until it listens on every socket.
    pub(in crate::edge) async fn start(launch: Launch<'_>) -> Result<Self, StartError> {
        let failed = |source| StartError::Failed(EdgeError::Spawn { program: launch.workerd.to_owned(), source });
        let (control, control_end) = std::io::pipe().map_err(failed)?;
        let control = pipe::Receiver::from_owned_fd(control.into()).map_err(failed)?;
        let config = memory_file(launch.config).map_err(failed)?;
        let mut mappings =
            vec![FdMapping { parent_fd: config, child_fd: 3 }, FdMapping { parent_fd: control_end.into(), child_fd: 4 }];
        let mut command = std::process::Command::new(launch.workerd);
        command.args(["serve", "/proc/self/fd/3", "config", "--experimental", "--control-fd=4"]);
        command.arg(import_flag(launch.import_path));
        if let Some((name, socket)) = launch.held {
            mappings.push(FdMapping { parent_fd: socket, child_fd: 5 });
            command.arg("--socket-fd").arg(format!("{name}=5"));
        }
        command.env_clear().current_dir(launch.folder);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        std::os::unix::process::CommandExt::process_group(&mut command, launch.guard.group().map_err(StartError::Failed)?);
        command.fd_mappings(mappings).map_err(|error| failed(std::io::Error::other(error)))?;
        let mut command = Command::from(command);
        let mut child = command.kill_on_drop(true).spawn().map_err(failed)?;
        // The command holds our ends of the pipes; without this, the end of the process would not be seen.
        drop(command);
        if let Some(pid) = child.id() {
            launch.guard.remember(pid);
        }
        let said = Said::default();
        let mut listeners = Vec::new();
        if let Some(stream) = child.stdout.take() {
            listeners.push(tokio::spawn(said.clone().listen(stream)));
        }
        if let Some(stream) = child.stderr.take() {
            listeners.push(tokio::spawn(said.clone().listen(stream)));
        }
        let mut control = BufReader::new(control);
        match timeout(START_LIMIT, wait_listening(&mut control, launch.sockets)).await {
            Ok(Ok(true)) => Ok(Self { child, said, _control: control }),
            Ok(Ok(false)) => {
                let status = child.wait().await.map_err(failed)?;
                for listener in listeners {
                    let _ = listener.await;
                }
                Err(StartError::Refused(said.text().unwrap_or_else(|| format!("the runtime ended at once ({status})"))))
            }
            Ok(Err(source)) => Err(failed(source)),
            Err(_) => {
                let _ = child.kill().await;
                let seconds = START_LIMIT.as_secs();
                Err(StartError::Refused(said.text().unwrap_or_else(|| format!("no answer within {seconds} s of starting"))))
            }
        }
    }

    /// Waits until it ends by itself.
    pub(in crate::edge) async fn ended(&mut self) -> std::io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// The last thing that it said, if any.
    pub(in crate::edge) fn last_words(&self) -> Option<String> {
        self.said.text()
    }

    /// Asks it to finish what it does and end; ends it after `limit`.
    pub(in crate::edge) async fn stop(mut self, limit: Duration) {
        if let Some(pid) = self.child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?)) {
            let _: Result<(), _> = kill_process(pid, Signal::TERM);
        }
        tokio::select! {
            _ = self.child.wait() => {}
            () = sleep(limit) => { let _ = self.child.kill().await; }
        }
    }

    /// Its process id while it runs.
    pub(in crate::edge) fn pid(&self) -> Option<u32> {
        self.child.id()
    }
}

impl Said {
    async fn listen(self, stream: impl AsyncRead + Unpin) {
        let mut lines = BufReader::new(stream);
        let mut line = Vec::new();
        // A line is cut at 8 KiB: what a Worker prints must not fill our memory.
        while let Ok(more) = read_line(&mut lines, &mut line, 8192).await {
            if !line.is_empty() {
                let text = String::from_utf8_lossy(&line).into_owned();
                tracing::debug!(target: "trunkline::edge::workerd", "{text}");
                let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                kept.push(text);
                let surplus = kept.len().saturating_sub(KEPT_LINES);
                kept.drain(..surplus);
            }
            if !more {
                break;
            }
        }
    }

    fn text(&self) -> Option<String> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (!kept.is_empty()).then(|| kept.join("\n"))
    }
}

/// Reads up to the end of a line, dropping what is beyond `limit` bytes. Returns whether there may be more.
async fn read_line(
    lines: &mut (impl tokio::io::AsyncBufRead + Unpin),
    line: &mut Vec<u8>,
    limit: usize,
) -> std::io::Result<bool> {
    line.clear();
    loop {
        let buffer = lines.fill_buf().await?;
        if buffer.is_empty() {
            return Ok(false);
        }
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let part = &buffer[..end.unwrap_or(buffer.len())];
        line.extend_from_slice(&part[..part.len().min(limit - line.len())]);
        let used = part.len() + usize::from(end.is_some());
        lines.consume(used);
        if end.is_some() {
            return Ok(true);
        }
    }
}

/// Reads `listen` events; false where the process closed its end first.
async fn wait_listening(control: &mut BufReader<pipe::Receiver>, sockets: usize) -> std::io::Result<bool> {
    let mut left = sockets;
    let mut line = String::new();
    while left > 0 {
        line.clear();
        if control.read_line(&mut line).await? == 0 {
            return Ok(false);
        }
        let event: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
        if event["event"] == "listen" {
            left -= 1;
        }
    }
    Ok(true)
}

/// An anonymous file with this content, which can no longer be changed.
fn memory_file(bytes: &[u8]) -> std::io::Result<OwnedFd> {
    let fd = rustix::fs::memfd_create("workerd-config", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut file = File::from(fd);
    file.write_all(bytes)?;
    rustix::fs::fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
    Ok(file.into())
}

fn import_flag(path: &Path) -> PathBuf {
    let mut flag = std::ffi::OsString::from("-I");
    flag.push(path);
    flag.into()
}
