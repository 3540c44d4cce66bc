//! What lives on a host besides files: a directory, a package, a unit.
//!
//! Its fields are in the words of the system that keeps it, so that what is desired, what the executor finds and what it
//! does have one shape, and a new kind needs no type of its own.
//!
//! **Invariant:** a secret stands in the fields as a mark without value; which secret it is stands beside them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::platform::{gather, put};
use crate::model::address::InstanceKey;
use crate::model::digest::Content;
use crate::model::kind::Kind;
use crate::model::name::ResourceName;
use crate::model::value::{Properties, SecretMark, Value};

/// A thing on a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostedSpec {
    /// Its kind: one of hosts, and no file.
    pub sort: Kind,
    /// What it is called there; also in `fields` under [`Kind::claim_field`].
    pub claim: String,
    /// What it is to be like. What is not there is left as it is.
    pub fields: Properties,
    /// The secrets among the fields, by path, its steps parted by `/`: `restart_on/secret.key`.
    pub secrets: BTreeMap<String, ResourceName>,
    /// The tunnels whose tokens are among the fields, by path as well.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tokens: BTreeMap<String, InstanceKey>,
}

impl HostedSpec {
    /// A thing that has nothing but its name.
    pub fn new(sort: Kind, claim: impl Into<String>) -> Self {
        let claim = claim.into();
        let fields = [(sort.claim_field().to_owned(), Value::text(&claim))].into();
        Self { sort, claim, fields, secrets: BTreeMap::new(), tokens: BTreeMap::new() }
    }

    /// The same with one more field.
    #[must_use]
    pub fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(field.to_owned(), value.into());
        self
    }

    /// Calls it otherwise.
    pub fn rename(&mut self, claim: &str) {
        claim.clone_into(&mut self.claim);
        self.fields.insert(self.sort.claim_field().to_owned(), Value::text(claim));
    }

    /// Its properties, with `marks` for the secrets.
    pub(super) fn properties(&self, marks: &BTreeMap<ResourceName, SecretMark>) -> Properties {
        let mut properties = self.fields.clone();
        let secrets = self.secrets.iter().map(|(path, name)| (path, super::secret_value(name, marks)));
        let tokens = self.tokens.iter().map(|(path, tunnel)| (path, super::token_value(tunnel)));
        for (path, value) in secrets.chain(tokens) {
            let steps: Vec<&str> = path.split('/').collect();
            put(&mut properties, &steps, value);
        }
        properties
    }

    pub(super) fn contents(&self) -> BTreeSet<Content> {
        // What starts a thing anew is no part of it.
        let mut found = BTreeSet::new();
        let own = self.fields.iter().filter(|(field, _)| *field != RESTART_ON);
        own.for_each(|(_, value)| gather(value, &mut found));
        found
    }
}

/// The field of what starts a thing anew when it changes: files and secrets, by their addresses.
pub const RESTART_ON: &str = "restart_on";

/// Where the executor of this release puts its own program, for the edges on its host: it is the same program.
pub const EDGE_PROGRAM: &str = concat!("/usr/local/lib/trunkline/", env!("CARGO_PKG_VERSION"), "/trunkline");

/// What a container can ask for that gives it the host, by the words that allow it in the daemon's settings.
pub const DANGERS: [&str; 7] = ["privileged", "host_network", "host_pid", "cap_add", "devices", "docker_socket", "host_folders"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_and_inputs_stand_among_the_fields() {
        let input = Content::of(b"x");
        let inputs = Value::table([("file.config", Value::from(input))]);
        let mut spec = HostedSpec::new(Kind::Unit, "a.service").with("content", Content::of(b"y")).with(RESTART_ON, inputs);
        spec.secrets.insert("restart_on/secret.key".to_owned(), "key".parse().unwrap());
        let properties = spec.properties(&BTreeMap::new());
        let inputs = properties[RESTART_ON].as_table().unwrap();
        assert_eq!(inputs["secret.key"], Value::Secret { mark: SecretMark::Unknown });
        assert_eq!(inputs["file.config"], Value::from(input));
        assert_eq!(spec.contents(), [Content::of(b"y")].into());
        spec.rename("b.service");
        assert_eq!((spec.claim.as_str(), &spec.fields["name"]), ("b.service", &Value::text("b.service")));
    }
}
