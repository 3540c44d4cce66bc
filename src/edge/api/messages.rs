//! Messages of a queue over the API: sent, pulled, acknowledged.
//!
//! **Invariant:** messages are pulled only where the queue's consumer is of type `http_pull`.

use axum::extract::{Path, State as Extracted};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::local::queue::deliver::failed;
use super::super::local::queue::{Message, New};
use super::super::record::{Consumer, Queue, State, fresh_hex};
use super::answer::{Answer, Refusal, ok};
use super::queues::{broken, no_queue};
use super::{Ctx, Name, parse};

/// Bytes and number of messages, as a Worker may send them.
const MESSAGE_LIMIT: usize = 128_000;
const BATCH_MESSAGES: usize = 100;

#[derive(Debug, Deserialize)]
struct Sent {
    body: Value,
    content_type: Option<String>,
    delay_seconds: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct Batch {
    messages: Vec<Sent>,
    delay_seconds: Option<u64>,
}

impl Sent {
    fn into_message(self, delay: u64) -> Result<New, Refusal> {
        let delay = self.delay_seconds.unwrap_or(delay);
        let text = |body: &Value| body.as_str().map(str::to_owned);
        let (format, body) = match self.content_type.as_deref() {
            Some("text") => ("text", text(&self.body).map(String::into_bytes)),
            Some("bytes") => ("bytes", text(&self.body).and_then(|text| STANDARD.decode(text).ok())),
            None | Some("json") => ("json", Some(self.body.to_string().into_bytes())),
            Some(other) => {
                return Err(Refusal::bad(11010, format!("content_type is `json`, `text` or `bytes`, not `{other}`")));
            }
        };
        let body = body.ok_or_else(|| Refusal::bad(11010, format!("the body is not of the content_type `{format}`")))?;
        match body.len() <= MESSAGE_LIMIT {
            true => Ok(New { format: format.to_owned(), body, delay }),
            false => Err(Refusal::bad(11010, format!("a message has at most {MESSAGE_LIMIT} bytes"))),
        }
    }
}

fn queue<'a>(state: &'a State, id: &str) -> Result<&'a Queue, Refusal> {
    state.account.queues.get(id).ok_or_else(|| no_queue(id))
}

/// `POST messages`.
pub(super) async fn send(Extracted(plane): Ctx, Path((_, id)): Name, body: Bytes) -> Answer {
    let delay = queue(&plane.state(), &id)?.delivery_delay;
    let new = parse::<Sent>(&body)?.into_message(delay)?;
    plane.local.queues.send(&id, vec![new]).await.map_err(|error| broken(&error))?;
    ok(json!({}))
}

/// `POST messages/batch`.
pub(super) async fn send_batch(Extracted(plane): Ctx, Path((_, id)): Name, body: Bytes) -> Answer {
    let delay = queue(&plane.state(), &id)?.delivery_delay;
    let batch: Batch = parse(&body)?;
    if batch.messages.len() > BATCH_MESSAGES {
        return Err(Refusal::bad(11010, format!("a batch has at most {BATCH_MESSAGES} messages")));
    }
    let delay = batch.delay_seconds.unwrap_or(delay);
    let new = batch.messages.into_iter().map(|sent| sent.into_message(delay)).collect::<Result<Vec<New>, _>>()?;
    plane.local.queues.send(&id, new).await.map_err(|error| broken(&error))?;
    ok(json!({}))
}

fn puller(queue: &Queue) -> Result<&Consumer, Refusal> {
    let consumer = queue.consumer.as_ref().filter(|consumer| consumer.script.is_none());
    consumer.ok_or_else(|| Refusal::bad(11011, format!("the queue `{}` has no consumer of type `http_pull`", queue.name)))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Pull {
    batch_size: Option<u32>,
    visibility_timeout_ms: Option<u64>,
}

/// `POST messages/pull`.
pub(super) async fn pull(Extracted(plane): Ctx, Path((_, id)): Name, body: Bytes) -> Answer {
    let state = plane.state();
    let queue = queue(&state, &id)?;
    let consumer = puller(queue)?;
    let pull: Pull = if body.is_empty() { Pull::default() } else { parse(&body)? };
    let size = pull.batch_size.unwrap_or(consumer.batch_size).clamp(1, 100);
    let timeout = pull.visibility_timeout_ms.unwrap_or(consumer.visibility_timeout_ms).min(43_200_000);
    let (failed, retention) = (failed(consumer, &state.account), queue.retention.saturating_mul(1000));
    let pulled = plane.local.queues.with(move |messages| {
        let now = chrono::Utc::now().timestamp_millis();
        messages.sweep(&id, i64::try_from(retention).unwrap_or(i64::MAX), &failed, now)?;
        let leased = messages.lease(&id, size, fresh_hex, now + i64::try_from(timeout).unwrap_or(0), now)?;
        Ok((leased, messages.stats(&id)?))
    });
    let (pulled, stats) = pulled.await.map_err(|error| broken(&error))?;
    let messages: Vec<Value> = pulled.iter().map(shown).collect();
    ok(json!({ "message_backlog_count": stats.count, "messages": messages }))
}

fn shown(message: &Message) -> Value {
    let body = match message.format.as_str() {
        "bytes" | "v8" => STANDARD.encode(&message.body),
        _ => String::from_utf8_lossy(&message.body).into_owned(),
    };
    json!({
        "id": message.id,
        "body": body,
        "attempts": message.attempts + 1,
        "timestamp_ms": message.timestamp,
        "lease_id": message.lease,
        "metadata": { "CF-Content-Type": message.format },
    })
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Settle {
    acks: Vec<Lease>,
    retries: Vec<Lease>,
}

#[derive(Debug, Deserialize)]
struct Lease {
    lease_id: String,
    delay_seconds: Option<u64>,
}

/// `POST messages/ack`: what was handled, and what is to come again.
pub(super) async fn acknowledge(Extracted(plane): Ctx, Path((_, id)): Name, body: Bytes) -> Answer {
    let state = plane.state();
    let consumer = puller(queue(&state, &id)?)?;
    let settle: Settle = parse(&body)?;
    let (failed, retry_delay) = (failed(consumer, &state.account), consumer.retry_delay);
    let settled = plane.local.queues.with(move |messages| {
        let now = chrono::Utc::now().timestamp_millis();
        let (mut acks, mut retries) = (0, 0);
        for lease in &settle.acks {
            acks += u64::from(messages.settle(&lease.lease_id, None, &failed)?);
        }
        for lease in &settle.retries {
            let delay = i64::try_from(lease.delay_seconds.unwrap_or(retry_delay).min(86_400)).unwrap_or(0);
            retries += u64::from(messages.settle(&lease.lease_id, Some(now + delay * 1000), &failed)?);
        }
        Ok((acks, retries))
    });
    let (acks, retries) = settled.await.map_err(|error| broken(&error))?;
    ok(json!({ "ackCount": acks, "retryCount": retries, "warnings": [] }))
}
