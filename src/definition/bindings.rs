//! What the code of a Worker sees: vars, secrets, and other resources.

use std::collections::BTreeMap;

use super::origin::Tracing;
use super::reading::Reading;
use super::scalar;
use super::scope::Scope;
use super::worker::Reference;
use super::written::{BindingToml, WorkerToml};
use crate::document::{Entries, Fault, Placed, shown};
use crate::model::{Binding, Kind, Properties};

/// The bindings of a Worker; adds what they refer to.
pub(super) fn bindings(
    reading: &mut Reading<'_>,
    scope: &Scope,
    written: &WorkerToml,
    (tracing, references): (&mut Tracing, &mut Vec<Reference>),
) -> BTreeMap<String, Binding> {
    let mut bindings = BTreeMap::new();
    let mut places = BTreeMap::new();
    for (name, value) in written.vars.iter().flat_map(|Entries(vars)| vars) {
        let sound = reading.check(name.place, scalar::binding_name(&name.value));
        if let (Some(()), Some(binding)) = (sound, var(reading, value)) {
            places.insert(name.value.clone(), name.place);
            tracing.field(reading, &format!("bindings.{}", name.value), Some(name.place));
            bindings.insert(name.value.clone(), binding);
        }
    }
    for (name, value) in written.bindings.iter().flat_map(|Entries(bindings)| bindings) {
        let sound = reading.check(name.place, scalar::binding_name(&name.value));
        let binding = binding(reading, scope, value, references);
        if let Some(first) = places.get(&name.value) {
            reading.fault(
                Fault::new(name.place, format!("`{}` is both a var and a binding", shown(&name.value)))
                    .label("again here")
                    .related(*first, "first here")
                    .hint("the code sees both under one name: rename one of them"),
            );
        } else if let (Some(()), Some(binding)) = (sound, binding) {
            tracing.field(reading, &format!("bindings.{}", name.value), Some(name.place));
            bindings.insert(name.value.clone(), binding);
        }
    }
    bindings
}

/// Text is plain text; anything else is JSON.
fn var(reading: &mut Reading<'_>, written: &Placed<serde_json::Value>) -> Option<Binding> {
    if let serde_json::Value::String(text) = &written.value {
        return Some(Binding::PlainText { text: text.clone() });
    }
    if has_large_integer(&written.value) {
        let message = "the number cannot be told apart from its neighbours in JavaScript";
        reading.fault(Fault::new(written.place, message).hint("put it in quotes"));
        return None;
    }
    // A JSON value always has a canonical form; `None` would only drop the var, after the fault below.
    match serde_json_canonicalizer::to_string(&written.value) {
        Ok(json) => Some(Binding::Json { json }),
        Err(error) => {
            reading.fault(Fault::new(written.place, format!("the value has no JSON form: {}", shown(&error.to_string()))));
            None
        }
    }
}

fn has_large_integer(value: &serde_json::Value) -> bool {
    const SAFE: i64 = 1 << 53;
    match value {
        serde_json::Value::Number(number) => number.as_i64().is_some_and(|n| !(-SAFE..=SAFE).contains(&n)),
        serde_json::Value::Array(items) => items.iter().any(has_large_integer),
        serde_json::Value::Object(entries) => entries.values().any(has_large_integer),
        _ => false,
    }
}

fn binding(
    reading: &mut Reading<'_>,
    scope: &Scope,
    written: &Placed<BindingToml>,
    references: &mut Vec<Reference>,
) -> Option<Binding> {
    let BindingToml { kv, r2, service, script, entrypoint, secret } = &written.value;
    let resources = [(Kind::Kv, kv), (Kind::R2, r2)];
    let resource = resources.iter().find_map(|(kind, name)| Some((*kind, name.as_ref()?)));
    let said = [service.is_some(), script.is_some(), secret.is_some()].into_iter();
    if said.chain(resources.iter().map(|(_, name)| name.is_some())).filter(|said| *said).count() != 1 {
        reading.fault(
            Fault::new(written.place, "exactly one of `kv`, `r2`, `service`, `script`, `secret` is expected")
                .hint("such as `{ kv = \"sessions\" }`; tables merge with those of a base, key by key"),
        );
        return None;
    }
    if let (Some(entrypoint), true) = (entrypoint, resource.is_some() || secret.is_some()) {
        let message = "`entrypoint` belongs to `service` or `script`";
        reading.fault(Fault::new(entrypoint.place, message).hint("remove it"));
    }
    let entrypoint = match entrypoint {
        Some(name) => {
            reading.check(name.place, scalar::binding_name(&name.value))?;
            Some(name.value.clone())
        }
        None => None,
    };
    if let Some((kind, name)) = resource {
        let address = scope.refer(reading, kind, name)?;
        references.push((kind, name.value.clone(), name.place));
        return Some(Binding::Resource { address, fields: Properties::new() });
    }
    if let Some(name) = service {
        let Some(callee) = scope.workers.get(&name.value) else {
            reading.dangling(
                name.place,
                "worker",
                name.value.as_str(),
                scope.workers.keys().map(crate::model::ResourceName::as_str),
            );
            return None;
        };
        references.push((Kind::Worker, name.value.clone(), name.place));
        return Some(Binding::Service { script: callee.claim.clone()?, entrypoint });
    }
    if let Some(name) = script {
        let script = reading.check(name.place, scalar::script_name(&name.value))?;
        return Some(Binding::Service { script, entrypoint });
    }
    let name = secret.as_ref()?;
    scope.secret(reading, name);
    Some(Binding::Secret { name: name.value.clone() })
}
