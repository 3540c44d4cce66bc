//! Gradual versions: which share of its requests a Worker's new version is to have now.
//!
//! Goes in: what is desired, what is live, the time, and what people said. Comes out: the share before and after this
//! plan, and what is still to come after it.
//!
//! **Invariant:** a share goes up by one step at a time from what is live, whatever was planned before; more at once only
//! because a person said so, the version ran before, or nothing can be gradual there, which is said.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::compare::{Difference, differences};
use super::planner::{Compared, Scene};
use super::survey::{Standing, Wanted};
use crate::model::{Address, Digest, InstanceKey, Rollout, Spec, canonical_digest, traffic};

/// What a plan follows from besides what is desired and live: the time, and what people said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Steering {
    /// When the plan is made.
    pub now: DateTime<Utc>,
    /// Every version gets all requests at once: a rollback.
    pub at_once: bool,
    /// Who paused which Worker, for people; `None` is every Worker.
    pub paused: BTreeMap<Option<Address>, String>,
    /// To which share people promoted which desired state of which instance.
    pub promoted: BTreeMap<InstanceKey, (Digest, u8)>,
}

/// A version that has not all requests, also after the plan that names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rolling {
    /// The instance.
    pub key: InstanceKey,
    /// The share that it has then, in percent.
    pub traffic: u8,
    /// The share after that.
    pub next: u8,
    /// When that is due; `None` where a person has to go on.
    pub due: Option<DateTime<Utc>>,
    /// Who paused it, for people.
    pub paused: Option<String>,
}

/// Something about an instance that people should know before the plan is carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// The instance.
    pub key: InstanceKey,
    /// What.
    pub message: String,
}

const FIRST: &str = "a first upload cannot be gradual: it gets all requests at once";
const OBJECTS: &str = "a change of Durable Object classes cannot be gradual: the new version gets all requests at once";

/// What a plan does about the requests of one Worker.
#[derive(Debug, Default)]
pub(super) struct Course {
    /// The share before and after, where that is said.
    pub shares: Option<(u8, u8)>,
    /// What comes after the plan.
    pub rolling: Option<Rolling>,
    /// What people should know, where the plan changes the Worker.
    pub warning: Option<&'static str>,
}

/// What is done about the requests of one instance; nothing for what is no Worker.
pub(super) fn course(scene: &Scene<'_>, key: &InstanceKey, wanted: &Wanted<'_>) -> Course {
    let Spec::Worker(worker) = &wanted.desired.spec else { return Course::default() };
    let steering = scene.input.steering;
    let rollout = worker.rollout.as_deref().filter(|_| !steering.at_once);
    let at_once = |warning: &'static str| Course { warning: rollout.map(|_| warning), ..Course::default() };
    let present = match wanted.standing {
        Standing::Ours(present) | Standing::Adoptable(present) if present.attributes.contains_key("version_id") => present,
        _ => return at_once(FIRST),
    };
    let live = traffic(&present.properties);
    let Compared { symbolic, after, there } = scene.compare(key, wanted, present);
    let kind = key.address.kind;
    let changed: Vec<Difference> = differences(&there.properties, &after)
        .into_iter()
        .filter(|difference| difference.path.first().is_some_and(|field| kind.is_versioned(field)))
        .collect();
    let desired = canonical_digest(&symbolic);
    let Some(rollout) = rollout else { return all(live) };
    let here = At { key, live, rollout, steering };
    if changed.is_empty() {
        let since = present.attributes.get("stepped_at").and_then(|at| DateTime::parse_from_rfc3339(at).ok());
        return here.promoted(desired, since.map(|since| since.to_utc()));
    }
    let is_lifecycle = |field: &String| kind.is_lifecycle(field) && after.contains_key(field);
    if changed.iter().any(|difference| difference.path.first().is_some_and(is_lifecycle)) {
        return Course { warning: Some(OBJECTS), ..all(live) };
    }
    let ran_before_it = present.attributes.get("former_desired") == Some(&desired.to_string());
    let ran_whole = wanted.owned.is_some_and(|owned| owned.desired == desired && traffic(&owned.properties) == 100);
    if ran_before_it || ran_whole { all(live) } else { here.to(0, rollout.first(), None) }
}

/// All requests at once.
fn all(live: u8) -> Course {
    Course { shares: (live < 100).then_some((live, 100)), ..Course::default() }
}

/// Where a rollout stands.
struct At<'a> {
    key: &'a InstanceKey,
    live: u8,
    rollout: &'a Rollout,
    steering: &'a Steering,
}

impl At<'_> {
    fn paused(&self) -> Option<&String> {
        let Steering { paused, .. } = self.steering;
        paused.get(&Some(self.key.address.clone())).or_else(|| paused.get(&None))
    }

    /// The version is there, and has the share `live` since `since`.
    fn promoted(&self, desired: Digest, since: Option<DateTime<Utc>>) -> Course {
        let Self { key, live, rollout, steering } = *self;
        if live == 100 {
            return Course::default();
        }
        let said = steering.promoted.get(key).filter(|(version, share)| *version == desired && *share > live);
        // A clock that goes ahead of ours does not make it wait for longer than a step lasts.
        let due = since.and_then(|since| since.min(steering.now).checked_add_signed(self.interval()));
        let target = match said {
            Some((_, share)) => *share,
            None if self.paused().is_none() && due.is_none_or(|due| due <= steering.now) => rollout.after(live),
            None => live,
        };
        self.to(live, target, due.filter(|_| target == live))
    }

    /// From the share `from` to `to`; the step after that is due at `due`, or when this one has lasted.
    fn to(&self, from: u8, to: u8, due: Option<DateTime<Utc>>) -> Course {
        let paused = self.paused().cloned();
        let due = due.or_else(|| self.steering.now.checked_add_signed(self.interval())).filter(|_| paused.is_none());
        let rolling = Rolling { key: self.key.clone(), traffic: to, next: self.rollout.after(to), due, paused };
        Course { shares: Some((from, to)), rolling: (to < 100).then_some(rolling), warning: None }
    }

    fn interval(&self) -> TimeDelta {
        TimeDelta::seconds(i64::try_from(self.rollout.interval_seconds).unwrap_or(i64::MAX / 1_000))
    }
}
