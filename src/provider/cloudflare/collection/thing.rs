//! One thing of a list, in the shape of the desired fields.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use crate::model::{Address, Kind, Marker, Properties, Retry, Value, canonical_digest};
use crate::provider::{Order, Outcome, ProviderError};

use super::Failed;

/// One thing, as a list or the answer to a write shows it.
#[derive(Debug, Clone)]
pub(in crate::provider::cloudflare) struct Thing {
    /// What sort of thing it is.
    pub(in crate::provider::cloudflare) kind: Kind,
    /// What the API knows it by.
    pub(in crate::provider::cloudflare) id: String,
    /// What it is called, as definitions claim it.
    pub(in crate::provider::cloudflare) claim: String,
    /// Its fields that definitions know, as they are.
    pub(in crate::provider::cloudflare) properties: Properties,
    /// What others refer to it by: `id`, `name`.
    pub(in crate::provider::cloudflare) attributes: BTreeMap<String, String>,
    /// What else changes with it, of fields that the list does not show: a revision number, a time of change.
    pub(in crate::provider::cloudflare) stamp: Option<String>,
    /// Whose it is, by a mark on it.
    pub(in crate::provider::cloudflare) owner: Option<Address>,
    /// The operation that put its present state there, by a mark on it.
    pub(in crate::provider::cloudflare) marker: Option<Marker>,
}

impl Thing {
    /// A thing without marks, whose id and name others refer to it by.
    pub(in crate::provider::cloudflare) fn new(kind: Kind, id: &str, claim: &str, properties: Properties) -> Self {
        let attributes = [("id".to_owned(), id.to_owned()), ("name".to_owned(), claim.to_owned())].into();
        let (id, claim) = (id.to_owned(), claim.to_owned());
        Self { kind, id, claim, properties, attributes, stamp: None, owner: None, marker: None }
    }

    /// Changes whenever the thing does, as far as its list shows: `<kind>2:<id>:<digest>`.
    pub(in crate::provider::cloudflare) fn fingerprint(&self) -> String {
        format!("{}2:{}:{}", self.kind, self.id, canonical_digest(&(&self.properties, &self.stamp)))
    }
}

/// The id in a fingerprint of `kind`.
pub(super) fn id_of(kind: Kind, fingerprint: &str) -> Option<&str> {
    let rest = fingerprint.strip_prefix(kind.as_str())?.strip_prefix("2:")?;
    rest.rsplit_once(':').map(|(id, _)| id)
}

/// Those of `fields` that an object of the API has.
pub(in crate::provider::cloudflare) fn picked(object: &Json, fields: &[&str]) -> Properties {
    fields.iter().filter_map(|field| Some(((*field).to_owned(), Value::of_json(object.get(*field)?)?))).collect()
}

/// Where it must stay, unless that is anywhere.
pub(super) fn jurisdiction(object: &Json) -> Option<(String, Value)> {
    let place = text(object, "jurisdiction").filter(|place| *place != "default")?;
    Some(("jurisdiction".to_owned(), Value::text(place)))
}

/// An order's name and what it asks for.
pub(super) fn named(order: &Order) -> (&str, Properties) {
    (&order.change.claim, order.change.after.clone().unwrap_or_default())
}

/// Those of `wanted` that `is` has not, or has otherwise; secrets do not count, since they are never shown.
pub(super) fn changed(is: &Properties, wanted: &Properties) -> Properties {
    let differs = |(key, value): &(&String, &Value)| match (is.get(*key), value) {
        (_, Value::Secret { .. }) => false,
        (Some(Value::Table(is)), Value::Table(wanted)) => !changed(is, wanted).is_empty(),
        (is, value) => is != Some(*value),
    };
    wanted.iter().filter(differs).map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// The text of a field.
pub(in crate::provider::cloudflare) fn text<'a>(object: &'a Json, field: &str) -> Option<&'a str> {
    object.get(field)?.as_str().filter(|text| !text.is_empty())
}

/// Properties as the API takes them; what it has no word for (content, secrets) is left out, for the caller to put in.
pub(in crate::provider::cloudflare) fn object(properties: &Properties) -> Map<String, Json> {
    properties.iter().filter_map(|(key, value)| Some((key.clone(), json(value)?))).collect()
}

fn json(value: &Value) -> Option<Json> {
    Some(match value {
        Value::Bool(flag) => Json::Bool(*flag),
        Value::Integer(number) => Json::from(*number),
        Value::Text(text) => Json::String(text.clone()),
        Value::List(items) => Json::Array(items.iter().filter_map(json).collect()),
        Value::Table(table) => Json::Object(object(table)),
        Value::Content { .. } | Value::Secret { .. } | Value::Pending { .. } => return None,
    })
}

/// What the API answered to a write, as a thing; unknown where it is not of the documented form: something happened there,
/// and the list will show what.
pub(super) fn answered(made: Option<Thing>, kind: Kind, claim: &str) -> Result<Thing, Failed> {
    made.ok_or_else(|| {
        let message = format!("{kind} `{claim}` was written, but the answer does not show it");
        Failed::Outcome(Outcome::Unknown(ProviderError::new(message, Retry::Transient)))
    })
}

/// Refuses to change one of `fields`, which are given at creation for good.
pub(super) fn unchangeable(found: &Thing, after: &Properties, fields: &[&str]) -> Result<(), Failed> {
    for field in fields {
        let (is, wanted) = (found.properties.get(*field), after.get(*field));
        if wanted.is_some() && is != wanted {
            let message = format!("the {field} of {} `{}` cannot be changed", found.kind, found.claim);
            let is = is.and_then(Value::as_text).unwrap_or("the default");
            let hint = format!("it is `{is}`: write that, or define another {}", found.kind);
            return Err(ProviderError::new(message, Retry::Stalled).hint(hint).into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_api_says_comes_back_as_it_takes_it() {
        let said = serde_json::json!({ "name": "a", "ttl": 60, "proxied": true, "left": null, "origin": { "port": 5432 } });
        let properties = picked(&said, &["name", "ttl", "proxied", "left", "origin"]);
        assert_eq!(properties.len(), 4);
        let expected = serde_json::json!({ "name": "a", "ttl": 60, "proxied": true, "origin": { "port": 5432 } });
        assert_eq!(Json::Object(object(&properties)), expected);
    }

    #[test]
    fn a_fingerprint_names_the_thing_and_changes_with_it() {
        let mut thing = Thing::new(Kind::Kv, "0a:1", "t", Properties::new());
        let first = thing.fingerprint();
        assert_eq!(id_of(Kind::Kv, &first), Some("0a:1"));
        assert_eq!(id_of(Kind::R2, &first), None);
        thing.stamp = Some("2".into());
        assert_ne!(thing.fingerprint(), first);
    }
}
