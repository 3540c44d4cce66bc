//! The record in Git: a note on the commit, a ref for what runs, pushed where the remote allows it.
//!
//! A pass ends when the store has it. What it leaves for Git is written for all environments at once: a commit that a
//! thousand of them read is one commit of notes, not a thousand that each write the note anew.
//!
//! **Invariant:** the network is the business of [`push`], which no pass waits for.

use std::collections::BTreeMap;

use super::{Context, with_network, with_source};
use crate::boundary;
use crate::model::EnvironmentId;
use crate::record::{EnvironmentRecord, GenerationState, Note};
use crate::source::Pushed;

/// How many of the newest generations are written again after a push that did not come through.
const AGAIN: usize = 20;

/// What waits to be published: an environment, and its newest generation.
type Waiting = Vec<(EnvironmentId, u64)>;

/// Writes the environment's unpublished generations into our own repository. A failure is logged and made up for by the
/// next [`push`]: the apply has happened, and the store knows it.
pub async fn publish(context: &Context, environment: &EnvironmentId) {
    let text = |error: crate::store::StoreError| crate::provider::chain(&error);
    let record = context.store.environment(environment).map_err(text);
    let written = match record {
        Ok(record) => annotate(context, record.into_iter().collect()).await,
        Err(error) => Err(error),
    };
    if let Err(error) = written {
        tracing::warn!(%environment, error, "The record in Git is not complete; it is tried again.");
    }
}

/// Writes what Git lacks of these environments into our own repository: the notes in one commit, then the refs.
async fn annotate(context: &Context, records: Vec<EnvironmentRecord>) -> Result<Waiting, String> {
    let mut waiting = Waiting::new();
    let mut lines: BTreeMap<String, Vec<serde_json::Value>> = BTreeMap::new();
    let mut applied = Vec::new();
    for record in records.into_iter().filter(|record| record.unpublished) {
        let generations =
            context.store.generations(&record.environment, AGAIN).map_err(|error| crate::provider::chain(&error))?;
        // One that is being applied is written when it has ended.
        let Some(newest) = generations.first().filter(|newest| newest.state != GenerationState::Applying) else { continue };
        waiting.push((record.environment.clone(), newest.number));
        for generation in &generations {
            let Some(note) = Note::of(generation) else { continue };
            let line = serde_json::to_value(&note).map_err(|error| crate::provider::chain(&error))?;
            lines.entry(generation.revision.commit.clone()).or_default().push(line);
        }
        if let Some(newest) = generations.into_iter().find(|g| g.state == GenerationState::Applied) {
            applied.push((record.environment, newest.revision.commit));
        }
    }
    if waiting.is_empty() {
        return Ok(waiting);
    }
    let written = with_source(&context.source, move |source| {
        // A commit that the repository lacks (it was lost, and the history rewritten) can carry no note.
        lines.retain(|commit, _| source.knows(commit));
        source.annotate_all(&lines)?;
        boundary::reach("after_note");
        for (environment, commit) in applied.iter().filter(|(_, commit)| source.knows(commit)) {
            source.set_applied(environment, commit)?;
        }
        boundary::reach("after_applied_ref");
        Ok(())
    });
    written.await.map_err(|error: crate::source::SourceError| crate::provider::chain(&error))?;
    Ok(waiting)
}

/// Writes what Git lacks of any environment, and pushes it, where the settings say so; nothing to push costs no process. A
/// failure is logged; the next call tries again.
pub async fn push(context: &Context) {
    if let Err(error) = try_push(context).await {
        tracing::warn!(error, "The record in Git is not complete; it is tried again.");
    }
}

async fn try_push(context: &Context) -> Result<(), String> {
    let text = |error: &dyn std::error::Error| crate::provider::chain(error);
    let waiting = annotate(context, context.store.environments().map_err(|e| text(&e))?).await?;
    if waiting.is_empty() {
        return Ok(());
    }
    if context.settings.push_records {
        let pushed = with_network(context, |source| source.push_records()).await.map_err(|e| text(&e))?;
        boundary::reach("after_push");
        if let Pushed::Refused(reason) = pushed {
            tracing::warn!(reason, "The remote does not take the record; it stays in the daemon's own repository.");
        }
    }
    context.store.published(&waiting).map_err(|e| text(&e))?;
    boundary::reach("after_published");
    Ok(())
}
