//! Versions: upload one that does not serve yet, list them, show one.
//!
//! **Invariant:** a version that does not start is not kept.

use std::sync::Arc;

use axum::extract::{Path, Query, Request, State as Extracted};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::super::record::{Deployment, Script, Share, State, fresh_uuid, now};
use super::answer::{Answer, Paging, Refusal, ok, ok_with, page};
use super::upload::{self, Basis};
use super::{Ctx, FlagQuery, Name, Names, migrations, show, source_of};

/// `GET versions`: the newest first.
pub(super) async fn list(Extracted(plane): Ctx, Path((_, name)): Name, Query(paging): Query<Paging>) -> Answer {
    let state = plane.state();
    let script = state.scripts.get(&name).ok_or_else(|| Refusal::no_worker(&name))?;
    let items: Vec<Value> = script.versions.iter().rev().map(|version| show::version_item(version)).collect();
    let (items, info) = page(items, &paging, 10, 100);
    ok_with(json!({ "items": items }), Some(info), StatusCode::OK)
}

/// `GET versions/{id}`.
pub(super) async fn show(Extracted(plane): Ctx, Path((_, name, id)): Names) -> Answer {
    let state = plane.state();
    let script = state.scripts.get(&name).ok_or_else(|| Refusal::no_worker(&name))?;
    ok(show::version(script.version(&id).ok_or_else(|| Refusal::no_version(&id))?))
}

/// `POST versions`: started for trial, then kept; what serves does not change.
pub(super) async fn create(
    Extracted(plane): Ctx,
    Path((_, name)): Name,
    Query(flags): FlagQuery,
    headers: HeaderMap,
    request: Request,
) -> Answer {
    if !plane.state().scripts.contains_key(&name) {
        return Err(Refusal::no_worker(&name));
    }
    let source = source_of(&headers);
    let before = plane.state().scripts.get(&name).and_then(|script| script.latest().cloned());
    let upload = Box::pin(upload::read(&plane, request, before.as_deref())).await?;
    let edit = |state: &mut State| {
        let script = state.scripts.get(&name).cloned().ok_or_else(|| Refusal::no_worker(&name))?;
        let mut script = Script::clone(&script);
        let outcome = migrations::apply_to_version(&mut script, &upload.metadata)?;
        let declared = outcome.reconciliation.is_some();
        let basis = Basis { plane: &plane, state, script: Some(&script), name: &name, strict: flags.strict(), declared };
        let version = Arc::new(upload::version(&basis, &upload, &source, "version_upload")?);
        script.versions.push(Arc::clone(&version));
        script.forget_old();
        state.scripts.insert(name.clone(), Arc::new(script));
        Ok::<_, Refusal>((version, outcome.reconciliation))
    };
    let ((version, reconciliation), startup) =
        Box::pin(plane.change_if_valid(edit, |state| Some(deployed(state, &name)))).await?;
    let mut shown = show::version(&version);
    shown["startup_time_ms"] = json!(startup.as_millis());
    if let Some(reconciliation) = reconciliation {
        shown["exports_reconciliation"] = reconciliation;
    }
    ok(shown)
}

/// The state in which a Worker's newest version serves alone.
fn deployed(state: &State, name: &str) -> State {
    let mut trial = state.clone();
    if let Some(script) = trial.script_mut(name)
        && let Some(latest) = script.latest().map(|version| version.id.clone())
    {
        script.deployments.insert(0, sole(latest));
    }
    trial
}

fn sole(version_id: String) -> Deployment {
    Deployment {
        id: fresh_uuid(),
        created_on: now(),
        source: String::new(),
        versions: vec![Share { version_id, percentage: 100.0 }],
        annotations: std::collections::BTreeMap::new(),
    }
}

/// Refuses to build on a version that does not serve, as Cloudflare does.
pub(super) fn latest_serves(script: &Script, code: u32) -> Result<(), Refusal> {
    match script.latest_serves() {
        true => Ok(()),
        false => Err(Refusal::bad(code, "the newest version of this Worker is not the one that is deployed")),
    }
}
