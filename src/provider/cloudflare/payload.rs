//! What calls carry: bodies that go out, and those that come back without an envelope.

use bytes::Bytes;
use serde_json::Value;

use crate::model::Secret;

/// What a write sends.
pub(super) enum Payload {
    /// Nothing.
    Empty,
    /// JSON.
    Json(Value),
    /// A body that goes with a token of its own: that of a session which the API began.
    Session {
        /// The token.
        token: Secret,
        /// Its content type.
        content_type: String,
        /// Its bytes.
        bytes: Bytes,
    },
    /// A body that was built by hand.
    Bytes {
        /// Its content type.
        content_type: String,
        /// Its bytes, wiped when the last copy goes.
        bytes: Bytes,
    },
}

/// What a call without an envelope gave: the modules of a Worker.
pub(super) struct Raw {
    /// `Content-Type`.
    pub(super) content_type: String,
    /// `cf-entrypoint`: the name of the main module.
    pub(super) entrypoint: Option<String>,
    /// The body.
    pub(super) body: Bytes,
}
