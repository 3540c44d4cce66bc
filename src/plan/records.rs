//! What the inventory learns without a change.
//!
//! Goes in: the planner's input. Comes out: what is recorded, and what is forgotten.
//!
//! **Invariant:** only what is there, ours and as desired is recorded; only what is certainly not there is forgotten.

use super::compare::differences;
use super::inventory::Owned;
use super::pending::pending;
use super::planner::{Input, Scene, with_scene};
use super::survey::{Standing, Wanted};
use crate::model::{
    Identity, InstanceKey, Present, Properties, Revision, SecretMark, Value, canonical_digest, traffic, with_traffic,
};

/// What the inventory learns without a change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Records {
    /// To be recorded in place of what the inventory says: instances that are as desired, and that it does not hold
    /// (a lost store, an adoption that changes nothing) or not as they are now (a foreign item was added, a dependency left).
    pub recorded: Vec<(InstanceKey, Owned)>,
    /// To be dropped: no longer defined, and not there any more.
    pub forgotten: Vec<InstanceKey>,
}

impl Records {
    /// Whether the inventory is right as it is.
    pub fn is_empty(&self) -> bool {
        self.recorded.is_empty() && self.forgotten.is_empty()
    }
}

/// What the inventory learns from `input` without a change. `revision` is what is being applied; an instance whose
/// marker names the revision that put it there keeps that one.
pub fn records(input: &Input<'_>, revision: &Revision) -> Records {
    with_scene(input, |scene| {
        let recorded = scene.survey.wanted.iter().filter_map(|(key, wanted)| {
            let present = match wanted.standing {
                Standing::Ours(present) => present,
                // What can carry no mark is ours as soon as it is known to be what the definition says.
                Standing::Adoptable(present) if key.address.kind.identity() == Identity::Id => present,
                _ => return None,
            };
            let owned = as_desired(scene, key, wanted, present, revision)?;
            (wanted.from.is_none() && wanted.owned != Some(&owned)).then(|| (key.clone(), owned))
        });
        let moved_and_gone =
            scene.survey.moving.iter().filter(|(_, new)| {
                scene.survey.wanted.get(*new).is_some_and(|wanted| matches!(wanted.standing, Standing::Absent))
            });
        let gone = scene.survey.gone.iter().chain(moved_and_gone.map(|(former, _)| former));
        Records { recorded: recorded.collect(), forgotten: gone.cloned().collect() }
    })
}

/// The record of an instance that is as desired; `None` for one that is not.
fn as_desired(
    scene: &Scene<'_>,
    key: &InstanceKey,
    wanted: &Wanted<'_>,
    present: &Present,
    revision: &Revision,
) -> Option<Owned> {
    let compared = scene.compare(key, wanted, present);
    if !differences(&compared.there.properties, &compared.after).is_empty() || !pending(&compared.after).is_empty() {
        return None;
    }
    let now = canonical_digest(&compared.symbolic);
    let last = wanted.owned;
    let incomparable = holds_unknown(&compared.symbolic);
    let marker = present.marker.as_ref().filter(|marker| marker.key == *key);
    let known = last.map(|owned| &owned.properties).unwrap_or(&present.properties);
    Some(Owned {
        claim: wanted.desired.spec.claim().to_owned(),
        // What is live has the share that is live.
        properties: with_traffic(with_marks(&compared.after, known), traffic(&present.properties)),
        attributes: present.attributes.clone(),
        fingerprint: present.fingerprint.clone(),
        // Without an identity the digest would say that every secret is another one.
        desired: last.filter(|_| incomparable).map_or(now, |owned| owned.desired),
        revision: last.map(|owned| &owned.revision).or(marker.map(|marker| &marker.revision)).unwrap_or(revision).clone(),
        operation: last.map(|owned| &owned.operation).or(marker.map(|marker| &marker.operation)).cloned().unwrap_or_default(),
        depends_on: wanted.desired.depends_on.clone(),
    })
}

fn holds_unknown(properties: &Properties) -> bool {
    properties.values().any(|value| match value {
        Value::Secret { mark: SecretMark::Unknown } => true,
        Value::Table(table) => holds_unknown(table),
        _ => false,
    })
}

/// `properties` with the marks of `known` where they have none.
fn with_marks(properties: &Properties, known: &Properties) -> Properties {
    let value = |(name, value): (&String, &Value)| {
        let value = match (value, known.get(name)) {
            (Value::Secret { mark: SecretMark::Unknown }, Some(known @ Value::Secret { .. })) => known.clone(),
            (Value::Table(table), Some(Value::Table(known))) => Value::Table(with_marks(table, known)),
            (value, _) => value.clone(),
        };
        (name.clone(), value)
    };
    properties.iter().map(value).collect()
}
