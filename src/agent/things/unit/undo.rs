//! Put units back that did not come up with what was new.

use std::collections::BTreeMap;

use super::change::Step;
use super::parts;
use super::systemctl::{show, systemctl};
use super::wait::wait;
use crate::agent::Fault;
use crate::agent::apply::Site;
use crate::agent::fault::Stop;

/// Puts back what each of `failed` was before; what is to be said of each.
pub(super) fn undo(site: &mut Site<'_>, steps: &[Step<'_>], failed: BTreeMap<usize, Fault>) -> Vec<(usize, Stop)> {
    if failed.is_empty() {
        return Vec::new();
    }
    let mut texts: BTreeMap<usize, Result<(), String>> = BTreeMap::new();
    for at in failed.keys().filter(|at| steps[**at].is_rewritten()) {
        let step = &steps[*at];
        if !parts::had_text(step.work) {
            // It was not there: nothing may start it again.
            let _ = systemctl(&["disable", "--now"], [step.work.claim.as_str()]);
        }
        texts.insert(*at, parts::put_back(site, &step.replaced, &step.work.marker));
    }
    let reloaded = if texts.is_empty() { Ok(()) } else { systemctl(&["daemon-reload"], []) };
    failed
        .into_iter()
        .map(|(at, fault)| {
            let put_back = match (texts.get(&at), &reloaded) {
                (Some(Err(cause)), _) => Err(cause.clone()),
                (_, Err(fault)) => Err(fault.to_string()),
                _ => back(&steps[at]).map_err(|fault| fault.cause.unwrap_or(fault.message)),
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

/// Starts one again that ran before; in words, what it is now.
fn back(step: &Step<'_>) -> Result<&'static str, Fault> {
    let name = step.work.claim.as_str();
    if !parts::had_text(step.work) && step.is_rewritten() {
        let _ = systemctl(&["reset-failed"], [name]);
        return Ok("it was taken away again");
    }
    if step.before.state() != "running" || step.before.get("ActiveState") == "inactive" {
        return Ok(if step.is_rewritten() { "its former text is back" } else { "it did not run before either" });
    }
    let failed = show([name])?;
    let _ = systemctl(&["reset-failed"], [name]);
    systemctl(&["--no-block", "restart"], [name])?;
    match wait(&[(name, failed.get(name).map_or("", |shown| shown.get("InvocationID")))])?.remove(name) {
        Some(Err(fault)) => Err(fault),
        _ if step.is_rewritten() => Ok("its former text is back, and it runs"),
        _ => Ok("it runs again"),
    }
}
