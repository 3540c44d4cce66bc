//! `edge`: serve the self-hosted Workers plane.

use std::cell::Cell;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::output::{Failure, note};
use super::{OK, daemon_run};
use crate::edge::{self, Fetching, Release, WORKERD};
use crate::provider::chain;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  trunkline edge --data /var/lib/edge --token-file /etc/trunkline/edge-token
  CLOUDFLARE_API_BASE_URL=http://127.0.0.1:8787/client/v4 CLOUDFLARE_API_TOKEN=... wrangler deploy")]
pub(super) struct Edge {
    /// Where the REST API listens
    #[arg(long, default_value = "127.0.0.1:8787", value_name = "ADDRESS")]
    pub(super) listen: SocketAddr,
    /// Where requests for the Workers arrive
    #[arg(long, default_value = "127.0.0.1:8788", value_name = "ADDRESS")]
    pub(super) http: SocketAddr,
    /// Where what is deployed is kept
    #[arg(long, value_name = "DIR")]
    pub(super) data: PathBuf,
    /// The file with the token that callers of the API must show
    #[arg(long, value_name = "FILE")]
    pub(super) token_file: PathBuf,
    /// The workerd binary [default: TRUNKLINE_WORKERD, else the one on PATH]
    #[arg(long, value_name = "FILE")]
    pub(super) workerd: Option<PathBuf>,
    /// Fetch the workerd that goes with this release, by its digest, from the registry of npm into the data folder
    #[arg(long, conflicts_with = "workerd")]
    pub(super) install_workerd: bool,
    /// The registry that it is fetched from, by https or on this machine
    #[arg(long, value_name = "URL", requires = "install_workerd", default_value = edge::REGISTRY)]
    pub(super) registry: String,
    /// The age key that stored secrets are sealed under; made if missing [default: DIR/key]
    #[arg(long, value_name = "FILE")]
    pub(super) key: Option<PathBuf>,
    /// Let Workers reach private and loopback addresses: an origin beside the edge
    #[arg(long)]
    pub(super) private_network: bool,
    /// Keep the records of what cannot run here (DNS, rulesets, custom domains, tunnels, private services and more), to try
    /// definitions without an account: nothing of it carries traffic
    #[arg(long)]
    pub(super) stand_in: bool,
}

/// This very program, whatever has replaced its file since it was started.
pub(super) const THIS_PROGRAM: &str = "/proc/self/exe";

pub(super) async fn edge(verb: &Edge) -> Result<u8, Failure> {
    let stop = daemon_run::stop_on_signal()?;
    let release = verb.install_workerd.then(|| Release::new(verb.data.clone(), &verb.registry));
    let (mut listen, mut http) = (verb.listen, verb.http);
    loop {
        let installed = release.as_ref().and_then(Release::installed);
        let is_ours = installed.as_ref().is_some_and(|(_, ours)| *ours);
        let mut options = edge::Options::new(listen, http, verb.data.clone(), token(verb)?);
        options.workerd = installed.map(|(program, _)| program).or_else(|| verb.workerd.clone());
        options.awaits_workerd = release.is_some();
        options.key.clone_from(&verb.key);
        options.private_network = verb.private_network;
        options.stand_in = verb.stand_in;
        options.guard = Some(THIS_PROGRAM.into());
        let edge = edge::start(options).await.map_err(|error| failure(&error))?;
        tell(verb, &edge);
        // What listens goes on listening there when it is started again.
        (listen, http) = (edge.api_addr(), edge.http_addr());
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
        let fetched = match release.as_ref().filter(|_| !is_ours) {
            Some(release) => fetch(release, &stop).await,
            None => {
                release.iter().for_each(Release::sweep);
                stop.cancelled().await;
                None
            }
        };
        if fetched.is_none() {
            let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
            edge.stop().await;
            return Ok(OK);
        }
        edge.stop().await;
    }
}

fn failure(error: &edge::EdgeError) -> Failure {
    Failure::of(error).hint(error.hint().map(ToOwned::to_owned))
}

fn token(verb: &Edge) -> Result<crate::model::Secret, Failure> {
    let token = edge::read_token(&verb.token_file).map_err(|error| match error {
        edge::EdgeError::File { .. } => Failure::of(&error)
            .hint(Some(format!("make it with `(umask 077; head -c 32 /dev/urandom | base64 > {})`", verb.token_file.display()))),
        other => failure(&other),
    })?;
    let mode = std::fs::metadata(&verb.token_file)?.permissions().mode();
    if mode & 0o077 != 0 {
        tracing::warn!(file = %verb.token_file.display(), mode = %format_args!("{:04o}", mode & 0o7777), "Others than its owner can read the token: `chmod 600` closes it.");
    }
    Ok(token)
}

fn tell(verb: &Edge, edge: &edge::Edge) {
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
}

/// Fetches workerd, and tells how far it is; `None` once the edge is told to stop.
async fn fetch(release: &Release, stop: &CancellationToken) -> Option<PathBuf> {
    tracing::info!(release = WORKERD, registry = %release.registry, "Fetching workerd.");
    let tenths = Cell::new(0);
    let fetched = release.obtain(stop, |fetching| match fetching {
        Fetching::Came(came, whole) => {
            let now = whole.filter(|whole| *whole > 0).map_or(came >> 20, |whole| came * 10 / whole);
            if now > tenths.replace(now) {
                let of = whole.map_or_else(String::new, |whole| format!(" of {}", whole >> 20));
                let told = format!("{}{of} MiB of workerd {WORKERD} fetched", came >> 20);
                tracing::info!("{told}.");
                let _ = sd_notify::notify(&[sd_notify::NotifyState::Status(&told)]);
            }
        }
        Fetching::Failed(error, pause) => {
            tenths.set(0);
            let told = format!("workerd is not there yet: {}", chain(error));
            tracing::warn!(error = %chain(error), again_in = %format_args!("{} s", pause.as_secs()), "Workerd was not fetched.");
            let _ = sd_notify::notify(&[sd_notify::NotifyState::Status(&told)]);
        }
    });
    let fetched = fetched.await?;
    tracing::info!(program = %fetched.display(), "Workerd is there: starting anew with it.");
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Status("")]);
    Some(fetched)
}
