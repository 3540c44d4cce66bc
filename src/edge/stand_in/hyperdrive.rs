//! Hyperdrive configurations: how a database is reached. No connection is made, and the password is dropped.

use axum::Extension;
use axum::extract::{Path, Query};
use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::super::api::answer::{Answer, Refusal, ok};
use super::super::record::{fresh_hex, now};
use super::records::Records;
use super::{Asked, Kept, missing, needed, object, pages, text};

const SET: &str = "hyperdrive";

/// Fields of an origin that are shown; `password` and `access_client_secret` never are.
const ORIGIN: [&str; 7] = ["scheme", "host", "port", "database", "user", "access_client_id", "service_id"];

fn no_config(id: &str) -> Refusal {
    missing(2001, "Hyperdrive configuration", id)
}

/// The configuration that `wanted` describes; what it does not name is as in `before`, where `keep` says so.
fn config(wanted: &Map<String, Value>, (before, keep): (Option<&Value>, bool)) -> Result<Value, Refusal> {
    let old = |field: &str| before.filter(|_| keep).map_or(Value::Null, |before| before[field].clone());
    let name = text(wanted, "name").map(str::to_owned).or_else(|| old("name").as_str().map(str::to_owned));
    let name = name.ok_or_else(|| Refusal::bad(2008, "`name` is required"))?;
    let mut origin = old("origin").as_object().cloned().unwrap_or_default();
    if let Some(given) = wanted.get("origin").and_then(Value::as_object) {
        let shown = ORIGIN.iter().filter_map(|field| Some(((*field).to_owned(), given.get(*field)?.clone())));
        origin.extend(shown);
        if before.is_none() && text(given, "password").is_none() {
            return Err(Refusal::bad(2008, "`origin.password` is required"));
        }
    }
    needed(&origin, "host", 2008).or_else(|_| needed(&origin, "service_id", 2008))?;
    needed(&origin, "database", 2008)?;
    let mut caching = json!({ "disabled": false });
    for side in [&old("caching"), wanted.get("caching").unwrap_or(&Value::Null)] {
        if let (Some(all), Some(given)) = (caching.as_object_mut(), side.as_object()) {
            all.extend(given.clone());
        }
    }
    let made = |field: &str| before.map_or_else(|| json!(now()), |before| before[field].clone());
    Ok(json!({
        "id": before.map_or_else(|| json!(fresh_hex()), |before| before["id"].clone()),
        "name": name,
        "origin": origin,
        "caching": caching,
        "mtls": wanted.get("mtls").cloned().unwrap_or_else(|| old("mtls")),
        "origin_connection_limit": wanted.get("origin_connection_limit").cloned().unwrap_or_else(|| old("origin_connection_limit")),
        "created_on": made("created_on"),
        "modified_on": now(),
    }))
}

fn free(records: &Records, config: &Value) -> Result<(), Refusal> {
    match records.all(SET).iter().any(|other| other["name"] == config["name"] && other["id"] != config["id"]) {
        true => Err(Refusal::bad(2017, format!("a Hyperdrive configuration with the name {} exists", config["name"]))),
        false => Ok(()),
    }
}

/// `GET hyperdrive/configs`.
pub(super) async fn list(Extension(kept): Kept, Query(asked): Asked) -> Answer {
    pages(kept.listed().all(SET).to_vec(), &asked, (20, 1000))
}

/// `POST hyperdrive/configs`.
pub(super) async fn create(Extension(kept): Kept, body: Bytes) -> Answer {
    let made = config(&object(&body)?, (None, false))?;
    let edit = |records: &mut Records| {
        free(records, &made)?;
        records.add(SET, made.clone())?;
        Ok(made)
    };
    ok(kept.change(edit).await?)
}

/// `GET hyperdrive/configs/{c}`.
pub(super) async fn show(Extension(kept): Kept, Path((_, id)): Path<(String, String)>) -> Answer {
    ok(kept.now().find(SET, ("id", &id)).cloned().ok_or_else(|| no_config(&id))?)
}

async fn changed(kept: &super::StandIn, (id, keep): (&str, bool), body: &Bytes) -> Answer {
    let wanted = object(body)?;
    let edit = |records: &mut Records| {
        let before = records.find(SET, ("id", id)).ok_or_else(|| no_config(id))?;
        let made = config(&wanted, (Some(before), keep))?;
        free(records, &made)?;
        records.replace(SET, "id", made.clone());
        Ok(made)
    };
    ok(kept.change(edit).await?)
}

/// `PUT hyperdrive/configs/{c}`: all of it.
pub(super) async fn update(Extension(kept): Kept, Path((_, id)): Path<(String, String)>, body: Bytes) -> Answer {
    changed(&kept, (&id, false), &body).await
}

/// `PATCH hyperdrive/configs/{c}`: single fields.
pub(super) async fn edit(Extension(kept): Kept, Path((_, id)): Path<(String, String)>, body: Bytes) -> Answer {
    changed(&kept, (&id, true), &body).await
}

/// `DELETE hyperdrive/configs/{c}`.
pub(super) async fn delete(Extension(kept): Kept, Path((_, id)): Path<(String, String)>) -> Answer {
    kept.change(|records| records.remove(SET, ("id", &id)).ok_or_else(|| no_config(&id))).await?;
    ok(json!(null))
}
