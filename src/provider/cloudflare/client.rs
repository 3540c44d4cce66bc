//! One call of the REST API.
//!
//! Goes in: a method, an encoded path, a body. Comes out: the result, or a [`Fault`].
//!
//! **Invariant:** a read may be repeated, a write never is unless the API certainly refused it (429). The token is in
//! one header and nowhere else; redirects are not followed, so it reaches no other host. Every body is read up to a
//! limit, every wait ends.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::SemaphorePermit;

use crate::model::{Retry, Secret};
use crate::provider::ProviderError;

use super::Patience;
use super::codes;
use super::envelope::{self, Body, ResultInfo};
use super::fault::{self, Fault};
use super::pace::{Pace, Paces};
pub(super) use super::payload::{Payload, Raw};
use super::repeated::repeats;

/// The most that is read of an enveloped body, in bytes.
const ENVELOPE_LIMIT: usize = 32 << 20;

/// The most that is read of a Worker's modules, in bytes (the platform's own limit is 10 MiB compressed).
const CONTENT_LIMIT: usize = 128 << 20;

/// Stands for what a server said.
const WITHHELD: &str = "(what the server said is withheld: it repeats a secret)";

/// A target's API, called with one token.
pub(super) struct Client {
    http: reqwest::Client,
    endpoint: String,
    authorization: HeaderValue,
    /// The token, and every value that a write has sent: no answer, to whatever call, may repeat one of them.
    sent: Mutex<Vec<Secret>>,
    /// Shared with whoever else calls with this token.
    pace: Arc<Pace>,
    patience: Patience,
}

/// Headers that a call needs besides those of every call: their names and values.
pub(super) type Headers<'a> = &'a [(&'static str, &'a str)];

/// A whole answer.
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
}

impl Client {
    /// A client for `endpoint` (no final slash).
    pub(super) fn new(
        http: reqwest::Client,
        endpoint: String,
        token: &Secret,
        paces: &Paces,
        patience: Patience,
    ) -> Result<Self, ProviderError> {
        let bad = || {
            ProviderError::new("the API token is not a line of printable ASCII", Retry::Stalled)
                .hint("store the token alone, without quotes or further lines")
        };
        let text = token.expose_text().map(str::trim).filter(|t| !t.is_empty()).ok_or_else(bad)?;
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(bad());
        }
        let authorization = bearer(&Secret::new(text.as_bytes().to_vec())).ok_or_else(bad)?;
        let token = Secret::new(text.as_bytes().to_vec());
        let pace = paces.of(&endpoint, &token);
        Ok(Self { http, endpoint, authorization, sent: Mutex::new(vec![token]), pace, patience })
    }

    /// Reads one result.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Fault> {
        let call = call_name(&Method::GET, path);
        let (value, _) = self.read_enveloped(path, &[]).await?;
        self.decode(&call, value)
    }

    /// Reads what is not enveloped.
    pub(super) async fn get_raw(&self, path: &str) -> Result<Raw, Fault> {
        let call = call_name(&Method::GET, path);
        let answer = self.read(path, CONTENT_LIMIT, &[]).await?;
        if !(200..300).contains(&answer.status) {
            return Err(self.opened(&call, &answer).err().unwrap_or_else(|| unexpected(&call, &answer)));
        }
        let header = |name: &str| answer.headers.get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
        Ok(Raw {
            content_type: header("content-type").unwrap_or_default(),
            entrypoint: header("cf-entrypoint"),
            body: answer.body,
        })
    }

    /// Writes, once. `secrets` are the values that the body holds: what the server says is withheld where it repeats one.
    pub(super) async fn write<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        payload: Payload,
        secrets: &[&Secret],
    ) -> Result<T, Fault> {
        self.write_with(method, path, payload, (secrets, &[])).await
    }

    /// The same with headers of its own.
    pub(super) async fn write_with<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        payload: Payload,
        (secrets, headers): (&[&Secret], Headers<'_>),
    ) -> Result<T, Fault> {
        let call = call_name(&method, path);
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).extend(secrets.iter().map(|&secret| secret.clone()));
        let mut waited = Duration::ZERO;
        let mut sent = 0;
        let mut fault = loop {
            let slot = match self.turn(&call, &mut waited).await {
                Ok(slot) => slot,
                Err(fault) => break fault,
            };
            let request = self.request(method.clone(), path, &payload, headers).timeout(self.patience.write);
            sent += 1;
            let answer = self.send(&call, request, ENVELOPE_LIMIT).await;
            drop(slot);
            let fault = match answer {
                Ok(answer) => match self.opened(&call, &answer) {
                    Ok((value, _)) => match self.decode(&call, value) {
                        Ok(result) => return Ok(result),
                        Err(mut fault) => {
                            // Something happened there, and we cannot tell what.
                            fault.certain = false;
                            fault
                        }
                    },
                    Err(fault) => fault,
                },
                Err(fault) => fault,
            };
            // Only what was certainly refused is sent again, and only because the refusal says "later".
            if fault.status != Some(429) {
                break fault;
            }
        };
        fault.resent = sent > 1;
        Err(fault)
    }

    pub(super) async fn read_enveloped(&self, path: &str, headers: Headers<'_>) -> Result<(Value, Option<ResultInfo>), Fault> {
        let call = call_name(&Method::GET, path);
        let answer = self.read(path, ENVELOPE_LIMIT, headers).await?;
        self.opened(&call, &answer)
    }

    /// Reads, again where it may help: after a broken connection, a failed server, a refusal that says "later".
    async fn read(&self, path: &str, limit: usize, headers: Headers<'_>) -> Result<Answer, Fault> {
        let call = call_name(&Method::GET, path);
        let mut waited = Duration::ZERO;
        let mut failures = 0;
        loop {
            let slot = self.turn(&call, &mut waited).await?;
            let request = self.request(Method::GET, path, &Payload::Empty, headers).timeout(self.patience.read);
            let outcome = self.send(&call, request, limit).await;
            drop(slot);
            let again = match &outcome {
                Ok(answer) => answer.status >= 500 || answer.status == 408,
                Err(fault) => fault.status.is_none(),
            };
            if matches!(&outcome, Ok(answer) if answer.status == 429) {
                continue;
            }
            failures += 1;
            if !again || failures >= self.patience.attempts.max(1) {
                return outcome;
            }
            tokio::time::sleep(backoff(failures)).await;
        }
    }

    /// Waits until the API may be called, and for a slot; `waited` counts towards what is bearable, the wait for others that
    /// have the slots does not.
    async fn turn(&self, call: &str, waited: &mut Duration) -> Result<Option<SemaphorePermit<'_>>, Fault> {
        let bearable = |waited: Duration| self.patience.wait.saturating_sub(waited);
        // Who cannot bear it need not stand in line to hear so.
        let held = self.pace.held(Instant::now());
        if held > bearable(*waited) {
            return Err(too_many(call, held));
        }
        let slot = self.pace.slot().await;
        let placed = self.pace.place(Instant::now(), bearable(*waited));
        let mut delay = placed.map_err(|delay| too_many(call, delay))?;
        while !delay.is_zero() {
            if delay > bearable(*waited) {
                return Err(too_many(call, delay));
            }
            tokio::time::sleep(delay).await;
            *waited += delay;
            // Somebody else may have been refused meanwhile.
            delay = self.pace.held(Instant::now());
        }
        Ok(slot)
    }

    fn request(&self, method: Method, path: &str, payload: &Payload, headers: Headers<'_>) -> reqwest::RequestBuilder {
        let authorization = match payload {
            Payload::Session { token, .. } => bearer(token),
            _ => None,
        };
        let request = self
            .http
            .request(method, format!("{}{path}", self.endpoint))
            .header(http::header::AUTHORIZATION, authorization.unwrap_or_else(|| self.authorization.clone()))
            .header(http::header::ACCEPT, "application/json, */*;q=0.5");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        match payload {
            Payload::Empty => request,
            Payload::Json(value) => request.json(value),
            Payload::Bytes { content_type, bytes } | Payload::Session { content_type, bytes, .. } => {
                request.header(http::header::CONTENT_TYPE, content_type).body(bytes.clone())
            }
        }
    }

    async fn send(&self, call: &str, request: reqwest::RequestBuilder, limit: usize) -> Result<Answer, Fault> {
        let transport = |error: reqwest::Error| fault::transport(call, &error);
        let mut response = request.send().await.map_err(transport)?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        self.pace.note(status, &headers, Instant::now());
        tracing::debug!(call, status, "Called the API.");
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(transport)? {
            if body.len() + chunk.len() > limit {
                let error = ProviderError::new(format!("{call}: the answer is larger than {limit} bytes"), Retry::Stalled);
                return Err(Fault { certain: false, status: Some(status), ..Fault::own(error) });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status, headers, body: body.into() })
    }

    /// The result that an answer holds.
    fn opened(&self, call: &str, answer: &Answer) -> Result<(Value, Option<ResultInfo>), Fault> {
        let Answer { status, headers, body } = answer;
        let ray = headers.get("cf-ray").and_then(|v| v.to_str().ok()).map(|ray| fault::shown(&self.fit(ray.to_owned())));
        let challenge = headers.get("cf-mitigated").is_some_and(|v| v == "challenge");
        let wait = (*status == 429).then(|| self.pace.held(Instant::now()));
        match envelope::open(body) {
            Body::Success(value, info) if (200..300).contains(status) => Ok((value, info)),
            Body::Errors(mut errors) => {
                for error in &mut errors {
                    error.message = error.message.take().map(|message| self.fit(message));
                }
                Err(fault::refused(call, *status, &errors, ray.as_deref(), wait))
            }
            Body::Success(..) | Body::Foreign => Err(fault::foreign(call, *status, ray.as_deref(), challenge, wait)),
        }
    }

    /// The result in its own form. The parser's error quotes what it does not like, as a server does.
    pub(super) fn decode<T: DeserializeOwned>(&self, call: &str, value: Value) -> Result<T, Fault> {
        serde_json::from_value(value).map_err(|error| {
            let message = format!("{call}: the answer is not of the documented form");
            let error = ProviderError::new(message, Retry::Transient).source(self.fit(error.to_string()));
            Fault { status: Some(200), ..Fault::own(error) }
        })
    }

    /// What a server says, or that it is withheld: a server may quote the request that it refuses, in any form and cut
    /// anywhere, and no replacement finds every way to write a value down.
    fn fit(&self, said: String) -> String {
        let sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        if sent.iter().any(|secret| repeats(&said, secret)) { WITHHELD.to_owned() } else { said }
    }
}

/// The header that carries a token; `None` where no header can.
fn bearer(token: &Secret) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose_text()?)).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The API would refuse the call, and so it is not made.
fn too_many(call: &str, delay: Duration) -> Fault {
    let (seconds, clock) = (delay.as_secs().max(1), fault::clock(delay));
    let message = format!("{call}: too many calls; the API takes none for another {seconds} s, until {clock}");
    let error = ProviderError::new(message, Retry::After(delay)).hint(codes::LATER);
    Fault { status: Some(429), ..Fault::own(error) }
}

fn unexpected(call: &str, answer: &Answer) -> Fault {
    fault::foreign(call, answer.status, None, false, None)
}

/// `GET /accounts/…/workers/scripts`, without the query.
pub(super) fn call_name(method: &Method, path: &str) -> String {
    format!("{method} {}", path.split('?').next().unwrap_or_default())
}

/// 0.1 s, doubled with each failure up to 5 s, and up to half as much again so that many daemons do not step together.
fn backoff(failures: u32) -> Duration {
    let base = Duration::from_millis(100).saturating_mul(1 << failures.min(6)).min(Duration::from_secs(5));
    let random = uuid::Uuid::now_v7().as_bytes()[15];
    base + base.mul_f64(f64::from(random) / 512.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backoff_grows_and_is_bounded() {
        assert!(backoff(1) >= Duration::from_millis(200) && backoff(1) < Duration::from_millis(301));
        assert!(backoff(50) <= Duration::from_millis(7_500));
    }

    #[test]
    fn the_name_of_a_call_has_no_query() {
        assert_eq!(call_name(&Method::GET, "/zones?name=example.com"), "GET /zones");
    }
}
