//! The control socket: verbs that change something speak to a running daemon through `control.sock` in its data folder.
//!
//! One JSON line a connection each way. The folder has mode 0700: whoever can reach the socket could write the store.
//!
//! **Invariant:** nothing is carried out here; a call is handed to the loop, which knows what is running.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::model::{EnvironmentId, ResourceName};

/// What can be asked of a running daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "verb")]
pub enum Request {
    /// Fetch now, and look at every environment.
    Sync,
    /// Apply an earlier revision again.
    Rollback {
        /// Where.
        environment: EnvironmentId,
        /// The first digits of the revision; the one before what runs, if absent.
        to: Option<String>,
        /// Who says so.
        owner: String,
    },
    /// Give versions that are rolling out a further share now.
    Promote {
        /// Where.
        environment: EnvironmentId,
        /// Only this Worker.
        worker: Option<ResourceName>,
        /// The share, in percent; that of the next step, if absent.
        to: Option<u8>,
        /// Who says so.
        owner: String,
    },
    /// Keep versions at the share that they have.
    Pause {
        /// Where.
        environment: EnvironmentId,
        /// Only this Worker.
        worker: Option<ResourceName>,
        /// Why.
        reason: Option<String>,
        /// Who says so.
        owner: String,
    },
    /// Give all requests back to the versions before those that are rolling out.
    Abort {
        /// Where.
        environment: EnvironmentId,
        /// Only this Worker.
        worker: Option<ResourceName>,
        /// Who says so.
        owner: String,
    },
    /// Lift a quarantine and what is paused, and accept a rewritten history.
    Resume {
        /// Where.
        environment: EnvironmentId,
    },
}

impl Request {
    /// The environment that it is about.
    pub fn environment(&self) -> Option<&EnvironmentId> {
        match self {
            Self::Sync => None,
            Self::Rollback { environment, .. }
            | Self::Promote { environment, .. }
            | Self::Pause { environment, .. }
            | Self::Abort { environment, .. }
            | Self::Resume { environment } => Some(environment),
        }
    }
}

/// How a request went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Whether it was carried out.
    pub ok: bool,
    /// For people.
    pub message: String,
    /// What the reader can do now.
    pub hint: Option<String>,
}

impl Answer {
    /// It was carried out.
    pub fn ok(message: impl Into<String>) -> Self {
        Self { ok: true, message: message.into(), hint: None }
    }

    /// It was not.
    pub fn failed(message: impl Into<String>, hint: Option<String>) -> Self {
        Self { ok: false, message: message.into(), hint }
    }
}

/// A request with the way back.
#[derive(Debug)]
pub struct Call {
    /// What is asked.
    pub request: Request,
    reply: Mutex<Option<oneshot::Sender<Answer>>>,
}

impl Call {
    /// Sends the answer; a caller that has gone away is no fault.
    pub fn answer(&self, answer: Answer) {
        let reply = self.reply.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let Some(reply) = reply {
            let _ = reply.send(answer);
        }
    }
}

/// Where the socket of the data folder `data` is.
pub fn path(data: &Path) -> PathBuf {
    data.join("control.sock")
}

/// Listens on the socket of `data`, handing calls to `calls` until stopped.
pub(super) fn listen(data: &Path, calls: mpsc::Sender<Call>, stop: CancellationToken) -> std::io::Result<JoinHandle<()>> {
    let path = path(data);
    // The store's lock is ours: a socket that is there was left by a daemon that died.
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path)?;
    // Whatever the folder's mode: who may write the store is who may ask.
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    Ok(tokio::spawn(async move {
        loop {
            let stream = tokio::select! {
                () = stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            if let Ok((stream, _)) = stream {
                let calls = calls.clone();
                tokio::spawn(async move {
                    if let Err(error) = serve(stream, calls).await {
                        tracing::warn!(%error, "A control connection broke.");
                    }
                });
            }
        }
    }))
}

const LINE: u64 = 64 * 1024;

async fn serve(stream: UnixStream, calls: mpsc::Sender<Call>) -> std::io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    BufReader::new(read.take(LINE)).read_line(&mut line).await?;
    let answer = match serde_json::from_str::<Request>(&line) {
        Err(error) => Answer::failed(format!("the request cannot be read: {error}"), None),
        Ok(request) => {
            let (reply, answer) = oneshot::channel();
            let call = Call { request, reply: Mutex::new(Some(reply)) };
            let sent = calls.send(call).await.is_ok();
            let stopping = || Answer::failed("the daemon is stopping", None);
            if sent { answer.await.unwrap_or_else(|_| stopping()) } else { stopping() }
        }
    };
    let mut text = serde_json::to_string(&answer).map_err(std::io::Error::other)?;
    text.push('\n');
    write.write_all(text.as_bytes()).await
}

/// How long a daemon that has begun to work may take until it listens.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks the daemon that works on `data`; `None` where none listens, also after a while: one that has just been started may
/// not do so yet.
///
/// # Errors
/// The system's, where the connection breaks.
pub async fn ask(data: &Path, request: &Request) -> std::io::Result<Option<Answer>> {
    let begun = Instant::now();
    let mut stream = loop {
        match UnixStream::connect(path(data)).await {
            Ok(stream) => break stream,
            Err(_) if begun.elapsed() > PATIENCE => return Ok(None),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    };
    let mut text = serde_json::to_string(request).map_err(std::io::Error::other)?;
    text.push('\n');
    stream.write_all(text.as_bytes()).await?;
    let mut answer = String::new();
    BufReader::new(stream.take(LINE)).read_line(&mut answer).await?;
    if answer.is_empty() {
        return Ok(Some(Answer::failed("the daemon ended before it answered", None)));
    }
    serde_json::from_str(&answer).map(Some).map_err(std::io::Error::other)
}
