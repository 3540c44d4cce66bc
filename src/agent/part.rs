//! Which of an instance's files one is.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::model::InstanceKey;

/// A file of an instance: the instance itself where that is a file, else one of the files that it is made of.
///
/// Written `production/file.motd@fra1`, or `production/unit.engine@fra1#text`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Part {
    /// Whose it is.
    pub(super) key: InstanceKey,
    /// Which; empty for the instance itself.
    name: String,
}

impl Part {
    /// One of the files that `key` is made of.
    pub(super) fn of(key: &InstanceKey, name: &str) -> Self {
        Self { key: key.clone(), name: name.to_owned() }
    }

    /// The same of another instance.
    pub(super) fn under(&self, key: &InstanceKey) -> Self {
        Self { key: key.clone(), name: self.name.clone() }
    }

    /// Whether the instance is itself a file.
    pub(super) fn is_whole(&self) -> bool {
        self.name.is_empty()
    }
}

impl From<InstanceKey> for Part {
    fn from(key: InstanceKey) -> Self {
        Self { key, name: String::new() }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.is_empty() { self.key.fmt(f) } else { write!(f, "{}#{}", self.key, self.name) }
    }
}

impl From<Part> for String {
    fn from(part: Part) -> Self {
        part.to_string()
    }
}

impl FromStr for Part {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (key, name) = text.split_once('#').unwrap_or((text, ""));
        let key = key.parse().map_err(|_| format!("`{}` names no instance", key.escape_debug()))?;
        Ok(Self { key, name: name.to_owned() })
    }
}

impl TryFrom<String> for Part {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_read_back() {
        for text in ["production/file.motd@fra1", "production/unit.engine@fra1#text"] {
            let part: Part = text.parse().unwrap();
            assert_eq!(part.to_string(), text);
            assert_eq!(part.is_whole(), !text.contains('#'));
        }
        assert!("nonsense#x".parse::<Part>().is_err());
    }
}
