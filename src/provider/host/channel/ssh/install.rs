//! Put the executor on a host: our own binary, under its digest.
//!
//! Each step is one command with its arguments; there is no script and nothing to be quoted but paths. The binary goes to a
//! name of its own, is compared with its digest by the host itself, and only then has the name that is run.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use super::{Ssh, Stranger, no_ssh, refusal, words_of};
use crate::model::{Digest, Retry};
use crate::provider::ProviderError;

/// How many binaries stay: those of other daemons, or versions, may be in use.
const KEPT: usize = 3;
/// For how long a command may take, the copy included.
const PATIENCE: Duration = Duration::from_secs(600);

/// How a command on the host ended.
struct Ran {
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Ssh {
    /// Puts the binary on the host, unless it is there already.
    pub(super) async fn install(&self, executor: Digest) -> Result<(), ProviderError> {
        let line = self.channels.line(&self.login);
        // Two environments may find it missing at once.
        let _installing = line.installing.lock().await;
        self.can_run_ours().await?;
        self.may_become_root().await?;
        let path = self.path(executor);
        if self.digest_of(&path).await? == Some(executor) {
            return Ok(());
        }
        tracing::info!(host = %self.target, digest = %executor.short(), "Putting the executor on the host.");
        let folder = self.folder();
        let state = self.target.state.display().to_string();
        self.must(&["mkdir", "-p", "-m", "0700", "--", &state, &folder]).await?;
        let incoming = format!("{folder}/.incoming-{}-{}", executor.short(), std::process::id());
        let copied = self.copy(executor, &incoming, &path).await;
        if copied.is_err() {
            // It may be the disk that is full; the first cause is the one that is told.
            let _ = self.run(&["rm", "-f", "--", &incoming], true, false).await;
        }
        copied?;
        self.prune(&folder, executor).await;
        Ok(())
    }

    async fn copy(&self, executor: Digest, incoming: &str, path: &str) -> Result<(), ProviderError> {
        let to = format!("of={incoming}");
        let ran = self.run(&["dd", &to, "bs=1M", "conv=fsync", "status=none"], true, true).await?;
        self.judge("dd", ran)?;
        if self.digest_of(incoming).await? != Some(executor) {
            let message = format!("the executor did not come whole to {}", self.target);
            return Err(
                ProviderError::new(message, Retry::Transient).hint("it is sent again; look at the disk there if it stays so")
            );
        }
        self.must(&["chmod", "0700", "--", incoming]).await?;
        self.must(&["mv", "-f", "-T", "--", incoming, path]).await?;
        Ok(())
    }

    /// Only the newest binaries stay, and nothing that was left half sent. What cannot be deleted is no reason to stop.
    async fn prune(&self, folder: &str, executor: Digest) {
        let half = ["find", folder, "-maxdepth", "1", "-name", ".incoming-*", "-mmin", "+60", "-delete"];
        let _ = self.run(&half, true, false).await;
        let Ok(Ran { status: Some(0), stdout, .. }) = self.run(&["ls", "-1t", "--", folder], true, false).await else { return };
        let ours = stdout.lines().filter(|name| {
            name.strip_prefix("trunkline-")
                .and_then(|digest| digest.parse::<Digest>().ok())
                .is_some_and(|digest| digest != executor)
        });
        let old: Vec<String> = ours.skip(KEPT - 1).map(|name| format!("{folder}/{name}")).collect();
        if !old.is_empty() {
            let argv: Vec<&str> = ["rm", "-f", "--"].into_iter().chain(old.iter().map(String::as_str)).collect();
            let _ = self.run(&argv, true, false).await;
        }
    }

    async fn can_run_ours(&self) -> Result<(), ProviderError> {
        let Ran { stdout, .. } = self.run(&["uname", "-sm"], false, false).await?;
        let ours = format!("Linux {}", std::env::consts::ARCH);
        // A start-up file of the login shell may have said something before.
        if stdout.lines().any(|line| line.trim() == ours) {
            return Ok(());
        }
        let theirs = refusal::tail(&stdout);
        let message = format!("{} is `{theirs}`, and this daemon's binary is for {ours}", self.target);
        Err(ProviderError::new(message, Retry::Stalled).hint(
            "the binary that is put on a host is the daemon's own: let a daemon on a machine of that sort see to this host",
        ))
    }

    async fn may_become_root(&self) -> Result<(), ProviderError> {
        if !self.target.elevate {
            return Ok(());
        }
        let Ran { status, stderr, .. } = self.run(&["true"], true, false).await?;
        let user = self.target.user.as_deref().unwrap_or("the user");
        let (message, hint) = match status {
            Some(0) => return Ok(()),
            Some(127) => (
                format!("there is no sudo on {}", self.target),
                "install it there, or log in as root and leave out `become`".to_owned(),
            ),
            _ => (
                format!("{user} may not become root on {} without a password", self.target),
                format!("write `{user} ALL=(root) NOPASSWD: ALL` to /etc/sudoers.d/trunkline there (`visudo -cf` checks it)"),
            ),
        };
        Err(ProviderError::new(message, Retry::Stalled).hint(hint).source(refusal::tail(&stderr)))
    }

    async fn digest_of(&self, path: &str) -> Result<Option<Digest>, ProviderError> {
        let Ran { stdout, .. } = self.run(&["sha256sum", "--", path], true, false).await?;
        // The last line: a start-up file of the login shell may have said something before.
        Ok(stdout.lines().last().and_then(|line| line.get(..64)?.parse().ok()))
    }

    /// It is there as it should be, and no greeting comes.
    pub(super) fn does_not_start(&self, executor: Digest, stranger: &Stranger) -> ProviderError {
        let said = refusal::tail(&String::from_utf8_lossy(&stranger.first));
        let told = refusal::tail(&stranger.stderr);
        if said.is_empty() {
            let status = stranger.status.map_or_else(|| "no end".to_owned(), |status| status.to_string());
            let path = self.path(executor);
            return ProviderError::new(format!("the executor does not start on {}", self.target), Retry::Stalled)
                .hint(format!(
                    "try `{path} --version` there: a folder that is mounted noexec (`state` of the host names another) and a C \
                     library that is too old are the usual reasons"
                ))
                .source(if told.is_empty() { status } else { format!("{status}: {told}") });
        }
        ProviderError::new(
            format!("the login shell on {} speaks before the executor does: `{said}…`", self.target),
            Retry::Stalled,
        )
        .hint("make the start-up files of that user's shell silent where there is no terminal")
    }

    async fn must(&self, argv: &[&str]) -> Result<(), ProviderError> {
        let ran = self.run(argv, true, false).await?;
        self.judge(argv.first().copied().unwrap_or_default(), ran)
    }

    fn judge(&self, program: &str, ran: Ran) -> Result<(), ProviderError> {
        let Ran { status, stderr, stdout: _ } = ran;
        if status == Some(0) {
            return Ok(());
        }
        let message = format!("the executor cannot be put on {}", self.target);
        let state = self.target.state.display();
        let (hint, retry) = if stderr.contains("No space left") || stderr.contains("Disk quota") {
            (format!("make room for it in {state} there"), Retry::Transient)
        } else if stderr.contains("Permission denied") || stderr.contains("not permitted") {
            let hint = format!(
                "log in as root, say `become = true`, or name a folder in `state` that the user may write to, not {state}"
            );
            (hint, Retry::Stalled)
        } else if stderr.contains("Read-only file system") {
            (format!("{state} is not to be written to there: name another folder in `state`"), Retry::Stalled)
        } else {
            (format!("look at {state} there; dd, sha256sum, chmod and mv are needed"), Retry::Transient)
        };
        let words = refusal::tail(&stderr);
        let status = status.map_or_else(|| "it was ended".to_owned(), |status| format!("exit status {status}"));
        Err(ProviderError::new(message, retry).hint(hint).source(format!("{program}: {status}: {words}")))
    }

    /// One command on the host; our binary goes to its input where `binary` says so.
    async fn run(&self, argv: &[&str], elevated: bool, binary: bool) -> Result<Ran, ProviderError> {
        let failed = |error: std::io::Error| {
            ProviderError::new("our own binary cannot be read, to be put on a host", Retry::Transient).source(error)
        };
        let mut command = self.command(argv, elevated)?;
        if binary {
            command.stdin(Stdio::from(std::fs::File::open(&self.channels.options().executor).map_err(failed)?));
        } else {
            command.stdin(Stdio::null());
        }
        let mut child = command.spawn().map_err(no_ssh)?;
        let words = words_of(child.stderr.take());
        let mut stdout = Vec::new();
        let ended = timeout(PATIENCE, async {
            if let Some(output) = child.stdout.take() {
                output.take(super::MAX_WORDS).read_to_end(&mut stdout).await?;
            }
            child.wait().await
        });
        let status = match ended.await {
            Ok(status) => status.map_err(no_ssh)?.code(),
            Err(_) => {
                let message = format!("{} does not answer within {} s", self.target, PATIENCE.as_secs());
                return Err(ProviderError::new(message, Retry::Transient).hint("look whether the machine is well"));
            }
        };
        let stderr = timeout(Duration::from_secs(1), words).await.ok().and_then(Result::ok).unwrap_or_default();
        if status == Some(255) {
            self.login.forget(&self.channels).await;
            return Err(refusal::explain(&self.target, &stderr));
        }
        Ok(Ran { status, stdout: String::from_utf8_lossy(&stdout).into_owned(), stderr })
    }
}
