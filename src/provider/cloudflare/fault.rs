//! What went wrong with a call, and what the reader can do about it.
//!
//! Goes in: a status, the errors of a body, a transport error. Comes out: a [`Fault`] that knows whether the call
//! certainly had no effect.
//!
//! **Invariant:** nobody looks at message text: codes and statuses decide. What a server says is shown escaped and
//! cut; that it repeats none of our secrets was seen to before it came here.

use crate::model::Retry;
use crate::provider::{Outcome, ProviderError};

use super::codes;
use super::envelope::ApiError;

/// The most that is shown of what a server says, in characters.
const SHOWN: usize = 400;

/// A call that did not succeed.
#[derive(Debug)]
pub(super) struct Fault {
    /// Whether the call certainly had no effect: it never left, or it was refused.
    pub(super) certain: bool,
    /// The HTTP status, where there was an answer.
    pub(super) status: Option<u16>,
    /// The codes that the body named.
    pub(super) codes: Vec<u64>,
    /// Whether the call was sent more than once, because the API said "later" in between.
    pub(super) resent: bool,
    /// What to tell the caller.
    pub(super) error: ProviderError,
}

impl Fault {
    /// One of our own making: nothing was sent.
    pub(super) fn own(error: ProviderError) -> Self {
        Self { certain: true, status: None, codes: Vec::new(), resent: false, error }
    }

    /// The same for another caller; its cause stays with the first.
    pub(super) fn again(&self) -> Self {
        let Self { certain, status, codes, resent, error } = self;
        let error = ProviderError { message: error.message.clone(), hint: error.hint.clone(), retry: error.retry, source: None };
        Self { certain: *certain, status: *status, codes: codes.clone(), resent: *resent, error }
    }

    /// Whether the thing that was asked for is not there (404, with one of the codes that say so or none).
    pub(super) fn is_missing(&self) -> bool {
        self.status == Some(404) && (self.codes.is_empty() || self.codes.iter().any(|c| codes::MISSING.contains(c)))
    }

    /// Whether the API knows no such path or method.
    pub(super) fn is_unsupported(&self) -> bool {
        matches!(self.status, Some(404 | 405 | 501))
    }

    /// Whether the body named `code`.
    pub(super) fn has(&self, code: u64) -> bool {
        self.codes.contains(&code)
    }

    /// What became of an order whose first write failed so.
    pub(super) fn outcome(self) -> Outcome {
        if self.certain { Outcome::Refused(self.error) } else { Outcome::Unknown(self.error) }
    }
}

/// The fault of an answer with `status` whose body named `errors`.
pub(super) fn refused(
    call: &str,
    status: u16,
    errors: &[ApiError],
    ray: Option<&str>,
    wait: Option<std::time::Duration>,
) -> Fault {
    let codes: Vec<u64> = errors.iter().filter_map(|e| e.code).collect();
    let said: Vec<&str> = errors.iter().filter_map(|e| e.message.as_deref()).filter(|m| !m.is_empty()).collect();
    let said = if said.is_empty() { default_words(status).to_owned() } else { said.join("; ") };
    let mut facts = vec![format!("HTTP {status}")];
    facts.extend(codes.iter().map(|code| format!("code {code}")));
    facts.extend(ray.map(|ray| format!("cf-ray {ray}")));
    facts.extend(wait.map(|wait| format!("not before {}", clock(wait))));
    let (hint, retry) = advice(status, &codes);
    let retry = wait.map_or(retry, Retry::After);
    let mut error = ProviderError::new(format!("{call}: {} ({})", shown(&said), facts.join(", ")), retry);
    error.hint = hint.map(str::to_owned);
    // A refusal (4xx, or a redirect that we do not follow) had no effect; 408 says only that the server gave up
    // waiting, 5xx that something broke on the way, and `success: false` under 2xx contradicts itself.
    let certain = matches!(status, 300..=499) && status != 408;
    Fault { certain, status: Some(status), codes, resent: false, error }
}

/// The fault of an answer whose body is no envelope.
pub(super) fn foreign(call: &str, status: u16, ray: Option<&str>, challenge: bool, wait: Option<std::time::Duration>) -> Fault {
    let mut fault = refused(call, status, &[], ray, wait);
    if challenge {
        fault.error.message = format!("{call}: a firewall asked for a challenge instead of answering ({})", facts(status, ray));
        fault.error.hint = Some("let this machine's address through at the API's firewall, or call from another".to_owned());
    } else if (200..300).contains(&status) {
        fault.error.message = format!("{call}: the answer is not what the API documents ({})", facts(status, ray));
        fault.error.hint = Some("check that the endpoint ends in `/client/v4` and is not a proxy's page".to_owned());
        fault.error.retry = Retry::Transient;
    }
    fault
}

/// What the clock will show in a while.
pub(super) fn clock(wait: std::time::Duration) -> String {
    (chrono::Utc::now() + wait).format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

fn facts(status: u16, ray: Option<&str>) -> String {
    ray.map_or_else(|| format!("HTTP {status}"), |ray| format!("HTTP {status}, cf-ray {ray}"))
}

/// The fault of a call that got no answer.
pub(super) fn transport(call: &str, error: &reqwest::Error) -> Fault {
    // A connection that was never made carried nothing; after that, nobody knows.
    let certain = error.is_connect() || error.is_builder();
    let at = error.url().map(|url| url.authority().to_owned()).unwrap_or_default();
    let what = if error.is_connect() {
        format!("no connection to {at}")
    } else if error.is_timeout() {
        format!("no answer from {at} in time")
    } else {
        format!("the connection to {at} broke")
    };
    let mut fault = ProviderError::new(format!("{call}: {what}"), Retry::Transient);
    if error.is_connect() {
        fault = fault.hint("check that the endpoint is up and reachable from this machine");
    }
    // The first cause alone: what the layers above it say is said here already.
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    Fault { certain, status: None, codes: Vec::new(), resent: false, error: fault.source(cause.to_string()) }
}

/// What a server says, safe to show: control and direction characters escaped, and cut.
pub(super) fn shown(text: &str) -> String {
    // Lines, such as those of a stack, become one; whatever else a terminal would obey is escaped.
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let escaped = escaped(&lines.join(" "));
    match escaped.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}…", &escaped[..at]),
        None => escaped,
    }
}

fn escaped(text: &str) -> String {
    let hidden =
        |c: char| c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().flat_map(|c| if hidden(c) { c.escape_default().collect::<Vec<_>>() } else { vec![c] }).collect()
}

fn default_words(status: u16) -> &'static str {
    match status {
        300..=399 => "the endpoint redirects",
        401 | 403 => "not allowed",
        404 => "not found",
        408 => "the server gave up waiting",
        413 => "too large",
        429 => "too many calls",
        500..=599 => "the server failed",
        _ => "refused",
    }
}

/// What to do about it, and when it makes sense to try again.
fn advice(status: u16, codes: &[u64]) -> (Option<&'static str>, Retry) {
    if let Some(advice) = codes.iter().find_map(|code| codes::advice(*code)) {
        return (Some(advice.0), advice.1);
    }
    match status {
        300..=399 => (Some("set the endpoint to the address that it redirects to"), Retry::Stalled),
        401 | 403 => (Some(codes::TOKEN), Retry::Stalled),
        404 => (Some("check the endpoint and `account_id` of the target"), Retry::Stalled),
        408 | 409 | 425 => (None, Retry::Transient),
        413 => (Some("make the Worker smaller"), Retry::Stalled),
        429 => (Some(codes::LATER), Retry::Transient),
        400..=499 => (None, Retry::Stalled),
        _ => (None, Retry::Transient),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api(code: u64, message: &str) -> ApiError {
        ApiError { code: Some(code), message: Some(message.to_owned()) }
    }

    #[test]
    fn the_status_says_whether_there_was_an_effect() {
        for (status, certain) in [
            (200, false),
            (301, true),
            (400, true),
            (401, true),
            (404, true),
            (408, false),
            (409, true),
            (429, true),
            (500, false),
            (504, false),
        ] {
            assert_eq!(refused("PUT /x", status, &[], None, None).certain, certain, "{status}");
        }
    }

    #[test]
    fn a_code_says_what_to_do() {
        let fault = refused("GET /x", 403, &[api(10000, "Authentication error")], Some("8f-FRA"), None);
        assert_eq!(fault.error.to_string(), "GET /x: Authentication error (HTTP 403, code 10000, cf-ray 8f-FRA)");
        assert!(fault.error.hint.unwrap().contains("api_token"));
        assert_eq!(fault.error.retry, Retry::Stalled);
        let later = refused("GET /x", 429, &[], None, Some(std::time::Duration::from_secs(300)));
        assert!(later.error.message.contains("not before 2") && later.error.message.ends_with(" UTC)"), "{}", later.error);
    }

    #[test]
    fn what_a_server_says_is_shown_cut_and_without_control_characters() {
        let long = "x".repeat(10_000);
        let fault = refused("PUT /x", 400, &[api(1, "bad \u{1b}[31m \u{202e}"), api(2, &long)], None, None);
        let message = fault.error.to_string();
        assert!(!message.contains('\u{1b}') && !message.contains('\u{202e}'), "{message}");
        assert!(message.len() < 600, "{}", message.len());
    }
}
