//! `rollback`, `promote`, `pause`, `abort` and `resume`: by the running daemon, or in this process where none runs.

use clap::Args;

use super::arguments::{Global, Resume, Rollback};
use super::output::{Failure, progress, show};
use super::{ERROR, OK, daemon_run, workspace};
use crate::daemon::control::{self, Answer, Request};
use crate::daemon::{self, StartError};
use crate::model::{EnvironmentId, ResourceName};
use crate::reconcile::{Context, push};
use crate::settings::Settings;
use crate::store::{LockError, StoreError};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  trunkline promote production                 every version that is rolling out goes on by one step, now
  trunkline promote production api --to 100    all requests go to the new version of worker.api

What is paused stays paused after that step.")]
pub(super) struct Promote {
    /// Where
    environment: EnvironmentId,
    /// Only this Worker
    #[arg(value_parser = worker)]
    worker: Option<ResourceName>,
    /// The share of the requests, in percent [default: that of the next step]
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(1..=100))]
    to: Option<u8>,
    /// Who says so, for the record [default: $SUDO_USER, else $USER]
    #[arg(long, value_name = "NAME")]
    owner: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  trunkline pause production api --reason 'errors in eu'
  trunkline resume production                  goes on

New versions of what is paused get their first share, and no further one by themselves. It holds until `resume`.")]
pub(super) struct Pause {
    /// Where
    environment: EnvironmentId,
    /// Only this Worker
    #[arg(value_parser = worker)]
    worker: Option<ResourceName>,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Who says so, for the record [default: $SUDO_USER, else $USER]
    #[arg(long, value_name = "NAME")]
    owner: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  trunkline abort production api

The version before has all requests again, at once. The new one is quarantined: the environment is held until a commit
changes it, or `trunkline resume` lets it begin anew. `trunkline rollback` takes back a whole revision.")]
pub(super) struct Abort {
    /// Where
    environment: EnvironmentId,
    /// Only this Worker
    #[arg(value_parser = worker)]
    worker: Option<ResourceName>,
    /// Who says so, for the record [default: $SUDO_USER, else $USER]
    #[arg(long, value_name = "NAME")]
    owner: Option<String>,
}

/// A Worker as people name it: `api` or `worker.api`.
fn worker(text: &str) -> Result<ResourceName, String> {
    text.strip_prefix("worker.").unwrap_or(text).parse::<ResourceName>().map_err(|error| error.to_string())
}

pub(super) async fn rollback(global: &Global, verb: &Rollback) -> Result<u8, Failure> {
    let Rollback { environment, to, owner } = verb;
    ask(global, Request::Rollback { environment: environment.clone(), to: to.clone(), owner: named(owner) }).await
}

pub(super) async fn promote(global: &Global, verb: Promote) -> Result<u8, Failure> {
    let Promote { environment, worker, to, owner } = verb;
    ask(global, Request::Promote { environment, worker, to, owner: named(&owner) }).await
}

pub(super) async fn pause(global: &Global, verb: Pause) -> Result<u8, Failure> {
    let Pause { environment, worker, reason, owner } = verb;
    ask(global, Request::Pause { environment, worker, reason, owner: named(&owner) }).await
}

pub(super) async fn abort(global: &Global, verb: Abort) -> Result<u8, Failure> {
    let Abort { environment, worker, owner } = verb;
    ask(global, Request::Abort { environment, worker, owner: named(&owner) }).await
}

pub(super) async fn resume(global: &Global, verb: &Resume) -> Result<u8, Failure> {
    ask(global, Request::Resume { environment: verb.environment.clone() }).await
}

/// Who says so.
fn named(owner: &Option<String>) -> String {
    let owner = owner.clone().or_else(|| std::env::var("SUDO_USER").ok()).or_else(|| std::env::var("USER").ok());
    owner.unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw()))
}

async fn ask(global: &Global, request: Request) -> Result<u8, Failure> {
    let settings = workspace::settings(global)?;
    let answer = match open(&settings)? {
        None => {
            let answer = control::ask(&settings.data, &request).await?;
            answer
                .ok_or_else(|| Failure::new("the process that works on the data folder does not answer on its control socket"))?
        }
        Some(context) => {
            let answer = Box::pin(daemon::carry_out(&context, &request)).await;
            if !matches!(request, Request::Resume { .. }) {
                push(&context).await;
            }
            answer
        }
    };
    conclude(answer)
}

/// A context of our own; `None` where a daemon works on the data folder.
fn open(settings: &Settings) -> Result<Option<Context>, Failure> {
    match daemon::context(settings.clone(), daemon_run::stop_on_signal()?, Box::new(progress)) {
        Ok(context) => Ok(Some(context)),
        Err(StartError::Store(StoreError::Lock(LockError::Held { .. }))) => Ok(None),
        Err(error) => Err(Failure::of(&error).hint(error.hint())),
    }
}

fn conclude(answer: Answer) -> Result<u8, Failure> {
    if !answer.ok && answer.hint.is_some() {
        return Err(Failure::new(answer.message).hint(answer.hint));
    }
    if answer.ok {
        show(&answer.message)?;
        return Ok(OK);
    }
    super::output::note(&format!("error: {}", answer.message));
    Ok(ERROR)
}
