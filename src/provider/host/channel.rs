//! The ways by which a request reaches a host's executor.
//!
//! **Invariant:** what is said of a request that got no answer is whether it may have been carried out.

use std::sync::Arc;

use crate::agent::{Answer, Policy, Request, execute};
use crate::link::{Away, Hub};
use crate::model::{Retry, TargetName};
use crate::provider::ProviderError;

/// How the executor of one host is reached.
pub(super) enum Channel {
    /// In process.
    Local(Policy),
    /// By the connection that the host's agent opened.
    Agent {
        /// Where agents are connected; `None` in a process that does not listen for them.
        hub: Option<Arc<Hub>>,
        /// The host.
        name: TargetName,
    },
}

/// Why there is no answer.
pub(super) struct Unanswered {
    /// Whether the request may have been carried out.
    pub(super) sent: bool,
    /// What went wrong.
    pub(super) error: ProviderError,
}

impl Unanswered {
    /// The same for another order of the request.
    pub(super) fn again(&self) -> Self {
        let ProviderError { message, hint, retry, source: _ } = &self.error;
        let error = ProviderError { message: message.clone(), hint: hint.clone(), retry: *retry, source: None };
        Self { sent: self.sent, error }
    }
}

impl Channel {
    /// Sends `request`; the executor's answer.
    pub(super) async fn ask(&self, request: Request) -> Result<Answer, Unanswered> {
        match self {
            Self::Local(policy) => {
                let policy = policy.clone();
                // The executor blocks: on the disk, and on validate commands.
                let answer = tokio::task::spawn_blocking(move || execute(request, &policy)).await;
                answer.map_err(|error| Unanswered {
                    sent: true,
                    error: ProviderError::new("the host executor stopped in the middle", Retry::Transient).source(error),
                })
            }
            Self::Agent { hub: None, name } => Err(Unanswered {
                sent: false,
                error: ProviderError::new(format!("the agent of `{name}` is connected to the daemon, not to this command"), Retry::Transient)
                    .hint("ask the daemon: `trunkline status`; it listens with `listen` under [agents] in its settings"),
            }),
            Self::Agent { hub: Some(hub), name } => hub.ask(name, request).await.map_err(|away| Unanswered {
                sent: away == Away::Lost,
                error: ProviderError::new(format!("{away} (`{name}`)"), Retry::Transient).hint(match away {
                    Away::NotConnected => {
                        format!("see `trunkline agent list`, and on the host `systemctl status trunkline-agent`; a new host enrols with a token from `trunkline agent token {name}`")
                    }
                    Away::Revoked => format!("enrol the host again with a token from `trunkline agent token {name}`"),
                    Away::Lost => "it is looked at again when the agent is back".to_owned(),
                }),
            }),
        }
    }
}
