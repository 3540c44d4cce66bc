//! Further settings of a Worker: where it runs, how much it may use, what is recorded of it.
//!
//! Goes in: the tables as they are written. Comes out: fields in the words of the API, whose defaults are left out.

use serde::Deserialize;

use schemars::JsonSchema;

use super::origin::Tracing;
use super::reading::Reading;
use super::scalar;
use super::scope::Scope;
use super::worker::Reference;
use super::written::WorkerToml;
use crate::document::{Fault, Place, Placed, shown};
use crate::model::{Kind, Properties, ResourceName, Value};

/// Where a Worker runs: exactly one key.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Placement")]
pub(super) struct PlacementToml {
    /// `smart`: near what it calls, as the platform finds out.
    mode: Option<Placed<String>>,
    /// Near a region of a cloud, such as `aws:eu-central-1`.
    region: Option<Placed<String>>,
    /// Near a server of yours: its host and port.
    host: Option<Placed<String>>,
    /// Near a web server of yours: its host name.
    hostname: Option<Placed<String>>,
}

/// How much one request may use.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Limits")]
pub(super) struct LimitsToml {
    /// Milliseconds of computing.
    cpu_ms: Option<Placed<i64>>,
    /// Calls to elsewhere.
    subrequests: Option<Placed<i64>>,
}

/// What the platform records of its requests.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Observability")]
pub(super) struct ObservabilityToml {
    /// Whether it records.
    #[schemars(required)]
    enabled: Option<Placed<bool>>,
    /// The share of requests, from 0 to 1.
    head_sampling_rate: Option<Placed<serde_json::Value>>,
    /// What of logs, where that differs.
    logs: Option<LogsToml>,
}

/// What the platform records of logs.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ObservabilityLogs")]
pub(super) struct LogsToml {
    /// Whether it records.
    enabled: Option<Placed<bool>>,
    /// The share of requests, from 0 to 1.
    head_sampling_rate: Option<Placed<serde_json::Value>>,
    /// Whether one line tells of each call.
    invocation_logs: Option<Placed<bool>>,
}

/// A Worker that is told of what another one logs: exactly one of `worker`, `script`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "TailConsumer")]
pub(super) struct TailConsumerToml {
    /// The key of a Worker of this environment.
    worker: Option<Placed<ResourceName>>,
    /// The name, at the target, of a Worker that this environment does not define.
    script: Option<Placed<String>>,
}

/// The settings of a Worker; adds what they refer to.
pub(super) fn settings(
    reading: &mut Reading<'_>,
    scope: &Scope,
    written: &WorkerToml,
    (tracing, references): (&mut Tracing, &mut Vec<Reference>),
) -> Properties {
    let mut found = Properties::new();
    let mut put = |reading: &Reading<'_>, field: &str, place: Place, value: Option<Value>| {
        tracing.field(reading, field, Some(place));
        found.extend(value.map(|value| (field.to_owned(), value)));
    };
    if let Some(written) = &written.placement {
        let value = placement(reading, written);
        put(reading, "placement", written.place, value);
    }
    if let Some(written) = &written.limits {
        let LimitsToml { cpu_ms, subrequests } = &written.value;
        let fields = [
            ("cpu_ms", number(reading, cpu_ms.as_ref(), (10, 300_000))),
            ("subrequests", number(reading, subrequests.as_ref(), (1, 10_000_000))),
        ];
        put(reading, "limits", written.place, Some(table(fields)));
    }
    if let Some(written) = &written.observability {
        let value = observability(reading, written);
        put(reading, "observability", written.place, value);
    }
    if let Some(written) = &written.logpush {
        put(reading, "logpush", written.place, Some(Value::Bool(written.value)));
    }
    if let Some(written) = &written.tail_consumers {
        let consumers = written.value.iter().filter_map(|one| tail_consumer(reading, scope, one, references)).collect();
        put(reading, "tail_consumers", written.place, Some(Value::List(consumers)));
    }
    found
}

fn table<const N: usize>(fields: [(&str, Option<Value>); N]) -> Value {
    Value::Table(fields.into_iter().filter_map(|(field, value)| Some((field.to_owned(), value?))).collect())
}

fn number(reading: &mut Reading<'_>, written: Option<&Placed<i64>>, (least, most): (i64, i64)) -> Option<Value> {
    let written = written?;
    if !(least..=most).contains(&written.value) {
        let hint = format!("write a number from {least} to {most}");
        reading.fault(Fault::new(written.place, format!("{} is out of bounds", written.value)).hint(hint));
        return None;
    }
    Some(Value::Integer(written.value))
}

fn placement(reading: &mut Reading<'_>, written: &Placed<PlacementToml>) -> Option<Value> {
    let PlacementToml { mode, region, host, hostname } = &written.value;
    let said: Vec<(&str, &Placed<String>)> = [("mode", mode), ("region", region), ("host", host), ("hostname", hostname)]
        .into_iter()
        .filter_map(|(key, value)| Some((key, value.as_ref()?)))
        .collect();
    let [(key, value)] = said.as_slice() else {
        let message = "exactly one of `mode`, `region`, `host`, `hostname` is expected";
        reading.fault(Fault::new(written.place, message).hint("such as `placement = { mode = \"smart\" }`"));
        return None;
    };
    if *key == "mode" && value.value != "smart" {
        let message = format!("`{}` is no mode of placement", shown(&value.value));
        reading.fault(Fault::new(value.place, message).hint("write `smart`, or leave `placement` out"));
        return None;
    }
    Some(table([(key, Some(Value::text(&value.value)))]))
}

fn rate(reading: &mut Reading<'_>, written: Option<&Placed<serde_json::Value>>) -> Option<Value> {
    let written = written?;
    if written.value.as_f64().is_none_or(|rate| !(0.0..=1.0).contains(&rate)) {
        reading.fault(Fault::new(written.place, "the share of requests is a number from 0 to 1").hint("such as `0.1`"));
        return None;
    }
    Value::of_json(&written.value)
}

fn observability(reading: &mut Reading<'_>, written: &Placed<ObservabilityToml>) -> Option<Value> {
    let ObservabilityToml { enabled, head_sampling_rate, logs } = &written.value;
    let flag = |written: &Option<Placed<bool>>| written.as_ref().map(|written| Value::Bool(written.value));
    if enabled.is_none() && !reading.is_partial() {
        reading.fault(Fault::new(written.place, "the key `enabled` is missing").hint("write `enabled = true`"));
    }
    let rate_of_all = rate(reading, head_sampling_rate.as_ref());
    let logs = logs.as_ref().map(|LogsToml { enabled, head_sampling_rate, invocation_logs }| {
        let rate = rate(reading, head_sampling_rate.as_ref());
        table([("enabled", flag(enabled)), ("head_sampling_rate", rate), ("invocation_logs", flag(invocation_logs))])
    });
    Some(table([("enabled", flag(enabled)), ("head_sampling_rate", rate_of_all), ("logs", logs)]))
}

fn tail_consumer(
    reading: &mut Reading<'_>,
    scope: &Scope,
    written: &Placed<TailConsumerToml>,
    references: &mut Vec<Reference>,
) -> Option<Value> {
    let script = match (&written.value.worker, &written.value.script) {
        (Some(worker), None) => {
            scope.refer(reading, Kind::Worker, worker)?;
            references.push((Kind::Worker, worker.value.clone(), worker.place));
            scope.workers.get(&worker.value)?.claim.clone()?
        }
        (None, Some(script)) => reading.check(script.place, scalar::script_name(&script.value))?,
        _ => {
            let message = "exactly one of `worker`, `script` is expected";
            reading.fault(Fault::new(written.place, message).hint("such as `{ worker = \"tail\" }`"));
            return None;
        }
    };
    Some(table([("service", Some(Value::text(script)))]))
}
