//! `run`: the daemon.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::arguments::{Global, Run};
use super::output::Failure;
use super::{OK, workspace};
use crate::daemon;

pub(super) async fn run(global: &Global, verb: &Run) -> Result<u8, Failure> {
    let mut settings = workspace::settings(global)?;
    if let Some(poll) = verb.poll {
        settings.poll = poll;
    }
    let stop = stop_on_signal()?;
    let context = daemon::context(settings, stop, Box::new(|_| {})).map_err(|error| Failure::of(&error).hint(error.hint()))?;
    daemon::run(context).await.map_err(|error| Failure::of(&error).hint(error.hint()))?;
    Ok(OK)
}

/// A token that is set by SIGTERM or SIGINT: the change in hand is finished and recorded. A second one ends the process.
pub(super) fn stop_on_signal() -> Result<CancellationToken, Failure> {
    let token = CancellationToken::new();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stop = token.clone();
    tokio::spawn(async move {
        for first in [true, false] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if first {
                tracing::info!("Stopping: the change in hand is finished and recorded. A second signal ends at once.");
                stop.cancel();
            } else {
                std::process::exit(130);
            }
        }
    });
    Ok(token)
}
