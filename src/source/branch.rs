//! The name of a branch, checked.
//!
//! **Invariant:** a [`Branch`] is a valid ref name below `refs/heads/` and can be neither an option nor a ref expression.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A branch name without `refs/heads/`, such as `main`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Branch(String);

/// A text that is no branch name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not the name of a branch")]
pub struct BranchError(String);

impl Branch {
    /// The name, without `refs/heads/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The whole ref name.
    pub fn full(&self) -> String {
        format!("refs/heads/{}", self.0)
    }
}

impl FromStr for Branch {
    type Err = BranchError;
    fn from_str(text: &str) -> Result<Self, BranchError> {
        let full = format!("refs/heads/{text}");
        let good = text.len() <= 200
            && !text.starts_with('-')
            && !text.starts_with("refs/")
            && text != "HEAD"
            && text != "@"
            && !text.chars().any(super::names::unprintable)
            && git2::Reference::is_valid_name(&full);
        if good {
            Ok(Self(text.to_owned()))
        } else {
            Err(BranchError(text.chars().take(80).flat_map(char::escape_default).collect()))
        }
    }
}

impl TryFrom<String> for Branch {
    type Error = BranchError;
    fn try_from(text: String) -> Result<Self, BranchError> {
        text.parse()
    }
}

impl From<Branch> for String {
    fn from(branch: Branch) -> String {
        branch.0
    }
}

impl fmt::Display for Branch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_are_taken() {
        for good in ["main", "release/1.2", "trunkline/revert-production-1a2b3c4"] {
            assert_eq!(good.parse::<Branch>().unwrap().as_str(), good);
        }
        for bad in [
            "",
            "-u",
            "--output=x",
            "a..b",
            "a b",
            "a~1",
            "a^",
            "a:b",
            "a?",
            "a*",
            "[a",
            "a\\b",
            "/a",
            "a/",
            "a//b",
            ".a",
            "a/.b",
            "a.lock",
            "a@{1}",
            "@",
            "HEAD",
            "../../config",
            "refs/heads/a",
            "a\nb",
            "a\u{7f}",
            "a\u{202e}b",
        ] {
            assert!(bad.parse::<Branch>().is_err(), "{bad:?} was accepted");
        }
    }
}
