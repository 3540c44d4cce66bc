//! What the API keeps in lists: namespaces, buckets, databases, queues, records, rules.
//!
//! Goes in: a query or an order for one of these kinds. Comes out: an observation, or an outcome. What the kinds have in
//! common is here, once: one list for all instances of a kind, absence read from whole lists only, preconditions checked
//! against the list just before a write, a name that is taken told from a creation of ours that was never answered. What
//! sets a kind apart is a [`Sort`], one file for each.
//!
//! **Invariant:** what a list shows is one read for any number of things; only what it does not show is read for single
//! ones, and only where the list shows a change or everything is asked for.

/// The list and the deletion of what stands on a [`Shelf`], known there by its id.
macro_rules! on_shelf {
    ($shelf:ident) => {
        fn kind(&self) -> Kind {
            $shelf.kind
        }
        fn list<'a>(&'a self, provider: &'a CloudflareProvider, _places: &'a BTreeSet<String>) -> Listed<'a> {
            $shelf.list(provider).boxed()
        }
        fn delete<'a>(&'a self, writer: &'a mut Writer<'_>, found: &'a Thing) -> Gone<'a> {
            $shelf.remove(writer, &found.id).boxed()
        }
    };
}

mod cache_rule;
mod carry_out;
mod d1;
mod dispatch_namespace;
mod dns;
mod domain;
mod hyperdrive;
mod kv;
mod mtls_certificate;
mod queue;
mod queue_consumer;
mod r2;
mod secret;
mod shelf;
mod thing;
mod tunnel;
mod vpc_service;

use std::collections::{BTreeMap, BTreeSet};

use futures_util::StreamExt;
use futures_util::future::{BoxFuture, join_all};

use crate::model::{Evidence, InstanceKey, Kind, Observed, ObservedState, Present, Properties, SecretMark, Spec, Value};
use crate::plan::Owned;
use crate::provider::{Lookup, Order, Outcome, ProviderError, Query};

use super::CloudflareProvider;
use super::fault::Fault;
use super::observe::unknown;
use super::write::Writer;

pub(super) use carry_out::carry_out;
use shelf::Shelf;
pub(super) use thing::{Thing, object, picked, text};
use thing::{answered, changed, jurisdiction, named, unchangeable};
pub(super) use tunnel::token as tunnel_token;

/// Everything of a kind that there is.
type Listed<'a> = BoxFuture<'a, Result<Vec<Thing>, Fault>>;
/// A thing that was read.
type Seeing<'a> = BoxFuture<'a, Result<Thing, Fault>>;
/// A thing as it was made or changed.
type Made<'a> = BoxFuture<'a, Result<Thing, Failed>>;
/// A thing that was deleted.
type Gone<'a> = BoxFuture<'a, Result<(), Failed>>;

/// What sets a kind apart.
pub(super) trait Sort: Send + Sync {
    /// Its kind.
    fn kind(&self) -> Kind;

    /// The codes by which the API says that the name is taken.
    fn taken(&self) -> &'static [u64];

    /// The kind in whose list it stands; its own but for what the API shows inside of others.
    fn listed_with(&self) -> Kind {
        self.kind()
    }

    /// Whether each zone or jurisdiction has a list of its own.
    fn is_by_place(&self) -> bool {
        false
    }

    /// The codes by which the API says that the very same thing is there already, with the mark that its maker put on it: one
    /// that bears ours was made by a call of ours, whatever an earlier list showed.
    fn identical(&self) -> &'static [u64] {
        &[]
    }

    /// Everything that there is, in `places` for what lies in zones or jurisdictions.
    fn list<'a>(&'a self, provider: &'a CloudflareProvider, places: &'a BTreeSet<String>) -> Listed<'a>;

    /// The fields that a read of the thing itself shows, and the list does not.
    fn deep(&self) -> &'static [&'static str] {
        &[]
    }

    /// The fields that the API never shows: they are what is recorded of this very thing, or else what is wanted.
    fn unseen(&self) -> &'static [&'static str] {
        &[]
    }

    /// The thing with those of [`Sort::deep`] that are `wanted`.
    fn read<'a>(&'a self, _provider: &'a CloudflareProvider, thing: Thing, _wanted: &'a Properties) -> Seeing<'a> {
        Box::pin(async move { Ok(thing) })
    }

    /// `properties`, read or recorded, as they compare with what is wanted.
    fn seen(&self, properties: Properties, seen: &Seen<'_>) -> Properties {
        with_unseen(properties, self.unseen(), seen)
    }

    /// Makes what `order` asks for.
    fn create<'a>(&'a self, writer: &'a mut Writer<'_>, order: &'a Order) -> Made<'a>;

    /// Changes `thing` to what `order` asks for; writes nothing where nothing differs.
    fn update<'a>(&'a self, writer: &'a mut Writer<'_>, order: &'a Order, thing: &'a Thing) -> Made<'a>;

    /// Deletes `thing`.
    fn delete<'a>(&'a self, writer: &'a mut Writer<'_>, thing: &'a Thing) -> Gone<'a>;
}

/// In view of what a thing is seen.
pub(super) struct Seen<'a> {
    /// What is recorded of this very thing.
    pub(super) recorded: Option<&'a Owned>,
    /// What is wanted of it.
    pub(super) wanted: &'a Properties,
    /// All that the list shows.
    pub(super) all: &'a [Thing],
}

/// `properties` with the fields that the API never shows.
pub(super) fn with_unseen(mut properties: Properties, unseen: &[&str], seen: &Seen<'_>) -> Properties {
    for field in unseen {
        let known = seen.recorded.map_or(seen.wanted, |owned| &owned.properties);
        properties.extend(known.get(*field).map(|value| ((*field).to_owned(), value.clone())));
    }
    properties
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
        Kind::D1 => Some(&d1::D1),
        Kind::Queue => Some(&queue::Queue),
        Kind::QueueConsumer => Some(&queue_consumer::QueueConsumer),
        Kind::Hyperdrive => Some(&hyperdrive::Hyperdrive),
        Kind::Tunnel => Some(&tunnel::Tunnel),
        Kind::VpcService => Some(&vpc_service::VpcService),
        Kind::MtlsCertificate => Some(&mtls_certificate::MtlsCertificate),
        Kind::DispatchNamespace => Some(&dispatch_namespace::DispatchNamespace),
        Kind::Dns => Some(&dns::Dns),
        Kind::Domain => Some(&domain::Domain),
        Kind::CacheRule => Some(&cache_rule::CacheRule),
        _ => None,
    }
}

/// The kind in whose list `kind` stands.
pub(super) fn listed_with(kind: Kind) -> Kind {
    sort(kind).map_or(kind, Sort::listed_with)
}

/// Lists that were read, by kind.
pub(super) type Lists = BTreeMap<Kind, Result<Collected, Fault>>;

/// What the lists of a kind showed.
#[derive(Debug)]
pub(super) struct Collected {
    things: Vec<Thing>,
    /// The zones or jurisdictions whose lists could not be read: nothing is known of what lies in them, and all of the rest.
    unread: BTreeMap<String, Fault>,
}

impl Collected {
    async fn read(provider: &CloudflareProvider, sort: &dyn Sort, places: &BTreeSet<String>) -> Result<Self, Fault> {
        let mut listed = Self { things: Vec::new(), unread: BTreeMap::new() };
        if !sort.is_by_place() {
            listed.things = sort.list(provider, places).await?;
            return Ok(listed);
        }
        let reads = places.iter().map(|place| async move { (place, sort.list(provider, &[place.clone()].into()).await) });
        for (place, read) in join_all(reads).await {
            match read {
                Ok(things) => listed.things.extend(things),
                Err(fault) => drop(listed.unread.insert(place.clone(), fault)),
            }
        }
        Ok(listed)
    }

    /// Those of one kind.
    fn of(&self, kind: Kind) -> Self {
        let things = self.things.iter().filter(|thing| thing.kind == kind).cloned().collect();
        Self { things, unread: self.unread.iter().map(|(place, fault)| (place.clone(), fault.again())).collect() }
    }

    /// Why one of `places` could not be read.
    fn unread<'a>(&'a self, places: impl IntoIterator<Item = &'a str>) -> Option<&'a Fault> {
        places.into_iter().find_map(|place| self.unread.get(place))
    }
}

/// Reads the lists of `kinds` at once, each once.
pub(super) async fn lists(
    provider: &CloudflareProvider,
    kinds: impl IntoIterator<Item = Kind>,
    places: &BTreeMap<Kind, BTreeSet<String>>,
) -> Lists {
    let none = BTreeSet::new();
    let kinds: BTreeSet<Kind> = kinds.into_iter().collect();
    let listed: BTreeSet<Kind> = kinds.iter().filter_map(|kind| Some(sort(*kind)?.listed_with())).collect();
    let reads = listed.into_iter().filter_map(|kind| {
        let (sort, places) = (sort(kind)?, places.get(&kind).unwrap_or(&none));
        Some(async move { (kind, Collected::read(provider, sort, places).await) })
    });
    let read: Lists = join_all(reads).await.into_iter().collect();
    let of_kind = |kind: Kind| match read.get(&sort(kind)?.listed_with())? {
        Ok(listed) => Some((kind, Ok(listed.of(kind)))),
        Err(fault) => Some((kind, Err(fault.again()))),
    };
    kinds.into_iter().filter_map(of_kind).collect()
}

/// The zone that a thing lies in, by what is desired, recorded or seen of it.
pub(super) fn zone(properties: &Properties) -> Option<&str> {
    properties.get("zone_name").and_then(Value::as_text)
}

/// The zone or jurisdiction that a thing lies in, by what is desired, recorded or seen of it.
pub(super) fn place(kind: Kind, properties: &Properties) -> Option<&str> {
    match kind {
        Kind::R2 => Some(properties.get("jurisdiction").and_then(Value::as_text).unwrap_or("default")),
        _ => zone(properties),
    }
}

/// The zones or jurisdictions that a lookup is about.
pub(super) fn places(kind: Kind, lookup: &Lookup) -> BTreeSet<String> {
    let wanted = match &lookup.spec {
        Some(Spec::Platform(platform)) => place(kind, &platform.fields),
        _ => None,
    };
    let owned = lookup.owned.as_ref().and_then(|owned| place(kind, &owned.properties));
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
            (Some(sort), Some(Ok(listed))) => {
                let places = places(key.address.kind, lookup);
                match listed.unread(places.iter().map(String::as_str)) {
                    Some(fault) => unknown(&fault.error),
                    None => one(provider, sort, &listed.things, (key, lookup), query.is_in_full(key)).await,
                }
            }
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
    let wanted = match (&lookup.spec, &lookup.owned) {
        (Some(spec), _) => spec.properties(&BTreeMap::new()),
        (None, Some(owned)) => owned.properties.clone(),
        (None, None) => Properties::new(),
    };
    let recorded = lookup.owned.as_ref().filter(|owned| owned.attributes.get("id").is_none_or(|id| *id == found.id));
    let unchanged = recorded.filter(|owned| owned.fingerprint == fingerprint);
    let hidden = sort.deep().iter().filter(|field| wanted.contains_key(**field)).collect::<Vec<_>>();
    let (properties, evidence) = match unchanged {
        _ if hidden.is_empty() => (found.properties.clone(), Evidence::DeepRead(chrono::Utc::now())),
        // What is recorded stands for what is there, until something else is wanted.
        Some(owned) if !deep && hidden.iter().all(|field| owned.properties.get(**field) == wanted.get(**field)) => {
            (owned.properties.clone(), Evidence::Fingerprint)
        }
        _ => match sort.read(provider, found.clone(), &wanted).await {
            Ok(thing) => (thing.properties, Evidence::DeepRead(chrono::Utc::now())),
            Err(fault) if fault.is_missing() => return Observed::Absent,
            Err(fault) => return unknown(&fault.error),
        },
    };
    let properties = with_marks(properties, unchanged.map(|owned| &owned.properties));
    let properties = sort.seen(properties, &Seen { recorded, wanted: &wanted, all });
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
            (None | Some(Value::Secret { mark: SecretMark::Unknown }), Value::Secret { .. }) => {
                result.insert(name.clone(), value.clone());
            }
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
    let kind = key.address.kind;
    let places = places(kind, lookup);
    let is_there =
        |thing: &&Thing| places.is_empty() || place(kind, &thing.properties).is_none_or(|place| places.contains(place));
    all.iter()
        .find(|thing| Some(&thing.id) == id)
        .or_else(|| all.iter().find(|thing| thing.owner.as_ref() == Some(&key.address)))
        .or_else(|| all.iter().filter(is_there).find(|thing| thing.claim == lookup.claim))
}
