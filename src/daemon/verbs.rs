//! The verbs that change something about one environment: carried out by the loop, or by a verb where no daemon runs.
//!
//! Goes in: a request. Comes out: the answer, for people.
//!
//! **Invariant:** whoever calls this sees to it that no pass of the environment runs meanwhile.

use super::control::{Answer, Request};
use crate::apply::Report;
use crate::model::EnvironmentId;
use crate::reconcile::{self, Aborted, Context, Outcome, RollbackError, RolledBack, RolloutError, with_network};
use crate::record::Pause;
use crate::store::StoreError;

/// Carries a request out.
pub async fn carry_out(context: &Context, request: &Request) -> Answer {
    match request {
        Request::Sync => Answer::failed("only a daemon looks when it is asked to", None),
        Request::Rollback { environment, to, owner } => {
            rolled_back(Box::pin(reconcile::rollback(context, environment, to.as_deref(), owner)).await)
        }
        Request::Promote { environment, worker, to, owner } => {
            steered(Box::pin(reconcile::promote(context, environment, worker.as_ref(), *to, owner)).await)
        }
        Request::Pause { environment, worker, reason, owner } => {
            paused(environment, reconcile::pause(context, environment, worker.as_ref(), owner, reason.as_deref()))
        }
        Request::Abort { environment, worker, owner } => {
            aborted(Box::pin(reconcile::abort(context, environment, worker.as_ref(), owner)).await)
        }
        Request::Resume { environment } => resume(context, environment).await,
    }
}

/// Lifts what holds an environment: the quarantine, what is paused, and a rewritten history of the branch.
async fn resume(context: &Context, environment: &EnvironmentId) -> Answer {
    match context.store.environment(environment) {
        Ok(Some(_)) => {}
        Ok(None) => {
            let hint = Some("`trunkline status` lists the environments".to_owned());
            return Answer::failed(format!("the environment {environment} was never looked at"), hint);
        }
        Err(error) => return Answer::failed(crate::provider::chain(&error), error.hint()),
    }
    let quarantine = match context.store.quarantine(environment) {
        Ok(quarantine) => quarantine,
        Err(error) => return Answer::failed(crate::provider::chain(&error), error.hint()),
    };
    if let Err(error) = context.store.put_quarantine(environment, None) {
        return Answer::failed(crate::provider::chain(&error), error.hint());
    }
    let mut done = Vec::new();
    if let Some(quarantine) = quarantine {
        done.push(format!("{} entries of the quarantine of {} lifted", quarantine.entries.len(), quarantine.abandoned));
    }
    match lifted(context, environment) {
        Ok(paused) => done.extend(paused),
        Err(error) => return Answer::failed(crate::provider::chain(&error), error.hint()),
    }
    let accepted = with_network(context, |source| match source.fetch() {
        Err(crate::source::SourceError::Rewritten { to, .. }) => source.accept(&to).map(Some),
        Ok(_) => Ok(None),
        Err(error) => Err(error),
    });
    match accepted.await {
        Ok(Some(to)) => done.push(format!("the rewritten history is accepted at {to}")),
        Ok(None) => {}
        // What was lifted is lifted; a history that cannot be seen cannot be what holds it now.
        Err(error) if !done.is_empty() => {
            done.push(format!("the repository cannot be asked now: {}", crate::provider::chain(&error)));
        }
        Err(error) => return Answer::failed(crate::provider::chain(&error), error.hint()),
    }
    if done.is_empty() {
        return Answer::ok(format!("nothing holds {environment}"));
    }
    Answer::ok(format!("{environment}: {}", done.join("; ")))
}

/// Lifts every pause; what they were, for people.
fn lifted(context: &Context, environment: &EnvironmentId) -> Result<Option<String>, StoreError> {
    let mut orders = context.store.rollout_orders(environment)?;
    if orders.paused.is_empty() {
        return Ok(None);
    }
    let paused: Vec<String> = orders.paused.drain(..).map(|pause| format!("the pause {pause}")).collect();
    context.store.put_rollout_orders(&orders)?;
    Ok(Some(format!("{} lifted", paused.join(", "))))
}

/// What becomes of a version that is rolling out, for people.
fn steered(result: Result<Outcome, RolloutError>) -> Answer {
    match result {
        Ok(outcome) => {
            let ok = outcome.report.as_ref().is_none_or(Report::is_complete);
            Answer { ok, message: outcome.condition.message().to_owned(), hint: None }
        }
        Err(error) => Answer::failed(crate::provider::chain(&error), error.hint()),
    }
}

fn paused(environment: &EnvironmentId, result: Result<Pause, RolloutError>) -> Answer {
    match result {
        Ok(pause) => {
            let which = pause.worker.as_ref().map_or_else(|| format!("every Worker of {environment}"), ToString::to_string);
            let more = "`trunkline promote` goes on by one step, `trunkline resume` by all of them";
            Answer::ok(format!("{which} gets no further share by itself: paused {pause}; {more}"))
        }
        Err(error) => Answer::failed(crate::provider::chain(&error), error.hint()),
    }
}

fn aborted(result: Result<Aborted, RolloutError>) -> Answer {
    match result {
        Ok(Aborted { instances, outcome }) => {
            let names: Vec<String> = instances.iter().map(ToString::to_string).collect();
            let what = format!("the version before has all requests again: {}", names.join(", "));
            let message = format!("{what}\n{}\nquarantined until changed: {}", outcome.condition.message(), names.join(", "));
            Answer { ok: outcome.report.as_ref().is_none_or(Report::is_complete), message, hint: None }
        }
        Err(error) => Answer::failed(crate::provider::chain(&error), error.hint()),
    }
}

/// What a rollback did, for people.
fn rolled_back(result: Result<RolledBack, RollbackError>) -> Answer {
    let done = match result {
        Ok(done) => done,
        Err(error) => return Answer::failed(crate::provider::chain(&error), error.hint()),
    };
    let mut lines = vec![format!("{} → {}: {}", done.from.revision, done.to.revision, done.outcome.condition.message())];
    if done.read_again {
        lines.push(format!("the bundle of {} was no longer kept; its definitions were read from Git again", done.to.revision));
    }
    if !done.quarantined.is_empty() {
        lines.push(format!("quarantined until changed: {}", done.quarantined.join(", ")));
    }
    match &done.proposal {
        Ok(proposal) if proposal.pushed => {
            lines.push(format!("the revert waits on branch {} for people to merge", proposal.branch));
        }
        Ok(proposal) => lines.push(format!(
            "the revert is committed on branch {} of the daemon's repository; it is not pushed: {}",
            proposal.branch,
            proposal.reason.as_deref().unwrap_or("the remote did not take it")
        )),
        Err(reason) => lines.push(format!("no revert was committed: {reason}")),
    }
    if !done.also_touched.is_empty() {
        let names: Vec<String> = done.also_touched.iter().map(ToString::to_string).collect();
        lines.push(format!("the same files are read by {}", names.join(", ")));
    }
    let ok = done.outcome.report.as_ref().is_none_or(Report::is_complete);
    Answer { ok, message: lines.join("\n"), hint: None }
}
