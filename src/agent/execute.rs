//! One request, one answer.

use super::apply::apply;
use super::observe::observe;
use super::{Answer, Policy, Request, Task, VERSION};
use crate::agent::Fault;

/// Answers `request` within what `policy` allows. Blocks for as long as the disk and the validate commands take.
pub fn execute(request: Request, policy: &Policy) -> Answer {
    let Request { version, environment, heals: _, task } = request;
    if version != VERSION {
        let message = format!("the request has version {version}, and this executor knows {VERSION}");
        return Answer::Refused(Fault::new(message).hint("install the same version of trunkline on both sides"));
    }
    if let Task::Apply { orders, .. } = &task
        && let Some(refused) = orders.iter().map(|order| order.what.key()).find(|key| !policy.takes(key.address.kind))
    {
        let message = format!("this host's own policy allows no {}: `{}`", refused.address.kind, refused.address.local());
        return Answer::Refused(Fault::new(message).hint("add it to `kinds` in the policy on the host, or select another host"));
    }
    let answer = match task {
        Task::Observe { queries } => observe(policy, &environment, &queries).map(Answer::Observed),
        Task::Apply { epoch, orders } => apply(policy, &environment, epoch, orders).map(Answer::Applied),
    };
    answer.unwrap_or_else(Answer::Refused)
}
