//! The executor of a host that dials out, by the connection that its agent has opened.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::{Channel, Lost, weigh};
use crate::agent::{Answer, Request};
use crate::link::{Away, Hub, MAX_REQUEST_BYTES};
use crate::model::{Retry, TargetName};
use crate::provider::ProviderError;

/// A host that enrolled.
pub(super) struct Agent {
    /// Where agents are connected; `None` in a process that does not listen for them.
    pub(super) hub: Option<Arc<Hub>>,
    /// The name that it enrolled under.
    pub(super) name: TargetName,
    /// The longest request, in bytes, where the connection does not take less.
    pub(super) most: usize,
}

impl Channel for Agent {
    fn ask(&self, request: Request) -> BoxFuture<'_, Result<Answer, Lost>> {
        Box::pin(async move {
            let name = &self.name;
            // A connection that gets more than it takes ends, and nobody knows then what was done.
            weigh::fits(name, &request, self.most.min(MAX_REQUEST_BYTES))?;
            let Some(hub) = &self.hub else {
                let message = format!("the agent of `{name}` is connected to the daemon, not to this command");
                let error = ProviderError::new(message, Retry::Transient);
                let hint = "ask the daemon: `trunkline status`; it listens with `listen` under [agents] in its settings";
                return Err(Lost { error: error.hint(hint), begun: false });
            };
            hub.ask(name, request).await.map_err(|away| {
                let hint = match away {
                    Away::NotConnected => format!(
                        "see `trunkline agent list`, and on the host `systemctl status trunkline-agent`; a new host enrols with a \
                         token from `trunkline agent token {name}`"
                    ),
                    Away::Revoked => format!("enrol the host again with a token from `trunkline agent token {name}`"),
                    Away::Lost => "it is looked at again when the agent is back".to_owned(),
                };
                let begun = away == Away::Lost;
                Lost { error: ProviderError::new(format!("{away} (`{name}`)"), Retry::Transient).hint(hint), begun }
            })
        })
    }

    fn settle(&self) -> Duration {
        // The executor finishes what it began before it answers another, and settles what a killed one left.
        Duration::ZERO
    }
}
