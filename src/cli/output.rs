//! Text on its way out: errors with hints, progress, JSON, the log.

use std::io::Write;
use std::process::ExitCode;

use serde::Serialize;
use tracing::subscriber::set_global_default;
use tracing_subscriber::EnvFilter;

use super::ERROR;
use super::arguments::{Global, Verb};
use crate::apply::{ChangeResult, Progress};
use crate::reconcile::Event;

/// Why a verb ends with an error: what is wrong, and what to do now.
#[derive(Debug)]
pub(super) struct Failure {
    message: String,
    hint: Option<String>,
}

impl Failure {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }

    pub(super) fn hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint;
        self
    }

    /// An error with its causes.
    pub(super) fn of(error: &dyn std::error::Error) -> Self {
        Self::new(crate::provider::chain(error))
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::of(&error)
    }
}

/// Shows a failure.
pub(super) fn fail(failure: &Failure, colour: bool) -> ExitCode {
    let (bold, reset) = if colour { ("\u{1b}[1;31m", "\u{1b}[0m") } else { ("", "") };
    note(&format!("{bold}error{reset}: {}", failure.message));
    if let Some(hint) = &failure.hint {
        note(&format!("  hint: {hint}"));
    }
    ExitCode::from(ERROR)
}

/// A line on standard error.
pub(super) fn note(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Text on standard output. A reader that went away (`| head`) is no error.
pub(super) fn show(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| if text.ends_with('\n') { Ok(()) } else { out.write_all(b"\n") }) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::of(&error)),
        _ => Ok(()),
    }
}

/// One JSON document on standard output.
pub(super) fn show_json<T: Serialize>(value: &T) -> Result<(), Failure> {
    show(&serde_json::to_string_pretty(value).map_err(|error| Failure::of(&error))?)
}

/// Starts the log on standard error: `info` for the daemon and the edge, `warn` for the rest.
pub(super) fn start_log(verb: &Verb, global: &Global) {
    let quiet = if matches!(verb, Verb::Run(_) | Verb::Edge(_) | Verb::Agent(_)) { "trunkline=info,warn" } else { "warn" };
    let filter = global.log.as_deref().unwrap_or(quiet);
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new(quiet));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    // Not `init`, which takes the records of the crate `log` too: a WebSocket's at `trace` are its messages, secrets and all.
    // Nobody has started a log before: this is the first thing that a process does.
    let _ = if std::env::var_os("JOURNAL_STREAM").is_some() {
        // Under systemd the journal has the time already.
        set_global_default(log.without_time().with_ansi(false).finish())
    } else {
        set_global_default(log.with_ansi(global.colour()).finish())
    };
}

/// Shows the progress of passes, a line a step, on standard error.
pub(super) fn progress(event: Event<'_>) {
    match event {
        Event::Applying { generation, plan } => {
            note(&format!(
                "{}: {} {}, generation {}, {} change(s)",
                generation.environment,
                generation.kind.as_str(),
                generation.revision,
                generation.number,
                plan.changes.len()
            ));
        }
        Event::Change { progress: Progress::Begins(change), .. } => {
            note(&format!("  … {} {}", change.action.as_str(), change.key));
        }
        Event::Change { progress: Progress::Ended(change, result), .. } => {
            let (sign, word) = match result {
                ChangeResult::Done => ("✓", "done"),
                ChangeResult::Refused(_) => ("✗", "refused"),
                ChangeResult::Conflict(_) => ("✗", "conflict"),
                ChangeResult::Unknown(_) => ("?", "outcome unknown"),
                ChangeResult::Skipped(_) => ("-", "skipped"),
                ChangeResult::Behind(_) => ("-", "not begun: an earlier batch was not finished"),
                ChangeResult::NotBegun => ("-", "not begun"),
            };
            note(&format!("  {sign} {} {}: {word}", change.action.as_str(), change.key));
        }
        Event::Concluded { .. } => {}
    }
}
