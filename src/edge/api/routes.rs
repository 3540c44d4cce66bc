//! Zones and routes.
//!
//! The edge has no DNS: a zone exists when a request names it, its id follows from its name, and it is remembered so that
//! its id can be used from then on.
//!
//! **Invariant:** one pattern leads to one Worker.

use axum::extract::{Path, Query, State as Extracted};
use bytes::Bytes;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::front::Pattern;
use super::super::plane::Plane;
use super::super::record::{Account, Route, State, fresh_hex, hex_of};
use super::answer::{Answer, Paging, Refusal, ok, ok_with, page};
use super::{Ctx, Name, parse};

/// Zones that the edge remembers, and routes that it keeps.
const LIMIT: usize = 10_000;

#[derive(Debug, Deserialize)]
pub(super) struct ZoneQuery {
    name: Option<String>,
    page: Option<usize>,
    per_page: Option<usize>,
}

/// `GET /zones`: the zone of a name, or all that were ever named.
pub(super) async fn zones(Extracted(plane): Ctx, Query(query): Query<ZoneQuery>) -> Answer {
    let shown = match query.name {
        Some(name) => {
            let name = name.to_ascii_lowercase();
            match is_zone_name(&name) {
                true => vec![zone_json(&remember(&plane, &name).await?, &name)],
                false => Vec::new(),
            }
        }
        None => plane.state().account.zones.iter().map(|(id, name)| zone_json(id, name)).collect(),
    };
    let (shown, info) = page(shown, &Paging { page: query.page, per_page: query.per_page }, 20, 1000);
    ok_with(json!(shown), Some(info), StatusCode::OK)
}

/// `GET /zones/{z}`.
pub(super) async fn zone(Extracted(plane): Ctx, Path(id): Path<String>) -> Answer {
    let state = plane.state();
    ok(zone_json(&id, zone_name(&state.account, &id)?))
}

async fn remember(plane: &Plane, name: &str) -> Result<String, Refusal> {
    let id = zone_id(name);
    if !plane.state().account.zones.contains_key(&id) {
        Box::pin(plane.change(|state: &mut State| remember_in(state, name).map(|_| ()))).await?;
    }
    Ok(id)
}

/// The id of a zone, which exists from then on.
pub(in crate::edge) fn remember_in(state: &mut State, name: &str) -> Result<String, Refusal> {
    let id = zone_id(name);
    if !state.account.zones.contains_key(&id) {
        if state.account.zones.len() >= LIMIT {
            return Err(Refusal::bad(1105, format!("this edge remembers at most {LIMIT} zones")));
        }
        state.account_mut().zones.insert(id.clone(), name.to_owned());
    }
    Ok(id)
}

/// A zone's id: it follows from its name.
pub(in crate::edge) fn zone_id(name: &str) -> String {
    hex_of(&format!("zone {name}"))
}

pub(in crate::edge) fn is_zone_name(name: &str) -> bool {
    // `invalid` is reserved: no zone of it is ever there (RFC 2606).
    !name.ends_with(".invalid")
        && name.len() <= 253
        && name.contains('.')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
}

pub(in crate::edge) fn zone_json(id: &str, name: &str) -> Value {
    json!({ "id": id, "name": name, "status": "active", "paused": false, "type": "full" })
}

/// The name of a zone that is known.
pub(in crate::edge) fn zone_name<'a>(account: &'a Account, id: &str) -> Result<&'a str, Refusal> {
    account.zones.get(id).map(String::as_str).ok_or_else(|| Refusal::no_route(&format!("/zones/{id}")))
}

pub(super) fn route_json(id: &str, route: &Route) -> Value {
    json!({ "id": id, "pattern": route.pattern, "script": route.script })
}

/// `GET routes`: all of a zone.
pub(super) async fn list(Extracted(plane): Ctx, Path(zone): Path<String>) -> Answer {
    let state = plane.state();
    zone_name(&state.account, &zone)?;
    let routes = state.account.routes.iter().filter(|(_, route)| route.zone_id == zone);
    ok(routes.map(|(id, route)| route_json(id, route)).collect::<Vec<_>>())
}

/// `GET routes/{r}`.
pub(super) async fn show(Extracted(plane): Ctx, Path((zone, id)): Name) -> Answer {
    let state = plane.state();
    ok(route_json(&id, find(&state, &zone, &id)?))
}

#[derive(Debug, Deserialize)]
struct Wanted {
    pattern: String,
    script: Option<String>,
}

/// `POST routes`.
pub(super) async fn create(Extracted(plane): Ctx, Path(zone): Path<String>, body: Bytes) -> Answer {
    let wanted: Wanted = parse(&body)?;
    let edit = |state: &mut State| {
        let route = checked(state, &zone, wanted, None)?;
        let (id, shown) = (fresh_hex(), route.clone());
        state.account_mut().routes.insert(id.clone(), route);
        Ok::<_, Refusal>(route_json(&id, &shown))
    };
    ok(Box::pin(plane.change(edit)).await?)
}

/// `PUT routes/{r}`.
pub(super) async fn update(Extracted(plane): Ctx, Path((zone, id)): Name, body: Bytes) -> Answer {
    let wanted: Wanted = parse(&body)?;
    let edit = |state: &mut State| {
        find(state, &zone, &id)?;
        let route = checked(state, &zone, wanted, Some(&id))?;
        let shown = route_json(&id, &route);
        state.account_mut().routes.insert(id.clone(), route);
        Ok::<_, Refusal>(shown)
    };
    ok(Box::pin(plane.change(edit)).await?)
}

/// `DELETE routes/{r}`.
pub(super) async fn delete(Extracted(plane): Ctx, Path((zone, id)): Name) -> Answer {
    let edit = |state: &mut State| {
        find(state, &zone, &id)?;
        state.account_mut().routes.remove(&id);
        Ok::<_, Refusal>(json!({ "id": id }))
    };
    ok(Box::pin(plane.change(edit)).await?)
}

/// `PUT scripts/{n}/routes`, which wrangler uses: replaces the whole set of a Worker's routes, in all zones.
pub(super) async fn replace(Extracted(plane): Ctx, Path((_, name)): Name, body: Bytes) -> Answer {
    let wanted: Vec<Value> = parse(&body)?;
    let edit = |state: &mut State| {
        if !state.scripts.contains_key(&name) {
            return Err(Refusal::no_worker(&name));
        }
        let before = state.account.routes.clone();
        state.account_mut().routes.retain(|_, route| route.script.as_deref() != Some(&name));
        let mut shown = Vec::new();
        for item in &wanted {
            let pattern =
                item.as_str().or(item["pattern"].as_str()).ok_or_else(|| Refusal::bad(10022, "a route has no pattern"))?;
            let zone = match (item["zone_id"].as_str(), item["zone_name"].as_str()) {
                (Some(id), _) => zone_name(&state.account, id).map(|_| id.to_owned())?,
                (None, Some(zone)) => remember_in(state, &zone.to_ascii_lowercase())?,
                (None, None) => zone_of_pattern(state, pattern)?,
            };
            let wanted = Wanted { pattern: pattern.to_owned(), script: Some(name.clone()) };
            let route = checked(state, &zone, wanted, None)?;
            // A route that was there keeps its id.
            let id = before.iter().find(|(_, old)| **old == route).map_or_else(fresh_hex, |(id, _)| id.clone());
            shown.push(route_json(&id, &route));
            state.account_mut().routes.insert(id, route);
        }
        Ok(shown)
    };
    ok(Box::pin(plane.change(edit)).await?)
}

/// The zone of a pattern that names none: the longest known one, or else the pattern's host.
fn zone_of_pattern(state: &mut State, pattern: &str) -> Result<String, Refusal> {
    let parsed = Pattern::parse(pattern).map_err(|message| Refusal::bad(10022, message))?;
    let known = state.account.zones.iter().filter(|(_, name)| within(parsed.host(), name)).max_by_key(|(_, name)| name.len());
    match known {
        Some((id, _)) => Ok(id.clone()),
        None => remember_in(state, parsed.host()),
    }
}

fn within(host: &str, zone: &str) -> bool {
    host.strip_suffix(zone).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

fn checked(state: &State, zone: &str, wanted: Wanted, own_id: Option<&str>) -> Result<Route, Refusal> {
    let name = zone_name(&state.account, zone)?;
    let pattern = Pattern::parse(&wanted.pattern).map_err(|message| Refusal::bad(10022, message))?;
    if !within(pattern.host(), name) {
        return Err(Refusal::bad(10022, format!("the pattern `{}` is not in the zone {name}", wanted.pattern)));
    }
    if let Some(script) = wanted.script.as_deref().filter(|script| !state.scripts.contains_key(*script)) {
        return Err(Refusal::no_worker(script));
    }
    let taken = state.account.routes.iter().find(|(id, route)| route.pattern == wanted.pattern && Some(id.as_str()) != own_id);
    if let Some((_, other)) = taken {
        let owner = other.script.as_deref().unwrap_or("no Worker");
        let message = format!("A route with the same pattern already exists: `{}` leads to {owner}", wanted.pattern);
        return Err(Refusal::new(StatusCode::CONFLICT, 10020, message));
    }
    if state.account.routes.len() >= LIMIT {
        return Err(Refusal::bad(10020, format!("this edge keeps at most {LIMIT} routes")));
    }
    Ok(Route { zone_id: zone.to_owned(), pattern: wanted.pattern, script: wanted.script })
}

fn find<'a>(state: &'a State, zone: &str, id: &str) -> Result<&'a Route, Refusal> {
    let found = state.account.routes.get(id).filter(|route| route.zone_id == zone);
    found.ok_or_else(|| Refusal::new(StatusCode::NOT_FOUND, 10009, format!("there is no route {id}")))
}
