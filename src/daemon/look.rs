//! What there is to be reconciled: the newest revision, and the environments that it defines.

use std::collections::BTreeSet;

use chrono::Utc;

use crate::definition;
use crate::model::{EnvironmentId, Revision};
use crate::reconcile::{Context, with_network, with_source};
use crate::record::{Condition, ConditionReason, EnvironmentRecord, SourceRecord};

/// What a fetch found.
#[derive(Debug, Clone)]
pub struct Fetch {
    /// The newest revision that may be applied, if there is any.
    pub head: Option<Revision>,
    /// What is wrong with the source; then `head` is what was accepted before.
    pub fault: Option<SourceFault>,
}

/// What is wrong with the source.
#[derive(Debug, Clone)]
pub struct SourceFault {
    /// For people, the causes included.
    pub message: String,
    /// What the reader can do now.
    pub hint: Option<String>,
}

impl std::fmt::Display for SourceFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)?;
        self.hint.iter().try_for_each(|hint| write!(f, " ({hint})"))
    }
}

/// Fetches, and records how it went.
pub async fn fetch(context: &Context) -> Fetch {
    let fetched = ask(context).await;
    record(context, &fetched);
    fetched
}

async fn ask(context: &Context) -> Fetch {
    with_network(context, |source| match source.fetch() {
        Ok(fetched) => Fetch { head: Some(fetched.revision), fault: None },
        Err(error) => {
            let fault = SourceFault { message: crate::provider::chain(&error), hint: error.hint() };
            Fetch { head: source.head().ok().flatten(), fault: Some(fault) }
        }
    })
    .await
}

/// Writes down how a fetch went; what was wrong before it.
fn record(context: &Context, fetched: &Fetch) -> Option<String> {
    let Fetch { head, fault } = fetched;
    let fault = fault.as_ref().map(ToString::to_string);
    let before = context.store.source().ok().flatten();
    let since = before.as_ref().filter(|b| b.fault.is_some()).and_then(|b| b.fault_since);
    let record = SourceRecord {
        remote: context.settings.remote.clone().unwrap_or_default(),
        // What was accepted once is not forgotten with the repository: a new one must descend from it.
        head: head.clone().or_else(|| before.as_ref().and_then(|b| b.head.clone())),
        at: Utc::now(),
        fault_since: fault.as_ref().map(|_| since.unwrap_or_else(Utc::now)),
        fault,
    };
    let settled = before.as_ref().is_some_and(|b| b.head == record.head && b.fault == record.fault);
    if !settled && let Err(error) = context.store.put_source(&record) {
        tracing::error!(error = %crate::provider::chain(&error), "The state of the repository cannot be recorded.");
    }
    before.and_then(|before| before.fault)
}

/// The same for the daemon, which tells of a fault once, and of its end.
fn record_and_tell(context: &Context, fetched: &Fetch) {
    match (&fetched.fault, record(context, fetched)) {
        (Some(fault), None) => {
            tracing::warn!(%fault, "The repository cannot be followed; the environments are held at what runs.");
        }
        (None, Some(_)) => tracing::info!("The repository can be followed again."),
        _ => {}
    }
}

/// The environments that `revision` defines, and those that only the store knows and that still own something.
///
/// # Errors
/// A message, where the tree cannot be read.
pub async fn environments(context: &Context, revision: &Revision) -> Result<BTreeSet<EnvironmentId>, String> {
    let commit = revision.commit.clone();
    let defined = with_source(&context.source, move |source| -> Result<Vec<EnvironmentId>, String> {
        let tree = source.tree(&commit).map_err(|error| crate::provider::chain(&error))?;
        let (environments, faults) = definition::environments(&tree).map_err(|error| crate::provider::chain(&error))?;
        for fault in faults {
            tracing::warn!(path = fault.path, "{}", fault.message);
        }
        Ok(environments)
    })
    .await?;
    let mut environments: BTreeSet<EnvironmentId> = defined.into_iter().collect();
    for record in context.store.environments().map_err(|error| crate::provider::chain(&error))? {
        if environments.contains(&record.environment) {
            continue;
        }
        // What cannot be read may own something.
        if context.store.inventory(&record.environment).is_ok_and(|inventory| inventory.is_empty()) {
            settle_former(context, record);
        } else {
            environments.insert(record.environment);
        }
    }
    Ok(environments)
}

/// An environment that is no longer defined and owns nothing has come to its end, whatever was wrong with it.
fn settle_former(context: &Context, record: EnvironmentRecord) {
    if matches!(record.condition, Condition::Ready { .. }) {
        return;
    }
    let message = "it is no longer defined, and owns nothing".to_owned();
    let record = record.conclude(Condition::Ready { reason: ConditionReason::Applied, message }, Utc::now());
    if let Err(error) = context.store.put_environment(&record) {
        tracing::error!(error = %crate::provider::chain(&error), "The environment's record cannot be written.");
    }
}

/// What a look found.
#[derive(Debug)]
pub(super) struct Looked {
    /// The newest revision that may be applied, and its environments.
    pub(super) found: Option<(Revision, BTreeSet<EnvironmentId>)>,
    /// What is wrong with the source.
    pub(super) fault: Option<SourceFault>,
}

/// Fetches, and says what there is.
pub(super) async fn look(context: &Context) -> Looked {
    let fetched = ask(context).await;
    record_and_tell(context, &fetched);
    found(context, fetched).await
}

/// What was accepted last; no network.
pub(super) async fn look_at_known(context: &Context) -> Looked {
    let head = with_source(&context.source, |source| source.head().ok().flatten()).await;
    found(context, Fetch { head, fault: None }).await
}

async fn found(context: &Context, fetched: Fetch) -> Looked {
    let Fetch { head, fault } = fetched;
    let Some(head) = head else { return Looked { found: None, fault } };
    match environments(context, &head).await {
        Ok(environments) => Looked { found: Some((head, environments)), fault },
        Err(unreadable) => {
            let fault = Some(SourceFault { message: format!("the commit {head} cannot be read: {unreadable}"), hint: None });
            record_and_tell(context, &Fetch { head: Some(head), fault: fault.clone() });
            Looked { found: None, fault }
        }
    }
}
