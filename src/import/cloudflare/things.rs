//! The kinds that the platform keeps in lists, by the table of their fields.

use serde_json::{Map, Value as Json, json};

use super::super::sketch::TableSketch;
use super::{Making, section};
use crate::definition::{Form, Shown, fields_of};
use crate::model::{Kind, Properties, Value};
use crate::provider::cloudflare::{Survey, Surveyed};

/// What a DNS record of a tunnel says, behind the tunnel's id.
const TUNNELS: &str = ".cfargotunnel.com";

/// Carries one thing.
pub(super) fn carry(making: &mut Making<'_>, thing: &Surveyed) {
    let kind = thing.kind.as_str();
    let what = format!("{kind} `{}`", crate::document::shown(&thing.claim));
    if !making.is_free(&what, thing.owner.as_ref()) {
        return;
    }
    if thing.properties.get("config_src").and_then(Value::as_text).is_some_and(|source| source != "cloudflare") {
        return making.leave(&what, "it is configured on its host, and not here");
    }
    let mut keys = fields(making, thing, &what);
    if thing.kind == Kind::CacheRule && thing.owner.is_some() {
        // A `ref` that is our mark is made from the key and the place; the key is that of the mark.
        keys.remove("ref");
        keys.extend(thing.properties.get("order").and_then(json_of).map(|order| ("order".to_owned(), order)));
    }
    if section(thing.kind) != kind {
        return consumer(making, thing, keys, &what);
    }
    let Some(key) = making.names.of_id(kind, &thing.id).map(str::to_owned) else { return };
    let mut table = TableSketch { keys: keys.into_iter().collect(), ..TableSketch::default() };
    table.keys.insert("adopt".to_owned(), true.into());
    match secrets(kind, &key, &mut table) {
        None => drop(making.tables.insert((kind, key), table)),
        Some(reason) => {
            making.ask(&what, reason);
            let todo = format!("{reason}. With that, take the marks of comment away:");
            making.suspended.insert((kind, key), (table, todo));
        }
    }
}

/// Whether it is the record that a custom domain brings with it, which nobody can change.
pub(super) fn is_of_a_domain(thing: &Surveyed, survey: &Survey) -> bool {
    let text = |field: &str| thing.properties.get(field).and_then(Value::as_text);
    thing.kind == Kind::Dns
        && (text("type"), text("content")) == (Some("AAAA"), Some("100::"))
        && survey.things.iter().any(|other| other.kind == Kind::Domain && Some(other.claim.as_str()) == text("name"))
}

/// The keys of a thing, from its properties.
fn fields(making: &mut Making<'_>, thing: &Surveyed, what: &str) -> Map<String, Json> {
    let mut keys = Map::new();
    let kind = thing.kind.as_str();
    for Shown { property, key, form } in fields_of(thing.kind).filter_map(|field| field.shown) {
        let Some(value) = find(&thing.properties, property) else { continue };
        let first = key.split('.').next().unwrap_or(key);
        if section(thing.kind) == kind && !making.words.has_key(kind, first) {
            making.leave(&format!("{what}: {property}"), format!("this version's `{kind}` has no key `{first}`"));
            continue;
        }
        match written(making, form, value) {
            Ok(value) => put(&mut keys, key, value),
            Err(reason) => making.leave(&format!("{what}: {property}"), reason),
        }
    }
    keys
}

fn find<'a>(properties: &'a Properties, path: &str) -> Option<&'a Value> {
    match path.split_once('.') {
        None => properties.get(path),
        Some((first, rest)) => find(properties.get(first)?.as_table()?, rest),
    }
}

fn put(table: &mut Map<String, Json>, path: &str, value: Json) {
    match path.split_once('.') {
        None => drop(table.insert(path.to_owned(), value)),
        Some((first, rest)) => {
            let inner = table.entry(first).or_insert_with(|| Json::Object(Map::new()));
            if let Json::Object(inner) = inner {
                put(inner, rest, value);
            }
        }
    }
}

/// A value as definitions write it, or why they cannot.
fn written(making: &Making<'_>, form: Form, value: &Value) -> Result<Json, String> {
    let text = || value.as_text().unwrap_or_default();
    let named = |key: Option<&str>, kind: &str| {
        let missing = || format!("its {kind} `{}` is not imported", crate::document::shown(text()));
        key.map(|key| json!(key)).ok_or_else(missing)
    };
    match form {
        Form::Plain => json_of(value).ok_or_else(|| "definitions have no such value".to_owned()),
        Form::Id(kind) => named(making.names.of_id(kind, text()), kind),
        Form::Name(kind) => named(making.names.of_claim(kind, text()), kind),
        Form::Seconds => match value {
            Value::Integer(milliseconds) if milliseconds % 1000 == 0 => Ok(json!(milliseconds / 1000)),
            _ => Err("it is no whole number of seconds".to_owned()),
        },
        Form::Lifetime => lifetime(value),
        Form::Ingress => ingress(value),
        Form::Content => {
            let tunnel = text().strip_suffix(TUNNELS).and_then(|id| making.names.of_id("tunnel", id));
            Ok(tunnel.map_or_else(|| json!(text()), |key| json!({ "tunnel": key })))
        }
    }
}

fn lifetime(value: &Value) -> Result<Json, String> {
    let table = value.as_table().cloned().unwrap_or_default();
    let mode = table.get("mode").and_then(Value::as_text);
    match (mode, table.get("default"), table.len()) {
        (Some("override_origin"), Some(Value::Integer(seconds)), 2) => Ok(json!(format!("{seconds}s"))),
        (Some(mode), None, 1) if mode != "override_origin" => Ok(json!(mode)),
        _ => Err("definitions know a time or a mode only, and no times for single statuses".to_owned()),
    }
}

fn ingress(value: &Value) -> Result<Json, String> {
    let Value::List(rules) = value else { return Err("it is no list of rules".to_owned()) };
    let known = |rule: &Value| {
        let table = rule.as_table()?;
        table.keys().all(|key| matches!(key.as_str(), "hostname" | "path" | "service")).then(|| json_of(rule))?
    };
    let rules: Option<Vec<Json>> = rules.iter().map(known).collect();
    rules.map(Json::from).ok_or_else(|| "a rule says more than definitions can: all of them stay as they are".to_owned())
}

/// The value, where TOML has one like it.
pub(super) fn json_of(value: &Value) -> Option<Json> {
    Some(match value {
        Value::Bool(flag) => json!(flag),
        Value::Integer(number) => json!(number),
        Value::Text(text) => json!(text),
        Value::List(items) => Json::Array(items.iter().map(json_of).collect::<Option<_>>()?),
        Value::Table(table) => {
            let entries = table.iter().map(|(key, value)| Some((key.clone(), json_of(value)?)));
            Json::Object(entries.collect::<Option<_>>()?)
        }
        Value::Content { .. } | Value::Secret { .. } | Value::Pending { .. } => return None,
    })
}

/// What takes the messages of a queue stands in the queue's table.
fn consumer(making: &mut Making<'_>, thing: &Surveyed, mut keys: Map<String, Json>, what: &str) {
    let queue = making.names.of_claim("queue", &thing.claim).map(str::to_owned);
    let Some(table) = queue.and_then(|key| making.tables.get_mut(&("queue", key))) else {
        return making.leave(what, "its queue is not imported");
    };
    if thing.properties.get("type").and_then(Value::as_text) == Some("http_pull") {
        keys.insert("http_pull".to_owned(), true.into());
    }
    if !(keys.contains_key("worker") || keys.contains_key("http_pull")) {
        return making.leave(what, "the queue is imported without it");
    }
    table.keys.insert("consumer".to_owned(), Json::Object(keys));
}

/// What only a person has, in its place; `None` where nothing is missing.
fn secrets(kind: &str, key: &str, table: &mut TableSketch) -> Option<&'static str> {
    if kind == Kind::Hyperdrive.as_str() {
        if let Some(Json::Object(origin)) = table.keys.get_mut("origin") {
            origin.insert("password".to_owned(), json!({ "secret": format!("{key}-password") }));
        }
        return Some("its password cannot be read: write it with `trunkline secrets set`");
    }
    if kind == Kind::MtlsCertificate.as_str() {
        table.keys.insert("certificate".to_owned(), json!(format!("certificates/{key}.pem")));
        if table.keys.get("ca") != Some(&Json::Bool(true)) {
            table.keys.insert("private_key".to_owned(), json!({ "secret": format!("{key}-key") }));
        }
        return Some("certificate and key cannot be read: put the file there, and write the key with `trunkline secrets set`");
    }
    None
}
