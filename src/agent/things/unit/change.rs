//! Change units: texts first, all of them; then systemd reads them, once; then each is started, started anew or stopped.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;

use rustix::fs::{Mode, OFlags, openat};

use super::super::{Ended, Work};
use super::parts::{self, Replaced, text};
use super::program;
use super::systemctl::{Shown, show, systemctl, verify};
use super::undo::undo;
use super::wait::wait;
use crate::agent::Fault;
use crate::agent::apply::Site;
use crate::agent::fault::Stop;
use crate::model::Value;

/// A unit on its way.
pub(super) struct Step<'a> {
    pub(super) work: &'a Work,
    /// What of its files was written or removed.
    pub(super) replaced: Vec<Replaced>,
    /// Its program was put on the host.
    placed: bool,
    /// What systemd said before.
    pub(super) before: Shown,
    /// It is started or started anew.
    started: bool,
    pub(super) warnings: Vec<String>,
}

impl Step<'_> {
    /// Whether anything that it is made of is new.
    pub(super) fn is_rewritten(&self) -> bool {
        !self.replaced.is_empty()
    }

    fn was_interrupted(&self) -> bool {
        self.work.last.as_ref().is_some_and(|last| last.interrupted)
    }
}

/// Changes them; one outcome for each, in their order.
pub(in crate::agent::things) fn change(site: &mut Site<'_>, works: &[Work]) -> Vec<Result<Ended, Stop>> {
    let before = match show(works.iter().map(|work| work.claim.as_str())) {
        Ok(before) => before,
        Err(fault) => return works.iter().map(|_| Err(fault.clone().into())).collect(),
    };
    let mut outcomes: Vec<Option<Stop>> = works.iter().map(|_| None).collect();
    let mut steps: Vec<Step<'_>> = works
        .iter()
        .map(|work| {
            let before = before.get(&work.claim).cloned().unwrap_or_default();
            Step { work, replaced: Vec::new(), placed: false, before, started: false, warnings: Vec::new() }
        })
        .collect();
    let fail = |outcomes: &mut Vec<Option<Stop>>, at: usize, stop: Stop| outcomes[at] = Some(stop);

    // Before the check: it looks whether there is a program.
    for (at, placed) in program::place(site, works) {
        match placed {
            Ok(placed) => steps[at].placed = placed,
            Err(fault) => fail(&mut outcomes, at, fault.into()),
        }
    }
    for (at, fault) in check(site, works) {
        outcomes[at].get_or_insert(fault.into());
    }
    for at in (0..steps.len()).filter(|at| works[*at].wanted.is_none()) {
        if let Err(fault) = leave(&steps[at]) {
            fail(&mut outcomes, at, Stop::Unknown(fault));
        }
    }
    let sound: Vec<(usize, &Work)> = works.iter().enumerate().filter(|(at, _)| outcomes[*at].is_none()).collect();
    for (at, replaced, written) in parts::write(site, &sound) {
        steps[at].replaced = replaced;
        written.unwrap_or_else(|stop| fail(&mut outcomes, at, stop));
    }
    // What was cut short may have written a text that systemd has not read.
    if steps.iter().any(|step| step.is_rewritten() || step.was_interrupted() || step.before.get("NeedDaemonReload") == "yes")
        && let Err(fault) = systemctl(&["daemon-reload"], [])
    {
        return works.iter().map(|_| Err(Stop::Unknown(fault.clone()))).collect();
    }
    let mut order: Vec<usize> = (0..steps.len()).filter(|at| works[*at].wanted.is_some()).collect();
    order.sort_by_key(|at| place(&works[*at].claim));
    for &at in &order {
        if outcomes[at].is_none() {
            let settled = enable(&steps[at]).and_then(|()| begin(&mut steps[at]));
            settled.unwrap_or_else(|fault| fail(&mut outcomes, at, Stop::Refused(fault)));
        }
    }
    let started: Vec<(&str, &str)> = order
        .iter()
        .filter(|at| steps[**at].started && outcomes[**at].is_none())
        .map(|at| (works[*at].claim.as_str(), steps[*at].before.get("InvocationID")))
        .collect();
    let waited = wait(&started);
    match waited {
        Ok(waited) => {
            for &at in &order {
                match waited.get(&works[at].claim) {
                    Some(Ok(warnings)) => steps[at].warnings.extend(warnings.iter().cloned()),
                    Some(Err(fault)) => fail(&mut outcomes, at, Stop::Refused(fault.clone())),
                    None => {}
                }
            }
        }
        Err(fault) => order.iter().for_each(|at| fail(&mut outcomes, *at, Stop::Unknown(fault.clone()))),
    }
    let failed: BTreeMap<usize, Fault> = order
        .iter()
        .filter_map(|at| match &outcomes[*at] {
            Some(Stop::Refused(fault)) if steps[*at].is_rewritten() || steps[*at].started => Some((*at, fault.clone())),
            _ => None,
        })
        .collect();
    for (at, stop) in undo(site, &steps, failed) {
        fail(&mut outcomes, at, stop);
    }
    let ended = |(step, stop): (Step<'_>, Option<Stop>)| match stop {
        Some(stop) => Err(stop),
        None => Ok(Ended { changed: true, warnings: step.warnings, ..Ended::default() }),
    };
    steps.into_iter().zip(outcomes).map(ended).collect()
}

/// What listens comes before what it starts, and what starts others last.
fn place(name: &str) -> u8 {
    match name.rsplit_once('.').map_or("", |(_, sort)| sort) {
        "socket" => 0,
        "service" => 1,
        _ => 2,
    }
}

/// Checks every new text, all of them side by side, before anything is touched.
fn check(site: &Site<'_>, works: &[Work]) -> Vec<(usize, Fault)> {
    let new = |work: &&Work| work.field("content").is_some() && work.field("content") != work.there("content");
    if !works.iter().any(|work| new(&work)) {
        return Vec::new();
    }
    let all = |fault: Fault| works.iter().enumerate().filter(|(_, work)| new(work)).map(|(at, _)| (at, fault.clone())).collect();
    let (folder, path) = match site.state.candidates() {
        Ok(candidates) => candidates,
        Err(fault) => return all(fault),
    };
    let mut faults = Vec::new();
    for (at, work) in works.iter().enumerate().filter(|(_, work)| new(work)) {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let written = text(work).ok_or_else(|| "its text did not come with the order".to_owned()).and_then(|(_, bytes)| {
            let file = openat(&folder, work.claim.as_str(), flags, Mode::RUSR | Mode::WUSR).map_err(|errno| errno.to_string())?;
            File::from(file).write_all(bytes.expose()).map_err(|error| error.to_string())
        });
        if let Err(cause) = written {
            faults.push((at, Fault::system(format!("the new text of `{}` cannot be checked", work.claim), cause)));
        }
    }
    for (at, work) in works.iter().enumerate().filter(|(_, work)| new(work)) {
        if !faults.iter().any(|(faulty, _)| *faulty == at)
            && let Err(fault) = verify(&path.join(&work.claim), &work.claim)
        {
            faults.push((at, fault));
        }
    }
    faults
}

/// Stops a unit whose text goes. One that a package brings stays as it is.
fn leave(step: &Step<'_>) -> Result<(), Fault> {
    let ours = step.work.last.as_ref().is_some_and(|last| last.fields.contains_key("content"));
    if !ours || !step.before.is_there() {
        return Ok(());
    }
    let name = step.work.claim.as_str();
    if !matches!(step.before.state(), "stopped" | "failed") {
        systemctl(&["stop"], [name])?;
    }
    if matches!(step.before.get("UnitFileState"), "enabled" | "enabled-runtime" | "alias") {
        systemctl(&["disable"], [name])?;
    }
    if step.before.state() == "failed" {
        systemctl(&["reset-failed"], [name])?;
    }
    Ok(())
}

/// Sees to whether it starts with the machine.
fn enable(step: &Step<'_>) -> Result<(), Fault> {
    let name = step.work.claim.as_str();
    let is = matches!(step.before.get("UnitFileState"), "enabled" | "enabled-runtime" | "alias");
    if step.before.get("UnitFileState") == "masked" {
        return Err(Fault::new(format!("`{name}` is masked: somebody keeps it from ever starting"))
            .hint(format!("`systemctl unmask {name}` on the host, if it is to run")));
    }
    match step.work.field("enabled") {
        // What its section [Install] says may be new.
        Some(Value::Bool(true)) if is && (step.is_rewritten() || step.was_interrupted()) => systemctl(&["reenable"], [name]),
        Some(Value::Bool(true)) if !is => systemctl(&["enable"], [name]),
        Some(Value::Bool(false)) if is => systemctl(&["disable"], [name]),
        _ => Ok(()),
    }
}

/// Starts it, starts it anew or stops it; what is started is waited for later, all at once.
fn begin(step: &mut Step<'_>) -> Result<(), Fault> {
    let name = step.work.claim.as_str();
    let state = step.before.state();
    let is_new = step.is_rewritten() || step.placed || step.work.is_outdated();
    if state == "failed" {
        // A limit of starts that it ran into must not keep it from this one.
        systemctl(&["reset-failed"], [name])?;
    }
    match step.work.field("state").and_then(Value::as_text) {
        Some("stopped") if state != "stopped" && state != "failed" => systemctl(&["stop"], [name]),
        Some("stopped") => Ok(()),
        Some(_) => {
            let verb = match state {
                "running" | "starting" if !is_new => return Ok(()),
                "stopped" | "failed" | "stopping" => "start",
                _ => "restart",
            };
            step.started = true;
            // A run that ended well is no reason for systemd not to start it again.
            systemctl(&["--no-block", if step.before.get("Type") == "oneshot" { "restart" } else { verb }], [name])
        }
        // Another unit starts it: it is not started by us, and what runs goes on with what is new. One that runs once and
        // ends takes what is new by itself.
        None if is_new && matches!(state, "running" | "starting" | "failing") && step.before.get("ActiveState") != "inactive" => {
            if step.before.get("Type") != "oneshot" {
                step.started = true;
                systemctl(&["--no-block", "restart"], [name])?;
            }
            Ok(())
        }
        None => Ok(()),
    }
}
