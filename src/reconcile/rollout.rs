//! Gradual versions: where an environment stands while they come, and what people say of them.
//!
//! Goes in: a plan, or a verb. Comes out: a condition with the time that is left; or the word, recorded, and a pass that
//! follows it.
//!
//! **Invariant:** a verb only writes down what is to be so, before anything is done: a pass that dies in between, and any
//! later one, does the same.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::rollback::apply_again;
use super::{Context, Event, Outcome, Stop, reconcile, verdict};
use crate::model::{
    Address, Bundle, Contents, Desired, DesiredState, EnvironmentId, InstanceKey, Kind, ResourceName, SealedSecret, Spec, traffic,
};
use crate::plan::{Inventory, Owned, Plan, Rolling};
use crate::record::{Condition, ConditionReason, Pause, Promotion, Quarantine, QuarantineEntry};
use crate::secrets::Opener;
use crate::store::StoreError;

/// Where an environment stands whose plan leaves versions without all requests; `None` where there are none.
pub(super) fn rolling(plan: &Plan) -> Option<Condition> {
    if plan.rolling.is_empty() {
        return None;
    }
    let one = |Rolling { key, traffic, next, due, paused }: &Rolling| {
        let then = match (paused, due) {
            (Some(paused), _) => format!("paused {paused}"),
            (None, Some(due)) => format!("next step, {next} %, at {}", due.format("%Y-%m-%dT%H:%M:%SZ")),
            (None, None) => format!("next step, {next} %"),
        };
        format!("{} on {}: {traffic} %, {then}", key.address.local(), key.target)
    };
    let all: Vec<String> = plan.rolling.iter().map(one).collect();
    let message = format!("rolling out {}", all.join("; "));
    Some(Condition::Reconciling { reason: ConditionReason::RollingOut, message })
}

/// How long until the next step, at most as long as until the next look at the live world; `None` where nothing is rolling.
pub(super) fn requeue(plan: &Plan, interval_seconds: u64, now: DateTime<Utc>) -> Option<Duration> {
    let left = plan.rolling.iter().map(|rolling| {
        let left = rolling.due.map(|due| (due - now).to_std().unwrap_or_default());
        left.unwrap_or(Duration::MAX)
    });
    let most = Duration::from_secs(interval_seconds);
    left.min().map(|left| left.clamp(Duration::from_millis(50), most.max(Duration::from_millis(50))))
}

/// Why a word about a rollout was not followed.
#[derive(Debug, thiserror::Error)]
pub enum RolloutError {
    /// The environment was never applied.
    #[error("{0} has no recorded generation")]
    NoRecord(EnvironmentId),
    /// It owns no such Worker.
    #[error("{environment} owns no Worker `{worker}`")]
    NoWorker {
        /// Where.
        environment: EnvironmentId,
        /// What was asked for.
        worker: ResourceName,
    },
    /// Every version has all requests.
    #[error("nothing is rolling out in {environment}{}", worker.as_ref().map(|worker| format!(" for worker.{worker}")).unwrap_or_default())]
    NothingRolls {
        /// Where.
        environment: EnvironmentId,
        /// What was asked for.
        worker: Option<ResourceName>,
    },
    /// The share is no more than there is.
    #[error("{key} is at {traffic} % already")]
    NoMore {
        /// The instance.
        key: InstanceKey,
        /// Its share.
        traffic: u8,
    },
    /// What ran before is not recorded.
    #[error("what {0} was like before this version is not recorded")]
    NoFormer(InstanceKey),
    /// Something else would change with it.
    #[error("{0} cannot be taken back alone: a secret that it uses was changed for others as well")]
    Entangled(InstanceKey),
    /// The pass went no further.
    #[error("it was not carried out: {0}")]
    Stopped(String),
    /// The store cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl RolloutError {
    /// What the reader can do now.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoRecord(_) | Self::NoWorker { .. } => Some("`trunkline status` shows what there is".to_owned()),
            Self::NothingRolls { environment, .. } => Some(format!("`trunkline status {environment}` shows where it stands")),
            Self::NoMore { .. } => Some("`trunkline abort` takes a version back".to_owned()),
            Self::NoFormer(key) | Self::Entangled(key) => {
                Some(format!("`trunkline rollback {}` applies a whole earlier revision again", key.address.environment))
            }
            Self::Stopped(_) | Self::Store(_) => None,
        }
    }
}

/// The instances of an environment whose version has not all requests; of one Worker, or of all.
fn under_way(
    inventory: &Inventory,
    environment: &EnvironmentId,
    worker: Option<&ResourceName>,
) -> Result<Vec<(InstanceKey, Owned)>, RolloutError> {
    let is_meant = |key: &InstanceKey| worker.is_none_or(|worker| key.address.name == *worker);
    let rolls = |(key, owned): &(&InstanceKey, &Owned)| {
        key.address.kind == Kind::Worker && is_meant(key) && traffic(&owned.properties) < 100
    };
    let found: Vec<_> = inventory.iter().filter(rolls).map(|(key, owned)| (key.clone(), owned.clone())).collect();
    if found.is_empty() {
        return Err(RolloutError::NothingRolls { environment: environment.clone(), worker: worker.cloned() });
    }
    Ok(found)
}

/// Gives versions that are rolling out their next share now, or the share `to`, and makes a pass.
///
/// # Errors
/// [`RolloutError`]; then nothing was changed.
pub async fn promote(
    context: &Context,
    environment: &EnvironmentId,
    worker: Option<&ResourceName>,
    to: Option<u8>,
    owner: &str,
) -> Result<Outcome, RolloutError> {
    let record = context.store.environment(environment)?.ok_or_else(|| RolloutError::NoRecord(environment.clone()))?;
    let inventory = context.store.inventory(environment)?;
    let rolling = under_way(&inventory, environment, worker)?;
    let bundle = match context.store.generations(environment, 1)?.first() {
        Some(newest) => context.store.bundle(&newest.bundle)?,
        None => None,
    };
    let mut orders = context.store.rollout_orders(environment)?;
    orders.promoted.retain(|one| inventory.get(&one.key).is_some_and(|owned| owned.desired == one.desired));
    for (key, owned) in rolling {
        let live = traffic(&owned.properties);
        let desired = bundle.as_ref().and_then(|bundle| bundle.desired.resources.get(&key));
        let next = match desired.map(|desired| &desired.spec) {
            Some(Spec::Worker(worker)) => worker.rollout.as_ref().map_or(100, |rollout| rollout.after(live)),
            _ => 100,
        };
        let traffic = to.unwrap_or(next);
        if traffic <= live {
            return Err(RolloutError::NoMore { key, traffic: live });
        }
        orders.promote(Promotion { key, desired: owned.desired, traffic, owner: owner.to_owned(), at: Utc::now() });
    }
    let revision = record.seen.clone().ok_or_else(|| RolloutError::NoRecord(environment.clone()))?;
    context.store.put_rollout_orders(&orders)?;
    Ok(Box::pin(reconcile(context, environment, &revision, true)).await)
}

/// Keeps versions at the share that they have, until a person resumes the environment.
///
/// # Errors
/// [`RolloutError`]; then nothing was changed.
pub fn pause(
    context: &Context,
    environment: &EnvironmentId,
    worker: Option<&ResourceName>,
    owner: &str,
    reason: Option<&str>,
) -> Result<Pause, RolloutError> {
    context.store.environment(environment)?.ok_or_else(|| RolloutError::NoRecord(environment.clone()))?;
    let worker = match worker {
        Some(worker) => {
            let inventory = context.store.inventory(environment)?;
            let mut owned = inventory.keys().map(|key| &key.address);
            let found = owned.find(|address| address.kind == Kind::Worker && address.name == *worker).cloned();
            Some(found.ok_or_else(|| RolloutError::NoWorker { environment: environment.clone(), worker: worker.clone() })?)
        }
        None => None,
    };
    let pause = Pause { worker, owner: owner.to_owned(), reason: reason.map(str::to_owned), at: Utc::now() };
    let mut orders = context.store.rollout_orders(environment)?;
    orders.pause(pause.clone());
    context.store.put_rollout_orders(&orders)?;
    Ok(pause)
}

/// What was taken back.
#[derive(Debug)]
pub struct Aborted {
    /// The instances.
    pub instances: Vec<InstanceKey>,
    /// How it went.
    pub outcome: Outcome,
}

/// Gives all requests back to the versions before those that are rolling out. The new ones are quarantined, as a rollback
/// does; everything else stays as it is.
///
/// # Errors
/// [`RolloutError`]; then nothing was changed, but for [`RolloutError::Stopped`] where a part may have been.
pub async fn abort(
    context: &Context,
    environment: &EnvironmentId,
    worker: Option<&ResourceName>,
    owner: &str,
) -> Result<Aborted, RolloutError> {
    let record = context.store.environment(environment)?.ok_or_else(|| RolloutError::NoRecord(environment.clone()))?;
    let rolling = under_way(&context.store.inventory(environment)?, environment, worker)?;
    let newest = context.store.generations(environment, 1)?.pop();
    let newest = newest.ok_or_else(|| RolloutError::NoRecord(environment.clone()))?;
    let now = context.store.bundle(&newest.bundle)?;
    let Bundle { mut desired, mut contents } = now.ok_or_else(|| RolloutError::NoRecord(environment.clone()))?;
    let wanted: BTreeSet<InstanceKey> = rolling.iter().map(|(key, _)| key.clone()).collect();
    let before = digests(context, &desired);
    let mut entries = Vec::new();
    let mut former = former(context, environment, &rolling)?;
    for (key, owned) in rolling {
        let Former { was, secrets, contents: bytes } = former.remove(&key).ok_or_else(|| RolloutError::NoFormer(key.clone()))?;
        desired.secrets.extend(secrets);
        desired.resources.insert(key.clone(), was);
        contents.extend(bytes);
        entries.push(QuarantineEntry { address: key.address, target: Some(key.target), desired: owned.desired });
    }
    let after = digests(context, &desired);
    if let Some((key, _)) = after.iter().find(|(key, digest)| !wanted.contains(*key) && before.get(*key) != Some(*digest)) {
        return Err(RolloutError::Entangled(key.clone()));
    }
    let earlier = context.store.quarantine(environment)?;
    entries.extend(earlier.iter().flat_map(|quarantine| quarantine.entries.clone()));
    entries.sort();
    entries.dedup();
    let quarantine = Quarantine {
        environment: environment.clone(),
        abandoned: newest.revision.clone(),
        generation: newest.number,
        owner: owner.to_owned(),
        entries,
        whole: earlier.and_then(|quarantine| quarantine.whole),
        revert: None,
    };
    let bundle = Bundle { desired, contents };
    let applied = Box::pin(apply_again(context, &record, bundle, &newest.revision, Some(quarantine))).await;
    let outcome = applied.map_err(|stop: Stop| RolloutError::Stopped(stop.condition.message().to_owned()))?;
    conclude(context, environment, &wanted, owner)?;
    Ok(Aborted { instances: wanted.into_iter().collect(), outcome })
}

/// The desired digest of every instance.
fn digests(context: &Context, desired: &DesiredState) -> verdict::Digests {
    let marks = Opener::new(context.identities.clone(), desired).marks(&desired.used_secrets());
    verdict::desired_digests(desired, &marks)
}

/// A Worker as it was desired before.
struct Former {
    was: Desired,
    /// The secrets that it uses, as they were.
    secrets: BTreeMap<ResourceName, SealedSecret>,
    /// The bytes that it may need.
    contents: Contents,
}

/// What each instance was before the version that is rolling out: by the digest that the version before carries, from the
/// bundles that were applied.
fn former(
    context: &Context,
    environment: &EnvironmentId,
    rolling: &[(InstanceKey, Owned)],
) -> Result<BTreeMap<InstanceKey, Former>, StoreError> {
    let mut found = BTreeMap::new();
    let mut looked_at = BTreeSet::new();
    for generation in context.store.generations(environment, usize::MAX)? {
        if found.len() == rolling.len() || !looked_at.insert(generation.bundle) {
            continue;
        }
        let Some(Bundle { desired, contents }) = context.store.bundle(&generation.bundle)? else { continue };
        let digests = digests(context, &desired);
        for (key, owned) in rolling {
            let is_former = digests.get(key).map(ToString::to_string).as_ref() == owned.attributes.get("former_desired");
            if let Some(was) = desired.resources.get(key).filter(|_| is_former && !found.contains_key(key)) {
                let used = was.spec.secrets();
                let secrets = desired.secrets.iter().filter(|(name, _)| used.contains(*name));
                let secrets = secrets.map(|(name, sealed)| (name.clone(), sealed.clone())).collect();
                found.insert(key.clone(), Former { was: was.clone(), secrets, contents: contents.clone() });
            }
        }
    }
    Ok(found)
}

/// What was taken back is what is to be; the next pass looks at the branch's head afresh.
fn conclude(
    context: &Context,
    environment: &EnvironmentId,
    instances: &BTreeSet<InstanceKey>,
    owner: &str,
) -> Result<(), StoreError> {
    let Some(mut record) = context.store.environment(environment)? else { return Ok(()) };
    record.inputs = None;
    if matches!(record.condition, Condition::Ready { .. }) {
        let addresses: BTreeSet<&Address> = instances.iter().map(|key| &key.address).collect();
        let names: Vec<String> = addresses.into_iter().map(|address| address.local()).collect();
        let message = format!("{} taken back by {owner}", names.join(", "));
        record = record.conclude(Condition::Ready { reason: ConditionReason::Applied, message }, Utc::now());
    }
    context.store.put_environment(&record)?;
    context.tell(Event::Concluded { environment, condition: &record.condition });
    Ok(())
}
