//! Carry out orders: round by round, intents first, then what is there, then the record.
//!
//! Goes in: the orders of one request, in any number. Comes out: one result for each. What one order needs of another is
//! carried out in an earlier round; all of one sort that is ready makes a round, so that what is done once for many (to read
//! the units anew) is done once.

use super::accounts::Accounts;
use super::beneath::Root;
use super::claims::Claims;
use super::fault::Stop;
use super::manifest::{Manifest, claim_of};
use super::prepare::{FileChange, Prepared, Scene, Step};
use super::rounds::rounds;
use super::settle::{Cleaning, settle};
use super::state::{State, others};
use super::things::{self, Eyes};
use super::write;
use super::{Fault, FileOrder, Order, OrderResult, Ordered, Policy, ThingOrder};
use crate::boundary;
use crate::model::{EnvironmentId, Kind, RESTART_ON, Value};

/// A host while orders of one environment are carried out on it; the lock is held.
pub(super) struct Site<'a> {
    pub(super) policy: &'a Policy,
    pub(super) root: Root,
    pub(super) state: State,
    pub(super) manifest: Manifest,
    pub(super) others: Vec<(EnvironmentId, Manifest)>,
    claims: Claims,
}

/// What was done about a file or a thing.
pub(super) struct Done {
    /// Its fingerprint now; empty for a delete.
    pub(super) fingerprint: String,
    /// Whether anything was done at all.
    pub(super) changed: bool,
    /// What people should know.
    pub(super) warnings: Vec<String>,
}

/// One result for each order, in their order.
pub(super) fn apply(
    policy: &Policy,
    environment: &EnvironmentId,
    epoch: u64,
    orders: Vec<Order>,
) -> Result<Vec<OrderResult>, Fault> {
    let root = Root::open(policy.root.as_deref())?;
    let state = State::make(policy, &root, environment)?;
    let _lock = state.lock()?;
    let mut manifest = state.manifest()?;
    if epoch < manifest.epoch {
        let message = format!("epoch {epoch} is over: this host has seen {}", manifest.epoch);
        return Err(Fault::new(message).hint("another daemon took this environment over; stop this one"));
    }
    manifest.epoch = epoch;
    settle(&root, &mut manifest, Cleaning::Remove)?;
    things::settle(policy, &root, &mut manifest);

    let edges = orders.iter().any(|order| order.what.key().address.kind == Kind::EdgeRuntime);
    let claims = state.claims(environment)?;
    let named: Vec<String> = orders.iter().map(|order| claim(&order.what)).collect();
    let others = others(policy, &root, environment, named.iter().map(String::as_str))?;
    let mut site = Site { policy, root, state, manifest, others, claims };
    let before = site.manifest.claims();
    let mut results = site.carry_out(orders);

    boundary::reach("before_host_record");
    let saved = site.collect();
    boundary::reach("after_host_record");
    if let Err(fault) = saved {
        // What was done is done, and the intents say so; only the record is missing.
        let done = results.iter_mut().filter(|result| matches!(result, OrderResult::Done { .. }));
        done.for_each(|result| *result = OrderResult::Unknown(fault.clone()));
    } else {
        let held = site.manifest.claims();
        let given_up = before.iter().chain(&named).filter(|claim| !held.contains(*claim));
        site.claims.give_up(given_up.map(String::as_str));
        if edges {
            things::leave_programs(site.policy, &site.root);
        }
    }
    Ok(results)
}

fn claim(what: &Ordered) -> String {
    match what {
        Ordered::File(order) => order.path.clone(),
        Ordered::Thing(order) => claim_of(order.key.address.kind, &order.claim),
    }
}

impl Site<'_> {
    fn carry_out(&mut self, orders: Vec<Order>) -> Vec<OrderResult> {
        let rounds = rounds(&orders);
        let mut results: Vec<Option<OrderResult>> = orders.iter().map(|_| None).collect();
        let mut orders: Vec<Option<Order>> = orders.into_iter().map(Some).collect();
        for round in rounds {
            let mut files: (Vec<usize>, Vec<FileOrder>) = Default::default();
            let mut things: (Vec<usize>, Vec<ThingOrder>) = Default::default();
            for at in round {
                let Some(order) = orders[at].take() else { continue };
                let is_done = |position: &&usize| matches!(results.get(**position), Some(Some(OrderResult::Done { .. })));
                if let Some(cause) = order.after.iter().find(|position| !is_done(position)) {
                    results[at] = Some(OrderResult::NotBegun(*cause));
                    continue;
                }
                match order.what {
                    Ordered::File(order) => {
                        files.0.push(at);
                        files.1.push(order);
                    }
                    Ordered::Thing(order) => {
                        things.0.push(at);
                        things.1.push(order);
                    }
                }
            }
            let changes = files.1.into_iter().map(FileChange::from).collect();
            let ended = files.0.into_iter().zip(self.write_files(changes));
            let ended: Vec<_> = ended.chain(things.0.into_iter().zip(things::carry_out(self, things.1))).collect();
            ended.into_iter().for_each(|(at, done)| results[at] = Some(result(done)));
        }
        let lost = || OrderResult::Refused(Fault::new("the order waits for itself, by way of others"));
        results.into_iter().map(|result| result.unwrap_or_else(lost)).collect()
    }

    /// Changes files: all are checked and their intents durable before the first is touched.
    pub(super) fn write_files(&mut self, changes: Vec<FileChange>) -> Vec<Result<Done, Stop>> {
        if changes.is_empty() {
            return Vec::new();
        }
        let scene = Scene {
            policy: self.policy,
            root: &self.root,
            state: &self.state,
            // Read now: a package may have brought a user with it.
            accounts: Accounts::read(&self.root),
            manifest: &self.manifest,
            others: &self.others,
        };
        let prepared: Vec<Result<Prepared, Stop>> = changes.into_iter().map(|change| scene.prepare(change)).collect();
        for prepared in prepared.iter().flatten() {
            self.manifest.pending.insert(prepared.part.clone(), prepared.pending.clone());
            if let (Step::Write { .. }, true) = (&prepared.step, prepared.part.is_whole()) {
                self.outdate(&format!("file.{}", prepared.part.key.address.name), prepared);
            }
        }
        if let Err(fault) = self.intend() {
            return prepared.iter().map(|_| Err(Stop::Refused(fault.clone()))).collect();
        }
        let (mut places, mut fit, mut ended) = (Vec::new(), Vec::new(), Vec::new());
        for (at, prepared) in prepared.into_iter().enumerate() {
            match prepared {
                Ok(prepared) => {
                    places.push((at, !matches!(prepared.step, Step::Nothing)));
                    fit.push(prepared);
                }
                Err(stop) => ended.push((at, Err(stop))),
            }
        }
        let written = write::carry_out(&self.root, &mut self.manifest, fit);
        ended.extend(places.into_iter().zip(written).map(|((at, changed), written)| {
            (at, written.map(|fingerprint| Done { fingerprint, changed, warnings: Vec::new() }))
        }));
        ended.sort_by_key(|(at, _)| *at);
        ended.into_iter().map(|(_, done)| done).collect()
    }

    /// What things are looked at with.
    pub(super) fn eyes(&self) -> Eyes<'_> {
        Eyes { policy: self.policy, root: &self.root, accounts: Accounts::read(&self.root), manifest: &self.manifest }
    }

    /// What is started anew when this file changes has not been, until it is.
    fn outdate(&mut self, input: &str, prepared: &Prepared) {
        let target = &prepared.part.key.target;
        let uses = |fields: &crate::model::Properties| {
            fields.get(RESTART_ON).and_then(Value::as_table).is_some_and(|inputs| inputs.contains_key(input))
        };
        let users = self.manifest.things.iter_mut().filter(|(key, thing)| key.target == *target && uses(&thing.fields));
        users.for_each(|(_, thing)| _ = thing.stale.insert(input.to_owned()));
    }

    /// Makes the intents that are in the manifest durable, and what they are about ours.
    pub(super) fn intend(&self) -> Result<(), Fault> {
        let wanted = self.manifest.pending.values().filter_map(|pending| pending.wanted.as_ref()).map(|entry| entry.path.clone());
        let begun = self.manifest.begun.iter().filter(|(key, begun)| begun.wanted.is_some() && !key.address.kind.is_shared());
        let begun = begun.map(|(key, begun)| claim_of(key.address.kind, &begun.claim));
        let claims: Vec<String> = wanted.chain(begun).collect();
        self.claims.take(claims.iter().map(String::as_str))?;
        boundary::reach("before_host_intent");
        self.state.save(&self.manifest)?;
        boundary::reach("after_host_intent");
        Ok(())
    }

    fn collect(&mut self) -> Result<(), Fault> {
        let kept = self.manifest.prune_history();
        self.state.save(&self.manifest)?;
        self.state.collect(&kept)
    }
}

fn result(done: Result<Done, Stop>) -> OrderResult {
    match done {
        Ok(Done { fingerprint, warnings, changed: _ }) => OrderResult::Done { fingerprint, warnings },
        Err(Stop::Refused(fault)) => OrderResult::Refused(fault),
        Err(Stop::Conflict(message)) => OrderResult::Conflict(message),
        Err(Stop::Unknown(fault)) => OrderResult::Unknown(fault),
    }
}
