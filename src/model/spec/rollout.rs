//! How a changed Worker comes to have its requests: a share of them at first, beside the version before it.

use serde::{Deserialize, Serialize};

use crate::model::value::{Properties, Value};

/// The property of a Worker that holds which share of its requests, in percent, the version has that is as desired; it is
/// absent where that is all of them.
pub const TRAFFIC: &str = "traffic";

/// The steps by which a changed version comes to have all requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    /// Percentages, ascending; the last is 100.
    pub steps: Vec<u8>,
    /// How long each step lasts, in seconds; at least 1.
    pub interval_seconds: u64,
    /// What has to answer before the version gets any request.
    pub probe: Option<Probe>,
}

/// A request to a version that has no other requests yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// An http or https URL that reaches the Worker.
    pub url: String,
    /// The status that is expected.
    pub status: u16,
    /// The host that the request is for, where the URL names the address of an edge.
    pub host: Option<String>,
}

impl Rollout {
    /// The share that a version begins with.
    pub fn first(&self) -> u8 {
        self.steps.first().copied().unwrap_or(100)
    }

    /// The share after `traffic`: never more than one step away.
    pub fn after(&self, traffic: u8) -> u8 {
        self.steps.iter().copied().find(|step| *step > traffic).unwrap_or(100)
    }
}

/// The share of the requests that properties of a Worker say; all where they say none.
pub fn traffic(properties: &Properties) -> u8 {
    match properties.get(TRAFFIC) {
        Some(Value::Integer(share)) => u8::try_from(*share).unwrap_or(100).min(100),
        _ => 100,
    }
}

/// Properties that say the share `traffic`; all is said by saying nothing.
#[must_use]
pub fn with_traffic(mut properties: Properties, traffic: u8) -> Properties {
    properties.remove(TRAFFIC);
    if traffic < 100 {
        properties.insert(TRAFFIC.to_owned(), Value::Integer(i64::from(traffic)));
    }
    properties
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_goes_up_by_one_step_from_wherever_it_is() {
        let rollout = Rollout { steps: vec![10, 50, 100], interval_seconds: 1, probe: None };
        assert_eq!(rollout.first(), 10);
        for (at, next) in [(0, 10), (9, 10), (10, 50), (33, 50), (50, 100), (99, 100), (100, 100)] {
            assert_eq!(rollout.after(at), next, "{at}");
        }
    }

    #[test]
    fn all_is_said_by_saying_nothing() {
        let some = with_traffic(Properties::new(), 10);
        assert_eq!((traffic(&some), some.len()), (10, 1));
        assert_eq!((traffic(&Properties::new()), with_traffic(some, 100)), (100, Properties::new()));
    }
}
