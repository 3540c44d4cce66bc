//! Applications that PM2 runs: what there is of them, and how they are changed.
//!
//! Each account has a PM2 of its own, which is told what to do by its command line, as that account. An application carries
//! the digest of what it was started from among its variables: one that is there with another digest, or with none, is
//! started anew. What PM2 lets people change on one that runs is looked at as well.
//!
//! **Invariant:** an application is named to PM2 by its numbers only, so that no other is ever meant. The values of secrets
//! reach PM2 on its standard input. To look starts nothing: without a daemon, what PM2 has saved is what there is.

mod change;
mod command;
mod declared;

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::{Eyes, Look, MODIFIED, Seen, Sought};
use crate::agent::Fault;
use crate::model::{INTERRUPTED, Properties, RESTART_ON, Value, canonical_digest};
use command::{Pm2, Process};

pub(super) use change::change;

/// The variable that holds the digest of what an application was started from.
const DEFINITION: &str = "TRUNKLINE_DEFINITION";
/// The variable that says whose it is, for people.
const OWNER: &str = "TRUNKLINE_OWNER";
/// The memory of how many `max` were.
const INSTANCES: &str = "instances";

/// Fields that an application is not started from: whether it runs, what starts it anew, and which program says so.
fn is_made_from(field: &str) -> bool {
    !["state", "pm2", RESTART_ON, INTERRUPTED].contains(&field)
}

/// `root/api`: whose, and what it is called.
fn parted(claim: &str) -> Result<(&str, &str), Fault> {
    claim.split_once('/').ok_or_else(|| Fault::new(format!("`{claim}` names no account")))
}

/// What there is of each, by one call for each account.
pub(super) fn look(eyes: &Eyes<'_>, sought: &[Sought<'_>]) -> Vec<Look> {
    let mut lists: BTreeMap<_, Result<Vec<Process>, Fault>> = BTreeMap::new();
    let mut looks = Vec::new();
    for sought in sought {
        let program = sought.fields.get("pm2").and_then(|lens| lens.word());
        let look = parted(sought.claim).and_then(|(user, name)| {
            // Who is not there has no PM2.
            let list = || eyes.accounts.login(user).map_or_else(|_| Ok(Vec::new()), |login| Pm2::of(login, program).list());
            let processes = lists.entry((user, program)).or_insert_with(list).as_ref().map_err(Fault::clone)?;
            let own: Vec<&Process> = processes.iter().filter(|process| process.name() == name).collect();
            Ok((!own.is_empty()).then(|| seen(sought, &own)))
        });
        looks.push(look);
    }
    looks
}

fn seen(sought: &Sought<'_>, own: &[&Process]) -> Seen {
    let side = |desired: bool| -> Properties {
        let values = sought.fields.iter().filter_map(|(field, lens)| {
            let value = if desired { lens.desired } else { lens.applied };
            Some(((*field).to_owned(), value?.clone()))
        });
        values.collect()
    };
    let is_from = |side: &Properties| {
        let digest = definition(side);
        own.iter().all(|process| process.variable(DEFINITION) == Some(digest.as_str()))
    };
    let mut fields = match [side(false), side(true)].into_iter().find(is_from) {
        Some(mut fields) => {
            fields.remove(RESTART_ON);
            differences(&mut fields, own, sought);
            fields
        }
        None => Properties::from([
            ("name".to_owned(), Value::text(sought.claim)),
            ("script".to_owned(), Value::text(own.first().map_or("", |process| process.text("pm_exec_path")))),
            ("definition".to_owned(), Value::text(MODIFIED)),
        ]),
    };
    // By which program PM2 is asked is for whoever asks.
    if let Some(program) = sought.asks("pm2").and_then(|lens| lens.applied.or(lens.desired)) {
        fields.insert("pm2".to_owned(), program.clone());
    }
    if let Some(lens) = sought.asks("state") {
        let state = state(own);
        let ended_well = state == "stopped" && own.iter().all(|process| process.is_done());
        let state = if ended_well { lens.word().unwrap_or(state) } else { state };
        fields.insert("state".to_owned(), Value::text(state));
    }
    Seen { fields, run: own.iter().map(|process| process.run()).collect::<Vec<_>>().join(", "), shared: false }
}

/// Where all of its instances stand, in one word.
fn state(own: &[&Process]) -> &'static str {
    let all = |status: &[&str]| own.iter().all(|process| status.contains(&process.text("status")));
    let any = |status: &str| own.iter().any(|process| process.text("status") == status);
    match () {
        () if all(&["online", "launching", "one-launch-status"]) => "running",
        () if all(&["stopped"]) => "stopped",
        () if any("errored") => "failed",
        () if any("waiting restart") => "failing",
        () if any("stopped") => "stopped in part",
        () => "stopping",
    }
}

/// What of it people changed, as PM2 lets them, on the application that is there.
fn differences(fields: &mut Properties, own: &[&Process], sought: &Sought<'_>) {
    let text = |value: Option<&Value>| value.and_then(Value::as_text).map(str::to_owned);
    let count = own.len();
    for process in own {
        for (field, key) in [("script", "pm_exec_path"), ("cwd", "pm_cwd"), ("interpreter", "exec_interpreter")] {
            if text(fields.get(field)).is_some_and(|wanted| wanted != process.text(key)) {
                fields.insert(field.to_owned(), Value::text(process.text(key)));
            }
        }
        let mode = process.text("exec_mode").trim_end_matches("_mode");
        if text(fields.get("exec_mode")).is_some_and(|wanted| wanted != mode) {
            fields.insert("exec_mode".to_owned(), Value::text(mode));
        }
        for (field, key) in [("args", "args"), ("interpreter_args", "node_args")] {
            let none = Value::List(Vec::new());
            let there = process.at(key).filter(|there| !there.is_null()).and_then(Value::of_json).unwrap_or_else(|| none.clone());
            if *fields.get(field).unwrap_or(&none) != there {
                fields.insert(field.to_owned(), there);
            }
        }
        for (field, default) in [("autorestart", true), ("watch", false)] {
            let there = process.at(field).and_then(Json::as_bool).unwrap_or(default);
            if *fields.get(field).unwrap_or(&Value::Bool(default)) != Value::Bool(there) {
                fields.insert(field.to_owned(), Value::Bool(there));
            }
        }
        let memory = process.at("max_memory_restart").and_then(Json::as_u64);
        if text(fields.get("max_memory_restart")).and_then(|memory| bytes(&memory)) != memory {
            let memory = memory.map_or_else(|| "none".to_owned(), |memory| format!("{memory} bytes"));
            fields.insert("max_memory_restart".to_owned(), Value::text(memory));
        }
        let cron = process.at("cron_restart").and_then(Json::as_str);
        if text(fields.get("cron_restart")).as_deref() != cron {
            fields.insert("cron_restart".to_owned(), Value::text(cron.unwrap_or("none")));
        }
        if let Some(Value::Table(variables)) = fields.get_mut("env") {
            for (name, value) in variables.iter_mut() {
                if value.as_text().is_some_and(|wanted| process.variable(name) != Some(wanted)) {
                    *value = Value::text(MODIFIED);
                }
            }
        }
    }
    let of_old = || sought.last.and_then(|last| last.memory.get(INSTANCES)?.parse::<usize>().ok());
    let wanted = match fields.get("instances") {
        Some(Value::Integer(number)) => usize::try_from(*number).ok(),
        _ => of_old(),
    };
    if wanted.is_some_and(|wanted| wanted != count) {
        fields.insert("instances".to_owned(), Value::Integer(i64::try_from(count).unwrap_or(i64::MAX)));
    }
}

fn bytes(memory: &str) -> Option<u64> {
    let (digits, factor) = match memory.as_bytes().last()? {
        b'K' => (memory.strip_suffix('K')?, 1 << 10),
        b'M' => (memory.strip_suffix('M')?, 1 << 20),
        b'G' => (memory.strip_suffix('G')?, 1 << 30),
        _ => (memory, 1),
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

/// The digest of what an application is started from. Secrets are in it by their marks, which are keyed.
fn definition(fields: &Properties) -> String {
    let made = fields.iter().filter(|(field, _)| is_made_from(field));
    canonical_digest(&made.collect::<BTreeMap<_, _>>()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_definition_is_what_an_application_is_started_from() {
        let fields = |field: &str, value: &str| {
            Properties::from([(field.to_owned(), Value::text(value)), ("script".to_owned(), Value::text("/a.js"))])
        };
        assert_eq!(definition(&fields("state", "running")), definition(&fields("state", "stopped")));
        assert_eq!(definition(&fields("pm2", "/usr/bin/pm2")), definition(&fields("pm2", "/opt/pm2")));
        assert_ne!(definition(&fields("cwd", "/a")), definition(&fields("cwd", "/b")));
        assert_eq!((bytes("512M"), bytes("1G"), bytes("x")), (Some(512 << 20), Some(1 << 30), None));
    }

    #[test]
    fn where_instances_stand_is_one_word() {
        let of = |statuses: &[&str]| {
            let processes: Vec<Process> = statuses.iter().map(|status| Process::sample("api", status)).collect();
            state(&processes.iter().collect::<Vec<_>>())
        };
        for (statuses, word) in [
            (&["online"][..], "running"),
            (&["online", "launching"], "running"),
            (&["stopped", "stopped"], "stopped"),
            (&["online", "stopped"], "stopped in part"),
            (&["online", "errored"], "failed"),
            (&["waiting restart"], "failing"),
        ] {
            assert_eq!(of(statuses), word, "{statuses:?}");
        }
    }
}
