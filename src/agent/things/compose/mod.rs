//! Projects of Docker Compose: what there is of them, and how they are changed.
//!
//! Docker Compose is given what the definition was understood to say, as JSON on its standard input, and no file. Each
//! container carries the digest of its service: one that is there with another digest, or with none, is made anew.
//!
//! **Invariant:** images are there, and Docker Compose has found no fault, before anything stops; a project that does not come
//! up is put back. No volume is ever removed. The values of secrets reach Docker Compose on its standard input.

mod change;
mod declared;
mod project;

use std::collections::{BTreeMap, BTreeSet};

use super::container::bytes;
use super::container::docker::Inspected;
use super::{Eyes, Look, MODIFIED, Seen, Sought};
use crate::model::{Properties, Value, canonical_digest};
use project::{Containers, containers};

pub(super) use change::change;

/// The label that holds the digest of what a container's service was made from.
const DEFINITION: &str = "trunkline.definition";

/// What there is of each, by two calls.
pub(super) fn look(eyes: &Eyes<'_>, sought: &[Sought<'_>]) -> Vec<Look> {
    let names: BTreeSet<&str> = sought.iter().map(|sought| sought.claim).collect();
    let found = match containers(eyes.policy, &names) {
        Ok(found) => found,
        Err(fault) => return sought.iter().map(|_| Err(fault.clone())).collect(),
    };
    sought.iter().map(|sought| Ok(found.get(sought.claim).map(|containers| seen(sought, containers)))).collect()
}

fn seen(sought: &Sought<'_>, containers: &Containers) -> Seen {
    let lens = sought.asks("services").unwrap_or_default();
    let mut services = Properties::new();
    for (name, own) in containers {
        let table = |side: Option<&Value>| side.and_then(Value::as_table)?.get(name).and_then(Value::as_table).cloned();
        let made_from = [table(lens.applied), table(lens.desired)].into_iter().flatten().find(|side| {
            let digest = definition(side);
            own.iter().all(|container| container.label(DEFINITION) == Some(digest.as_str()))
        });
        let mut fields = match made_from {
            Some(mut fields) => {
                own.iter().for_each(|container| differences(&mut fields, container));
                fields
            }
            None => Properties::from([
                ("image".to_owned(), Value::text(own.first().map_or("", |container| container.image()))),
                ("definition".to_owned(), Value::text(MODIFIED)),
            ]),
        };
        if own.len() > 1 {
            fields.insert("scale".to_owned(), Value::Integer(i64::try_from(own.len()).unwrap_or(i64::MAX)));
        }
        services.insert(name.clone(), Value::Table(fields));
    }
    let mut fields =
        Properties::from([("project".to_owned(), Value::text(sought.claim)), ("services".to_owned(), Value::Table(services))]);
    // Nothing of them can be changed on what is there.
    for field in ["networks", "volumes"] {
        let value = sought.asks(field).and_then(|lens| if sought.last.is_some() { lens.applied } else { lens.desired });
        fields.extend(value.map(|value| (field.to_owned(), value.clone())));
    }
    if let Some(lens) = sought.asks("state") {
        fields.insert("state".to_owned(), Value::text(state(containers, lens.word())));
    }
    let run = containers.values().flatten().map(Inspected::run).collect::<Vec<_>>().join(", ");
    Seen { fields, run, shared: false }
}

/// Where one that is not to be started again stands, and ended well: it has done what it was to do.
fn is_done(container: &Inspected) -> bool {
    container.has_ended_well() && matches!(container.restart(), "no" | "on-failure")
}

/// Where the project stands: in one word where all of it stands alike.
fn state(containers: &Containers, wanted: Option<&str>) -> String {
    let all: Vec<(&String, &Inspected)> =
        containers.iter().flat_map(|(name, own)| own.iter().map(move |container| (name, container))).collect();
    let runs = |container: &Inspected| !matches!(container.state(), "stopped" | "failed");
    if wanted == Some("stopped") && !all.iter().any(|(_, container)| runs(container)) {
        return "stopped".to_owned();
    }
    if all.iter().all(|(_, container)| is_done(container)) {
        return wanted.unwrap_or("stopped").to_owned();
    }
    let others: BTreeSet<String> = all
        .iter()
        .filter(|(_, container)| container.state() != "running" && !is_done(container))
        .map(|(name, container)| format!("{name} {}", container.state()))
        .collect();
    match others.len() {
        0 => "running".to_owned(),
        _ if all.iter().all(|(_, container)| container.state() == "stopped") => "stopped".to_owned(),
        _ => others.into_iter().collect::<Vec<_>>().join(", "),
    }
}

/// What of a service people changed, as Docker lets them, on a container that is there.
fn differences(fields: &mut Properties, container: &Inspected) {
    let text = |fields: &Properties, field: &str| fields.get(field).and_then(Value::as_text).map(str::to_owned);
    let restart = text(fields, "restart");
    if restart.as_deref().unwrap_or("no") != container.restart() {
        fields.insert("restart".to_owned(), Value::text(container.restart()));
    }
    let memory = text(fields, "mem_limit").as_deref().and_then(bytes).unwrap_or(0);
    if memory != container.memory() {
        fields.insert("mem_limit".to_owned(), Value::text(format!("{} bytes", container.memory())));
    }
    let cpus = text(fields, "cpus").and_then(|cpus| cpus.parse::<f64>().ok()).unwrap_or(0.0);
    // Docker counts in thousandths of millionths.
    if (cpus * 1e9).round() != container.nano_cpus() {
        fields.insert("cpus".to_owned(), Value::text(format!("{}", container.nano_cpus() / 1e9)));
    }
}

/// The digest of what the containers of a service are made from. Secrets are in it by their marks, which are keyed.
fn definition(service: &Properties) -> String {
    canonical_digest(&service.iter().collect::<BTreeMap<_, _>>()).to_string()
}
