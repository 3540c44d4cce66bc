//! Where each instance stands, before anything is compared: whose it is, and what stands in the way.
//!
//! Goes in: the planner's input. Comes out: what is wanted and can be planned for, what goes, what is kept, what is
//! blocked.
//!
//! **Invariant:** every instance that is defined or owned ends in exactly one of the parts of a [`Survey`], or is the
//! former key of one that moves; nothing whose state is unknown is among what is wanted or what goes.

use std::collections::{BTreeMap, BTreeSet};

use super::change::BlockReason;
use super::claims::{moves, renames_in_place};
use super::inventory::{Inventory, Owned};
use super::planner::Input;
use super::reversal::holds_data;
use crate::model::{
    Address, Desired, Identity, InstanceKey, Kind, Observed, ObservedState, Present, Properties, Renaming, TargetName,
};

/// A defined instance that can be planned for.
pub(super) struct Wanted<'a> {
    pub desired: &'a Desired,
    pub standing: Standing<'a>,
    /// What the inventory says of it, under its former key where it moves.
    pub owned: Option<&'a Owned>,
    /// Its former address, where it moves.
    pub from: Option<Address>,
    /// The instance that has the name which this one takes, and gives it up in the same plan.
    pub takes_from: Option<InstanceKey>,
}

/// What there is of a defined instance.
#[derive(Clone, Copy)]
pub(super) enum Standing<'a> {
    /// Nothing.
    Absent,
    /// A thing of ours.
    Ours(&'a Present),
    /// A thing of ours under another name, that the target cannot rename.
    Replaced(&'a Present),
    /// Nobody's thing, that the definition says to take over.
    Adoptable(&'a Present),
}

/// All of it.
#[derive(Default)]
pub(super) struct Survey<'a> {
    /// Defined, and known.
    pub wanted: BTreeMap<InstanceKey, Wanted<'a>>,
    /// Owned, there, no longer defined, and to be deleted.
    pub doomed: BTreeMap<InstanceKey, (&'a Owned, &'a Present)>,
    /// Owned, no longer defined, and kept: why.
    pub kept: BTreeMap<InstanceKey, String>,
    /// Owned, no longer defined, and not there any more.
    pub gone: BTreeSet<InstanceKey>,
    /// What cannot be planned for.
    pub blocked: BTreeMap<InstanceKey, BlockReason>,
    /// Former key to new key of what moves.
    pub moving: BTreeMap<InstanceKey, InstanceKey>,
}

/// Looks at every instance of `input`, whose desired state has inherited its claims.
pub(super) fn survey<'a>(input: &Input<'a>) -> Survey<'a> {
    let desired = input.desired;
    let mut survey = Survey::default();
    if !desired.retire {
        let names = Names { holders: holders(input.inventory), moves: moves(desired, input.inventory) };
        survey.moving = names.moves.iter().map(|(new, former)| (former.clone(), new.clone())).collect();
        for (key, wanted) in &desired.resources {
            stand(&mut survey, input, &names, key, wanted);
        }
    }
    for (key, owned) in input.inventory {
        let defined = !desired.retire && desired.resources.contains_key(key);
        if !defined && !survey.moving.contains_key(key) {
            leave(&mut survey, input, key, owned);
        }
    }
    settle(&mut survey, input.inventory);
    survey
}

/// What names tell of instances.
struct Names<'a> {
    holders: Holders<'a>,
    /// New key to former key.
    moves: BTreeMap<InstanceKey, InstanceKey>,
}

/// Who has each name, by target and kind, as far as we own it.
type Holders<'a> = BTreeMap<(&'a TargetName, Kind, &'a str), &'a InstanceKey>;

fn holders(inventory: &Inventory) -> Holders<'_> {
    inventory.iter().map(|(key, owned)| ((&key.target, key.address.kind, owned.claim.as_str()), key)).collect()
}

fn known<'a>(observed: &'a ObservedState, key: &InstanceKey) -> Result<Option<&'a Present>, BlockReason> {
    match observed.get(key) {
        Some(Observed::Present(present)) => Ok(Some(present)),
        Some(Observed::Absent) => Ok(None),
        Some(Observed::Unknown(reason)) => Err(BlockReason::Unknown(reason.clone())),
        None => Err(BlockReason::Unknown("it was not observed".to_owned())),
    }
}

/// Whose a thing is.
enum Holder<'a> {
    Us,
    Nobody,
    Other(&'a Address),
}

/// Whose `present` is, looked at as the instance `key`, formerly at the address `from`. The marker of the last
/// operation says more than the owner's mark, which is written once; a fingerprint that we recorded says more than both.
fn holder<'a>(present: &'a Present, key: &InstanceKey, from: Option<&Address>, owned: Option<&Owned>) -> Holder<'a> {
    if owned.is_some_and(|owned| owned.fingerprint == present.fingerprint) {
        return Holder::Us;
    }
    match present.marker.as_ref().map(|marker| &marker.key.address).or(present.owner.as_ref()) {
        Some(address) if *address == key.address || Some(address) == from => Holder::Us,
        Some(address) => Holder::Other(address),
        None => Holder::Nobody,
    }
}

/// Whether an instance that we own has its name, or is to have it again: one that somebody deleted has left it, unless
/// its definition goes on asking for it.
fn holds(survey: &Survey<'_>, input: &Input<'_>, holder: &InstanceKey, claim: &str) -> bool {
    let gone = matches!(input.observed.get(holder), Some(Observed::Absent));
    !gone
        || input
            .desired
            .resources
            .get(survey.moving.get(holder).unwrap_or(holder))
            .is_some_and(|desired| desired.spec.claim() == claim)
}

/// What there is of a defined instance.
struct Place<'a> {
    present: Option<&'a Present>,
    /// What the inventory says of what is there.
    owned: Option<&'a Owned>,
    /// What is there is called otherwise, and something else has the name that it is to have.
    taken: bool,
}

fn place<'a>(input: &Input<'a>, key: &InstanceKey, former: &InstanceKey, claim: &str) -> Result<Place<'a>, BlockReason> {
    let owned = input.inventory.get(former);
    let renamed = owned.is_some_and(|owned| owned.claim != claim);
    let successor = || known(input.successors, key);
    if owned.is_none() && input.successors.contains_key(key) {
        return Ok(Place { present: successor()?, owned, taken: false });
    }
    let present = known(input.observed, former)?;
    match present {
        Some(present) if renamed => {
            // A thing that somebody renamed already is seen under both names.
            let taken = successor()?.is_some_and(|other| other.fingerprint != present.fingerprint);
            Ok(Place { present: Some(present), owned, taken })
        }
        None if renamed => match successor()? {
            None => Ok(Place { present: None, owned, taken: false }),
            // The old one is gone; what has the new name is judged as if it had never been.
            present => Ok(Place { present, owned: None, taken: false }),
        },
        present => Ok(Place { present, owned, taken: false }),
    }
}

fn stand<'a>(survey: &mut Survey<'a>, input: &Input<'a>, names: &Names<'_>, key: &InstanceKey, desired: &'a Desired) {
    let from = names.moves.get(key);
    let former = from.unwrap_or(key);
    let kind = key.address.kind;
    let claim = desired.spec.claim();
    let Place { present, owned, taken } = match place(input, key, former, claim) {
        Ok(place) => place,
        Err(reason) => {
            survey.blocked.insert(key.clone(), reason);
            return;
        }
    };
    let takes_from = names
        .holders
        .get(&(&key.target, kind, claim))
        .copied()
        .filter(|holder| *holder != former && holds(survey, input, holder, claim))
        .cloned();
    if taken && takes_from.is_none() {
        let message = format!("it is to be called `{claim}`, and something of that name is there already");
        survey.blocked.insert(key.clone(), BlockReason::NotOurs(message));
        return;
    }
    // A thing of that name which another instance of this environment has is seen under this key too; whether it is
    // given up is settled later.
    let present = present.filter(|_| owned.is_some() || takes_from.is_none());
    let mut from = from.map(|key| key.address.clone());
    let standing = match present.map(|present| (present, holder(present, key, desired.moved_from.as_ref(), owned))) {
        None => Standing::Absent,
        // An adoption that was cut short before the owner's mark: only another one writes it.
        Some((present, Holder::Us)) if owned.is_none() && desired.adopt && present.owner.is_none() => {
            Standing::Adoptable(present)
        }
        Some((present, Holder::Us)) => {
            let marks = [present.marker.as_ref().map(|marker| &marker.key.address), present.owner.as_ref()];
            let named = |address: &Address| marks.contains(&Some(address));
            if owned.is_none() {
                from = desired.moved_from.clone().filter(named);
            }
            placed(present, owned, kind, claim)
        }
        Some((present, Holder::Nobody)) if let Some(owned) = owned => match placed(present, Some(owned), kind, claim) {
            Standing::Replaced(_) if !same_thing(kind, owned, present) => {
                let message =
                    format!("`{}` is not what was applied, and carries no mark of ours; delete it by hand", owned.claim);
                survey.blocked.insert(key.clone(), BlockReason::NotOurs(message));
                return;
            }
            standing => standing,
        },
        Some((present, Holder::Nobody)) if desired.adopt => Standing::Adoptable(present),
        Some((_, Holder::Nobody)) => {
            let message = format!("`{claim}` is there, and nothing says that it is ours; `adopt = true` takes it over");
            survey.blocked.insert(key.clone(), BlockReason::NotOurs(message));
            return;
        }
        Some((_, Holder::Other(address))) => {
            let message = format!("`{claim}` is there, and carries the mark of `{address}`");
            survey.blocked.insert(key.clone(), BlockReason::NotOurs(message));
            return;
        }
    };
    if matches!(standing, Standing::Replaced(_)) && kind.renaming() == Renaming::Refused {
        let was = owned.map_or("", |owned| owned.claim.as_str());
        let message = format!(
            "it is called `{was}`, cannot be renamed, and a new one would begin without its data; keep the name, or define a second {kind}"
        );
        survey.blocked.insert(key.clone(), BlockReason::NotOurs(message));
        return;
    }
    if let (Standing::Replaced(present), Some(owned)) = (standing, owned)
        && let Some(reason) = not_as_left(former, owned, present)
    {
        survey.blocked.insert(key.clone(), BlockReason::NotOurs(format!("it leaves `{}`: {reason}", owned.claim)));
        return;
    }
    survey.wanted.insert(key.clone(), Wanted { desired, standing, owned, from, takes_from });
}

/// Why what is `present` on a host is not deleted although we own it: Git cannot give back what a person wrote into it, and
/// the executor refuses to.
fn not_as_left(key: &InstanceKey, owned: &Owned, present: &Present) -> Option<String> {
    if !key.address.kind.is_of_hosts() {
        return None;
    }
    if present.owner.as_ref() != Some(&key.address) {
        return Some("the host has no record that it is ours; delete it by hand if it is not needed".to_owned());
    }
    let content = |properties: &Properties| properties.get("content").cloned();
    (content(&present.properties) != content(&owned.properties))
        .then(|| "it was edited since it was applied; delete it by hand if it is not needed".to_owned())
}

fn placed<'a>(present: &'a Present, owned: Option<&Owned>, kind: Kind, claim: &str) -> Standing<'a> {
    match owned {
        Some(owned) if owned.claim != claim && !renames_in_place(kind) => Standing::Replaced(present),
        _ => Standing::Ours(present),
    }
}

fn leave<'a>(survey: &mut Survey<'a>, input: &Input<'a>, key: &InstanceKey, owned: &'a Owned) {
    let present = match known(input.observed, key) {
        Ok(Some(present)) => present,
        Ok(None) => {
            survey.gone.insert(key.clone());
            return;
        }
        Err(reason) => {
            survey.blocked.insert(key.clone(), reason);
            return;
        }
    };
    let address = &key.address;
    let reason = match holder(present, key, None, Some(owned)) {
        Holder::Other(other) => {
            Some(format!("what is there now carries the mark of `{other}`; delete it by hand if it is not needed"))
        }
        Holder::Nobody if !same_thing(address.kind, owned, present) => Some(
            "what is there now is not what was applied, and carries no mark of ours; delete it by hand if it is not needed"
                .to_owned(),
        ),
        _ if holds_data(address.kind, &owned.properties) && !input.acknowledged.contains(address) => {
            Some(format!("it holds data; a commit with the trailer `Acknowledge: {address} delete` deletes it"))
        }
        _ if !input.desired.sync.prune && !input.desired.retire => {
            Some("`prune` is false in `environment.sync`; delete it by hand, or set it to true".to_owned())
        }
        _ => not_as_left(key, owned, present),
    };
    match reason {
        Some(reason) => survey.kept.insert(key.clone(), reason).map(|_| ()),
        None => survey.doomed.insert(key.clone(), (owned, present)).map(|_| ()),
    };
}

/// Whether an unmarked thing is the one that we applied: what can carry no mark is known by its id; the others carry one
/// from their creation on.
fn same_thing(kind: Kind, owned: &Owned, present: &Present) -> bool {
    match kind.identity() {
        Identity::Id => match (owned.attributes.get("id"), present.attributes.get("id")) {
            (Some(applied), Some(there)) => applied == there,
            _ => true,
        },
        Identity::Mark => false,
    }
}

/// Carries on what follows from what, until nothing more does: what depends on something blocked is blocked, what is
/// still in use is kept, and a name that is not given up is not taken.
fn settle(survey: &mut Survey<'_>, inventory: &Inventory) {
    let mut users: BTreeMap<&InstanceKey, Vec<&InstanceKey>> = BTreeMap::new();
    for (user, owned) in inventory {
        owned.depends_on.iter().for_each(|needed| users.entry(needed).or_default().push(user));
    }
    loop {
        let blocked: Vec<(InstanceKey, BlockReason)> = survey
            .wanted
            .iter()
            .filter_map(|(key, wanted)| Some((key.clone(), obstacle(survey, key, wanted, inventory)?)))
            .collect();
        let kept: Vec<(InstanceKey, String)> = survey
            .doomed
            .keys()
            .filter_map(|key| {
                let user = users.get(key)?.iter().find(|user| stays_as_it_is(survey, user))?;
                Some((key.clone(), format!("`{user}` still uses it")))
            })
            .collect();
        if blocked.is_empty() && kept.is_empty() {
            return;
        }
        for (key, reason) in blocked {
            survey.wanted.remove(&key);
            survey.blocked.insert(key, reason);
        }
        for (key, reason) in kept {
            survey.doomed.remove(&key);
            survey.kept.insert(key, reason);
        }
    }
}

/// Whether an owned instance is left untouched by this plan, so that what it uses must stay.
fn stays_as_it_is(survey: &Survey<'_>, key: &InstanceKey) -> bool {
    let now = survey.moving.get(key).unwrap_or(key);
    survey.kept.contains_key(now) || survey.blocked.contains_key(now)
}

fn obstacle(survey: &Survey<'_>, key: &InstanceKey, wanted: &Wanted<'_>, inventory: &Inventory) -> Option<BlockReason> {
    if let Some(needed) = wanted.desired.depends_on.iter().find(|needed| survey.blocked.contains_key(needed)) {
        return Some(BlockReason::Dependency(needed.clone()));
    }
    let holder = wanted.takes_from.as_ref()?;
    let owned = inventory.get(holder)?;
    let gives_it_up = survey.doomed.contains_key(holder)
        || survey.gone.contains(holder)
        || survey
            .wanted
            .get(survey.moving.get(holder).unwrap_or(holder))
            .is_some_and(|wanted| wanted.desired.spec.claim() != owned.claim);
    (!gives_it_up).then(|| {
        let claim = wanted.desired.spec.claim();
        let message = format!(
            "`{claim}` is `{holder}`; if `{}` is its new name, say `moved = \"{}\"`",
            key.address.local(),
            holder.address.name
        );
        BlockReason::NotOurs(message)
    })
}
