//! What the executor found, as properties in the shape of the desired ones.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use crate::agent::{FileQuery, Found, FoundContent, FoundFile, FoundThing, Query, ThingQuery};
use crate::model::{
    Address, Evidence, FileSpec, InstanceKey, Kind, Marker, Observed, Present, Properties, SecretMark, Spec, Value,
};
use crate::provider::Lookup;

/// The query for one instance.
pub(super) fn query(key: &InstanceKey, lookup: &Lookup) -> Query {
    if key.address.kind != Kind::File {
        let fields = match &lookup.spec {
            Some(Spec::Hosted(hosted)) => hosted.fields.clone(),
            _ => Properties::new(),
        };
        return Query::Thing(ThingQuery { key: key.clone(), claim: lookup.claim.clone(), fields });
    }
    Query::File(FileQuery {
        key: key.clone(),
        path: lookup.claim.clone(),
        secret: spec(lookup).is_some_and(|spec| !spec.values().is_empty())
            || lookup.owned.as_ref().is_some_and(|owned| owned.properties.contains_key("secrets")),
        owner: word(lookup, "owner"),
        group: word(lookup, "group"),
    })
}

/// How the definition, or else what was applied, calls the owner or the group; `None` where neither says.
fn word(lookup: &Lookup, field: &str) -> Option<String> {
    let desired = spec(lookup).and_then(|spec| if field == "owner" { spec.owner.clone() } else { spec.group.clone() });
    desired.or_else(|| lookup.owned.as_ref()?.properties.get(field)?.as_text().map(str::to_owned))
}

fn spec(lookup: &Lookup) -> Option<&FileSpec> {
    match &lookup.spec {
        Some(Spec::File(file)) => Some(file),
        _ => None,
    }
}

/// What was found, read in full `now`.
pub(super) fn observed(lookup: &Lookup, found: Found, now: DateTime<Utc>) -> Observed {
    let file = match found {
        Found::Absent => return Observed::Absent,
        Found::Unknown(reason) => return Observed::Unknown(reason),
        Found::Thing(thing) => {
            let FoundThing { fields, fingerprint, owned_by, marker } = *thing;
            return present(fields, fingerprint, owned_by, marker, now);
        }
        Found::File(file) => *file,
    };
    let FoundFile { content, mode, owner, group, fingerprint, owned_by, marker } = file;
    let mut properties = Properties::from([
        ("path".to_owned(), Value::text(&lookup.claim)),
        ("mode".to_owned(), Value::text(format!("{mode:04o}"))),
    ]);
    let (content, secrets) = match content {
        FoundContent::Applied { content, secrets } => (content.into(), secrets),
        FoundContent::Other(content) => (content.into(), BTreeMap::new()),
        FoundContent::Withheld { secrets } => {
            // Nothing is said of bytes that may hold a value: only that they are not what was applied.
            let word = if owned_by.is_some() { "modified" } else { "foreign" };
            let desired = spec(lookup).map(FileSpec::values).unwrap_or_default();
            let names: BTreeSet<String> = desired.into_iter().chain(secrets).collect();
            (Value::text(word), names.into_iter().map(|name| (name, SecretMark::Unknown)).collect())
        }
    };
    properties.insert("content".to_owned(), content);
    if !secrets.is_empty() {
        let secrets = secrets.into_iter().map(|(name, mark)| (name, Value::Secret { mark }));
        properties.insert("secrets".to_owned(), Value::Table(secrets.collect()));
    }
    for (field, value) in [("owner", owner), ("group", group)] {
        if word(lookup, field).is_some() {
            properties.insert(field.to_owned(), Value::text(value));
        }
    }
    present(properties, fingerprint, owned_by, marker, now)
}

fn present(
    properties: Properties,
    fingerprint: String,
    owner: Option<Address>,
    marker: Option<Marker>,
    now: DateTime<Utc>,
) -> Observed {
    let (attributes, evidence) = (BTreeMap::new(), Evidence::DeepRead(now));
    Observed::Present(Box::new(Present { properties, attributes, fingerprint, owner, marker, evidence }))
}
