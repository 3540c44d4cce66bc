//! `edge`: serve the self-hosted Workers plane.

use std::os::unix::fs::PermissionsExt;

use super::arguments::Edge;
use super::output::{Failure, note};
use super::{OK, daemon_run};
use crate::edge;

/// This very program, whatever has replaced its file since it was started.
pub(super) const THIS_PROGRAM: &str = "/proc/self/exe";

pub(super) async fn edge(verb: &Edge) -> Result<u8, Failure> {
    let stop = daemon_run::stop_on_signal()?;
    let failure = |error: edge::EdgeError| Failure::of(&error).hint(error.hint().map(ToOwned::to_owned));
    let token = edge::read_token(&verb.token_file).map_err(|error| match error {
        edge::EdgeError::File { .. } => Failure::of(&error)
            .hint(Some(format!("make it with `(umask 077; head -c 32 /dev/urandom | base64 > {})`", verb.token_file.display()))),
        other => failure(other),
    })?;
    let mode = std::fs::metadata(&verb.token_file)?.permissions().mode();
    if mode & 0o077 != 0 {
        tracing::warn!(file = %verb.token_file.display(), mode = %format_args!("{:04o}", mode & 0o7777), "Others than its owner can read the token: `chmod 600` closes it.");
    }
    let mut options = edge::Options::new(verb.listen, verb.http, verb.data.clone(), token);
    options.workerd.clone_from(&verb.workerd);
    options.key.clone_from(&verb.key);
    options.private_network = verb.private_network;
    options.stand_in = verb.stand_in;
    options.guard = Some(THIS_PROGRAM.into());
    let edge = edge::start(options).await.map_err(failure)?;
    note(&format!("REST API   http://{}/client/v4", edge.api_addr()));
    note(&format!("Workers    http://{}", edge.http_addr()));
    match edge.runtime() {
        edge::Runtime::Running { version } => note(&format!("runtime    {version}")),
        edge::Runtime::Restarting { version, attempts, said } => {
            note(&format!("runtime    {version} does not stay up ({attempts} attempts): {said}"));
        }
        edge::Runtime::Missing { hint } => {
            note(&format!("runtime    none: what is deployed is stored, and does not run. {hint}"));
        }
    }
    if verb.stand_in {
        note("stand-in   records of DNS, rulesets, custom domains, tunnels and more are kept; none of it carries traffic");
    }
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    stop.cancelled().await;
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    edge.stop().await;
    Ok(OK)
}
