//! Rate limits: calls counted by key, in windows of 10 or 60 seconds.
//!
//! **Invariant:** counts are in memory, those of passed windows are dropped, and the edge counts for all Workers at once.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use http::{Response, StatusCode};
use serde_json::json;

use super::{Body, Call, json as answer, now_ms, read, status};

/// Keys counted in one window of one namespace; beyond it, calls with keys not seen before are let through.
const KEYS: usize = 100_000;
/// Bytes of a key.
const KEY_LIMIT: usize = 2048;

/// The counts, by namespace.
#[derive(Default)]
pub(super) struct Limits(Mutex<HashMap<String, Window>>);

#[derive(Default)]
struct Window {
    number: i64,
    counts: HashMap<Vec<u8>, u64>,
}

impl Limits {
    /// One call of `limit()`: the body is the key, the binding's setting is `limit/period`.
    pub(super) async fn answer(&self, call: Call) -> Response<Body> {
        let setting = call.with.as_deref().and_then(|with| with.split_once('/'));
        let numbers = setting.and_then(|(limit, period)| Some((limit.parse().ok()?, period.parse().ok()?)));
        let Some((limit, period)) = numbers else { return status(StatusCode::BAD_REQUEST) };
        match read(call.request.into_body(), KEY_LIMIT).await {
            Ok(key) => answer(StatusCode::OK, &json!({ "success": self.allow(&call.of, &key, limit, period, now_ms()) })),
            Err(refused) => status(refused),
        }
    }

    fn allow(&self, namespace: &str, key: &[u8], limit: u64, period: i64, now: i64) -> bool {
        let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let window = windows.entry(namespace.to_owned()).or_default();
        let number = now / (period.max(1) * 1000);
        if window.number != number {
            *window = Window { number, counts: HashMap::new() };
        }
        if window.counts.len() >= KEYS && !window.counts.contains_key(key) {
            return true;
        }
        let count = window.counts.entry(key.to_vec()).or_default();
        *count += 1;
        *count <= limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_let_through_up_to_its_limit_in_each_window() {
        let limits = Limits::default();
        let allowed = |key: &[u8], now| limits.allow("1", key, 2, 10, now);
        assert_eq!([allowed(b"a", 0), allowed(b"a", 1), allowed(b"a", 9_999)], [true, true, false]);
        assert!(allowed(b"b", 9_999));
        assert!(allowed(b"a", 10_000));
        assert!(limits.allow("2", b"a", 2, 10, 10_000));
    }
}
