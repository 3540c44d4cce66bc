//! The executor on a host that `ssh` reaches: the same binary, by the digest in its name.
//!
//! A request is one command on the host, over a connection that is kept from pass to pass. Where the executor is not there,
//! or is another, no greeting comes; then it is put there ([`install`]) and asked again.
//!
//! **Invariant:** a request that changes something is sent only after the executor greeted: before that it certainly has
//! not begun. After that, whatever goes wrong, it may have.

mod install;
mod login;
mod refusal;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio::time::timeout;

use super::{Channel, Channels, Lost, weigh};
use crate::agent::{Answer, EXECUTOR_VERB, HELLO, MAX_FRAME_BYTES, Request, Task, frame, is_hello};
use crate::model::{Digest, Retry, SshTarget};
use crate::provider::ProviderError;

pub(super) use login::Login;

/// For how long a connection may be made and an executor started.
const GREETING: Duration = Duration::from_secs(45);
/// For how long an executor may look. `ssh` itself notices within 15 seconds when the host is gone.
const OBSERVE: Duration = Duration::from_secs(300);
/// For how long an executor may change things: each validate command has a minute of its own.
const APPLY: Duration = Duration::from_secs(3600);
/// What was sent before a connection was given up may arrive for as long as the system sends it again.
const SETTLES: Duration = Duration::from_secs(120);
/// More than this of what `ssh` and commands print is more than anyone reads.
const MAX_WORDS: u64 = 8 * 1024;

/// The executor on one host.
pub(super) struct Ssh {
    target: SshTarget,
    root: Option<PathBuf>,
    /// What containers may ask for of all that gives them the host: words of a closed list.
    containers: BTreeSet<String>,
    login: Login,
    channels: Channels,
}

/// Why there is no answer.
enum Broken {
    /// `ssh` ended, or never came to an end: there is no connection.
    Connection(Lost),
    /// There is a connection, and at its end something other than our executor.
    NoExecutor(Stranger),
}

/// What spoke, or ended, in the place of an executor.
struct Stranger {
    status: Option<ExitStatus>,
    /// What came where a greeting was to come.
    first: Vec<u8>,
    stderr: String,
}

impl From<ProviderError> for Broken {
    fn from(error: ProviderError) -> Self {
        Self::Connection(Lost { error, begun: false })
    }
}

impl Channel for Ssh {
    fn ask(&self, request: Request) -> BoxFuture<'_, Result<Answer, Lost>> {
        Box::pin(async move {
            let lost = |error| Lost { error, begun: false };
            let _turn = self.channels.turn().await.map_err(lost)?;
            let executor = self.channels.executor().await.map_err(lost)?.sha256;
            let changes = matches!(request.task, Task::Apply { .. });
            weigh::fits(&self.target, &request, self.channels.options().request_bytes.min(MAX_FRAME_BYTES))?;
            let bytes = frame(&request).map_err(|error| {
                let message = format!("the request for {} cannot be sent", self.target);
                lost(ProviderError::new(message, Retry::Stalled).source(error))
            })?;
            drop(request);
            let mut installed = false;
            let mut again = self.channels.line(&self.login).connected.load(Ordering::Relaxed);
            loop {
                match self.exchange(executor, &bytes, changes).await {
                    Ok(answer) => return Ok(answer),
                    // The connection that was kept is dead, as after a restart of the host: a new one, once.
                    Err(Broken::Connection(Lost { begun: false, error })) if again && error.retry == Retry::Transient => {
                        again = false;
                    }
                    Err(Broken::Connection(lost)) => return Err(lost),
                    Err(Broken::NoExecutor(stranger)) if installed => return Err(lost(self.does_not_start(executor, &stranger))),
                    Err(Broken::NoExecutor(_)) => {
                        self.install(executor).await.map_err(lost)?;
                        installed = true;
                    }
                }
            }
        })
    }

    fn settle(&self) -> Duration {
        // Within one machine nothing lies between.
        let here = matches!(self.target.host.as_str(), "localhost" | "127.0.0.1" | "::1");
        if here { Duration::ZERO } else { SETTLES }
    }
}

impl Ssh {
    pub(super) fn new(target: SshTarget, (root, containers): (Option<PathBuf>, BTreeSet<String>), channels: Channels) -> Self {
        Self { login: Login(target.clone()), target, root, containers, channels }
    }

    /// Where the binaries are on the host. No tenant has this name: there is no dot in their grammar.
    fn folder(&self) -> String {
        format!("{}/.bin", self.target.state.display())
    }

    fn path(&self, executor: Digest) -> String {
        format!("{}/trunkline-{executor}", self.folder())
    }

    /// Our command on the host, ready to be started. As root, where the definition says so and it is to be.
    fn command(&self, argv: &[&str], elevated: bool) -> Result<Command, ProviderError> {
        let prefix: &[&str] = if elevated && self.target.elevate { &["sudo", "-n", "--"] } else { &[] };
        let mut command = self.login.command(&self.channels)?;
        command.arg(login::words(prefix.iter().chain(argv).copied()));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut command = Command::from(command);
        command.kill_on_drop(true);
        Ok(command)
    }

    /// One request, one answer, one command on the host.
    async fn exchange(&self, executor: Digest, request: &[u8], changes: bool) -> Result<Answer, Broken> {
        let path = self.path(executor);
        let state = self.target.state.display().to_string();
        let root = self.root.as_ref().map(|root| root.display().to_string());
        let mut argv = vec![path.as_str(), EXECUTOR_VERB, "--state", &state];
        argv.extend(root.iter().flat_map(|root| ["--root", root]));
        argv.extend(self.containers.iter().flat_map(|danger| ["--allow-containers", danger]));
        let mut child = self.command(&argv, true)?.spawn().map_err(no_ssh)?;
        let (Some(mut input), Some(mut output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(ProviderError::new("ssh has no input or output", Retry::Transient).into());
        };
        let words = words_of(child.stderr.take());
        let line = self.channels.line(&self.login);
        let mut greeting = Vec::with_capacity(HELLO.len());
        let greet = async {
            // A request that only looks is sent at once: there is nothing to lose when nobody is there to take it.
            if !changes {
                write(&mut input, request).await;
            }
            (&mut output).take(HELLO.len() as u64).read_to_end(&mut greeting).await
        };
        let greeted = timeout(GREETING, greet).await;
        let came = matches!(greeted, Ok(Ok(_))) && is_hello(&greeting);
        let failed = if came {
            line.connected.store(true, Ordering::Relaxed);
            let answer = async {
                if changes {
                    write(&mut input, request).await;
                }
                read(&mut output).await
            };
            match timeout(if changes { APPLY } else { OBSERVE }, answer).await {
                Ok(Ok(answer)) => {
                    drop(input);
                    // It ends by itself now; what it says as it ends says nothing of the answer.
                    let _ = timeout(Duration::from_secs(2), child.wait()).await;
                    return Ok(answer);
                }
                Ok(Err(error)) => Some(error),
                Err(_) => None,
            }
        } else {
            greeted.ok().map(|read| read.err().unwrap_or_else(|| std::io::ErrorKind::UnexpectedEof.into()))
        };
        drop(input);
        // Out of time, it is not waited for any longer.
        let patience = Duration::from_secs(if failed.is_some() { 5 } else { 0 });
        let status = timeout(patience, child.wait()).await.ok().and_then(Result::ok);
        let _ = child.start_kill();
        let stderr = timeout(Duration::from_secs(1), words).await.ok().and_then(Result::ok).unwrap_or_default();
        if !came && status.is_some_and(|status| status.code() != Some(255)) {
            return Err(Broken::NoExecutor(Stranger { status, first: greeting, stderr }));
        }
        if !came || status.and_then(|status| status.code()) == Some(255) {
            // Whoever else talks over this connection is as lost as we are.
            line.connected.store(false, Ordering::Relaxed);
            self.login.forget(&self.channels).await;
        }
        let error = self.lost(came, failed, &stderr);
        Err(Broken::Connection(Lost { error, begun: came && changes }))
    }

    /// `failed` is `None` where its time was up.
    fn lost(&self, greeted: bool, failed: Option<std::io::Error>, stderr: &str) -> ProviderError {
        let (message, hint) = match (greeted, &failed) {
            (false, Some(_)) => return refusal::explain(&self.target, stderr),
            (false, None) => (
                format!("{} does not answer within {} s", self.target, GREETING.as_secs()),
                "look whether the machine is well: it may be out of memory or processes",
            ),
            (true, None) => (
                format!("the executor on {} did not come to its end in time", self.target),
                "look what it waits for there: `ps` shows its commands",
            ),
            (true, Some(_)) => (
                format!("the connection to {} was lost while its executor was at work", self.target),
                "what it did is looked at before anything is done again",
            ),
        };
        let error = ProviderError::new(message, Retry::Transient).hint(hint);
        let words = refusal::tail(stderr);
        match failed {
            _ if !words.is_empty() => error.source(words),
            Some(failed) => error.source(failed),
            None => error,
        }
    }
}

fn no_ssh(error: std::io::Error) -> ProviderError {
    ProviderError::new("ssh cannot be started on the daemon's machine", Retry::Stalled)
        .hint("install the OpenSSH client (Debian: openssh-client)")
        .source(error)
}

async fn write(input: &mut tokio::process::ChildStdin, request: &[u8]) {
    // Where nobody takes it, the missing greeting or answer says why.
    if input.write_all(request).await.is_ok() {
        let _ = input.flush().await;
    }
}

async fn read(output: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Answer> {
    let mut length = [0; 4];
    output.read_exact(&mut length).await?;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > MAX_FRAME_BYTES {
        return Err(std::io::Error::other(format!("its answer has {length} bytes, more than {MAX_FRAME_BYTES}")));
    }
    let mut bytes = Vec::new();
    let read = output.take(length as u64).read_to_end(&mut bytes).await?;
    if read < length {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    serde_json::from_slice(&bytes)
        .map_err(|error| std::io::Error::other(format!("its answer cannot be understood (column {})", error.column())))
}

/// What is said on standard error: taken to its end, and its beginning kept.
fn words_of(stderr: Option<tokio::process::ChildStderr>) -> tokio::task::JoinHandle<String> {
    tokio::spawn(async move {
        let Some(mut stderr) = stderr else { return String::new() };
        let mut kept = Vec::new();
        let _ = (&mut stderr).take(MAX_WORDS).read_to_end(&mut kept).await;
        let _ = tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await;
        String::from_utf8_lossy(&kept).into_owned()
    })
}
