//! Batches, brought to the Workers that consume them.
//!
//! Goes in: the live state and the messages. Comes out: calls of `queue()` in the consumer's serving version, and messages
//! settled as it said: acknowledged, ready again later, or dead.
//!
//! **Invariant:** a message that certainly did not reach a Worker has lost no attempt.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::super::super::record::{Account, Consumer, Queue, State, fresh_hex};
use super::super::super::runtime::Supervisor;
use super::super::super::runtime::config::service_name;
use super::super::super::runtime::events::{self, EventError};
use super::super::now_ms;
use super::store::Due;
use super::wire::metrics;
use super::{Failed, Message, Queues};

/// Batches of one queue in flight, where its consumer names no number.
const IN_FLIGHT: u32 = 8;
/// For how long a batch is out: longer than a handler may run.
const LEASE: Duration = Duration::from_secs(16 * 60);
/// After a batch that could not be brought.
const PAUSE: Duration = Duration::from_secs(1);
/// For how long batches in hand may go on after the stop.
const DRAIN: Duration = Duration::from_secs(30);

/// How many batches of each queue are in flight.
type Flights = Arc<Mutex<BTreeMap<String, u32>>>;

/// Delivers until the token is cancelled, then lets batches in hand finish.
pub(in crate::edge) async fn run(supervisor: Arc<Supervisor>, queues: Queues, stop: CancellationToken) {
    let flights = Flights::default();
    let deliveries = TaskTracker::new();
    loop {
        let state = supervisor.state();
        let mut next: Option<i64> = None;
        for (id, queue) in &state.account.queues {
            let Some(consumer) = queue.consumer.as_ref().filter(|_| !queue.delivery_paused) else { continue };
            let Some(service) = service_of(&state, consumer) else { continue };
            let due = loop {
                match start(&queues, &flights, id, queue, consumer, &state.account).await {
                    Ok(Start::Batch(messages)) => {
                        let delivery = Delivery {
                            supervisor: Arc::clone(&supervisor),
                            queues: queues.clone(),
                            flights: Arc::clone(&flights),
                            queue: id.clone(),
                            name: queue.name.clone(),
                            service: service.clone(),
                            failed: failed(consumer, &state.account),
                            retry_delay: consumer.retry_delay,
                        };
                        deliveries.spawn(delivery.carry_out(messages));
                    }
                    Ok(Start::At(at)) => break at,
                    Err(error) => {
                        tracing::error!(queue = queue.name, %error, "The messages cannot be read.");
                        break Some(now_ms() + 5000);
                    }
                }
            };
            next = [next, due].into_iter().flatten().min();
        }
        let wait = next.map(|at| Duration::from_millis(u64::try_from(at - now_ms()).unwrap_or(0).max(5)));
        tokio::select! {
            () = queues.look.notified() => {}
            () = async { match wait { Some(wait) => tokio::time::sleep(wait).await, None => std::future::pending().await } } => {}
            () = stop.cancelled() => break,
        }
    }
    deliveries.close();
    let _ = tokio::time::timeout(DRAIN, deliveries.wait()).await;
}

/// What becomes of messages whose handling fails.
pub(in crate::edge) fn failed(consumer: &Consumer, account: &Account) -> Failed {
    let dead = consumer.dead_letter_queue.as_deref().and_then(|name| account.queue_named(name));
    Failed { max_retries: consumer.max_retries, dead_letters: dead.map(|(id, _)| id.clone()) }
}

/// The service whose `queue()` is called: the version with the largest share.
fn service_of(state: &State, consumer: &Consumer) -> Option<(String, String)> {
    let script = state.scripts.get(consumer.script.as_ref()?)?;
    Some((script.name.clone(), service_name(&script.name, script.principal()?)))
}

enum Start {
    Batch(Vec<Message>),
    /// Nothing is due before this.
    At(Option<i64>),
}

async fn start(
    queues: &Queues,
    flights: &Flights,
    id: &str,
    queue: &Queue,
    consumer: &Consumer,
    account: &Account,
) -> rusqlite::Result<Start> {
    let limit = consumer.max_concurrency.unwrap_or(IN_FLIGHT).max(1);
    let in_flight = flights.lock().unwrap_or_else(PoisonError::into_inner).get(id).copied().unwrap_or(0);
    if in_flight >= limit {
        // A delivery that ends looks again.
        return Ok(Start::At(None));
    }
    let (queue_id, failed) = (id.to_owned(), failed(consumer, account));
    let retention = i64::try_from(queue.retention).unwrap_or(i64::MAX).saturating_mul(1000);
    let (size, wait) = (consumer.batch_size.max(1), i64::try_from(consumer.max_wait_time_ms).unwrap_or(0));
    let started = queues
        .with(move |messages| {
            let now = now_ms();
            messages.sweep(&queue_id, retention, &failed, now)?;
            match messages.due(&queue_id, size, wait, now)? {
                Due::Now => {
                    let lease = format!("worker:{}", fresh_hex());
                    let until = now + i64::try_from(LEASE.as_millis()).unwrap_or(0);
                    messages.lease(&queue_id, size, || lease.clone(), until, now).map(Start::Batch)
                }
                Due::At(at) => Ok(Start::At(Some(at))),
                Due::Never => Ok(Start::At(None)),
            }
        })
        .await?;
    if let Start::Batch(messages) = &started {
        if messages.is_empty() {
            return Ok(Start::At(Some(now_ms() + 50)));
        }
        *flights.lock().unwrap_or_else(PoisonError::into_inner).entry(id.to_owned()).or_default() += 1;
    }
    Ok(started)
}

/// One batch on its way.
struct Delivery {
    supervisor: Arc<Supervisor>,
    queues: Queues,
    flights: Flights,
    queue: String,
    name: String,
    /// The Worker and its service.
    service: (String, String),
    failed: Failed,
    retry_delay: u64,
}

/// What the handler said.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Outcome {
    outcome: String,
    ack_all: bool,
    retry_batch: RetryBatch,
    explicit_acks: Vec<String>,
    retry_messages: Vec<RetryMessage>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RetryBatch {
    retry: bool,
    delay_seconds: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RetryMessage {
    msg_id: String,
    delay_seconds: Option<u64>,
}

impl Outcome {
    /// For a message that is to be tried again: after how many seconds.
    fn again(&self, id: &str, retry_delay: u64) -> Option<u64> {
        if self.explicit_acks.iter().any(|acked| acked == id) {
            return None;
        }
        let own = self.retry_messages.iter().find(|message| message.msg_id == id);
        let all = (self.retry_batch.retry || self.outcome != "ok") && !self.ack_all;
        let delay = own.and_then(|own| own.delay_seconds).or(self.retry_batch.delay_seconds).unwrap_or(retry_delay);
        (own.is_some() || all).then_some(delay)
    }
}

impl Delivery {
    async fn carry_out(self, messages: Vec<Message>) {
        let settled = match self.bring(&messages).await {
            Ok(outcome) => self.settle(messages, outcome).await,
            Err(EventError::Unsent(said)) => {
                tracing::debug!(queue = self.name, said, "A batch could not be brought; it is tried again.");
                let returned = self.queues.with(move |all| messages.iter().try_for_each(|message| all.give_back(message))).await;
                tokio::time::sleep(PAUSE).await;
                returned
            }
            Err(EventError::Failed(said)) => {
                tracing::warn!(queue = self.name, said, "A batch failed.");
                self.settle(messages, Outcome::default()).await
            }
        };
        if let Err(error) = settled {
            tracing::error!(queue = self.name, %error, "A batch could not be settled; it comes again when its lease is over.");
        }
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(number) = flights.get_mut(&self.queue) {
            *number = number.saturating_sub(1);
        }
        drop(flights);
        self.queues.wake();
    }

    async fn bring(&self, messages: &[Message]) -> Result<Outcome, EventError> {
        let id = self.queue.clone();
        let stats = self.queues.with(move |all| all.stats(&id)).await.unwrap_or_default();
        let shown: Vec<Value> = messages.iter().map(shown).collect();
        let (script, service) = &self.service;
        let body = json!({ "binding": service, "queue": self.name, "messages": shown, "metrics": metrics(stats) });
        let said = events::call(&self.supervisor, script, &body).await?;
        Ok(serde_json::from_value(said).unwrap_or_default())
    }

    async fn settle(&self, messages: Vec<Message>, outcome: Outcome) -> rusqlite::Result<()> {
        let (failed, retry_delay) = (self.failed.clone(), self.retry_delay);
        self.queues
            .with(move |all| {
                let now = now_ms();
                messages.iter().try_for_each(|message| match outcome.again(&message.id, retry_delay) {
                    Some(delay) => {
                        let wait = i64::try_from(delay).unwrap_or(0).saturating_mul(1000);
                        all.fail(message, now.saturating_add(wait), &failed)
                    }
                    None => all.acknowledge(message),
                })
            })
            .await
    }
}

/// A message as the helper in the runtime takes it.
fn shown(message: &Message) -> Value {
    let mut shown = json!({ "id": message.id, "timestamp": message.timestamp, "attempts": message.attempts + 1 });
    match message.format.as_str() {
        "text" => shown["body"] = String::from_utf8_lossy(&message.body).into(),
        "json" => shown["body"] = serde_json::from_slice(&message.body).unwrap_or_default(),
        "bytes" => shown["bytes"] = STANDARD.encode(&message.body).into(),
        _ => shown["v8"] = STANDARD.encode(&message.body).into(),
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_handler_says_of_one_message_goes_before_what_it_says_of_all() {
        let outcome = |text: &str| serde_json::from_str::<Outcome>(text).unwrap();
        let mixed = outcome(
            r#"{"outcome":"ok","retryBatch":{"retry":true,"delaySeconds":9},"explicitAcks":["a"],"retryMessages":[{"msgId":"b","delaySeconds":7}]}"#,
        );
        assert_eq!((mixed.again("a", 1), mixed.again("b", 1), mixed.again("c", 1)), (None, Some(7), Some(9)));
        let fine = outcome(r#"{"outcome":"ok","ackAll":false,"retryBatch":{"retry":false},"explicitAcks":[]}"#);
        assert_eq!(fine.again("a", 1), None);
        let thrown = outcome(r#"{"outcome":"exception","retryBatch":{"retry":false},"explicitAcks":["a"]}"#);
        assert_eq!((thrown.again("a", 1), thrown.again("b", 1)), (None, Some(1)));
    }
}
