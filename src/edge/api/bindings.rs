//! The bindings of an upload: each is read, and what it names has to exist.
//!
//! Goes in: bindings as a client wrote them. Comes out: [`Binding`]s, secrets sealed.
//!
//! **Invariant:** a binding of a type that this edge cannot serve is refused by name, never dropped.

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::record::{Binding, Limit, Script};
use super::answer::Refusal;
use super::upload::Basis;
use crate::model::Secret;

/// Bytes of one var or secret, as at Cloudflare.
const TEXT_LIMIT: usize = 5 * 1024;
/// Bindings of one version.
const BINDING_LIMIT: usize = 256;

/// The bindings of a new version: those listed, and those of the newest version whose types are kept. Where a client says
/// nothing of what to keep, secrets are kept: wrangler 4.86 relies on it.
pub(super) fn read(basis: &Basis<'_>, listed: &[Value], keep: Option<&[String]>) -> Result<BTreeMap<String, Binding>, Refusal> {
    let mut bindings = BTreeMap::new();
    for value in listed {
        let name = value["name"]
            .as_str()
            .filter(|name| is_name(name))
            .ok_or_else(|| Refusal::invalid_script("a binding has no valid name"))?;
        let binding = match value["type"].as_str() {
            Some("inherit") => match inherited(basis.script, name, value) {
                Some(binding) => binding,
                None if basis.strict => {
                    return Err(Refusal::bad(10057, format!("the binding `{name}` has nothing to inherit from")));
                }
                None => continue,
            },
            _ => read_binding(basis, name, value)?,
        };
        if bindings.insert(name.to_owned(), binding).is_some() {
            return Err(Refusal::bad(10053, format!("the binding name `{name}` is in use already")));
        }
    }
    let secrets = ["secret_text".to_owned(), "secret_key".to_owned()];
    let keep = keep.unwrap_or(&secrets);
    let previous = basis.script.and_then(Script::latest).into_iter().flat_map(|latest| &latest.bindings);
    for (name, binding) in previous.filter(|(_, binding)| keep.iter().any(|kind| kind == binding.kind())) {
        bindings.entry(name.clone()).or_insert_with(|| binding.clone());
    }
    if bindings.len() > BINDING_LIMIT {
        return Err(Refusal::invalid_script(format!("more than {BINDING_LIMIT} bindings")));
    }
    Ok(bindings)
}

fn inherited(script: Option<&Script>, name: &str, value: &Value) -> Option<Binding> {
    let script = script?;
    let version = match value["version_id"].as_str() {
        Some(id) if id != "latest" => script.version(id)?,
        _ => script.latest()?,
    };
    version.bindings.get(value["old_name"].as_str().unwrap_or(name)).cloned()
}

/// The fields of a binding as a client wrote it.
struct Fields<'a> {
    name: &'a str,
    value: &'a Value,
}

impl Fields<'_> {
    fn text(&self, field: &str) -> Result<String, Refusal> {
        let text = self.value[field].as_str().filter(|text| !text.is_empty() || field == "text");
        let text = text.ok_or_else(|| Refusal::invalid_script(format!("binding {} must have a valid `{field}`", self.name)))?;
        Ok(text.to_owned())
    }

    fn optional(&self, field: &str) -> Option<String> {
        self.value[field].as_str().map(str::to_owned)
    }

    fn number(&self, field: &str) -> Result<u64, Refusal> {
        let number = self.value[field].as_u64();
        number.ok_or_else(|| Refusal::invalid_script(format!("binding {} must have a number `{field}`", self.name)))
    }

    fn small(&self, text: &str) -> Result<(), Refusal> {
        match text.len() <= TEXT_LIMIT {
            true => Ok(()),
            false => Err(Refusal::bad(10054, format!("the binding `{}` is larger than 5 KiB", self.name))),
        }
    }
}

fn read_binding(basis: &Basis<'_>, name: &str, value: &Value) -> Result<Binding, Refusal> {
    let fields = Fields { name, value };
    let account = &basis.state.account;
    match value["type"].as_str() {
        Some("plain_text") => {
            let text = fields.text("text")?;
            fields.small(&text).map(|()| Binding::PlainText { text })
        }
        Some("json") => fields.small(&value["json"].to_string()).map(|()| Binding::Json { json: value["json"].clone() }),
        Some("secret_text") => {
            let text = fields.text("text")?;
            fields.small(&text)?;
            Ok(basis.plane.seal.seal(&Secret::new(text.into_bytes()))?)
        }
        Some("kv_namespace") => {
            let namespace_id = fields
                .text("namespace_id")
                .or_else(|_| fields.text("id"))
                .map_err(|_| Refusal::invalid_script(format!("binding {name} must have a valid `id`")))?;
            match account.namespaces.contains_key(&namespace_id) {
                true => Ok(Binding::KvNamespace { namespace_id }),
                false => Err(Refusal::bad(10041, format!("KV namespace '{namespace_id}' not found, bound as {name}"))),
            }
        }
        Some("d1") => {
            let database_id = fields
                .text("database_id")
                .or_else(|_| fields.text("id"))
                .map_err(|_| Refusal::invalid_script(format!("binding {name} of type d1 must have a valid `id`")))?;
            match account.databases.contains_key(&database_id) {
                true => Ok(Binding::D1 { database_id }),
                false => Err(Refusal::bad(10181, format!("D1 database '{database_id}' not found, bound as {name}"))),
            }
        }
        Some("queue") => {
            let queue_name = fields.text("queue_name")?;
            match account.queue_named(&queue_name) {
                Some(_) => Ok(Binding::Queue { queue_name, delivery_delay: value["delivery_delay"].as_u64() }),
                None => Err(Refusal::bad(100_124, format!("Queue \"{queue_name}\" does not exist, bound as {name}"))),
            }
        }
        Some("r2_bucket") => {
            let bucket_name = fields.text("bucket_name")?;
            let jurisdiction = fields.optional("jurisdiction");
            match account.bucket_id(jurisdiction.as_deref(), &bucket_name) {
                Some(_) => Ok(Binding::R2Bucket { bucket_name, jurisdiction }),
                None => Err(Refusal::bad(10085, format!("R2 bucket '{bucket_name}' not found, bound as {name}"))),
            }
        }
        Some("durable_object_namespace") => objects(basis, &fields),
        Some("assets") => Ok(Binding::Assets),
        Some("service") => service(basis, &fields),
        Some("version_metadata") => Ok(Binding::VersionMetadata),
        Some("analytics_engine") => {
            let dataset = fields.text("dataset").unwrap_or_else(|_| name.to_owned());
            match dataset.len() <= 96 && dataset.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') {
                true => Ok(Binding::AnalyticsEngine { dataset }),
                false => Err(Refusal::invalid_script(format!("binding {name} must have a valid `dataset`"))),
            }
        }
        Some("ratelimit") => ratelimit(&fields),
        Some("hyperdrive") => {
            let id = fields.text("id")?;
            private_link(basis, name, "hyperdrive")?;
            match account.hyperdrives.contains_key(&id) {
                true => Ok(Binding::Hyperdrive { id }),
                false => Err(Refusal::bad(10157, format!("Hyperdrive configuration '{id}' not found, bound as {name}"))),
            }
        }
        Some("vpc_service") => {
            let service_id = fields.text("service_id")?;
            private_link(basis, name, "vpc_service")?;
            match account.services.contains_key(&service_id) {
                true => Ok(Binding::VpcService { service_id }),
                false => Err(Refusal::bad(10021, format!("VPC service '{service_id}' not found, bound as {name}"))),
            }
        }
        Some("mtls_certificate") => {
            let certificate_id = fields.text("certificate_id")?;
            match account.certificates.get(&certificate_id) {
                Some(certificate) if !certificate.ca => Ok(Binding::MtlsCertificate { certificate_id }),
                Some(_) => Err(Refusal::bad(10021, format!("the certificate bound as {name} has no private key"))),
                None => Err(Refusal::bad(10021, format!("mTLS certificate '{certificate_id}' not found, bound as {name}"))),
            }
        }
        Some(kind) => Err(Refusal::invalid_script(format!("this edge does not have bindings of type `{kind}`: `{name}`"))),
        None => Err(Refusal::invalid_script(format!("the binding `{name}` has no type"))),
    }
}

fn service(basis: &Basis<'_>, fields: &Fields<'_>) -> Result<Binding, Refusal> {
    let service = fields.text("service")?;
    if service != basis.name && !basis.state.scripts.contains_key(&service) {
        let message = format!("Could not resolve service binding '{}'. Target script '{service}' not found.", fields.name);
        return Err(Refusal::bad(10143, message));
    }
    let props = fields.value.get("props").filter(|props| !props.is_null()).cloned();
    Ok(Binding::Service {
        service,
        environment: fields.optional("environment"),
        entrypoint: fields.optional("entrypoint"),
        props,
    })
}

/// A link into the edge's own network is there only where the edge was started to allow it.
fn private_link(basis: &Basis<'_>, name: &str, kind: &str) -> Result<(), Refusal> {
    match basis.plane.supervisor.private_network() {
        true => Ok(()),
        false => Err(Refusal::invalid_script(format!(
            "this edge allows no private links, which the binding `{name}` of type `{kind}` is: start it with `--private-network`"
        ))),
    }
}

/// The objects that a binding leads to: of this Worker, or of another that has them already.
fn objects(basis: &Basis<'_>, fields: &Fields<'_>) -> Result<Binding, Refusal> {
    let class_name = fields.text("class_name")?;
    let script_name = fields.optional("script_name").filter(|script| script != basis.name);
    let owner = match &script_name {
        Some(other) => {
            let script = basis.state.scripts.get(other).ok_or_else(|| {
                let name = fields.name;
                Refusal::bad(
                    10061,
                    format!("Cannot create binding {name} for class '{class_name}': the script '{other}' does not exist"),
                )
            })?;
            Some(script.as_ref())
        }
        None => basis.script,
    };
    let objects = owner.and_then(|owner| owner.objects.get(&class_name));
    let objects = objects.ok_or_else(|| {
        let script = script_name.as_deref().unwrap_or(basis.name);
        let message = format!(
            "Cannot create binding for class '{class_name}' in script '{script}' because it is not currently configured to \
             implement Durable Objects. Did you forget to apply a migration?"
        );
        Refusal::bad(if basis.declared { 100_406 } else { 10061 }, message)
    })?;
    Ok(Binding::DurableObjectNamespace { class_name, script_name, namespace_id: objects.id.clone() })
}

fn ratelimit(fields: &Fields<'_>) -> Result<Binding, Refusal> {
    let namespace_id = fields.text("namespace_id")?;
    if !namespace_id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
        return Err(Refusal::invalid_script(format!("binding {} must have a valid `namespace_id`", fields.name)));
    }
    let simple = Fields { name: fields.name, value: &fields.value["simple"] };
    let simple = Limit { limit: simple.number("limit")?, period: simple.number("period")? };
    match [10, 60].contains(&simple.period) {
        true => Ok(Binding::Ratelimit { namespace_id, simple }),
        false => Err(Refusal::invalid_script(format!("the `period` of the rate limit `{}` is 10 or 60", fields.name))),
    }
}

/// Whether a text can name a binding.
pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 255 && !name.contains('\0')
}
