//! Wire everything together, then loop: wake, fetch, one pass for each environment that needs one, until stopped.
//!
//! Goes in: settings. Comes out: nothing but what the passes do.
//!
//! **Invariant:** one pass at a time for an environment; environments do not wait for each other; a wake-up during a
//! pass is not lost. On stop the change in hand is finished and recorded.

pub mod control;
mod look;
mod passes;
mod start;
mod verbs;

use std::time::Duration;

use tokio::sync::mpsc;

use crate::link::{Hub, LinkError, Listen, Register};
use crate::reconcile::Context;
use crate::settings::{Agents, Settings};
use crate::trigger::{self, Schedule, Triggers, Wake};

pub use look::{Fetch, environments, fetch};
pub use start::{StartError, channels, context, open_source};
pub use verbs::carry_out;

/// Why the daemon ends other than by being told to.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// It could not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The wake-ups could not be set up.
    #[error(transparent)]
    Trigger(#[from] trigger::TriggerError),
    /// A schedule of the settings is no cron expression.
    #[error("the schedule `{text}` under [repository] in the settings cannot be read")]
    Schedule {
        /// What stands there, escaped.
        text: String,
        /// What is wrong with it.
        #[source]
        source: trigger::ScheduleError,
    },
    /// Agents cannot be listened for.
    #[error(transparent)]
    Agents(#[from] LinkError),
    /// The control socket cannot be made.
    #[error("the control socket cannot be made")]
    Control(#[source] std::io::Error),
}

impl DaemonError {
    /// What the reader can do now.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Start(error) => error.hint(),
            Self::Agents(error) => error.hint(),
            _ => None,
        }
    }
}

/// How long to wait for quiet when a watched repository changes: a ref is two events within microseconds, and of a push of
/// several the first look that comes too early is followed by another.
const QUIET: Duration = Duration::from_millis(4);

/// Runs until `context.stop` is set.
///
/// # Errors
/// [`DaemonError`]
pub async fn run(context: Context) -> Result<(), DaemonError> {
    let mut context = context;
    context.agents = agents(&context).await?;
    let context = std::sync::Arc::new(context);
    let mut triggers = triggers(&context)?;
    let (sender, requests) = mpsc::channel(16);
    let control = control::listen(&context.settings.data, sender, context.stop.clone()).map_err(DaemonError::Control)?;
    // Without systemd there is nobody to tell, which is no fault.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    tracing::info!(data = %context.settings.data.display(), "Ready.");
    passes::run(&context, &mut triggers, requests).await;
    control.abort();
    let _ = std::fs::remove_file(control::path(&context.settings.data));
    tracing::info!("Stopped.");
    Ok(())
}

/// Listens for agents, where the settings say so.
async fn agents(context: &Context) -> Result<Option<std::sync::Arc<Hub>>, DaemonError> {
    let Some(Agents { listen, address }) = context.settings.agents.clone() else { return Ok(None) };
    let register = Register::at(&context.settings.data);
    let hub = Hub::start(register, Listen { listen, address }, context.stop.clone()).await?;
    tracing::info!(address = %hub.listen(), "Listening for agents.");
    Ok(Some(hub))
}

fn triggers(context: &Context) -> Result<Triggers, DaemonError> {
    let Settings { poll, watch, schedules, remote, .. } = &context.settings;
    let parse = |text: &String| {
        let named = |source| DaemonError::Schedule { text: text.escape_debug().to_string(), source };
        text.parse::<Schedule>().map_err(named)
    };
    let schedules = schedules.iter().map(parse).collect::<Result<_, _>>()?;
    let local = remote.as_ref().map(std::path::PathBuf::from).filter(|path| *watch && path.is_dir());
    let options = trigger::Options { poll: Some(*poll), watch: local, schedules, quiet: QUIET };
    match trigger::start(options.clone(), context.stop.clone()) {
        // A repository that is not there yet, or that cannot be watched, is asked like one that is far away.
        Err(error) if options.watch.is_some() => {
            tracing::warn!(error = %crate::provider::chain(&error), "The repository is not watched; it is asked at each interval.");
            Ok(trigger::start(trigger::Options { watch: None, ..options }, context.stop.clone())?)
        }
        started => Ok(started?),
    }
}

/// Whether a wake-up ends the loop.
fn is_stop(wake: &Wake) -> bool {
    matches!(wake, Wake::Stop)
}
