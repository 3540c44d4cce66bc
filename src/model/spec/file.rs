//! A file on a host.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::secret_value;
use crate::model::digest::Content;
use crate::model::name::ResourceName;
use crate::model::value::{Properties, SecretMark, Value};

/// A file on a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSpec {
    /// Absolute, normalized, without `..`; taken beneath the host's root.
    pub path: String,
    /// The bytes; where `secrets` is not empty they hold a [`placeholder`] for each use of a value.
    pub content: Content,
    /// The secrets whose values take the place of the placeholders, at apply only.
    pub secrets: BTreeSet<ResourceName>,
    /// Permission bits, such as `0o640`.
    pub mode: u32,
    /// User name or number; `None` leaves it as it is.
    pub owner: Option<String>,
    /// Group name or number; `None` leaves it as it is.
    pub group: Option<String>,
    /// A command and its arguments, run on the new content before it replaces the old; `{}` in an argument is the
    /// path of the candidate. It must exit with 0.
    pub validate: Option<Vec<String>>,
}

/// What stands in a rendered template for the value of `secret.<name>`.
pub fn placeholder(name: &ResourceName) -> String {
    format!("\u{2983}trunkline-secret:{name}\u{2984}")
}

impl FileSpec {
    pub(super) fn properties(&self, marks: &BTreeMap<ResourceName, SecretMark>) -> Properties {
        // `validate` is how a change is made, not what is there: changing it alone changes nothing on the host.
        let Self { path, content, secrets, mode, owner, group, validate: _ } = self;
        let mut properties = Properties::from([
            ("path".to_owned(), Value::text(path)),
            ("content".to_owned(), (*content).into()),
            ("mode".to_owned(), Value::text(format!("{mode:04o}"))),
        ]);
        if !secrets.is_empty() {
            let secrets = secrets.iter().map(|name| (name.to_string(), secret_value(name, marks)));
            properties.insert("secrets".to_owned(), Value::Table(secrets.collect()));
        }
        for (key, value) in [("owner", owner), ("group", group)] {
            if let Some(value) = value {
                properties.insert(key.to_owned(), Value::text(value));
            }
        }
        properties
    }
}
