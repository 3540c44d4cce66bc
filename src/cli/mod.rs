//! The verbs of the command line.
//!
//! Goes in: arguments. Comes out: text or JSON on standard output, progress and errors on standard error, an exit status.
//!
//! **Invariant:** no verb decides anything that the rooms below do not; what is shown here is what they returned.

mod agent;
mod agent_install;
mod apply;
mod arguments;
mod check;
mod daemon_run;
mod demo;
mod edge;
mod executor;
mod history;
mod import;
mod import_account;
mod output;
mod plan;
mod rollback;
mod secrets;
mod status;
mod workspace;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use rustix::process::{Resource, Rlimit, setrlimit};

use arguments::{Arguments, Verb};
use output::Failure;

/// Exit status: all is well, or there is nothing to do.
const OK: u8 = 0;
/// Exit status: an error; nothing, or not all, was done.
const ERROR: u8 = 1;
/// Exit status: `plan` found changes; `status` found an environment that is not ready.
const DIFFERENT: u8 = 2;
/// Exit status: `demo --once` told its story without workerd.
const NO_RUNTIME: u8 = 3;
/// Exit status: the arguments are wrong (`EX_USAGE` of sysexits.h).
const USAGE: u8 = 64;

/// Runs the verb that the arguments name.
pub fn run() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { USAGE } else { OK });
        }
    };
    // Secrets are in memory: what crashes, here or in a child, leaves no image of it on a disk.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    // The first call in the process: whoever opens a TLS connection finds the one provider installed.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let colour = arguments.global.colour();
    output::start_log(&arguments.verb, &arguments.global);
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).max_blocking_threads(8).enable_all().build()
    {
        Ok(runtime) => runtime,
        Err(error) => return output::fail(&Failure::new(format!("the runtime cannot be started: {error}")), colour),
    };
    let ended = runtime.block_on(Box::pin(dispatch(arguments)));
    // What is left is a git process that hangs: it is no reason to stay, and is ended at the next start.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    match ended {
        Ok(status) => ExitCode::from(status),
        Err(failure) => output::fail(&failure, colour),
    }
}

async fn dispatch(arguments: Arguments) -> Result<u8, Failure> {
    let global = arguments.global;
    match arguments.verb {
        Verb::Check(verb) => check::check(&global, &verb),
        Verb::Plan(verb) => plan::plan(&global, &verb).await,
        Verb::Apply(verb) => apply::apply(&global, &verb).await,
        Verb::Run(verb) => daemon_run::run(&global, &verb).await,
        Verb::Status(verb) => status::status(&global, &verb),
        Verb::History(verb) => history::history(&global, &verb),
        Verb::Rollback(verb) => rollback::rollback(&global, &verb).await,
        Verb::Promote(verb) => rollback::promote(&global, verb).await,
        Verb::Pause(verb) => rollback::pause(&global, verb).await,
        Verb::Abort(verb) => rollback::abort(&global, verb).await,
        Verb::Resume(verb) => rollback::resume(&global, &verb).await,
        Verb::Edge(verb) => edge::edge(&verb).await,
        Verb::Agent(verb) => agent::agent(&global, &verb.verb).await,
        Verb::BuildInside => {
            crate::build::inside()?;
            Ok(OK)
        }
        Verb::Executor(verb) => executor::executor(verb).await,
        Verb::EdgeGuard => {
            crate::edge::lead_group()?;
            Ok(OK)
        }
        Verb::Demo(verb) => demo::demo(&global, &verb).await,
        Verb::Schema(verb) => check::schema(&verb),
        Verb::Import(verb) => import::import(&verb.verb).await,
        Verb::Secrets(verb) => secrets::secrets(&global, &verb.verb),
        Verb::Completions(verb) => {
            clap_complete::generate(verb.shell, &mut Arguments::command(), "trunkline", &mut std::io::stdout());
            Ok(OK)
        }
    }
}
