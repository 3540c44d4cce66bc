//! The protocol of the runtime's queue binding: `POST /message`, `POST /batch`, `GET /metrics`.
//!
//! **Invariant:** a message that is larger than Cloudflare takes is refused here too.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Method, Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::super::record::State;
use super::super::{Body, Call, json as answer_json, read, status};
use super::{New, Queues, Stats};

/// Bytes of one message.
pub(in crate::edge) const MESSAGE_LIMIT: usize = 128_000;
/// Bytes of one batch.
pub(in crate::edge) const BATCH_LIMIT: usize = 256_000;
/// Messages of one batch.
pub(in crate::edge) const BATCH_MESSAGES: usize = 100;

#[derive(Deserialize)]
struct Batch {
    messages: Vec<Sent>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sent {
    body: String,
    content_type: Option<String>,
    delay_secs: Option<u64>,
}

/// Answers one request of a binding.
pub(in crate::edge::local) async fn answer(queues: &Queues, state: &State, call: Call) -> Response<Body> {
    let Some(queue) = state.account.queues.get(&call.of) else { return status(StatusCode::NOT_FOUND) };
    let (parts, body) = call.request.into_parts();
    let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
    // The nearest wins: the message, the batch, the binding, the queue.
    let number = |text: &str| text.parse::<u64>().ok();
    let own = header("x-msg-delay-secs").and_then(number);
    let delay = own.or(call.with.as_deref().and_then(number)).unwrap_or(queue.delivery_delay);
    let new = match (&parts.method, parts.uri.path()) {
        (&Method::POST, "/message") => match read(body, MESSAGE_LIMIT).await {
            Ok(body) => vec![New { format: format(header("x-msg-fmt")), body: body.to_vec(), delay }],
            Err(refused) => return status(refused),
        },
        (&Method::POST, "/batch") => match read(body, 2 * BATCH_LIMIT).await.map(|body| batch(&body, delay)) {
            Ok(Some(new)) => new,
            Ok(None) => return status(StatusCode::PAYLOAD_TOO_LARGE),
            Err(refused) => return status(refused),
        },
        (&Method::GET, "/metrics") => Vec::new(),
        _ => return status(StatusCode::NOT_FOUND),
    };
    let asked = parts.method == Method::GET;
    match queues.send(&call.of, new).await {
        Ok(stats) if asked => answer_json(StatusCode::OK, &metrics(stats)),
        Ok(stats) => answer_json(StatusCode::OK, &json!({ "metadata": { "metrics": metrics(stats) } })),
        Err(error) => {
            tracing::error!(queue = queue.name, %error, "A message could not be kept.");
            status(StatusCode::INTERNAL_SERVER_ERROR)
        }
    }
}

fn format(named: Option<&str>) -> String {
    named.filter(|format| ["text", "json", "bytes"].contains(format)).unwrap_or("v8").to_owned()
}

/// The messages of a batch; `None` where it is more than Cloudflare takes.
fn batch(body: &[u8], delay: u64) -> Option<Vec<New>> {
    let batch: Batch = serde_json::from_slice(body).ok()?;
    let mut total = 0;
    let mut new = Vec::new();
    for sent in batch.messages {
        let body = STANDARD.decode(&sent.body).ok()?;
        total += body.len();
        if body.len() > MESSAGE_LIMIT || total > BATCH_LIMIT || new.len() >= BATCH_MESSAGES {
            return None;
        }
        let format = format(sent.content_type.as_deref());
        new.push(New { format, body, delay: sent.delay_secs.unwrap_or(delay) });
    }
    Some(new)
}

/// What a queue holds, in the runtime's words.
pub(super) fn metrics(stats: Stats) -> Value {
    json!({ "backlogCount": stats.count, "backlogBytes": stats.bytes, "oldestMessageTimestamp": stats.oldest })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_has_messages_with_delays_of_their_own_and_a_limit() {
        let body = json!({ "messages": [{ "body": "eyJhIjoxfQ==", "contentType": "json" }, { "body": "eA==", "delaySecs": 2 }] });
        let new = batch(body.to_string().as_bytes(), 7).unwrap();
        assert_eq!((new[0].body.as_slice(), new[0].format.as_str(), new[0].delay), (&b"{\"a\":1}"[..], "json", 7));
        assert_eq!((new[1].format.as_str(), new[1].delay), ("v8", 2));
        let many = json!({ "messages": vec![json!({ "body": "eA==" }); BATCH_MESSAGES + 1] });
        assert!(batch(many.to_string().as_bytes(), 0).is_none());
    }
}
