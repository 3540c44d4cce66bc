//! `history`: what was applied where and when.

use std::fmt::Write;

use serde_json::json;

use super::arguments::{Global, History, Output};
use super::output::{Failure, note, show, show_json};
use super::{OK, status, workspace};
use crate::model::EnvironmentId;
use crate::plan;
use crate::record::Generation;
use crate::status::GenerationStatus;
use crate::store::{Store, StoreError};

pub(super) fn history(global: &Global, verb: &History) -> Result<u8, Failure> {
    let failure = |error: StoreError| workspace::store_failure(&error);
    let settings = workspace::settings(global)?;
    let store = workspace::reader(&settings)?;
    let known: Vec<EnvironmentId> = store.environments().map_err(failure)?.into_iter().map(|r| r.environment).collect();
    if let Some(unknown) = verb.environments.iter().find(|id| !known.contains(id)) {
        return Err(status::never_seen(unknown, &known));
    }
    let wanted = if verb.environments.is_empty() { &known } else { &verb.environments };
    if let Some(number) = verb.generation {
        let [environment] = wanted.as_slice() else {
            let names: Vec<String> = wanted.iter().map(ToString::to_string).collect();
            return Err(Failure::new("`--generation` needs exactly one environment").hint(Some(format!(
                "name one of {}, such as `trunkline history --generation {number} NAME`",
                names.join(", ")
            ))));
        };
        return one(&store, environment, number, verb.output, global.colour());
    }
    let mut all = Vec::new();
    for environment in wanted {
        for generation in store.generations(environment, verb.limit).map_err(failure)? {
            all.push(generation);
        }
    }
    all.sort_by(|a, b| (b.started_at, &b.environment, b.number).cmp(&(a.started_at, &a.environment, a.number)));
    match verb.output {
        Output::Json => {
            let rows: Vec<_> =
                all.iter().map(|g| json!({ "environment": g.environment, "generation": GenerationStatus::from(g) })).collect();
            show_json(&json!({ "version": 1, "generations": rows }))?;
        }
        Output::Text if all.is_empty() => note("nothing was applied yet"),
        Output::Text => show(&all.iter().map(line).collect::<String>())?,
    }
    Ok(OK)
}

fn line(generation: &Generation) -> String {
    let Generation { environment, number, revision, kind, state, tally, started_at, message, .. } = generation;
    let at = started_at.format("%Y-%m-%dT%H:%M:%SZ");
    let mut line =
        format!("{at}  {environment:<12} #{number:<4} {:<8} {revision}  {:<8} {tally}\n", kind.as_str(), state.as_str());
    for message in message.iter().flat_map(|m| m.lines()) {
        let _ = writeln!(line, "    {message}");
    }
    line
}

fn one(store: &Store, environment: &EnvironmentId, number: u64, output: Output, colour: bool) -> Result<u8, Failure> {
    let failure = |error: StoreError| workspace::store_failure(&error);
    let generations = store.generations(environment, usize::MAX).map_err(failure)?;
    let generation = generations.iter().find(|g| g.number == number);
    let plan = store.plan(environment, number).map_err(failure)?;
    let (Some(generation), Some(plan)) = (generation, plan) else {
        let known = generations.first().map_or_else(
            || "nothing was applied there yet".to_owned(),
            |newest| format!("the newest is {}; `trunkline history {environment}` lists them", newest.number),
        );
        return Err(Failure::new(format!("{environment} has no generation {number}")).hint(Some(known)));
    };
    let operations = store.operations(environment, number).map_err(failure)?;
    match output {
        Output::Json => {
            let rows: Vec<_> = operations
                .iter()
                .map(|o| json!({ "operation": o.id, "key": o.key, "action": o.action, "state": o.state, "intent_at": o.intent_at, "error": o.error }))
                .collect();
            show_json(&json!({
                "version": 1, "environment": environment, "generation": GenerationStatus::from(generation),
                "plan": plan::to_json(&plan), "operations": rows,
            }))?;
        }
        Output::Text => {
            let contents = store.bundle(&generation.bundle).map_err(failure)?.map(|bundle| bundle.contents).unwrap_or_default();
            let mut text = line(generation);
            text.push_str(&plan::render_text(
                &plan,
                &|digest| contents.get(digest).cloned(),
                &plan::RenderOptions { colour, ..plan::RenderOptions::default() },
            ));
            text.push_str("\noperations\n");
            for operation in operations {
                let _ = writeln!(
                    text,
                    "  {}  {:<7} {:<12} {}",
                    operation.id,
                    operation.action.as_str(),
                    operation.state.as_str(),
                    operation.key
                );
                if let Some(error) = operation.error {
                    let _ = writeln!(text, "      {error}");
                }
            }
            show(&text)?;
        }
    }
    Ok(OK)
}
