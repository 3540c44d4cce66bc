//! The planner: from where each instance stands to the ordered changes.
//!
//! Goes in: [`Input`]. Comes out: a [`Plan`], and the [`Records`](super::Records) that need no change.
//!
//! **Invariant:** every choice is made here, so that none is left to the executor; nothing foreign is removed.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::batches::batches;
use super::change::{Action, Blocked, Cause, Change, Orphan, Plan, Precondition, Why};
use super::claims::inherit_claims;
use super::compare::{Ours, differences, ours};
use super::ignored::leave;
use super::inventory::{Inventory, Owned};
use super::order::order;
use super::pending::resolve;
use super::reversal::{Evidence, Reversal, reversal};
use super::rollout::{Course, Rolling, Steering, Warning, course};
use super::survey::{Standing, Survey, Wanted, survey};
use super::why;
use crate::model::{
    Address, DesiredState, Identity, InstanceKey, ObservedState, Pending, Present, Properties, ResourceName, SecretMark, TRAFFIC,
    TargetName, Value, canonical_digest,
};

/// All that a plan follows from.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// What the definitions say.
    pub desired: &'a DesiredState,
    /// What stands for the secrets; one without a mark cannot be compared.
    pub marks: &'a BTreeMap<ResourceName, SecretMark>,
    /// What is there, looked for as [`super::lookups`] says.
    pub observed: &'a ObservedState,
    /// What is there under the new names of what is renamed, looked for as [`super::lookups`] says.
    pub successors: &'a ObservedState,
    /// What we own.
    pub inventory: &'a Inventory,
    /// The resources whose deletion was acknowledged by a trailer.
    pub acknowledged: &'a BTreeSet<Address>,
    /// The commit of the definitions, or `worktree`: for people.
    pub commit: &'a str,
    /// The time, and what people said of gradual versions.
    pub steering: &'a Steering,
}

/// Desired minus observed.
pub fn plan(input: &Input<'_>) -> Plan {
    with_scene(input, planned)
}

fn planned(scene: &Scene<'_>) -> Plan {
    let Scene { input, survey } = scene;
    let desired = input.desired;
    let mut changes: Vec<Change> = Vec::new();
    let (mut rolling, mut warnings): (Vec<Rolling>, Vec<Warning>) = (Vec::new(), Vec::new());
    for (key, wanted) in &survey.wanted {
        let course = course(scene, key, wanted);
        let made = scene.changes(key, wanted, &course);
        if !made.is_empty() {
            warnings.extend(course.warning.map(|message| Warning { key: key.clone(), message: message.to_owned() }));
        }
        rolling.extend(course.rolling);
        changes.extend(made);
    }
    let cause = if desired.retire { Cause::Retired } else { Cause::NoLongerDefined };
    for (key, (owned, present)) in &survey.doomed {
        changes.push(delete(key, owned, present, vec![Why { field: String::new(), cause: cause.clone() }]));
    }
    let takes_from = |key: &InstanceKey| survey.wanted.get(key).and_then(|wanted| wanted.takes_from.clone());
    let changes = order(changes, input.inventory, &survey.moving, &takes_from);
    let orphan = |(key, reason): (&InstanceKey, &String)| {
        let claim = input.inventory.get(key).map(|owned| owned.claim.clone()).unwrap_or_default();
        Orphan { key: key.clone(), claim, reason: reason.clone() }
    };
    let batches = batches(desired, input.inventory, &changes);
    Plan {
        environment: desired.environment.clone(),
        changes,
        orphaned: survey.kept.iter().map(orphan).collect(),
        blocked: survey.blocked.iter().map(|(key, reason)| Blocked { key: key.clone(), reason: reason.clone() }).collect(),
        rolling,
        batches,
        warnings,
    }
}

/// What everything is compared in view of.
pub(super) struct Scene<'a> {
    pub input: &'a Input<'a>,
    pub survey: &'a Survey<'a>,
}

/// One wanted instance, compared.
pub(super) struct Compared {
    /// Desired, values not known yet left symbolic.
    pub symbolic: Properties,
    /// Desired, as far as it is known.
    pub after: Properties,
    /// What is there, divided.
    pub there: Ours,
}

impl<'a> Scene<'a> {
    pub(super) fn compare(&self, key: &InstanceKey, wanted: &Wanted<'_>, present: &Present) -> Compared {
        let (symbolic, mut after) = self.properties(key, wanted);
        let mut last = wanted.owned.map(|owned| owned.properties.clone()).unwrap_or_default();
        leave(key.address.kind, &wanted.desired.ignore, &present.properties, (&mut after, &mut last));
        let mut there = ours(key.address.kind, &present.properties, &after, &last);
        // The share of the requests is no matter of what a version is like.
        there.properties.remove(TRAFFIC);
        Compared { symbolic, after, there }
    }

    fn properties(&self, key: &InstanceKey, wanted: &Wanted<'_>) -> (Properties, Properties) {
        let symbolic = wanted.desired.spec.properties(self.input.marks);
        let after = resolve(&symbolic, &|pending| self.attribute(pending, &key.target));
        (symbolic, after)
    }

    /// What the target calls an instance, where that is known and stays so.
    fn attribute(&self, pending: &Pending, target: &TargetName) -> Option<String> {
        let key = pending.instance(target);
        let wanted = self.survey.wanted.get(&key)?;
        // What it is called is for the definition to say, and it is renamed before anything that needs its name.
        if pending.attribute == "name" {
            return Some(wanted.desired.spec.claim().to_owned());
        }
        let (Standing::Ours(present) | Standing::Adoptable(present)) = wanted.standing else { return None };
        let remade = key.address.kind.remade_by();
        if !remade.is_empty() {
            let Compared { after, there, .. } = self.compare(&key, wanted, present);
            let differs = |difference: &super::Difference| remade.contains(&difference.path[0].as_str());
            if differences(&there.properties, &after).iter().any(differs) {
                return None;
            }
        }
        let recorded = || wanted.owned.and_then(|owned| owned.attributes.get(&pending.attribute));
        present.attributes.get(&pending.attribute).or_else(recorded).cloned()
    }

    fn changes(&self, key: &InstanceKey, wanted: &Wanted<'_>, course: &Course) -> Vec<Change> {
        let make = |whole: Vec<Why>| {
            let (symbolic, after) = self.properties(key, wanted);
            Change {
                key: key.clone(),
                action: Action::Create,
                claim: wanted.desired.spec.claim().to_owned(),
                from: None,
                before: None,
                after: Some(after),
                foreign: BTreeMap::new(),
                precondition: Precondition::Absent,
                after_changes: BTreeSet::new(),
                depends_on: wanted.desired.depends_on.clone(),
                desired: canonical_digest(&symbolic),
                reversal: Reversal::default(),
                why: whole,
            }
        };
        match wanted.standing {
            Standing::Absent => vec![make(why::of_creation(self, key, wanted))],
            Standing::Replaced(present) => {
                let explained = vec![why::of_claim(self.input.commit, key.address.kind, &wanted.desired.origin)];
                let old = wanted.owned.map(|owned| delete(key, owned, present, explained.clone()));
                old.into_iter().chain([make(explained)]).collect()
            }
            Standing::Adoptable(present) => {
                let change = self.change(Action::Adopt, (key, wanted), present, course);
                // Where there is no mark to write and nothing differs, nothing is to be done: it is recorded as ours.
                let nothing_to_do = key.address.kind.identity() == Identity::Id && fields(&change).is_empty();
                if nothing_to_do { Vec::new() } else { vec![change] }
            }
            Standing::Ours(present) => {
                let action = if wanted.from.is_some() { Action::Move } else { Action::Update };
                let change = self.change(action, (key, wanted), present, course);
                let nothing_to_do = action == Action::Update && fields(&change).is_empty();
                if nothing_to_do { Vec::new() } else { vec![change] }
            }
        }
    }

    fn change(&self, action: Action, (key, wanted): (&InstanceKey, &Wanted<'_>), present: &Present, course: &Course) -> Change {
        let Compared { symbolic, mut after, mut there } = self.compare(key, wanted, present);
        if let Some((from, to)) = course.shares {
            there.properties.insert(TRAFFIC.to_owned(), Value::Integer(from.into()));
            after.insert(TRAFFIC.to_owned(), Value::Integer(to.into()));
        }
        let why = why::of_difference(self, key, wanted, action, &differences(&there.properties, &after));
        let kind = key.address.kind;
        let (before, spec) = (&there.properties, Some(&wanted.desired.spec));
        let reversal = reversal(&Evidence { kind, action, before, after: &after, spec, why: &why });
        Change {
            key: key.clone(),
            action,
            claim: wanted.desired.spec.claim().to_owned(),
            from: wanted.from.clone().filter(|_| action == Action::Move),
            reversal,
            why,
            before: Some(there.properties),
            after: Some(after),
            foreign: there.foreign,
            precondition: Precondition::Fingerprint(present.fingerprint.clone()),
            after_changes: BTreeSet::new(),
            depends_on: wanted.desired.depends_on.clone(),
            desired: canonical_digest(&symbolic),
        }
    }
}

/// The fields that a change changes; for a create or a delete, all of them.
pub fn fields(change: &Change) -> Vec<super::Difference> {
    let side = |properties: &Option<Properties>| properties.clone().unwrap_or_default();
    differences(&side(&change.before), &side(&change.after))
}

fn delete(key: &InstanceKey, owned: &Owned, present: &Present, why: Vec<Why>) -> Change {
    let kind = key.address.kind;
    let there = ours(kind, &present.properties, &Properties::new(), &owned.properties);
    let none = Properties::new();
    let (action, before) = (Action::Delete, &there.properties);
    let reversal = reversal(&Evidence { kind, action, before, after: &none, spec: None, why: &why });
    Change {
        key: key.clone(),
        action: Action::Delete,
        claim: owned.claim.clone(),
        from: None,
        desired: canonical_digest(&there.properties),
        before: Some(there.properties),
        after: None,
        foreign: there.foreign,
        precondition: Precondition::Fingerprint(present.fingerprint.clone()),
        after_changes: BTreeSet::new(),
        depends_on: BTreeSet::new(),
        reversal,
        why,
    }
}

/// Hands `input`, its claims inherited, and what follows from it to `look`.
pub(super) fn with_scene<T>(input: &Input<'_>, look: impl FnOnce(&Scene<'_>) -> T) -> T {
    let desired: Cow<'_, DesiredState> = inherit_claims(input.desired, input.inventory);
    let input = Input { desired: &desired, ..*input };
    let survey = survey(&input);
    look(&Scene { input: &input, survey: &survey })
}
