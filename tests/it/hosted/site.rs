//! An installation on a host of the fleet: the program, its data, a remote, and a clone to edit here.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::containers::docker;
use crate::fleet::bed::Host;
use crate::world::Ran;

/// The installation.
pub(crate) struct Site {
    pub(crate) host: Host,
    folder: TempDir,
}

impl Site {
    /// A host as new, with the program on it; the definitions are one environment, `production`, with `text`.
    pub(crate) fn new(text: &str) -> Self {
        let site = Self { host: Host::lease(), folder: tempfile::tempdir().unwrap() };
        for folder in ["clone", "home"] {
            std::fs::create_dir(site.path(folder)).unwrap();
        }
        git_in(&site.path(""), &["init", "--quiet", "--bare", "--initial-branch=main", "remote.git"]);
        site.git(&["init", "--quiet", "--initial-branch=main"]);
        site.git(&["remote", "add", "origin", site.path("remote.git").to_str().unwrap()]);
        let identity = site.path("identity");
        let made = site.here(&["secrets", "keygen", identity.to_str().unwrap()]).output().unwrap();
        assert!(made.status.success());
        site.copy(Path::new(env!("CARGO_BIN_EXE_trunkline")), "/usr/bin/trunkline");
        site.copy(&which("git"), "/usr/bin/git");
        site.host.run(&["ln", "-sf", "git", "/usr/bin/git-upload-pack"]);
        site.host.run(&["ln", "-sf", "git", "/usr/bin/git-receive-pack"]);
        site.copy(&identity, "/root/identity");
        site.write("trunkline.toml", "format = 1\n");
        site.write("fleet/hosts.toml", "[host.here]\nconnect = \"local\"\nlabels = { port = \"80\" }\n");
        site.write("environments/production/secrets.toml", "");
        site.secret("digest-key", "0123456789abcdef0123456789abcdef");
        site.define(text);
        site
    }

    /// Replaces what the environment defines, and commits it; the commit's id.
    pub(crate) fn define(&self, text: &str) -> String {
        self.write(
            "environments/production/production.toml",
            &format!("[environment]\ndigest_key = {{ secret = \"digest-key\" }}\n{text}"),
        );
        self.commit()
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.path("clone").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub(crate) fn secret(&self, name: &str, value: &str) {
        let clone = self.path("clone");
        let mut command = self.here(&["secrets", "set", "production", name, "--folder", clone.to_str().unwrap()]);
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), value.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Commits everything, and takes it to the host.
    pub(crate) fn commit(&self) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message", "A change\n\nAcknowledge: production delete-budget"]);
        self.git(&["push", "--quiet", "--set-upstream", "origin", "main"]);
        // A new name each time: what is copied over a folder is mixed with it.
        self.host.run(&["sh", "-c", "rm -rf /root/incoming /root/former"]);
        self.copy(&self.path("remote.git"), "/root/incoming");
        self.host.run(&["sh", "-c", "if [ -e /root/remote.git ]; then mv /root/remote.git /root/former; fi; chown -R root: /root/incoming; mv /root/incoming /root/remote.git"]);
        self.git(&["rev-parse", "HEAD"]).trim().to_owned()
    }

    /// What `trunkline check` says of the clone.
    pub(crate) fn check(&self) -> Ran {
        Ran::of(&self.here(&["check", self.path("clone").to_str().unwrap()]).output().unwrap())
    }

    /// Runs the program on the host.
    pub(crate) fn trunkline(&self, arguments: &[&str]) -> Ran {
        self.trunkline_with(&[], arguments)
    }

    /// The same with more in its environment.
    pub(crate) fn trunkline_with(&self, environment: &[&str], arguments: &[&str]) -> Ran {
        let own = [
            "env",
            "TRUNKLINE_DATA=/var/lib/trunkline",
            "TRUNKLINE_REMOTE=/root/remote.git",
            "TRUNKLINE_IDENTITY=/root/identity",
        ];
        Ran::of(&self.host.try_run(&[&own[..], environment, &["trunkline"], arguments].concat()))
    }

    /// `apply`, which must succeed.
    pub(crate) fn apply(&self) -> Ran {
        let ran = self.trunkline(&["apply"]);
        assert_eq!(ran.status, 0, "{}\n{}", ran.out, ran.err);
        ran
    }

    /// `apply`, and then a plan that is empty.
    pub(crate) fn converge(&self) -> Ran {
        let ran = self.apply();
        let plan = self.trunkline(&["plan"]);
        assert_eq!(plan.status, 0, "the plan is not empty:\n{}\n{}", plan.out, plan.err);
        ran
    }

    /// The plan, as JSON.
    pub(crate) fn plan(&self) -> Value {
        let ran = self.trunkline(&["plan", "--output", "json"]);
        serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
    }

    /// Each change of the plan: address, action and the fields that differ.
    pub(crate) fn changes(&self) -> Vec<(String, String, Vec<String>)> {
        changes(&self.plan())
    }

    /// A property of a unit.
    pub(crate) fn unit(&self, name: &str, property: &str) -> String {
        self.host.run(&["systemctl", "show", "-P", property, name])
    }

    pub(crate) fn copy(&self, from: &Path, to: &str) {
        let target = format!("{}:{to}", self.host.name);
        let output = docker(&["cp", from.to_str().unwrap(), &target]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    pub(crate) fn here(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_trunkline"));
        command.args(arguments).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.path("home")).env("TRUNKLINE_IDENTITY", self.path("identity"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn git(&self, arguments: &[&str]) -> String {
        git_in(&self.path("clone"), arguments)
    }
}

pub(super) fn git_in(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .args(["-c", "user.name=Ada", "-c", "user.email=ada@example.com"])
        .args(arguments)
        .current_dir(folder)
        .env("HOME", folder)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn which(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|path| path.is_file()).unwrap()
}

/// Each change of a plan: address, action and the fields that differ.
pub(super) fn changes(plan: &Value) -> Vec<(String, String, Vec<String>)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let fields = |change: &Value| {
        let fields = change["fields"].as_array().into_iter().flatten();
        let mut fields: Vec<String> = fields.map(|field| text(&field["field"])).collect();
        fields.sort();
        fields
    };
    let changes = plan["plans"][0]["plan"]["changes"].as_array().unwrap_or_else(|| panic!("{plan:#}"));
    changes.iter().map(|change| (text(&change["address"]), text(&change["action"]), fields(change))).collect()
}
