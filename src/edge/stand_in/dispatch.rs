//! Dispatch namespaces (Workers for Platforms): their names, and which Workers are in them. None of these runs, and the
//! code that comes with them is dropped.

use axum::Extension;
use axum::extract::{Path, Query};
use bytes::Bytes;
use serde_json::{Value, json};

use super::super::api::answer::{Answer, Refusal, ok};
use super::super::record::{fresh_hex, fresh_uuid, hex_of, now};
use super::records::Records;
use super::{Asked, Kept, missing, needed, object};

const SET: &str = "dispatch namespaces";

fn scripts(namespace: &str) -> String {
    format!("dispatch scripts {namespace}")
}

fn no_namespace(name: &str) -> Refusal {
    missing(100_119, "dispatch namespace", name)
}

fn shown(records: &Records, namespace: &Value) -> Value {
    let mut namespace = namespace.clone();
    let name = namespace["namespace_name"].as_str().unwrap_or_default().to_owned();
    namespace["script_count"] = json!(records.all(&scripts(&name)).len());
    namespace
}

/// `GET workers/dispatch/namespaces`.
pub(super) async fn list(Extension(kept): Kept, Query(_asked): Asked) -> Answer {
    let records = kept.listed();
    ok(records.all(SET).iter().map(|namespace| shown(&records, namespace)).collect::<Vec<_>>())
}

/// `POST workers/dispatch/namespaces`.
pub(super) async fn create(Extension(kept): Kept, body: Bytes) -> Answer {
    let wanted = object(&body)?;
    let name = needed(&wanted, "name", 100_120)?;
    let made = json!({
        "namespace_id": fresh_uuid(),
        "namespace_name": name,
        "created_by": hex_of("trunkline edge user"),
        "created_on": now(),
        "modified_by": hex_of("trunkline edge user"),
        "modified_on": now(),
        "script_count": 0,
        "trusted_workers": false,
    });
    let edit = |records: &mut Records| {
        if records.find(SET, ("namespace_name", name)).is_some() {
            return Err(Refusal::bad(100_121, format!("a dispatch namespace named {name} exists")));
        }
        records.add(SET, made.clone())?;
        Ok(made)
    };
    ok(kept.change(edit).await?)
}

/// `GET workers/dispatch/namespaces/{n}`.
pub(super) async fn show(Extension(kept): Kept, Path((_, name)): Path<(String, String)>) -> Answer {
    let records = kept.now();
    ok(shown(&records, records.find(SET, ("namespace_name", &name)).ok_or_else(|| no_namespace(&name))?))
}

/// `DELETE workers/dispatch/namespaces/{n}`, with what is in it.
pub(super) async fn delete(Extension(kept): Kept, Path((_, name)): Path<(String, String)>) -> Answer {
    let edit = |records: &mut Records| {
        records.remove(SET, ("namespace_name", &name)).ok_or_else(|| no_namespace(&name))?;
        records.drop_sets(|set| set == scripts(&name));
        Ok(json!(null))
    };
    ok(kept.change(edit).await?)
}

/// `GET …/scripts/{s}` and its settings.
pub(super) async fn script(Extension(kept): Kept, Path((_, namespace, name)): Path<(String, String, String)>) -> Answer {
    let records = kept.now();
    records.find(SET, ("namespace_name", &namespace)).ok_or_else(|| no_namespace(&namespace))?;
    let found = records.find(&scripts(&namespace), ("id", &name)).cloned();
    ok(found.ok_or_else(|| Refusal::no_worker(&name))?)
}

/// `PUT …/scripts/{s}`.
pub(super) async fn put_script(
    Extension(kept): Kept,
    Path((_, namespace, name)): Path<(String, String, String)>,
    body: Bytes,
) -> Answer {
    let made = json!({
        "id": name,
        "tag": fresh_hex(),
        "etag": crate::model::Digest::of(&body).to_string(),
        "dispatch_namespace": namespace,
        "created_on": now(),
        "modified_on": now(),
        "startup_time_ms": 0,
        "deployment_id": fresh_hex(),
        "bindings": [],
        "tags": [],
    });
    let edit = |records: &mut Records| {
        records.find(SET, ("namespace_name", &namespace)).ok_or_else(|| no_namespace(&namespace))?;
        records.remove(&scripts(&namespace), ("id", &name));
        records.add(&scripts(&namespace), made.clone())?;
        Ok(made)
    };
    ok(kept.change(edit).await?)
}

/// `DELETE …/scripts/{s}`.
pub(super) async fn delete_script(Extension(kept): Kept, Path((_, namespace, name)): Path<(String, String, String)>) -> Answer {
    let gone =
        |records: &mut Records| records.remove(&scripts(&namespace), ("id", &name)).ok_or_else(|| Refusal::no_worker(&name));
    kept.change(gone).await?;
    ok(json!(null))
}
