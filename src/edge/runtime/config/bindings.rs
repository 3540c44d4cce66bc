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
use super::super::super::record::{Binding, Script, Version};
use super::super::store::NAMESPACE_HEADER;
use super::{Source, assets, links, programs, public_name, quote, service_name};

/// The bindings of all Workers of a configuration.
pub(super) struct Bindings<'a> {
    source: Source<'a>,
    /// Only those in use: a new namespace is no reason to start anything.
    externals: BTreeMap<String, External>,
}

/// A service outside the process.
enum External {
    /// One of the sockets beside it, with headers.
    Socket(&'static str, Vec<(&'static str, String)>),
    /// Any other, in the configuration's words.
    Other(Zeroizing<String>),
}

impl<'a> Bindings<'a> {
    /// None yet.
    pub(super) fn new(source: Source<'a>) -> Self {
        Self { source, externals: BTreeMap::new() }
    }

    /// Whether Durable Objects are in memory.
    pub(super) fn trial(&self) -> bool {
        self.source.trial
    }

    /// The service behind the Cache API.
    pub(super) fn cache(&mut self) -> String {
        self.local("cache", "", None)
    }

    /// Writes the services that were needed.
    pub(super) fn write_services(&self, services: &mut String) {
        for (name, external) in &self.externals {
            let name = quote(name);
            let _ = match external {
                External::Other(text) => writeln!(services, "    (name = {name}, {}),", text.as_str()),
                External::Socket(socket, headers) => {
                    let header = |(name, value): &(&str, String)| format!("(name = \"{name}\", value = {})", quote(value));
                    let headers = headers.iter().map(header).collect::<Vec<_>>().join(", ");
                    writeln!(
                        services,
                        "    (name = {name}, external = (address = \"unix:../{socket}\", http = (injectRequestHeaders = [{headers}]))),",
                    )
                }
            };
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
            External::Socket("edge.sock", headers)
        });
        name
    }

    /// The value of a binding.
    pub(super) fn value(
        &mut self,
        binding: &Binding,
        script: &Script,
        version: &Version,
    ) -> Result<Zeroizing<String>, EdgeError> {
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
                self.externals.entry(name.clone()).or_insert(External::Socket("kv.sock", headers));
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
                // A named entrypoint is the Worker's own; its assets answer only for the default one.
                let name = |v: &Version| if entrypoint.is_some() { service_name(service, v) } else { public_name(service, v) };
                let target = state.scripts.get(service).and_then(|script| script.principal().map(|v| name(v)));
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
            Binding::DurableObjectNamespace { namespace_id, .. } => {
                let owner = state.objects(namespace_id);
                match owner.and_then(|(owner, class)| Some((owner, class, owner.principal()?))) {
                    Some((owner, class, principal)) if owner.name == script.name && principal.id == version.id => {
                        format!("durableObjectNamespace = {}", quote(class))
                    }
                    Some((owner, class, principal)) => {
                        let service = quote(&service_name(&owner.name, principal));
                        format!("durableObjectNamespace = (className = {}, serviceName = {service})", quote(class))
                    }
                    None => "service = \"absent\"".to_owned(),
                }
            }
            Binding::Assets if version.assets.is_some() => {
                let name = assets::service_name(&service_name(&script.name, version));
                format!("service = (name = {}, entrypoint = \"AssetWorker\")", quote(&name))
            }
            Binding::Assets => "service = \"absent\"".to_owned(),
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
            Binding::Hyperdrive { id } => match account.hyperdrives.get(id).filter(|_| self.source.private_network) {
                Some(config) => {
                    let name = format!("hyperdrive:{id}");
                    let (service, binding) = links::hyperdrive(&name, config, seal)?;
                    self.externals.insert(name, External::Other(service.into()));
                    return Ok(binding);
                }
                None => "service = \"absent\"".to_owned(),
            },
            Binding::VpcService { service_id } => {
                let service = account.services.get(service_id).filter(|_| self.source.private_network);
                match service.and_then(links::service) {
                    Some(service) => {
                        let name = format!("vpc:{service_id}");
                        let value = format!("service = {}", quote(&name));
                        self.externals.insert(name, External::Other(service.into()));
                        value
                    }
                    None => "service = \"absent\"".to_owned(),
                }
            }
            Binding::MtlsCertificate { certificate_id } => match account.certificates.get(certificate_id) {
                Some(certificate) => {
                    let network = links::network(certificate, account, seal, self.source.networks())?;
                    let name = format!("mtls:{certificate_id}");
                    let value = format!("service = {}", quote(&name));
                    self.externals.insert(name, External::Other(network));
                    value
                }
                None => "service = \"absent\"".to_owned(),
            },
        };
        Ok(Zeroizing::new(value))
    }
}

/// A binding that a module makes of a service.
fn wrapped(module: &str, service: &str) -> String {
    format!("wrapped = (moduleName = {}, innerBindings = [(name = \"fetcher\", service = {service})])", quote(module))
}
