//! What people said of gradual versions.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::model::{Address, Digest, EnvironmentId, InstanceKey};
use crate::plan::Steering;

/// A Worker whose versions get no further share by themselves, until a person resumes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// The Worker; `None` is every one of the environment.
    pub worker: Option<Address>,
    /// Who said so.
    pub owner: String,
    /// Why, where that was said.
    pub reason: Option<String>,
    /// When.
    pub at: DateTime<Utc>,
}

impl std::fmt::Display for Pause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "by {} at {}", self.owner, self.at.format("%Y-%m-%dT%H:%M:%SZ"))?;
        self.reason.iter().try_for_each(|reason| write!(f, ": {reason}"))
    }
}

/// A version that is to have a share now, whether its step is due or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promotion {
    /// The instance.
    pub key: InstanceKey,
    /// Digest of the desired properties of the version: the word is for no other one.
    pub desired: Digest,
    /// The share, in percent.
    pub traffic: u8,
    /// Who said so.
    pub owner: String,
    /// When.
    pub at: DateTime<Utc>,
}

/// All that people said of one environment, and that still counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutOrders {
    /// Whose.
    pub environment: EnvironmentId,
    /// What goes no further.
    pub paused: Vec<Pause>,
    /// What is to go on now.
    pub promoted: Vec<Promotion>,
}

impl RolloutOrders {
    /// Nobody said anything.
    pub fn none(environment: EnvironmentId) -> Self {
        Self { environment, paused: Vec::new(), promoted: Vec::new() }
    }

    /// Pauses, in the place of what was said of the same Worker; what it was promoted to before counts no more.
    pub fn pause(&mut self, pause: Pause) {
        self.promoted.retain(|one| pause.worker.as_ref().is_some_and(|worker| *worker != one.key.address));
        self.paused.retain(|one| one.worker != pause.worker);
        self.paused.push(pause);
    }

    /// Promotes, in the place of what was said of the same instance.
    pub fn promote(&mut self, promotion: Promotion) {
        self.promoted.retain(|one| one.key != promotion.key);
        self.promoted.push(promotion);
    }

    /// What a plan follows from besides.
    pub fn steering(&self, now: DateTime<Utc>, at_once: bool) -> Steering {
        let paused: BTreeMap<_, _> = self.paused.iter().map(|pause| (pause.worker.clone(), pause.to_string())).collect();
        let promoted = self.promoted.iter().map(|one| (one.key.clone(), (one.desired, one.traffic))).collect();
        Steering { now, at_once, paused, promoted }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_counts() {
        let now = DateTime::UNIX_EPOCH;
        let mut orders = RolloutOrders::none("production".parse().unwrap());
        let key: InstanceKey = "production/worker.api@main".parse().unwrap();
        let promotion =
            |traffic| Promotion { key: key.clone(), desired: Digest::of(b"1"), traffic, owner: "ada".to_owned(), at: now };
        let pause = |worker: Option<&str>, reason: Option<&str>| Pause {
            worker: worker.map(|worker| worker.parse().unwrap()),
            owner: "ada".to_owned(),
            reason: reason.map(str::to_owned),
            at: now,
        };
        orders.promote(promotion(20));
        orders.promote(promotion(30));
        orders.pause(pause(Some("production/worker.other"), None));
        assert_eq!(orders.promoted.iter().map(|one| one.traffic).collect::<Vec<_>>(), [30]);
        orders.pause(pause(None, None));
        orders.pause(pause(None, Some("errors")));
        assert_eq!((orders.promoted.len(), orders.paused.len()), (0, 2));
        let steering = orders.steering(now, false);
        assert_eq!(steering.paused[&None], "by ada at 1970-01-01T00:00:00Z: errors");
    }
}
