//! A commit of the configuration repository.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A commit on a branch, shown as `main@sha1:1a2b3c4`; serialized with the full object id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Revision {
    /// The branch that was followed, without `refs/heads/`.
    pub branch: String,
    /// The commit's object id, 40 lower-case hex digits.
    pub commit: String,
}

impl Revision {
    /// What stands for a folder whose definitions need not be committed: it can be planned for, and never applied.
    pub fn worktree() -> Self {
        Self { branch: "worktree".to_owned(), commit: "0".repeat(40) }
    }

    /// Whether this stands for a folder.
    pub fn is_worktree(&self) -> bool {
        *self == Self::worktree()
    }

    /// `main@sha1:` and the whole object id: what is stored and compared.
    pub fn full(&self) -> String {
        format!("{}@sha1:{}", self.branch, self.commit)
    }

    /// The first seven digits of the object id.
    pub fn short(&self) -> &str {
        &self.commit[..7.min(self.commit.len())]
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}@sha1:{}", self.branch, self.short()))
    }
}

/// A text that is no revision.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not of the form `branch@sha1:<40 hex digits>`")]
pub struct ParseRevisionError(String);

impl FromStr for Revision {
    type Err = ParseRevisionError;
    fn from_str(text: &str) -> Result<Self, ParseRevisionError> {
        let error = || ParseRevisionError(text.escape_debug().to_string());
        let (branch, commit) = text.rsplit_once("@sha1:").ok_or_else(error)?;
        let hex = commit.len() == 40 && commit.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if branch.is_empty() || !hex {
            return Err(error());
        }
        Ok(Self { branch: branch.to_owned(), commit: commit.to_owned() })
    }
}

impl TryFrom<String> for Revision {
    type Error = ParseRevisionError;
    fn try_from(text: String) -> Result<Self, ParseRevisionError> {
        text.parse()
    }
}

impl From<Revision> for String {
    fn from(revision: Revision) -> String {
        revision.full()
    }
}
