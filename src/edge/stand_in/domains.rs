//! Custom domains of Workers: who has which host, and the DNS record that comes with it. No request arrives by it.
//!
//! As at Cloudflare, `PUT workers/domains` hands a host that another Worker has over to the new one; it is for the caller
//! to look first.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Query, State as Extracted};
use bytes::Bytes;
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::super::api::answer::{Answer, Refusal, ok};
use super::super::api::parse;
use super::super::plane::Plane;
use super::super::record::{fresh_hex, fresh_uuid, now};
use super::records::Records;
use super::{Asked, Kept, dns, missing, needed, object, text, zones};

type Ctx = Extracted<Arc<Plane>>;

const SET: &str = "domains";

/// What a call wants to attach.
struct Wanted {
    hostname: String,
    service: String,
    zone: (String, String),
    /// A DNS record that is there is replaced.
    over_dns: bool,
}

async fn wanted(plane: &Plane, fields: &Map<String, Value>, service: &str, over_dns: bool) -> Result<Wanted, Refusal> {
    let hostname = needed(fields, "hostname", 10021)?.to_ascii_lowercase();
    let zone = zones::of_host(plane, &hostname, (text(fields, "zone_id"), text(fields, "zone_name"))).await?;
    let within = hostname.strip_suffix(&zone.1).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    if !within {
        return Err(Refusal::bad(100_114, format!("{hostname} does not lie in the zone {}", zone.1)));
    }
    if !plane.state().scripts.contains_key(service) {
        return Err(Refusal::no_worker(service));
    }
    Ok(Wanted { hostname, service: service.to_owned(), zone, over_dns })
}

fn attach(records: &mut Records, wanted: &Wanted) -> Result<Value, Refusal> {
    let Wanted { hostname, service, zone: (zone_id, zone_name), over_dns } = wanted;
    if let Some(found) = records.find(SET, ("hostname", hostname)).cloned() {
        let mut next = found;
        next["service"] = json!(service);
        records.replace(SET, "hostname", next.clone());
        return Ok(next);
    }
    let set = dns::set(zone_id);
    let addresses = |record: &&Value| {
        record["name"] == hostname.as_str() && ["A", "AAAA", "CNAME"].iter().any(|sort| record["type"] == *sort)
    };
    let taken: Vec<String> =
        records.all(&set).iter().filter(addresses).filter_map(|record| record["id"].as_str().map(str::to_owned)).collect();
    if !taken.is_empty() && !over_dns {
        let message = format!("Hostname '{hostname}' already has externally managed DNS records (A, CNAME, etc).");
        return Err(Refusal::new(StatusCode::CONFLICT, 100_117, message));
    }
    for id in taken {
        records.remove(&set, ("id", &id));
    }
    let made = json!({
        "id": fresh_hex(),
        "hostname": hostname,
        "service": service,
        "environment": "production",
        "zone_id": zone_id,
        "zone_name": zone_name,
        "cert_id": fresh_uuid(),
    });
    records.add(SET, made.clone())?;
    let record = json!({
        "id": fresh_hex(), "zone_id": zone_id, "zone_name": zone_name, "name": hostname, "type": "AAAA", "content": "100::",
        "proxiable": true, "proxied": true, "ttl": 1, "settings": {}, "comment": null, "tags": [],
        "meta": { "origin_worker_id": made["id"], "read_only": true }, "created_on": now(), "modified_on": now(),
    });
    records.add(&set, record)?;
    Ok(made)
}

fn detach(records: &mut Records, id: &str) -> Result<(), Refusal> {
    let gone = records.remove(SET, ("id", id)).ok_or_else(|| no_domain(id))?;
    let set = dns::set(gone["zone_id"].as_str().unwrap_or_default());
    let record = records.all(&set).iter().find(|record| record["meta"]["origin_worker_id"] == id);
    if let Some(record) = record.and_then(|record| record["id"].as_str().map(str::to_owned)) {
        records.remove(&set, ("id", &record));
    }
    Ok(())
}

fn no_domain(id: &str) -> Refusal {
    missing(100_112, "custom domain", id)
}

/// `GET workers/domains`.
pub(super) async fn list(Extension(kept): Kept, Query(asked): Asked) -> Answer {
    let fields = ["hostname", "service", "environment", "zone_id", "zone_name"];
    let fits =
        |domain: &&Value| fields.iter().all(|field| asked.get(*field).is_none_or(|wanted| domain[*field] == wanted.as_str()));
    ok(kept.listed().all(SET).iter().filter(fits).cloned().collect::<Vec<_>>())
}

/// `PUT workers/domains`.
pub(super) async fn put(Extracted(plane): Ctx, Extension(kept): Kept, body: Bytes) -> Answer {
    let fields = object(&body)?;
    let over_dns = fields.get("override_existing_dns_record") == Some(&json!(true));
    let wanted = wanted(&plane, &fields, needed(&fields, "service", 10021)?, over_dns).await?;
    ok(kept.change(|records| attach(records, &wanted)).await?)
}

/// `GET workers/domains/{d}`.
pub(super) async fn show(Extension(kept): Kept, Path((_, id)): Path<(String, String)>) -> Answer {
    ok(kept.now().find(SET, ("id", &id)).cloned().ok_or_else(|| no_domain(&id))?)
}

/// `DELETE workers/domains/{d}`.
pub(super) async fn delete(Extension(kept): Kept, Path((_, id)): Path<(String, String)>) -> Answer {
    kept.change(|records| detach(records, &id)).await?;
    ok(json!(null))
}

/// `POST scripts/{n}/domains/changeset`: what the set of origins that follows would do.
pub(super) async fn changeset(Extension(kept): Kept, Path((_, script)): Path<(String, String)>, body: Bytes) -> Answer {
    let origins: Vec<Map<String, Value>> = parse(&body)?;
    let records = kept.now();
    let (mut added, mut updated) = (Vec::new(), Vec::new());
    for origin in &origins {
        let hostname = needed(origin, "hostname", 10021)?;
        match records.find(SET, ("hostname", hostname)) {
            None => added.push(json!({ "hostname": hostname })),
            Some(found) => {
                let mut found = found.clone();
                found["modified"] = json!(found["service"] != script.as_str());
                updated.push(found);
            }
        }
    }
    ok(json!({ "added": added, "updated": updated, "removed": [], "conflicting": [] }))
}

/// `PUT scripts/{n}/domains/records`, which wrangler uses: attaches hosts to a Worker.
pub(super) async fn replace(
    Extracted(plane): Ctx,
    Extension(kept): Kept,
    Path((_, script)): Path<(String, String)>,
    body: Bytes,
) -> Answer {
    let fields = object(&body)?;
    let said = |field: &str| fields.get(field) == Some(&json!(true));
    let mut all = Vec::new();
    for origin in fields.get("origins").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object) {
        all.push(wanted(&plane, origin, &script, said("override_existing_dns_record")).await?);
    }
    let over_origin = said("override_existing_origin");
    let edit = |records: &mut Records| {
        let mut made = Vec::new();
        for wanted in &all {
            let other = records.find(SET, ("hostname", &wanted.hostname)).filter(|found| found["service"] != script.as_str());
            if let Some(other) = other.filter(|_| !over_origin) {
                let message = format!("{} is a custom domain of {}", wanted.hostname, other["service"]);
                return Err(Refusal::new(StatusCode::CONFLICT, 100_116, message));
            }
            made.push(attach(records, wanted)?);
        }
        Ok(made)
    };
    ok(kept.change(edit).await?)
}
