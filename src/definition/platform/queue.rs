//! `[queue.<name>]`: a queue, and what takes its messages.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{JURISDICTIONS, PlatformToml, Writing, names, some_of};
use crate::definition::reading::Reading;
use crate::definition::selector::OnToml;
use crate::document::{Fault, Placed};
use crate::model::{Kind, PlatformSpec, Properties, ResourceName, TreeError, Value};

/// A queue.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Queue")]
pub(in crate::definition) struct QueueToml {
    /// Where it lives; every target that takes queues unless said otherwise.
    on: Option<Placed<OnToml>>,
    /// Its name at the target; its key, `-` and the environment's name unless said otherwise.
    name: Option<Placed<String>>,
    /// For how many seconds a message waits before it is delivered; 0 to 86400.
    delivery_delay: Option<Placed<i64>>,
    /// For how many seconds a message is kept; 60 to 1209600.
    retention: Option<Placed<i64>>,
    /// Messages are taken and not delivered.
    delivery_paused: Option<Placed<bool>>,
    /// Where its data must stay: `eu` or `fedramp`. It cannot be changed.
    jurisdiction: Option<Placed<String>>,
    /// What takes its messages.
    consumer: Option<Placed<ConsumerToml>>,
    /// Take over a queue of this name that is there and not ours, and its consumer.
    adopt: Option<bool>,
    /// Its former key, when it was renamed.
    moved: Option<Placed<ResourceName>>,
}

/// What takes the messages of a queue: exactly one of `worker`, `http_pull`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "QueueConsumer")]
struct ConsumerToml {
    /// The key of a Worker of this environment, to whose `queue` handler they go.
    worker: Option<Placed<ResourceName>>,
    /// Clients pull them over HTTP.
    http_pull: Option<Placed<bool>>,
    /// How many messages a batch has at most; 1 to 100.
    batch_size: Option<Placed<i64>>,
    /// For how many seconds a batch waits to be full; 0 to 60. With `worker`.
    batch_timeout: Option<Placed<i64>>,
    /// How often a message is delivered again; 0 to 100.
    max_retries: Option<Placed<i64>>,
    /// After how many seconds; 0 to 86400.
    retry_delay: Option<Placed<i64>>,
    /// How many batches are under way at once; 1 to 250. With `worker`.
    max_concurrency: Option<Placed<i64>>,
    /// For how many milliseconds a message that was pulled is kept from others. With `http_pull`.
    visibility_timeout_ms: Option<Placed<i64>>,
    /// The key of the queue of this environment to which messages go that were retried in vain.
    dead_letter_queue: Option<Placed<ResourceName>>,
}

/// The longest delay in seconds. Source: developers.cloudflare.com/queues/platform/limits.
const DAY: i64 = 86_400;

impl PlatformToml for QueueToml {
    heads!(name);

    fn claim(&self, reading: &mut Reading<'_>, default: Placed<String>) -> Option<String> {
        let written = self.name.clone().unwrap_or(default);
        reading.check(written.place, names::name(&written.value, "queue", (63, false)))
    }
    fn spec(&self, writing: &mut Writing<'_, '_, '_>) -> Result<Option<PlatformSpec>, TreeError> {
        let delay = writing.number("settings.delivery_delay", self.delivery_delay.as_ref(), (0, DAY));
        let retention = writing.number("settings.message_retention_period", self.retention.as_ref(), (60, 1_209_600));
        let paused = writing.flag("settings.delivery_paused", self.delivery_paused.as_ref());
        let settings = some_of([("delivery_delay", delay), ("message_retention_period", retention), ("delivery_paused", paused)]);
        let jurisdiction = writing.word("jurisdiction", self.jurisdiction.as_ref(), &JURISDICTIONS);
        Ok(writing.finish(Kind::Queue, [("settings", settings), ("jurisdiction", jurisdiction)]))
    }
    fn further(&self, writing: &mut Writing<'_, '_, '_>) -> Option<PlatformSpec> {
        consumer(writing, self.consumer.as_ref()?)
    }
}

/// The consumer as a resource of its own. It bears the name of its queue, which is no field of it.
fn consumer(writing: &mut Writing<'_, '_, '_>, written: &Placed<ConsumerToml>) -> Option<PlatformSpec> {
    let Placed { place, value: ConsumerToml { worker, http_pull, dead_letter_queue, .. } } = written;
    let pulls = http_pull.as_ref().is_some_and(|pull| pull.value);
    if worker.is_some() == pulls {
        let hint = "such as `{ worker = \"click-writer\" }` or `{ http_pull = true }`";
        writing.reading.fault(Fault::new(*place, "exactly one of `worker`, `http_pull` is expected").hint(hint));
        return None;
    }
    // All faults at once: nothing is given up before the end.
    let settings = settings(writing, &written.value, pulls);
    let key = Placed { place: *place, value: writing.draft.name.clone() };
    let queue = writing.pending(Kind::Queue, &key, "id");
    let sort = if pulls { "http_pull" } else { "worker" };
    let script = worker.as_ref().map(|worker| {
        writing.trace("script_name", Some(worker.place));
        writing.refer(Kind::Worker, worker)?;
        writing.scope.workers.get(&worker.value)?.claim.clone().map(Value::Text)
    });
    let dead = dead_letter_queue.as_ref().map(|dead| {
        writing.trace("dead_letter_queue", Some(dead.place));
        if dead.value == writing.draft.name {
            let hint = "define another queue for what could not be delivered";
            writing.unfit(Some(dead.place), "a queue is not its own dead letter queue", hint);
            return None;
        }
        writing.pending(Kind::Queue, dead, "name")
    });
    writing.trace("type", Some(*place));
    let mut fields = Properties::from([("type".to_owned(), sort.into()), ("queue_id".to_owned(), queue?)]);
    for (field, value) in [("script_name", script), ("dead_letter_queue", dead), ("settings", settings.map(Some))] {
        if let Some(value) = value {
            fields.insert(field.to_owned(), value?);
        }
    }
    let claim = writing.draft.claim.clone()?;
    Some(PlatformSpec { sort: Kind::QueueConsumer, claim, fields, secrets: Default::default() })
}

fn settings(writing: &mut Writing<'_, '_, '_>, written: &ConsumerToml, pulls: bool) -> Option<Value> {
    let ConsumerToml { batch_timeout, max_concurrency, visibility_timeout_ms, .. } = written;
    if pulls {
        let at = batch_timeout.as_ref().or(max_concurrency.as_ref()).map(|number| number.place);
        writing.unfit(at, "this belongs to a consumer that is a Worker", "remove it");
    } else {
        let at = visibility_timeout_ms.as_ref().map(|number| number.place);
        writing.unfit(at, "`visibility_timeout_ms` belongs to `http_pull`", "remove it");
    }
    let mut number = |field: &str, written: &Option<Placed<i64>>, bounds| {
        writing.number(&format!("settings.{field}"), written.as_ref(), bounds)
    };
    let wait = number("max_wait_time_ms", batch_timeout, (0, 60)).map(|value| match value {
        Value::Integer(seconds) => Value::Integer(seconds * 1_000),
        other => other,
    });
    some_of([
        ("batch_size", number("batch_size", &written.batch_size, (1, 100))),
        ("max_wait_time_ms", wait),
        ("max_retries", number("max_retries", &written.max_retries, (0, 100))),
        ("retry_delay", number("retry_delay", &written.retry_delay, (0, DAY))),
        ("max_concurrency", number("max_concurrency", max_concurrency, (1, 250))),
        ("visibility_timeout_ms", number("visibility_timeout_ms", visibility_timeout_ms, (1_000, 43_200_000))),
    ])
}
