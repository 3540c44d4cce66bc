//! A small working world: things at targets, changed by plans and by other people. It does what providers promise, and
//! no more: an item that is neither in `after` nor named foreign is lost.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use trunkline::model::{
    Address, DesiredState, Digest, Evidence, InstanceKey, Kind, Marker, Observed, ObservedState, Present, Properties,
    ResourceName, SecretMark, TargetName, Value, traffic, with_traffic,
};
use trunkline::plan::{
    Attempt, Change, Input, Inventory, Lookups, Owned, Plan, Precondition, Records, Resolution, Sought, Steering, inherit_claims,
    lookups, plan, records, recover, resolve_pending,
};

use super::sketch::{COMMIT, revision};

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Thing {
    pub target: TargetName,
    pub kind: Kind,
    pub claim: String,
    pub properties: Properties,
    pub serial: u64,
    pub owner: Option<Address>,
    pub marker: Option<Marker>,
    /// A plan made or changed it: what the laws are checked by, and nobody sees.
    pub touched_by_us: bool,
    /// Of a Worker whose version has not all requests: what the version before was desired to be, and since when.
    pub split: Option<(Option<Digest>, DateTime<Utc>)>,
    /// What the version was desired to be, where we made it.
    pub desired: Option<Digest>,
}

/// What lives, by the id that the target gave it.
#[derive(Debug, Clone, Default)]
pub(super) struct World {
    pub things: BTreeMap<u64, Thing>,
    pub unreachable: BTreeSet<TargetName>,
    pub serial: u64,
    /// When things happen.
    pub now: DateTime<Utc>,
    /// Every deployment of a Worker: what it was desired to be, and its share.
    pub deployments: Vec<(Option<Digest>, u8)>,
}

/// One installation that looks after it.
#[derive(Debug, Clone, Default)]
pub(super) struct Keeper {
    pub inventory: Inventory,
    pub marks: BTreeMap<ResourceName, SecretMark>,
    pub acknowledged: BTreeSet<Address>,
    pub attempts: Vec<Attempt>,
    pub operations: u64,
    pub steering: Steering,
}

/// What was observed.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    pub observed: ObservedState,
    pub successors: ObservedState,
}

/// Where an apply stops.
#[derive(Debug, Clone, Copy)]
pub(super) struct Crash {
    /// At the change of this number.
    pub at: usize,
    pub moment: Moment,
}

/// What the change did not come to at which an apply stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    Effect,
    /// What was there already is changed; the owner's mark, which comes last, is not written.
    Owner,
    Record,
}

impl World {
    fn next(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    pub(super) fn find(&self, target: &TargetName, kind: Kind, claim: &str) -> Option<u64> {
        self.things.iter().find(|(_, t)| t.target == *target && t.kind == kind && t.claim == claim).map(|(id, _)| *id)
    }

    pub(super) fn make(&mut self, target: &TargetName, kind: Kind, claim: &str, properties: Properties) -> u64 {
        let id = self.next();
        let thing = Thing {
            target: target.clone(),
            kind,
            claim: claim.to_owned(),
            properties,
            serial: id,
            owner: None,
            marker: None,
            touched_by_us: false,
            split: None,
            desired: None,
        };
        self.things.insert(id, thing);
        id
    }

    /// Somebody else changes a thing: the mark of the operation goes, that of the owner stays, as with wrangler.
    pub(super) fn touch(&mut self, id: u64, change: impl FnOnce(&mut Properties)) {
        let serial = self.next();
        if let Some(thing) = self.things.get_mut(&id) {
            change(&mut thing.properties);
            thing.serial = serial;
            thing.marker = None;
            thing.split = None;
            thing.desired = None;
            thing.properties = with_traffic(std::mem::take(&mut thing.properties), 100);
        }
    }

    fn present(&self, id: u64) -> Present {
        let thing = &self.things[&id];
        let mut attributes = BTreeMap::from([("id".to_owned(), format!("id-{id}"))]);
        if thing.kind == Kind::Worker {
            attributes.insert("version_id".to_owned(), format!("version-{id}"));
        }
        if let Some((former, since)) = &thing.split {
            attributes.extend(former.map(|former| ("former_desired".to_owned(), former.to_string())));
            attributes.insert("stepped_at".to_owned(), since.to_rfc3339());
        }
        Present {
            properties: thing.properties.clone(),
            attributes,
            fingerprint: thing.serial.to_string(),
            owner: thing.owner.clone(),
            marker: thing.marker.clone(),
            evidence: Evidence::DeepRead(DateTime::UNIX_EPOCH),
        }
    }

    pub(super) fn observe(&self, sought: BTreeMap<InstanceKey, Sought<'_>>) -> ObservedState {
        sought
            .into_iter()
            .map(|(key, sought)| {
                if self.unreachable.contains(&key.target) {
                    return (key, Observed::Unknown("connection refused".into()));
                }
                let by_id = sought
                    .owned
                    .filter(|_| key.address.kind == Kind::Kv)
                    .and_then(|o| o.attributes.get("id")?.strip_prefix("id-")?.parse::<u64>().ok());
                let id = match by_id {
                    Some(id) => self.things.contains_key(&id).then_some(id),
                    None => self.find(&key.target, key.address.kind, &sought.claim),
                };
                (key, id.map_or(Observed::Absent, |id| Observed::Present(Box::new(self.present(id)))))
            })
            .collect()
    }

    /// Carries one change out, or where it is `cut`, all but the owner's mark of what was there; says what conflicts.
    pub(super) fn carry_out(
        &mut self,
        change: &Change,
        after: Option<&Properties>,
        marker: Marker,
        cut: bool,
    ) -> Result<Option<Present>, String> {
        let (target, kind) = (&change.key.target, change.key.address.kind);
        let found = match &change.precondition {
            Precondition::Absent => {
                if let Some(id) = self.find(target, kind, &change.claim) {
                    return Err(format!("{} is there: {:?}", change.claim, self.things[&id]));
                }
                None
            }
            Precondition::Fingerprint(fingerprint) => {
                let serial: u64 = fingerprint.parse().unwrap();
                let id = self.things.iter().find(|(_, t)| t.serial == serial).map(|(id, _)| *id);
                Some(id.ok_or_else(|| format!("{} is not as it was", change.claim))?)
            }
        };
        let Some(after) = after else {
            self.things.remove(&found.unwrap());
            return Ok(None);
        };
        let id = found.unwrap_or_else(|| self.make(target, kind, &change.claim, Properties::new()));
        let serial = self.next();
        let now = self.now;
        let thing = self.things.get_mut(&id).unwrap();
        if kind == Kind::Worker {
            let (live, share) = (traffic(&thing.properties), traffic(after));
            let is_new = found.is_none() || change.before.as_ref().is_some_and(|before| differs(before, after));
            // The version that has most of the requests is the one before; one that is new takes the place of the other.
            let principal = if live > 50 { thing.desired } else { thing.split.as_ref().and_then(|(former, _)| *former) };
            let former = if is_new { principal } else { thing.split.as_ref().and_then(|(former, _)| *former) };
            if is_new {
                thing.desired = Some(marker.desired);
            }
            if is_new || live != share {
                self.deployments.push((thing.desired, share));
                thing.split = (share < 100).then_some((former, now));
            }
        }
        let mut properties = with_traffic(after.clone(), traffic(after));
        for (table, items) in &change.foreign {
            let Some(Value::Table(there)) = thing.properties.get(table) else { continue };
            let mut kept: Properties =
                there.iter().filter(|(i, _)| items.contains(*i)).map(|(i, v)| (i.clone(), v.clone())).collect();
            if let Some(Value::Table(ours)) = properties.get(table) {
                kept.extend(ours.clone());
            }
            properties.insert(table.clone(), Value::Table(kept));
        }
        // What the server adds by itself.
        if kind == Kind::Worker {
            properties.insert("usage_model".into(), Value::text("standard"));
        }
        thing.properties = properties;
        thing.claim = change.claim.clone();
        thing.serial = serial;
        thing.touched_by_us = true;
        if kind != Kind::Kv {
            // A Worker that is made carries its owner from its upload on, and a file is recorded with its owner.
            if !cut || kind == Kind::File || found.is_none() {
                thing.owner = Some(change.key.address.clone());
            }
            // A version is uploaded only where something versioned differs.
            if kind == Kind::File || change.before != change.after {
                thing.marker = Some(marker);
            }
        }
        Ok(Some(self.present(id)))
    }
}

/// Whether what a version is like differs.
fn differs(before: &Properties, after: &Properties) -> bool {
    with_traffic(before.clone(), 100) != with_traffic(after.clone(), 100)
}

impl Keeper {
    pub(super) fn input<'a>(&'a self, desired: &'a DesiredState, seen: &'a Seen) -> Input<'a> {
        Input {
            desired,
            marks: &self.marks,
            observed: &seen.observed,
            successors: &seen.successors,
            inventory: &self.inventory,
            acknowledged: &self.acknowledged,
            commit: COMMIT,
            steering: &self.steering,
        }
    }

    /// Settles what an earlier apply left open, as far as that can be told.
    pub(super) fn settle(&mut self, world: &World, desired: &DesiredState) {
        let attempts = std::mem::take(&mut self.attempts);
        let seen = world.observed_by(self, desired, &attempts);
        let found = recover(&attempts, &seen.observed, &self.inventory);
        for attempt in attempts {
            match found[&attempt.operation].clone() {
                None => self.attempts.push(attempt),
                Some(Resolution::NotSeen) => {}
                Some(Resolution::Gone) => {
                    self.inventory.remove(&attempt.key);
                }
                Some(Resolution::Happened(owned)) => {
                    if let Some(from) = &attempt.from {
                        self.inventory.remove(&from.on(attempt.key.target.clone()));
                    }
                    self.inventory.insert(attempt.key, *owned);
                }
            }
        }
    }

    /// One pass: look, plan, apply. Gives what was observed and the plan.
    pub(super) fn pass(&mut self, world: &mut World, desired: &DesiredState, crash: Option<Crash>) -> (Seen, Plan) {
        self.settle(world, desired);
        let (observed, planned) = self.look(world, desired);
        self.learn(desired, &observed);
        self.apply(world, &planned, crash);
        (observed, planned)
    }

    pub(super) fn look(&self, world: &World, desired: &DesiredState) -> (Seen, Plan) {
        let observed = world.observed_by(self, desired, &self.attempts);
        let planned = plan(&self.input(desired, &observed));
        (observed, planned)
    }

    pub(super) fn learn(&mut self, desired: &DesiredState, observed: &Seen) {
        let Records { recorded, forgotten } = records(&self.input(desired, observed), &revision());
        for key in forgotten {
            self.inventory.remove(&key);
        }
        self.inventory.extend(recorded);
    }

    pub(super) fn apply(&mut self, world: &mut World, planned: &Plan, crash: Option<Crash>) {
        for (number, change) in planned.changes.iter().enumerate() {
            let crashes = crash.filter(|crash| crash.at == number);
            self.operations += 1;
            let operation = format!("op-{}", self.operations);
            let known = |key: &InstanceKey| self.inventory.get(key).map(|owned| owned.attributes.clone());
            let after = change.after.as_ref().map(|after| resolve_pending(after, &known, &change.key.target).expect("order"));
            let attempt = Attempt {
                operation: operation.clone(),
                key: change.key.clone(),
                action: change.action,
                from: change.from.clone(),
                claim: change.claim.clone(),
                after: after.clone(),
                desired: change.desired,
                revision: revision(),
                lost: false,
                depends_on: change.depends_on.clone(),
            };
            if let Some(Crash { moment: Moment::Effect, .. }) = crashes {
                self.attempts.push(attempt);
                return;
            }
            let marker = Marker { key: change.key.clone(), revision: revision(), desired: change.desired, operation };
            let cut = crashes.is_some_and(|crash| crash.moment == Moment::Owner);
            let present = world
                .carry_out(change, after.as_ref(), marker, cut)
                .unwrap_or_else(|conflict| panic!("{conflict}: {planned:#?}"));
            if crashes.is_some() {
                self.attempts.push(attempt);
                return;
            }
            if let Some(from) = &change.from {
                self.inventory.remove(&from.on(change.key.target.clone()));
            }
            let Some(present) = present else {
                self.inventory.remove(&change.key);
                continue;
            };
            let owned = Owned {
                claim: change.claim.clone(),
                properties: with_traffic(after.clone().unwrap(), after.as_ref().map_or(100, traffic)),
                attributes: present.attributes,
                fingerprint: present.fingerprint,
                desired: change.desired,
                revision: revision(),
                operation: attempt.operation,
                depends_on: change.depends_on.clone(),
            };
            self.inventory.insert(change.key.clone(), owned);
        }
    }
}

impl World {
    /// What is there, and what is there under new names.
    pub(super) fn observed_by(&self, keeper: &Keeper, desired: &DesiredState, attempts: &[Attempt]) -> Seen {
        let desired = inherit_claims(desired, &keeper.inventory);
        let Lookups { instances, successors } = lookups(&desired, &keeper.inventory, attempts);
        Seen { observed: self.observe(instances), successors: self.observe(successors) }
    }
}
