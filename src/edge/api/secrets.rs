//! Secrets of a Worker. Each change makes a version and deploys it, as Cloudflare does.
//!
//! **Invariant:** a value goes in and never comes out.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, State as Extracted};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::plane::Plane;
use super::super::record::{Binding, Script, State, Version, fresh_uuid, now};
use super::answer::{Answer, Refusal, ok};
use super::bindings::is_name;
use super::upload::next_number;
use super::{Ctx, Name, Names, nothing, parse, scripts, source_of, versions};
use crate::model::Secret;

fn shown(name: &str) -> Value {
    json!({ "name": name, "type": "secret_text" })
}

fn names(script: &Script) -> Vec<&String> {
    let version = script.principal().or(script.latest());
    let bindings = version.into_iter().flat_map(|version| &version.bindings);
    bindings.filter(|(_, binding)| matches!(binding, Binding::SecretText { .. })).map(|(name, _)| name).collect()
}

/// `GET secrets`: names and types.
pub(super) async fn list(Extracted(plane): Ctx, Path((_, name)): Name) -> Answer {
    let state = plane.state();
    let script = state.scripts.get(&name).ok_or_else(|| Refusal::no_worker(&name))?;
    ok(names(script).into_iter().map(|name| shown(name)).collect::<Vec<_>>())
}

/// `GET secrets/{s}`: name and type.
pub(super) async fn show(Extracted(plane): Ctx, Path((_, name, secret)): Names) -> Answer {
    let state = plane.state();
    let script = state.scripts.get(&name).ok_or_else(|| Refusal::no_worker(&name))?;
    if !names(script).contains(&&secret) {
        return Err(absent(&secret));
    }
    ok(shown(&secret))
}

#[derive(Deserialize)]
struct Put {
    name: String,
    text: String,
    r#type: Option<String>,
}

/// `PUT secrets`: sets one.
pub(super) async fn put(Extracted(plane): Ctx, Path((_, name)): Name, headers: HeaderMap, body: Bytes) -> Answer {
    let put: Put = parse(&body)?;
    let value = json!({ "type": put.r#type.as_deref().unwrap_or("secret_text"), "text": put.text });
    let changes = BTreeMap::from([(put.name.clone(), value)]);
    change(&plane, &name, &changes, &source_of(&headers)).await?;
    ok(shown(&put.name))
}

/// `DELETE secrets/{s}`.
pub(super) async fn delete(Extracted(plane): Ctx, Path((_, name, secret)): Names, headers: HeaderMap) -> Answer {
    let changes = BTreeMap::from([(secret, Value::Null)]);
    change(&plane, &name, &changes, &source_of(&headers)).await?;
    ok(nothing())
}

/// `PATCH secrets-bulk`: sets those with a value and removes those that are null; `{"secrets": {…}}` or the map itself.
pub(super) async fn bulk(Extracted(plane): Ctx, Path((_, name)): Name, headers: HeaderMap, body: Bytes) -> Answer {
    let mut body: Value = parse(&body)?;
    let map = match body.get_mut("secrets") {
        Some(secrets) => secrets.take(),
        None => body,
    };
    let changes: BTreeMap<String, Value> =
        serde_json::from_value(map).map_err(|_| Refusal::bad(10026, "the body is not a map of secrets"))?;
    change(&plane, &name, &changes, &source_of(&headers)).await?;
    ok(changes.iter().filter(|(_, value)| !value.is_null()).map(|(name, _)| shown(name)).collect::<Vec<_>>())
}

/// Makes a version with changed secrets and deploys it.
async fn change(plane: &Plane, script_name: &str, changes: &BTreeMap<String, Value>, source: &str) -> Result<(), Refusal> {
    let edit = |state: &mut State| {
        let script = state.script_mut(script_name).ok_or_else(|| Refusal::no_worker(script_name))?;
        versions::latest_serves(script, 10215)?;
        let latest = script.latest().ok_or_else(|| Refusal::no_worker(script_name))?;
        let mut bindings = latest.bindings.clone();
        for (name, value) in changes {
            apply(plane, &mut bindings, name, value)?;
        }
        let version = successor(script, latest, bindings, source, "secret");
        scripts::deploy_alone(script, Arc::new(version), source);
        Ok::<_, Refusal>(())
    };
    Box::pin(plane.change(edit)).await
}

fn apply(plane: &Plane, bindings: &mut BTreeMap<String, Binding>, name: &str, value: &Value) -> Result<(), Refusal> {
    let existing = bindings.get(name);
    if existing.is_some_and(|binding| !matches!(binding, Binding::SecretText { .. })) {
        return Err(Refusal::bad(10053, format!("the binding name `{name}` is in use already")));
    }
    if value.is_null() {
        return bindings.remove(name).map(|_| ()).ok_or_else(|| absent(name));
    }
    if value["type"].as_str().is_some_and(|kind| kind != "secret_text") {
        return Err(Refusal::bad(10021, format!("this edge has secrets of type `secret_text` only: `{name}`")));
    }
    let text = value["text"].as_str().filter(|text| text.len() <= 5 * 1024);
    let text = text.ok_or_else(|| Refusal::bad(10054, format!("the secret `{name}` has no text of at most 5 KiB")))?;
    if !is_name(name) {
        return Err(Refusal::bad(10021, "a secret has no valid name"));
    }
    bindings.insert(name.to_owned(), plane.seal.seal(&Secret::new(text.as_bytes().to_vec()))?);
    Ok(())
}

/// The version that follows another with other bindings. It has no messages: they were about the upload.
pub(super) fn successor(
    script: &Script,
    latest: &Version,
    bindings: BTreeMap<String, Binding>,
    source: &str,
    why: &str,
) -> Version {
    Version {
        id: fresh_uuid(),
        number: next_number(Some(script)),
        created_on: now(),
        source: source.to_owned(),
        annotations: BTreeMap::from([("workers/triggered_by".to_owned(), why.to_owned())]),
        bindings,
        ..latest.clone()
    }
}

fn absent(name: &str) -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, 10056, format!("there is no secret `{name}`"))
}
