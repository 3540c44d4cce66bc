//! Settings: those of the version that serves, and those that belong to no version.
//!
//! **Invariant:** a change of what a version holds makes a new version; the rest makes none.

use std::sync::Arc;

use axum::extract::FromRequest as _;
use axum::extract::{Path, Request, State as Extracted};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};

use super::super::record::{Script, State, Version};
use super::answer::{Answer, Refusal, ok};
use super::upload::{self, Basis, Metadata};
use super::{Ctx, Name, bindings, parse, scripts, secrets, show, source_of, versions};

fn unversioned(script: &Script) -> Value {
    json!({
        "logpush": script.logpush,
        "observability": script.observability,
        "tags": script.tags,
        "tail_consumers": script.tail_consumers,
    })
}

fn all(script: &Script) -> Value {
    let mut shown = unversioned(script);
    if let Some(version) = script.principal().or(script.latest()) {
        shown["annotations"] = json!(version.annotations);
        shown["bindings"] = json!(show::bindings(version));
        shown["compatibility_date"] = json!(version.compatibility_date);
        shown["compatibility_flags"] = json!(version.compatibility_flags);
        shown["limits"] = version.limits.clone();
        shown["placement"] = if version.placement.is_null() { json!({}) } else { version.placement.clone() };
        shown["usage_model"] = json!(version.usage_model);
    }
    shown
}

/// `GET settings`.
pub(super) async fn get(Extracted(plane): Ctx, Path((_, name)): Name) -> Answer {
    let state = plane.state();
    ok(all(state.scripts.get(&name).ok_or_else(|| Refusal::no_worker(&name))?))
}

/// `GET script-settings`.
pub(super) async fn get_script(Extracted(plane): Ctx, Path((_, name)): Name) -> Answer {
    let state = plane.state();
    ok(unversioned(state.scripts.get(&name).ok_or_else(|| Refusal::no_worker(&name))?))
}

/// `PATCH script-settings`: what is named is replaced.
pub(super) async fn patch_script(Extracted(plane): Ctx, Path((_, name)): Name, body: Bytes) -> Answer {
    let metadata: Metadata = parse(&body)?;
    let edit = |state: &mut State| {
        let script = state.script_mut(&name).ok_or_else(|| Refusal::no_worker(&name))?;
        scripts::apply_unversioned(script, &metadata);
        script.modified_on = super::super::record::now();
        Ok::<_, Refusal>(unversioned(script))
    };
    ok(Box::pin(plane.change(edit)).await?)
}

/// `PATCH settings`: a form with a part `settings`, or JSON. Bindings are replaced as a set, `inherit` included.
pub(super) async fn patch(Extracted(plane): Ctx, Path((_, name)): Name, headers: HeaderMap, request: Request) -> Answer {
    let is_form = headers.get("content-type").map(HeaderValue::as_bytes).is_some_and(|kind| kind.starts_with(b"multipart/"));
    let metadata: Metadata = if is_form {
        Box::pin(upload::read_settings(request)).await?
    } else {
        let body = Bytes::from_request(request, &()).await.map_err(|error| Refusal::bad(10026, error.body_text()))?;
        parse(&body)?
    };
    let source = source_of(&headers);
    let edit = |state: &mut State| {
        let before = state.scripts.get(&name).cloned().ok_or_else(|| Refusal::no_worker(&name))?;
        let next = versioned(&plane, state, &before, &metadata, &source)?;
        let script = state.script_mut(&name).ok_or_else(|| Refusal::no_worker(&name))?;
        scripts::apply_unversioned(script, &metadata);
        if let Some(next) = next {
            scripts::deploy_alone(script, Arc::new(next), &source);
        }
        Ok::<_, Refusal>(all(script))
    };
    ok(Box::pin(plane.change(edit)).await?)
}

/// The version that the settings make; `None` where they change none.
fn versioned(
    plane: &super::super::plane::Plane,
    state: &State,
    script: &Script,
    metadata: &Metadata,
    source: &str,
) -> Result<Option<Version>, Refusal> {
    let Some(latest) = script.latest() else { return Ok(None) };
    let mut next = secrets::successor(script, latest, latest.bindings.clone(), source, "settings");
    if let Some(listed) = &metadata.bindings {
        let basis = Basis { plane, state, script: Some(script), name: &script.name, strict: false, declared: false };
        // The list is the whole set here: what is to stay is named, as `inherit`.
        let keep = metadata.keep_bindings.as_deref().unwrap_or_default();
        next.bindings = bindings::read(&basis, listed, Some(keep))?;
    }
    if let Some(date) = &metadata.compatibility_date {
        next.compatibility_date.clone_from(date);
    }
    if let Some(flags) = &metadata.compatibility_flags {
        next.compatibility_flags.clone_from(flags);
    }
    if !metadata.limits.is_null() {
        next.limits = metadata.limits.clone();
    }
    if !metadata.placement.is_null() {
        next.placement = metadata.placement.clone();
    }
    let unchanged = next.bindings == latest.bindings
        && next.compatibility_date == latest.compatibility_date
        && next.compatibility_flags == latest.compatibility_flags
        && next.limits == latest.limits
        && next.placement == latest.placement;
    if unchanged {
        return Ok(None);
    }
    versions::latest_serves(script, 10214)?;
    next.annotations.extend(upload::annotations(metadata.annotations.as_ref(), "settings")?);
    Ok(Some(next))
}
