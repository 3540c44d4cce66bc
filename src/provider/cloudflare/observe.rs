//! What is there: as few reads as prove it.
//!
//! Goes in: the instances that are desired or owned. Comes out: one observation for each.
//!
//! **Invariant:** absence is only ever read from a list that was read whole, or from the API's own "not found"; what
//! could not be read is unknown, with the reason.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{FutureExt, StreamExt};

use crate::model::{Evidence, InstanceKey, Kind, Marker, Observed, ObservedState, Present, Properties, Spec, Value};
use crate::plan::Owned;
use crate::provider::{Lookup, ProviderError, Query};

use super::CloudflareProvider;
use super::collection;
use super::deployed::Ours;
use super::fault::Fault;
use super::lists::{self, Lists, Sought, zones_of};
use super::path::Grammar;
use super::read;
use super::wire::Version;

/// Observes every instance of `query`.
///
/// # Errors
/// Where no list that it needs can be read.
pub(super) async fn observe(provider: &CloudflareProvider, query: &Query) -> Result<ObservedState, ProviderError> {
    let (mut workers, mut listed) = (Vec::new(), Vec::new());
    let mut listed_zones: BTreeMap<Kind, BTreeSet<String>> = BTreeMap::new();
    let mut kinds: BTreeSet<Kind> = BTreeSet::new();
    for (key, lookup) in &query.instances {
        match key.address.kind {
            Kind::Worker => workers.push((key, lookup)),
            kind if collection::sort(kind).is_some() => {
                listed.push((key, lookup));
                kinds.insert(kind);
                listed_zones.entry(collection::listed_with(kind)).or_default().extend(collection::places(kind, lookup));
            }
            _ => {}
        }
    }
    let sought: Vec<Sought<'_>> = workers.iter().map(|(_, lookup)| sought(lookup, query.deep)).collect();
    let (client, account) = (&provider.client, &provider.account);
    let lists = async { if workers.is_empty() { None } else { Some(lists::read_changed(client, account, &sought).await) } };
    let (lists, mut collections) = futures_util::future::join(lists, collection::lists(provider, kinds, &listed_zones)).await;
    let none_was_read = !matches!(lists, Some(Ok(_))) && !collections.values().any(Result::is_ok);
    let lists = match lists {
        Some(Err(fault)) if none_was_read => return Err(fault.error),
        lists => lists,
    };
    if none_was_read && let Some((_, Err(fault))) = collections.pop_first() {
        return Err(fault.error);
    }
    let mut state = ObservedState::new();
    state.extend(collection::observe(provider, &collections, &listed, query).await);
    if let Some(lists) = lists {
        let mut reads = Vec::new();
        for (key, lookup) in workers {
            reads.push(read_worker(provider, &lists, key, lookup, query.is_in_full(key)).boxed());
        }
        let read: Vec<_> = futures_util::stream::iter(reads).buffered(provider.concurrency).collect().await;
        state.extend(read);
    }
    for key in query.instances.keys() {
        state
            .entry(key.clone())
            .or_insert_with(|| Observed::Unknown(format!("a {} does not live on this target", key.address.kind)));
    }
    Ok(state)
}

/// The reason for which something is unknown, with what can be done about it.
pub(super) fn unknown(error: &ProviderError) -> Observed {
    let reason = crate::provider::chain(error);
    Observed::Unknown(match &error.hint {
        Some(hint) => format!("{reason}; {hint}"),
        None => reason,
    })
}

/// The zones of the routes in `properties`.
pub(super) fn zones_in(properties: &Properties) -> BTreeSet<String> {
    let routes = properties.get("routes").and_then(Value::as_table).into_iter().flat_map(|routes| routes.values());
    routes.filter_map(|route| Some(route.as_table()?.get("zone_name")?.as_text()?.to_owned())).collect()
}

/// The zones whose routes count for an instance: those that its definition or the inventory names.
fn zones(lookup: &Lookup) -> BTreeSet<String> {
    let mut zones = match &lookup.spec {
        Some(Spec::Worker(worker)) => worker.routes.iter().map(|route| route.zone_name.clone()).collect(),
        _ => BTreeSet::new(),
    };
    if let Some(owned) = &lookup.owned {
        zones.extend(zones_in(&owned.properties));
        zones.extend(zones_of(&owned.fingerprint));
    }
    zones
}

/// What is looked for of a Worker. Where everything is read, its zones are, whatever is recorded.
fn sought(lookup: &Lookup, deep: bool) -> Sought<'_> {
    let owned = lookup.owned.as_ref().filter(|owned| !deep && owned.claim == lookup.claim);
    Sought { script: &lookup.claim, zones: zones(lookup), recorded: owned.map(|owned| owned.fingerprint.as_str()) }
}

async fn read_worker(
    provider: &CloudflareProvider,
    lists: &Result<Lists, Fault>,
    key: &InstanceKey,
    lookup: &Lookup,
    deep: bool,
) -> (InstanceKey, Observed) {
    let observed = match lists {
        Ok(lists) => worker(provider, lists, key, lookup, deep).await,
        Err(fault) => unknown(&fault.error),
    };
    (key.clone(), observed)
}

async fn worker(provider: &CloudflareProvider, lists: &Lists, key: &InstanceKey, lookup: &Lookup, deep: bool) -> Observed {
    let script = match Grammar::Script.check(&lookup.claim) {
        Ok(script) => script,
        Err(error) => return unknown(&error),
    };
    let zones = zones(lookup);
    let unread = zones.iter().find_map(|zone| lists.zones.get(zone)?.as_ref().err());
    if !lists.scripts.contains_key(script) {
        // One that is to be made there would end without its routes.
        return unread.filter(|_| lookup.spec.is_some()).map_or(Observed::Absent, |fault| unknown(&fault.error));
    }
    let owner = lists.owner(script);
    let owned = lookup.owned.as_ref().filter(|owned| owned.claim == script);
    if let Some(owned) = owned.filter(|owned| !deep && lists.still(script, &owned.fingerprint)) {
        return Observed::Present(Box::new(Present {
            properties: owned.properties.clone(),
            attributes: owned.attributes.clone(),
            fingerprint: owned.fingerprint.clone(),
            owner,
            marker: Some(recorded_marker(key, owned)),
            evidence: Evidence::Fingerprint,
        }));
    }
    if let Some(fault) = unread {
        return unknown(&fault.error);
    }
    let Some(fingerprint) = lists.fingerprint(script, &zones) else {
        return Observed::Unknown(format!("the routes of Worker `{script}` were not read"));
    };
    let dateless = match (&lookup.spec, owned) {
        (Some(Spec::Worker(worker)), _) => worker.compatibility_date.is_none(),
        (_, Some(owned)) => !owned.properties.contains_key("compatibility_date"),
        _ => false,
    };
    let item = lists.scripts.get(script);
    let live =
        match read::live(&provider.client, &provider.account, script, (owned, item), (&Ours::looked_for(key, lookup), dateless))
            .await
        {
            Ok(live) => live,
            Err(fault) => return missing_or_unknown(&fault),
        };
    let mut properties = live.properties;
    let routes = lists
        .routes(script)
        .into_iter()
        .filter(|(_, zone)| zones.contains(zone))
        .map(|(pattern, zone)| (pattern, Value::Table([("zone_name".to_owned(), Value::text(zone))].into())));
    properties.insert("routes".to_owned(), Value::Table(routes.collect()));
    Observed::Present(Box::new(Present {
        properties,
        attributes: live.attributes,
        fingerprint,
        owner,
        marker: live.marker,
        evidence: Evidence::DeepRead(chrono::Utc::now()),
    }))
}

/// Deleted between the list and the read, or not to be read.
fn missing_or_unknown(fault: &Fault) -> Observed {
    if fault.is_missing() { Observed::Absent } else { unknown(&fault.error) }
}

/// The operation that made a version, where it was one of ours.
pub(super) fn marker(version: &Version) -> Option<Marker> {
    Marker::parse(version.annotation("workers/message")?, version.annotation("workers/tag")?)
}

fn recorded_marker(key: &InstanceKey, owned: &Owned) -> Marker {
    let Owned { desired, revision, operation, .. } = owned;
    Marker { key: key.clone(), revision: revision.clone(), desired: *desired, operation: operation.clone() }
}
