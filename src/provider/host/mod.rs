//! Files on a host, through the executor of [`crate::agent`], by the channel that the host's definition asks for.
//!
//! Goes in: lookups and approved orders. Comes out: what is there, and one outcome for each order; one request to the
//! host for all of them.
//!
//! **Invariant:** the values of secrets take the place of their placeholders here, just before the bytes go to the
//! executor; nothing that comes back holds a value or an unkeyed digest of one.

mod channel;
mod order;
mod present;
mod render;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use futures_util::future::BoxFuture;

use crate::agent::{Answer, Fault, FileResult, Request, Task, VERSION};
use crate::link::Hub;
use crate::model::{EnvironmentId, HostTarget, ObservedState, Retry, SecretResolver};
use crate::provider::{Order, Outcome, Provider, ProviderError, Query, Receipt};

use channel::{Channel, Lost};
pub use channel::{ChannelOptions, Channels};

/// How many orders go to a host at once: their bytes are in memory together.
const BATCH: usize = 1024;

/// What a host provider needs.
pub struct Options {
    /// The host.
    pub target: HostTarget,
    /// Whose files are seen to.
    pub environment: EnvironmentId,
    /// For files whose templates use secrets.
    pub secrets: Arc<dyn SecretResolver>,
    /// Where agents are connected.
    pub agents: Option<Arc<Hub>>,
    /// Which holder of the store this is: a host refuses an earlier one.
    pub epoch: u64,
    /// Where the manifests of a host without `root` are kept, such as `/var/lib/trunkline`. A host with a root keeps
    /// them in its own `var/lib/trunkline`.
    pub state: PathBuf,
    /// The ways to hosts that all environments share.
    pub channels: Channels,
}

/// One host, for one environment.
pub struct HostProvider {
    environment: EnvironmentId,
    secrets: Arc<dyn SecretResolver>,
    channel: Box<dyn Channel>,
    epoch: u64,
}

/// Makes the provider; looks at nothing yet.
///
/// # Errors
/// Where the host's root is not an absolute path.
pub fn connect(options: Options) -> Result<HostProvider, ProviderError> {
    let Options { target, environment, secrets, agents, epoch, state, channels } = options;
    if let Some(root) = target.root.as_deref().filter(|root| !root.is_absolute()) {
        let message = format!("the host's root `{}` is not an absolute path", root.display());
        return Err(ProviderError::new(message, Retry::Stalled).hint("give the whole path, from `/`"));
    }
    Ok(HostProvider { environment, secrets, channel: channel::open(target, (state, agents), &channels), epoch })
}

impl HostProvider {
    async fn ask(&self, task: Task) -> Result<Answer, Lost> {
        self.channel.ask(Request { version: VERSION, environment: self.environment.clone(), task }).await
    }
}

impl Provider for HostProvider {
    fn observe<'a>(&'a self, query: &'a Query) -> BoxFuture<'a, Result<ObservedState, ProviderError>> {
        Box::pin(async move {
            let files = query.instances.iter().map(|(key, lookup)| present::query(key, lookup)).collect();
            match self.ask(Task::Observe { files }).await.map_err(|lost| lost.error)? {
                Answer::Observed(answers) => {
                    let now = Utc::now();
                    let answers = answers.into_iter().filter_map(|answer| {
                        let lookup = query.instances.get(&answer.key)?;
                        Some((answer.key, present::observed(lookup, answer.found, now)))
                    });
                    Ok(answers.collect())
                }
                Answer::Refused(fault) => Err(error(fault)),
                Answer::Applied(_) => Err(ProviderError::new("the host executor gave the wrong answer", Retry::Stalled)),
            }
        })
    }

    fn carry_out<'a>(&'a self, orders: &'a [Order]) -> BoxFuture<'a, Vec<Outcome>> {
        Box::pin(async move {
            let mut prepared = Vec::new();
            let mut outcomes: Vec<Option<Outcome>> = Vec::new();
            let mut receipts = Vec::new();
            for order in orders {
                match order::prepare(order, &*self.secrets) {
                    Ok((order, receipt)) => {
                        receipts.push((outcomes.len(), receipt));
                        prepared.push(order);
                        outcomes.push(None);
                    }
                    Err(error) => outcomes.push(Some(Outcome::Refused(error))),
                }
            }
            if !prepared.is_empty() {
                let answer = self.ask(Task::Apply { epoch: self.epoch, orders: prepared }).await;
                for ((index, receipt), outcome) in receipts.into_iter().zip(results(answer)) {
                    outcomes[index] = Some(outcome.unwrap_or_else(|fingerprint| Outcome::Done(receipt.finish(fingerprint))));
                }
            }
            let missing = || Outcome::Unknown(ProviderError::new("the host executor gave no answer for it", Retry::Transient));
            outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(missing)).collect()
        })
    }

    fn batch(&self) -> usize {
        BATCH
    }

    fn settle(&self) -> Duration {
        self.channel.settle()
    }
}

/// One for each order that was sent: the outcome, or the fingerprint of what is done. Endless where the answer is one
/// for all of them.
fn results(answer: Result<Answer, Lost>) -> Box<dyn Iterator<Item = Result<Outcome, String>> + Send> {
    let result = |result| match result {
        FileResult::Done { fingerprint } => Err(fingerprint),
        FileResult::Refused(fault) => Ok(Outcome::Refused(error(fault))),
        FileResult::Conflict(message) => Ok(Outcome::Conflict(message)),
        FileResult::Unknown(fault) => Ok(Outcome::Unknown(error(fault))),
    };
    match answer {
        Ok(Answer::Applied(results)) => Box::new(results.into_iter().map(result)),
        Ok(Answer::Refused(fault)) => Box::new(std::iter::repeat_with(move || Ok(Outcome::Refused(error(fault.clone()))))),
        Ok(Answer::Observed(_)) => Box::new(std::iter::empty()),
        Err(Lost { error, begun }) => Box::new(std::iter::repeat_with(move || {
            let message = crate::provider::chain(&error);
            let error = ProviderError { message, hint: error.hint.clone(), retry: error.retry, source: None };
            Ok(if begun { Outcome::Unknown(error) } else { Outcome::Refused(error) })
        })),
    }
}

fn error(fault: Fault) -> ProviderError {
    let Fault { message, cause, hint, transient } = fault;
    let retry = if transient { Retry::Transient } else { Retry::Stalled };
    ProviderError { message, hint, retry, source: cause.map(Into::into) }
}

/// What is known of a file before it is written.
struct Draft(Receipt);

impl Draft {
    fn finish(self, fingerprint: String) -> Receipt {
        Receipt { fingerprint, ..self.0 }
    }
}
