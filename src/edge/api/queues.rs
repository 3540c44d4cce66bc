//! Queues: made, listed, changed, purged, deleted.
//!
//! **Invariant:** a name is one queue's; a queue that a serving Worker binds, or that takes another's dead letters, is not
//! deleted.

use axum::extract::{Path, RawQuery, State as Extracted};
use bytes::Bytes;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::record::{Binding, Queue, State, fresh_hex, now};
use super::answer::{Answer, Paging, Refusal, ok, ok_with, page};
use super::kv::check_jurisdiction;
use super::{Ctx, Name, bound_by, consumers, nothing, parse};

/// Queues of one edge.
const LIMIT: usize = 1000;
/// Four days and fourteen, in seconds.
const RETENTION: u64 = 345_600;
const LONGEST_RETENTION: u64 = 1_209_600;
/// A day, in seconds.
const LONGEST_DELAY: u64 = 86_400;

/// The refusal where there is no such queue.
pub(super) fn no_queue(id: &str) -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, 11000, format!("Queue does not exist: {id}"))
}

/// The refusal where the messages cannot be used.
pub(super) fn broken(error: &rusqlite::Error) -> Refusal {
    tracing::error!(%error, "The messages of queues cannot be used.");
    Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, 10013, "the edge could not use its messages; see its log")
}

/// A queue with who sends to it and who takes from it.
pub(super) fn shown(state: &State, id: &str, queue: &Queue) -> Value {
    let binds = |binding: &Binding| matches!(binding, Binding::Queue { queue_name, .. } if *queue_name == queue.name);
    let sends = |script: &&std::sync::Arc<super::super::record::Script>| {
        script.principal().is_some_and(|version| version.bindings.values().any(binds))
    };
    let producers: Vec<Value> = state
        .scripts
        .values()
        .filter(sends)
        .map(|script| json!({ "type": "worker", "script": script.name, "service": script.name, "environment": "production" }))
        .collect();
    let consumers: Vec<Value> = queue.consumer.iter().map(|consumer| consumers::shown(queue, consumer)).collect();
    let mut shown = json!({
        "queue_id": id,
        "queue_name": queue.name,
        "created_on": queue.created_on,
        "modified_on": queue.modified_on,
        "producers_total_count": producers.len(),
        "producers": producers,
        "consumers_total_count": consumers.len(),
        "consumers": consumers,
        "settings": {
            "delivery_delay": queue.delivery_delay,
            "delivery_paused": queue.delivery_paused,
            "message_retention_period": queue.retention,
        },
    });
    if let Some(place) = state.account.jurisdictions.get(id) {
        shown["jurisdiction"] = json!(place);
    }
    shown
}

/// `GET queues`: of those names, if any are named.
pub(super) async fn list(Extracted(plane): Ctx, Path(_account): Path<String>, RawQuery(query): RawQuery) -> Answer {
    let state = plane.state();
    let query = query.unwrap_or_default();
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    // Names of queues need no escapes.
    let names: Vec<&str> = pairs.clone().filter(|(key, _)| *key == "name").map(|(_, value)| value).collect();
    let number = |wanted: &str| pairs.clone().find(|(key, _)| *key == wanted).and_then(|(_, value)| value.parse().ok());
    let fits = |queue: &Queue| names.is_empty() || names.contains(&queue.name.as_str());
    let found = state.account.queues.iter().filter(|(_, queue)| fits(queue)).map(|(id, queue)| shown(&state, id, queue));
    let paging = Paging { page: number("page"), per_page: number("per_page") };
    let (found, info) = page(found.collect(), &paging, LIMIT, LIMIT);
    ok_with(json!(found), Some(info), StatusCode::OK)
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Wanted {
    queue_name: Option<String>,
    /// At creation alone.
    jurisdiction: Option<String>,
    settings: Settings,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Settings {
    delivery_delay: Option<u64>,
    delivery_paused: Option<bool>,
    message_retention_period: Option<u64>,
}

impl Wanted {
    fn apply(&self, queue: &mut Queue) -> Result<(), Refusal> {
        if let Some(delay) = self.settings.delivery_delay {
            if delay > LONGEST_DELAY {
                return Err(Refusal::bad(100_128, format!("delivery_delay is at most {LONGEST_DELAY} seconds")));
            }
            queue.delivery_delay = delay;
        }
        if let Some(retention) = self.settings.message_retention_period {
            if !(60..=LONGEST_RETENTION).contains(&retention) {
                let message = format!("message_retention_period is 60 to {LONGEST_RETENTION} seconds");
                return Err(Refusal::bad(100_128, message));
            }
            queue.retention = retention;
        }
        if let Some(paused) = self.settings.delivery_paused {
            queue.delivery_paused = paused;
        }
        if let Some(name) = &self.queue_name {
            queue.name.clone_from(name);
        }
        queue.modified_on = now();
        Ok(())
    }
}

fn free_name(state: &State, name: &str, own_id: Option<&str>) -> Result<(), Refusal> {
    let characters = |name: &str| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if name.is_empty() || name.len() > 63 || !characters(name) {
        return Err(Refusal::bad(11003, "a queue's name has 1 to 63 letters, digits, `-` or `_`"));
    }
    match state.account.queue_named(name) {
        Some((id, _)) if Some(id.as_str()) != own_id => Err(Refusal::new(
            StatusCode::CONFLICT,
            11009,
            format!("Queue name '{name}' is already taken. Please use a different name and try again."),
        )),
        _ => Ok(()),
    }
}

/// `POST queues`.
pub(super) async fn create(Extracted(plane): Ctx, Path(_account): Path<String>, body: Bytes) -> Answer {
    let wanted: Wanted = parse(&body)?;
    check_jurisdiction(wanted.jurisdiction.as_deref())?;
    let edit = |state: &mut State| {
        free_name(state, wanted.queue_name.as_deref().unwrap_or_default(), None)?;
        if state.account.queues.len() >= LIMIT {
            return Err(Refusal::bad(11002, format!("this edge keeps at most {LIMIT} queues")));
        }
        let mut queue = Queue {
            name: String::new(),
            created_on: now(),
            modified_on: now(),
            delivery_delay: 0,
            retention: RETENTION,
            delivery_paused: false,
            consumer: None,
        };
        wanted.apply(&mut queue)?;
        let id = fresh_hex();
        state.account_mut().queues.insert(id.clone(), queue);
        state.account_mut().jurisdictions.extend(wanted.jurisdiction.clone().map(|place| (id.clone(), place)));
        Ok(shown(state, &id, &state.account.queues[&id]))
    };
    ok(Box::pin(plane.change(edit)).await?)
}

/// `GET queues/{id}`.
pub(super) async fn show(Extracted(plane): Ctx, Path((_, id)): Name) -> Answer {
    let state = plane.state();
    let queue = state.account.queues.get(&id).ok_or_else(|| no_queue(&id))?;
    ok(shown(&state, &id, queue))
}

/// `PATCH` and `PUT queues/{id}`: what is named is replaced.
pub(super) async fn update(Extracted(plane): Ctx, Path((_, id)): Name, body: Bytes) -> Answer {
    let wanted: Wanted = parse(&body)?;
    let edit = |state: &mut State| {
        if let Some(name) = &wanted.queue_name {
            free_name(state, name, Some(&id))?;
        }
        let mut queue = state.account.queues.get(&id).cloned().ok_or_else(|| no_queue(&id))?;
        wanted.apply(&mut queue)?;
        state.account_mut().queues.insert(id.clone(), queue);
        Ok::<_, Refusal>(shown(state, &id, &state.account.queues[&id]))
    };
    ok(Box::pin(plane.change(edit)).await?)
}

/// `DELETE queues/{id}`, with its messages.
pub(super) async fn delete(Extracted(plane): Ctx, Path((_, id)): Name) -> Answer {
    let edit = |state: &mut State| {
        let name = state.account.queues.get(&id).ok_or_else(|| no_queue(&id))?.name.clone();
        let binds = |binding: &Binding| matches!(binding, Binding::Queue { queue_name, .. } if *queue_name == name);
        if let Some(user) = bound_by(state, binds) {
            return Err(Refusal::bad(11005, format!("the queue is bound by the Worker `{user}`")));
        }
        let takes = |queue: &&Queue| queue.consumer.as_ref().is_some_and(|c| c.dead_letter_queue.as_ref() == Some(&name));
        if let Some(other) = state.account.queues.values().find(takes) {
            return Err(Refusal::bad(11005, format!("the queue takes the dead letters of the queue `{}`", other.name)));
        }
        state.account_mut().queues.remove(&id);
        state.account_mut().jurisdictions.remove(&id);
        Ok(())
    };
    Box::pin(plane.change(edit)).await?;
    plane.local.queues.with(move |messages| messages.purge(&id)).await.map_err(|error| broken(&error))?;
    ok(nothing())
}

/// `GET queues/{id}/metrics`.
pub(super) async fn metrics(Extracted(plane): Ctx, Path((_, id)): Name) -> Answer {
    known(&plane.state(), &id)?;
    let stats = plane.local.queues.with(move |messages| messages.stats(&id)).await.map_err(|error| broken(&error))?;
    ok(json!({
        "backlog_count": stats.count,
        "backlog_bytes": stats.bytes,
        "oldest_message_timestamp_ms": stats.oldest,
    }))
}

/// `POST queues/{id}/purge`.
pub(super) async fn purge(Extracted(plane): Ctx, Path((_, id)): Name) -> Answer {
    let state = plane.state();
    let queue = state.account.queues.get(&id).ok_or_else(|| no_queue(&id))?;
    let answer = shown(&state, &id, queue);
    plane.local.queues.with(move |messages| messages.purge(&id)).await.map_err(|error| broken(&error))?;
    ok(answer)
}

/// `GET queues/{id}/purge`: a purge is over when its call is.
pub(super) async fn purged(Extracted(plane): Ctx, Path((_, id)): Name) -> Answer {
    known(&plane.state(), &id)?;
    ok(json!({ "completed": "true", "started_at": null }))
}

/// That there is such a queue.
pub(super) fn known(state: &State, id: &str) -> Result<(), Refusal> {
    state.account.queues.get(id).map(|_| ()).ok_or_else(|| no_queue(id))
}
