//! What became of operations whose outcome was never seen.
//!
//! Goes in: attempts of the journal, whose time to settle is over, and what is observed since. Comes out: for each,
//! whether it happened, as far as that can be told.
//!
//! **Invariant:** nothing is guessed from a likeness where the target carries marks: only the mark of the operation
//! itself says that it happened. What cannot be observed stays unresolved.

use std::collections::{BTreeMap, BTreeSet};

use super::change::Action;
use super::compare::{differences, ours};
use super::inventory::{Inventory, Owned};
use crate::model::{
    Address, Digest, Identity, InstanceKey, Observed, ObservedState, Present, Properties, Revision, Value, traffic, with_traffic,
};

/// An operation of the journal whose outcome was never seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The operation.
    pub operation: String,
    /// The instance; for a move, under its new address.
    pub key: InstanceKey,
    /// What was to be done.
    pub action: Action,
    /// For a move: the former address.
    pub from: Option<Address>,
    /// What it is called at the target.
    pub claim: String,
    /// What was to be there, with every value known; `None` for a delete.
    pub after: Option<Properties>,
    /// Digest of the desired properties.
    pub desired: Digest,
    /// The revision that was being applied.
    pub revision: Revision,
    /// No effect of it was seen when it had settled, and it is only looked for again.
    pub lost: bool,
    /// What must stay there for as long as the instance does.
    pub depends_on: BTreeSet<InstanceKey>,
}

/// What became of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution {
    /// It happened, at least in part: this is to be recorded. What is still missing is the next plan's work. For a
    /// move, the former key leaves the inventory.
    Happened(Box<Owned>),
    /// The delete happened: the instance leaves the inventory.
    Gone,
    /// There is no trace of it; it may be planned again.
    NotSeen,
}

/// What became of `attempts`, by operation; `None` where it cannot be told. `observed` was looked for as
/// [`super::lookups`] says, with these attempts, after their time to settle.
pub fn recover(attempts: &[Attempt], observed: &ObservedState, inventory: &Inventory) -> BTreeMap<String, Option<Resolution>> {
    let one = |attempt: &Attempt| (attempt.operation.clone(), resolution(attempt, observed, inventory));
    attempts.iter().map(one).collect()
}

fn resolution(attempt: &Attempt, observed: &ObservedState, inventory: &Inventory) -> Option<Resolution> {
    let present = match observed.get(&attempt.key)? {
        Observed::Unknown(_) => return None,
        Observed::Absent if attempt.action == Action::Delete => return Some(Resolution::Gone),
        Observed::Absent => return Some(Resolution::NotSeen),
        Observed::Present(present) => present,
    };
    let Some(after) = &attempt.after else { return Some(Resolution::NotSeen) };
    let last = recorded(attempt, inventory);
    let kind = attempt.key.address.kind;
    let empty = Properties::new();
    let there = ours(kind, &present.properties, after, last.map_or(&empty, |owned| &owned.properties));
    let share = traffic(&present.properties);
    let settled = with_traffic(after.clone(), traffic(after));
    let complete = differences(&with_traffic(there.properties, share), &settled).is_empty();
    if !happened(attempt, present, last, complete) {
        return Some(Resolution::NotSeen);
    }
    let properties = match last {
        // Done in part: what was to be removed may still be there, and stays known as ours until it is gone.
        Some(owned) if !complete => with_traffic(merged(&owned.properties, after), share),
        _ => settled,
    };
    Some(Resolution::Happened(Box::new(Owned {
        claim: attempt.claim.clone(),
        properties,
        attributes: present.attributes.clone(),
        // Done in part: what the target shows now must not stand for `properties`, so that it is read in full.
        fingerprint: if complete { present.fingerprint.clone() } else { String::new() },
        desired: attempt.desired,
        revision: attempt.revision.clone(),
        operation: attempt.operation.clone(),
        depends_on: attempt.depends_on.clone(),
    })))
}

/// What the inventory says of the thing; for a move, under its former key.
fn recorded<'a>(attempt: &Attempt, inventory: &'a Inventory) -> Option<&'a Owned> {
    let former = || inventory.get(&attempt.from.as_ref()?.on(attempt.key.target.clone()));
    inventory.get(&attempt.key).or_else(former)
}

fn happened(attempt: &Attempt, present: &Present, last: Option<&Owned>, complete: bool) -> bool {
    if present.marker.as_ref().is_some_and(|marker| marker.operation == attempt.operation) {
        // An adoption or a move that did not come to the owner's mark is to be carried out as one again: nothing else
        // writes that mark.
        let marked = present.owner.as_ref() == Some(&attempt.key.address);
        return !matches!(attempt.action, Action::Adopt | Action::Move) || marked;
    }
    match attempt.key.address.kind.identity() {
        // It carries no mark. Its name is unique in the account, and nothing had it when the intent to make it was
        // written: one that is there now was made by us, in part where making it takes several calls. One that comes into
        // sight later was made by a first call at most, and may be somebody else's: then it must be all that was asked for.
        Identity::Id => match attempt.action {
            Action::Create if last.is_none() && !attempt.lost => true,
            Action::Create | Action::Adopt | Action::Update | Action::Move => {
                complete && last.is_none_or(|owned| owned.fingerprint != present.fingerprint)
            }
            Action::Delete => false,
        },
        // The owner's mark is written at creation and outlives what others upload since. Nothing was there when the
        // intent to make it was written: one that carries our mark now was made by us.
        Identity::Mark => attempt.action == Action::Create && present.owner.as_ref() == Some(&attempt.key.address),
    }
}

/// `last` with `after` laid over it, table by table.
fn merged(last: &Properties, after: &Properties) -> Properties {
    let mut result = last.clone();
    for (name, value) in after {
        let value = match (result.get(name), value) {
            (Some(Value::Table(last)), Value::Table(after)) => Value::Table(merged(last, after)),
            _ => value.clone(),
        };
        result.insert(name.clone(), value);
    }
    result
}
