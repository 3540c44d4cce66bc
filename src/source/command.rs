//! The `git` command, for what needs the network, within bounds.
//!
//! Goes in: a subcommand and its arguments. Comes out: exit status and bounded output.
//!
//! **Invariant:** no shell, no inherited environment beyond a short list, no configuration but ours, no hook of the database,
//! no prompt, no secret among the arguments. The process and all that it started are gone when a call returns.

use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use command_fds::{CommandFdExt, FdMapping};
use rustix::process::{Pid, Resource, Rlimit, Signal, WaitId, WaitIdOptions};

use super::{Limits, Options, SourceError, database};

/// What of our own environment a git process gets: to find programs, the operator's ssh agent, proxies and certificates.
const INHERITED: [&str; 11] = [
    "PATH",
    "SSH_AUTH_SOCK",
    "HTTPS_PROXY",
    "https_proxy",
    "ALL_PROXY",
    "all_proxy",
    "NO_PROXY",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "GIT_SSL_CAINFO",
];

/// Settings that hold against every configuration file. Sources: git-config(1), THREATS of systems of this kind.
const SETTINGS: [&str; 28] = [
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.askPass=",
    "core.attributesFile=/dev/null",
    "core.alternateRefsCommand=",
    "core.bigFileThreshold=16m",
    "core.fsync=all",
    "core.logAllRefUpdates=false",
    "credential.helper=",
    "credential.useHttpPath=true",
    "http.followRedirects=false",
    "http.lowSpeedLimit=1000",
    "http.lowSpeedTime=60",
    "protocol.allow=never",
    "protocol.version=2",
    "transfer.bundleURI=false",
    "transfer.fsckObjects=true",
    "fetch.fsckObjects=true",
    "fetch.unpackLimit=1",
    "fetch.recurseSubmodules=false",
    "fetch.writeCommitGraph=false",
    "push.gpgSign=false",
    "push.followTags=false",
    "push.recurseSubmodules=no",
    "gc.auto=0",
    "maintenance.auto=false",
    "pack.threads=1",
    // Nobody here reads it, and it is one more file to sync.
    "pack.writeReverseIndex=false",
];

const SSH: [&str; 5] = ["ssh", "-oBatchMode=yes", "-oConnectTimeout=20", "-oServerAliveInterval=15", "-oServerAliveCountMax=4"];

/// More than this of what git prints is more than anyone reads.
const OUTPUT_LIMIT: usize = 4 << 20;

/// How a git process ended.
pub(super) struct Finished {
    /// Its exit status is 0.
    pub(super) success: bool,
    /// What it printed, bounded.
    pub(super) stdout: String,
    stderr: String,
}

impl Finished {
    /// The last lines that git wrote for people, on one line, without anything that a terminal would obey.
    pub(super) fn detail(&self) -> String {
        // Warnings say nothing of why it failed; one of them is about `core.fsyncObjectFiles`, which libgit2 needs.
        let told = |line: &&str| !line.is_empty() && !line.starts_with("warning: ");
        let lines: Vec<&str> = self.stderr.lines().map(str::trim).filter(told).collect();
        let last = &lines[lines.len().saturating_sub(4)..];
        let text: String = last.join("; ").chars().map(|c| if super::names::unprintable(c) { '\u{fffd}' } else { c }).collect();
        match text.char_indices().rev().nth(399) {
            Some((at, _)) => format!("…{}", &text[at..]),
            None if text.is_empty() => "git gave no reason".to_owned(),
            None => text,
        }
    }
}

/// What a git process is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// It writes a pack from outside into the database: the bound on packs holds.
    Receive,
    /// It sends, or works within the database.
    Other,
    /// It asks the remote and needs no repository.
    Ask,
}

/// `--git-dir=<database>`: also how a process on this database is recognized.
pub(super) fn git_dir(database: &Path) -> OsString {
    let mut argument = OsString::from("--git-dir=");
    argument.push(database);
    argument
}

/// Runs `git <arguments>` to its end.
///
/// # Errors
/// [`SourceError::NoGit`], [`SourceError::Timeout`], [`SourceError::TooLarge`]. An exit status other than 0 is no error here.
pub(super) fn git<S: AsRef<OsStr>>(options: &Options, purpose: Purpose, arguments: &[S]) -> Result<Finished, SourceError> {
    let action = arguments.first().map(|a| a.as_ref().to_string_lossy().into_owned()).unwrap_or_default();
    let mut command = prepare(options, purpose);
    command.args(arguments);
    // The lock goes to the child and what it starts; where a straggler of an earlier call has it, that one is known already.
    let lock = database::child_lock(&options.database).map_err(SourceError::database(&options.database))?;
    if let Some(lock) = &lock {
        let fd = lock.try_clone().map_err(SourceError::database(&options.database))?.into();
        command.fd_mappings(vec![FdMapping { parent_fd: fd, child_fd: 3 }]).expect("one mapping cannot collide");
    }
    let mut child = command.spawn().map_err(SourceError::NoGit)?;
    drop(command);
    if let Some(lock) = lock {
        database::name_child(&lock, child.id()).map_err(SourceError::database(&options.database))?;
    }
    bound(&child, &options.limits, purpose);
    let end = Run::new(&mut child, &action, options, purpose).to_end(&mut child);
    // In this order: while the leader is not waited for, its process group cannot belong to anybody else.
    end_group(&child);
    let status = child.wait().map_err(SourceError::NoGit)?;
    let (stdout, stderr) = end?;
    Ok(Finished { success: status.success(), stdout, stderr })
}

fn prepare(options: &Options, purpose: Purpose) -> Command {
    let mut command = Command::new("git");
    command.env_clear();
    for name in INHERITED {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    let protocol = options.remote.transport().protocol();
    let words: Vec<String> = match &options.ssh_command {
        Some(words) => words.clone(),
        None => SSH.iter().map(|word| (*word).to_owned()).collect(),
    };
    command
        .env("LC_ALL", "C")
        .env("HOME", "/nonexistent")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_ATTR_NOSYSTEM", "1")
        .env("GIT_ALLOW_PROTOCOL", protocol)
        .env("GIT_PROTOCOL_FROM_USER", "0")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_NO_LAZY_FETCH", "1")
        .env("GIT_NO_REPLACE_OBJECTS", "1")
        .env("GIT_OPTIONAL_LOCKS", "0")
        .env("GIT_SSH_COMMAND", words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "))
        .env("GIT_SSH_VARIANT", "ssh")
        .env("SSH_ASKPASS_REQUIRE", "never");
    if let Some(askpass) = &options.askpass {
        command.env("GIT_ASKPASS", askpass);
    }
    command.arg("--no-pager");
    if purpose == Purpose::Ask {
        command.env("GIT_CEILING_DIRECTORIES", "/").env("GIT_DIR", "/dev/null");
    } else {
        command.arg(git_dir(&options.database));
    }
    for setting in SETTINGS {
        command.arg("-c").arg(setting);
    }
    command.arg("-c").arg(format!("protocol.{protocol}.allow=always"));
    command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    command
}

/// One word for the shell that git may hand `GIT_SSH_COMMAND` to.
fn quoted(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'=' | b'/' | b'.' | b',' | b':' | b'@' | b'+');
    if !word.is_empty() && word.bytes().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

/// Sets the child's resource limits. It has them long before it starts what reads from the network; were it gone already,
/// there would be nothing to bound.
fn bound(child: &Child, limits: &Limits, purpose: Purpose) {
    let Some(pid) = pid(child) else { return };
    let set = |resource, value| {
        let _ = rustix::process::prlimit(Some(pid), resource, Rlimit { current: Some(value), maximum: Some(value) });
    };
    set(Resource::Core, 0);
    set(Resource::Data, limits.memory_bytes);
    if purpose == Purpose::Receive {
        set(Resource::Fsize, limits.pack_bytes);
    }
}

fn pid(child: &Child) -> Option<Pid> {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw)
}

fn end_group(child: &Child) {
    if let Some(pid) = pid(child) {
        let _ = rustix::process::kill_process_group(pid, Signal::KILL);
    }
}

type Output = Arc<Mutex<Vec<u8>>>;

enum Event {
    Ended,
    TooMuch,
}

struct Run<'a> {
    action: &'a str,
    options: &'a Options,
    purpose: Purpose,
    started: Instant,
    events: mpsc::Receiver<Event>,
    stdout: Output,
    stderr: Output,
}

impl<'a> Run<'a> {
    fn new(child: &mut Child, action: &'a str, options: &'a Options, purpose: Purpose) -> Self {
        let (sender, events) = mpsc::channel();
        let stdout = collect(child.stdout.take(), sender.clone());
        let stderr = collect(child.stderr.take(), sender);
        Self { action, options, purpose, started: Instant::now(), events, stdout, stderr }
    }

    /// Waits until the process has ended, or until a bound is reached.
    fn to_end(&self, child: &mut Child) -> Result<(String, String), SourceError> {
        let limits = &self.options.limits;
        let from = || self.options.remote.to_string();
        let too_large = || SourceError::TooLarge { what: "the pack", from: from(), limit: limits.pack_bytes };
        let mut open = 2;
        while !has_ended(child) {
            match self.events.recv_timeout(Duration::from_millis(5)) {
                Ok(Event::Ended) => open -= 1,
                Ok(Event::TooMuch) => {
                    return Err(SourceError::TooLarge { what: "the answer", from: from(), limit: OUTPUT_LIMIT as u64 });
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => std::thread::sleep(Duration::from_millis(1)),
            }
            if self.started.elapsed() > limits.wall_time {
                return Err(SourceError::Timeout { action: self.action.to_owned(), limit: limits.wall_time });
            }
            if self.purpose == Purpose::Receive && self.incoming() >= limits.pack_bytes {
                return Err(too_large());
            }
        }
        if self.purpose == Purpose::Receive && self.incoming() >= limits.pack_bytes {
            return Err(too_large());
        }
        // What the process wrote last may still be in the pipe; something it left in the background may hold the pipe open.
        let patience = Instant::now() + Duration::from_millis(500);
        while open > 0 {
            match self.events.recv_timeout(patience.saturating_duration_since(Instant::now())) {
                Ok(Event::Ended) => open -= 1,
                Ok(Event::TooMuch) | Err(_) => break,
            }
        }
        Ok((text(&self.stdout), text(&self.stderr)))
    }

    /// The bytes of the largest pack that is being received, or that was left when its bound was reached.
    fn incoming(&self) -> u64 {
        let Ok(entries) = std::fs::read_dir(self.options.database.join("objects/pack")) else { return 0 };
        let temporary = entries.flatten().filter(|entry| entry.file_name().as_encoded_bytes().starts_with(b"tmp_"));
        temporary.filter_map(|entry| Some(entry.metadata().ok()?.len())).max().unwrap_or(0)
    }
}

/// Whether the process has ended; it stays to be waited for.
fn has_ended(child: &Child) -> bool {
    let Some(pid) = pid(child) else { return true };
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    !matches!(rustix::process::waitid(WaitId::Pid(pid), options), Ok(None))
}

fn collect<R: Read + Send + 'static>(stream: Option<R>, events: mpsc::Sender<Event>) -> Output {
    let output = Output::default();
    let Some(mut stream) = stream else { return output };
    let sink = Arc::clone(&output);
    std::thread::spawn(move || {
        let mut buffer = [0; 16 * 1024];
        while let Ok(read @ 1..) = stream.read(&mut buffer) {
            let mut sink = sink.lock().unwrap_or_else(PoisonError::into_inner);
            if sink.len() + read > OUTPUT_LIMIT {
                let _ = events.send(Event::TooMuch);
                return;
            }
            sink.extend_from_slice(&buffer[..read]);
        }
        let _ = events.send(Event::Ended);
    });
    output
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_stays_one_word() {
        assert_eq!(quoted("-oBatchMode=yes"), "-oBatchMode=yes");
        for word in ["a b", "$(id)", "it's", "", "a;b"] {
            let shell = Command::new("sh").arg("-c").arg(format!("printf %s {}", quoted(word))).output().unwrap();
            assert_eq!(String::from_utf8(shell.stdout).unwrap(), word);
        }
    }

    #[test]
    fn the_arguments_and_the_environment_are_ours() {
        let options = Options::new("/db".into(), "https://git.example.com/x".parse().unwrap(), "main".parse().unwrap());
        let command = prepare(&options, Purpose::Receive);
        let environment: Vec<_> =
            command.get_envs().filter_map(|(name, value)| Some((name.to_str()?, value?.to_str()?))).collect();
        for expected in [("GIT_ALLOW_PROTOCOL", "https"), ("GIT_TERMINAL_PROMPT", "0"), ("GIT_CONFIG_GLOBAL", "/dev/null")] {
            assert!(environment.contains(&expected), "{expected:?}");
        }
        assert!(environment.iter().all(|(name, _)| {
            INHERITED.contains(name) || name.starts_with("GIT_") || ["LC_ALL", "HOME", "SSH_ASKPASS_REQUIRE"].contains(name)
        }));
        assert!(command.get_args().any(|argument| argument == "core.hooksPath=/dev/null"));
    }
}
