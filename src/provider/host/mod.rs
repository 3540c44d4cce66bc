//! What lives on a host, through the executor of [`crate::agent`], by the channel that the host's definition asks for.
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

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use futures_util::future::BoxFuture;

use crate::agent::{Answer, Fault, Order as Sent, OrderResult, Policy, Request, Task, VERSION};
use crate::link::Hub;
use crate::model::{EnvironmentId, HostTarget, InstanceKey, Observed, ObservedState, Retry, SecretResolver, Spec};
use crate::provider::{Lookup, Order, Outcome, Provider, ProviderError, Query, Receipt};

use channel::{Channel, Lost};
pub use channel::{ChannelOptions, Channels};

/// How many orders go to a host at once: their bytes are in memory together.
const BATCH: usize = 4096;

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
    /// Drift is put right, and not only reported.
    pub heals: bool,
    /// Where the manifests of a host without `root` are kept, such as `/var/lib/trunkline`. A host with a root keeps
    /// them in its own `var/lib/trunkline`.
    pub state: PathBuf,
    /// The ways to hosts that all environments share.
    pub channels: Channels,
    /// The engine of Docker, where it is not Docker's own default.
    pub docker: Option<String>,
    /// What containers may ask for of all that gives them the host.
    pub containers: BTreeSet<String>,
}

/// One host, for one environment.
pub struct HostProvider {
    environment: EnvironmentId,
    secrets: Arc<dyn SecretResolver>,
    channel: Box<dyn Channel>,
    /// What the daemon allows the executors that it starts itself.
    policy: Policy,
    epoch: u64,
    heals: bool,
}

/// Makes the provider; looks at nothing yet.
///
/// # Errors
/// Where the host's root is not an absolute path.
pub fn connect(options: Options) -> Result<HostProvider, ProviderError> {
    let Options { target, environment, secrets, agents, epoch, heals, state, channels, docker, containers } = options;
    if let Some(root) = target.root.as_deref().filter(|root| !root.is_absolute()) {
        let message = format!("the host's root `{}` is not an absolute path", root.display());
        return Err(ProviderError::new(message, Retry::Stalled).hint("give the whole path, from `/`"));
    }
    let policy = Policy { docker, containers, ..Policy::local(target.root.clone(), state) };
    let channel = channel::open(target, (&policy, agents), &channels);
    Ok(HostProvider { environment, secrets, channel, policy, epoch, heals })
}

impl HostProvider {
    /// Why a container is not planned for: the daemon's own say, before anything is done. The host of an agent has its say too.
    fn refused(&self, lookup: &Lookup) -> Option<String> {
        let Some(Spec::Hosted(hosted)) = &lookup.spec else { return None };
        let refused: Vec<&str> = self.policy.refuses(hosted.sort, &hosted.fields).into_iter().collect();
        (!refused.is_empty()).then(|| {
            format!(
                "it asks for {}, which gives it the host; the daemon's own settings allow that by name, under `[containers]`",
                refused.join(", ")
            )
        })
    }

    async fn ask(&self, task: Task) -> Result<Answer, Lost> {
        self.channel.ask(Request { version: VERSION, environment: self.environment.clone(), heals: self.heals, task }).await
    }
}

impl Provider for HostProvider {
    fn observe<'a>(&'a self, query: &'a Query) -> BoxFuture<'a, Result<ObservedState, ProviderError>> {
        Box::pin(async move {
            let queries = query.instances.iter().map(|(key, lookup)| present::query(key, lookup)).collect();
            match self.ask(Task::Observe { queries }).await.map_err(|lost| lost.error)? {
                Answer::Observed(answers) => {
                    let now = Utc::now();
                    let answers = answers.into_iter().filter_map(|answer| {
                        let lookup = query.instances.get(&answer.key)?;
                        let refused = self.refused(lookup).map(Observed::Unknown);
                        let observed = refused.unwrap_or_else(|| present::observed(lookup, answer.found, now));
                        Some((answer.key, observed))
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
            let mut outcomes: Vec<Option<Outcome>> = orders.iter().map(|_| None).collect();
            let mut sent: Vec<(usize, Draft)> = Vec::new();
            let mut prepared = Vec::new();
            for (at, order) in orders.iter().enumerate() {
                let before = order::before(orders, at);
                // Where each of those is in the request; one that is not in it was refused here.
                let after = before.iter().map(|before| sent.iter().position(|(at, _)| at == before).ok_or(*before)).collect();
                let order = match after {
                    Ok(after) => order::prepare(order, &*self.secrets).map(|(what, draft)| (Sent { after, what }, draft)),
                    Err(before) => {
                        outcomes[at] = Some(Outcome::NotBegun(orders[before].change.key.clone()));
                        continue;
                    }
                };
                match order {
                    Ok((order, draft)) => {
                        sent.push((at, draft));
                        prepared.push(order);
                    }
                    Err(error) => outcomes[at] = Some(Outcome::Refused(error)),
                }
            }
            if !prepared.is_empty() {
                let places: Vec<usize> = sent.iter().map(|(at, _)| *at).collect();
                let key = |position: usize| places.get(position).map(|at| orders[*at].change.key.clone());
                let answer = self.ask(Task::Apply { epoch: self.epoch, orders: prepared }).await;
                for ((at, draft), result) in sent.into_iter().zip(results(answer)) {
                    outcomes[at] = Some(result.outcome(draft, &key));
                }
            }
            let missing = || Outcome::Unknown(ProviderError::new("the host executor gave no answer for it", Retry::Transient));
            outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(missing)).collect()
        })
    }

    fn orders_by_itself(&self) -> bool {
        true
    }

    fn batch(&self) -> usize {
        BATCH
    }

    fn settle(&self) -> Duration {
        self.channel.settle()
    }
}

/// One for each order that was sent; endless where the answer is one for all of them.
fn results(answer: Result<Answer, Lost>) -> Box<dyn Iterator<Item = Became> + Send> {
    match answer {
        Ok(Answer::Applied(results)) => Box::new(results.into_iter().map(Became::Of)),
        Ok(Answer::Refused(fault)) => Box::new(std::iter::repeat_with(move || Became::Of(OrderResult::Refused(fault.clone())))),
        Ok(Answer::Observed(_)) => Box::new(std::iter::empty()),
        Err(lost) => Box::new(std::iter::repeat_with(move || Became::Lost(lost.again()))),
    }
}

/// What became of an order that was sent.
enum Became {
    /// The executor says so.
    Of(OrderResult),
    /// Nobody says.
    Lost(Lost),
}

impl Became {
    fn outcome(self, draft: Draft, key: &dyn Fn(usize) -> Option<InstanceKey>) -> Outcome {
        match self {
            Self::Of(OrderResult::Done { fingerprint, warnings }) => Outcome::Done(draft.finish(fingerprint, warnings)),
            Self::Of(OrderResult::Refused(fault)) => Outcome::Refused(error(fault)),
            Self::Of(OrderResult::Conflict(message)) => Outcome::Conflict(message),
            Self::Of(OrderResult::Unknown(fault)) => Outcome::Unknown(error(fault)),
            Self::Of(OrderResult::NotBegun(before)) => match key(before) {
                Some(key) => Outcome::NotBegun(key),
                None => Outcome::Unknown(ProviderError::new("the host executor waited for no order of ours", Retry::Transient)),
            },
            Self::Lost(Lost { begun: true, error }) => Outcome::Unknown(error),
            Self::Lost(Lost { begun: false, error }) => Outcome::Refused(error),
        }
    }
}

fn error(fault: Fault) -> ProviderError {
    let Fault { message, cause, hint, transient } = fault;
    let retry = if transient { Retry::Transient } else { Retry::Stalled };
    ProviderError { message, hint, retry, source: cause.map(Into::into) }
}

/// What is known of an order before it is carried out.
struct Draft(Receipt);

impl Draft {
    fn finish(self, fingerprint: String, warnings: Vec<String>) -> Receipt {
        Receipt { fingerprint, warnings, ..self.0 }
    }
}
