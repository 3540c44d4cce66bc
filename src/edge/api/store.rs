//! Calls to the store of KV and D1, which the Workers use as well.
//!
//! **Invariant:** there is one store; nothing is kept here. Without the runtime there is none, and that is said.

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};

use super::super::plane::Plane;
use super::super::runtime::Runtime;
use super::super::runtime::pool::SendError;
use super::VALUE_LIMIT;
use super::answer::Refusal;

/// One call.
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) target: String,
    /// The header that says what is meant, and what it says.
    pub(super) of: (&'static str, String),
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// The store's answer, read in full.
pub(super) struct Told {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Call {
    /// A call without a body.
    pub(super) fn new(method: Method, target: impl Into<String>, of: (&'static str, &str)) -> Self {
        let of = (of.0, of.1.to_owned());
        Self { method, target: target.into(), of, headers: HeaderMap::new(), body: Bytes::new() }
    }

    /// Asks the store; a status that is no success is a refusal, except 404.
    pub(super) async fn ask(self, plane: &Plane) -> Result<Told, Refusal> {
        let Some(pool) = plane.supervisor.store().await? else {
            let hint = match plane.supervisor.runtime() {
                Runtime::Missing { hint } => hint,
                _ => String::new(),
            };
            // No 5xx: nothing was done, and that is certain, so nobody has to find out what became of the call.
            let message = format!("KV values and D1 need workerd, which is not installed; {hint}");
            return Err(Refusal::new(StatusCode::CONFLICT, 10013, message));
        };
        let request = http::Request::builder().method(self.method).uri(self.target).header("host", "store");
        let body = Full::new(self.body).map_err(|never| match never {}).boxed_unsync();
        let request = request.header(self.of.0, self.of.1).body(body);
        let mut request = request.map_err(|error| Refusal::bad(10033, error.to_string()))?;
        request.headers_mut().extend(self.headers);
        let (response, _lease) = pool.send(request).await.map_err(|error| {
            let error = match error {
                SendError::Unreachable(_, error) => error.to_string(),
                SendError::Broken(error) => error.to_string(),
            };
            Refusal::new(StatusCode::BAD_GATEWAY, 10013, format!("the store did not answer: {error}"))
        })?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, 2 * VALUE_LIMIT).collect().await;
        let body =
            body.map_err(|error| Refusal::new(StatusCode::BAD_GATEWAY, 10013, format!("the store's answer broke off: {error}")))?;
        let reason = parts.extensions.get::<hyper::ext::ReasonPhrase>();
        let reason = reason.map(|reason| String::from_utf8_lossy(reason.as_bytes()).into_owned()).unwrap_or_default();
        match parts.status {
            status if status.is_success() || status == StatusCode::NOT_FOUND => {
                Ok(Told { status, headers: parts.headers, body: body.to_bytes() })
            }
            status if status.is_client_error() => Err(Refusal::new(status, 10033, reason)),
            status => Err(Refusal::new(StatusCode::BAD_GATEWAY, 10013, format!("the store answered {status}: {reason}"))),
        }
    }
}
