//! Injected faults and crons at a given time, for tests: only where the edge was started with `faults`.
//!
//! `POST /__faults` with `{"match": "POST .*deployments", "status": 503, "after_effect": true, "times": 1, "delay_ms": 100}`
//! adds a fault; `GET` lists what is left; `DELETE` clears. `match` is compared with `METHOD path?query`: its parts
//! between `.*` have to occur in this order, the first at the start. A fault waits `delay_ms`, then, if it has a `status`, answers
//! with it (and `code`, and `Retry-After: retry_after`) instead of the call, or after the call was carried out.
//! `POST /__cron` with `{"script", "cron", "time"?}` (milliseconds) calls a Worker's `scheduled()` now.
//!
//! **Invariant:** calls need the token like any other; a fault that was used up is gone.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::super::cron::fire;
use super::super::plane::Plane;
use super::super::runtime::config::service_name;
use super::answer::{Answer, Refusal, ok};
use super::{Ctx, parse};

/// The faults that are still to happen.
#[derive(Debug, Default)]
pub(super) struct Faults(Mutex<Vec<Fault>>);

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Fault {
    r#match: String,
    status: Option<u16>,
    #[serde(default)]
    code: u32,
    #[serde(default)]
    after_effect: bool,
    #[serde(default = "once")]
    times: u32,
    #[serde(default)]
    delay_ms: u64,
    retry_after: Option<u32>,
}

fn once() -> u32 {
    1
}

impl Faults {
    fn list(&self) -> std::sync::MutexGuard<'_, Vec<Fault>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first fault for a call, which is used once by that.
    fn take(&self, call: &str) -> Option<Fault> {
        let mut list = self.list();
        let at = list.iter().position(|fault| matches(&fault.r#match, call))?;
        let fault = list[at].clone();
        if fault.times <= 1 {
            list.remove(at);
        } else {
            list[at].times -= 1;
        }
        Some(fault)
    }
}

/// Whether the parts of a pattern occur in a call in this order, the first one at its start.
fn matches(pattern: &str, call: &str) -> bool {
    let mut parts = pattern.split(".*");
    let Some(mut rest) = call.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

/// Lets the faults happen.
pub(super) async fn inject(State(faults): State<Arc<Faults>>, request: Request, next: Next) -> Response {
    // Inside the nested router the path has lost its prefix: faults are compared with the rest.
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let call = format!("{} {path}", request.method());
    let Some(fault) = faults.take(&call) else { return next.run(request).await };
    tokio::time::sleep(Duration::from_millis(fault.delay_ms)).await;
    let Some(status) = fault.status else { return next.run(request).await };
    if fault.after_effect {
        let response = next.run(request).await;
        tracing::debug!(call, status = %response.status(), "An injected fault hides this answer.");
    }
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = Refusal::new(status, fault.code, "injected fault").into_response();
    if let Some(seconds) = fault.retry_after {
        response.headers_mut().insert("retry-after", HeaderValue::from(seconds));
    }
    response
}

/// The calls that add, list and clear faults.
pub(super) fn routes(faults: Arc<Faults>) -> Router<Arc<Plane>> {
    let (for_add, for_list, for_clear) = (Arc::clone(&faults), Arc::clone(&faults), faults);
    let add = move |body: Bytes| async move {
        for_add.list().push(parse(&body)?);
        ok(json!(null))
    };
    let list = move || async move { ok(json!(*for_list.list())) };
    let clear = move || async move {
        for_clear.list().clear();
        ok(json!(null))
    };
    Router::new().route("/__faults", post(add).get(list).delete(clear))
}

#[derive(Debug, Deserialize)]
struct Cron {
    script: String,
    cron: String,
    time: Option<i64>,
}

/// `POST /__cron`.
pub(super) async fn cron(State(plane): Ctx, body: Bytes) -> Answer {
    let wanted: Cron = parse(&body)?;
    let time = wanted.time.and_then(chrono::DateTime::from_timestamp_millis).unwrap_or_else(chrono::Utc::now);
    let state = plane.state();
    let script = state.scripts.get(&wanted.script).ok_or_else(|| Refusal::no_worker(&wanted.script))?;
    let version = script.principal().ok_or_else(|| Refusal::no_worker(&wanted.script))?;
    let service = service_name(&wanted.script, version);
    let fired = fire(&plane.supervisor, &wanted.script, &service, &wanted.cron, time).await;
    fired.map_err(|message| Refusal::bad(10021, message))?;
    ok(json!(null))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_parts_in_order() {
        let call = "POST /accounts/a/workers/scripts/api/deployments?force=true";
        for (pattern, expected) in [
            ("POST .*deployments", true),
            ("POST .*api.*deployments", true),
            ("PUT .*", false),
            ("POST /deployments", false),
            ("", true),
            ("POST .*deployments.*api", false),
        ] {
            assert_eq!(matches(pattern, call), expected, "{pattern}");
        }
    }

    #[test]
    fn a_fault_is_used_up() {
        let faults = Faults::default();
        let fault = |times| serde_json::from_value(json!({ "match": "GET .*", "status": 503, "times": times })).unwrap();
        faults.list().push(fault(2));
        assert!(faults.take("PUT /x").is_none());
        assert!(faults.take("GET /x").is_some());
        assert!(faults.take("GET /x").is_some());
        assert!(faults.take("GET /x").is_none());
    }
}
