//! Change containers: the new one is made beside the old one, takes its name, and has to run before the old one goes.

use std::time::{Duration, Instant};

use super::super::{Ended, Work};
use super::docker::{docker, image, inspect, verb};
use super::{DEFINITION, definition};
use crate::agent::apply::Site;
use crate::agent::fault::Stop;
use crate::agent::{Fault, Payload, Policy, Wanted};
use crate::model::{INTERRUPTED, Properties, RESTART_ON, Secret, Value};

/// How long one must have run to be called running.
const STEADY: Duration = Duration::from_secs(1);
/// How long one that is probed may take to be found well.
const PATIENCE: Duration = Duration::from_secs(120);

/// Changes them, one after the other.
pub(in crate::agent::things) fn change(site: &mut Site<'_>, works: &[Work]) -> Vec<Result<Ended, Stop>> {
    works.iter().map(|work| one(site.policy, work)).collect()
}

fn one(policy: &Policy, work: &Work) -> Result<Ended, Stop> {
    let done = || Ok(Ended { changed: true, ..Ended::default() });
    clean(policy, &work.claim)?;
    let name = work.claim.as_str();
    let Some(wanted) = &work.wanted else {
        if work.seen.is_some() {
            verb(policy, &["container", "stop"], &[name], &format!("`{name}` cannot be stopped"))?;
            let removed = verb(policy, &["container", "rm"], &[name], &format!("`{name}` cannot be removed"));
            removed.map_err(Stop::Unknown)?;
        }
        return done();
    };
    let refused: Vec<&str> = policy.forbidden(&wanted.fields).into_iter().collect();
    if !refused.is_empty() {
        return Err(not_allowed(name, &refused).into());
    }
    let made = |fields: &Properties| -> Properties {
        let lasting = |field: &&String| !["state", RESTART_ON, INTERRUPTED].contains(&field.as_str());
        fields.iter().filter(|(field, _)| lasting(field)).map(|(field, value)| (field.clone(), value.clone())).collect()
    };
    let same = work.seen.as_ref().is_some_and(|seen| made(&seen.fields) == made(&wanted.fields));
    let running = wanted.fields.get("state").and_then(Value::as_text) != Some("stopped");
    if !same {
        return replace(policy, work, wanted, running);
    }
    let state = work.there("state").and_then(Value::as_text).unwrap_or_default();
    let what = format!("`{name}` cannot be made what it is to be");
    match (running, state) {
        (false, "stopped" | "failed") => {}
        (false, _) => verb(policy, &["container", "stop"], &[name], &what)?,
        (true, "running") if !work.is_outdated() => {}
        (true, "paused") if !work.is_outdated() => verb(policy, &["container", "unpause"], &[name], &what)?,
        (true, _) => {
            verb(policy, &["container", "restart"], &[name], &what)?;
            stands(policy, name).map_err(Stop::Unknown)?;
        }
    }
    done()
}

pub(in crate::agent::things) fn not_allowed(name: &str, refused: &[&str]) -> Fault {
    Fault::new(format!("`{name}` asks for {}, which gives it the host", refused.join(", ")))
        .hint("allow it by name in the daemon's own settings, under `[containers]`: `allow = [\"…\"]`; no commit can")
}

fn next(name: &str) -> String {
    format!("{name}.trunkline-next")
}

fn former(name: &str) -> String {
    format!("{name}.trunkline-former")
}

/// Puts right what a killed executor left: a new container that nobody uses goes, an old one has its name back.
fn clean(policy: &Policy, name: &str) -> Result<(), Fault> {
    let (next, former) = (next(name), former(name));
    let found = inspect(policy, [name, next.as_str(), former.as_str()])?;
    let what = format!("what was left of a change of `{name}` cannot be cleaned up");
    if found.contains_key(&next) {
        verb(policy, &["container", "rm", "--force"], &[&next], &what)?;
    }
    match (found.contains_key(&former), found.contains_key(name)) {
        (true, true) => verb(policy, &["container", "rm", "--force"], &[&former], &what),
        (true, false) => verb(policy, &["container", "rename"], &[&former, name], &what),
        (false, _) => Ok(()),
    }
}

fn replace(policy: &Policy, work: &Work, wanted: &Wanted, running: bool) -> Result<Ended, Stop> {
    let name = work.claim.as_str();
    let (next, former) = (next(name), former(name));
    let text = |field: &str| wanted.fields.get(field).and_then(Value::as_text);
    image(policy, text("image").unwrap_or_default())?;
    create(policy, work, wanted, &next)?;
    let what = |verb: &str| format!("`{name}` cannot be {verb}");
    let old = inspect(policy, [name])?.remove(name);
    let discard = |fault: Fault| {
        let _ = verb(policy, &["container", "rm", "--force"], &[&next], &what("discarded"));
        Stop::Refused(fault)
    };
    if old.is_some() {
        verb(policy, &["container", "stop"], &[name], &what("stopped")).map_err(discard)?;
        verb(policy, &["container", "rename"], &[name, &former], &what("renamed")).map_err(discard)?;
    }
    let begun = verb(policy, &["container", "rename"], &[&next, name], &what("renamed")).and_then(|()| {
        if !running {
            return Ok(());
        }
        verb(policy, &["container", "start"], &[name], &what("started"))?;
        stands(policy, name)
    });
    match (begun, &old) {
        (Ok(()), None) => Ok(Ended { changed: true, ..Ended::default() }),
        (Ok(()), Some(_)) => {
            let removed = verb(policy, &["container", "rm"], &[&former], &what("cleaned up after"));
            let warnings = removed.err().map(|fault| fault.to_string()).into_iter().collect();
            Ok(Ended { changed: true, warnings, ..Ended::default() })
        }
        (Err(fault), old) => {
            let back = || -> Result<&str, Fault> {
                for left in [name, next.as_str()] {
                    let _ = verb(policy, &["container", "rm", "--force"], &[left], &what("discarded"));
                }
                let Some(old) = old else { return Ok("it was taken away again") };
                verb(policy, &["container", "rename"], &[&former, name], &what("renamed back"))?;
                if !matches!(old.state(), "running" | "failing" | "paused") {
                    return Ok("the former one is back");
                }
                verb(policy, &["container", "start"], &[name], &what("started again"))?;
                Ok("the former one is back, and runs")
            };
            Err(Stop::undone(fault, back()))
        }
    }
}

/// Makes the container, which does not run yet.
fn create(policy: &Policy, work: &Work, wanted: &Wanted, name: &str) -> Result<(), Fault> {
    let fields = &wanted.fields;
    let text = |field: &str| fields.get(field).and_then(Value::as_text);
    let list = |field: &str| -> Vec<&str> {
        let Some(Value::List(items)) = fields.get(field) else { return Vec::new() };
        items.iter().filter_map(Value::as_text).collect()
    };
    let mut options = vec![
        format!("--name={name}"),
        format!("--label={DEFINITION}={}", definition(fields)),
        format!("--label=trunkline.owner={}", work.key.address),
    ];
    for (field, option) in [
        ("entrypoint", "--entrypoint"),
        ("network", "--network"),
        ("restart", "--restart"),
        ("user", "--user"),
        ("workdir", "--workdir"),
        ("memory", "--memory"),
        ("cpus", "--cpus"),
        ("pid", "--pid"),
    ] {
        options.extend(text(field).map(|value| format!("{option}={value}")));
    }
    for (field, option) in [("ports", "--publish"), ("cap_drop", "--cap-drop"), ("cap_add", "--cap-add"), ("devices", "--device")]
    {
        options.extend(list(field).into_iter().map(|value| format!("{option}={value}")));
    }
    for (field, option) in [("pids", "--pids-limit"), ("stop_timeout", "--stop-timeout")] {
        if let Some(Value::Integer(number)) = fields.get(field) {
            options.push(format!("{option}={number}"));
        }
    }
    for (field, option) in [("read_only", "--read-only"), ("init", "--init"), ("privileged", "--privileged")] {
        if fields.get(field) == Some(&Value::Bool(true)) {
            options.push(option.to_owned());
        }
    }
    for (label, value) in fields.get("labels").and_then(Value::as_table).into_iter().flatten() {
        options.extend(value.as_text().map(|value| format!("--label={label}={value}")));
    }
    if let Some(Value::List(mounts)) = fields.get("mounts") {
        options.extend(mounts.iter().filter_map(Value::as_table).map(mount).collect::<Result<Vec<_>, _>>()?);
    }
    let environment = environment(wanted)?;
    let call = docker(policy).with(["container", "create"]).with(options).with(["--env-file=/dev/stdin", "--"]);
    let call = call.with([text("image").unwrap_or_default()]).with(list("command")).input(environment);
    call.succeed(&format!("`{}` cannot be made; nothing was stopped", work.claim)).map(drop)
}

/// A mount as Docker takes it, a list parted by commas: none of its words holds one.
fn mount(mount: &Properties) -> Result<String, Fault> {
    let text = |field: &str| mount.get(field).and_then(Value::as_text);
    let words: Vec<&str> = ["type", "source", "target"].into_iter().filter_map(text).collect();
    if words.iter().any(|word| word.contains([',', '"', '\n'])) {
        return Err(Fault::new("a mount has a comma, a quote or a line end in it"));
    }
    let pairs = ["type", "source", "target"].into_iter().filter_map(|field| Some(format!("{field}={}", text(field)?)));
    let mut words: Vec<String> = pairs.collect();
    if mount.get("read_only") == Some(&Value::Bool(true)) {
        words.push("readonly".to_owned());
    }
    Ok(format!("--mount={}", words.join(",")))
}

/// The environment as Docker reads it from a file: a line for each variable.
fn environment(wanted: &Wanted) -> Result<Payload, Fault> {
    let mut lines: Vec<(&str, &[u8])> = Vec::new();
    for (name, value) in wanted.fields.get("env").and_then(Value::as_table).into_iter().flatten() {
        let bytes = match value {
            Value::Text(text) => text.as_bytes(),
            _ => {
                let value = wanted.values.get(&format!("env/{name}"));
                value
                    .ok_or_else(|| Fault::new(format!("the value of the variable `{name}` did not come with the order")))?
                    .expose()
            }
        };
        if bytes.iter().any(|byte| matches!(byte, b'\n' | b'\r' | 0)) {
            return Err(Fault::new(format!("the value of the variable `{name}` has several lines"))
                .hint("write it to a `file`, and mount that"));
        }
        lines.push((name, bytes));
    }
    // The whole capacity at once: a vector that grows leaves copies behind that nobody wipes.
    let mut file = Vec::with_capacity(lines.iter().map(|(name, bytes)| name.len() + bytes.len() + 2).sum());
    for (name, bytes) in lines {
        file.extend_from_slice(name.as_bytes());
        file.push(b'=');
        file.extend_from_slice(bytes);
        file.push(b'\n');
    }
    Ok(Payload::new(Secret::new(file)))
}

/// Waits until it runs and goes on running, and is found well where it is probed.
fn stands(policy: &Policy, name: &str) -> Result<(), Fault> {
    let failed = |why: String| {
        let fault = Fault { cause: Some(why), ..Fault::new(format!("`{name}` did not come up")) };
        fault.hint(format!("`docker logs {name}` on the host says what it wrote, for as long as it is there"))
    };
    let start = Instant::now();
    let mut run: Option<(String, Instant)> = None;
    loop {
        let Some(now) = inspect(policy, [name])?.remove(name) else { return Err(failed("it is gone".to_owned())) };
        let began = match &run {
            Some((same, began)) if *same == now.run() => *began,
            _ => Instant::now(),
        };
        run = Some((now.run(), began));
        match (now.state(), now.health()) {
            ("running", None | Some("healthy" | "none")) if began.elapsed() >= STEADY => return Ok(()),
            (_, Some("unhealthy")) => return Err(failed("it is found unhealthy".to_owned())),
            ("stopped", _) if now.has_ended_well() && now.restart() == "no" => return Ok(()),
            ("failed" | "stopped", _) => return Err(failed(format!("it ended with status {}", now.exit()))),
            ("failing", _) if start.elapsed() > 10 * STEADY => {
                return Err(failed(format!("it ends again and again, with status {}", now.exit())));
            }
            _ if start.elapsed() > PATIENCE => return Err(failed(format!("not within {} seconds", PATIENCE.as_secs()))),
            _ => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}
