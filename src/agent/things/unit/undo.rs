//! Put units back that did not come up with what was new.

use std::collections::BTreeMap;

use super::change::{Step, file};
use super::systemctl::{show, systemctl};
use super::wait::wait;
use super::{FOLDER, TEXT};
use crate::agent::apply::Site;
use crate::agent::fault::Stop;
use crate::agent::part::Part;
use crate::agent::prepare::FileChange;
use crate::agent::{Fault, FileTask};
use crate::model::Value;

/// Puts back what each of `failed` was before; what is to be said of each.
pub(super) fn undo(site: &mut Site<'_>, steps: &[Step<'_>], failed: BTreeMap<usize, Fault>) -> Vec<(usize, Stop)> {
    if failed.is_empty() {
        return Vec::new();
    }
    let texts = texts(site, steps, &failed);
    let back = |step: &Step<'_>| back(step).map_err(|fault| fault.cause.unwrap_or(fault.message));
    let reloaded = if steps.iter().any(|step| step.rewritten) { systemctl(&["daemon-reload"], []) } else { Ok(()) };
    failed
        .into_iter()
        .map(|(at, fault)| {
            let put_back = match (texts.get(&at), &reloaded) {
                (Some(Err(cause)), _) => Err(cause.clone()),
                (_, Err(fault)) => Err(fault.to_string()),
                _ => back(&steps[at]),
            };
            match put_back {
                Ok(was) => (at, Stop::Refused(Fault { message: format!("{}; {was}", fault.message), ..fault })),
                Err(cause) => {
                    let message = format!("{}, and what was before could not be put back: {cause}", fault.message);
                    (at, Stop::Unknown(Fault { message, ..fault }))
                }
            }
        })
        .collect()
}

/// Puts the former texts back; why, where one cannot be.
fn texts(site: &mut Site<'_>, steps: &[Step<'_>], failed: &BTreeMap<usize, Fault>) -> BTreeMap<usize, Result<(), String>> {
    let mut told = BTreeMap::new();
    let mut changes = Vec::new();
    let mut places = Vec::new();
    for at in failed.keys().filter(|at| steps[**at].rewritten) {
        let work = steps[*at].work;
        if work.last.is_none() {
            // It was not there: nothing may start it again.
            let _ = systemctl(&["disable", "--now"], [work.claim.as_str()]);
        }
        let part = Part::of(&work.key, TEXT);
        let former = match (work.there("content"), &work.last) {
            (Some(Value::Content { content }), last) => match site.state.kept(content.sha256) {
                Ok(bytes) => Some((*content, bytes, last.as_ref().map_or(&work.marker, |last| &last.marker).clone())),
                Err(fault) => {
                    told.insert(*at, Err(fault.to_string()));
                    continue;
                }
            },
            _ => None,
        };
        let (marker, task) = match former {
            Some((content, bytes, marker)) => (marker, FileTask::Write(Box::new(file(content, bytes)))),
            None => (work.marker.clone(), FileTask::Delete),
        };
        let path = format!("{FOLDER}/{}", work.claim);
        changes.push(FileChange { part, from: None, path, precondition: None, marker, task });
        places.push(*at);
    }
    let written = site.write_files(changes);
    told.extend(places.into_iter().zip(written).map(|(at, done)| {
        let cause = |stop| match stop {
            Stop::Refused(fault) | Stop::Unknown(fault) => fault.to_string(),
            Stop::Conflict(message) => message,
        };
        (at, done.map(drop).map_err(cause))
    }));
    told
}

/// Starts one again that ran before; in words, what it is now.
fn back(step: &Step<'_>) -> Result<&'static str, Fault> {
    let name = step.work.claim.as_str();
    if step.work.there("content").is_none() && step.rewritten {
        let _ = systemctl(&["reset-failed"], [name]);
        return Ok("it was taken away again");
    }
    if step.before.state() != "running" || step.before.get("ActiveState") == "inactive" {
        return Ok(if step.rewritten { "its former text is back" } else { "it did not run before either" });
    }
    let failed = show([name])?;
    let _ = systemctl(&["reset-failed"], [name]);
    systemctl(&["--no-block", "restart"], [name])?;
    match wait(&[(name, failed.get(name).map_or("", |shown| shown.get("InvocationID")))])?.remove(name) {
        Some(Err(fault)) => Err(fault),
        _ if step.rewritten => Ok("its former text is back, and it runs"),
        _ => Ok("it runs again"),
    }
}
