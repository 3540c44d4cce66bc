//! What instances are called at their targets, and under which name each is looked for.
//!
//! Goes in: desired state, inventory, unresolved attempts. Comes out: desired state with inherited claims, and for
//! each instance the claim to observe.
//!
//! **Invariant:** an instance that we own is looked for where we put it, whatever the definition calls it now; so what
//! we own is never out of sight.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::change::Action;
use super::inventory::{Inventory, Owned};
use super::recover::Attempt;
use crate::model::{Binding, Desired, DesiredState, InstanceKey, Kind, Renaming, Spec, TargetName, Value};

/// What is to be observed of one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sought<'a> {
    /// What it is called at the target.
    pub claim: String,
    /// What is desired of it, if it is defined.
    pub spec: Option<&'a Spec>,
    /// What the inventory says of it, if it is owned.
    pub owned: Option<&'a Owned>,
}

/// All that is to be observed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lookups<'a> {
    /// Every instance, where it is or may be. The answer is [`super::Input::observed`].
    pub instances: BTreeMap<InstanceKey, Sought<'a>>,
    /// The new name of each instance whose definition now calls it otherwise; mostly empty. The answer is
    /// [`super::Input::successors`]: nothing old is deleted before it is known that the new name is free.
    pub successors: BTreeMap<InstanceKey, Sought<'a>>,
}

/// Whether the target can give an instance of `kind` another name, keeping what it is.
pub(super) fn renames_in_place(kind: Kind) -> bool {
    kind.renaming() == Renaming::InPlace
}

/// What moves, new key to former key: the definition says `moved`, the former key is owned and no longer defined, the
/// new one is not owned yet, and the thing itself stays what it is called or can be renamed. Where it cannot, the old
/// one is pruned and the new one created, like any other two. Of several that claim one former key, the first has it.
pub(super) fn moves(desired: &DesiredState, inventory: &Inventory) -> BTreeMap<InstanceKey, InstanceKey> {
    let mut former = BTreeSet::new();
    let move_of = |(key, wanted): (&InstanceKey, &Desired)| {
        let from = wanted.moved_from.as_ref()?.on(key.target.clone());
        let owned = inventory.get(&from)?;
        let renamed = !wanted.claim_is_default && owned.claim != wanted.spec.claim() && !renames_in_place(key.address.kind);
        let moves = from.address.kind == key.address.kind
            && !inventory.contains_key(key)
            && !desired.resources.contains_key(&from)
            && !renamed;
        (moves && former.insert(from.clone())).then(|| (key.clone(), from))
    };
    desired.resources.iter().filter_map(move_of).collect()
}

/// Desired state in which what we own keeps the name that it has at the target, where the definition names none: the
/// remote name never follows a move. What names such a Worker follows its name. Idempotent.
///
/// To be called once at the start of a pass: what is looked for, planned and ordered must be the same.
pub fn inherit_claims<'a>(desired: &'a DesiredState, inventory: &Inventory) -> Cow<'a, DesiredState> {
    let moves = moves(desired, inventory);
    let mut inherited: BTreeMap<InstanceKey, (String, String)> = BTreeMap::new();
    for (key, wanted) in desired.resources.iter().filter(|(_, wanted)| wanted.claim_is_default) {
        let owned = inventory.get(moves.get(key).unwrap_or(key));
        if let Some(owned) = owned.filter(|owned| owned.claim != wanted.spec.claim()) {
            inherited.insert(key.clone(), (wanted.spec.claim().to_owned(), owned.claim.clone()));
        }
    }
    if inherited.is_empty() {
        return Cow::Borrowed(desired);
    }
    let mut settled = desired.clone();
    for (key, wanted) in &mut settled.resources {
        follow_workers(wanted, &key.target, &inherited);
        if let Some((_, claim)) = inherited.get(key) {
            wanted.spec.rename(claim);
        }
    }
    Cow::Owned(settled)
}

fn follow_workers(wanted: &mut Desired, target: &TargetName, inherited: &BTreeMap<InstanceKey, (String, String)>) {
    let Desired { spec, depends_on, .. } = wanted;
    let renamed: BTreeMap<&String, &String> = depends_on
        .iter()
        .filter(|key| key.target == *target && key.address.kind == Kind::Worker)
        .filter_map(|key| inherited.get(key))
        .map(|(default, claim)| (default, claim))
        .collect();
    match spec {
        Spec::Worker(worker) => {
            for binding in worker.bindings.values_mut() {
                if let Binding::Service { script, .. } = binding
                    && let Some(&claim) = renamed.get(script)
                {
                    script.clone_from(claim);
                }
            }
        }
        Spec::Platform(platform) => {
            if let Some(Value::Text(script)) = platform.sort.worker_field().and_then(|field| platform.fields.get_mut(field))
                && let Some(&claim) = renamed.get(script)
            {
                script.clone_from(claim);
            }
        }
        Spec::File(_) | Spec::Hosted(_) => {}
    }
}

/// What is to be observed, and under which name: every instance that is defined, owned, or the subject of an attempt
/// whose outcome was never seen. `desired` has been through [`inherit_claims`].
///
/// What is owned is looked for where it was put; what was attempted, where it was attempted; the rest, where the
/// definition puts it. Once attempts have been resolved, look again: what was an attempt may be looked for elsewhere.
pub fn lookups<'a>(desired: &'a DesiredState, inventory: &'a Inventory, attempts: &[Attempt]) -> Lookups<'a> {
    let mut sought: BTreeMap<InstanceKey, Sought<'a>> = BTreeMap::new();
    for (key, wanted) in &desired.resources {
        let claim = wanted.spec.claim().to_owned();
        sought.insert(key.clone(), Sought { claim, spec: Some(&wanted.spec), owned: None });
    }
    let attempted = |attempt: &Attempt| {
        let spec = desired.resources.get(&attempt.key).map(|wanted| &wanted.spec);
        (attempt.key.clone(), Sought { claim: attempt.claim.clone(), spec, owned: None })
    };
    sought.extend(attempts.iter().map(attempted));
    for (key, owned) in inventory {
        let spec = desired.resources.get(key).map(|wanted| &wanted.spec);
        sought.insert(key.clone(), Sought { claim: owned.claim.clone(), spec, owned: Some(owned) });
    }
    for (key, from) in moves(desired, inventory) {
        if let Some(owned) = inventory.get(&from) {
            // One thing under two keys until the move is recorded: both answers are about it.
            let spec = desired.resources.get(&key).map(|wanted| &wanted.spec);
            let both = Sought { claim: owned.claim.clone(), spec, owned: Some(owned) };
            sought.insert(from, both.clone());
            sought.insert(key, both);
        }
    }
    // What the inventory held when something was to be made was certainly gone.
    sought.extend(attempts.iter().filter(|attempt| attempt.action == Action::Create).map(attempted));
    let successors = desired.resources.iter().filter_map(|(key, wanted)| {
        let claim = wanted.spec.claim();
        let elsewhere = sought.get(key).is_some_and(|sought| sought.claim != claim);
        elsewhere.then(|| (key.clone(), Sought { claim: claim.to_owned(), spec: Some(&wanted.spec), owned: None }))
    });
    Lookups { successors: successors.collect(), instances: sought }
}
