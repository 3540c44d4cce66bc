//! A real remote and people who push to it, with a git that reads nobody's configuration.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;
use trunkline::source::{Options, Source};

/// A bare repository, a working clone of it, and room for a database.
pub(crate) struct Remote {
    pub(crate) folder: TempDir,
}

impl Remote {
    /// A remote whose branch `main` holds one commit with `a.toml`.
    pub(crate) fn new() -> Self {
        let remote = Self::empty();
        remote.commit(&[("a.toml", "one = 1\n")], "first");
        remote.push();
        remote
    }

    /// A remote without a commit.
    pub(crate) fn empty() -> Self {
        let remote = Self { folder: tempfile::tempdir().unwrap() };
        fs::create_dir(remote.work()).unwrap();
        remote.git_in(remote.folder.path(), &["init", "-q", "--bare", "-b", "main", "remote.git"]);
        remote.git(&["init", "-q", "-b", "main"]);
        remote.git(&["remote", "add", "origin", remote.bare().to_str().unwrap()]);
        remote
    }

    pub(crate) fn bare(&self) -> PathBuf {
        self.folder.path().join("remote.git")
    }

    pub(crate) fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.folder.path().join("database")
    }

    pub(crate) fn options(&self) -> Options {
        Options::new(self.database(), self.bare().to_str().unwrap().parse().unwrap(), "main".parse().unwrap())
    }

    pub(crate) fn open(&self) -> Source {
        Source::open(self.options()).unwrap()
    }

    /// Runs git in the working clone; it must succeed.
    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        self.git_in(&self.work(), arguments)
    }

    pub(crate) fn git_in(&self, folder: &Path, arguments: &[&str]) -> String {
        let output = self.try_git(folder, arguments);
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    pub(crate) fn try_git(&self, folder: &Path, arguments: &[&str]) -> Output {
        Command::new("git")
            .args(arguments)
            .current_dir(folder)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.folder.path())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .envs([("GIT_AUTHOR_NAME", "Ada"), ("GIT_AUTHOR_EMAIL", "ada@example.com")])
            .envs([("GIT_COMMITTER_NAME", "Ada"), ("GIT_COMMITTER_EMAIL", "ada@example.com")])
            .output()
            .expect("these tests need the `git` command")
    }

    /// Writes files and commits them; gives the commit.
    pub(crate) fn commit(&self, files: &[(&str, &str)], message: &str) -> String {
        for (path, text) in files {
            let path = self.work().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    pub(crate) fn push(&self) {
        self.git(&["push", "-q", "origin", "HEAD:main"]);
    }

    /// Commits one file and pushes it.
    pub(crate) fn change(&self, path: &str, text: &str) -> String {
        let commit = self.commit(&[(path, text)], &format!("change {path}"));
        self.push();
        commit
    }

    /// A hook of the remote.
    pub(crate) fn hook(&self, name: &str, script: &str) {
        use std::os::unix::fs::PermissionsExt;
        let path = self.bare().join("hooks").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

/// How many processes have `text` among their arguments.
pub(crate) fn running(text: &str) -> usize {
    let all = fs::read_dir("/proc").unwrap().flatten();
    all.filter(|process| fs::read_to_string(process.path().join("cmdline")).is_ok_and(|line| line.contains(text))).count()
}
