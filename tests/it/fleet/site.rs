//! A daemon's own machine: a repository, its settings, and the program itself, run as people run it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;
use tempfile::TempDir;
use trunkline::provider::host::{ChannelOptions, Channels};

/// The program without what a debugger needs: it goes over the wire, and quicker so.
pub(crate) fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("trunkline-{}", std::process::id()));
        let stripped =
            Command::new("strip").args(["--strip-all", "-o"]).arg(&program).arg(env!("CARGO_BIN_EXE_trunkline")).status();
        assert!(stripped.unwrap().success());
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("trunkline-stripped");
        std::fs::rename(&program, &kept).unwrap();
        kept
    })
}

/// The ways of a daemon whose only key is `key`, and who knows no host but by what definitions pin.
pub(crate) fn channels(key: &Path) -> Channels {
    let known_hosts = Some(PathBuf::from("/dev/null"));
    Channels::new(ChannelOptions {
        executor: program().to_owned(),
        ssh_config: Some("/dev/null".into()),
        ssh_key: Some(key.to_owned()),
        known_hosts,
        concurrency: 8,
        request_bytes: usize::MAX,
    })
}

pub(crate) struct Site {
    folder: TempDir,
}

/// What the program printed, and its exit status.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: Option<i32>,
    pub(crate) out: String,
    #[allow(dead_code, reason = "shown where something fails; the bench reads it")]
    pub(crate) err: String,
}

impl Site {
    /// An empty repository; `key` opens the hosts.
    pub(crate) fn new(key: &Path) -> Self {
        let site = Self { folder: tempfile::tempdir().unwrap() };
        for folder in ["clone", "home", "tmp"] {
            std::fs::create_dir(site.path(folder)).unwrap();
        }
        let settings = format!(
            "[hosts]\nssh_config = \"/dev/null\"\nssh_key = {key:?}\nknown_hosts = \"/dev/null\"\n[policy]\nmax_deletes = 100\nmax_delete_percent = 100\n"
        );
        std::fs::write(site.path("daemon.toml"), settings).unwrap();
        site.git(&["init", "--quiet", "--bare", "--initial-branch=main", "../remote.git"]);
        site.git(&["init", "--quiet", "--initial-branch=main"]);
        site.git(&["remote", "add", "origin", "../remote.git"]);
        site.write("trunkline.toml", "format = 1\n");
        site
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.path("clone").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub(crate) fn commit(&self, message: &str) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message", message]);
        self.git(&["push", "--quiet", "origin", "main"]);
    }

    pub(crate) fn git(&self, arguments: &[&str]) {
        let mut command = Command::new("git");
        command.args(["-c", "user.name=t", "-c", "user.email=t@example.com"]).args(arguments).current_dir(self.path("clone"));
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1").env("HOME", self.path("home"));
        let output = command.output().unwrap();
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.args(arguments).arg("--config").arg(self.path("daemon.toml")).arg("--data").arg(self.path("data"));
        command.arg("--remote").arg(self.path("remote.git")).env_clear().env("PATH", std::env::var_os("PATH").unwrap());
        command.env("HOME", self.path("home")).env("TMPDIR", self.path("tmp")).env("NO_COLOR", "1").stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        let output = self.command(arguments).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Ran { status: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// Starts it, to be met on its way.
    pub(crate) fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// One apply, which must come to its end.
    pub(crate) fn apply(&self) -> Ran {
        let ran = self.run(&["apply"]);
        assert_eq!(ran.status, Some(0), "{ran:?}");
        ran
    }

    /// Commits, and one apply.
    pub(crate) fn merge(&self, message: &str) {
        self.commit(message);
        self.apply();
    }

    /// Where the one environment stands: condition, reason and message.
    pub(crate) fn condition(&self) -> String {
        let ran = self.run(&["status", "--output", "json"]);
        let status: Value = serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
        let stands = &status["environments"][0];
        let word = |key: &str| stands[key].as_str().unwrap_or_else(|| panic!("{ran:?}")).to_owned();
        format!("{} {}: {}", word("condition"), word("reason"), word("message"))
    }

    /// Ends every process of ssh that the program started, as a cut cable and an impatient system would.
    pub(crate) fn kill_connections(&self) -> usize {
        let mark = self.path("tmp").display().to_string();
        let processes = std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().into_string().ok());
        let mut killed = 0;
        for pid in processes.filter_map(|name| name.parse::<i32>().ok()) {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).into_owned();
            if line.starts_with("ssh") && line.contains(&mark) {
                killed += 1;
                let pid = rustix::process::Pid::from_raw(pid).unwrap();
                // It may have ended by itself.
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
        killed
    }
}
