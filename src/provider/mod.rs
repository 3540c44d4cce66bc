//! Observe and change one sort of target, behind one trait.
//!
//! Goes in: what to look for, and approved orders. Comes out: what is there, and one [`Outcome`] for each order.
//!
//! **Invariant:** a provider makes no choices: what is to be done stands in the order. It never repeats a call whose
//! outcome it does not know; it says [`Outcome::Unknown`] and leaves the rest to the journal.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::model::{Contents, InstanceKey, Kind, Marker, ObservedState, Properties, ResourceName, Retry, Revision, Spec};
use crate::plan::{Change, Owned};

pub mod cloudflare;
mod connect;
pub mod host;
mod token;

pub use connect::{Options, connect};
pub use token::{Token, Tokens};

/// What is to be observed: every instance of one environment on one target that is desired or owned.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// By instance; the answer has an entry for each.
    pub instances: BTreeMap<InstanceKey, Lookup>,
    /// Read everything in full, whatever fingerprints say.
    pub deep: bool,
    /// Read these in full, whatever fingerprints say: it is their turn.
    pub due: BTreeSet<InstanceKey>,
}

impl Query {
    /// Whether an instance is to be read in full, whatever its fingerprint says.
    pub fn is_in_full(&self, key: &InstanceKey) -> bool {
        self.deep || self.due.contains(key)
    }
}

/// One instance to be observed.
#[derive(Debug, Clone)]
pub struct Lookup {
    /// What it is called at the target.
    pub claim: String,
    /// What is desired of it, if it is defined.
    pub spec: Option<Spec>,
    /// What the inventory says of it, if it is owned.
    pub owned: Option<Owned>,
}

/// One change to be carried out.
#[derive(Debug, Clone)]
pub struct Order {
    /// The change; every value in `after` is known.
    pub change: Change,
    /// What is desired; `None` for a delete.
    pub spec: Option<Spec>,
    /// What is written at the target; holds the operation id.
    pub marker: Marker,
    /// The revision that is applied.
    pub revision: Revision,
    /// The bytes that `spec` refers to.
    pub contents: Arc<Contents>,
    /// The tokens of tunnels that `spec` uses, read a moment ago.
    pub tokens: Tokens,
    /// Operations for this instance whose outcome was never seen: what they uploaded is looked for first, so that
    /// nothing is uploaded twice.
    pub earlier: Vec<String>,
}

/// What became of an order.
#[derive(Debug)]
pub enum Outcome {
    /// It was carried out and read back.
    Done(Receipt),
    /// It was certainly not carried out, in no part.
    Refused(ProviderError),
    /// The live thing is not what the plan saw; nothing was changed.
    Conflict(String),
    /// It may have been carried out, in whole or in part.
    Unknown(ProviderError),
    /// It was not begun, since the order for this instance, before it in the same call, was not carried out.
    NotBegun(InstanceKey),
}

/// What is there after an order was carried out; goes into the inventory. For a delete, empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Receipt {
    /// What was applied, with every value known.
    pub properties: Properties,
    /// What the target calls it.
    pub attributes: BTreeMap<String, String>,
    /// Its fingerprint now.
    pub fingerprint: String,
    /// What follows the change and could not be done, for people: the change itself is done.
    pub warnings: Vec<String>,
}

/// Why a target could not be read or changed. `Display` never repeats `source`.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ProviderError {
    /// What is wrong and where, lower case, no final period; no secret in it.
    pub message: String,
    /// What the reader can do now.
    pub hint: Option<String>,
    /// When it makes sense to try again.
    pub retry: Retry,
    /// The cause.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl ProviderError {
    /// An error without a cause or a hint.
    pub fn new(message: impl Into<String>, retry: Retry) -> Self {
        Self { message: message.into(), hint: None, retry, source: None }
    }

    /// The same with what to do now.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same with its cause.
    #[must_use]
    pub fn source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }
}

/// One target, for one environment.
pub trait Provider: Send + Sync {
    /// What is there of each instance of `query`. What could not be found out is `Unknown` in the answer.
    ///
    /// # Errors
    /// Where the target as a whole cannot be read.
    fn observe<'a>(&'a self, query: &'a Query) -> BoxFuture<'a, Result<ObservedState, ProviderError>>;

    /// Whether something of this kind can change without its fingerprint, so that it is to be read in full now and then.
    fn hides(&self, _kind: Kind) -> bool {
        false
    }

    /// Carries out orders, at most [`Provider::batch`] of them; one outcome for each, in their order. They do not depend on
    /// each other, or stand in the order in which they do where the provider orders by itself. The caller has made their
    /// intents durable.
    fn carry_out<'a>(&'a self, orders: &'a [Order]) -> BoxFuture<'a, Vec<Outcome>>;

    /// Does what follows a change to `spec` and is harmless to repeat, where nobody saw the end of the change. What could not be
    /// done, in words.
    fn follow_up<'a>(&'a self, _spec: &'a Spec) -> BoxFuture<'a, Vec<String>> {
        Box::pin(async { Vec::new() })
    }

    /// The token by which a host runs the tunnel that is defined as `tunnel` and has this id: read when it is needed, recorded
    /// nowhere.
    ///
    /// # Errors
    /// Where the target does not give it, and where it has no tunnels.
    fn token<'a>(&'a self, tunnel: &'a ResourceName, _id: &'a str) -> BoxFuture<'a, Result<Token, ProviderError>> {
        let message = format!("the target of `tunnel.{tunnel}` has no tunnels");
        Box::pin(async move { Err(ProviderError::new(message, Retry::Stalled)) })
    }

    /// Whether one call takes orders of which one needs another, and begins none before what it needs is done.
    fn orders_by_itself(&self) -> bool {
        false
    }

    /// How many orders one call takes.
    fn batch(&self) -> usize;

    /// For how long an unknown outcome must be left to settle before it may be observed.
    fn settle(&self) -> Duration;
}

/// An error with its causes, in one line: `what: cause: cause`.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        line.push_str(": ");
        line.push_str(&cause.to_string());
        source = cause.source();
    }
    line
}
