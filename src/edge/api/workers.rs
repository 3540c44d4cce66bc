//! What else a Worker has: crons, its own name, and the two newer views of it.
//!
//! **Invariant:** crons and names belong to no version, so that a rollback does not touch them.

use axum::extract::{Path, Query, State as Extracted};
use bytes::Bytes;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::front::ACCOUNT_SUBDOMAIN;
use super::super::record::{Binding, Schedule, Script, State, Subdomain, now};
use super::answer::{Answer, Paging, Refusal, ok, ok_with, page};
use super::{Ctx, Name, parse, show};

/// Crons of one Worker.
const CRON_LIMIT: usize = 250;

#[derive(Debug, Deserialize)]
struct Cron {
    cron: String,
}

fn shown_schedules(script: &Script) -> Value {
    json!({ "schedules": script.schedules })
}

/// `GET schedules`.
pub(super) async fn schedules(Extracted(plane): Ctx, Path((_, name)): Name) -> Answer {
    let state = plane.state();
    ok(shown_schedules(state.scripts.get(&name).ok_or_else(|| Refusal::no_worker(&name))?))
}

/// `PUT schedules`: replaces the whole set.
pub(super) async fn put_schedules(Extracted(plane): Ctx, Path((_, name)): Name, body: Bytes) -> Answer {
    let mut crons: Vec<Cron> = parse(&body)?;
    if crons.len() > CRON_LIMIT {
        return Err(Refusal::bad(10072, format!("more than {CRON_LIMIT} crons")));
    }
    for Cron { cron } in &crons {
        super::super::cron::parse(cron).map_err(|message| Refusal::bad(10100, message))?;
    }
    crons.sort_by(|a, b| a.cron.cmp(&b.cron));
    crons.dedup_by(|a, b| a.cron == b.cron);
    let edit = |state: &mut State| {
        let script = state.script_mut(&name).ok_or_else(|| Refusal::no_worker(&name))?;
        let before = std::mem::take(&mut script.schedules);
        script.schedules = crons
            .iter()
            .map(|Cron { cron }| before.iter().find(|old| old.cron == *cron).cloned().unwrap_or_else(|| new_schedule(cron)))
            .collect();
        Ok::<_, Refusal>(shown_schedules(script))
    };
    ok(Box::pin(plane.change(edit)).await?)
}

fn new_schedule(cron: &str) -> Schedule {
    Schedule { cron: cron.to_owned(), created_on: now(), modified_on: now() }
}

/// `GET subdomain`.
pub(super) async fn subdomain(Extracted(plane): Ctx, Path((_, name)): Name) -> Answer {
    let state = plane.state();
    ok(json!(state.scripts.get(&name).ok_or_else(|| Refusal::no_worker(&name))?.subdomain))
}

#[derive(Debug, Deserialize)]
struct Switch {
    enabled: bool,
    previews_enabled: Option<bool>,
}

/// `POST subdomain`: switches the Worker's own name on or off.
pub(super) async fn put_subdomain(Extracted(plane): Ctx, Path((_, name)): Name, body: Bytes) -> Answer {
    let switch: Switch = parse(&body)?;
    let subdomain = Subdomain { enabled: switch.enabled, previews_enabled: switch.previews_enabled.unwrap_or(false) };
    set_subdomain(&plane, &name, subdomain).await
}

/// `DELETE subdomain`.
pub(super) async fn delete_subdomain(Extracted(plane): Ctx, Path((_, name)): Name) -> Answer {
    set_subdomain(&plane, &name, Subdomain::default()).await
}

async fn set_subdomain(plane: &super::super::plane::Plane, name: &str, subdomain: Subdomain) -> Answer {
    let edit = |state: &mut State| {
        state.script_mut(name).ok_or_else(|| Refusal::no_worker(name))?.subdomain = subdomain;
        Ok::<_, Refusal>(json!(subdomain))
    };
    ok(Box::pin(plane.change(edit)).await?)
}

/// `GET workers/subdomain`: the account's part of `<worker>.<subdomain>.workers.dev`.
pub(super) async fn account_subdomain() -> Answer {
    ok(json!({ "subdomain": ACCOUNT_SUBDOMAIN }))
}

/// `GET workers/account-settings`.
pub(super) async fn account_settings() -> Answer {
    ok(json!({ "default_usage_model": "standard", "green_compute": false }))
}

/// `GET workers/services/{n}`, which wrangler reads before it deploys.
pub(super) async fn service(Extracted(plane): Ctx, Path((_, name)): Name) -> Answer {
    let state = plane.state();
    let script = state.scripts.get(&name).ok_or_else(|| Refusal::no_service(&name))?;
    let environment = json!({
        "environment": "production",
        "created_on": script.created_on,
        "modified_on": script.modified_on,
        "script": show::script(script),
    });
    ok(json!({
        "id": script.name,
        "created_on": script.created_on,
        "modified_on": script.modified_on,
        "usage_model": "standard",
        "default_environment": environment,
        "environments": [environment],
    }))
}

/// `GET workers/workers`.
pub(super) async fn list(Extracted(plane): Ctx, Query(paging): Query<Paging>) -> Answer {
    let state = plane.state();
    let (items, info) = page(state.scripts.values().map(|script| worker(&state, script)).collect(), &paging, 20, 100);
    ok_with(json!(items), Some(info), StatusCode::OK)
}

/// `GET workers/workers/{n}`, by name or id.
pub(super) async fn show(Extracted(plane): Ctx, Path((_, name)): Name) -> Answer {
    let state = plane.state();
    let found = state.scripts.values().find(|script| script.name == name || script.tag == name);
    ok(worker(&state, found.ok_or_else(|| Refusal::no_worker(&name))?))
}

/// A Worker in the newer model, with what depends on it.
fn worker(state: &State, script: &Script) -> Value {
    let mut queues = Vec::new();
    for (id, queue) in &state.account.queues {
        if let Some(consumer) = queue.consumer.as_ref().filter(|consumer| consumer.script.as_ref() == Some(&script.name)) {
            queues.push(json!({ "queue_id": id, "queue_name": queue.name, "queue_consumer_id": consumer.id }));
        }
    }
    let domains = state.account.domains.iter().filter(|(_, domain)| domain.service == script.name);
    let domains: Vec<Value> =
        domains.map(|(id, domain)| json!({ "id": id, "hostname": domain.hostname, "zone_id": domain.zone_id })).collect();
    let (mut workers, mut objects) = (Vec::new(), Vec::new());
    for other in state.scripts.values().filter(|other| other.name != script.name) {
        let bindings = other.principal().into_iter().flat_map(|version| version.bindings.values());
        for binding in bindings {
            match binding {
                Binding::Service { service, .. } if *service == script.name => {
                    workers.push(json!({ "id": other.tag, "name": other.name }));
                }
                Binding::DurableObjectNamespace { class_name, script_name, namespace_id }
                    if script_name.as_ref() == Some(&script.name) =>
                {
                    let name = format!("{}_{class_name}", script.name);
                    objects.push(json!({
                        "namespace_id": namespace_id, "namespace_name": name, "worker_id": other.tag, "worker_name": other.name,
                    }));
                }
                _ => {}
            }
        }
    }
    json!({
        "id": script.tag,
        "name": script.name,
        "created_on": script.created_on,
        "updated_on": script.modified_on,
        "deployed_on": script.deployments.first().map(|deployment| deployment.created_on.clone()),
        "tags": script.tags,
        "logpush": script.logpush,
        "observability": script.observability,
        "tail_consumers": script.tail_consumers,
        "subdomain": script.subdomain,
        "references": {
            "domains": domains,
            "queues": queues,
            "durable_objects": objects,
            "workers": workers,
            "dispatch_namespace_outbounds": [],
        },
    })
}
