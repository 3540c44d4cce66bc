//! `apply`: fetch, and make what is merged what runs, once.

use serde_json::json;

use super::arguments::{Apply, Global, Output};
use super::output::{Failure, note, progress, show, show_json};
use super::{ERROR, OK, daemon_run, status, workspace};
use crate::daemon::control::{self, Request};
use crate::daemon::{self, StartError};
use crate::reconcile::{push, reconcile};
use crate::record::ConditionReason;
use crate::settings::Settings;
use crate::status::EnvironmentStatus;
use crate::store::{LockError, StoreError};

pub(super) async fn apply(global: &Global, verb: &Apply) -> Result<u8, Failure> {
    let settings = workspace::settings(global)?;
    let stop = daemon_run::stop_on_signal()?;
    let context = match daemon::context(settings.clone(), stop, Box::new(progress)) {
        Ok(context) => context,
        Err(StartError::Store(StoreError::Lock(LockError::Held { .. }))) => return through_daemon(&settings, verb).await,
        Err(error) => return Err(Failure::of(&error).hint(error.hint())),
    };
    let fetch = daemon::fetch(&context).await;
    if let Some(fault) = fetch.fault {
        return Err(Failure::new(format!("nothing is applied: {}", fault.message)).hint(fault.hint));
    }
    let head = fetch.head.ok_or_else(|| Failure::new("the repository has no revision"))?;
    let environments = daemon::environments(&context, &head).await.map_err(Failure::new)?;
    if let Some(unknown) = verb.environments.iter().find(|id| !environments.contains(id)) {
        return Err(workspace::undefined(&head, unknown, &environments));
    }
    for environment in environments.iter().filter(|id| verb.environments.is_empty() || verb.environments.contains(id)) {
        Box::pin(reconcile(&context, environment, &head, true)).await;
    }
    push(&context).await;
    report(&status::collect(&context.store, &verb.environments)?, verb.output)
}

/// A daemon works on the data folder: it is asked to look; its answer comes when every environment has been looked at.
async fn through_daemon(settings: &Settings, verb: &Apply) -> Result<u8, Failure> {
    note("a daemon works on this data folder; it is asked to look now");
    let answer = control::ask(&settings.data, &Request::Sync).await?;
    let answer =
        answer.ok_or_else(|| Failure::new("the process that works on the data folder does not answer on its control socket"))?;
    if !answer.ok {
        return Err(Failure::new(answer.message).hint(answer.hint));
    }
    let store = workspace::reader(settings)?;
    report(&status::collect(&store, &verb.environments)?, verb.output)
}

fn report(statuses: &[EnvironmentStatus], output: Output) -> Result<u8, Failure> {
    match output {
        Output::Json => show_json(&json!({ "version": 1, "environments": statuses }))?,
        Output::Text => {
            for status in statuses {
                status.warnings.iter().for_each(|warning| note(&format!("warning: {warning}")));
                show(&format!("{}: {} ({}): {}", status.environment, status.condition, status.reason, status.message))?;
            }
        }
    }
    // A version that has its first share is on its way, as it is meant to be.
    let is_well = |status: &EnvironmentStatus| status.is_ready() || status.reason == ConditionReason::RollingOut.as_str();
    Ok(if statuses.iter().all(is_well) { OK } else { ERROR })
}
