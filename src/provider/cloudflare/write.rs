//! Writes of one order, and what a failure of one means for it.
//!
//! **Invariant:** before the first effect a certain refusal is a refusal of the order; after it every failure is unknown.

use bytes::Bytes;
use http::Method;
use serde_json::Value as Json;
use zeroize::Zeroizing;

use crate::model::Secret;
use crate::provider::Outcome;

use super::CloudflareProvider;
use super::client::{Headers, Payload};
use super::fault::Fault;

/// JSON that holds the values of secrets: its bytes are wiped when the last copy goes.
pub(super) fn sealed(body: &Json) -> Payload {
    // A JSON value always has a text.
    let text = Zeroizing::new(serde_json::to_vec(body).unwrap_or_default());
    Payload::Bytes { content_type: "application/json".to_owned(), bytes: Bytes::from_owner(text) }
}

/// The calls of one order.
pub(super) struct Writer<'a> {
    pub(super) provider: &'a CloudflareProvider,
    /// Whether something was written already, or may have been.
    wrote: bool,
}

impl<'a> Writer<'a> {
    pub(super) fn new(provider: &'a CloudflareProvider) -> Self {
        Self { provider, wrote: false }
    }

    /// For what follows an effect of the same order.
    pub(super) fn after_effect(provider: &'a CloudflareProvider) -> Self {
        Self { provider, wrote: true }
    }

    /// Writes; a failure is final for the order.
    pub(super) async fn write(
        &mut self,
        method: Method,
        path: &str,
        payload: Payload,
        secrets: &[Secret],
    ) -> Result<Json, Outcome> {
        self.try_write(method, path, payload, secrets).await.map_err(|fault| self.failed(fault))
    }

    /// Writes; what a failure means is for the caller to say.
    pub(super) async fn try_write(
        &mut self,
        method: Method,
        path: &str,
        payload: Payload,
        secrets: &[Secret],
    ) -> Result<Json, Fault> {
        self.try_write_with(method, path, payload, (secrets, &[])).await
    }

    /// The same with headers of its own.
    pub(super) async fn try_write_with(
        &mut self,
        method: Method,
        path: &str,
        payload: Payload,
        (secrets, headers): (&[Secret], Headers<'_>),
    ) -> Result<Json, Fault> {
        let secrets: Vec<&Secret> = secrets.iter().collect();
        let result = self.provider.client.write_with(method, path, payload, (&secrets, headers)).await;
        self.wrote |= !matches!(&result, Err(fault) if fault.certain);
        result
    }

    /// Writes JSON that holds no secret.
    pub(super) async fn json(&mut self, method: Method, path: &str, body: Json) -> Result<Json, Fault> {
        self.try_write(method, path, Payload::Json(body), &[]).await
    }

    /// What a failed write means: nothing happened, or a part did, or nobody knows.
    pub(super) fn failed(&self, fault: Fault) -> Outcome {
        if self.wrote { Outcome::Unknown(fault.error) } else { fault.outcome() }
    }

    /// What a failed read means.
    pub(super) fn unread(&self, fault: Fault) -> Outcome {
        if self.wrote { Outcome::Unknown(fault.error) } else { Outcome::Refused(fault.error) }
    }
}
