//! `agent`: beside the daemon, who may connect; on a host, the agent itself.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use chrono::Utc;
use clap::{Args, Subcommand};
use serde_json::json;

use super::agent_install::Install;
use super::arguments::{Global, Output};
use super::output::{Failure, note, show, show_json};
use super::{OK, daemon_run, workspace};
use crate::link::{self, Heard, Home, LinkError, Register, Token};
use crate::model::TargetName;
use crate::settings::is_address;

#[derive(Debug, Args)]
pub(super) struct Agent {
    #[command(subcommand)]
    pub(super) verb: AgentVerb,
}

#[derive(Debug, Subcommand)]
pub(super) enum AgentVerb {
    /// Beside the daemon: print a token by which one host enrols, once, within ten minutes
    Token {
        /// The host's name, as in `[host.NAME]`
        name: TargetName,
        /// What the host calls, `host:port` [default: `address` under [agents] in the settings]
        #[arg(long, value_name = "HOST:PORT")]
        address: Option<String>,
    },
    /// Beside the daemon: show which agents were admitted
    List {
        #[arg(long, value_enum, default_value_t, value_name = "FORM")]
        output: Output,
    },
    /// Beside the daemon: refuse an agent from now on; a new token takes it back
    Revoke {
        /// The host's name
        name: TargetName,
    },
    /// On the host: show the token to the daemon, and keep the certificate that it gives
    #[command(after_help = "\
Examples:
  trunkline agent enrol --token-file token   a file that holds the line of `trunkline agent token`
  trunkline agent enrol < token              the same, from standard input")]
    Enrol {
        /// A file that holds the token [default: standard input]
        #[arg(long, value_name = "FILE")]
        token_file: Option<PathBuf>,
        #[command(flatten)]
        place: Place,
    },
    /// On the host: put the program, its policy and its systemd unit in place, enrol, and start it
    #[command(after_help = "\
Examples:
  trunkline agent install --allow /etc/ads-engine --token-file token
  trunkline agent install --allow /etc/ads-engine --root image      for an image; nothing is started")]
    Install(Install),
    /// On the host: connect to the daemon and do what is merged, within the host's own policy
    Run {
        /// What this host allows: TOML with `roots`, the folders in which files may be written
        #[arg(long, default_value = "/etc/trunkline/agent.toml", value_name = "FILE")]
        policy: PathBuf,
        #[command(flatten)]
        place: Place,
    },
}

/// Where the agent keeps what it is.
#[derive(Debug, Args)]
pub(super) struct Place {
    /// Where the agent's key, certificate and state are
    #[arg(long, default_value = "/var/lib/trunkline-agent", value_name = "DIR")]
    state: PathBuf,
}

pub(super) async fn agent(global: &Global, verb: &AgentVerb) -> Result<u8, Failure> {
    match verb {
        AgentVerb::Token { name, address } => token(global, name, address.as_deref()),
        AgentVerb::List { output } => list(global, *output),
        AgentVerb::Revoke { name } => revoke(global, name),
        AgentVerb::Enrol { token_file, place } => enrol(token_file.as_deref(), &place.state).await,
        AgentVerb::Install(install) => self::install(install).await,
        AgentVerb::Run { policy, place } => run(policy, &place.state).await,
    }
}

fn failure(error: &LinkError) -> Failure {
    Failure::of(error).hint(error.hint())
}

fn token(global: &Global, name: &TargetName, address: Option<&str>) -> Result<u8, Failure> {
    let settings = workspace::settings(global)?;
    let address = address.map(str::to_owned).or_else(|| settings.agents.as_ref().map(|agents| agents.address.clone()));
    let address = address.ok_or_else(|| {
        Failure::new("it is not known what the host is to call").hint(Some(
            "write `listen` and `address` under [agents] in the daemon's settings, or name it with `--address`".into(),
        ))
    })?;
    if !is_address(&address) {
        return Err(Failure::new(format!("`{}` is not what a host can call", address.escape_debug()))
            .hint(Some("write a host and a port, such as `trunkline.example.com:7443`".into())));
    }
    let token = Register::at(&settings.data).admit(name.clone(), address, Utc::now()).map_err(|error| failure(&error))?;
    note(&format!("For `{name}`, once, within ten minutes: `trunkline agent enrol`, with this line on standard input."));
    show(&token.line())?;
    Ok(OK)
}

fn list(global: &Global, output: Output) -> Result<u8, Failure> {
    let settings = workspace::settings(global)?;
    let agents = Register::at(&settings.data).agents().map_err(|error| failure(&error))?;
    let now = Utc::now();
    let state = |agent: &link::Admitted| match agent {
        agent if agent.revoked => "revoked",
        agent if agent.until <= now => "ran out",
        agent if agent.connected => "connected",
        _ => "away",
    };
    match output {
        Output::Json => {
            let all: Vec<_> = agents
                .iter()
                .map(|(name, agent)| {
                    json!({ "name": name, "state": state(agent), "enrolled": agent.enrolled, "until": agent.until, "seen": agent.seen })
                })
                .collect();
            show_json(&json!({ "version": 1, "agents": all }))?;
        }
        Output::Text if agents.is_empty() => {
            show("No agent was admitted. `trunkline agent token NAME` makes a token for a host.")?;
        }
        Output::Text => {
            for (name, agent) in &agents {
                let until = agent.until.format("%Y-%m-%d %H:%M UTC");
                show(&format!("{name:<24} {:<10} certificate until {until}", state(agent)))?;
            }
        }
    }
    Ok(OK)
}

fn revoke(global: &Global, name: &TargetName) -> Result<u8, Failure> {
    let settings = workspace::settings(global)?;
    if !Register::at(&settings.data).revoke(name).map_err(|error| failure(&error))? {
        return Err(Failure::new(format!("no agent `{name}` was admitted")).hint(Some("see `trunkline agent list`".into())));
    }
    show(&format!("The agent of `{name}` is refused from now on. What it applied stays on its host."))?;
    Ok(OK)
}

async fn enrol(file: Option<&Path>, state: &Path) -> Result<u8, Failure> {
    let mut line = zeroize::Zeroizing::new(String::new());
    match file {
        Some(path) => {
            let text = std::fs::read_to_string(path);
            line.push_str(&text.map_err(|error| Failure::new(format!("the token {} cannot be read: {error}", path.display())))?);
        }
        None => drop(std::io::stdin().take(64 * 1024).read_to_string(&mut line)?),
    }
    let token = Token::parse(&line).map_err(|error| failure(&error))?;
    let home = Box::pin(link::enrol(token, state)).await.map_err(|error| failure(&error))?;
    show(&format!("Enrolled as `{}` with the daemon at {}. `trunkline agent run` connects.", home.name, home.address))?;
    Ok(OK)
}

async fn install(install: &Install) -> Result<u8, Failure> {
    install.place()?;
    let state = install.at("/var/lib/trunkline-agent");
    match &install.token_file {
        Some(file) => drop(enrol(Some(file), &state).await?),
        None if Home::open(&state).is_ok() => {}
        None => {
            return Err(Failure::new("everything is in place, and this host has not enrolled yet")
                .hint(Some("run it again with `--token-file`, with a token of `trunkline agent token NAME`".into())));
        }
    }
    install.start()?;
    Ok(OK)
}

async fn run(policy: &Path, state: &Path) -> Result<u8, Failure> {
    let (policy, heal_after) = link::read_policy(policy, state.join("host")).map_err(|error| failure(&error))?;
    let stop = daemon_run::stop_on_signal()?;
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    let told = |heard: Heard<'_>| match heard {
        Heard::Connected(home) => tracing::info!(daemon = home.address, agent = %home.name, "Connected."),
        Heard::Away(error, pause) => {
            let error = crate::provider::chain(error);
            tracing::warn!(%error, "Not connected; trying again in {} s.", pause.as_secs());
        }
        Heard::Healed(count) => tracing::info!(count, "Put right what was changed here while the daemon is away."),
        Heard::Renewed(home) => tracing::info!(until = %home.until, "The certificate was renewed."),
    };
    Box::pin(link::serve(state, (&policy, heal_after), &stop, told)).await.map_err(|error| failure(&error))?;
    Ok(OK)
}
