//! `rollback` and `resume`: by the running daemon, or in this process where none runs.

use super::arguments::{Global, Resume, Rollback};
use super::output::{Failure, progress, show};
use super::{ERROR, OK, daemon_run, workspace};
use crate::daemon::control::{self, Answer, Request};
use crate::daemon::{self, StartError};
use crate::reconcile::{Context, push, rollback as roll_back};
use crate::settings::Settings;
use crate::store::{LockError, StoreError};

pub(super) async fn rollback(global: &Global, verb: &Rollback) -> Result<u8, Failure> {
    let settings = workspace::settings(global)?;
    let owner = verb.owner.clone().or_else(|| std::env::var("SUDO_USER").ok()).or_else(|| std::env::var("USER").ok());
    let owner = owner.unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw()));
    let answer = match open(&settings)? {
        None => {
            let request = Request::Rollback { environment: verb.environment.clone(), to: verb.to.clone(), owner };
            ask(&settings, &request).await?
        }
        Some(context) => {
            let answer = control::rolled_back(Box::pin(roll_back(&context, &verb.environment, verb.to.as_deref(), &owner)).await);
            push(&context).await;
            answer
        }
    };
    conclude(answer)
}

pub(super) async fn resume(global: &Global, verb: &Resume) -> Result<u8, Failure> {
    let settings = workspace::settings(global)?;
    let answer = match open(&settings)? {
        None => ask(&settings, &Request::Resume { environment: verb.environment.clone() }).await?,
        Some(context) => control::resume(&context, &verb.environment).await,
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

async fn ask(settings: &Settings, request: &Request) -> Result<Answer, Failure> {
    let answer = control::ask(&settings.data, request).await?;
    answer.ok_or_else(|| Failure::new("the process that works on the data folder does not answer on its control socket"))
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
