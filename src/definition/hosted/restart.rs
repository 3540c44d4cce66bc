//! `restart_on = ["file.config", "secret.key"]`: what starts a thing anew when it changes.
//!
//! Goes in: addresses within the environment. Comes out: the field [`RESTART_ON`], in which each stands with what it is now,
//! so that a change of it is a change of the thing.

use super::Writing;
use crate::document::{Fault, Placed, shown};
use crate::model::{Kind, Properties, RESTART_ON, ResourceName, Value, token_label};

use super::Specs;

/// An input, checked.
enum Input {
    File(ResourceName),
    Secret(ResourceName),
}

/// Adds the inputs to every one of `specs`; each file that is named comes before.
pub(super) fn inputs(writing: &mut Writing<'_, '_, '_>, written: Option<&Placed<Vec<Placed<String>>>>, specs: &mut Specs) {
    let Some(written) = written else { return };
    writing.trace(RESTART_ON, Some(written.place));
    let inputs: Vec<Input> = written.value.iter().filter_map(|name| input(writing, name)).collect();
    for (target, spec) in specs {
        let mut table = Properties::new();
        for input in &inputs {
            match input {
                Input::Secret(name) => {
                    spec.secrets.insert(format!("{RESTART_ON}/secret.{name}"), name.clone());
                }
                Input::File(name) => {
                    let Some(file) = writing.files.get(name).and_then(|file| file.get(target)) else { continue };
                    let mut said = Properties::from([("content".to_owned(), file.content.into())]);
                    if !file.values().is_empty() {
                        said.insert("secrets".to_owned(), Value::Table(Properties::new()));
                    }
                    for secret in &file.secrets {
                        spec.secrets.insert(format!("{RESTART_ON}/file.{name}/secrets/{secret}"), secret.clone());
                    }
                    for (tunnel, instance) in &file.tokens {
                        let path = format!("{RESTART_ON}/file.{name}/secrets/{}", token_label(tunnel));
                        spec.tokens.insert(path, instance.clone());
                    }
                    table.insert(format!("file.{name}"), Value::Table(said));
                }
            }
        }
        spec.fields.insert(RESTART_ON.to_owned(), Value::Table(table));
    }
}

fn input(writing: &mut Writing<'_, '_, '_>, written: &Placed<String>) -> Option<Input> {
    let hint = "write a file or a secret of this environment, such as `file.engine-config` or `secret.db-password`";
    let parsed = written.value.split_once('.').and_then(|(sort, name)| Some((sort, name.parse::<ResourceName>().ok()?)));
    let place = written.place;
    match parsed {
        Some(("file", name)) => {
            let name = Placed { place, value: name };
            writing.scope.refer(writing.reading, Kind::File, &name)?;
            writing.references.push((Kind::File, name.value.clone(), place));
            Some(Input::File(name.value))
        }
        Some(("secret", name)) => {
            let name = Placed { place, value: name };
            writing.scope.secret(writing.reading, &name);
            Some(Input::Secret(name.value))
        }
        _ => {
            let message = format!("`{}` is nothing whose change starts a thing anew", shown(&written.value));
            writing.reading.fault(Fault::new(place, message).hint(hint));
            None
        }
    }
}
