//! `executor`: the far end of a channel to a host. Nobody gives this verb but a daemon.

use std::path::PathBuf;

use clap::Args;

use super::OK;
use super::output::Failure;
use crate::agent::{Policy, serve};

#[derive(Debug, Args)]
pub(super) struct Executor {
    /// Every path is taken beneath this folder
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Where manifests and replaced files are kept, where there is no such folder
    #[arg(long, value_name = "DIR")]
    state: PathBuf,
    /// What containers may ask for of all that gives them the host
    #[arg(long, value_name = "WORD")]
    allow_containers: Vec<String>,
}

pub(super) async fn executor(verb: Executor) -> Result<u8, Failure> {
    let containers = verb.allow_containers.into_iter().collect();
    let policy = Policy { containers, ..Policy::local(verb.root, verb.state) };
    // It blocks, and there is nothing else that the process does.
    let served = tokio::task::spawn_blocking(move || serve(std::io::stdin().lock(), std::io::stdout().lock(), &policy));
    served.await.map_err(|error| Failure::new(error.to_string()))??;
    Ok(OK)
}
