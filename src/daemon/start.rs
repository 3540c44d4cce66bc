//! From settings to a context: everything that a pass needs, opened once.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tokio_util::sync::CancellationToken;

use crate::definition::Cache;
use crate::provider::{ProviderError, cloudflare, host};
use crate::reconcile::{Context, Event};
use crate::secrets::{Identities, SecretsError};
use crate::settings::{Hosts, Settings};
use crate::source::{self, BranchError, RemoteError, Source, SourceError};
use crate::store::{Store, StoreError};

/// Why there is nothing to work with.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No remote is named.
    #[error("no repository is named")]
    NoRemote,
    /// The remote is not one that may be followed.
    #[error("the remote cannot be followed")]
    Remote(#[from] RemoteError),
    /// The branch cannot be one.
    #[error(transparent)]
    Branch(#[from] BranchError),
    /// No client can be made.
    #[error(transparent)]
    Client(#[from] ProviderError),
    /// The repository cannot be used.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The identity cannot be used.
    #[error(transparent)]
    Secrets(#[from] SecretsError),
}

impl StartError {
    /// What the reader can do now.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoRemote => {
                Some(format!("name it with `--remote`, or as `remote` under [repository] in {}", crate::settings::DEFAULT_FILE))
            }
            Self::Remote(_) | Self::Branch(_) => None,
            Self::Client(error) => error.hint.clone(),
            Self::Source(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::Secrets(error) => error.hint(),
        }
    }
}

/// Opens the store for writing, the repository and the identity.
///
/// # Errors
/// [`StartError`]
pub fn context(
    settings: Settings,
    stop: CancellationToken,
    listener: Box<dyn Fn(Event<'_>) + Send + Sync>,
) -> Result<Context, StartError> {
    let store = Store::open(&settings.data)?;
    let identities = Identities::load(settings.identity.as_deref())?.map(Arc::new);
    // A database that was lost accepts only what descends from what the store remembers.
    let known = store.source()?.and_then(|source| source.head).map(|head| head.commit);
    let source = open_source(&settings, "repository.git", known)?;
    Ok(Context {
        network: Arc::new(tokio::sync::Mutex::new(source.another()?)),
        source: Arc::new(Mutex::new(source)),
        cache: Arc::new(Mutex::new(Cache::default())),
        store: Arc::new(store),
        identities,
        client: cloudflare::http_client(&cloudflare::Patience::default())?,
        paces: cloudflare::Paces::default(),
        agents: None,
        channels: channels(&settings),
        credentials: std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from),
        stop,
        listener,
        settings,
    })
}

/// The ways to hosts that the settings ask for; none is gone yet.
pub fn channels(settings: &Settings) -> host::Channels {
    let Hosts { ssh_config, ssh_key, known_hosts, concurrency } = settings.hosts.clone();
    let defaults = host::ChannelOptions::default();
    host::Channels::new(host::ChannelOptions { ssh_config, ssh_key, known_hosts, concurrency, ..defaults })
}

/// Our own repository for the remote of the settings, in the folder `name` of the data folder. `known` is the commit that
/// was accepted last, where it is remembered elsewhere.
///
/// # Errors
/// [`StartError`]
pub fn open_source(settings: &Settings, name: &str, known: Option<String>) -> Result<Source, StartError> {
    let remote = settings.remote.as_deref().ok_or(StartError::NoRemote)?;
    let mut options = source::Options::new(settings.data.join(name), remote.parse()?, settings.branch.parse()?);
    options.known = known;
    options.push_records = settings.push_records;
    options.askpass.clone_from(&settings.askpass);
    options.ssh_command.clone_from(&settings.ssh_command);
    Ok(Source::open(options)?)
}
