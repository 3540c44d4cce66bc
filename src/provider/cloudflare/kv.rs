//! Orders for KV namespaces.
//!
//! Goes in: the list of namespaces, an order. Comes out: its outcome.
//!
//! **Invariant:** a namespace has no place for a mark; its title is unique in an account, and its id is what it is
//! known by. A title that appears where nothing was is taken for ours only where an operation of ours may have made it.

use http::Method;
use serde_json::{Value as Json, json};

use crate::boundary;
use crate::model::{Properties, Value};
use crate::plan::{Action, Precondition};
use crate::provider::{Order, Outcome, Receipt};

use super::CloudflareProvider;
use super::client::Payload;
use super::fault::Fault;
use super::lists::{namespace_fingerprint, read_namespaces};
use super::path::Grammar;
use super::wire::Namespace;

/// "A namespace with this title exists."
const TITLE_TAKEN: u64 = 10014;

/// Carries out one order, with `all` namespaces as they are now.
pub(super) async fn carry_out(provider: &CloudflareProvider, all: &[Namespace], order: &Order) -> Outcome {
    let change = &order.change;
    let found = match &change.precondition {
        Precondition::Absent => match all.iter().find(|n| n.title == change.claim) {
            Some(found) if !order.earlier.is_empty() => return done(found),
            Some(_) => return Outcome::Conflict(format!("a KV namespace `{}` is there now", change.claim)),
            None => None,
        },
        Precondition::Fingerprint(expected) => match all.iter().find(|n| namespace_fingerprint(n) == *expected) {
            Some(found) => Some(found),
            None if change.action == Action::Delete && !id_of(expected).is_some_and(|id| all.iter().any(|n| n.id == id)) => {
                return Outcome::Done(Receipt::default());
            }
            None => return Outcome::Conflict(format!("KV namespace `{}` is no longer what the plan saw", change.claim)),
        },
    };
    match (change.action, found) {
        (Action::Create, None) => create(provider, order).await,
        (Action::Delete, Some(found)) => delete(provider, found).await,
        (Action::Update | Action::Adopt | Action::Move, Some(found)) => rename(provider, order, found).await,
        (action, _) => Outcome::Conflict(format!("cannot {} KV namespace `{}` as it is now", action.as_str(), change.claim)),
    }
}

fn done(namespace: &Namespace) -> Outcome {
    Outcome::Done(Receipt {
        properties: [("title".to_owned(), Value::text(&namespace.title))].into(),
        attributes: [("id".to_owned(), namespace.id.clone())].into(),
        fingerprint: namespace_fingerprint(namespace),
    })
}

fn id_of(fingerprint: &str) -> Option<&str> {
    fingerprint.strip_prefix("kv1:")?.split(':').next()
}

async fn create(provider: &CloudflareProvider, order: &Order) -> Outcome {
    let title = &order.change.claim;
    let path = provider.account.path(&["storage", "kv", "namespaces"]);
    let made = provider.client.write::<Namespace>(Method::POST, &path, Payload::Json(json!({ "title": title })), &[]).await;
    boundary::reach("after_namespace");
    match made {
        Ok(made) if made.title == *title && Grammar::Id.check(&made.id).is_ok() => done(&made),
        // Made, but the answer does not say what: the list does.
        Ok(_) => read_back(provider, title, None).await,
        // Nothing of that title was there a moment ago. If the call went out twice, or one of ours was never answered, it
        // is ours; else somebody was faster.
        Err(fault) if fault.has(TITLE_TAKEN) && (fault.resent || !order.earlier.is_empty()) => {
            read_back(provider, title, Some(fault)).await
        }
        Err(fault) if fault.has(TITLE_TAKEN) => Outcome::Conflict(format!("a KV namespace `{title}` is there now")),
        Err(fault) => fault.outcome(),
    }
}

async fn read_back(provider: &CloudflareProvider, title: &str, fault: Option<Fault>) -> Outcome {
    match (read_namespaces(&provider.client, &provider.account).await, fault) {
        (Ok(all), fault) => match (all.iter().find(|n| n.title == *title), fault) {
            (Some(found), _) => done(found),
            (None, Some(fault)) => Outcome::Unknown(fault.error),
            (None, None) => Outcome::Unknown(crate::provider::ProviderError::new(
                format!("KV namespace `{title}` was made, but the list does not show it yet"),
                crate::model::Retry::Transient,
            )),
        },
        (Err(fault), _) => Outcome::Unknown(fault.error),
    }
}

async fn delete(provider: &CloudflareProvider, found: &Namespace) -> Outcome {
    if let Err(error) = Grammar::Id.check(&found.id) {
        return Outcome::Refused(error);
    }
    let path = provider.account.path(&["storage", "kv", "namespaces", &found.id]);
    let deleted = provider.client.write::<Json>(Method::DELETE, &path, Payload::Empty, &[]).await;
    boundary::reach("after_namespace_delete");
    match deleted {
        Ok(_) => Outcome::Done(Receipt::default()),
        Err(fault) if fault.is_missing() => Outcome::Done(Receipt::default()),
        Err(fault) => fault.outcome(),
    }
}

/// Gives a namespace the title that is desired, where it has another.
async fn rename(provider: &CloudflareProvider, order: &Order, found: &Namespace) -> Outcome {
    let title = |properties: &Properties| properties.get("title").and_then(Value::as_text).map(str::to_owned);
    let title = order.change.after.as_ref().and_then(title).unwrap_or_else(|| order.change.claim.clone());
    if title == found.title {
        return done(found);
    }
    if let Err(error) = Grammar::Id.check(&found.id) {
        return Outcome::Refused(error);
    }
    let path = provider.account.path(&["storage", "kv", "namespaces", &found.id]);
    let renamed = provider.client.write::<Json>(Method::PUT, &path, Payload::Json(json!({ "title": title })), &[]).await;
    boundary::reach("after_namespace");
    match renamed {
        Ok(_) => done(&Namespace { id: found.id.clone(), title }),
        Err(fault) if fault.has(TITLE_TAKEN) => Outcome::Conflict(format!("another KV namespace is called `{title}`")),
        Err(fault) if fault.is_missing() => Outcome::Conflict(format!("KV namespace `{}` is gone", found.title)),
        Err(fault) => fault.outcome(),
    }
}
