//! The daemon's own settings: file, environment variables and flags come together here and nowhere else.
//!
//! Goes in: the text of the settings file, and what flags and variables said. Comes out: [`Settings`], complete.
//!
//! **Invariant:** nothing that a watched repository says can change a setting: what the daemon trusts is decided on its
//! own machine.

use std::collections::BTreeSet;
use std::net::{Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::document::did_you_mean;
use crate::model::{DANGERS, Diagnostic, parse_interval};

/// The settings, complete and checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where the store, the bare repository and the control socket are.
    pub data: PathBuf,
    /// The repository; `None` where the verb needs none.
    pub remote: Option<String>,
    /// The branch that is followed.
    pub branch: String,
    /// How often the remote is asked.
    pub poll: Duration,
    /// Watch the repository, where it is a folder of this machine.
    pub watch: bool,
    /// POSIX cron expressions at which to look as well.
    pub schedules: Vec<String>,
    /// Push notes and refs to the remote.
    pub push_records: bool,
    /// A program that prints the credentials for https (as `GIT_ASKPASS`).
    pub askpass: Option<PathBuf>,
    /// The ssh command and its arguments, where it is not `ssh`.
    pub ssh_command: Option<Vec<String>>,
    /// The age identity that opens secrets; else the systemd credential `trunkline-identity`, if there is one.
    pub identity: Option<PathBuf>,
    /// A folder of Rego files that judge every plan, in the place of the repository's own.
    pub pinned_policies: Option<PathBuf>,
    /// How many instances one apply may delete without an acknowledgement.
    pub max_deletes: usize,
    /// What part of the inventory one apply may delete without an acknowledgement, in percent.
    pub max_delete_percent: u8,
    /// Folders of tools that builds see, beside what is below `/usr`.
    pub build_tools: Vec<PathBuf>,
    /// How long one build may take.
    pub build_timeout: Duration,
    /// The engine of Docker on this machine, as `DOCKER_HOST` names it, where it is not Docker's own default.
    pub docker: Option<String>,
    /// What containers may ask for of all that gives them the host: words of [`DANGERS`].
    pub containers: BTreeSet<String>,
    /// Where agents are listened for; nowhere where this is not said.
    pub agents: Option<Agents>,
    /// How hosts are reached.
    pub hosts: Hosts,
}

/// Where agents are listened for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agents {
    /// The address to listen on.
    pub listen: SocketAddr,
    /// What agents call, `host:port`: it is in their tokens and in the daemon's certificate.
    pub address: String,
}

/// How hosts are reached by SSH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hosts {
    /// A configuration for `ssh` in the place of the user's and the system's.
    pub ssh_config: Option<PathBuf>,
    /// The private key that is shown to hosts; else those that `ssh` finds by itself.
    pub ssh_key: Option<PathBuf>,
    /// The known hosts, in the place of the user's and the system's.
    pub known_hosts: Option<PathBuf>,
    /// How many hosts are talked to at once.
    pub concurrency: usize,
}

impl Default for Hosts {
    fn default() -> Self {
        Self { ssh_config: None, ssh_key: None, known_hosts: None, concurrency: HOSTS_AT_ONCE }
    }
}

/// How many hosts are talked to at once unless the file says otherwise.
const HOSTS_AT_ONCE: usize = 16;

/// How long one build may take unless the file says otherwise.
pub const BUILD_TIMEOUT: Duration = Duration::from_secs(600);

/// What flags and environment variables said.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `--data`.
    pub data: Option<PathBuf>,
    /// `--remote`.
    pub remote: Option<String>,
    /// `--branch`.
    pub branch: Option<String>,
    /// `--identity`.
    pub identity: Option<PathBuf>,
    /// `--poll`.
    pub poll: Option<Duration>,
}

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("the settings file {path} cannot be read")]
    File {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// The file has faults.
    #[error("the settings file has {} fault(s)", .0.len())]
    Faults(Vec<Diagnostic>),
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct SettingsToml {
    data: Option<PathBuf>,
    #[serde(default)]
    repository: RepositoryToml,
    #[serde(default)]
    secrets: SecretsToml,
    #[serde(default)]
    policy: PolicyToml,
    #[serde(default)]
    build: BuildToml,
    agents: Option<AgentsToml>,
    #[serde(default)]
    hosts: HostsToml,
    #[serde(default)]
    containers: ContainersToml,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct HostsToml {
    ssh_config: Option<PathBuf>,
    ssh_key: Option<PathBuf>,
    known_hosts: Option<PathBuf>,
    concurrency: Option<std::num::NonZeroUsize>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ContainersToml {
    docker: Option<String>,
    #[serde(default)]
    allow: Vec<toml::Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RepositoryToml {
    remote: Option<String>,
    branch: Option<String>,
    poll: Option<toml::Spanned<String>>,
    watch: Option<bool>,
    #[serde(default)]
    schedules: Vec<String>,
    push_records: Option<bool>,
    askpass: Option<PathBuf>,
    ssh_command: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretsToml {
    identity: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyToml {
    pinned: Option<PathBuf>,
    max_deletes: Option<usize>,
    max_delete_percent: Option<u8>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct BuildToml {
    #[serde(default)]
    tools: Vec<PathBuf>,
    timeout: Option<toml::Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AgentsToml {
    listen: SocketAddr,
    address: toml::Spanned<String>,
}

/// Where the settings file is looked for when no flag names one.
pub const DEFAULT_FILE: &str = "/etc/trunkline/daemon.toml";

/// The folder for state when neither flag nor file names one: the system's for root, else the user's.
pub fn default_data(home: Option<&Path>, is_root: bool) -> PathBuf {
    match home {
        Some(home) if !is_root => home.join(".local/state/trunkline"),
        _ => PathBuf::from("/var/lib/trunkline"),
    }
}

/// Reads the settings: a flag or variable wins over the file, the file over the default. A file that was not named and
/// is not there counts as empty.
///
/// # Errors
/// [`SettingsError`]
pub fn load(file: Option<&Path>, default_data: PathBuf, overrides: Overrides) -> Result<Settings, SettingsError> {
    let path = file.unwrap_or(Path::new(DEFAULT_FILE));
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if file.is_none() && error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(source) => return Err(SettingsError::File { path: path.to_owned(), source }),
    };
    parse(&path.display().to_string(), &text, default_data, overrides)
}

fn parse(path: &str, text: &str, default_data: PathBuf, overrides: Overrides) -> Result<Settings, SettingsError> {
    let written: SettingsToml = toml::from_str(text).map_err(|error| SettingsError::Faults(vec![fault(path, &error)]))?;
    let SettingsToml { data, repository, secrets, policy, build, agents, containers, hosts } = written;
    let HostsToml { ssh_config, ssh_key, known_hosts, concurrency } = hosts;
    let concurrency = concurrency.map_or(HOSTS_AT_ONCE, std::num::NonZeroUsize::get);
    let interval = |written: &Option<toml::Spanned<String>>| match written {
        Some(text) => parse_interval(text.get_ref())
            .map(Some)
            .map_err(|error| SettingsError::Faults(vec![Diagnostic::error(path, Some(text.span()), error.to_string())])),
        None => Ok(None),
    };
    let poll = interval(&repository.poll)?;
    let build_timeout = interval(&build.timeout)?;
    let agents = match agents {
        Some(AgentsToml { listen, address }) if is_address(address.get_ref()) => {
            Some(Agents { listen, address: address.into_inner() })
        }
        Some(AgentsToml { address, .. }) => {
            let mut fault = Diagnostic::error(path, Some(address.span()), "`address` is not what an agent can call");
            fault.hint = Some("write a host and a port, such as `trunkline.example.com:7443`".to_owned());
            return Err(SettingsError::Faults(vec![fault]));
        }
        None => None,
    };
    let unknown = containers.allow.iter().find(|word| !DANGERS.contains(&word.get_ref().as_str()));
    if let Some(word) = unknown {
        let message = format!("`{}` is nothing that a container can be allowed", word.get_ref());
        let hint = did_you_mean(word.get_ref(), DANGERS).unwrap_or_else(|| format!("write any of {}", DANGERS.join(", ")));
        return Err(SettingsError::Faults(vec![Diagnostic::error(path, Some(word.span()), message).hint(hint)]));
    }
    Ok(Settings {
        data: overrides.data.or(data).unwrap_or(default_data),
        remote: overrides.remote.or(repository.remote),
        branch: overrides.branch.or(repository.branch).unwrap_or_else(|| "main".to_owned()),
        poll: overrides.poll.or(poll).unwrap_or(Duration::from_secs(60)),
        watch: repository.watch.unwrap_or(true),
        schedules: repository.schedules,
        push_records: repository.push_records.unwrap_or(true),
        askpass: repository.askpass,
        ssh_command: repository.ssh_command,
        identity: overrides.identity.or(secrets.identity),
        pinned_policies: policy.pinned,
        max_deletes: policy.max_deletes.unwrap_or(5),
        max_delete_percent: policy.max_delete_percent.unwrap_or(30),
        build_tools: build.tools,
        build_timeout: build_timeout.unwrap_or(BUILD_TIMEOUT),
        agents,
        hosts: Hosts { ssh_config, ssh_key, known_hosts, concurrency },
        docker: containers.docker,
        containers: containers.allow.into_iter().map(toml::Spanned::into_inner).collect(),
    })
}

/// Whether `text` is a host's name or address, and a port.
pub fn is_address(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let is_name = !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b));
    let is_v6 =
        host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).is_some_and(|host| host.parse::<Ipv6Addr>().is_ok());
    (is_name || is_v6) && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// A fault of the text; of an unknown key, with the known one that is nearest.
fn fault(path: &str, error: &toml::de::Error) -> Diagnostic {
    let mut diagnostic = Diagnostic::error(path, error.span(), error.message());
    // Between backquotes: what was written, then what is known.
    let mut quoted = error.message().split('`').skip(1).step_by(2);
    if error.message().starts_with("unknown field")
        && let Some(written) = quoted.next()
    {
        diagnostic.hint = did_you_mean(written, quoted);
    }
    diagnostic
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, overrides: Overrides) -> Result<Settings, SettingsError> {
        parse("daemon.toml", text, "/default".into(), overrides)
    }

    #[test]
    fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
        let text = "data = \"/file\"\n[repository]\nremote = \"/srv/a.git\"\npoll = \"5m\"\n";
        let overrides = Overrides { data: Some("/flag".into()), ..Overrides::default() };
        let settings = read(text, overrides).unwrap();
        assert_eq!(settings.data, Path::new("/flag"));
        assert_eq!(settings.remote.as_deref(), Some("/srv/a.git"));
        assert_eq!(settings.poll, Duration::from_secs(300));
        assert_eq!(settings.branch, "main");
    }

    #[test]
    fn hosts_are_reached_as_the_file_says() {
        let text = "[hosts]\nssh_key = \"/etc/trunkline/ssh-key\"\nknown_hosts = \"/etc/trunkline/known\"\nconcurrency = 3\n";
        let Hosts { ssh_config, ssh_key, known_hosts, concurrency } = read(text, Overrides::default()).unwrap().hosts;
        assert_eq!((ssh_config, concurrency), (None, 3));
        assert_eq!(ssh_key.as_deref(), Some(Path::new("/etc/trunkline/ssh-key")));
        assert_eq!(known_hosts.as_deref(), Some(Path::new("/etc/trunkline/known")));
        assert_eq!(read("", Overrides::default()).unwrap().hosts, Hosts::default());
    }

    #[test]
    fn faults_are_named_with_their_place() {
        for (text, expected) in [
            ("[hosts]\nconcurrency = 0", "nonzero"),
            ("datta = 1", "unknown field"),
            ("[repository]\npoll = \"1y\"", "not an interval"),
            ("[build]\ntimeout = \"x\"", "interval"),
            ("[containers]\nallow = [\"everything\"]", "nothing that a container can be allowed"),
            ("x", ""),
        ] {
            let Err(SettingsError::Faults(faults)) = read(text, Overrides::default()) else { panic!("{text} was accepted") };
            assert!(faults[0].message.contains(expected) && faults[0].span().is_some(), "{faults:?}");
        }
    }
}
