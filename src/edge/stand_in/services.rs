//! Services of private networks (Workers VPC): which host a service is, behind which tunnel. Nothing is reached by them.

use axum::Extension;
use axum::extract::{Path, Query};
use bytes::Bytes;
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::super::api::answer::{Answer, Refusal, ok};
use super::super::record::now;
use super::records::Records;
use super::{Asked, Kept, missing, needed, object, pages, text};

const SET: &str = "services";

fn no_service(id: &str) -> Refusal {
    missing(5104, "service", id)
}

fn service(wanted: &Map<String, Value>, before: Option<&Value>) -> Result<Value, Refusal> {
    let name = needed(wanted, "name", 5101)?;
    let sort = needed(wanted, "type", 5101)?;
    if !matches!(sort, "http" | "tcp") {
        return Err(Refusal::bad(5101, format!("a service is `http` or `tcp`, not `{sort}`")));
    }
    let host = wanted.get("host").and_then(Value::as_object).ok_or_else(|| Refusal::bad(5101, "`host` is required"))?;
    if !["ipv4", "ipv6", "hostname"].iter().any(|field| text(host, field).is_some()) {
        return Err(Refusal::bad(5101, "`host` has an `ipv4`, an `ipv6` or a `hostname`"));
    }
    let network = host.get("network").or_else(|| host.get("resolver_network")).and_then(Value::as_object);
    network.and_then(|network| text(network, "tunnel_id")).ok_or_else(|| Refusal::bad(5101, "`host` names no tunnel"))?;
    let made = |field: &str| before.map_or_else(|| json!(now()), |before| before[field].clone());
    let mut service = json!({
        "service_id": before.map_or_else(|| json!(uuid::Uuid::now_v7().to_string()), |before| before["service_id"].clone()),
        "name": name,
        "type": sort,
        "host": host,
        "created_at": made("created_at"),
        "updated_at": now(),
    });
    for field in ["http_port", "https_port", "tcp_port", "app_protocol", "tls_settings"] {
        if let Some(value) = wanted.get(field).filter(|value| !value.is_null()) {
            service[field] = value.clone();
        }
    }
    Ok(service)
}

fn free(records: &Records, service: &Value) -> Result<(), Refusal> {
    let taken = |other: &Value| other["name"] == service["name"] && other["service_id"] != service["service_id"];
    match records.all(SET).iter().any(taken) {
        true => Err(Refusal::new(StatusCode::CONFLICT, 5102, format!("a service named {} exists", service["name"]))),
        false => Ok(()),
    }
}

/// `GET connectivity/directory/services`.
pub(super) async fn list(Extension(kept): Kept, Query(asked): Asked) -> Answer {
    let fits = |service: &&Value| asked.get("type").is_none_or(|wanted| service["type"] == wanted.as_str());
    pages(kept.listed().all(SET).iter().filter(fits).cloned().collect(), &asked, (20, 1000))
}

/// `POST connectivity/directory/services`.
pub(super) async fn create(Extension(kept): Kept, body: Bytes) -> Answer {
    let made = service(&object(&body)?, None)?;
    let edit = |records: &mut Records| {
        free(records, &made)?;
        records.add(SET, made.clone())?;
        Ok(made)
    };
    ok(kept.change(edit).await?)
}

/// `GET connectivity/directory/services/{s}`.
pub(super) async fn show(Extension(kept): Kept, Path((_, id)): Path<(String, String)>) -> Answer {
    ok(kept.now().find(SET, ("service_id", &id)).cloned().ok_or_else(|| no_service(&id))?)
}

/// `PUT connectivity/directory/services/{s}`.
pub(super) async fn update(Extension(kept): Kept, Path((_, id)): Path<(String, String)>, body: Bytes) -> Answer {
    let wanted = object(&body)?;
    let edit = |records: &mut Records| {
        let before = records.find(SET, ("service_id", &id)).ok_or_else(|| no_service(&id))?;
        let made = service(&wanted, Some(before))?;
        free(records, &made)?;
        records.replace(SET, "service_id", made.clone());
        Ok(made)
    };
    ok(kept.change(edit).await?)
}

/// `DELETE connectivity/directory/services/{s}`.
pub(super) async fn delete(Extension(kept): Kept, Path((_, id)): Path<(String, String)>) -> Answer {
    kept.change(|records| records.remove(SET, ("service_id", &id)).ok_or_else(|| no_service(&id))).await?;
    ok(json!(null))
}
