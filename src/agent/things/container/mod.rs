//! Docker containers: what there is of them, and how they are changed.
//!
//! A container carries the digest of what it was made from: one that is there with another digest, or with none, is made anew.
//! What Docker lets people change on one that runs is looked at as well.
//!
//! **Invariant:** the image of a new container is there, and the container itself is made, before the old one is stopped; the
//! old one is kept until the new one runs. No volume is ever removed.

mod change;
pub(super) mod docker;

use super::{Eyes, Look, MODIFIED, Seen, Sought};
use crate::model::{Properties, RESTART_ON, Value, canonical_digest};
use docker::{Inspected, inspect};

pub(super) use change::{change, not_allowed};

/// The label that holds the digest of what a container was made from.
const DEFINITION: &str = "trunkline.definition";

/// What there is of each, by one call.
pub(super) fn look(eyes: &Eyes<'_>, sought: &[Sought<'_>]) -> Vec<Look> {
    let found = match inspect(eyes.policy, sought.iter().map(|sought| sought.claim)) {
        Ok(found) => found,
        Err(fault) => return sought.iter().map(|_| Err(fault.clone())).collect(),
    };
    sought.iter().map(|sought| Ok(found.get(sought.claim).map(|inspected| one(sought, inspected)))).collect()
}

fn one(sought: &Sought<'_>, inspected: &Inspected) -> Seen {
    let side = |desired: bool| -> Properties {
        let values = sought.fields.iter().filter_map(|(field, lens)| {
            let value = if desired { lens.desired } else { lens.applied };
            Some(((*field).to_owned(), value?.clone()))
        });
        values.collect()
    };
    let label = inspected.label(DEFINITION);
    let made_from = [side(false), side(true)].into_iter().find(|side| label == Some(definition(side).as_str()));
    let mut fields = match made_from {
        Some(mut fields) => {
            fields.remove(RESTART_ON);
            differences(&mut fields, inspected);
            fields
        }
        None => Properties::from([
            ("name".to_owned(), Value::text(sought.claim)),
            ("image".to_owned(), Value::text(inspected.image())),
            ("definition".to_owned(), Value::text(MODIFIED)),
        ]),
    };
    if let Some(lens) = sought.asks("state") {
        let state = inspected.state();
        // One that is not started again and ended well has done what it was to do.
        let ended_well = state == "stopped" && inspected.has_ended_well() && inspected.restart() == "no";
        let state = if ended_well { lens.word().unwrap_or(state) } else { state };
        fields.insert("state".to_owned(), Value::text(state));
    }
    Seen { fields, run: inspected.run(), shared: false }
}

/// What of it people changed, as Docker lets them, on the container that is there.
fn differences(fields: &mut Properties, inspected: &Inspected) {
    let restart = inspected.restart();
    if fields.get("restart").and_then(Value::as_text).is_some_and(|restart| restart != inspected.restart()) {
        fields.insert("restart".to_owned(), Value::text(restart));
    }
    let memory = fields.get("memory").and_then(Value::as_text).and_then(bytes).unwrap_or(0);
    if memory != inspected.memory() {
        fields.insert("memory".to_owned(), Value::text(format!("{} bytes", inspected.memory())));
    }
    let cpus = fields.get("cpus").and_then(Value::as_text).and_then(|cpus| cpus.parse::<f64>().ok()).unwrap_or(0.0);
    // Docker counts in thousandths of millionths.
    if (cpus * 1e9).round() != inspected.nano_cpus() {
        fields.insert("cpus".to_owned(), Value::text(format!("{}", inspected.nano_cpus() / 1e9)));
    }
}

pub(super) fn bytes(memory: &str) -> Option<u64> {
    let (digits, factor) = match memory.as_bytes().last()? {
        b'k' => (memory.strip_suffix('k')?, 1 << 10),
        b'm' => (memory.strip_suffix('m')?, 1 << 20),
        b'g' => (memory.strip_suffix('g')?, 1 << 30),
        _ => (memory, 1),
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

/// The digest of what a container is made from: whether it runs, and what starts it anew, is none of it. Secrets are in it
/// by their marks, which are keyed.
fn definition(fields: &Properties) -> String {
    let made = fields.iter().filter(|(field, _)| !["state", RESTART_ON].contains(&field.as_str()));
    canonical_digest(&made.collect::<std::collections::BTreeMap<_, _>>()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_definition_is_what_a_container_is_made_from() {
        let fields = |state: &str, image: &str| {
            Properties::from([("state".to_owned(), Value::text(state)), ("image".to_owned(), Value::text(image))])
        };
        assert_eq!(definition(&fields("running", "a")), definition(&fields("stopped", "a")));
        assert_ne!(definition(&fields("running", "a")), definition(&fields("running", "b")));
        assert_eq!((bytes("512m"), bytes("1g"), bytes("x")), (Some(512 << 20), Some(1 << 30), None));
    }
}
