//! How a request travels to the executor of a host, and its answer back.
//!
//! Goes in: one request. Comes out: its answer, or why there is none and whether the executor may have begun.
//!
//! **Invariant:** a channel never sends a request twice that may have been begun: that is for the journal to settle.

mod agent;
mod local;
mod shared;
mod ssh;
mod weigh;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::agent::{Answer, Policy, Request};
use crate::link::Hub;
use crate::model::{Connect, HostTarget};
use crate::provider::ProviderError;

pub use shared::{ChannelOptions, Channels};

/// The way to one host.
pub(super) trait Channel: Send + Sync {
    /// Has the executor answer `request`.
    fn ask(&self, request: Request) -> BoxFuture<'_, Result<Answer, Lost>>;

    /// For how long a request whose answer never came may still be begun at the other end.
    fn settle(&self) -> Duration;
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) struct Lost {
    /// What went wrong.
    pub(super) error: ProviderError,
    /// The executor may have begun; else it certainly has not.
    pub(super) begun: bool,
}

impl Lost {
    /// The same for another order of the request; its cause is told in its words.
    pub(super) fn again(&self) -> Self {
        let ProviderError { hint, retry, .. } = &self.error;
        let message = crate::provider::chain(&self.error);
        let error = ProviderError { message, hint: hint.clone(), retry: *retry, source: None };
        Self { error, begun: self.begun }
    }
}

/// The channel that the definition of a host asks for. `policy` is what the executors may do that we start ourselves, `agents`
/// where agents are connected.
pub(super) fn open(target: HostTarget, (policy, agents): (&Policy, Option<Arc<Hub>>), channels: &Channels) -> Box<dyn Channel> {
    let HostTarget { connect, root, offline: _ } = target;
    match connect {
        Connect::Local => Box::new(local::Local { policy: policy.clone() }),
        // What it may do beneath which root, the host itself says.
        Connect::Agent { name } => Box::new(agent::Agent { hub: agents, name, most: channels.options().request_bytes }),
        Connect::Ssh(target) => Box::new(ssh::Ssh::new(target, (root, policy.containers.clone()), channels.clone())),
    }
}
