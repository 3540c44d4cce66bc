//! The command line of `ssh` for one host.
//!
//! **Invariant:** each argument is one argument, the host comes after `--`, and nothing that a configuration says can make
//! `ssh` ask a person, take a host key that is not known, or forward anything.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::model::{Digest, Retry, SshTarget};
use crate::provider::ProviderError;
use crate::provider::host::channel::{ChannelOptions, Channels};

/// What of our own environment `ssh` gets: to find programs, its configuration and the operator's agent of keys.
const INHERITED: [&str; 5] = ["PATH", "HOME", "USER", "LOGNAME", "SSH_AUTH_SOCK"];

/// What no configuration changes: of an option that is said twice, `ssh` takes the first. Source: ssh_config(5).
const OPTIONS: [&str; 15] = [
    "BatchMode=yes",
    "StrictHostKeyChecking=yes",
    "UpdateHostKeys=no",
    "VerifyHostKeyDNS=no",
    "ConnectTimeout=10",
    "ConnectionAttempts=1",
    "ServerAliveInterval=5",
    "ServerAliveCountMax=3",
    "ClearAllForwardings=yes",
    "ForwardAgent=no",
    "ForwardX11=no",
    "PermitLocalCommand=no",
    "RequestTTY=no",
    "LogLevel=ERROR",
    "EscapeChar=none",
];

/// For how long a connection is kept for the next pass.
const KEPT: &str = "ControlPersist=15m";

/// A host with who logs in there and the key that it has to show: what shares a connection.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::provider::host::channel) struct Login(pub(super) SshTarget);

impl Login {
    /// `ssh` as far as the host; the words of a command on the host come after it.
    ///
    /// # Errors
    /// Where there can be no folder for the connection, or the pinned key cannot be written there.
    pub(super) fn command(&self, channels: &Channels) -> Result<Command, ProviderError> {
        let folder = channels.folder()?;
        let known_hosts = self.known_hosts(folder.path(), channels.options())?;
        let ChannelOptions { ssh_config, ssh_key, executor: _, known_hosts: _, concurrency: _, request_bytes: _ } =
            channels.options();
        let mut command = bare();
        if let Some(config) = ssh_config {
            command.arg("-F").arg(config);
        }
        command.args(OPTIONS.iter().flat_map(|option| ["-o", option]));
        command.args(["-o", "ControlMaster=auto", "-o", KEPT, "-o"]).arg(named("ControlPath", &self.socket(folder.path())));
        if let Some(key) = ssh_key {
            command.args(["-o", "IdentitiesOnly=yes", "-o"]).arg(named("IdentityFile", key));
        }
        if let Some(known_hosts) = known_hosts {
            command.args(["-o", "GlobalKnownHostsFile=/dev/null", "-o"]).arg(named("UserKnownHostsFile", &known_hosts));
        }
        let SshTarget { user, host, port, host_key, elevate: _, state: _ } = &self.0;
        if host_key.is_some() {
            command.arg("-o").arg(format!("HostKeyAlias={}", self.alias()));
        }
        if let Some(user) = user {
            command.arg("-l").arg(user);
        }
        if let Some(port) = port {
            command.arg("-p").arg(port.to_string());
        }
        command.arg("--").arg(host);
        Ok(command)
    }

    /// Begins to end the connection that is kept, if there is one.
    pub(in crate::provider::host::channel) fn hang_up(&self, folder: &Path) -> Option<Child> {
        // Where it does not hear, it ends by itself when the host does not answer.
        self.farewell(folder)?.spawn().ok()
    }

    /// Gives up a connection that hangs, so that the next one is made anew.
    pub(super) async fn forget(&self, channels: &Channels) {
        let Ok(folder) = channels.folder() else { return };
        if let Some(command) = self.farewell(folder.path()) {
            let ended = tokio::process::Command::from(command).kill_on_drop(true).status();
            let _ = tokio::time::timeout(Duration::from_secs(2), ended).await;
            let _ = std::fs::remove_file(self.socket(folder.path()));
        }
    }

    fn farewell(&self, folder: &Path) -> Option<Command> {
        let socket = self.socket(folder);
        socket.exists().then(|| {
            let mut command = bare();
            command.args(["-F", "/dev/null", "-O", "exit", "-o"]).arg(named("ControlPath", &socket)).args(["--", "host"]);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            command
        })
    }

    /// The file with the one key that the host may show, or the known hosts of the daemon's settings.
    fn known_hosts(&self, folder: &Path, options: &ChannelOptions) -> Result<Option<PathBuf>, ProviderError> {
        let Some(key) = &self.0.host_key else { return Ok(options.known_hosts.clone()) };
        let path = folder.join(format!("{}.known", self.alias()));
        if !path.exists() {
            let written = tempfile::NamedTempFile::new_in(folder).and_then(|mut file| {
                std::io::Write::write_all(&mut file, format!("{} {key}\n", self.alias()).as_bytes())?;
                file.persist(&path).map_err(std::io::Error::from)
            });
            written.map_err(|error| {
                ProviderError::new("the pinned key of a host cannot be written for ssh", Retry::Transient).source(error)
            })?;
        }
        Ok(Some(path))
    }

    fn socket(&self, folder: &Path) -> PathBuf {
        folder.join(self.alias())
    }

    /// A name for all of it: another pinned key is another connection.
    fn alias(&self) -> String {
        Digest::of(format!("{:?}", self.0).as_bytes()).short()
    }
}

fn bare() -> Command {
    let mut command = Command::new("ssh");
    command.env_clear().env("LC_ALL", "C").current_dir("/");
    for name in INHERITED {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
}

/// An option with a path, which `ssh` would else take apart at its spaces.
fn named(option: &str, path: &Path) -> OsString {
    let mut argument = OsString::from(format!("{option}=\""));
    argument.push(path);
    argument.push("\"");
    argument
}

/// A command on the host, as the login shell there takes it: each word as one word.
pub(super) fn words<'a>(argv: impl IntoIterator<Item = &'a str>) -> String {
    let quoted = |word: &str| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'/' | b'.' | b',' | b':' | b'+');
        if !word.is_empty() && word.bytes().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
    };
    argv.into_iter().map(quoted).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(host_key: Option<&str>) -> Login {
        Login(SshTarget {
            user: Some("deploy".to_owned()),
            host: "fra1.example.com".to_owned(),
            port: Some(2222),
            host_key: host_key.map(str::to_owned),
            elevate: true,
            state: "/var/lib/trunkline".into(),
        })
    }

    #[test]
    fn the_host_comes_last_after_two_hyphens() {
        let channels = Channels::default();
        let command = login(Some("ssh-ed25519 AAAA")).command(&channels).unwrap();
        let arguments: Vec<String> = command.get_args().map(|argument| argument.to_string_lossy().into_owned()).collect();
        assert_eq!(arguments[arguments.len() - 6..], ["-l", "deploy", "-p", "2222", "--", "fra1.example.com"]);
        assert!(arguments.iter().any(|argument| argument == "StrictHostKeyChecking=yes"));
        let known = arguments.iter().find_map(|argument| argument.strip_prefix("UserKnownHostsFile=")).unwrap();
        let text = std::fs::read_to_string(known.trim_matches('"')).unwrap();
        assert!(text.ends_with(" ssh-ed25519 AAAA\n") && text.lines().count() == 1, "{text}");
    }

    #[test]
    fn another_key_is_another_connection() {
        assert_ne!(login(Some("ssh-ed25519 AAAA")).alias(), login(Some("ssh-ed25519 AAAB")).alias());
        assert_ne!(login(None).alias(), login(Some("ssh-ed25519 AAAA")).alias());
    }

    #[test]
    fn each_word_stays_one_word() {
        assert_eq!(words(["sudo", "-n", "--", "/a/b-1"]), "sudo -n -- /a/b-1");
        assert_eq!(words(["a b", "", "$(id)", "it's", "*"]), r"'a b' '' '$(id)' 'it'\''s' '*'");
    }
}
