//! How fast the API may be called.
//!
//! Goes in: the headers of answers. Comes out: how long the next call has to wait.
//!
//! **Invariant:** a wait is bounded; what would take longer is said to the caller, who has other work.
//!
//! Facts: Cloudflare sends `Ratelimit: "default";r=50;t=30` with every answer (r calls left in the next t seconds) and
//! `Retry-After` in seconds with 429; after an excess every call is refused for five minutes (API reference, limits).

use std::sync::Mutex;
use std::time::{Duration, Instant};

use http::HeaderMap;

/// What is waited after a 429 that does not say how long.
const UNSAID: Duration = Duration::from_secs(10);

/// No `Retry-After` is believed beyond this.
const LONGEST: Duration = Duration::from_secs(3600);

/// When the next call may be made; shared by all calls of one token.
#[derive(Debug, Default)]
pub(super) struct Pace {
    not_before: Mutex<Option<Instant>>,
}

impl Pace {
    /// Takes note of an answer that came at `now`.
    pub(super) fn note(&self, status: u16, headers: &HeaderMap, now: Instant) {
        let hold = if status == 429 { Some(retry_after(headers).unwrap_or(UNSAID)) } else { spent(headers) };
        if let Some(hold) = hold {
            let until = now + hold.min(LONGEST);
            let mut not_before = self.not_before.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            *not_before = Some(not_before.map_or(until, |former| former.max(until)));
        }
    }

    /// How long the next call has to wait, from `now`.
    pub(super) fn delay(&self, now: Instant) -> Duration {
        let not_before = self.not_before.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        not_before.map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(http::header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = chrono::DateTime::parse_from_rfc2822(text).ok()?;
    Some((at.to_utc() - chrono::Utc::now()).to_std().unwrap_or_default())
}

/// For how long nothing is left, where nothing is.
fn spent(headers: &HeaderMap) -> Option<Duration> {
    headers
        .get_all("ratelimit")
        .iter()
        .filter_map(|value| {
            let text = value.to_str().ok()?;
            text.split(',')
                .filter_map(|policy| {
                    let number = |key: &str| {
                        policy.split(';').find_map(|part| part.trim().strip_prefix(key)?.strip_prefix('=')?.parse::<u64>().ok())
                    };
                    (number("r")? == 0).then(|| Duration::from_secs(number("t").unwrap_or(1)))
                })
                .max()
        })
        .max()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        [(http::HeaderName::from_static(name), value.parse().unwrap())].into_iter().collect()
    }

    #[test]
    fn a_wait_comes_from_the_headers() {
        let delay = |status, headers: &HeaderMap| {
            let pace = Pace::default();
            let now = Instant::now();
            pace.note(status, headers, now);
            pace.delay(now)
        };
        assert_eq!(delay(200, &HeaderMap::new()), Duration::ZERO);
        assert_eq!(delay(200, &headers("ratelimit", "\"default\";r=50;t=30")), Duration::ZERO);
        assert_eq!(delay(200, &headers("ratelimit", "\"default\";r=0;t=30")), Duration::from_secs(30));
        assert_eq!(delay(200, &headers("ratelimit", "\"a\";r=3;t=9, \"b\";r=0;t=4")), Duration::from_secs(4));
        assert_eq!(delay(429, &headers("retry-after", "2")), Duration::from_secs(2));
        assert_eq!(delay(429, &HeaderMap::new()), UNSAID);
        assert_eq!(delay(429, &headers("retry-after", "99999999")), LONGEST);
    }
}
