//! The record in Git: a note on the commit, a ref for what runs, pushed where the remote allows it.

use super::{Context, with_source};
use crate::boundary;
use crate::model::EnvironmentId;
use crate::record::{GenerationState, Note};
use crate::source::Pushed;

/// How many of the newest generations are written again after a push that did not come through.
const AGAIN: usize = 20;

/// Writes the environment's unpublished generations into Git. A failure is logged and made up for by the next pass: the
/// apply has happened, and the store knows it.
pub async fn publish(context: &Context, environment: &EnvironmentId) {
    match try_publish(context, environment).await {
        Ok(()) => {}
        Err(error) => tracing::warn!(%environment, error, "The record in Git is not complete; it is tried again."),
    }
}

async fn try_publish(context: &Context, environment: &EnvironmentId) -> Result<(), String> {
    let text = |error: &dyn std::error::Error| crate::provider::chain(error);
    let Some(record) = context.store.environment(environment).map_err(|e| text(&e))? else { return Ok(()) };
    if !record.unpublished {
        return Ok(());
    }
    let mut generations = context.store.generations(environment, AGAIN).map_err(|e| text(&e))?;
    generations.reverse();
    let (environment, push) = (environment.clone(), context.settings.push_records);
    let id = environment.clone();
    let pushed = with_source(&context.source, move |source| -> Result<Pushed, String> {
        for generation in &generations {
            let Some(note) = Note::of(generation) else { continue };
            let line = serde_json::to_value(&note).map_err(|e| text(&e))?;
            source.annotate(&generation.revision.commit, &line).map_err(|e| text(&e))?;
        }
        boundary::reach("after_note");
        if let Some(newest) = generations.iter().rev().find(|g| g.state == GenerationState::Applied) {
            source.set_applied(&id, &newest.revision.commit).map_err(|e| text(&e))?;
        }
        boundary::reach("after_applied_ref");
        if push { source.push_records().map_err(|e| text(&e)) } else { Ok(Pushed::Done) }
    })
    .await?;
    boundary::reach("after_push");
    if let Pushed::Refused(reason) = pushed {
        tracing::warn!(%environment, reason, "The remote does not take the record; it stays in the daemon's own repository.");
    }
    let Some(mut record) = context.store.environment(&environment).map_err(|e| text(&e))? else { return Ok(()) };
    record.unpublished = false;
    context.store.put_environment(&record).map_err(|e| text(&e))?;
    boundary::reach("after_published");
    Ok(())
}
