//! Custom domains: whole hosts that lead to a Worker.
//!
//! The edge has no DNS and no certificates: who attaches a domain points its name at the edge, or at the proxy before it.
//!
//! **Invariant:** a host leads to one Worker; a route that matches goes before it.

use axum::extract::{Path, Query, State as Extracted};
use bytes::Bytes;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::record::{Domain, State, fresh_hex};
use super::answer::{Answer, Refusal, ok};
use super::routes::{remember_in, zone_name};
use super::{Ctx, Name, nothing, parse};

/// Domains of one edge.
const LIMIT: usize = 10_000;

fn shown(id: &str, domain: &Domain) -> Value {
    json!({
        "id": id,
        "hostname": domain.hostname,
        "service": domain.service,
        "environment": "production",
        "zone_id": domain.zone_id,
        "zone_name": domain.zone_name,
        "cert_id": null,
    })
}

fn none(id: &str) -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, 100_114, format!("there is no custom domain with the id {id}"))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Filter {
    hostname: Option<String>,
    service: Option<String>,
    zone_id: Option<String>,
    zone_name: Option<String>,
}

/// `GET workers/domains`: all that fit.
pub(super) async fn list(Extracted(plane): Ctx, Query(filter): Query<Filter>) -> Answer {
    let state = plane.state();
    let same = |wanted: &Option<String>, is: &String| wanted.as_ref().is_none_or(|wanted| wanted == is);
    let fits = |domain: &Domain| {
        same(&filter.hostname, &domain.hostname)
            && same(&filter.service, &domain.service)
            && same(&filter.zone_id, &domain.zone_id)
            && same(&filter.zone_name, &domain.zone_name)
    };
    let found = state.account.domains.iter().filter(|(_, domain)| fits(domain));
    ok(found.map(|(id, domain)| shown(id, domain)).collect::<Vec<_>>())
}

/// `GET workers/domains/{id}`.
pub(super) async fn show(Extracted(plane): Ctx, Path((_, id)): Name) -> Answer {
    let state = plane.state();
    ok(shown(&id, state.account.domains.get(&id).ok_or_else(|| none(&id))?))
}

#[derive(Debug, Deserialize)]
struct Wanted {
    hostname: String,
    #[serde(default)]
    service: String,
    zone_id: Option<String>,
    zone_name: Option<String>,
}

/// Attaches a host; `take` says whether another Worker may lose it.
fn attach(state: &mut State, wanted: Wanted, take: bool) -> Result<Value, Refusal> {
    let hostname = wanted.hostname.to_ascii_lowercase();
    if !hostname.contains('.') || !super::services::is_host(&hostname) {
        return Err(Refusal::bad(100_113, format!("`{hostname}` is no host that a custom domain can be")));
    }
    let service = wanted.service;
    if !state.scripts.contains_key(&service) {
        return Err(Refusal::no_worker(&service));
    }
    let named = match (wanted.zone_id, wanted.zone_name) {
        (Some(id), _) => zone_name(&state.account, &id)?.to_owned(),
        (None, Some(name)) => name.to_ascii_lowercase(),
        // Without DNS there is nobody to ask: the last two labels.
        (None, None) => hostname.rsplitn(3, '.').take(2).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("."),
    };
    if hostname != named && !hostname.ends_with(&format!(".{named}")) {
        return Err(Refusal::bad(100_113, format!("`{hostname}` is not in the zone `{named}`")));
    }
    let zone_id = remember_in(state, &named)?;
    let before = state.account.domains.iter().find(|(_, domain)| domain.hostname == hostname);
    if let Some((_, other)) = before.filter(|(_, other)| other.service != service && !take) {
        let message = format!("the host `{hostname}` is a custom domain of the Worker `{}`", other.service);
        return Err(Refusal::new(StatusCode::CONFLICT, 100_116, message));
    }
    if before.is_none() && state.account.domains.len() >= LIMIT {
        return Err(Refusal::bad(100_113, format!("this edge keeps at most {LIMIT} custom domains")));
    }
    let id = before.map_or_else(fresh_hex, |(id, _)| id.clone());
    let domain = Domain { hostname, service, zone_id, zone_name: named };
    let answer = shown(&id, &domain);
    state.account_mut().domains.insert(id, domain);
    Ok(answer)
}

/// `PUT workers/domains`: attaches a host to a Worker.
pub(super) async fn put(Extracted(plane): Ctx, Path(_account): Path<String>, body: Bytes) -> Answer {
    let wanted: Wanted = parse(&body)?;
    ok(Box::pin(plane.change(|state: &mut State| attach(state, wanted, true))).await?)
}

#[derive(Debug, Deserialize)]
struct Records {
    #[serde(default)]
    override_scope: bool,
    #[serde(default)]
    override_existing_origin: bool,
    origins: Vec<Wanted>,
}

/// `PUT scripts/{n}/domains/records`, as wrangler calls it: the Worker's hosts, as a set where it says so.
pub(super) async fn put_records(Extracted(plane): Ctx, Path((_, name)): Name, body: Bytes) -> Answer {
    let records: Records = parse(&body)?;
    let edit = |state: &mut State| {
        let hosts: Vec<String> = records.origins.iter().map(|origin| origin.hostname.to_ascii_lowercase()).collect();
        let leaves = |domain: &Domain| domain.service == name && !hosts.contains(&domain.hostname);
        if records.override_scope && state.account.domains.values().any(leaves) {
            state.account_mut().domains.retain(|_, domain| !leaves(domain));
        }
        let take = records.override_existing_origin;
        let attached = records.origins.into_iter().map(|origin| attach(state, Wanted { service: name.clone(), ..origin }, take));
        attached.collect::<Result<Vec<Value>, Refusal>>()
    };
    ok(Box::pin(plane.change(edit)).await?)
}

/// `POST scripts/{n}/domains/changeset`: what `put_records` would do.
pub(super) async fn changeset(Extracted(plane): Ctx, Path((_, name)): Name, body: Bytes) -> Answer {
    let origins: Vec<Wanted> = parse(&body)?;
    let state = plane.state();
    let (mut added, mut updated) = (Vec::new(), Vec::new());
    for origin in origins {
        let hostname = origin.hostname.to_ascii_lowercase();
        match state.account.domains.iter().find(|(_, domain)| domain.hostname == hostname) {
            Some((id, domain)) => {
                let mut shown = shown(id, domain);
                shown["modified"] = json!(domain.service != name);
                updated.push(shown);
            }
            None => added.push(json!({ "hostname": hostname, "service": name })),
        }
    }
    ok(json!({ "added": added, "updated": updated, "removed": [], "conflicting": [] }))
}

/// `DELETE workers/domains/{id}`.
pub(super) async fn delete(Extracted(plane): Ctx, Path((_, id)): Name) -> Answer {
    let edit = |state: &mut State| state.account_mut().domains.remove(&id).map(|_| ()).ok_or_else(|| none(&id));
    Box::pin(plane.change(edit)).await?;
    ok(nothing())
}
