//! What takes the messages of a queue: a Worker, or clients that pull. A queue has one.
//!
//! It is a thing of its own because of the order: it comes after the queue and after the Worker that it names, and that
//! Worker may itself send to the queue.

use std::collections::BTreeSet;

use futures_util::FutureExt;
use http::Method;
use serde_json::{Value as Json, json};

use crate::model::{Kind, Properties, Value};
use crate::provider::Order;
use crate::provider::cloudflare::CloudflareProvider;
use crate::provider::cloudflare::client::Payload;
use crate::provider::cloudflare::path::Grammar;
use crate::provider::cloudflare::write::Writer;

use super::{Gone, Listed, Made, Sort, Thing, answered, changed, named, object, picked, sort, text};

pub(super) struct QueueConsumer;

const SETTINGS: [&str; 6] =
    ["batch_size", "max_concurrency", "max_retries", "max_wait_time_ms", "retry_delay", "visibility_timeout_ms"];

/// The consumers of a queue, as the list of queues shows them.
pub(super) fn consumers(queue: &Json) -> Vec<Thing> {
    let all = queue.get("consumers").and_then(Json::as_array).into_iter().flatten();
    let Some((id, name)) = text(queue, "queue_id").zip(text(queue, "queue_name")) else { return Vec::new() };
    all.filter_map(|consumer| thing(consumer, (id, name))).collect()
}

fn thing(consumer: &Json, (queue, queue_name): (&str, &str)) -> Option<Thing> {
    let id = text(consumer, "consumer_id")?;
    Grammar::Id.check(id).ok()?;
    Grammar::Id.check(queue).ok()?;
    let mut fields = picked(consumer, &["type", "dead_letter_queue"]);
    // Empty where there is none.
    fields.retain(|_, value| value.as_text() != Some(""));
    // The API's types say one word, its answers the others.
    if let Some(script) = ["script_name", "script", "service"].iter().find_map(|field| text(consumer, field)) {
        fields.insert("script_name".to_owned(), Value::text(script));
    }
    let settings = consumer.get("settings").map(|settings| picked(settings, &SETTINGS)).unwrap_or_default();
    fields.insert("settings".to_owned(), Value::Table(settings));
    fields.insert("queue_id".to_owned(), Value::text(queue));
    Some(Thing::new(Kind::QueueConsumer, id, queue_name, fields))
}

fn queue(properties: &Properties) -> &str {
    properties.get("queue_id").and_then(Value::as_text).unwrap_or_default()
}

/// What is sent: everything that is wanted, but for the queue, which the path names.
fn body(mut wanted: Properties) -> Json {
    wanted.remove("queue_id");
    Json::Object(object(&wanted))
}

impl Sort for QueueConsumer {
    fn kind(&self) -> Kind {
        Kind::QueueConsumer
    }

    /// The code is that of other refusals too.
    fn taken(&self) -> &'static [u64] {
        &[]
    }

    fn listed_with(&self) -> Kind {
        Kind::Queue
    }

    fn list<'a>(&'a self, provider: &'a CloudflareProvider, places: &'a BTreeSet<String>) -> Listed<'a> {
        async move {
            match sort(Kind::Queue) {
                Some(queues) => queues.list(provider, places).await,
                None => Ok(Vec::new()),
            }
        }
        .boxed()
    }

    fn create<'a>(&'a self, writer: &'a mut Writer<'_>, order: &'a Order) -> Made<'a> {
        async move {
            let (name, after) = named(order);
            let queue = queue(&after).to_owned();
            Grammar::Id.check(&queue)?;
            let path = writer.provider.account.path(&["queues", &queue, "consumers"]);
            let made = writer.json(Method::POST, &path, body(after)).await?;
            answered(thing(&made, (&queue, name)), Kind::QueueConsumer, name)
        }
        .boxed()
    }

    fn update<'a>(&'a self, writer: &'a mut Writer<'_>, order: &'a Order, found: &'a Thing) -> Made<'a> {
        async move {
            let (name, after) = named(order);
            let before = order.change.before.clone().unwrap_or_default();
            let gone = before.keys().any(|field| !after.contains_key(field)) || settings(&before) != settings(&after);
            if changed(&found.properties, &after).is_empty() && !gone {
                return Ok(found.clone());
            }
            let queue = queue(&found.properties).to_owned();
            let path = writer.provider.account.path(&["queues", &queue, "consumers", &found.id]);
            let answer = writer.json(Method::PUT, &path, body(after)).await?;
            // An answer may leave out what it was sent to.
            let mut answer = answer;
            if text(&answer, "consumer_id").is_none() {
                answer["consumer_id"] = json!(found.id);
            }
            answered(thing(&answer, (&queue, name)), Kind::QueueConsumer, name)
        }
        .boxed()
    }

    fn delete<'a>(&'a self, writer: &'a mut Writer<'_>, found: &'a Thing) -> Gone<'a> {
        async move {
            let path = writer.provider.account.path(&["queues", queue(&found.properties), "consumers", &found.id]);
            writer.try_write(Method::DELETE, &path, Payload::Empty, &[]).await?;
            Ok(())
        }
        .boxed()
    }
}

fn settings(properties: &Properties) -> BTreeSet<&String> {
    properties.get("settings").and_then(Value::as_table).into_iter().flat_map(|table| table.keys()).collect()
}
