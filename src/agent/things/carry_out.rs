//! Carry out orders for things: checked against what is there, intended, changed, looked at again, recorded.

use std::collections::{BTreeMap, BTreeSet};

use super::{Ended, FOUND, Look, Sought, Work, change, differing, kept_as, look};
use crate::agent::apply::{Done, Site};
use crate::agent::fault::Stop;
use crate::agent::manifest::{Begun, Manifest, Thing};
use crate::agent::{Fault, ThingOrder, Wanted};
use crate::model::{Kind, Properties, RESTART_ON};
use crate::plan::Precondition;

/// Carries out orders of any kinds, none of which needs another; one result for each, in their order.
pub(in crate::agent) fn carry_out(site: &mut Site<'_>, orders: Vec<ThingOrder>) -> Vec<Result<Done, Stop>> {
    let mut results: Vec<Option<Result<Done, Stop>>> = orders.iter().map(|_| None).collect();
    let mut by_kind: BTreeMap<Kind, Vec<(usize, ThingOrder)>> = BTreeMap::new();
    for (at, order) in orders.into_iter().enumerate() {
        by_kind.entry(kept_as(order.key.address.kind)).or_default().push((at, order));
    }
    for (kind, orders) in by_kind {
        let (places, orders): (Vec<usize>, Vec<ThingOrder>) = orders.into_iter().unzip();
        let done = carry_out_kind(site, kind, orders);
        places.into_iter().zip(done).for_each(|(at, done)| results[at] = Some(done));
    }
    results.into_iter().flatten().collect()
}

fn carry_out_kind(site: &mut Site<'_>, kind: Kind, orders: Vec<ThingOrder>) -> Vec<Result<Done, Stop>> {
    let prepared = prepare(site, kind, orders);
    for work in prepared.iter().flatten() {
        site.manifest.begun.insert(work.key.clone(), begun(work));
    }
    if let Err(fault) = site.intend() {
        return prepared.iter().map(|_| Err(Stop::Refused(fault.clone()))).collect();
    }
    let mut works = Vec::new();
    let stops: Vec<Option<Stop>> = prepared.into_iter().map(|prepared| prepared.map(|work| works.push(work)).err()).collect();
    let ended = change(site, kind, &works);
    let after: Vec<Look> = {
        let eyes = site.eyes();
        let none = Properties::new();
        let fields = |work: &Work| work.wanted.as_ref().map(|wanted| wanted.fields.clone()).unwrap_or_default();
        let fields: Vec<Properties> = works.iter().map(fields).collect();
        let sought: Vec<Sought<'_>> = works
            .iter()
            .zip(&fields)
            .map(|(work, fields)| Sought::new(&work.key, &work.claim, if work.wanted.is_some() { fields } else { &none }, None))
            .collect();
        if works.is_empty() { Vec::new() } else { look(&eyes, kind, &sought) }
    };
    let mut done = works.into_iter().zip(ended).zip(after).map(|((work, ended), after)| record(site, work, ended, after));
    let done: Vec<Result<Done, Stop>> = done.by_ref().collect();
    let mut done = done.into_iter();
    let lost = || Err(Stop::Unknown(Fault::new("the executor lost sight of it")));
    stops.into_iter().map(|stop| stop.map_or_else(|| done.next().unwrap_or_else(lost), Err)).collect()
}

/// The intent of a change.
fn begun(work: &Work) -> Begun {
    let found = || work.seen.iter().map(|_| (FOUND.to_owned(), String::new())).collect();
    let memory = work.last.as_ref().map_or_else(found, |last| last.memory.clone());
    let thing = |wanted: &Wanted| Thing {
        claim: work.claim.clone(),
        marker: work.marker.clone(),
        fields: wanted.fields.clone(),
        memory: memory.clone(),
        stale: BTreeSet::new(),
        interrupted: false,
    };
    Begun {
        wanted: work.wanted.as_ref().map(thing),
        claim: work.claim.clone(),
        from: work.from.clone(),
        run: work.seen.as_ref().map(|seen| seen.run.clone()).unwrap_or_default(),
    }
}

/// Checks orders against what is there.
fn prepare(site: &Site<'_>, kind: Kind, orders: Vec<ThingOrder>) -> Vec<Result<Work, Stop>> {
    let none = Properties::new();
    let looks: Vec<Look> = {
        let sought: Vec<Sought<'_>> = orders
            .iter()
            .map(|order| {
                let desired = order.wanted.as_ref().map_or(&none, |wanted| &wanted.fields);
                Sought::new(&order.key, &order.claim, desired, last(&site.manifest, order))
            })
            .collect();
        look(&site.eyes(), kind, &sought)
    };
    orders.into_iter().zip(looks).map(|(order, look)| checked(site, order, look)).collect()
}

fn last<'a>(manifest: &'a Manifest, order: &ThingOrder) -> Option<&'a Thing> {
    let thing = manifest.things.get(order.from.as_ref().unwrap_or(&order.key));
    thing.filter(|thing| thing.claim == order.claim)
}

fn checked(site: &Site<'_>, order: ThingOrder, look: Look) -> Result<Work, Stop> {
    let seen = look?;
    let last = last(&site.manifest, &order).cloned();
    let ThingOrder { key, from, claim, precondition, marker, wanted } = order;
    let kind = key.address.kind;
    if !kind.is_shared()
        && let Some((environment, owner)) = site.others.iter().find_map(|(id, other)| Some((id, other.called(kind, &claim)?.0)))
    {
        let message = format!("`{claim}` belongs to `{owner}` of the environment `{environment}` on this host");
        return Err(Stop::Conflict(message));
    }
    if let Some((owner, _)) =
        site.manifest.called(kind, &claim).filter(|(owner, _)| **owner != key && Some(*owner) != from.as_ref())
    {
        return Err(Stop::Conflict(format!("`{claim}` belongs to `{owner}`")));
    }
    let repeated = last.as_ref().is_some_and(|last| last.marker.operation == marker.operation);
    let as_seen = match (&precondition, &seen) {
        (Precondition::Absent, None) => true,
        // Something earlier in this very request may have brought it.
        (Precondition::Absent, Some(seen)) => seen.shared,
        (Precondition::Fingerprint(fingerprint), Some(seen)) => seen.fingerprint() == *fingerprint,
        (Precondition::Fingerprint(_), None) => wanted.is_none(),
    };
    if !as_seen && !repeated {
        let what = match (&precondition, &seen) {
            (Precondition::Absent, _) => "is there, and the plan saw nothing",
            (_, None) => "is no longer there",
            _ => "is not what the plan saw: it was changed since",
        };
        return Err(Stop::Conflict(format!("`{claim}` {what}")));
    }
    if wanted.is_none() && seen.is_some() && last.is_none() {
        return Err(Stop::Conflict(format!("`{claim}` is not in the manifest of this host: it is not known to be ours")));
    }
    Ok(Work { key, claim, from, marker, wanted: wanted.map(|wanted| *wanted), seen, last })
}

/// Writes into the manifest what became of a change.
fn record(site: &mut Site<'_>, work: Work, ended: Result<Ended, Stop>, after: Look) -> Result<Done, Stop> {
    let Ended { changed, memory, warnings } = match ended {
        Ok(ended) => ended,
        Err(Stop::Unknown(fault)) => return Err(Stop::Unknown(fault)),
        Err(stop) => {
            site.manifest.begun.remove(&work.key);
            return Err(stop);
        }
    };
    let begun = site.manifest.begun.get(&work.key).cloned();
    let unknown = |what: String| Stop::Unknown(Fault::system(format!("`{}` may have been changed", work.claim), what));
    let fingerprint = match (&work.wanted, after) {
        (None, _) => String::new(),
        (Some(_), Err(fault)) => return Err(unknown(fault.message)),
        (Some(_), Ok(None)) => return Err(unknown("it is not there after all".to_owned())),
        (Some(wanted), Ok(Some(mut seen))) => {
            if let Some(inputs) = wanted.fields.get(RESTART_ON) {
                seen.fields.insert(RESTART_ON.to_owned(), inputs.clone());
            }
            if let Some(field) = differing(&seen.fields, &wanted.fields) {
                return Err(unknown(format!("its `{field}` is not what it was to be")));
            }
            seen.fingerprint()
        }
    };
    site.manifest.begun.remove(&work.key);
    if let Some(from) = &work.from {
        site.manifest.things.remove(from);
    }
    match begun.and_then(|begun| begun.wanted) {
        Some(mut thing) => {
            thing.memory.extend(memory);
            site.manifest.things.insert(work.key, thing);
        }
        None => drop(site.manifest.things.remove(&work.key)),
    }
    Ok(Done { fingerprint, changed, warnings })
}
