//! What the code of a Worker sees: vars, secrets, and other resources.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::origin::Tracing;
use super::reading::Reading;
use super::scalar;
use super::scope::Scope;
use super::worker::Reference;
use super::written::WorkerToml;
use crate::document::{Entries, Fault, Placed, shown};
use crate::model::{Binding, Kind, Properties, ResourceName, Value};

/// One resource that a Worker's code sees: exactly one sort of thing, such as `kv`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Binding")]
pub(super) struct BindingToml {
    /// The key of a KV namespace of this environment.
    pub(super) kv: Option<Placed<ResourceName>>,
    /// The key of an R2 bucket of this environment.
    pub(super) r2: Option<Placed<ResourceName>>,
    /// The key of a D1 database of this environment.
    pub(super) d1: Option<Placed<ResourceName>>,
    /// The key of a queue of this environment, to send to.
    pub(super) queue: Option<Placed<ResourceName>>,
    /// With `queue`: for how many seconds its messages wait before they are delivered; 0 to 86400.
    pub(super) delivery_delay: Option<Placed<i64>>,
    /// The key of a Hyperdrive configuration of this environment.
    pub(super) hyperdrive: Option<Placed<ResourceName>>,
    /// The key of a service of a private network of this environment.
    pub(super) vpc_service: Option<Placed<ResourceName>>,
    /// The key of a certificate of this environment, to be presented.
    pub(super) mtls_certificate: Option<Placed<ResourceName>>,
    /// The key of a dispatch namespace of this environment.
    pub(super) dispatch_namespace: Option<Placed<ResourceName>>,
    /// The key of a Worker of this environment.
    pub(super) service: Option<Placed<ResourceName>>,
    /// The name, at the target, of a Worker that this environment does not define.
    pub(super) script: Option<Placed<String>>,
    /// With `service` or `script`: the entry point, where it is not the default one.
    pub(super) entrypoint: Option<Placed<String>>,
    /// The key of a secret of this environment.
    pub(super) secret: Option<Placed<ResourceName>>,
    /// A class of Durable Objects: of this Worker, unless `worker` or `script` says where it is.
    pub(super) durable_object: Option<Placed<String>>,
    /// With `durable_object`: the key of the Worker of this environment that has the class.
    pub(super) worker: Option<Placed<ResourceName>>,
    /// The static files of this Worker: `true`.
    pub(super) assets: Option<Placed<bool>>,
    /// Which version this is: `true`.
    pub(super) version_metadata: Option<Placed<bool>>,
    /// A dataset of Analytics Engine, by its name.
    pub(super) analytics_engine: Option<Placed<String>>,
    /// A limit on how often something is done.
    pub(super) ratelimit: Option<Placed<RateLimitToml>>,
    /// Workers AI: `true`.
    pub(super) ai: Option<Placed<bool>>,
    /// Browser Rendering: `true`.
    pub(super) browser: Option<Placed<bool>>,
}

/// A limit on how often something is done.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "RateLimit")]
pub(super) struct RateLimitToml {
    /// A whole number, in quotes, that tells limits of an account apart.
    #[schemars(required)]
    pub(super) namespace_id: Option<Placed<String>>,
    /// How often.
    #[schemars(required)]
    pub(super) limit: Option<Placed<i64>>,
    /// Within how many seconds: 10 or 60.
    #[schemars(required)]
    pub(super) period: Option<Placed<i64>>,
}

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

fn provided<const N: usize>(fields: [(&str, Value); N]) -> Binding {
    Binding::Provided { fields: fields.into_iter().map(|(field, value)| (field.to_owned(), value)).collect() }
}

/// A class of Durable Objects, and the Worker that has it.
fn class_of(
    reading: &mut Reading<'_>,
    scope: &Scope,
    class: &Placed<String>,
    (worker, script): (Option<&Placed<ResourceName>>, Option<&Placed<String>>),
    references: &mut Vec<Reference>,
) -> Option<Binding> {
    reading.check(class.place, scalar::binding_name(&class.value))?;
    let script = match (worker, script) {
        (Some(worker), None) => {
            scope.refer(reading, Kind::Worker, worker)?;
            references.push((Kind::Worker, worker.value.clone(), worker.place));
            Some(scope.workers.get(&worker.value)?.claim.clone()?)
        }
        (None, Some(script)) => Some(reading.check(script.place, scalar::script_name(&script.value))?),
        (None, None) => None,
        (Some(worker), Some(_)) => {
            let message = "`worker` and `script` cannot both say where the class is";
            reading.fault(Fault::new(worker.place, message).hint("keep one of them"));
            return None;
        }
    };
    Some(Binding::DurableObject { class: class.value.clone(), script })
}

fn rate_limit(reading: &mut Reading<'_>, written: &Placed<RateLimitToml>) -> Option<Binding> {
    let RateLimitToml { namespace_id, limit, period } = &written.value;
    let (Some(id), Some(limit), Some(period)) = (namespace_id, limit, period) else {
        let hint = "such as `ratelimit = { namespace_id = \"1001\", limit = 100, period = 60 }`";
        reading.fault(Fault::new(written.place, "`namespace_id`, `limit` and `period` are all needed").hint(hint));
        return None;
    };
    let sound = !id.value.is_empty() && id.value.bytes().all(|b| b.is_ascii_digit());
    if !sound || limit.value < 1 || !matches!(period.value, 10 | 60) {
        let hint = "`namespace_id` is a whole number in quotes, `limit` at least 1, `period` 10 or 60";
        reading.fault(Fault::new(written.place, "this is no limit").hint(hint));
        return None;
    }
    let simple = [("limit".to_owned(), Value::Integer(limit.value)), ("period".to_owned(), Value::Integer(period.value))];
    let fields = [("type", "ratelimit".into()), ("namespace_id", Value::text(&id.value))];
    Some(provided([fields[0].clone(), fields[1].clone(), ("simple", Value::Table(simple.into()))]))
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
    // Taken apart without `..`: a sort of binding that nobody counts does not compile.
    let BindingToml {
        kv,
        r2,
        d1,
        queue,
        delivery_delay,
        hyperdrive,
        vpc_service,
        mtls_certificate,
        dispatch_namespace,
        service,
        script,
        entrypoint,
        secret,
        durable_object,
        worker,
        assets,
        version_metadata,
        analytics_engine,
        ratelimit,
        ai,
        browser,
    } = &written.value;
    let resources = [
        (Kind::Kv, kv),
        (Kind::R2, r2),
        (Kind::D1, d1),
        (Kind::Queue, queue),
        (Kind::Hyperdrive, hyperdrive),
        (Kind::VpcService, vpc_service),
        (Kind::MtlsCertificate, mtls_certificate),
        (Kind::DispatchNamespace, dispatch_namespace),
    ];
    let resource = resources.iter().find_map(|(kind, name)| Some((*kind, name.as_ref()?)));
    let flags = [("assets", assets), ("version_metadata", version_metadata), ("ai", ai), ("browser", browser)];
    let flag = flags.iter().find_map(|(sort, flag)| Some((*sort, flag.as_ref()?)));
    let elsewhere = durable_object.is_some();
    let said = [service.is_some(), script.is_some() && !elsewhere, secret.is_some(), elsewhere]
        .into_iter()
        .chain([analytics_engine.is_some(), ratelimit.is_some()])
        .chain(resources.iter().map(|(_, name)| name.is_some()))
        .chain(flags.iter().map(|(_, flag)| flag.is_some()));
    if said.filter(|said| *said).count() != 1 {
        let sorts = resources.iter().map(|(kind, _)| kind.as_str()).chain(flags.iter().map(|(sort, _)| *sort));
        let sorts = sorts.chain(["service", "script", "secret", "durable_object", "analytics_engine", "ratelimit"]);
        let sorts = sorts.map(|sort| format!("`{sort}`")).collect::<Vec<_>>().join(", ");
        reading.fault(
            Fault::new(written.place, format!("exactly one of {sorts} is expected"))
                .hint("such as `{ kv = \"sessions\" }`; tables merge with those of a base, key by key"),
        );
        return None;
    }
    if let (Some(worker), false) = (worker, elsewhere) {
        let message = "`worker` belongs to `durable_object`";
        reading.fault(Fault::new(worker.place, message).hint("a Worker is bound by `service`"));
    }
    let mut fields = Properties::new();
    if let Some(delay) = delivery_delay {
        if !(0..=86_400).contains(&delay.value) || resource.is_none_or(|(kind, _)| kind != Kind::Queue) {
            let fault = Fault::new(delay.place, "`delivery_delay` is a number of seconds from 0 to 86400, with `queue`");
            reading.fault(fault.hint("correct or remove it"));
        }
        fields.insert("delivery_delay".to_owned(), Value::Integer(delay.value));
    }
    if let Some(class) = durable_object {
        return class_of(reading, scope, class, (worker.as_ref(), script.as_ref()), references);
    }
    if let Some((sort, flag)) = flag {
        if !flag.value {
            reading.fault(Fault::new(flag.place, format!("`{sort}` is bound by `true`")).hint("remove the binding"));
            return None;
        }
        return Some(provided([("type", Value::text(sort))]));
    }
    if let Some(dataset) = analytics_engine {
        reading.check(dataset.place, scalar::title(&dataset.value))?;
        return Some(provided([("type", "analytics_engine".into()), ("dataset", Value::text(&dataset.value))]));
    }
    if let Some(limit) = ratelimit {
        return rate_limit(reading, limit);
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
        let draft = scope.platform.get(&kind).and_then(|drafts| drafts.get(&name.value));
        fields.extend(draft.map(|draft| draft.written.bound()).unwrap_or_default());
        return Some(Binding::Resource { address, fields });
    }
    if let Some(name) = service {
        let Some(callee) = scope.workers.get(&name.value) else {
            reading.dangling(name.place, "worker", name.value.as_str(), scope.workers.keys().map(ResourceName::as_str));
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
