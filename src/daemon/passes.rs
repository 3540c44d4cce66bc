//! The loop: which environments need a pass, and when.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::control::{Answer, Call, Request};
use crate::definition;
use crate::model::{EnvironmentId, Revision};
use crate::reconcile::{Context, Outcome, publish, reconcile, rollback, with_source};
use crate::record::{Condition, SourceRecord};
use crate::trigger::Triggers;

/// What a fetch found.
#[derive(Debug, Clone)]
pub struct Fetch {
    /// The newest revision that may be applied, if there is any.
    pub head: Option<Revision>,
    /// What is wrong with the source; then `head` is what was accepted before.
    pub fault: Option<String>,
}

/// Fetches, and records how it went.
pub async fn fetch(context: &Context) -> Fetch {
    let (head, fault) = with_source(&context.source, |source| match source.fetch() {
        Ok(fetched) => (Some(fetched.revision), None),
        Err(error) => {
            let hint = error.hint().map(|hint| format!(" ({hint})")).unwrap_or_default();
            (source.head().ok().flatten(), Some(format!("{}{hint}", crate::provider::chain(&error))))
        }
    })
    .await;
    let before = context.store.source().ok().flatten();
    let since = before.as_ref().filter(|b| b.fault.is_some()).and_then(|b| b.fault_since);
    match (&fault, before.as_ref().and_then(|b| b.fault.as_ref())) {
        (Some(fault), None) => {
            tracing::warn!(fault, "The repository cannot be followed; the environments are held at what runs.");
        }
        (None, Some(_)) => tracing::info!("The repository can be followed again."),
        _ => {}
    }
    let record = SourceRecord {
        remote: context.settings.remote.clone().unwrap_or_default(),
        head: head.clone(),
        at: Utc::now(),
        fault_since: fault.as_ref().map(|_| since.unwrap_or_else(Utc::now)),
        fault: fault.clone(),
    };
    let settled = before.as_ref().is_some_and(|b| b.head == record.head && b.fault == record.fault);
    if !settled && let Err(error) = context.store.put_source(&record) {
        tracing::error!(error = %crate::provider::chain(&error), "The state of the repository cannot be recorded.");
    }
    Fetch { head, fault }
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
        if context.store.inventory(&record.environment).is_ok_and(|inventory| !inventory.is_empty()) {
            environments.insert(record.environment);
        }
    }
    Ok(environments)
}

enum Ended {
    Pass(EnvironmentId, Outcome),
    Rollback(EnvironmentId),
}

struct Loop<'a> {
    context: &'a Arc<Context>,
    head: Option<Revision>,
    /// When each environment is to be looked at although nothing woke us.
    due: BTreeMap<EnvironmentId, Instant>,
    running: BTreeSet<EnvironmentId>,
    /// Not ready after their last pass: a wake-up that brings no new commit waits until they are due.
    backing_off: BTreeSet<EnvironmentId>,
    /// Woken while a pass was running: another one follows.
    again: BTreeSet<EnvironmentId>,
    /// Rollbacks that wait for a pass to end.
    waiting: Vec<Call>,
    tasks: JoinSet<Ended>,
}

/// Runs until the triggers say stop; then waits for the passes in hand.
pub(super) async fn run(context: &Arc<Context>, triggers: &mut Triggers, mut requests: mpsc::Receiver<Call>) {
    let mut state = Loop {
        context,
        head: None,
        due: BTreeMap::new(),
        running: BTreeSet::new(),
        backing_off: BTreeSet::new(),
        again: BTreeSet::new(),
        waiting: Vec::new(),
        tasks: JoinSet::new(),
    };
    state.look(true).await;
    loop {
        let next = state.due.values().min().copied().unwrap_or_else(|| Instant::now() + Duration::from_secs(3_600));
        tokio::select! {
            // Cancel-safe: a wake-up that is not taken stays in the queue of the triggers.
            wake = triggers.next() => {
                if super::is_stop(&wake) { break; }
                state.look(false).await;
            }
            // Cancel-safe: a finished task stays in the set until it is taken.
            Some(ended) = state.tasks.join_next() => state.ended(ended),
            // Cancel-safe: a request that is not received stays in the channel.
            Some(call) = requests.recv() => state.request(call).await,
            // Cancel-safe: nothing is lost with a timer.
            () = tokio::time::sleep_until(next) => state.start_due(),
        }
    }
    while let Some(ended) = state.tasks.join_next().await {
        state.ended(ended);
    }
}

impl Loop<'_> {
    /// Fetches, then begins a pass for every environment: one whose inputs did not change ends at once. Where there is no
    /// new commit, one that backs off is left alone unless a person asks: our own push of the record wakes us too.
    async fn look(&mut self, asked: bool) {
        let fetch = fetch(self.context).await;
        if let Some(head) = fetch.head {
            match environments(self.context, &head).await {
                Ok(environments) => {
                    let nothing_new = !asked && self.head.as_ref() == Some(&head);
                    self.head = Some(head);
                    self.due.retain(|environment, _| environments.contains(environment));
                    for environment in environments {
                        let waits = self.backing_off.contains(&environment) || self.running.contains(&environment);
                        if !(nothing_new && waits) {
                            self.begin(&environment, false);
                        }
                    }
                }
                Err(fault) => tracing::error!(fault, "The commit cannot be read; the environments are held at what runs."),
            }
        }
    }

    fn start_due(&mut self) {
        let now = Instant::now();
        let due: Vec<EnvironmentId> = self.due.iter().filter(|(_, at)| **at <= now).map(|(id, _)| id.clone()).collect();
        for environment in due {
            self.begin(&environment, false);
        }
    }

    fn begin(&mut self, environment: &EnvironmentId, force: bool) {
        self.due.remove(environment);
        let Some(head) = self.head.clone() else { return };
        if !self.running.insert(environment.clone()) {
            self.again.insert(environment.clone());
            return;
        }
        let (context, environment) = (self.context.clone(), environment.clone());
        self.tasks.spawn(async move {
            publish(&context, &environment).await;
            let outcome = Box::pin(reconcile(&context, &environment, &head, force)).await;
            Ended::Pass(environment, outcome)
        });
    }

    fn ended(&mut self, ended: Result<Ended, tokio::task::JoinError>) {
        let environment = match ended {
            Ok(Ended::Pass(environment, outcome)) => {
                self.due.insert(environment.clone(), Instant::now() + outcome.requeue);
                if matches!(outcome.condition, Condition::Ready { .. }) {
                    self.backing_off.remove(&environment);
                } else {
                    self.backing_off.insert(environment.clone());
                }
                environment
            }
            Ok(Ended::Rollback(environment)) => {
                self.again.insert(environment.clone());
                environment
            }
            Err(error) => {
                // A pass that panicked must not take the others with it; which one it was is in the log of the panic.
                tracing::error!(%error, "A pass ended by a panic.");
                self.running.clear();
                return;
            }
        };
        self.running.remove(&environment);
        if let Some(position) = self.waiting.iter().position(|call| call.request.environment() == Some(&environment)) {
            let call = self.waiting.remove(position);
            self.begin_rollback(call);
        } else if self.again.remove(&environment) {
            self.begin(&environment, false);
        }
    }

    async fn request(&mut self, call: Call) {
        match &call.request {
            Request::Sync => {
                self.look(true).await;
                call.answer(Answer::ok("looking at every environment"));
            }
            Request::Resume { environment } => {
                let environment = environment.clone();
                call.answer(super::control::resume(self.context, &environment).await);
                self.look(true).await;
            }
            Request::Rollback { environment, .. } if self.running.contains(environment) => self.waiting.push(call),
            Request::Rollback { .. } => self.begin_rollback(call),
        }
    }

    fn begin_rollback(&mut self, call: Call) {
        let Request::Rollback { environment, to, owner } = call.request.clone() else { return };
        self.due.remove(&environment);
        self.running.insert(environment.clone());
        let context = self.context.clone();
        self.tasks.spawn(async move {
            let result = Box::pin(rollback(&context, &environment, to.as_deref(), &owner)).await;
            call.answer(super::control::rolled_back(result));
            Ended::Rollback(environment)
        });
    }
}
