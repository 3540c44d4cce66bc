//! What a pass works with: built once by the daemon or a verb, and passed on.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::apply::Progress;
use crate::definition::Cache;
use crate::link::Hub;
use crate::model::EnvironmentId;
use crate::plan::Plan;
use crate::provider::cloudflare::Paces;
use crate::provider::host::Channels;
use crate::record::{Condition, Generation};
use crate::secrets::Identities;
use crate::settings::Settings;
use crate::source::Source;
use crate::store::Store;

/// Everything that passes share.
pub struct Context {
    /// The daemon's settings.
    pub settings: Settings,
    /// The repository, for what needs no network; one owner at a time, on a thread that may block.
    pub source: Arc<Mutex<Source>>,
    /// A second handle on the same repository, for what needs the network: a fetch that hangs keeps nobody from reading.
    pub network: Arc<tokio::sync::Mutex<Source>>,
    /// Parsed definitions by blob, kept from pass to pass.
    pub cache: Arc<Mutex<Cache>>,
    /// The store.
    pub store: Arc<Store>,
    /// What opens secrets.
    pub identities: Option<Arc<Identities>>,
    /// The one HTTP client: connections are kept from pass to pass.
    pub client: reqwest::Client,
    /// How fast each API token may be used: an environment that is told to wait makes the others wait that share its token.
    pub paces: Paces,
    /// Where agents are connected; `None` where they are not listened for.
    pub agents: Option<Arc<Hub>>,
    /// The ways to hosts: connections are kept from pass to pass.
    pub channels: Channels,
    /// Where credentials by name are (`api_token = { credential = "…" }`).
    pub credentials: Option<PathBuf>,
    /// Set when the process is to end.
    pub stop: CancellationToken,
    /// Told of what happens.
    pub listener: Box<dyn Fn(Event<'_>) + Send + Sync>,
}

/// What happens in a pass, for whoever watches.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// A generation begins.
    Applying {
        /// Which.
        generation: &'a Generation,
        /// What is to be done.
        plan: &'a Plan,
    },
    /// A change begins or ends.
    Change {
        /// Whose.
        environment: &'a EnvironmentId,
        /// Which, and how far.
        progress: Progress<'a>,
    },
    /// A pass came to a conclusion.
    Concluded {
        /// Whose.
        environment: &'a EnvironmentId,
        /// Where it stands.
        condition: &'a Condition,
    },
}

impl Context {
    pub(super) fn tell(&self, event: Event<'_>) {
        (self.listener)(event);
    }
}

/// Runs `work`, which needs no network, on the source, on a thread that may block.
///
/// # Panics
/// Where `work` panics.
pub async fn with_source<T: Send + 'static>(source: &Arc<Mutex<Source>>, work: impl FnOnce(&Source) -> T + Send + 'static) -> T {
    let source = source.clone();
    let task = tokio::task::spawn_blocking(move || work(&source.lock().unwrap_or_else(PoisonError::into_inner)));
    match task.await {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Runs `work`, which may need the network, on a thread that may block. Who waits for another such call to end takes no
/// thread meanwhile.
///
/// # Panics
/// Where `work` panics.
pub async fn with_network<T: Send + 'static>(context: &Context, work: impl FnOnce(&Source) -> T + Send + 'static) -> T {
    let source = context.network.clone().lock_owned().await;
    let task = tokio::task::spawn_blocking(move || work(&source));
    match task.await {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
