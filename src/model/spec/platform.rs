//! A thing that the platform keeps in a list: a namespace, a bucket, a database, a queue, a record, a rule.
//!
//! Its fields are in the words of the REST API, so that what is desired, what a list shows and what a call sends have one
//! shape, and a new kind needs no type of its own.
//!
//! **Invariant:** a secret stands in the fields as a mark without value; which secret it is stands beside them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::model::digest::Content;
use crate::model::kind::Kind;
use crate::model::name::ResourceName;
use crate::model::value::{Properties, SecretMark, Value};

/// A thing of the platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlatformSpec {
    /// Its kind: neither a Worker nor of hosts.
    pub sort: Kind,
    /// What it is called at the target; for the kinds whose name is the claim, also in `fields` under
    /// [`Kind::claim_field`].
    pub claim: String,
    /// What it is to be like, in the words of the API; values that another resource gives are pending.
    pub fields: Properties,
    /// The secrets among the fields, by dotted path: `origin.password`.
    pub secrets: BTreeMap<String, ResourceName>,
}

impl PlatformSpec {
    /// A thing that has nothing but its name.
    pub fn new(sort: Kind, claim: impl Into<String>) -> Self {
        let claim = claim.into();
        let fields = [(sort.claim_field().to_owned(), Value::text(&claim))].into();
        Self { sort, claim, fields, secrets: BTreeMap::new() }
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
        let field = self.sort.claim_field();
        if self.fields.contains_key(field) {
            self.fields.insert(field.to_owned(), Value::text(claim));
        }
    }

    /// The zone that it lies in, for the kinds that lie in one.
    pub fn zone(&self) -> Option<&str> {
        self.fields.get("zone_name").and_then(Value::as_text)
    }

    /// Its properties, with `marks` for the secrets.
    pub(super) fn properties(&self, marks: &BTreeMap<ResourceName, SecretMark>) -> Properties {
        let mut properties = self.fields.clone();
        for (path, name) in &self.secrets {
            let steps: Vec<&str> = path.split('.').collect();
            put(&mut properties, &steps, super::secret_value(name, marks));
        }
        properties
    }

    pub(super) fn contents(&self) -> BTreeSet<Content> {
        let mut found = BTreeSet::new();
        self.fields.values().for_each(|value| gather(value, &mut found));
        found
    }
}

pub(super) fn put(table: &mut Properties, path: &[&str], value: Value) {
    match path {
        [] => {}
        [last] => drop(table.insert((*last).to_owned(), value)),
        [first, rest @ ..] => {
            let inner = table.entry((*first).to_owned()).or_insert_with(|| Value::Table(Properties::new()));
            if let Value::Table(inner) = inner {
                put(inner, rest, value);
            }
        }
    }
}

pub(super) fn gather(value: &Value, found: &mut BTreeSet<Content>) {
    match value {
        Value::Content { content } => drop(found.insert(*content)),
        Value::List(items) => items.iter().for_each(|item| gather(item, found)),
        Value::Table(table) => table.values().for_each(|value| gather(value, found)),
        Value::Bool(_) | Value::Integer(_) | Value::Text(_) | Value::Secret { .. } | Value::Pending { .. } => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_takes_its_place_among_the_fields() {
        let mut spec = PlatformSpec::new(Kind::Hyperdrive, "db")
            .with("origin", Value::Table([("host".to_owned(), Value::text("db.example.com"))].into()));
        spec.secrets.insert("origin.password".to_owned(), "db-password".parse().unwrap());
        let marks = [("db-password".parse().unwrap(), SecretMark::Hmac("ab".into()))].into();
        let properties = spec.properties(&marks);
        let origin = properties["origin"].as_table().unwrap();
        assert_eq!(origin["password"], Value::Secret { mark: SecretMark::Hmac("ab".into()) });
        assert_eq!(origin["host"], Value::text("db.example.com"));
    }

    #[test]
    fn a_name_is_changed_in_both_places() {
        let mut spec = PlatformSpec::new(Kind::Queue, "a");
        spec.rename("b");
        assert_eq!((spec.claim.as_str(), &spec.fields["queue_name"]), ("b", &Value::text("b")));
    }
}
