//! What every answer of the REST API is wrapped in.
//!
//! Goes in: the bytes of a body. Comes out: the result, or the errors that the body names.
//!
//! **Invariant:** an answer is a success only where the body says so: `success: false` under HTTP 200 is an error,
//! and so is a body that is no envelope.

use serde::Deserialize;
use serde_json::Value;

/// A body as the API documents it. `errors` and `messages` are `null` in the answers of some products.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Envelope {
    #[serde(default)]
    success: Option<bool>,
    #[serde(default)]
    errors: Option<Vec<ApiError>>,
    /// The result; `Null` where there is none.
    #[serde(default)]
    pub(super) result: Value,
    /// Where the page stands, for paged lists.
    #[serde(default)]
    pub(super) result_info: Option<ResultInfo>,
}

/// One error of a body.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct ApiError {
    /// The API's own number, which says more than the HTTP status.
    #[serde(default)]
    pub(super) code: Option<u64>,
    /// For people.
    #[serde(default)]
    pub(super) message: Option<String>,
}

/// Where a page stands; which fields are there differs between products.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(super) struct ResultInfo {
    /// How many items there are in all.
    #[serde(default)]
    pub(super) total_count: Option<u64>,
    /// How many items a full page has.
    #[serde(default)]
    pub(super) per_page: Option<u64>,
    /// How many pages there are in all.
    #[serde(default)]
    pub(super) total_pages: Option<u64>,
    /// Where the next page begins; empty or absent on the last.
    #[serde(default)]
    pub(super) cursor: Option<String>,
}

/// What a body says.
#[derive(Debug)]
pub(super) enum Body {
    /// `success: true`.
    Success(Value, Option<ResultInfo>),
    /// `success: false`, with what it names.
    Errors(Vec<ApiError>),
    /// No envelope: a page of a firewall, a proxy's text, a cut-off body.
    Foreign,
}

/// Reads a body.
pub(super) fn open(body: &[u8]) -> Body {
    match serde_json::from_slice::<Envelope>(body) {
        Ok(Envelope { success: Some(true), result, result_info, .. }) => Body::Success(result, result_info),
        Ok(Envelope { success: Some(false), errors, .. }) => Body::Errors(errors.unwrap_or_default()),
        Ok(Envelope { success: None, errors: Some(errors), .. }) if !errors.is_empty() => Body::Errors(errors),
        Ok(_) | Err(_) => Body::Foreign,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_body_that_says_so_is_a_success() {
        let cases: [(&str, &str); 9] = [
            (r#"{"success":true,"errors":[],"messages":[],"result":[1]}"#, "success"),
            (r#"{"success":true,"errors":null,"messages":null,"result":null}"#, "success"),
            (r#"{"success":false,"errors":[{"code":10007,"message":"x"}],"result":null}"#, "errors"),
            (r#"{"success":false,"errors":null}"#, "errors"),
            (r#"{"errors":[{"message":"no code"}]}"#, "errors"),
            ("<html>challenge</html>", "foreign"),
            (r#"{"result":[]}"#, "foreign"),
            ("[]", "foreign"),
            (r#"{"success":true,"result":["#, "foreign"),
        ];
        for (text, expected) in cases {
            let found = match open(text.as_bytes()) {
                Body::Success(..) => "success",
                Body::Errors(_) => "errors",
                Body::Foreign => "foreign",
            };
            assert_eq!(found, expected, "{text}");
        }
    }
}
