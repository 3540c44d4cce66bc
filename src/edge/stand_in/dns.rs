//! DNS records: what is written of them. No name resolves by it.
//!
//! As at Cloudflare: names are whole and in small letters, a target loses its last dot, text gets its quotes, a proxied
//! record has the automatic TTL. Codes: 81044 no such record, 81053 and 81054 what a name cannot have together,
//! 81058 an identical record, 1004 and 9000s a record that makes no sense.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Query, State as Extracted};
use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::super::api::answer::{Answer, Refusal, ok};
use super::super::plane::Plane;
use super::super::record::{fresh_hex, now};
use super::records::Records;
use super::{Asked, Kept, missing, object, pages, text, zones};

type Ctx = Extracted<Arc<Plane>>;

/// Types whose content is a text of its own.
const PLAIN: [&str; 8] = ["A", "AAAA", "CNAME", "MX", "NS", "OPENPGPKEY", "PTR", "TXT"];
/// Types whose content is made of `data`.
const MADE: [&str; 12] = ["CAA", "CERT", "DNSKEY", "DS", "HTTPS", "LOC", "NAPTR", "SMIMEA", "SRV", "SSHFP", "SVCB", "TLSA"];
/// Characters of a comment on the paid plans.
const COMMENT: usize = 500;

/// The set of a zone's records.
pub(super) fn set(zone: &str) -> String {
    format!("dns {zone}")
}

/// A zone, by its id and its name.
struct Zone<'a> {
    id: &'a str,
    name: &'a str,
}

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::bad(1004, format!("DNS Validation Error: {}", message.into()))
}

/// A name as the API shows it: whole, in small letters.
fn whole_name(written: &str, zone: &str) -> String {
    let name = written.trim_end_matches('.').to_ascii_lowercase();
    match name.as_str() {
        "" | "@" => zone.to_owned(),
        _ if name == zone || name.ends_with(&format!(".{zone}")) => name,
        _ => format!("{name}.{zone}"),
    }
}

fn host(written: &str) -> String {
    written.trim_end_matches('.').to_ascii_lowercase()
}

/// Content as the API shows it.
fn shown_content(sort: &str, wanted: &Map<String, Value>) -> Result<String, Refusal> {
    if MADE.contains(&sort) {
        let data =
            wanted.get("data").and_then(Value::as_object).ok_or_else(|| invalid(format!("a {sort} record needs `data`")))?;
        let field = |name: &str| match data.get(name) {
            Some(Value::String(text)) => Ok(text.clone()),
            Some(Value::Number(number)) => Ok(number.to_string()),
            _ => Err(invalid(format!("a {sort} record needs `data.{name}`"))),
        };
        return Ok(match sort {
            "SRV" => format!("{} {} {}", field("weight")?, field("port")?, host(&field("target")?)),
            "CAA" => format!("{} {} \"{}\"", field("flags")?, field("tag")?, field("value")?),
            _ => data.keys().map(|name| field(name)).collect::<Result<Vec<_>, _>>()?.join(" "),
        });
    }
    let content = text(wanted, "content").ok_or_else(|| invalid("Content for the record is missing"))?;
    let wrong = |what: &str| Refusal::bad(9005, format!("Content for {sort} record is invalid. Must be a valid {what} address"));
    Ok(match sort {
        "A" => content.parse::<Ipv4Addr>().map_err(|_| wrong("IPv4"))?.to_string(),
        "AAAA" => content.parse::<Ipv6Addr>().map_err(|_| wrong("IPv6"))?.to_string(),
        "TXT" if content.starts_with('"') => content.to_owned(),
        "TXT" => format!("\"{}\"", content.replace('\\', "\\\\").replace('"', "\\\"")),
        "CNAME" | "MX" | "NS" | "PTR" => host(content),
        _ => content.to_owned(),
    })
}

/// The record that `wanted` describes, in the place of `before`.
fn record(zone: &Zone<'_>, wanted: &Map<String, Value>, before: Option<&Value>) -> Result<Value, Refusal> {
    let sort = text(wanted, "type").ok_or_else(|| invalid("Type for the record is missing"))?;
    if !PLAIN.contains(&sort) && !MADE.contains(&sort) && sort != "URI" {
        return Err(invalid(format!("Type {sort} is unknown")));
    }
    let name = text(wanted, "name").ok_or_else(|| invalid("Name for the record is missing"))?;
    let proxiable = matches!(sort, "A" | "AAAA" | "CNAME");
    let proxied = wanted.get("proxied").and_then(Value::as_bool).unwrap_or(false);
    if proxied && !proxiable {
        return Err(Refusal::bad(9004, "This record type cannot be proxied."));
    }
    let ttl = match wanted.get("ttl").map(|ttl| ttl.as_i64().or_else(|| ttl.as_f64().map(|ttl| ttl as i64))) {
        None => 1,
        Some(Some(ttl)) if ttl == 1 || (60..=86_400).contains(&ttl) => ttl,
        Some(_) => return Err(Refusal::bad(9021, "Invalid TTL. Must be between 60 and 86400 seconds, or 1 for Automatic.")),
    };
    let comment = wanted.get("comment").and_then(Value::as_str).unwrap_or_default();
    if comment.chars().count() > COMMENT {
        return Err(invalid(format!("a comment has at most {COMMENT} characters")));
    }
    let priority = wanted.get("priority").and_then(Value::as_f64).or_else(|| wanted.get("data")?.get("priority")?.as_f64());
    if matches!(sort, "MX" | "URI") && priority.is_none() {
        return Err(invalid(format!("a {sort} record needs `priority`")));
    }
    let time = now();
    let made = |field: &str| before.map_or_else(|| json!(time), |before| before[field].clone());
    let mut record = json!({
        "id": before.map_or_else(|| json!(fresh_hex()), |before| before["id"].clone()),
        "zone_id": zone.id,
        "zone_name": zone.name,
        "name": whole_name(name, zone.name),
        "type": sort,
        "content": shown_content(sort, wanted)?,
        "proxiable": proxiable,
        "proxied": proxied,
        "ttl": if proxied { 1 } else { ttl },
        "settings": wanted.get("settings").filter(|settings| settings.is_object()).cloned().unwrap_or_else(|| json!({})),
        "meta": {},
        "comment": if comment.is_empty() { Value::Null } else { json!(comment) },
        "tags": wanted.get("tags").filter(|tags| tags.is_array()).cloned().unwrap_or_else(|| json!([])),
        "created_on": made("created_on"),
        "modified_on": time,
    });
    if !comment.is_empty() {
        record["comment_modified_on"] = json!(time);
    }
    if let Some(priority) = priority {
        record["priority"] = json!(priority as i64);
    }
    if MADE.contains(&sort) {
        record["data"] = wanted["data"].clone();
    }
    Ok(record)
}

/// Whether a record can stand beside the others of its zone.
fn fits(records: &Records, zone: &Zone<'_>, wanted: &Value) -> Result<(), Refusal> {
    for other in records.all(&set(zone.id)).iter().filter(|other| other["id"] != wanted["id"] && other["name"] == wanted["name"])
    {
        let is = |record: &Value, sorts: &[&str]| sorts.iter().any(|sort| record["type"] == *sort);
        if other["type"] == wanted["type"] && other["content"] == wanted["content"] {
            return Err(Refusal::bad(81058, "An identical record already exists."));
        }
        if is(wanted, &["CNAME"]) && is(other, &["A", "AAAA", "CNAME"]) {
            return Err(Refusal::bad(81053, "An A, AAAA, or CNAME record with that host already exists."));
        }
        if is(wanted, &["A", "AAAA"]) && is(other, &["CNAME"]) {
            return Err(Refusal::bad(81054, "A CNAME record with that host already exists."));
        }
    }
    Ok(())
}

fn create_in(records: &mut Records, zone: &Zone<'_>, wanted: &Map<String, Value>) -> Result<Value, Refusal> {
    let made = record(zone, wanted, None)?;
    fits(records, zone, &made)?;
    records.add(&set(zone.id), made.clone())?;
    Ok(made)
}

/// Changes a record; `keep` says that what is not named stays as it is.
fn change_in(
    records: &mut Records,
    zone: &Zone<'_>,
    (id, keep): (&str, bool),
    wanted: &Map<String, Value>,
) -> Result<Value, Refusal> {
    let before = writable(records, zone, id)?.clone();
    let mut fields = if keep { before.as_object().cloned().unwrap_or_default() } else { Map::new() };
    fields.extend(wanted.clone());
    let made = record(zone, &fields, Some(&before))?;
    fits(records, zone, &made)?;
    records.replace(&set(zone.id), "id", made.clone());
    Ok(made)
}

fn delete_in(records: &mut Records, zone: &Zone<'_>, id: &str) -> Result<Value, Refusal> {
    writable(records, zone, id)?;
    records.remove(&set(zone.id), ("id", id)).ok_or_else(|| no_record(id))
}

/// A record that is there, and that no custom domain of a Worker keeps.
fn writable<'a>(records: &'a Records, zone: &Zone<'_>, id: &str) -> Result<&'a Value, Refusal> {
    let found = records.find(&set(zone.id), ("id", id)).ok_or_else(|| no_record(id))?;
    match found["meta"]["read_only"] == true {
        true => Err(Refusal::bad(1043, "This record is managed by Workers; remove the custom domain instead.")),
        false => Ok(found),
    }
}

fn no_record(id: &str) -> Refusal {
    missing(81044, "DNS record", id)
}

/// Whether a record has what a list asks for.
fn asked_for(record: &Value, asked: &BTreeMap<String, String>) -> bool {
    let checks: Vec<bool> = asked
        .iter()
        .filter_map(|(key, wanted)| {
            let (field, how) = key.split_once('.').unwrap_or((key, "exact"));
            if !matches!(field, "name" | "content" | "comment" | "type" | "proxied" | "search") {
                return None;
            }
            let wanted = wanted.to_ascii_lowercase();
            let is = match &record[field] {
                Value::String(text) => text.to_ascii_lowercase(),
                Value::Bool(flag) => flag.to_string(),
                _ => String::new(),
            };
            Some(match (field, how) {
                ("search", _) => ["name", "content", "comment"]
                    .iter()
                    .any(|field| record[*field].as_str().is_some_and(|text| text.to_ascii_lowercase().contains(&wanted))),
                (_, "exact") => is == wanted,
                (_, "contains") => is.contains(&wanted),
                (_, "startswith") => is.starts_with(&wanted),
                (_, "endswith") => is.ends_with(&wanted),
                (_, "present") => !is.is_empty(),
                (_, "absent") => is.is_empty(),
                _ => true,
            })
        })
        .collect();
    let any = asked.get("match").is_some_and(|how| how == "any") && !checks.is_empty();
    if any { checks.into_iter().any(|fits| fits) } else { checks.into_iter().all(|fits| fits) }
}

/// `GET dns_records`.
pub(super) async fn list(Extracted(plane): Ctx, Extension(kept): Kept, Path(zone): Path<String>, Query(asked): Asked) -> Answer {
    zones::name(&plane, &zone)?;
    let records = kept.listed();
    let mut found: Vec<Value> = records.all(&set(&zone)).iter().filter(|record| asked_for(record, &asked)).cloned().collect();
    if let Some(order) = asked.get("order") {
        found.sort_by_key(|record| record[order.as_str()].to_string());
    }
    if asked.get("direction").is_some_and(|direction| direction == "desc") {
        found.reverse();
    }
    pages(found, &asked, (100, 5_000_000))
}

/// `POST dns_records`.
pub(super) async fn create(Extracted(plane): Ctx, Extension(kept): Kept, Path(zone): Path<String>, body: Bytes) -> Answer {
    let (name, wanted) = (zones::name(&plane, &zone)?, object(&body)?);
    ok(kept.change(|records| create_in(records, &Zone { id: &zone, name: &name }, &wanted)).await?)
}

/// `GET dns_records/{r}`.
pub(super) async fn show(Extension(kept): Kept, Path((zone, id)): Path<(String, String)>) -> Answer {
    ok(kept.now().find(&set(&zone), ("id", &id)).cloned().ok_or_else(|| no_record(&id))?)
}

/// `PUT dns_records/{r}`: the whole record.
pub(super) async fn update(
    Extracted(plane): Ctx,
    Extension(kept): Kept,
    Path((zone, id)): Path<(String, String)>,
    body: Bytes,
) -> Answer {
    let (name, wanted) = (zones::name(&plane, &zone)?, object(&body)?);
    ok(kept.change(|records| change_in(records, &Zone { id: &zone, name: &name }, (&id, false), &wanted)).await?)
}

/// `PATCH dns_records/{r}`: single fields.
pub(super) async fn edit(
    Extracted(plane): Ctx,
    Extension(kept): Kept,
    Path((zone, id)): Path<(String, String)>,
    body: Bytes,
) -> Answer {
    let (name, wanted) = (zones::name(&plane, &zone)?, object(&body)?);
    ok(kept.change(|records| change_in(records, &Zone { id: &zone, name: &name }, (&id, true), &wanted)).await?)
}

/// `DELETE dns_records/{r}`.
pub(super) async fn delete(Extracted(plane): Ctx, Extension(kept): Kept, Path((zone, id)): Path<(String, String)>) -> Answer {
    let name = zones::name(&plane, &zone)?;
    kept.change(|records| delete_in(records, &Zone { id: &zone, name: &name }, &id)).await?;
    ok(json!({ "id": id }))
}

/// `POST dns_records/batch`: deletes, patches, puts, posts, in this order, all or none.
pub(super) async fn batch(Extracted(plane): Ctx, Extension(kept): Kept, Path(zone): Path<String>, body: Bytes) -> Answer {
    let (name, wanted) = (zones::name(&plane, &zone)?, object(&body)?);
    let zone = Zone { id: &zone, name: &name };
    let edit = |records: &mut Records| {
        let mut result = Map::new();
        for part in ["deletes", "patches", "puts", "posts"] {
            let items = wanted.get(part).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            let mut done = Vec::new();
            for item in items.iter().filter_map(Value::as_object) {
                let id = text(item, "id").ok_or_else(|| invalid("`id` is missing"));
                done.push(match part {
                    "deletes" => delete_in(records, &zone, id?)?,
                    "patches" => change_in(records, &zone, (id?, true), item)?,
                    "puts" => change_in(records, &zone, (id?, false), item)?,
                    _ => create_in(records, &zone, item)?,
                });
            }
            result.insert(part.to_owned(), Value::Array(done));
        }
        Ok(Value::Object(result))
    };
    ok(kept.change(edit).await?)
}
