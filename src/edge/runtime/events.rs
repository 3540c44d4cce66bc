//! Calls of the handlers that HTTP cannot reach: `scheduled()` and `queue()`.
//!
//! Goes in: what to call, as JSON for the helper that runs beside the Workers. Comes out: what the runtime says of it.
//!
//! **Invariant:** a call is sent once; one that certainly never left is told from one that failed.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full, Limited};
use serde_json::Value;

use super::Supervisor;
use super::pool::SendError;

/// For how long a handler may run, as at Cloudflare.
const HANDLER_LIMIT: Duration = Duration::from_secs(15 * 60);
/// Bytes of the answer.
const ANSWER_LIMIT: usize = 256 * 1024;

/// Why a handler gave no outcome.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::edge) enum EventError {
    /// It was not called.
    Unsent(String),
    /// It was called and gave none.
    Failed(String),
}

impl EventError {
    /// What to say of it.
    pub(in crate::edge) fn said(self) -> String {
        match self {
            Self::Unsent(said) | Self::Failed(said) => said,
        }
    }
}

/// Calls the helper in the process of a Worker, and waits for the end of the handler.
pub(in crate::edge) async fn call(supervisor: &Supervisor, script: &str, body: &Value) -> Result<Value, EventError> {
    let entry = supervisor.enter_for(script).ok_or_else(|| EventError::Unsent("nothing runs".to_owned()))?;
    let body = Full::new(Bytes::from(body.to_string())).map_err(|never| match never {}).boxed_unsync();
    let request = Request::post("/").header("host", "events").body(body);
    let request = request.map_err(|error| EventError::Unsent(error.to_string()))?;
    let sent = tokio::time::timeout(HANDLER_LIMIT, entry.generation.events().send(request)).await;
    let sent = sent.map_err(|_| EventError::Failed("it ran too long".to_owned()))?;
    let (response, _lease) = sent.map_err(|error| match error {
        SendError::Unreachable(_, error) => EventError::Unsent(error.to_string()),
        SendError::Broken(error) => EventError::Failed(error.to_string()),
    })?;
    let status = response.status();
    let body = Limited::new(response.into_body(), ANSWER_LIMIT).collect().await;
    let body = body.map_err(|error| EventError::Failed(error.to_string()))?.to_bytes();
    let outcome: Value = serde_json::from_slice(&body).unwrap_or_default();
    match outcome["outcome"].is_string() {
        true => Ok(outcome),
        false => Err(EventError::Failed(format!("the runtime answered {status}"))),
    }
}
