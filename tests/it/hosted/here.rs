//! An installation on this machine, whose containers are on the engine of the fleet.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::containers::docker;
use super::site::{changes, git_in};
use crate::world::Ran;

/// The installation.
pub(super) struct Here {
    folder: TempDir,
    mark: String,
}

impl Here {
    /// An installation with these settings of the daemon's own; `[containers]` is among them.
    pub(super) fn new(settings: &str) -> Self {
        let mark = uuid::Uuid::now_v7().simple().to_string();
        let here = Self { folder: tempfile::tempdir().unwrap(), mark };
        for folder in ["clone", "home"] {
            std::fs::create_dir(here.path(folder)).unwrap();
        }
        let engine = format!("unix://{}", engine().display());
        let settings = settings.replace("[containers]\n", &format!("[containers]\ndocker = {engine:?}\n"));
        std::fs::write(here.path("daemon.toml"), settings).unwrap();
        git_in(&here.path(""), &["init", "--quiet", "--bare", "--initial-branch=main", "remote.git"]);
        here.git(&["init", "--quiet", "--initial-branch=main"]);
        here.git(&["remote", "add", "origin", here.path("remote.git").to_str().unwrap()]);
        let made = here.trunkline(&["secrets", "keygen", here.path("identity").to_str().unwrap()]);
        assert_eq!(made.status, 0, "{made:?}");
        here.write("trunkline.toml", "format = 1\n");
        here.write("fleet/hosts.toml", "[host.here]\nconnect = \"local\"\n");
        here.write("environments/production/secrets.toml", "");
        here.secret("digest-key", "0123456789abcdef0123456789abcdef");
        here
    }

    /// A name that no other test has on the engine.
    pub(super) fn name(&self, name: &str) -> String {
        format!("{name}-{}", self.mark)
    }

    pub(super) fn define(&self, text: &str) {
        let head = "[environment]\ndigest_key = { secret = \"digest-key\" }\n";
        self.write("environments/production/production.toml", &format!("{head}{text}"));
        self.commit();
    }

    pub(super) fn commit(&self) {
        self.git(&["add", "--all"]);
        let message = "A change\n\nAcknowledge: production delete-budget";
        self.git(&["commit", "--quiet", "--allow-empty", "--message", message]);
        self.git(&["push", "--quiet", "--set-upstream", "origin", "main"]);
    }

    pub(super) fn secret(&self, name: &str, value: &str) {
        let clone = self.path("clone");
        let mut command = self.command(&["secrets", "set", "production", name, "--folder", clone.to_str().unwrap()]);
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), value.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    pub(super) fn trunkline(&self, arguments: &[&str]) -> Ran {
        Ran::of(&self.command(arguments).output().unwrap())
    }

    /// `apply`, which must succeed, and then a plan that is empty.
    pub(super) fn converge(&self) {
        for verb in ["apply", "plan"] {
            let ran = self.trunkline(&[verb]);
            assert_eq!(ran.status, 0, "{verb}:\n{}\n{}", ran.out, ran.err);
        }
    }

    pub(super) fn changes(&self) -> Vec<(String, String, Vec<String>)> {
        let ran = self.trunkline(&["plan", "--output", "json"]);
        changes(&serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}")))
    }

    /// Docker, which must succeed.
    pub(super) fn docker(&self, arguments: &[&str]) -> String {
        let output = docker(arguments);
        assert!(output.status.success(), "docker {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    pub(super) fn inspect(&self, name: &str) -> Value {
        let mut found: Value = serde_json::from_str(&self.docker(&["container", "inspect", name])).unwrap();
        found[0].take()
    }

    pub(super) fn is_there(&self, name: &str) -> bool {
        docker(&["container", "inspect", name]).status.success()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_trunkline"));
        command.args(arguments).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.path("home")).env("TRUNKLINE_CONFIG", self.path("daemon.toml"));
        command.env("TRUNKLINE_DATA", self.path("data")).env("TRUNKLINE_REMOTE", self.path("remote.git"));
        command.env("TRUNKLINE_IDENTITY", self.path("identity"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// `apply`, which is killed when it reaches this boundary.
    pub(super) fn killed_at(&self, boundary: &str) -> Ran {
        let trace = self.path("boundaries");
        let mut command = self.command(&["apply"]);
        command.env("TRUNKLINE_BOUNDARIES", &trace).env("TRUNKLINE_KILL_AT", format!("{boundary}#1"));
        let ran = Ran::of(&command.output().unwrap());
        std::fs::remove_file(trace).unwrap();
        ran
    }

    /// The commit that is the trunk.
    pub(super) fn head(&self) -> String {
        self.git(&["rev-parse", "HEAD"]).trim().to_owned()
    }

    /// A file of the clone.
    pub(super) fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.path("clone").join(path)).unwrap()
    }

    pub(super) fn write(&self, path: &str, text: &str) {
        let path = self.path("clone").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn git(&self, arguments: &[&str]) -> String {
        git_in(&self.path("clone"), arguments)
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        let left = docker(&["container", "ls", "--all", "--quiet", "--filter", &format!("name={}", self.mark)]);
        for id in String::from_utf8_lossy(&left.stdout).lines() {
            docker(&["container", "rm", "--force", id]);
        }
        let left = docker(&["network", "ls", "--quiet", "--filter", &format!("name={}", self.mark)]);
        for id in String::from_utf8_lossy(&left.stdout).lines() {
            docker(&["network", "rm", id]);
        }
    }
}

/// The socket of the engine: where `tests/fleet/bed` puts it for this checkout.
fn engine() -> PathBuf {
    let root = env!("CARGO_MANIFEST_DIR");
    let sum = Command::new("sh").args(["-c", "printf '%s' \"$1\" | cksum | cut -d' ' -f1", "sh", root]).output().unwrap();
    let socket = PathBuf::from(format!("/run/trunkline-fleet-{}/docker.sock", String::from_utf8_lossy(&sum.stdout).trim()));
    assert!(socket.exists(), "the fleet is not up: run `tests/fleet/bed up` (as root), or the whole of `tests/run`");
    socket
}
