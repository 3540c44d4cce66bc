//! The revert of what was abandoned, committed on a branch for people to merge.
//!
//! Goes in: a quarantine that asks for it. Comes out: a [`Proposal`], or why there is none.
//!
//! **Invariant:** a rollback stands whether or not its revert can be proposed; what could not be pushed is pushed later.

use std::collections::BTreeSet;
use std::sync::PoisonError;
use std::time::Duration;

use super::refusal::RollbackError;
use super::{Context, with_source};
use crate::boundary;
use crate::definition::{self, Cache};
use crate::model::{EnvironmentId, Inputs, Revision, TreeError};
use crate::record::{Quarantine, Revert};
use crate::source::{Proposal, Source};

/// How long the answer to a rollback waits for the revert to be pushed.
const PATIENCE: Duration = Duration::from_secs(5);

/// Proposes the revert that a rollback left to be proposed when its process died.
pub(super) async fn propose_left(context: &Context, environment: &EnvironmentId) {
    let left = context.store.quarantine(environment);
    if matches!(left, Ok(Some(Quarantine { revert: Some(_), .. }))) {
        match propose(context, environment).await {
            Ok((Ok(Proposal { pushed: false, .. }), _)) => {}
            Ok((Ok(proposal), _)) => tracing::info!(%environment, branch = proposal.branch, "Proposed the revert."),
            Ok((Err(reason), _)) => tracing::warn!(%environment, reason, "No revert was committed."),
            Err(error) => {
                tracing::error!(%environment, error = %crate::provider::chain(&error), "The revert cannot be recorded.");
            }
        }
    }
}

/// The revert and the other environments that read what it changes.
type Proposed = (Result<Proposal, String>, Vec<EnvironmentId>);

/// Proposes the revert that the quarantine asks for, and strikes it off.
pub(super) async fn propose(context: &Context, environment: &EnvironmentId) -> Result<Proposed, RollbackError> {
    let Some(Quarantine { abandoned, revert: Some(revert), .. }) = context.store.quarantine(environment)? else {
        return Ok((Err("the revert was proposed before".to_owned()), Vec::new()));
    };
    let proposed = commit_revert(context, environment, &abandoned, revert).await;
    boundary::reach("after_proposal");
    if let (Ok(Proposal { pushed: false, refused: false, .. }), _) = &proposed {
        // The remote is away: it is proposed again, at what its head is then.
        return Ok(proposed);
    }
    // Read again: a person may have lifted it meanwhile.
    if let Some(quarantine) = context.store.quarantine(environment)? {
        context.store.put_quarantine(environment, Some(&Quarantine { revert: None, ..quarantine }))?;
    }
    Ok(proposed)
}

/// Commits the revert on a branch for people to merge. The rollback stands whether or not this succeeds.
async fn commit_revert(context: &Context, environment: &EnvironmentId, abandoned: &Revision, revert: Revert) -> Proposed {
    let (mine, bad, cache) = (environment.clone(), abandoned.clone(), context.cache.clone());
    let Revert { good, inputs } = revert;
    let (proposed, touched) = with_source(&context.source, move |source| {
        let text = |error: crate::source::SourceError| crate::provider::chain(&error);
        let changed = match source.changed_paths(&good.commit, &bad.commit) {
            Ok(changed) => changed,
            Err(error) => return (Err(text(error)), Vec::new()),
        };
        let mut cache = cache.lock().unwrap_or_else(PoisonError::into_inner);
        // What was read of either: a file that came has to go, and one that went has to come back.
        let mut readers: Vec<(EnvironmentId, Inputs)> = inputs.into_iter().map(|inputs| (mine.clone(), inputs)).collect();
        for commit in [&good.commit, &bad.commit] {
            match inputs_at(source, commit, &mut cache) {
                Ok(found) => readers.extend(found),
                Err(error) => return (Err(error), Vec::new()),
            }
        }
        let (own, others): (Vec<_>, Vec<_>) = readers.into_iter().partition(|(environment, _)| *environment == mine);
        let paths: Vec<String> = changed.into_iter().filter(|path| own.iter().any(|(_, inputs)| reads(inputs, path))).collect();
        let touched = others.into_iter().filter(|(_, inputs)| paths.iter().any(|path| reads(inputs, path)));
        let touched: BTreeSet<EnvironmentId> = touched.map(|(environment, _)| environment).collect();
        let touched: Vec<EnvironmentId> = touched.into_iter().collect();
        if paths.is_empty() {
            return (Err(format!("no file that {mine} reads differs between {good} and {bad}")), touched);
        }
        let head = match source.head() {
            Ok(Some(head)) => head.commit,
            Ok(None) => bad.commit.clone(),
            Err(error) => return (Err(text(error)), touched),
        };
        let branch = format!("trunkline/revert-{}-{}", mine.environment, bad.short());
        let message = message(&mine, &bad.to_string(), &good.to_string(), &paths, &touched);
        (source.commit_revert(&branch, &head, &good.commit, Some(&paths), &message).map_err(text), touched)
    })
    .await;
    match proposed {
        Ok(proposal) => (Ok(push_proposal(context, proposal).await), touched),
        Err(reason) => (Err(reason), touched),
    }
}

/// What each environment of a commit reads.
fn inputs_at(source: &Source, commit: &str, cache: &mut Cache) -> Result<Vec<(EnvironmentId, Inputs)>, String> {
    let tree = source.tree(commit).map_err(|error| crate::provider::chain(&error))?;
    let text = |error: TreeError| crate::provider::chain(&error);
    let (environments, _) = definition::environments(&tree).map_err(text)?;
    let read = |environment: EnvironmentId| {
        let inputs = definition::resolve(&tree, &environment, cache).map_err(text)?.inputs;
        Ok((environment, inputs))
    };
    environments.into_iter().map(read).collect()
}

/// Pushes the proposal, and goes on where that takes long: the rollback does not wait for a remote that hangs.
async fn push_proposal(context: &Context, proposal: Proposal) -> Proposal {
    let (network, mine) = (context.network.clone(), proposal.clone());
    let push = tokio::spawn(async move {
        let source = network.lock_owned().await;
        tokio::task::spawn_blocking(move || source.push_proposal(mine)).await
    });
    let late = |reason: &str| Proposal { pushed: false, refused: false, reason: Some(reason.to_owned()), ..proposal };
    match tokio::time::timeout(PATIENCE, push).await {
        Ok(Ok(Ok(pushed))) => pushed,
        Ok(_) => late("the push ended by a panic"),
        Err(_) => late("the remote does not answer"),
    }
}

fn reads(inputs: &Inputs, path: &str) -> bool {
    let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
    inputs.entries.contains_key(path) || inputs.listings.contains_key(parent)
}

fn message(environment: &EnvironmentId, bad: &str, good: &str, paths: &[String], touched: &[EnvironmentId]) -> String {
    let mut message = format!(
        "Revert {environment} to {good}\n\n{environment} was rolled back from {bad}. This makes what is merged what runs.\n\nFiles:\n"
    );
    for path in paths {
        message.push_str(&format!("  {path}\n"));
    }
    if !touched.is_empty() {
        let names: Vec<String> = touched.iter().map(ToString::to_string).collect();
        message.push_str(&format!("\nThe same files are read by: {}\n", names.join(", ")));
    }
    message
}
