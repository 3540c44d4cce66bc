//! The consumer of a queue: a Worker, or whoever pulls over the API.
//!
//! **Invariant:** a queue has one consumer at most.

use axum::extract::{Path, State as Extracted};
use bytes::Bytes;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::record::{Consumer, Queue, State, fresh_hex, now};
use super::answer::{Answer, Refusal, ok, ok_with};
use super::queues::no_queue;
use super::{Ctx, Name, Names, nothing, parse};

/// A consumer.
pub(super) fn shown(queue: &Queue, consumer: &Consumer) -> Value {
    let settings = match &consumer.script {
        Some(_) => json!({
            "batch_size": consumer.batch_size,
            "max_retries": consumer.max_retries,
            "max_wait_time_ms": consumer.max_wait_time_ms,
            "max_concurrency": consumer.max_concurrency,
            "retry_delay": consumer.retry_delay,
        }),
        None => json!({
            "batch_size": consumer.batch_size,
            "max_retries": consumer.max_retries,
            "visibility_timeout_ms": consumer.visibility_timeout_ms,
            "retry_delay": consumer.retry_delay,
        }),
    };
    let mut shown = json!({
        "consumer_id": consumer.id,
        "created_on": consumer.created_on,
        "type": if consumer.script.is_some() { "worker" } else { "http_pull" },
        "queue_name": queue.name,
        "settings": settings,
    });
    if let Some(script) = &consumer.script {
        shown["script"] = json!(script);
        shown["script_name"] = json!(script);
    }
    if let Some(dead) = &consumer.dead_letter_queue {
        shown["dead_letter_queue"] = json!(dead);
    }
    shown
}

#[derive(Debug, Deserialize)]
struct Wanted {
    r#type: Option<String>,
    script_name: Option<String>,
    script: Option<String>,
    dead_letter_queue: Option<String>,
    #[serde(default)]
    settings: Settings,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Settings {
    batch_size: Option<u32>,
    max_retries: Option<u32>,
    max_wait_time_ms: Option<f64>,
    max_concurrency: Option<u32>,
    retry_delay: Option<u64>,
    visibility_timeout_ms: Option<u64>,
}

impl Wanted {
    /// The consumer that is wanted; what is not named has Cloudflare's own defaults.
    fn consumer(self, state: &State, queue: &Queue, before: Option<&Consumer>) -> Result<Consumer, Refusal> {
        let script = match self.r#type.as_deref().unwrap_or("worker") {
            "worker" => {
                let named = self.script_name.or(self.script).or_else(|| before.and_then(|before| before.script.clone()));
                let script = named.ok_or_else(|| Refusal::bad(11004, "a consumer of type `worker` has a `script_name`"))?;
                if !state.scripts.contains_key(&script) {
                    return Err(Refusal::no_worker(&script));
                }
                Some(script)
            }
            "http_pull" => None,
            other => return Err(Refusal::bad(11004, format!("a consumer's type is `worker` or `http_pull`, not `{other}`"))),
        };
        let dead = self.dead_letter_queue.filter(|name| !name.is_empty());
        if dead.as_ref() == Some(&queue.name) {
            return Err(Refusal::bad(11004, "a queue cannot take its own dead letters"));
        }
        if let Some(missing) = dead.as_ref().filter(|name| state.account.queue_named(name).is_none()) {
            return Err(Refusal::bad(11000, format!("Queue does not exist: {missing}, named as dead_letter_queue")));
        }
        let settings = self.settings;
        let within = |field: &str, value: u64, least: u64, most: u64| match (least..=most).contains(&value) {
            true => Ok(value),
            false => Err(Refusal::bad(100_127, format!("{field} is {least} to {most}, not {value}"))),
        };
        within("batch_size", settings.batch_size.unwrap_or(10).into(), 1, 100)?;
        within("max_retries", settings.max_retries.unwrap_or(3).into(), 0, 100)?;
        within("retry_delay", settings.retry_delay.unwrap_or(0), 0, 86_400)?;
        let wait = settings.max_wait_time_ms.unwrap_or(5000.0).max(0.0) as u64;
        within("max_wait_time_ms", wait, 0, 60_000)?;
        if let Some(number) = settings.max_concurrency {
            within("max_concurrency", number.into(), 1, 250)?;
        }
        Ok(Consumer {
            id: before.map_or_else(fresh_hex, |before| before.id.clone()),
            created_on: before.map_or_else(now, |before| before.created_on.clone()),
            script,
            dead_letter_queue: dead,
            batch_size: settings.batch_size.unwrap_or(10),
            max_wait_time_ms: wait,
            max_retries: settings.max_retries.unwrap_or(3),
            retry_delay: settings.retry_delay.unwrap_or(0),
            max_concurrency: settings.max_concurrency,
            visibility_timeout_ms: settings.visibility_timeout_ms.unwrap_or(30_000),
        })
    }
}

fn no_consumer(id: &str) -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, 11001, format!("Consumer does not exist: {id}"))
}

/// `GET consumers`.
pub(super) async fn list(Extracted(plane): Ctx, Path((_, id)): Name) -> Answer {
    let state = plane.state();
    let queue = state.account.queues.get(&id).ok_or_else(|| no_queue(&id))?;
    let all: Vec<Value> = queue.consumer.iter().map(|consumer| shown(queue, consumer)).collect();
    let info = json!({ "page": 1, "per_page": 100, "count": all.len(), "total_count": all.len(), "total_pages": 1 });
    ok_with(json!(all), Some(info), StatusCode::OK)
}

/// `GET consumers/{id}`.
pub(super) async fn show(Extracted(plane): Ctx, Path((_, id, consumer)): Names) -> Answer {
    let state = plane.state();
    let queue = state.account.queues.get(&id).ok_or_else(|| no_queue(&id))?;
    let found = queue.consumer.as_ref().filter(|found| found.id == consumer).ok_or_else(|| no_consumer(&consumer))?;
    ok(shown(queue, found))
}

/// `POST consumers`.
pub(super) async fn create(Extracted(plane): Ctx, Path((_, id)): Name, body: Bytes) -> Answer {
    let wanted: Wanted = parse(&body)?;
    let edit = |state: &mut State| {
        let mut queue = state.account.queues.get(&id).cloned().ok_or_else(|| no_queue(&id))?;
        if queue.consumer.is_some() {
            return Err(Refusal::bad(11004, format!("Queue {} already has a consumer", queue.name)));
        }
        let consumer = wanted.consumer(state, &queue, None)?;
        put(state, &id, &mut queue, consumer)
    };
    ok(Box::pin(plane.change(edit)).await?)
}

/// `PUT consumers/{id}`: replaces it.
pub(super) async fn update(Extracted(plane): Ctx, Path((_, id, consumer)): Names, body: Bytes) -> Answer {
    let wanted: Wanted = parse(&body)?;
    let edit = |state: &mut State| {
        let mut queue = state.account.queues.get(&id).cloned().ok_or_else(|| no_queue(&id))?;
        let before = queue.consumer.clone().filter(|found| found.id == consumer).ok_or_else(|| no_consumer(&consumer))?;
        let after = wanted.consumer(state, &queue, Some(&before))?;
        put(state, &id, &mut queue, after)
    };
    ok(Box::pin(plane.change(edit)).await?)
}

fn put(state: &mut State, id: &str, queue: &mut Queue, consumer: Consumer) -> Result<Value, Refusal> {
    queue.modified_on = now();
    let answer = shown(queue, &consumer);
    queue.consumer = Some(consumer);
    state.account_mut().queues.insert(id.to_owned(), queue.clone());
    Ok(answer)
}

/// `DELETE consumers/{id}`.
pub(super) async fn delete(Extracted(plane): Ctx, Path((_, id, consumer)): Names) -> Answer {
    let edit = |state: &mut State| {
        let mut queue = state.account.queues.get(&id).cloned().ok_or_else(|| no_queue(&id))?;
        if queue.consumer.take_if(|found| found.id == consumer).is_none() {
            return Err(no_consumer(&consumer));
        }
        queue.modified_on = now();
        state.account_mut().queues.insert(id.clone(), queue);
        Ok(())
    };
    Box::pin(plane.change(edit)).await?;
    ok(nothing())
}
