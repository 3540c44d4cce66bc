//! Whether a request is small enough to travel.
//!
//! **Invariant:** what is refused here was not sent: nothing of it has begun.

use std::collections::BTreeMap;
use std::fmt::Display;

use super::Lost;
use crate::agent::{FileTask, Order, Ordered, Payload, Request, Task, length};
use crate::model::{InstanceKey, Retry};
use crate::provider::ProviderError;

/// How many of the heaviest are named.
const NAMED: usize = 5;

/// Refuses a request of more than `most` bytes, naming what makes it so large.
pub(super) fn fits(host: &dyn Display, request: &Request, most: usize) -> Result<(), Lost> {
    let Task::Apply { orders, .. } = &request.task else { return Ok(()) };
    let weights: BTreeMap<&InstanceKey, usize> = orders.iter().map(|order| (order.what.key(), weight(order))).collect();
    // Bytes travel as base64, four for three, and hardly anything else is long: what is far from the limit is not counted.
    if weights.values().sum::<usize>().saturating_mul(2) < most {
        return Ok(());
    }
    let counted = length(request).map_err(|error| {
        let error = ProviderError::new(format!("the request for {host} cannot be sent"), Retry::Stalled).source(error);
        Lost { error, begun: false }
    })?;
    if counted <= most {
        return Ok(());
    }
    let mut heaviest: Vec<(&InstanceKey, usize)> = weights.into_iter().filter(|(_, weight)| *weight > 0).collect();
    heaviest.sort_by_key(|(_, weight)| std::cmp::Reverse(*weight));
    let named: Vec<String> =
        heaviest.iter().take(NAMED).map(|(key, weight)| format!("{} ({})", key.address, bytes(*weight))).collect();
    let more = match heaviest.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let message = format!(
        "the request for {host} is too large to be sent: it has {}, and {} travel at once; it is made of {}{more}",
        bytes(counted),
        bytes(most),
        named.join(", ")
    );
    let hint = "bring some of them in a commit of their own, after this one was applied; or let the host fetch what is large, \
                with a unit that checks its digest";
    Err(Lost { error: ProviderError::new(message, Retry::Stalled).hint(hint), begun: false })
}

/// How many bytes of files and secrets an order brings.
fn weight(order: &Order) -> usize {
    let all = |payloads: &mut dyn Iterator<Item = &Payload>| payloads.map(|payload| payload.expose().len()).sum::<usize>();
    match &order.what {
        Ordered::File(order) => match &order.task {
            FileTask::Write(write) => write.bytes.expose().len(),
            FileTask::Delete => 0,
        },
        Ordered::Thing(order) => {
            order.wanted.as_ref().map_or(0, |wanted| all(&mut wanted.contents.values()) + all(&mut wanted.values.values()))
        }
    }
}

/// A number of bytes for people.
fn bytes(number: usize) -> String {
    match number {
        0..10_240 => format!("{number} bytes"),
        10_240..10_485_760 => format!("{} KiB", number / 1024),
        _ => format!("{} MiB", number / 1024 / 1024),
    }
}
