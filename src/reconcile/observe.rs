//! What is there: every target of an environment asked at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures_util::future::join_all;

use super::{Context, Stop, is_due};
use crate::apply::Providers;
use crate::model::{
    DesiredState, DriftMode, InstanceKey, Observed, ObservedState, ResourceName, Retry, SecretError, SecretResolver, TOKEN,
    TargetName,
};
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
            paces: context.paces.clone(),
            agents: context.agents.clone(),
            epoch: context.store.epoch(),
            heals: desired.sync.drift == DriftMode::Heal,
            data: context.settings.data.clone(),
            channels: context.channels.clone(),
            docker: context.settings.docker.clone(),
            containers: context.settings.containers.clone(),
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
    /// The last instance that was read in full because it was its turn.
    pub(super) read_to: Option<InstanceKey>,
    /// The targets that could not be reached, and may be later, each with the reason.
    pub(super) away: BTreeMap<TargetName, String>,
}

/// How closely the live world is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Where a list shows the fingerprint that was recorded, nothing more is read.
    Lists,
    /// The same, and those whose turn it is are read in full: what no list shows (the crons of a Worker) is seen sooner or
    /// later.
    Turns,
    /// Everything is read in full.
    Deep,
}

/// So many have their turn at each look, however many there are: what a look costs does not grow with them, and a round of
/// all of them takes as many looks as it takes.
const TURNS: usize = 5;

/// How closely an environment is to be looked at now. A person who asks is shown everything, and so is a daemon that never
/// saw it.
pub(super) fn look(record: &EnvironmentRecord, asked: bool, now: DateTime<Utc>) -> Look {
    match record.observed_at {
        None => Look::Deep,
        Some(_) if asked => Look::Deep,
        Some(_) if is_due(record, now) => Look::Turns,
        Some(_) => Look::Lists,
    }
}

/// Whose turn it is: those that come after `last`, and then the first ones again.
fn turns(hidden: &BTreeSet<InstanceKey>, last: Option<&InstanceKey>) -> Vec<InstanceKey> {
    let count = TURNS.min(hidden.len());
    let after = hidden.iter().filter(|key| last.is_none_or(|last| *key > last));
    let again = hidden.iter().filter(|key| last.is_some_and(|last| *key <= last));
    after.chain(again).take(count).cloned().collect()
}

/// Observes everything that is desired, owned or was attempted. What could not be found out is `Unknown`. `last` is the
/// last one that had its turn.
pub(super) async fn observe(
    desired: &DesiredState,
    inventory: &Inventory,
    attempts: &[Attempt],
    providers: &Providers,
    (look, last): (Look, Option<&InstanceKey>),
) -> Seen {
    let plan::Lookups { instances, successors } = plan::lookups(desired, inventory, attempts);
    let hides = |key: &&InstanceKey| providers.get(&key.target).is_some_and(|provider| provider.hides(key.address.kind));
    let turns = match look {
        Look::Turns => {
            let hidden = instances.iter().filter(|(_, sought)| sought.owned.is_some()).map(|(key, _)| key).filter(hides);
            turns(&hidden.cloned().collect(), last)
        }
        Look::Lists | Look::Deep => Vec::new(),
    };
    let read_to = turns.last().or(last).cloned();
    let turns: BTreeSet<InstanceKey> = turns.into_iter().collect();
    let (instances, successors) = tokio::join!(ask(providers, instances, look, &turns), ask(providers, successors, look, &turns));
    let ((mut observed, mut away), (successors, also)) = (instances, successors);
    away.extend(also);
    mark_tokens(desired, providers, &mut observed).await;
    Seen { observed, successors, read_to, away }
}

async fn ask(
    providers: &Providers,
    sought: BTreeMap<InstanceKey, plan::Sought<'_>>,
    look: Look,
    turns: &BTreeSet<InstanceKey>,
) -> (ObservedState, BTreeMap<TargetName, String>) {
    let mut queries: BTreeMap<TargetName, Query> = BTreeMap::new();
    for (key, sought) in sought {
        let lookup = Lookup { claim: sought.claim, spec: sought.spec.cloned(), owned: sought.owned.cloned() };
        let query = queries.entry(key.target.clone()).or_default();
        query.deep = look == Look::Deep;
        query.due.extend(turns.get(&key).cloned());
        query.instances.insert(key, lookup);
    }
    let answers = queries.iter().map(|(target, query)| ask_target(providers, target, query));
    let (mut observed, mut away) = (ObservedState::new(), BTreeMap::new());
    for (target, answer) in queries.keys().zip(join_all(answers).await) {
        observed.extend(answer.0);
        away.extend(answer.1.map(|why| (target.clone(), why)));
    }
    (observed, away)
}

/// What is there; and why the target cannot be reached, where it cannot.
async fn ask_target(providers: &Providers, target: &TargetName, query: &Query) -> (ObservedState, Option<String>) {
    let unknown = |reason: &str| query.instances.keys().map(|key| (key.clone(), Observed::Unknown(reason.to_owned()))).collect();
    let Some(provider) = providers.get(target) else {
        return (unknown(&format!("the target `{target}` is no longer defined")), None);
    };
    match provider.observe(query).await {
        Ok(observed) => (observed, None),
        Err(error) => {
            let why = told(&error);
            (unknown(&why), (error.retry != Retry::Stalled).then_some(why))
        }
    }
}

/// Adds what stands for its token to each tunnel whose token a host uses: the token itself is read, and dropped. No list shows
/// whether it was rotated, so that it is read at every look.
async fn mark_tokens(desired: &DesiredState, providers: &Providers, observed: &mut ObservedState) {
    let tokens = desired.resources.values().flat_map(|desired| desired.spec.tokens());
    let used: BTreeMap<InstanceKey, ResourceName> = tokens.map(|(tunnel, instance)| (instance, tunnel)).collect();
    for (instance, tunnel) in used {
        let (Some(Observed::Present(present)), Some(provider)) = (observed.get_mut(&instance), providers.get(&instance.target))
        else {
            continue;
        };
        let Some(id) = present.attributes.get("id").cloned() else { continue };
        match provider.token(&tunnel, &id).await {
            Ok(token) => drop(present.attributes.insert(TOKEN.to_owned(), token.mark.as_attribute())),
            Err(error) => {
                let reason = format!("its token, which hosts use, cannot be read: {}", told(&error));
                observed.insert(instance, Observed::Unknown(reason));
            }
        }
    }
}

fn told(error: &provider::ProviderError) -> String {
    match &error.hint {
        Some(hint) => format!("{} ({hint})", provider::chain(error)),
        None => provider::chain(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(count: usize) -> BTreeSet<InstanceKey> {
        (0..count).map(|at| format!("production/worker.w{at:04}@main").parse().unwrap()).collect()
    }

    #[test]
    fn everything_has_its_turn_within_a_round_and_each_look_reads_as_much_as_the_others() {
        for count in [0, 1, 4, 5, 6, 30, 59, 60, 61, 100, 1_000] {
            let hidden = keys(count);
            let (mut seen, mut last, mut sizes) = (BTreeSet::new(), None, BTreeSet::new());
            for _ in 0..count.div_ceil(TURNS) {
                let now = turns(&hidden, last.as_ref());
                sizes.insert(now.iter().collect::<BTreeSet<_>>().len());
                last = now.last().or(last.as_ref()).cloned();
                seen.extend(now);
            }
            assert_eq!(seen, hidden, "{count}");
            assert!(sizes.iter().all(|size| *size == TURNS.min(count)), "{count}: {sizes:?}");
        }
    }

    #[test]
    fn a_round_goes_on_where_the_last_one_was_also_when_that_one_is_gone() {
        let mut hidden = keys(8);
        let first = turns(&hidden, None);
        let last = first.last().unwrap();
        hidden.remove(last);
        let mut then: Vec<InstanceKey> = hidden.iter().skip(4).cloned().collect();
        then.extend(hidden.iter().take(2).cloned());
        assert_eq!(turns(&hidden, Some(last)), then[..5]);
    }
}
