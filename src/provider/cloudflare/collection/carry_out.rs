//! One order for a thing of a list, with the lists as they are now.
//!
//! **Invariant:** nothing is written where the thing is not what the plan saw; a name that is taken is ours only where a
//! call of ours went out that was never answered.

use std::time::Duration;

use crate::boundary;
use crate::model::{Kind, Retry};
use crate::plan::{Action, Precondition};
use crate::provider::cloudflare::CloudflareProvider;
use crate::provider::cloudflare::carry_out::copy;
use crate::provider::cloudflare::fault::Fault;
use crate::provider::cloudflare::write::Writer;
use crate::provider::{Order, Outcome, ProviderError, Receipt};

use super::{Failed, Lists, Sort, Thing, place, sort, thing};

/// Carries out one order, with the list as it is now.
pub(in crate::provider::cloudflare) async fn carry_out(provider: &CloudflareProvider, lists: &Lists, order: &Order) -> Outcome {
    let change = &order.change;
    let kind = change.key.address.kind;
    let (Some(sort), Some(list)) = (sort(kind), lists.get(&kind)) else {
        return Outcome::Refused(ProviderError::new(format!("a {kind} does not live on this target"), Retry::Stalled));
    };
    let listed = match list {
        Ok(listed) => listed,
        Err(fault) => return Outcome::Refused(copy(&fault.error)),
    };
    let places = change.before.iter().chain(&change.after).filter_map(|properties| place(kind, properties));
    if let Some(fault) = listed.unread(places) {
        return Outcome::Refused(copy(&fault.error));
    }
    let all = &listed.things;
    let found = match &change.precondition {
        Precondition::Absent => match all.iter().find(|thing| is_named(thing, order)) {
            Some(found) if !order.earlier.is_empty() => Some(found),
            Some(_) => return Outcome::Conflict(format!("a {kind} `{}` is there now", change.claim)),
            None => None,
        },
        Precondition::Fingerprint(expected) => match all.iter().find(|thing| thing.fingerprint() == *expected) {
            Some(found) => Some(found),
            None if change.action == Action::Delete && is_gone(all, kind, expected) => return Outcome::Done(Receipt::default()),
            None => return Outcome::Conflict(format!("{kind} `{}` is no longer what the plan saw", change.claim)),
        },
    };
    let mut writer = Writer::new(provider);
    match (change.action, found) {
        (Action::Create, None) => {
            let made = sort.create(&mut writer, order).await;
            boundary::reach("after_listed");
            match made {
                Ok(thing) => done(order, &thing),
                Err(Failed::Fault(fault)) if is_taken(sort, &fault) => taken(&mut writer, sort, order, fault).await,
                Err(failed) => ended(&writer, failed),
            }
        }
        (Action::Delete, Some(found)) => {
            let deleted = sort.delete(&mut writer, found).await;
            boundary::reach("after_listed_delete");
            match deleted {
                Ok(()) => Outcome::Done(Receipt::default()),
                Err(Failed::Fault(fault)) if fault.is_missing() => Outcome::Done(Receipt::default()),
                Err(failed) => ended(&writer, failed),
            }
        }
        (Action::Create | Action::Update | Action::Adopt | Action::Move, Some(found)) => {
            let changed = sort.update(&mut writer, order, found).await;
            boundary::reach("after_listed");
            match changed {
                Ok(thing) => done(order, &thing),
                Err(Failed::Fault(fault)) if is_taken(sort, &fault) => {
                    Outcome::Conflict(format!("another {kind} is called `{}`", change.claim))
                }
                Err(Failed::Fault(fault)) if fault.is_missing() => Outcome::Conflict(format!("{kind} `{}` is gone", found.claim)),
                Err(failed) => ended(&writer, failed),
            }
        }
        (action, _) => Outcome::Conflict(format!("cannot {} {kind} `{}` as it is now", action.as_str(), change.claim)),
    }
}

fn ended(writer: &Writer<'_>, failed: Failed) -> Outcome {
    match failed {
        Failed::Fault(fault) => writer.failed(fault),
        Failed::Outcome(outcome) => outcome,
    }
}

/// Whether a thing bears the name, in its place, that an order is to make.
fn is_named(thing: &Thing, order: &Order) -> bool {
    let wanted = order.change.after.as_ref().and_then(|after| place(thing.kind, after));
    let there = place(thing.kind, &thing.properties);
    thing.claim == order.change.claim && (wanted.is_none() || there.is_none() || there == wanted)
}

/// Whether the API says that the name is taken.
fn is_taken(sort: &dyn Sort, fault: &Fault) -> bool {
    fault.certain && (fault.status == Some(409) || sort.taken().iter().any(|code| fault.has(*code)))
}

fn is_gone(all: &[Thing], kind: Kind, fingerprint: &str) -> bool {
    !thing::id_of(kind, fingerprint).is_some_and(|id| all.iter().any(|thing| thing.id == id))
}

/// What is waited before a list is asked for what the API says is there: lists follow within seconds.
const PAUSES: [Duration; 4] =
    [Duration::ZERO, Duration::from_millis(500), Duration::from_millis(1_000), Duration::from_millis(2_000)];

/// Nothing of that name was there a moment ago, as the list has it. If the call went out twice, or one of ours was never
/// answered, it is ours; so is what bears our mark, which the list shows late. Else somebody was faster.
async fn taken(writer: &mut Writer<'_>, sort: &dyn Sort, order: &Order, fault: Fault) -> Outcome {
    let (kind, claim) = (sort.kind(), &order.change.claim);
    let was_sent = fault.resent || !order.earlier.is_empty();
    let is_identical = sort.identical().iter().any(|code| fault.has(*code));
    if !was_sent && !is_identical {
        return Outcome::Conflict(format!("a {kind} `{claim}` is there now"));
    }
    let places = order.change.after.as_ref().and_then(|after| place(kind, after)).map(str::to_owned).into_iter().collect();
    let pauses = if is_identical { &PAUSES[..] } else { &PAUSES[..1] };
    for pause in pauses {
        tokio::time::sleep(*pause).await;
        let all = match sort.list(writer.provider, &places).await {
            Ok(all) => all,
            Err(fault) if was_sent => return Outcome::Unknown(fault.error),
            Err(fault) => return Outcome::Refused(fault.error),
        };
        let Some(found) = all.iter().find(|thing| thing.kind == kind && is_named(thing, order)) else { continue };
        if is_identical && found.owner.as_ref() != Some(&order.change.key.address) {
            return Outcome::Conflict(format!("a {kind} `{claim}` is there now, and bears no mark of ours"));
        }
        return match sort.update(writer, order, found).await {
            Ok(thing) => done(order, &thing),
            Err(failed) => ended(writer, failed),
        };
    }
    if was_sent {
        return Outcome::Unknown(fault.error);
    }
    Outcome::Conflict(format!("a {kind} `{claim}` is there, and the list does not show it yet: the next pass looks again"))
}

fn done(order: &Order, thing: &Thing) -> Outcome {
    Outcome::Done(Receipt {
        properties: order.change.after.clone().unwrap_or_default(),
        attributes: thing.attributes.clone(),
        fingerprint: thing.fingerprint(),
        ..Receipt::default()
    })
}
