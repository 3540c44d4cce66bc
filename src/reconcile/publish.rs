//! The record in Git: a note on the commit, a ref for what runs, pushed where the remote allows it.
//!
//! **Invariant:** a pass writes into our own repository only; the network is the business of [`push`], which no pass
//! waits for.

use super::{Context, with_network, with_source};
use crate::boundary;
use crate::model::EnvironmentId;
use crate::record::{GenerationState, Note};
use crate::source::{Pushed, SourceError};

/// How many of the newest generations are written again after a push that did not come through.
const AGAIN: usize = 20;

/// Writes the environment's unpublished generations into our own repository. A failure is logged and made up for by the
/// next pass: the apply has happened, and the store knows it.
pub async fn publish(context: &Context, environment: &EnvironmentId) {
    if let Err(error) = annotate(context, environment).await {
        tracing::warn!(%environment, error, "The record in Git is not complete; it is tried again.");
    }
}

async fn annotate(context: &Context, environment: &EnvironmentId) -> Result<(), String> {
    let text = |error: &dyn std::error::Error| crate::provider::chain(error);
    let Some(record) = context.store.environment(environment).map_err(|e| text(&e))? else { return Ok(()) };
    if !record.unpublished {
        return Ok(());
    }
    let mut generations = context.store.generations(environment, AGAIN).map_err(|e| text(&e))?;
    generations.reverse();
    let id = environment.clone();
    with_source(&context.source, move |source| -> Result<(), String> {
        // A commit that the repository lacks (it was lost, and the history rewritten) can carry no note.
        let there = |result: Result<(), SourceError>| match result {
            Err(SourceError::UnknownRevision(_)) => Ok(()),
            other => other.map_err(|e| text(&e)),
        };
        for generation in &generations {
            let Some(note) = Note::of(generation) else { continue };
            let line = serde_json::to_value(&note).map_err(|e| text(&e))?;
            there(source.annotate(&generation.revision.commit, &line))?;
        }
        boundary::reach("after_note");
        if let Some(newest) = generations.iter().rev().find(|g| g.state == GenerationState::Applied) {
            there(source.set_applied(&id, &newest.revision.commit))?;
        }
        boundary::reach("after_applied_ref");
        Ok(())
    })
    .await
}

/// Pushes what [`publish`] wrote for any environment, where the settings say so; nothing to push costs no process. A
/// failure is logged; the next call tries again.
pub async fn push(context: &Context) {
    if let Err(error) = try_push(context).await {
        tracing::warn!(error, "The record in Git is not complete; it is tried again.");
    }
}

async fn try_push(context: &Context) -> Result<(), String> {
    let text = |error: &dyn std::error::Error| crate::provider::chain(error);
    let mut waiting = Vec::new();
    for record in context.store.environments().map_err(|e| text(&e))?.into_iter().filter(|record| record.unpublished) {
        let newest = context.store.generations(&record.environment, 1).map_err(|e| text(&e))?.pop();
        if let Some(newest) = newest.filter(|g| g.state != GenerationState::Applying) {
            // Its pass may have ended just now: what is said to be published is in our own repository first.
            annotate(context, &record.environment).await?;
            waiting.push((record.environment, newest.number));
        }
    }
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
    for (environment, number) in waiting {
        context.store.published(&environment, number).map_err(|e| text(&e))?;
    }
    boundary::reach("after_published");
    Ok(())
}
