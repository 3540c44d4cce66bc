//! A bare repository that plays the Git server, and a person's clone of it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::Outcome;

/// Both, in one folder.
pub(crate) struct Repository {
    /// What is pushed to.
    pub(crate) remote: PathBuf,
    /// Where files are written.
    pub(crate) clone: PathBuf,
}

impl Repository {
    /// An empty one in `folder`.
    pub(crate) fn make(folder: &Path) -> Outcome<Self> {
        let repository = Self { remote: folder.join("remote.git"), clone: folder.join("clone") };
        std::fs::create_dir_all(&repository.clone)?;
        git(folder, &["init", "--quiet", "--bare", "--initial-branch=main", "remote.git"])?;
        repository.git(&["init", "--quiet", "--initial-branch=main"])?;
        repository.git(&["remote", "add", "origin", "../remote.git"])?;
        Ok(repository)
    }

    /// Runs git in the clone.
    pub(crate) fn git(&self, arguments: &[&str]) -> Outcome<String> {
        git(&self.clone, arguments)
    }

    /// Writes a file of the clone.
    pub(crate) fn write(&self, path: &str, text: &str) -> Outcome<()> {
        let path = self.clone.join(path);
        path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
        Ok(std::fs::write(path, text)?)
    }

    /// Commits everything.
    pub(crate) fn commit(&self, message: &str) -> Outcome<()> {
        self.git(&["add", "--all"])?;
        self.git(&["commit", "--quiet", "--message", message]).map(drop)
    }

    /// Pushes the branch.
    pub(crate) fn push(&self) -> Outcome<()> {
        self.git(&["push", "--quiet", "origin", "main"]).map(drop)
    }
}

/// Runs git with none of the machine's settings; its standard output.
pub(crate) fn git(folder: &Path, arguments: &[&str]) -> Outcome<String> {
    let output = Command::new("git")
        .args(arguments)
        .current_dir(folder)
        .env("HOME", "/nonexistent")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .envs([("GIT_AUTHOR_NAME", "Ada"), ("GIT_AUTHOR_EMAIL", "ada@example.com")])
        .envs([("GIT_COMMITTER_NAME", "Ada"), ("GIT_COMMITTER_EMAIL", "ada@example.com")])
        .stdin(Stdio::null())
        .output()?;
    if !output.status.success() {
        return Err(format!("git {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
