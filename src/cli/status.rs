//! `status`: where each environment stands.

use std::fmt::Write;

use serde_json::json;

use super::arguments::{Global, Output, Status};
use super::output::{Failure, show, show_json};
use super::{DIFFERENT, OK, workspace};
use crate::model::{Address, EnvironmentId, InstanceKey, traffic};
use crate::plan::Owned;
use crate::record::SourceRecord;
use crate::status::{EnvironmentStatus, PauseStatus, Records, fold};
use crate::store::Store;

pub(super) fn status(global: &Global, verb: &Status) -> Result<u8, Failure> {
    let settings = workspace::settings(global)?;
    let store = workspace::reader(&settings)?;
    let source = store.source().map_err(|error| workspace::store_failure(&error))?;
    let statuses = collect(&store, &verb.environments)?;
    match verb.output {
        Output::Json => show_json(&json!({ "version": 1, "source": source, "environments": statuses }))?,
        Output::Text => show(&render(source.as_ref(), &statuses))?,
    }
    // A repository that was never read has no environment that could say so.
    let unread = source.as_ref().is_some_and(|source| source.head.is_none());
    Ok(if !unread && statuses.iter().all(EnvironmentStatus::is_ready) { OK } else { DIFFERENT })
}

/// The statuses of all environments, or only of those named.
pub(super) fn collect(store: &Store, only: &[EnvironmentId]) -> Result<Vec<EnvironmentStatus>, Failure> {
    let failure = |error: crate::store::StoreError| workspace::store_failure(&error);
    let records = store.environments().map_err(failure)?;
    if let Some(unknown) = only.iter().find(|id| !records.iter().any(|r| r.environment == **id)) {
        return Err(never_seen(unknown, records.iter().map(|r| &r.environment)));
    }
    let source = store.source().map_err(failure)?;
    let mut statuses = Vec::new();
    for record in records.iter().filter(|r| only.is_empty() || only.contains(&r.environment)) {
        let id = &record.environment;
        let inventory = store.inventory(id).map_err(failure)?;
        let share = |(key, owned): (&InstanceKey, &Owned)| (key.clone(), traffic(&owned.properties));
        let rolling: Vec<_> = inventory.iter().map(share).filter(|(_, share)| *share < 100).collect();
        statuses.push(fold(&Records {
            environment: record,
            source: source.as_ref(),
            newest: store.generations(id, 1).map_err(failure)?.first(),
            owned: inventory.len(),
            unresolved: &store.unresolved(id).map_err(failure)?,
            quarantine: store.quarantine(id).map_err(failure)?.as_ref(),
            rolling: &rolling,
            orders: Some(&store.rollout_orders(id).map_err(failure)?),
        }));
    }
    Ok(statuses)
}

/// An environment that is asked for and not in the store, with those that are.
pub(super) fn never_seen<'a>(unknown: &EnvironmentId, known: impl IntoIterator<Item = &'a EnvironmentId>) -> Failure {
    let names: Vec<String> = known.into_iter().map(ToString::to_string).collect();
    let hint = if names.is_empty() { "none was looked at yet".to_owned() } else { format!("known are {}", names.join(", ")) };
    Failure::new(format!("the environment {unknown} was never looked at")).hint(Some(hint))
}

fn pause(pause: &PauseStatus) -> String {
    let which = pause.address.as_ref().map_or_else(|| "every Worker".to_owned(), Address::local);
    let why = pause.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    format!("{which}, by {} since {}{why}", pause.owner, pause.since.format("%Y-%m-%dT%H:%M:%SZ"))
}

fn render(source: Option<&SourceRecord>, statuses: &[EnvironmentStatus]) -> String {
    let mut text = String::new();
    if let Some(source) = source {
        let head = source.head.as_ref().map_or_else(|| "no revision yet".to_owned(), ToString::to_string);
        let _ = writeln!(text, "source       {} at {head}", source.remote);
        if let Some(fault) = &source.fault {
            let _ = writeln!(text, "             fault: {fault}");
        }
    }
    for status in statuses {
        let _ = writeln!(
            text,
            "{:<12} {} ({}) since {}",
            status.environment,
            status.condition,
            status.reason,
            status.since.format("%Y-%m-%dT%H:%M:%SZ")
        );
        for line in status.message.lines() {
            let _ = writeln!(text, "             {line}");
        }
        if let Some(generation) = &status.generation {
            let _ = writeln!(
                text,
                "             generation {} {} of {}, {} owned",
                generation.number,
                generation.state.as_str(),
                generation.revision,
                status.owned
            );
        }
        let rolling: Vec<String> =
            status.rolling.iter().map(|r| format!("{} on {}: {} %", r.address.local(), r.target, r.traffic)).collect();
        let paused: Vec<String> = status.paused.iter().map(pause).collect();
        let lists = [
            ("rolling out", &rolling),
            ("paused", &paused),
            ("orphaned", &status.orphaned),
            ("warning", &status.warnings),
            ("outcome unknown", &status.unresolved),
            ("quarantined", &status.quarantined),
        ];
        for (word, items) in lists {
            for item in items {
                let _ = writeln!(text, "             {word}: {item}");
            }
        }
    }
    if statuses.is_empty() {
        text.push_str("no environment was looked at yet\n");
    }
    text
}
