//! Change projects: images and faults are seen to before anything stops, and one that does not come up is put back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::super::container::docker::{Inspected, image};
use super::super::container::not_allowed;
use super::super::{Ended, Work};
use super::declared::{Values, declared};
use super::project::{Client, Containers, containers};
use super::{DEFINITION, definition, is_done};
use crate::agent::apply::Site;
use crate::agent::fault::Stop;
use crate::agent::{Fault, Payload, Policy};
use crate::model::{Kind, Properties, Value};

/// How long one must have run to be called running.
const STEADY: Duration = Duration::from_secs(1);
/// How long one that is probed may take to be found well.
const PATIENCE: Duration = Duration::from_secs(120);

/// Changes them, one after the other.
pub(in crate::agent::things) fn change(site: &mut Site<'_>, works: &[Work]) -> Vec<Result<Ended, Stop>> {
    works.iter().map(|work| one(site.policy, work)).collect()
}

/// A project on its way.
struct Scene<'a> {
    policy: &'a Policy,
    client: Client<'a>,
    secrets: Vec<&'a [u8]>,
}

impl Scene<'_> {
    fn tell(&self, declared: &Payload, words: &[&str], verb: &str) -> Result<(), Fault> {
        self.client.tell(declared, &self.secrets, words, &format!("the project `{}` cannot be {verb}", self.client.project))
    }

    fn up(&self, declared: &Payload) -> Result<(), Fault> {
        self.tell(declared, &["up", "--detach", "--no-build", "--pull=never", "--remove-orphans"], "brought up")
    }

    /// The same for services that are made anew although Docker Compose sees no reason.
    fn anew(&self, declared: &Payload, services: &[&str]) -> Result<(), Fault> {
        if services.is_empty() {
            return Ok(());
        }
        let words = ["up", "--detach", "--no-build", "--pull=never", "--no-deps", "--force-recreate", "--"];
        self.tell(declared, &[&words, services].concat(), "brought up")
    }

    fn there(&self) -> Result<Containers, Fault> {
        let name = self.client.project;
        Ok(containers(self.policy, &BTreeSet::from([name]))?.remove(name).unwrap_or_default())
    }
}

fn one(policy: &Policy, work: &Work) -> Result<Ended, Stop> {
    let done = || Ok(Ended { changed: true, ..Ended::default() });
    let (name, owner) = (work.claim.as_str(), work.key.address.to_string());
    let Some(wanted) = &work.wanted else {
        let (Some(_), Some(last)) = (&work.seen, &work.last) else { return done() };
        let scene = Scene { policy, client: Client::find(policy, name)?, secrets: Vec::new() };
        // What goes needs no values.
        let going = declared(name, &owner, &last.fields, &|_, _| Some(b""))?;
        scene.tell(&going, &["down", "--remove-orphans"], "taken down").map_err(Stop::Unknown)?;
        return done();
    };
    let refused: Vec<&str> = policy.refuses(Kind::Compose, &wanted.fields).into_iter().collect();
    if !refused.is_empty() {
        return Err(not_allowed(name, &refused).into());
    }
    let secrets = wanted.values.values().map(Payload::expose).collect();
    let scene = Scene { policy, client: Client::find(policy, name)?, secrets };
    let of_order: &Values<'_> =
        &|service, variable| wanted.values.get(&format!("services/{service}/environment/{variable}")).map(Payload::expose);
    let new = declared(name, &owner, &wanted.fields, of_order)?;
    scene.tell(&new, &["config", "--quiet"], "understood by Docker Compose; nothing was stopped")?;
    for (_, service) in services(&wanted.fields) {
        image(policy, service.get("image").and_then(Value::as_text).unwrap_or_default())?;
    }
    let made = |fields: &Properties| -> Properties {
        let made = fields.iter().filter(|(field, _)| ["services", "networks", "volumes"].contains(&field.as_str()));
        made.map(|(field, value)| (field.clone(), value.clone())).collect()
    };
    let same = work.seen.as_ref().is_some_and(|seen| made(&seen.fields) == made(&wanted.fields));
    let running = wanted.fields.get("state").and_then(Value::as_text) != Some("stopped");
    let stop = |declared: &Payload| scene.tell(declared, &["stop"], "stopped");
    if same {
        let is_running = work.there("state").and_then(Value::as_text) == Some("running");
        match (running, is_running) {
            (false, _) => stop(&new)?,
            (true, true) if !work.is_outdated() => {}
            (true, is_running) => {
                if is_running {
                    scene.tell(&new, &["restart"], "restarted")?;
                } else {
                    scene.up(&new)?;
                }
                stands(&scene).map_err(Stop::Unknown)?;
            }
        }
        return done();
    }
    let old = scene.there()?;
    let former = work.last.as_ref().filter(|_| !old.is_empty()).and_then(|last| {
        let of_there: &Values<'_> = &|service, variable| old.get(service)?.first()?.variable(variable).map(str::as_bytes);
        declared(name, &owner, &last.fields, of_there).ok()
    });
    let begun = if running {
        let edited = edited(work, &wanted.fields, &old);
        scene.anew(&new, &edited).and_then(|()| scene.up(&new)).and_then(|()| stands(&scene))
    } else {
        let words = ["create", "--no-build", "--pull=never", "--remove-orphans"];
        scene.tell(&new, &words, "made").and_then(|()| stop(&new))
    };
    let Err(fault) = begun else { return done() };
    let ran = old.values().flatten().any(|container| !matches!(container.state(), "stopped" | "failed"));
    let back = || -> Result<&str, Fault> {
        match former {
            None if old.is_empty() => {
                scene.tell(&new, &["down", "--remove-orphans"], "taken down")?;
                Ok("it was taken away again")
            }
            None => Err(Fault::new("what it was before is not known here")),
            Some(former) if ran => {
                scene.up(&former)?;
                stands(&scene)?;
                Ok("the former one is back, and runs")
            }
            Some(former) => {
                scene.tell(&former, &["create", "--no-build", "--pull=never", "--remove-orphans"], "made")?;
                stop(&former)?;
                Ok("the former one is back")
            }
        }
    };
    Err(Stop::undone(fault, back()))
}

/// The services on whose containers people changed something: to Docker Compose they are as they were made.
fn edited<'a>(work: &Work, wanted: &'a Properties, old: &Containers) -> Vec<&'a str> {
    let seen = work.there("services").and_then(Value::as_table);
    let is_edited = |(name, service): &(&String, &Properties)| {
        let digest = definition(service);
        let made = old.get(*name).is_some_and(|own| own.iter().all(|container| container.label(DEFINITION) == Some(&digest)));
        made && seen.and_then(|seen| seen.get(*name)).and_then(Value::as_table) != Some(*service)
    };
    services(wanted).into_iter().filter(is_edited).map(|(name, _)| name.as_str()).collect()
}

fn services(fields: &Properties) -> BTreeMap<&String, &Properties> {
    let services = fields.get("services").and_then(Value::as_table).into_iter().flatten();
    services.filter_map(|(name, service)| Some((name, service.as_table()?))).collect()
}

/// Waits until all of it runs and goes on running, and is found well where it is probed.
fn stands(scene: &Scene<'_>) -> Result<(), Fault> {
    let name = scene.client.project;
    let failed = |why: String| {
        let fault = Fault { cause: Some(why), ..Fault::new(format!("the project `{name}` did not come up")) };
        fault.hint(format!("`docker compose --project-name {name} logs` on the host says what is left of what it wrote"))
    };
    let start = Instant::now();
    let mut since: Option<(String, Instant)> = None;
    loop {
        let there = scene.there()?;
        let all: Vec<(&String, &Inspected)> =
            there.iter().flat_map(|(service, own)| own.iter().map(move |container| (service, container))).collect();
        if all.is_empty() {
            return Err(failed("it is gone".to_owned()));
        }
        let run = all.iter().map(|(_, container)| container.run()).collect::<Vec<_>>().join(", ");
        let began = match &since {
            Some((same, began)) if *same == run => *began,
            _ => Instant::now(),
        };
        since = Some((run, began));
        let mut waiting = None;
        for (service, container) in &all {
            match (container.state(), container.health()) {
                _ if is_done(container) => {}
                (_, Some("unhealthy")) => return Err(failed(format!("`{service}` is found unhealthy"))),
                ("running", None | Some("healthy" | "none")) => {}
                ("failed" | "stopped", _) => {
                    return Err(failed(format!("`{service}` ended with status {}", container.exit())));
                }
                ("failing", _) if start.elapsed() > 10 * STEADY => {
                    return Err(failed(format!("`{service}` ends again and again, with status {}", container.exit())));
                }
                _ => waiting = Some(service),
            }
        }
        match waiting {
            None if began.elapsed() >= STEADY => return Ok(()),
            Some(service) if start.elapsed() > PATIENCE => {
                return Err(failed(format!("`{service}` not within {} seconds", PATIENCE.as_secs())));
            }
            _ if start.elapsed() > 2 * PATIENCE => return Err(failed("it starts again and again".to_owned())),
            _ => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}
