//! Zones, beyond those that exist because a call named them: made and deleted by hand.

use axum::Extension;
use axum::extract::{Path, State as Extracted};
use bytes::Bytes;
use http::StatusCode;
use serde_json::json;

use super::super::api::answer::{Answer, Refusal, ok};
use super::super::api::routes::{is_zone_name, remember_in, zone_id, zone_json, zone_name};
use super::super::plane::Plane;
use super::super::record::State;
use super::{Kept, needed, object};

/// The name of a zone that there is.
pub(super) fn name(plane: &Plane, id: &str) -> Result<String, Refusal> {
    zone_name(&plane.state().account, id).map(str::to_owned)
}

/// The zone that a host lies in: the one that a call names, or the longest known one, or its last two labels.
pub(super) async fn of_host(
    plane: &Plane,
    host: &str,
    (id, zone): (Option<&str>, Option<&str>),
) -> Result<(String, String), Refusal> {
    if let Some(id) = id {
        return Ok((id.to_owned(), name(plane, id)?));
    }
    let within = |zone: &str| host.strip_suffix(zone).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    let zone = match zone {
        Some(zone) => zone.to_ascii_lowercase(),
        None => {
            let state = plane.state();
            let known = state.account.zones.values().filter(|zone| within(zone)).max_by_key(|zone| zone.len());
            let labels: Vec<&str> = host.rsplitn(3, '.').collect();
            known.cloned().unwrap_or_else(|| labels.iter().take(2).rev().copied().collect::<Vec<_>>().join("."))
        }
    };
    if !is_zone_name(&zone) {
        return Err(Refusal::bad(7003, format!("there is no zone {zone}")));
    }
    let id = Box::pin(plane.change(|state: &mut State| remember_in(state, &zone))).await?;
    Ok((id, zone))
}

/// `POST /zones`.
pub(super) async fn create(Extracted(plane): Extracted<std::sync::Arc<Plane>>, body: Bytes) -> Answer {
    let wanted = object(&body)?;
    let name = needed(&wanted, "name", 1097)?.to_ascii_lowercase();
    if !is_zone_name(&name) {
        return Err(Refusal::bad(1099, format!("{name} is not a registered domain")));
    }
    let edit = |state: &mut State| match state.account.zones.contains_key(&zone_id(&name)) {
        true => Err(Refusal::bad(1061, format!("{name} already exists"))),
        false => remember_in(state, &name),
    };
    let id = Box::pin(plane.change(edit)).await?;
    ok(zone_json(&id, &name))
}

/// `PATCH /zones/{z}`: nothing of a zone can be changed here.
pub(super) async fn edit(Extracted(plane): Extracted<std::sync::Arc<Plane>>, Path(id): Path<String>) -> Answer {
    ok(zone_json(&id, &name(&plane, &id)?))
}

/// `DELETE /zones/{z}`, with everything that is recorded in it.
pub(super) async fn delete(
    Extracted(plane): Extracted<std::sync::Arc<Plane>>,
    Extension(kept): Kept,
    Path(id): Path<String>,
) -> Answer {
    let edit = |state: &mut State| {
        zone_name(&state.account, &id)?;
        if state.account.routes.values().any(|route| route.zone_id == id) {
            return Err(Refusal::new(StatusCode::CONFLICT, 1080, "the zone has routes of Workers"));
        }
        state.account_mut().zones.remove(&id);
        Ok(())
    };
    Box::pin(plane.change(edit)).await?;
    kept.change(|records| {
        records.drop_sets(|set| set.ends_with(&id));
        Ok(())
    })
    .await?;
    ok(json!({ "id": id }))
}
