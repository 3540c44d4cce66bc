//! Deployments: which versions serve.
//!
//! **Invariant:** an older version is not brought back over changed secrets unless that is forced.

use std::collections::BTreeMap;

use axum::extract::{Path, Query, State as Extracted};
use bytes::Bytes;
use http::HeaderMap;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::record::{Binding, Deployment, Script, Share, State, Version, fresh_uuid, now};
use super::answer::{Answer, Refusal, ok};
use super::{Ctx, FlagQuery, Name, Names, parse, scripts, show, source_of, upload};

/// `GET deployments`: the active one first.
pub(super) async fn list(Extracted(plane): Ctx, Path((_, name)): Name) -> Answer {
    let state = plane.state();
    let script = state.scripts.get(&name).ok_or_else(|| Refusal::no_worker(&name))?;
    let deployments: Vec<Value> = script.deployments.iter().map(show::deployment).collect();
    ok(json!({ "deployments": deployments }))
}

/// `GET deployments/{id}`.
pub(super) async fn show(Extracted(plane): Ctx, Path((_, name, id)): Names) -> Answer {
    let state = plane.state();
    let script = state.scripts.get(&name).ok_or_else(|| Refusal::no_worker(&name))?;
    let found = script.deployments.iter().find(|deployment| deployment.id == id);
    ok(show::deployment(
        found.ok_or_else(|| Refusal::new(http::StatusCode::NOT_FOUND, 10222, format!("There is no deployment {id}")))?,
    ))
}

#[derive(Debug, Deserialize)]
struct Wanted {
    strategy: Option<String>,
    versions: Vec<Share>,
    annotations: Option<BTreeMap<String, Value>>,
}

/// `POST deployments`: the named versions serve, in the named shares.
pub(super) async fn create(
    Extracted(plane): Ctx,
    Path((_, name)): Name,
    Query(flags): FlagQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let wanted: Wanted = parse(&body)?;
    check(&wanted)?;
    let source = source_of(&headers);
    let edit = |state: &mut State| {
        let script = state.script_mut(&name).ok_or_else(|| Refusal::no_worker(&name))?;
        let mut older = false;
        for share in &wanted.versions {
            let version = script.version(&share.version_id).ok_or_else(|| Refusal::no_version(&share.version_id))?;
            let current = script.principal();
            older |= current.is_some_and(|current| version.number < current.number);
            if !flags.forced() && current.is_some_and(|current| secrets_changed(version, current)) {
                let message = format!("secrets have changed since version {}; `force=true` deploys it all the same", version.id);
                return Err(Refusal::bad(10220, message));
            }
        }
        let exports = |share: &Share| script.version(&share.version_id).map(|version| version.exports.clone());
        if wanted.versions.iter().any(|share| exports(share) != wanted.versions.first().and_then(exports)) {
            return Err(Refusal::bad(100_405, "the exports of the versions of a split differ; deploy one of them alone first"));
        }
        let deployment = deployment_of(script, &wanted, &source, if older { "rollback" } else { "deployment" })?;
        let shown = show::deployment(&deployment);
        scripts::deploy(script, deployment);
        Ok(shown)
    };
    ok(Box::pin(plane.change(edit)).await?)
}

/// A deployment has the messages of its caller; where there are none, those of the one version that it deploys.
fn deployment_of(script: &Script, wanted: &Wanted, source: &str, triggered_by: &str) -> Result<Deployment, Refusal> {
    let mut annotations = upload::annotations(wanted.annotations.as_ref(), triggered_by)?;
    if let [only] = wanted.versions.as_slice()
        && let Some(version) = script.version(&only.version_id)
        && let Some(message) = version.annotations.get("workers/message")
    {
        annotations.entry("workers/message".to_owned()).or_insert_with(|| message.clone());
    }
    Ok(Deployment {
        id: fresh_uuid(),
        created_on: now(),
        source: source.to_owned(),
        versions: wanted.versions.clone(),
        annotations,
    })
}

fn check(wanted: &Wanted) -> Result<(), Refusal> {
    if wanted.strategy.as_deref().is_some_and(|strategy| strategy != "percentage") {
        return Err(Refusal::bad(10021, "the only strategy is `percentage`"));
    }
    let total: f64 = wanted.versions.iter().map(|share| share.percentage).sum();
    let in_range = wanted.versions.iter().all(|share| (0.0..=100.0).contains(&share.percentage));
    if wanted.versions.is_empty() || wanted.versions.len() > 10 || !in_range || (total - 100.0).abs() > 0.01 {
        return Err(Refusal::bad(10021, "the percentages of one to ten versions must sum up to 100"));
    }
    let mut ids: Vec<&str> = wanted.versions.iter().map(|share| share.version_id.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    match ids.len() == wanted.versions.len() {
        true => Ok(()),
        false => Err(Refusal::bad(10021, "a version is named twice")),
    }
}

/// Whether a version is older than the one that serves and has other secrets, by name or value.
fn secrets_changed(version: &Version, current: &Version) -> bool {
    version.number < current.number && marks(version) != marks(current)
}

fn marks(version: &Version) -> BTreeMap<&str, &str> {
    version
        .bindings
        .iter()
        .filter_map(|(name, binding)| match binding {
            Binding::SecretText { mark, .. } => Some((name.as_str(), mark.as_str())),
            _ => None,
        })
        .collect()
}
