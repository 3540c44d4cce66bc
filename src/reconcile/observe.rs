//! What is there: every target of an environment asked at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;

use super::{Context, Stop};
use crate::apply::Providers;
use crate::model::{DesiredState, InstanceKey, Observed, ObservedState, SecretError, SecretResolver, TargetName};
use crate::plan::{self, Attempt, Inventory};
use crate::provider::{self, Lookup, Query};
use crate::record::{ConditionReason, EnvironmentRecord};
use crate::secrets::Opener;

/// Opens every secret that is used; fails closed: one that cannot be opened stops the pass.
pub(super) fn open_secrets(context: &Context, desired: &DesiredState) -> Result<Opener, Stop> {
    let opener = Opener::new(context.identities.clone(), desired);
    let faults = opener.open_all(&desired.used_secrets());
    if faults.is_empty() {
        return Ok(opener);
    }
    Err(Stop::stalled(ConditionReason::Secret, format!("nothing is applied: {}", explain(&faults))))
}

/// The faults, and what to do: without an identity it is the same for every secret.
fn explain(faults: &[SecretError]) -> String {
    let names = faults.iter().filter_map(|fault| match fault {
        SecretError::NoIdentity(name) => Some(format!("`secret.{name}`")),
        _ => None,
    });
    let names: Vec<String> = names.collect();
    if names.len() == faults.len() {
        return format!(
            "no identity is configured to decrypt {} (name the file with `--identity`, or as `identity` under [secrets] in the daemon's settings)",
            names.join(", ")
        );
    }
    let hint = "`trunkline secrets list` shows which open; write one anew with `trunkline secrets set`";
    let closed = faults.iter().filter_map(|fault| match fault {
        SecretError::Undecryptable(name) => Some(format!("`secret.{name}`")),
        _ => None,
    });
    let closed: Vec<String> = closed.collect();
    let alike = (!closed.is_empty()).then(|| format!("{} cannot be decrypted with the configured identity", closed.join(", ")));
    let others = faults.iter().filter(|fault| !matches!(fault, SecretError::Undecryptable(_))).map(ToString::to_string);
    format!("{} ({hint})", alike.into_iter().chain(others).collect::<Vec<_>>().join("; "))
}

/// A provider for each target.
pub(super) fn connect(context: &Context, desired: &DesiredState, secrets: &Arc<Opener>) -> Result<Providers, Stop> {
    let secrets: Arc<dyn SecretResolver> = secrets.clone();
    let mut providers = Providers::new();
    for (name, target) in &desired.targets {
        let options = provider::Options {
            environment: desired.environment.clone(),
            secrets: secrets.clone(),
            credentials: context.credentials.clone(),
            client: context.client.clone(),
            data: context.settings.data.clone(),
        };
        let provider = provider::connect(target, options)
            .map_err(|error| Stop::stalled(ConditionReason::Unreachable, format!("target `{name}`: {}", told(&error))))?;
        providers.insert(name.clone(), provider);
    }
    Ok(providers)
}

/// What was seen.
pub(super) struct Seen {
    /// Everything that is desired, owned or was attempted.
    pub(super) observed: ObservedState,
    /// The new names of what is renamed.
    pub(super) successors: ObservedState,
}

/// How closely the live world is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Where a list shows the fingerprint that was recorded, nothing more is read.
    Lists,
    /// Everything is read in full: what no list shows (the crons of a Worker) is seen too.
    Deep,
}

/// Every how many intervals the daemon reads everything in full: its other looks cost a few lists, however many Workers
/// there are, and this one four calls for each.
const DEEP_EVERY: i32 = 12;

/// How closely an environment is to be looked at now. A person who asks is shown everything.
pub(super) fn look(record: &EnvironmentRecord, asked: bool, now: DateTime<Utc>) -> Look {
    let interval = TimeDelta::seconds(i64::try_from(record.interval_seconds).unwrap_or(i64::MAX).min(1_000_000_000));
    let due = record.deep_at.is_none_or(|at| now - at >= interval * DEEP_EVERY);
    if asked || due { Look::Deep } else { Look::Lists }
}

/// Observes everything that is desired, owned or was attempted. What could not be found out is `Unknown`.
pub(super) async fn observe(
    desired: &DesiredState,
    inventory: &Inventory,
    attempts: &[Attempt],
    providers: &Providers,
    look: Look,
) -> Seen {
    let plan::Lookups { instances, successors } = plan::lookups(desired, inventory, attempts);
    let (observed, successors) = tokio::join!(ask(providers, instances, look), ask(providers, successors, look));
    Seen { observed, successors }
}

async fn ask(providers: &Providers, sought: BTreeMap<InstanceKey, plan::Sought<'_>>, look: Look) -> ObservedState {
    let mut queries: BTreeMap<TargetName, Query> = BTreeMap::new();
    for (key, sought) in sought {
        let lookup = Lookup { claim: sought.claim, spec: sought.spec.cloned(), owned: sought.owned.cloned() };
        let query = queries.entry(key.target.clone()).or_default();
        query.deep = look == Look::Deep;
        query.instances.insert(key, lookup);
    }
    let answers = queries.iter().map(|(target, query)| ask_target(providers, target, query));
    join_all(answers).await.into_iter().flatten().collect()
}

async fn ask_target(providers: &Providers, target: &TargetName, query: &Query) -> ObservedState {
    let unknown = |reason: String| query.instances.keys().map(|key| (key.clone(), Observed::Unknown(reason.clone()))).collect();
    let Some(provider) = providers.get(target) else {
        return unknown(format!("the target `{target}` is no longer defined"));
    };
    match provider.observe(query).await {
        Ok(observed) => observed,
        Err(error) => unknown(told(&error)),
    }
}

fn told(error: &provider::ProviderError) -> String {
    match &error.hint {
        Some(hint) => format!("{} ({hint})", provider::chain(error)),
        None => provider::chain(error),
    }
}
