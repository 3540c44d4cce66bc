//! The executor in our own process.

use std::time::Duration;

use futures_util::future::BoxFuture;

use super::{Channel, Lost};
use crate::agent::{Answer, Policy, Request, execute};
use crate::model::Retry;
use crate::provider::ProviderError;

/// The daemon's own machine.
pub(super) struct Local {
    pub(super) policy: Policy,
}

impl Channel for Local {
    fn ask(&self, request: Request) -> BoxFuture<'_, Result<Answer, Lost>> {
        let policy = self.policy.clone();
        Box::pin(async move {
            // The executor blocks: on the disk, and on validate commands.
            let answer = tokio::task::spawn_blocking(move || execute(request, &policy)).await;
            answer.map_err(|error| {
                let error = ProviderError::new("the host executor stopped in the middle", Retry::Transient).source(error);
                Lost { error, begun: true }
            })
        })
    }

    fn settle(&self) -> Duration {
        // What an executor left behind is settled before the next look: a file is there or it is not.
        Duration::ZERO
    }
}
