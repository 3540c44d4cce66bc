//! How a changed Worker comes to have its requests.
//!
//! Goes in: the table as it is written. Comes out: ascending steps that end with all requests, how long each lasts, and
//! what has to answer first.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Deserialize;

use super::address;
use super::origin::Tracing;
use super::reading::Reading;
use super::scalar;
use super::scope::required;
use crate::document::{Fault, Placed, shown};
use crate::model::{Probe, Rollout, TRAFFIC};

/// How a changed Worker comes to have its requests: a share of them at first, beside the version before it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Rollout")]
pub(super) struct RolloutToml {
    /// Percentages of the requests, ascending; the last is 100.
    #[schemars(required)]
    steps: Option<Placed<Vec<Placed<i64>>>>,
    /// How long each step lasts: a whole number and `s`, `m`, `h` or `d`, such as `2m`.
    #[schemars(required)]
    interval: Option<Placed<String>>,
    /// A request that the new version has to answer before it gets any other.
    probe: Option<Placed<ProbeToml>>,
}

/// A request to a version that has no other requests yet.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Probe")]
pub(super) struct ProbeToml {
    /// An http or https URL that reaches the Worker.
    #[schemars(required)]
    url: Option<Placed<String>>,
    /// The status that is expected; 200 unless said otherwise.
    status: Option<Placed<i64>>,
    /// The host that the request is for, where the URL names the address of an edge.
    host: Option<Placed<String>>,
}

/// More steps than this are a mistake.
const MOST_STEPS: usize = 20;

/// The rollout of a Worker; `None` where something about it is at fault.
pub(super) fn rollout(reading: &mut Reading<'_>, written: &Placed<RolloutToml>, tracing: &mut Tracing) -> Option<Rollout> {
    tracing.field(reading, TRAFFIC, Some(written.place));
    let none = BTreeSet::new();
    let RolloutToml { steps, interval, probe } = &written.value;
    let steps = required(reading, (written.place, &none), "steps", steps.as_ref(), "such as `steps = [10, 50, 100]`");
    let interval = required(reading, (written.place, &none), "interval", interval.as_ref(), "such as `interval = \"2m\"`");
    let steps = steps.and_then(|written| self::steps(reading, written));
    let interval = interval.and_then(|written| reading.check(written.place, scalar::interval(&written.value)));
    let probe = match probe {
        Some(written) => Some(self::probe(reading, written)?),
        None => None,
    };
    Some(Rollout { steps: steps?, interval_seconds: interval?, probe })
}

fn steps(reading: &mut Reading<'_>, written: &Placed<Vec<Placed<i64>>>) -> Option<Vec<u8>> {
    const HINT: &str = "write whole percentages, ascending, that end with 100, such as `[10, 50, 100]`";
    let mut found: Vec<u8> = Vec::new();
    for step in &written.value {
        let percent = u8::try_from(step.value).ok().filter(|percent| (1..=100).contains(percent));
        let Some(percent) = percent else {
            reading.fault(Fault::new(step.place, format!("{} is no percentage of a step", step.value)).hint(HINT));
            return None;
        };
        if found.last().is_some_and(|last| *last >= percent) {
            reading.fault(Fault::new(step.place, format!("the step {percent} is not above the one before it")).hint(HINT));
            return None;
        }
        found.push(percent);
    }
    if found.last() != Some(&100) {
        reading.fault(Fault::new(written.place, "the steps do not end with 100").hint(HINT));
        return None;
    }
    if found.len() > MOST_STEPS {
        reading.fault(Fault::new(written.place, format!("there are more than {MOST_STEPS} steps")).hint(HINT));
        return None;
    }
    Some(found)
}

fn probe(reading: &mut Reading<'_>, written: &Placed<ProbeToml>) -> Option<Probe> {
    let ProbeToml { url, status, host } = &written.value;
    let hint = "such as `url = \"https://api.example.com/health\"`";
    let url = required(reading, (written.place, &BTreeSet::new()), "url", url.as_ref(), hint);
    let url = url.and_then(|url| reading.check(url.place, address::probe_url(&url.value)));
    let status = match status {
        None => Some(200),
        Some(status) => {
            let code = u16::try_from(status.value).ok().filter(|code| (200..=599).contains(code));
            if code.is_none() {
                let message = format!("{} is no status of an answer", status.value);
                reading.fault(Fault::new(status.place, message).hint("write a number from 200 to 599"));
            }
            code
        }
    };
    let host = match host {
        None => None,
        Some(host) if is_host(&host.value) => Some(host.value.clone()),
        Some(host) => {
            let message = format!("`{}` is no host", shown(&host.value));
            reading.fault(Fault::new(host.place, message).hint("write a name such as `api.example.com`"));
            return None;
        }
    };
    Some(Probe { url: url?, status: status?, host })
}

fn is_host(text: &str) -> bool {
    let clean = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.' | b':');
    !text.is_empty() && text.len() <= 255 && text.bytes().all(clean)
}
