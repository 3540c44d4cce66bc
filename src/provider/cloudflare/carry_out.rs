//! Orders, carried out together.
//!
//! Goes in: orders that do not depend on each other. Comes out: one outcome for each.
//!
//! The lists are read once before, where every precondition is checked against them, and once after, where the new
//! fingerprints come from. A Worker's active version is read before the first lists and after the second ones: what
//! somebody else deploys in between is never recorded as ours.
//!
//! **Invariant:** an order whose first write was certainly refused is refused; after a first effect every failure is
//! unknown.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::{join, join_all};

use crate::model::{Kind, Properties, Retry, Spec, traffic, with_traffic};
use crate::plan::{Action, Precondition};
use crate::provider::{Order, Outcome, Provider as _, ProviderError, Receipt};

use super::CloudflareProvider;
use super::collection::Lists;
use super::deployed::{self, Active, Ours};
use super::fault::Fault;
use super::lists::{self, zones_of};
use super::observe::zones_in;
use super::path::Grammar;
use super::{collection, worker};

/// Which version a Worker's requests are to go to after an order.
pub(super) enum Expected {
    /// Exactly this one.
    Version(Option<String>),
    /// One that carries the order's operation: the upload did not say its id.
    Operation,
    /// The one that a first upload deployed.
    Uploaded(Uploaded),
}

/// What the answer to a first upload says of it. A list that says the same shows that nobody touched it since.
pub(super) struct Uploaded {
    /// The version's id.
    pub(super) version: String,
    /// What its code is.
    pub(super) etag: String,
    /// When it came to be so.
    pub(super) modified_on: String,
}

/// Carries out `orders`.
pub(super) async fn carry_out(provider: &CloudflareProvider, orders: &[Order]) -> Vec<Outcome> {
    let of = |kind: Kind| orders.iter().any(|order| order.change.key.address.kind == kind);
    let actives = join_all(orders.iter().map(|order| active(provider, order))).await;
    let zones: BTreeSet<String> = orders.iter().flat_map(zones).collect();
    let workers =
        async { if of(Kind::Worker) { Some(lists::read(&provider.client, &provider.account, &zones).await) } else { None } };
    let kinds = orders.iter().map(|order| order.change.key.address.kind);
    let (workers, collections) = join(workers, collection::lists(provider, kinds, &listed_zones(orders))).await;
    let steps = join_all(
        orders.iter().zip(actives).map(|(order, active)| Box::pin(step(provider, &workers, &collections, order, active))),
    )
    .await;
    if !steps.iter().any(Result::is_ok) {
        return steps.into_iter().map(|step| step.err().unwrap_or_else(impossible)).collect();
    }
    let mut steps = steps;
    let mut after = lists::read(&provider.client, &provider.account, &zones).await;
    if name_new(provider, &after, orders, &mut steps).await {
        after = lists::read(&provider.client, &provider.account, &zones).await;
    }
    join_all(orders.iter().zip(steps).map(|(order, step)| async {
        match step {
            Ok(expected) => followed(provider, order, confirm(provider, &after, order, expected).await).await,
            Err(outcome) => outcome,
        }
    }))
    .await
}

/// Gives new Workers their workers.dev name, or takes it away, where the list shows them otherwise; whether anything was
/// written.
async fn name_new(
    provider: &CloudflareProvider,
    after: &Result<lists::Lists, Fault>,
    orders: &[Order],
    steps: &mut [Result<Expected, Outcome>],
) -> bool {
    let Ok(after) = after else { return false };
    let named = join_all(orders.iter().zip(&*steps).map(|(order, step)| async move {
        let is_new = step.is_ok() && order.change.action == Action::Create;
        if is_new { worker::name_new(provider, after, order).await } else { Ok(false) }
    }))
    .await;
    let mut wrote = false;
    for (step, named) in steps.iter_mut().zip(named) {
        match named {
            Ok(written) => wrote |= written,
            Err(outcome) => *step = Err(outcome),
        }
    }
    wrote
}

/// A step that is not `Ok` has an outcome; this only keeps the compiler and the reader from wondering.
fn impossible() -> Outcome {
    Outcome::Unknown(ProviderError::new("the order ended without an outcome", Retry::Transient))
}

/// The version that is active before a change of a Worker that is there.
async fn active(provider: &CloudflareProvider, order: &Order) -> Option<Result<Option<Active>, Fault>> {
    let change = &order.change;
    let changes = matches!(change.action, Action::Update | Action::Adopt | Action::Move);
    if change.key.address.kind != Kind::Worker || !changes || Grammar::Script.check(&change.claim).is_err() {
        return None;
    }
    Some(deployed::active(&provider.client, &provider.account, &change.claim, &Ours::ordered(order)).await)
}

/// Carries out one order: what is to be confirmed, or what became of it already.
async fn step(
    provider: &CloudflareProvider,
    workers: &Option<Result<lists::Lists, Fault>>,
    collections: &Lists,
    order: &Order,
    active: Option<Result<Option<Active>, Fault>>,
) -> Result<Expected, Outcome> {
    match (order.change.key.address.kind, workers) {
        (Kind::Worker, Some(Ok(lists))) => {
            let active = active.transpose().map_err(|fault| Outcome::Refused(fault.error))?;
            worker::carry_out(provider, lists, order, active.flatten()).await
        }
        (Kind::Worker, Some(Err(fault))) => Err(Outcome::Refused(copy(&fault.error))),
        _ => Err(collection::carry_out(provider, collections, order).await),
    }
}

/// The zones whose things the orders are about, by kind.
fn listed_zones(orders: &[Order]) -> BTreeMap<Kind, BTreeSet<String>> {
    let mut zones: BTreeMap<Kind, BTreeSet<String>> = BTreeMap::new();
    for change in orders.iter().map(|order| &order.change) {
        let kind = change.key.address.kind;
        let named = change.before.iter().chain(&change.after).filter_map(|properties| collection::place(kind, properties));
        zones.entry(collection::listed_with(kind)).or_default().extend(named.map(str::to_owned));
    }
    zones
}

/// The same error for another order; its cause stays with the first.
pub(super) fn copy(error: &ProviderError) -> ProviderError {
    ProviderError { message: error.message.clone(), hint: error.hint.clone(), retry: error.retry, source: None }
}

/// The zones whose routes count for an order.
fn zones(order: &Order) -> BTreeSet<String> {
    let change = &order.change;
    let mut zones = BTreeSet::new();
    if let Some(Spec::Worker(worker)) = &order.spec {
        zones.extend(worker.routes.iter().map(|route| route.zone_name.clone()));
    }
    zones.extend(change.before.iter().chain(&change.after).flat_map(zones_in));
    if let Precondition::Fingerprint(fingerprint) = &change.precondition {
        zones.extend(zones_of(fingerprint));
    }
    zones
}

/// Reads back what is there after a Worker was written.
async fn confirm(
    provider: &CloudflareProvider,
    after: &Result<lists::Lists, Fault>,
    order: &Order,
    expected: Expected,
) -> Outcome {
    let script = &order.change.claim;
    let unknown =
        |what: &str| Outcome::Unknown(ProviderError::new(format!("Worker `{script}` was written, but {what}"), Retry::Transient));
    let lists = match after {
        Ok(lists) => lists,
        Err(fault) => return Outcome::Unknown(copy(&fault.error)),
    };
    let properties: Properties = order.change.after.clone().unwrap_or_default();
    let share = traffic(&properties);
    let properties = with_traffic(properties, share);
    let Some(fingerprint) = lists.fingerprint(script, &zones_in(&properties)) else {
        return unknown("the list does not show it yet");
    };
    if let Expected::Uploaded(uploaded) = &expected
        && lists.is_as_uploaded(script, uploaded)
    {
        let attributes = [("version_id", &uploaded.version), ("etag", &uploaded.etag)];
        let attributes = attributes.map(|(name, value)| (name.to_owned(), value.clone())).into();
        return Outcome::Done(Receipt { properties, attributes, fingerprint, ..Receipt::default() });
    }
    let active = match deployed::active(&provider.client, &provider.account, script, &Ours::ordered(order)).await {
        Ok(active) => active,
        Err(fault) => return Outcome::Unknown(fault.error),
    };
    let Some(active) = active else {
        let nothing = matches!(expected, Expected::Version(None));
        let receipt = Receipt { properties, fingerprint, ..Receipt::default() };
        return if nothing { Outcome::Done(receipt) } else { unknown("nothing is deployed") };
    };
    let version = match active.whole(&provider.client, &provider.account, script).await {
        Ok(version) => version,
        Err(fault) => return Outcome::Unknown(fault.error),
    };
    let ours = match &expected {
        Expected::Version(id) => id.as_ref() == Some(&active.version),
        // A server that keeps no annotations of a first upload cannot be asked.
        Expected::Operation | Expected::Uploaded(_) => version.annotation("workers/tag").is_none_or(|tag| is_ours(order, tag)),
    };
    if !ours {
        return unknown("another version is deployed");
    }
    if active.traffic() != share {
        return unknown("it has another share of the requests");
    }
    let etag = version.resources.script.etag.unwrap_or_default();
    let attributes = active.attributes(&etag);
    Outcome::Done(Receipt { properties, attributes, fingerprint, ..Receipt::default() })
}

/// An outcome, with what follows a deployment of another version: it cannot undo what was done.
async fn followed(provider: &CloudflareProvider, order: &Order, outcome: Outcome) -> Outcome {
    match (outcome, &order.spec) {
        (Outcome::Done(mut receipt), Some(spec)) if worker::deploys(&order.change) => {
            receipt.warnings = provider.follow_up(spec).await;
            Outcome::Done(receipt)
        }
        (outcome, _) => outcome,
    }
}

/// Whether `operation` is the order's own, or one that was begun for it earlier.
pub(super) fn is_ours(order: &Order, operation: &str) -> bool {
    order.marker.operation == operation || order.earlier.iter().any(|earlier| earlier == operation)
}
