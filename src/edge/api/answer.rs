//! What every call has in common: the envelope, errors with their codes, pages.
//!
//! Codes are those that Cloudflare's own clients know (wrangler 4.86 and 4.164).
//!
//! **Invariant:** an answer never holds a secret's value.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::{Value, json};

use super::super::EdgeError;
use super::super::runtime::PrepareError;

/// A refusal: HTTP status, code and message.
#[derive(Debug, Clone)]
pub(in crate::edge) struct Refusal {
    status: StatusCode,
    code: u32,
    message: String,
}

/// What a handler gives.
pub(in crate::edge) type Answer = Result<Response, Refusal>;

/// A successful answer.
pub(in crate::edge) fn ok(result: impl Into<Value>) -> Answer {
    ok_with(result.into(), None, StatusCode::OK)
}

/// A successful answer with `result_info`, or another status.
pub(in crate::edge) fn ok_with(result: Value, info: Option<Value>, status: StatusCode) -> Answer {
    let mut envelope = serde_json::Map::new();
    envelope.insert("success".to_owned(), json!(true));
    envelope.insert("errors".to_owned(), json!([]));
    envelope.insert("messages".to_owned(), json!([]));
    envelope.insert("result".to_owned(), result);
    if let Some(info) = info {
        envelope.insert("result_info".to_owned(), info);
    }
    Ok((status, Json(Value::Object(envelope))).into_response())
}

impl Refusal {
    /// Any refusal.
    pub(in crate::edge) fn new(status: StatusCode, code: u32, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    /// A request that makes no sense.
    pub(in crate::edge) fn bad(code: u32, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// The Worker does not exist.
    pub(in crate::edge) fn no_worker(name: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, 10007, format!("This Worker does not exist on your account: {name}"))
    }

    /// The Worker does not exist, in the words of the `services` calls.
    pub(in crate::edge) fn no_service(name: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, 10090, format!("This service does not exist: {name}"))
    }

    /// There is no such version.
    pub(in crate::edge) fn no_version(id: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, 10222, format!("There is no version {id} of this Worker"))
    }

    /// The code or its configuration cannot run.
    pub(in crate::edge) fn invalid_script(message: impl Into<String>) -> Self {
        Self::bad(10021, message)
    }

    /// There is no such route in the API.
    pub(in crate::edge) fn no_route(path: &str) -> Self {
        let message = format!("Could not route to {path}, perhaps your object identifier is invalid?");
        Self::new(StatusCode::NOT_FOUND, 7003, message)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let errors = json!([{ "code": self.code, "message": self.message }]);
        let envelope = json!({ "success": false, "errors": errors, "messages": [], "result": null });
        (self.status, Json(envelope)).into_response()
    }
}

impl From<EdgeError> for Refusal {
    fn from(error: EdgeError) -> Self {
        tracing::error!(error = &error as &dyn std::error::Error, "A call of the API could not be carried out.");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, 10013, format!("the edge could not carry this out: {error}"))
    }
}

impl From<PrepareError> for Refusal {
    fn from(error: PrepareError) -> Self {
        match error {
            PrepareError::Refused(said) => Self::invalid_script(said),
            PrepareError::Failed(error) => error.into(),
        }
    }
}

/// One page of a list, with its `result_info`.
pub(in crate::edge) fn page(items: Vec<Value>, query: &Paging, default: usize, limit: usize) -> (Vec<Value>, Value) {
    let per_page = query.per_page.unwrap_or(default).clamp(1, limit);
    let page = query.page.unwrap_or(1).max(1);
    let total = items.len();
    let items: Vec<Value> = items.into_iter().skip((page - 1).saturating_mul(per_page)).take(per_page).collect();
    let info = json!({
        "page": page,
        "per_page": per_page,
        "count": items.len(),
        "total_count": total,
        "total_pages": total.div_ceil(per_page),
    });
    (items, info)
}

/// Which page is asked for.
#[derive(Debug, Default, serde::Deserialize)]
pub(in crate::edge) struct Paging {
    pub(in crate::edge) page: Option<usize>,
    pub(in crate::edge) per_page: Option<usize>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_beyond_the_last_is_empty() {
        let items: Vec<Value> = (0..5).map(Value::from).collect();
        let ask = |page, per_page| page_of(&items, page, per_page);
        assert_eq!(ask(1, 2).0, [0, 1]);
        assert_eq!(ask(3, 2).0, [4]);
        assert_eq!(ask(4, 2).0.len(), 0);
        assert_eq!(ask(1, 2).1["total_pages"], 3);
        assert_eq!(ask(usize::MAX, 1000).0.len(), 0);
    }

    fn page_of(items: &[Value], page: usize, per_page: usize) -> (Vec<Value>, Value) {
        super::page(items.to_vec(), &Paging { page: Some(page), per_page: Some(per_page) }, 20, 100)
    }
}
