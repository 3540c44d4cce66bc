//! Change applications of PM2: what they need is there before one stops, and one that does not come up is put back.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use super::super::{Ended, Work};
use super::command::{Pm2, Process};
use super::{INSTANCES, declared, is_made_from, parted};
use crate::agent::accounts::Accounts;
use crate::agent::apply::Site;
use crate::agent::fault::Stop;
use crate::agent::{Fault, Wanted};
use crate::model::{Properties, Value};

/// How long one must have run at least to be called running.
const STEADY: Duration = Duration::from_secs(2);
/// How long one that is not steady is waited for beyond that.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often one may start again before that is a failure.
const RESTARTS: i64 = 2;

/// Changes them, one after the other.
pub(in crate::agent::things) fn change(site: &mut Site<'_>, works: &[Work]) -> Vec<Result<Ended, Stop>> {
    // Read now: a package may have brought an account with it.
    let accounts = Accounts::read(&site.root);
    works.iter().map(|work| one(&accounts, work)).collect()
}

fn one(accounts: &Accounts, work: &Work) -> Result<Ended, Stop> {
    let (user, name) = parted(&work.claim)?;
    let fields = work.wanted.as_ref().map(|wanted| &wanted.fields).or(work.last.as_ref().map(|last| &last.fields));
    let program = fields.and_then(|fields| fields.get("pm2")).and_then(Value::as_text);
    let pm2 = Pm2::of(accounts.login(user)?, program);
    pm2.installed()?;
    let Some(wanted) = &work.wanted else {
        if work.seen.is_some() {
            pm2.ensure()?;
            let own = own(&pm2, name)?;
            remove(&pm2, name, &own).map_err(Stop::Unknown)?;
            pm2.save().map_err(Stop::Unknown)?;
        }
        return Ok(Ended { changed: true, ..Ended::default() });
    };
    let running = wanted.fields.get("state").and_then(Value::as_text) != Some("stopped");
    check(&pm2, wanted)?;
    let new = declared::wanted(wanted, name, &work.key.address.to_string(), !running)?;
    pm2.ensure()?;
    let there = own(&pm2, name)?;
    if work.seen.is_none() && !there.is_empty() {
        return Err(Stop::Conflict(format!("`{}` is there, and the plan saw nothing", work.claim)));
    }
    let made = |fields: &Properties| -> Properties {
        let made = fields.iter().filter(|(field, _)| is_made_from(field));
        made.map(|(field, value)| (field.clone(), value.clone())).collect()
    };
    // One that was made so as not to run is started by no other word.
    let startable = !running || there.iter().all(|process| process.at("autostart") != Some(&false.into()));
    let same = work.seen.as_ref().is_some_and(|seen| made(&seen.fields) == made(&wanted.fields)) && !there.is_empty();
    if !same || !startable {
        let secret = !wanted.values.is_empty();
        replace(&pm2, name, &there, || pm2.start(new, secret, &format!("`{name}` cannot be started")), running)?;
    } else {
        let what = format!("`{name}` cannot be made what it is to be");
        let ids = ids(&there);
        let with = |verb: &'static str| -> Vec<&str> { [verb].into_iter().chain(ids.iter().map(String::as_str)).collect() };
        let state = work.there("state").and_then(Value::as_text).unwrap_or_default();
        let cluster = wanted.fields.get("exec_mode").and_then(Value::as_text) == Some("cluster");
        match (running, state) {
            (false, "stopped") => {}
            (false, _) => pm2.tell(&with("stop"), &what)?,
            (true, "running") if !work.is_outdated() => {}
            (true, _) => {
                if cluster && state == "running" {
                    // By one after the other: each call is for one application.
                    ids.iter().try_for_each(|id| pm2.tell(&["reload", id], &what))?;
                } else {
                    pm2.tell(&with("restart"), &what)?;
                }
                stands(&pm2, name).map_err(Stop::Unknown)?;
            }
        }
    }
    let saved = pm2.save();
    let count = own(&pm2, name).map(|own| own.len()).unwrap_or_default();
    let memory = BTreeMap::from([(INSTANCES.to_owned(), count.to_string())]);
    Ok(Ended { changed: true, memory, warnings: saved.err().map(|fault| fault.to_string()).into_iter().collect() })
}

fn own(pm2: &Pm2, name: &str) -> Result<Vec<Process>, Fault> {
    Ok(pm2.list()?.into_iter().filter(|process| process.name() == name).collect())
}

fn ids(own: &[Process]) -> Vec<String> {
    own.iter().filter_map(|process| process.number("pm_id")).map(|id| id.to_string()).collect()
}

fn remove(pm2: &Pm2, name: &str, own: &[Process]) -> Result<(), Fault> {
    let ids = ids(own);
    if ids.is_empty() {
        return Ok(());
    }
    let words: Vec<&str> = ["delete"].into_iter().chain(ids.iter().map(String::as_str)).collect();
    pm2.tell(&words, &format!("`{name}` cannot be deleted"))
}

/// Sees to it, before anything stops, that what it is started from is there, and that its account may use it.
fn check(pm2: &Pm2, wanted: &Wanted) -> Result<(), Fault> {
    let text = |field: &str| wanted.fields.get(field).and_then(Value::as_text).unwrap_or_default();
    let (script, cwd, interpreter) = (text("script"), text("cwd"), text("interpreter"));
    let nothing = |what: &str, path: &str| Fault::new(format!("there is no {what} `{path}` on this host; nothing was stopped"));
    if !Path::new(script).is_file() {
        return Err(nothing("script", script).hint("put it there first: by a `file`, a `package`, or a deployment"));
    }
    if !Path::new(cwd).is_dir() {
        return Err(nothing("folder", cwd).hint("put it there first, such as by a `directory`"));
    }
    let mut needed = vec![("-r", script), ("-x", cwd)];
    match interpreter {
        "none" => needed.push(("-x", script)),
        "node" => {
            if !pm2.path().split(':').any(|folder| Path::new(folder).join("node").is_file()) {
                return Err(nothing("program", "node").hint(format!("it is looked for in `{}`", pm2.path())));
            }
        }
        path if !Path::new(path).is_file() => return Err(nothing("interpreter", path)),
        path => needed.push(("-x", path)),
    }
    for (right, path) in needed {
        let called = pm2.as_account("/usr/bin/test")?.with([right, path]).run();
        let called = called.map_err(|not_called| not_called.fault("test", &format!("`{path}` cannot be checked")))?;
        if !called.status.success() {
            let verb = if right == "-r" { "read" } else { "enter or execute" };
            let name = &pm2.login.name;
            return Err(Fault::new(format!("the account `{name}` may not {verb} `{path}`; nothing was stopped"))
                .hint("see to the modes and owners of the file and of the folders that lead to it"));
        }
    }
    Ok(())
}

/// Starts the new one in the place of the old one; where it does not come up, the old one is put back.
fn replace(pm2: &Pm2, name: &str, old: &[Process], start: impl FnOnce() -> Result<(), Fault>, running: bool) -> Result<(), Stop> {
    let ran = old.iter().any(|process| process.text("status") != "stopped" && process.text("status") != "errored");
    if old.iter().any(|process| process.at("uid").is_some_and(|uid| !uid.is_null())) {
        let fault = Fault::new(format!("`{name}` runs as another account than that of its PM2, and could not be put back"));
        return Err(fault.hint(format!("delete it first, by `pm2 delete {name}`")).into());
    }
    let former = declared::former(old, !ran).transpose()?;
    remove(pm2, name, old).map_err(Stop::Unknown)?;
    let begun = start().and_then(|()| if running { stands(pm2, name) } else { Ok(()) });
    let Err(fault) = begun else { return Ok(()) };
    let back = || -> Result<&str, Fault> {
        remove(pm2, name, &own(pm2, name)?)?;
        let Some(former) = former else { return Ok("it was taken away again") };
        pm2.start(former, true, &format!("`{name}` cannot be started again"))?;
        if !ran {
            return Ok("the former one is back");
        }
        stands(pm2, name)?;
        Ok("the former one is back, and runs")
    };
    Err(Stop::undone(fault, back()))
}

/// Waits until all of its instances run and go on running.
fn stands(pm2: &Pm2, name: &str) -> Result<(), Fault> {
    let failed = |why: String| {
        let fault = Fault { cause: Some(why), ..Fault::new(format!("`{name}` did not come up")) };
        fault.hint(format!("`pm2 logs {name} --lines 50 --nostream` as `{}` on the host says what it wrote", pm2.login.name))
    };
    let start = Instant::now();
    let mut since: Option<(String, Instant)> = None;
    let mut first: BTreeMap<i64, i64> = BTreeMap::new();
    loop {
        let now = own(pm2, name)?;
        let Some(one) = now.first() else { return Err(failed("it is gone".to_owned())) };
        let uptime = one.number("min_uptime").and_then(|uptime| u64::try_from(uptime).ok()).unwrap_or(1_000);
        let steady = (Duration::from_millis(uptime) + Duration::from_millis(500)).clamp(STEADY, PATIENCE);
        let runs =
            now.iter().map(|process| format!("{} {}", process.run(), process.text("status"))).collect::<Vec<_>>().join(", ");
        let began = match &since {
            Some((same, began)) if *same == runs => *began,
            _ => Instant::now(),
        };
        since = Some((runs, began));
        let all = |status: &str| now.iter().all(|process| process.text("status") == status);
        if all("online") && began.elapsed() >= steady || all("stopped") && now.iter().all(Process::is_done) {
            return Ok(());
        }
        for process in &now {
            let (id, restarts) =
                (process.number("pm_id").unwrap_or_default(), process.number("restart_time").unwrap_or_default());
            let again = restarts - *first.entry(id).or_insert(restarts);
            let exit = process.number("exit_code").map_or_else(String::new, |exit| format!(", with status {exit}"));
            match process.text("status") {
                "errored" => return Err(failed(format!("it ended so often that PM2 gave up{exit}"))),
                "stopped" if began.elapsed() >= STEADY => return Err(failed(format!("it ended{exit}"))),
                "waiting restart" if began.elapsed() >= STEADY => {
                    return Err(failed(format!("it ended, and is to be started again{exit}")));
                }
                _ if again > RESTARTS => return Err(failed(format!("it ends again and again{exit}"))),
                _ => {}
            }
        }
        if start.elapsed() > steady + PATIENCE {
            return Err(failed(format!("not within {} seconds", (steady + PATIENCE).as_secs())));
        }
        std::thread::sleep(Duration::from_millis(300));
    }
}
