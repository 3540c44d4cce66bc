//! A file on a host.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{secret_value, token_value};
use crate::model::address::InstanceKey;
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
    /// The tunnels whose tokens do, by their keys, and where each of them is.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tokens: BTreeMap<ResourceName, InstanceKey>,
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

/// What stands in a rendered template for a value: for that of `secret.<name>` by its name, for the token of a tunnel by its
/// [`token_label`].
pub fn placeholder(name: &str) -> String {
    format!("\u{2983}trunkline-secret:{name}\u{2984}")
}

/// How the token of a tunnel is called among the secrets of a file: no secret has a name with dots.
pub fn token_label(tunnel: &ResourceName) -> String {
    format!("tunnel.{tunnel}.token")
}

impl FileSpec {
    /// What its values are called: secrets by their names, tokens by their labels.
    pub fn values(&self) -> BTreeSet<String> {
        self.secrets.iter().map(ToString::to_string).chain(self.tokens.keys().map(token_label)).collect()
    }

    pub(super) fn properties(&self, marks: &BTreeMap<ResourceName, SecretMark>) -> Properties {
        // `validate` is how a change is made, not what is there: changing it alone changes nothing on the host.
        let Self { path, content, secrets, tokens, mode, owner, group, validate: _ } = self;
        let mut properties = Properties::from([
            ("path".to_owned(), Value::text(path)),
            ("content".to_owned(), (*content).into()),
            ("mode".to_owned(), Value::text(format!("{mode:04o}"))),
        ]);
        let secrets = secrets.iter().map(|name| (name.to_string(), secret_value(name, marks)));
        let tokens = tokens.iter().map(|(tunnel, instance)| (token_label(tunnel), token_value(instance)));
        let values: Properties = secrets.chain(tokens).collect();
        if !values.is_empty() {
            properties.insert("secrets".to_owned(), Value::Table(values));
        }
        for (key, value) in [("owner", owner), ("group", group)] {
            if let Some(value) = value {
                properties.insert(key.to_owned(), Value::text(value));
            }
        }
        properties
    }
}
