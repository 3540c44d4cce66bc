//! What lives on a host besides files: what every kind has in common.
//!
//! Goes in: queries and orders for things of any kind. Comes out: what is there, and what was done. A kind says how it looks
//! ([`look`]) and how it changes ([`change`]); whose a thing is, whether it is as the plan saw it, the intent before a change
//! and the record after it are seen to here.
//!
//! **Invariant:** what was done is looked at again before it is recorded; a thing whose change was cut short shows that it
//! was, until a change of it ends well.

mod carry_out;
mod compose;
mod container;
mod directory;
mod package;
mod pm2;
mod settle;
mod unit;

use std::collections::{BTreeMap, BTreeSet};

use super::accounts::Accounts;
use super::apply::Site;
use super::beneath::Root;
use super::fault::Stop;
use super::manifest::{Manifest, Thing};
use super::{Fault, Found, FoundThing, Policy, ThingQuery, Wanted};
use crate::model::{EnvironmentId, INTERRUPTED, InstanceKey, Kind, Marker, Properties, RESTART_ON, Value, canonical_digest};

pub(super) use carry_out::carry_out;
pub(super) use settle::settle;
pub(super) use unit::leave_programs;

/// How a thing that is not as it was applied shows an input of its.
const MODIFIED: &str = "modified";

/// What things are looked at with.
pub(super) struct Eyes<'a> {
    pub(super) policy: &'a Policy,
    pub(super) root: &'a Root,
    pub(super) accounts: Accounts,
    pub(super) manifest: &'a Manifest,
}

/// A thing that is looked for.
struct Sought<'a> {
    key: &'a InstanceKey,
    claim: &'a str,
    /// The fields of which something is to be said.
    fields: BTreeMap<&'a str, Lens<'a>>,
    /// What it was made, where it is ours.
    last: Option<&'a Thing>,
}

/// A field of which something is to be said.
#[derive(Clone, Copy, Default)]
struct Lens<'a> {
    desired: Option<&'a Value>,
    applied: Option<&'a Value>,
}

impl<'a> Lens<'a> {
    /// How the definition, or else what was applied, calls it.
    fn word(self) -> Option<&'a str> {
        self.desired.or(self.applied).and_then(Value::as_text)
    }
}

impl<'a> Sought<'a> {
    fn new(key: &'a InstanceKey, claim: &'a str, desired: &'a Properties, last: Option<&'a Thing>) -> Self {
        let mut fields: BTreeMap<&str, Lens<'_>> = BTreeMap::new();
        desired.iter().for_each(|(field, value)| fields.entry(field).or_default().desired = Some(value));
        for (field, value) in last.iter().flat_map(|last| &last.fields) {
            fields.entry(field).or_default().applied = Some(value);
        }
        Self { key, claim, fields, last }
    }

    fn asks(&self, field: &str) -> Option<Lens<'a>> {
        self.fields.get(field).copied()
    }
}

/// A thing that is there.
#[derive(Debug, Clone)]
struct Seen {
    /// What it is like, in the shape of the fields that are asked for.
    fields: Properties,
    /// Tells one run of it from the next.
    run: String,
    /// That it is there is no reason not to make it ours.
    shared: bool,
}

impl Seen {
    /// Changes whenever what is there changes. Whether it runs is none of it: that changes by itself.
    fn fingerprint(&self) -> String {
        let lasting = |field: &&String| !["state", RESTART_ON, INTERRUPTED].contains(&field.as_str());
        let lasting: BTreeMap<&String, &Value> = self.fields.iter().filter(|(field, _)| lasting(field)).collect();
        canonical_digest(&lasting).to_string()
    }
}

type Look = Result<Option<Seen>, Fault>;

/// The kind whose instances are kept as those of `kind` are: they are changed together.
fn kept_as(kind: Kind) -> Kind {
    match kind {
        Kind::TunnelConnector | Kind::EdgeRuntime => Kind::Unit,
        kind => kind,
    }
}

/// What is there of things of one kind, one for each, in their order.
fn look(eyes: &Eyes<'_>, kind: Kind, sought: &[Sought<'_>]) -> Vec<Look> {
    let mut looks = match kind {
        Kind::Directory => directory::look(eyes, sought),
        Kind::Package => package::look(sought),
        Kind::Unit | Kind::TunnelConnector | Kind::EdgeRuntime => unit::look(eyes, sought),
        Kind::Container => container::look(eyes, sought),
        Kind::Compose => compose::look(eyes, sought),
        Kind::Pm2 => pm2::look(eyes, sought),
        kind => sought.iter().map(|_| Err(Fault::new(format!("a {kind} cannot live on a host")))).collect(),
    };
    for (look, sought) in looks.iter_mut().zip(sought) {
        let (Ok(Some(seen)), Some(last)) = (look, sought.last) else { continue };
        // What it was last started with is known from the manifest alone.
        if let Some(Value::Table(inputs)) = last.fields.get(RESTART_ON) {
            let now = |(input, value): (&String, &Value)| {
                let value = if last.stale.contains(input) { Value::text(MODIFIED) } else { value.clone() };
                (input.clone(), value)
            };
            seen.fields.insert(RESTART_ON.to_owned(), Value::Table(inputs.iter().map(now).collect()));
        }
        if last.interrupted {
            seen.fields.insert(INTERRUPTED.to_owned(), Value::Bool(true));
        }
    }
    looks
}

/// What is there of each thing that is asked for. `drifted` are the files of this environment that are not as they were
/// applied.
pub(super) fn observe(
    eyes: &Eyes<'_>,
    queries: &[&ThingQuery],
    drifted: &BTreeSet<InstanceKey>,
    others: &[(EnvironmentId, Manifest)],
) -> Vec<Found> {
    let manifest = eyes.manifest;
    let last = |query: &&ThingQuery| manifest.called(query.key.address.kind, &query.claim);
    let sought: Vec<Sought<'_>> = queries
        .iter()
        .map(|query| Sought::new(&query.key, &query.claim, &query.fields, last(query).map(|(_, thing)| thing)))
        .collect();
    let found = |(query, look): (&&ThingQuery, Look)| match look {
        Ok(None) => Found::Absent,
        Err(Fault { message, cause: Some(cause), .. }) => Found::Unknown(format!("{message}: {cause}")),
        Err(fault) => Found::Unknown(fault.message),
        Ok(Some(mut seen)) => {
            let own = last(query);
            let elsewhere = || others.iter().find_map(|(_, other)| other.called(query.key.address.kind, &query.claim));
            let owner = own.or_else(elsewhere).map(|(key, _)| key.address.clone());
            outdate(&mut seen.fields, &query.key, drifted);
            let as_left = own.filter(|(_, thing)| !thing.interrupted && thing.fields == seen.fields);
            Found::Thing(Box::new(FoundThing {
                fingerprint: seen.fingerprint(),
                fields: seen.fields,
                // What several may have is nobody else's.
                owned_by: owner.filter(|_| own.is_some() || !query.key.address.kind.is_shared()),
                marker: as_left.map(|(_, thing)| thing.marker.clone()),
            }))
        }
    };
    queries.iter().zip(look_all(eyes, &sought)).map(found).collect()
}

/// Shows that a file which starts the thing anew is not what it was started with.
fn outdate(fields: &mut Properties, key: &InstanceKey, drifted: &BTreeSet<InstanceKey>) {
    let Some(Value::Table(inputs)) = fields.get_mut(RESTART_ON) else { return };
    for file in drifted.iter().filter(|file| file.target == key.target) {
        if let Some(input) = inputs.get_mut(&format!("file.{}", file.address.name)) {
            *input = Value::text(MODIFIED);
        }
    }
}

/// Looks at things of several kinds, kind by kind, and answers in their order.
fn look_all(eyes: &Eyes<'_>, sought: &[Sought<'_>]) -> Vec<Look> {
    let kinds: BTreeSet<Kind> = sought.iter().map(|sought| kept_as(sought.key.address.kind)).collect();
    let mut answers: Vec<Option<Look>> = sought.iter().map(|_| None).collect();
    for kind in kinds {
        let (places, of_kind): (Vec<usize>, Vec<Sought<'_>>) = sought
            .iter()
            .enumerate()
            .filter(|(_, sought)| kept_as(sought.key.address.kind) == kind)
            .map(|(at, s)| (at, Sought { key: s.key, claim: s.claim, fields: s.fields.clone(), last: s.last }))
            .unzip();
        places.into_iter().zip(look(eyes, kind, &of_kind)).for_each(|(at, look)| answers[at] = Some(look));
    }
    answers.into_iter().map(|look| look.unwrap_or_else(|| Err(Fault::new("it was not looked at")))).collect()
}

/// The memory of what was there before it was ours.
const FOUND: &str = "found";

/// A change of a thing that may be carried out.
struct Work {
    key: InstanceKey,
    claim: String,
    from: Option<InstanceKey>,
    marker: Marker,
    /// What it is to be; `None` where it is to be deleted.
    wanted: Option<Wanted>,
    /// What is there.
    seen: Option<Seen>,
    /// What it was made, where it is ours.
    last: Option<Thing>,
}

impl Work {
    /// A field that it is to have.
    fn field(&self, field: &str) -> Option<&Value> {
        self.wanted.as_ref()?.fields.get(field)
    }

    /// A field that is there.
    fn there(&self, field: &str) -> Option<&Value> {
        self.seen.as_ref()?.fields.get(field)
    }

    /// Whether something that starts it anew is not what it was last started with.
    fn is_outdated(&self) -> bool {
        let last = self.last.as_ref();
        let none = Value::Table(Properties::new());
        let applied = last.and_then(|last| last.fields.get(RESTART_ON)).unwrap_or(&none);
        self.field(RESTART_ON).unwrap_or(&none) != applied || last.is_some_and(|last| last.interrupted || !last.stale.is_empty())
    }
}

/// What a kind says of a change that was carried out.
#[derive(Default)]
struct Ended {
    changed: bool,
    /// What is to be remembered besides.
    memory: BTreeMap<String, String>,
    warnings: Vec<String>,
}

fn change(site: &mut Site<'_>, kind: Kind, works: &[Work]) -> Vec<Result<Ended, Stop>> {
    match kind {
        Kind::Directory => works.iter().map(|work| directory::change(site, work)).collect(),
        Kind::Package => package::change(site, works),
        Kind::Unit | Kind::TunnelConnector | Kind::EdgeRuntime => unit::change(site, works),
        Kind::Container => container::change(site, works),
        Kind::Compose => compose::change(site, works),
        Kind::Pm2 => pm2::change(site, works),
        kind => works.iter().map(|_| Err(Fault::new(format!("a {kind} cannot live on a host")).into())).collect(),
    }
}

fn differing<'a>(seen: &'a Properties, wanted: &'a Properties) -> Option<&'a str> {
    let keys: BTreeSet<&String> = seen.keys().chain(wanted.keys()).collect();
    keys.into_iter().find(|key| seen.get(*key) != wanted.get(*key)).map(String::as_str)
}
