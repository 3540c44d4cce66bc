//! Queues: who sends to them, and who takes from them.

use serde_json::{Map, json};

use super::super::sketch::{From, Sketch};
use super::{View, value};
use crate::document::{Node, Table};

/// What wrangler calls a consumer's settings, and what the definitions call them.
const CONSUMER: [(&str, &str); 6] = [
    ("max_batch_size", "batch_size"),
    ("max_batch_timeout", "batch_timeout"),
    ("max_retries", "max_retries"),
    ("retry_delay", "retry_delay"),
    ("max_concurrency", "max_concurrency"),
    ("visibility_timeout_ms", "visibility_timeout_ms"),
];

pub(super) fn carry(sketch: &mut Sketch<'_>, view: &View<'_>, node: &Node, from: &From) {
    let Some(table) = value::table(sketch, node, from) else { return };
    value::rest(sketch, table, &["producers", "consumers"], from);
    if let Some(producers) = table.get("producers") {
        let from = from.below(producers.key, "producers");
        for (from, table) in value::tables(sketch, &producers.node, &from) {
            producer(sketch, view, table, &from);
        }
    }
    if let Some(consumers) = table.get("consumers") {
        let from = from.below(consumers.key, "consumers");
        for (from, table) in value::tables(sketch, &consumers.node, &from) {
            consumer(sketch, view, table, &from);
        }
    }
}

/// The queue of this name: it exists.
fn queue(sketch: &mut Sketch<'_>, name: &str, from: &From) -> Option<String> {
    let key = value::key(name);
    sketch.existing(("queue", &key), Some(name), from).then_some(key)
}

fn producer(sketch: &mut Sketch<'_>, view: &View<'_>, table: &Table, from: &From) {
    let names = (value::needed(sketch, table, "binding", from), value::needed(sketch, table, "queue", from));
    let (Some(binding), Some(name)) = names else { return };
    value::rest(sketch, table, &["binding", "queue", "delivery_delay"], from);
    let Some(key) = queue(sketch, name, from) else { return };
    let mut written = Map::new();
    written.insert("queue".to_owned(), json!(key));
    if let Some(delay) = table.get("delivery_delay") {
        written.insert("delivery_delay".to_owned(), value::json(&delay.node));
    }
    sketch.bind(view.worker, binding, ("queue", written.into()), from);
}

fn consumer(sketch: &mut Sketch<'_>, view: &View<'_>, table: &Table, from: &From) {
    let Some(name) = value::needed(sketch, table, "queue", from) else { return };
    let known: Vec<&str> = CONSUMER.iter().map(|(theirs, _)| *theirs).chain(["queue", "dead_letter_queue", "type"]).collect();
    value::rest(sketch, table, &known, from);
    let Some(key) = queue(sketch, name, from) else { return };
    if view.get("main").is_none() {
        return sketch.leave(from, "there is no `main`: without one there is no Worker that could take from the queue");
    }
    let mut written = Map::new();
    if value::text_of(table, "type") == Some("http_pull") {
        written.insert("http_pull".to_owned(), json!(true));
    } else {
        written.insert("worker".to_owned(), json!(view.worker));
    }
    for (theirs, ours) in CONSUMER {
        if let Some(entry) = table.get(theirs) {
            written.insert(ours.to_owned(), value::json(&entry.node));
        }
    }
    if let Some(name) = value::text_of(table, "dead_letter_queue")
        && let Some(key) = queue(sketch, name, from)
    {
        written.insert("dead_letter_queue".to_owned(), json!(key));
    }
    sketch.set(("queue", &key), "consumer", written, from);
}
