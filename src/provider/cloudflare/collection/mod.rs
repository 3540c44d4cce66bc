//! What the API keeps in lists: namespaces, buckets, databases, queues, records, rules.
//!
//! Goes in: a query or an order for one of these kinds. Comes out: an observation, or an outcome. What the kinds have in
//! common is here, once: one list for all instances of a kind, absence read from whole lists only, preconditions checked
//! against the list just before a write, a name that is taken told from a creation of ours that was never answered. What
//! sets a kind apart is a [`Sort`], one file for each.
//!
//! **Invariant:** what a list shows is one read for any number of things; only what it does not show is read for single
//! ones, and only where the list shows a change or everything is asked for.

mod cache_rule;
mod dns;
mod domain;
mod kv;
mod r2;
mod thing;

use std::collections::{BTreeMap, BTreeSet};

use futures_util::StreamExt;
use futures_util::future::{BoxFuture, join_all};

use crate::boundary;
use crate::model::{Evidence, InstanceKey, Kind, Observed, ObservedState, Present, Properties, Retry, Spec, Value};
use crate::plan::{Action, Precondition};
use crate::provider::{Lookup, Order, Outcome, ProviderError, Query, Receipt};

use super::CloudflareProvider;
use super::fault::Fault;
use super::observe::unknown;
use super::write::Writer;

pub(super) use thing::{Thing, object, picked, text};

/// What sets a kind apart.
pub(super) trait Sort: Send + Sync {
    /// Its kind.
    fn kind(&self) -> Kind;

    /// The codes by which the API says that the name is taken.
    fn taken(&self) -> &'static [u64];

    /// Everything that there is, in `zones` for what lies in zones.
    fn list<'a>(
        &'a self,
        provider: &'a CloudflareProvider,
        zones: &'a BTreeSet<String>,
    ) -> BoxFuture<'a, Result<Vec<Thing>, Fault>>;

    /// Whether there is something that the list does not show.
    fn is_deep(&self) -> bool {
        false
    }

    /// The thing with what the list does not show.
    fn read<'a>(
        &'a self,
        _provider: &'a CloudflareProvider,
        thing: Thing,
        _wanted: &'a Properties,
    ) -> BoxFuture<'a, Result<Thing, Fault>> {
        Box::pin(async move { Ok(thing) })
    }

    /// Makes what `order` asks for.
    fn create<'a>(&'a self, writer: &'a mut Writer<'_>, order: &'a Order) -> BoxFuture<'a, Result<Thing, Failed>>;

    /// Changes `thing` to what `order` asks for; writes nothing where nothing differs.
    fn update<'a>(
        &'a self,
        writer: &'a mut Writer<'_>,
        order: &'a Order,
        thing: &'a Thing,
    ) -> BoxFuture<'a, Result<Thing, Failed>>;

    /// Deletes `thing`.
    fn delete<'a>(&'a self, writer: &'a mut Writer<'_>, thing: &'a Thing) -> BoxFuture<'a, Result<(), Failed>>;
}

/// Why a write did not come to its end.
pub(super) enum Failed {
    /// The API's answer, or none.
    Fault(Fault),
    /// What became of the order.
    Outcome(Outcome),
}

impl From<Fault> for Failed {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<ProviderError> for Failed {
    fn from(error: ProviderError) -> Self {
        Self::Outcome(Outcome::Refused(error))
    }
}

/// The sort of a kind; `None` for Workers and files, which are in no list of this form.
pub(super) fn sort(kind: Kind) -> Option<&'static dyn Sort> {
    match kind {
        Kind::Kv => Some(&kv::Kv),
        Kind::R2 => Some(&r2::R2),
        Kind::Dns => Some(&dns::Dns),
        Kind::Domain => Some(&domain::Domain),
        Kind::CacheRule => Some(&cache_rule::CacheRule),
        _ => None,
    }
}

/// Lists that were read, by kind.
pub(super) type Lists = BTreeMap<Kind, Result<Vec<Thing>, Fault>>;

/// Reads the lists of `kinds` at once.
pub(super) async fn lists(
    provider: &CloudflareProvider,
    kinds: impl IntoIterator<Item = Kind>,
    zones: &BTreeMap<Kind, BTreeSet<String>>,
) -> Lists {
    let none = BTreeSet::new();
    let reads = kinds.into_iter().collect::<BTreeSet<Kind>>().into_iter().filter_map(|kind| {
        let (sort, zones) = (sort(kind)?, zones.get(&kind).unwrap_or(&none));
        Some(async move { (kind, sort.list(provider, zones).await) })
    });
    join_all(reads).await.into_iter().collect()
}

/// The zone that a thing lies in, by what is desired or recorded of it.
pub(super) fn zone(properties: &Properties) -> Option<&str> {
    properties.get("zone_name").and_then(Value::as_text)
}

/// The zones that a lookup is about.
pub(super) fn zones(lookup: &Lookup) -> BTreeSet<String> {
    let wanted = match &lookup.spec {
        Some(Spec::Platform(platform)) => platform.zone(),
        _ => None,
    };
    let owned = lookup.owned.as_ref().and_then(|owned| zone(&owned.properties));
    wanted.into_iter().chain(owned).map(str::to_owned).collect()
}

/// Observes the instances of `query` that are of these kinds, by the lists that were read.
pub(super) async fn observe(
    provider: &CloudflareProvider,
    lists: &Lists,
    lookups: &[(&InstanceKey, &Lookup)],
    query: &Query,
) -> ObservedState {
    let reads = lookups.iter().map(|(key, lookup)| async move {
        let observed = match (sort(key.address.kind), lists.get(&key.address.kind)) {
            (Some(sort), Some(Ok(all))) => one(provider, sort, all, (key, lookup), query.is_in_full(key)).await,
            (_, Some(Err(fault))) => unknown(&fault.error),
            (_, None) | (None, _) => Observed::Unknown(format!("a {} does not live on this target", key.address.kind)),
        };
        ((*key).clone(), observed)
    });
    let reads: Vec<_> = reads.map(Box::pin).collect();
    futures_util::stream::iter(reads).buffered(provider.concurrency).collect().await
}

async fn one(
    provider: &CloudflareProvider,
    sort: &dyn Sort,
    all: &[Thing],
    (key, lookup): (&InstanceKey, &Lookup),
    deep: bool,
) -> Observed {
    let Some(found) = find(all, key, lookup) else { return Observed::Absent };
    let fingerprint = found.fingerprint();
    let owned = lookup.owned.as_ref().filter(|owned| owned.fingerprint == fingerprint);
    let (properties, evidence) = match owned {
        Some(owned) if sort.is_deep() && !deep => (owned.properties.clone(), Evidence::Fingerprint),
        _ => {
            let wanted = match (&lookup.spec, &lookup.owned) {
                (Some(spec), _) => spec.properties(&BTreeMap::new()),
                (None, Some(owned)) => owned.properties.clone(),
                (None, None) => Properties::new(),
            };
            match sort.read(provider, found.clone(), &wanted).await {
                Ok(thing) => (with_marks(thing.properties, owned.map(|o| &o.properties)), Evidence::DeepRead(chrono::Utc::now())),
                Err(fault) if fault.is_missing() => return Observed::Absent,
                Err(fault) => return unknown(&fault.error),
            }
        }
    };
    Observed::Present(Box::new(Present {
        properties,
        attributes: found.attributes.clone(),
        fingerprint,
        owner: found.owner.clone(),
        marker: found.marker.clone(),
        evidence,
    }))
}

/// `properties` with the marks of secrets that are recorded for exactly this state: a value never comes back.
fn with_marks(properties: Properties, recorded: Option<&Properties>) -> Properties {
    let mut result = properties;
    for (name, value) in recorded.into_iter().flatten() {
        match (result.get_mut(name), value) {
            (None, Value::Secret { .. }) => drop(result.insert(name.clone(), value.clone())),
            (Some(Value::Table(table)), Value::Table(recorded)) => {
                *table = with_marks(std::mem::take(table), Some(recorded));
            }
            _ => {}
        }
    }
    result
}

/// The thing that an instance is: ours by its mark or its id, under whatever name; else whatever bears the name.
fn find<'a>(all: &'a [Thing], key: &InstanceKey, lookup: &Lookup) -> Option<&'a Thing> {
    let id = lookup.owned.as_ref().and_then(|owned| owned.attributes.get("id"));
    let in_zone = |thing: &&Thing| {
        let zones = zones(lookup);
        zones.is_empty() || zone(&thing.properties).is_none_or(|zone| zones.contains(zone))
    };
    all.iter()
        .find(|thing| Some(&thing.id) == id)
        .or_else(|| all.iter().find(|thing| thing.owner.as_ref() == Some(&key.address)))
        .or_else(|| all.iter().filter(in_zone).find(|thing| thing.claim == lookup.claim))
}

/// Carries out one order, with the list as it is now.
pub(super) async fn carry_out(provider: &CloudflareProvider, lists: &Lists, order: &Order) -> Outcome {
    let change = &order.change;
    let kind = change.key.address.kind;
    let (Some(sort), Some(list)) = (sort(kind), lists.get(&kind)) else {
        return Outcome::Refused(ProviderError::new(format!("a {kind} does not live on this target"), Retry::Stalled));
    };
    let all = match list {
        Ok(all) => all,
        Err(fault) => return Outcome::Refused(super::carry_out::copy(&fault.error)),
    };
    let found = match &change.precondition {
        Precondition::Absent => match all.iter().find(|thing| is_named(thing, order)) {
            Some(found) if !order.earlier.is_empty() => Some(found),
            Some(_) => return Outcome::Conflict(format!("a {kind} `{}` is there now", change.claim)),
            None => None,
        },
        Precondition::Fingerprint(expected) => match all.iter().find(|thing| thing.fingerprint() == *expected) {
            Some(found) => Some(found),
            None if change.action == Action::Delete && is_gone(all, kind, expected) => return Outcome::Done(Receipt::default()),
            None => return Outcome::Conflict(format!("{kind} `{}` is no longer what the plan saw", change.claim)),
        },
    };
    let mut writer = Writer::new(provider);
    match (change.action, found) {
        (Action::Create, None) => {
            let made = sort.create(&mut writer, order).await;
            boundary::reach("after_listed");
            match made {
                Ok(thing) => done(order, &thing),
                Err(Failed::Fault(fault)) if sort.taken().iter().any(|code| fault.has(*code)) => {
                    taken(&mut writer, sort, order, fault).await
                }
                Err(failed) => ended(&writer, failed),
            }
        }
        (Action::Delete, Some(found)) => {
            let deleted = sort.delete(&mut writer, found).await;
            boundary::reach("after_listed_delete");
            match deleted {
                Ok(()) => Outcome::Done(Receipt::default()),
                Err(Failed::Fault(fault)) if fault.is_missing() => Outcome::Done(Receipt::default()),
                Err(failed) => ended(&writer, failed),
            }
        }
        (Action::Create | Action::Update | Action::Adopt | Action::Move, Some(found)) => {
            let changed = sort.update(&mut writer, order, found).await;
            boundary::reach("after_listed");
            match changed {
                Ok(thing) => done(order, &thing),
                Err(Failed::Fault(fault)) if sort.taken().iter().any(|code| fault.has(*code)) => {
                    Outcome::Conflict(format!("another {kind} is called `{}`", change.claim))
                }
                Err(Failed::Fault(fault)) if fault.is_missing() => Outcome::Conflict(format!("{kind} `{}` is gone", found.claim)),
                Err(failed) => ended(&writer, failed),
            }
        }
        (action, _) => Outcome::Conflict(format!("cannot {} {kind} `{}` as it is now", action.as_str(), change.claim)),
    }
}

fn ended(writer: &Writer<'_>, failed: Failed) -> Outcome {
    match failed {
        Failed::Fault(fault) => writer.failed(fault),
        Failed::Outcome(outcome) => outcome,
    }
}

/// Whether a thing bears the name, in its zone, that an order is to make.
fn is_named(thing: &Thing, order: &Order) -> bool {
    let wanted = order.change.after.as_ref().and_then(zone);
    thing.claim == order.change.claim && (wanted.is_none() || zone(&thing.properties).is_none_or(|zone| Some(zone) == wanted))
}

fn is_gone(all: &[Thing], kind: Kind, fingerprint: &str) -> bool {
    !thing::id_of(kind, fingerprint).is_some_and(|id| all.iter().any(|thing| thing.id == id))
}

/// Nothing of that name was there a moment ago. If the call went out twice, or one of ours was never answered, it is
/// ours; else somebody was faster.
async fn taken(writer: &mut Writer<'_>, sort: &dyn Sort, order: &Order, fault: Fault) -> Outcome {
    let claim = &order.change.claim;
    if !fault.resent && order.earlier.is_empty() {
        return Outcome::Conflict(format!("a {} `{claim}` is there now", sort.kind()));
    }
    let zones = order.change.after.as_ref().and_then(zone).map(str::to_owned).into_iter().collect();
    match sort.list(writer.provider, &zones).await {
        Ok(all) => match all.iter().find(|thing| is_named(thing, order)) {
            Some(found) => match sort.update(writer, order, found).await {
                Ok(thing) => done(order, &thing),
                Err(failed) => ended(writer, failed),
            },
            None => Outcome::Unknown(fault.error),
        },
        Err(fault) => Outcome::Unknown(fault.error),
    }
}

fn done(order: &Order, thing: &Thing) -> Outcome {
    Outcome::Done(Receipt {
        properties: order.change.after.clone().unwrap_or_default(),
        attributes: thing.attributes.clone(),
        fingerprint: thing.fingerprint(),
        ..Receipt::default()
    })
}

/// What the API answered to a write, as a thing; unknown where it is not of the documented form: something happened there,
/// and the list will show what.
pub(super) fn answered(made: Option<Thing>, kind: Kind, claim: &str) -> Result<Thing, Failed> {
    made.ok_or_else(|| {
        let message = format!("{kind} `{claim}` was written, but the answer does not show it");
        Failed::Outcome(Outcome::Unknown(ProviderError::new(message, Retry::Transient)))
    })
}
