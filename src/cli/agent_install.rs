//! `agent install`: the program, the host's policy and the unit put in place, in one command.
//!
//! **Invariant:** what the host's administrator wrote is kept: a policy that is there is not touched.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Args;

use super::output::{Failure, show};

const UNIT: &str = include_str!("../../systemd/trunkline-agent.service");
const SERVICE: &str = "trunkline-agent.service";

#[derive(Debug, Args)]
pub(super) struct Install {
    /// A folder in and beneath which files may be written, such as `/etc/ads-engine`; as often as needed. Needed where there
    /// is no policy yet
    #[arg(long = "allow", value_name = "DIR")]
    allow: Vec<String>,
    /// Enrol with the token in this file
    #[arg(long, value_name = "FILE")]
    pub(super) token_file: Option<PathBuf>,
    /// Put everything beneath this folder, as for an image, and start nothing
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
}

impl Install {
    /// A path of the host, beneath the root that was named.
    pub(super) fn at(&self, path: &str) -> PathBuf {
        self.root.as_ref().map_or_else(|| path.into(), |root| root.join(path.trim_start_matches('/')))
    }

    /// Puts the files in place.
    pub(super) fn place(&self) -> Result<(), Failure> {
        if self.root.is_none() && !rustix::process::geteuid().is_root() {
            return Err(Failure::new("only root can install a service")
                .hint(Some("run it with sudo, or name a folder with `--root`".into())));
        }
        if let Some(relative) = self.allow.iter().find(|folder| !folder.starts_with('/')) {
            return Err(Failure::new(format!("`{}` is not an absolute path", relative.escape_debug())));
        }
        let policy = self.at("/etc/trunkline/agent.toml");
        if policy.exists() && !self.allow.is_empty() {
            return Err(Failure::new(format!("{} is there, and is the host's own word", policy.display()))
                .hint(Some("edit it, or leave `--allow` away".into())));
        }
        if !policy.exists() && self.allow.is_empty() {
            return Err(Failure::new("a policy that allows nothing is no use")
                .hint(Some("name the folders that may be written to: `--allow /etc/ads-engine`".into())));
        }
        let program =
            fs::read("/proc/self/exe").map_err(|error| Failure::new(format!("this program cannot be read: {error}")))?;
        put(&self.at("/usr/bin/trunkline"), &program, 0o755)?;
        if !policy.exists() {
            let roots: Vec<String> = self.allow.iter().map(|folder| toml::Value::from(folder.as_str()).to_string()).collect();
            let text =
                format!("# What this host allows its agent; the daemon cannot change it.\nroots = [{}]\n", roots.join(", "));
            put(&policy, text.as_bytes(), 0o644)?;
        }
        put(&self.at(&format!("/etc/systemd/system/{SERVICE}")), UNIT.as_bytes(), 0o644)
    }

    /// Has systemd start it, now and at each boot.
    pub(super) fn start(&self) -> Result<(), Failure> {
        if let Some(root) = &self.root {
            return show(&format!("In place beneath {}; nothing was started.", root.display()));
        }
        for arguments in [&["daemon-reload"][..], &["enable", "--now", SERVICE], &["restart", SERVICE]] {
            let status = Command::new("systemctl").args(arguments).stdin(Stdio::null()).status();
            let status = status.map_err(|error| Failure::new(format!("systemctl cannot be run: {error}")))?;
            if !status.success() {
                return Err(Failure::new(format!("`systemctl {}` failed: {status}", arguments.join(" ")))
                    .hint(Some(format!("see `journalctl -u {SERVICE}`"))));
            }
        }
        show(&format!("{SERVICE} runs, now and at each boot."))
    }
}

/// Replaces a file as a whole.
fn put(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::new(format!("{} cannot be written: {error}", path.display()));
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder).map_err(failed)?;
    let incoming = folder.join(format!(".{}.incoming", path.file_name().unwrap_or_default().to_string_lossy()));
    let mut file = fs::OpenOptions::new().create(true).truncate(true).write(true).mode(mode).open(&incoming).map_err(failed)?;
    file.set_permissions(fs::Permissions::from_mode(mode)).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| fs::rename(&incoming, path)).map_err(failed)
}
