//! Bindings in the configuration, and the services behind them.
//!
//! Goes in: a binding of a version. Comes out: its value in the configuration; the services that it needs are gathered, so
//! that each is written once. What is outside the process is a Unix socket: `kv.sock` of the store, `edge.sock` of the
//! edge itself, with headers of ours that say what is meant. The runtime removes a header of the same name that a Worker
//! sends.
//!
//! **Invariant:** a binding whose target is gone is there and fails when it is used; the other Workers are not held up.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::json;
use zeroize::Zeroizing;

use super::super::super::EdgeError;
use super::super::super::local::{OF_HEADER, SERVICE_HEADER, WITH_HEADER};
use super::super::super::record::{Binding, Version};
use super::super::store::NAMESPACE_HEADER;
use super::{Source, programs, quote, service_name};

/// The bindings of all Workers of a configuration.
pub(super) struct Bindings<'a> {
    source: Source<'a>,
    /// Only those in use: a new namespace is no reason to start anything.
    externals: BTreeMap<String, External>,
}

struct External {
    socket: &'static str,
    headers: Vec<(&'static str, String)>,
}

impl<'a> Bindings<'a> {
    /// None yet.
    pub(super) fn new(source: Source<'a>) -> Self {
        Self { source, externals: BTreeMap::new() }
    }

    /// The service behind the Cache API.
    pub(super) fn cache(&mut self) -> String {
        self.local("cache", "", None)
    }

    /// Writes the services that were needed.
    pub(super) fn write_services(&self, services: &mut String) {
        for (name, external) in &self.externals {
            let headers = external.headers.iter().map(|(name, value)| format!("(name = \"{name}\", value = {})", quote(value)));
            let headers = headers.collect::<Vec<_>>().join(", ");
            let _ = writeln!(
                services,
                "    (name = {}, external = (address = \"unix:../{}\", http = (injectRequestHeaders = [{headers}]))),",
                quote(name),
                external.socket
            );
        }
        // The program is there whether or not a Worker has a database.
        let _ = writeln!(services, "    (name = \"state\", external = (address = \"unix:../kv.sock\", http = ())),");
        let _ = writeln!(services, "    (name = \"d1\", worker = .d1),");
    }

    /// A service that the edge itself is: which, of what, and with which setting.
    fn local(&mut self, service: &'static str, of: &str, with: Option<String>) -> String {
        let name = format!("{service}:{of}:{}", with.as_deref().unwrap_or_default());
        self.externals.entry(name.clone()).or_insert_with(|| {
            let mut headers = vec![(SERVICE_HEADER, service.to_owned()), (OF_HEADER, of.to_owned())];
            headers.extend(with.map(|with| (WITH_HEADER, with)));
            External { socket: "edge.sock", headers }
        });
        name
    }

    /// The value of a binding.
    pub(super) fn value(&mut self, binding: &Binding, version: &Version) -> Result<Zeroizing<String>, EdgeError> {
        let (state, seal) = (self.source.state, self.source.seal);
        let account = &state.account;
        let value = match binding {
            Binding::PlainText { text } => format!("text = {}", quote(text)),
            Binding::Json { json } => format!("json = {}", quote(&json.to_string())),
            Binding::SecretText { sealed, .. } => {
                let secret = seal.open_sealed(sealed)?;
                let quoted = Zeroizing::new(quote(secret.expose_text().ok_or(EdgeError::Unseal)?));
                return Ok(Zeroizing::new(format!("text = {}", quoted.as_str())));
            }
            Binding::KvNamespace { namespace_id } if account.namespaces.contains_key(namespace_id) => {
                let name = format!("kv:{namespace_id}");
                let headers = vec![(NAMESPACE_HEADER, namespace_id.clone())];
                self.externals.entry(name.clone()).or_insert(External { socket: "kv.sock", headers });
                format!("kvNamespace = {}", quote(&name))
            }
            Binding::KvNamespace { .. } => "kvNamespace = \"absent\"".to_owned(),
            Binding::D1 { database_id } => {
                let service = match account.databases.contains_key(database_id) {
                    true => {
                        let props = json!({ "database": database_id }).to_string();
                        format!("(name = \"d1\", props = (json = {}))", quote(&props))
                    }
                    false => "\"absent\"".to_owned(),
                };
                wrapped("cloudflare-internal:d1-api", &service)
            }
            Binding::Queue { queue_name, delivery_delay } => match account.queue_named(queue_name) {
                Some((id, _)) => {
                    let name = self.local("queue", id, delivery_delay.map(|delay| delay.to_string()));
                    format!("queue = {}", quote(&name))
                }
                None => "queue = \"absent\"".to_owned(),
            },
            Binding::R2Bucket { bucket_name, jurisdiction } => match account.bucket_id(jurisdiction.as_deref(), bucket_name) {
                Some(id) => format!("r2Bucket = {}", quote(&self.local("r2", id, None))),
                None => "r2Bucket = \"absent\"".to_owned(),
            },
            Binding::Service { service, entrypoint, props, .. } => {
                let target = state.scripts.get(service).and_then(|script| script.principal().map(|v| service_name(service, v)));
                match target {
                    Some(target) => {
                        let entrypoint = entrypoint.as_ref().map(|e| format!(", entrypoint = {}", quote(e))).unwrap_or_default();
                        let props =
                            props.as_ref().map(|p| format!(", props = (json = {})", quote(&p.to_string()))).unwrap_or_default();
                        format!("service = (name = {}{entrypoint}{props})", quote(&target))
                    }
                    None => "service = \"absent\"".to_owned(),
                }
            }
            Binding::VersionMetadata => {
                let tag = version.annotations.get("workers/tag").cloned().unwrap_or_default();
                let value = json!({ "id": version.id, "tag": tag, "timestamp": version.created_on });
                format!("json = {}", quote(&value.to_string()))
            }
            Binding::AnalyticsEngine { dataset } => {
                format!("analyticsEngine = {}", quote(&self.local("analytics", dataset, None)))
            }
            Binding::Ratelimit { namespace_id, simple } => {
                let name = self.local("ratelimit", namespace_id, Some(format!("{}/{}", simple.limit, simple.period)));
                wrapped(programs::RATELIMIT_MODULE, &quote(&name))
            }
        };
        Ok(Zeroizing::new(value))
    }
}

/// A binding that a module makes of a service.
fn wrapped(module: &str, service: &str) -> String {
    format!("wrapped = (moduleName = {}, innerBindings = [(name = \"fetcher\", service = {service})])", quote(module))
}
