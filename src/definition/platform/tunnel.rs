//! `[tunnel.<name>]`: a Cloudflare Tunnel and where its host names lead.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{PlatformToml, Writing, names, some_of};
use crate::definition::reading::Reading;
use crate::definition::selector::OnToml;
use crate::document::{Fault, Placed};
use crate::model::{Kind, PlatformSpec, ResourceName, TreeError, Value};

/// A Cloudflare Tunnel, configured from here.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Tunnel")]
pub(in crate::definition) struct TunnelToml {
    /// Where it lives; every target that takes tunnels unless said otherwise.
    on: Option<Placed<OnToml>>,
    /// Its name at the target; its key, `-` and the environment's name unless said otherwise.
    name: Option<Placed<String>>,
    /// All of its rules, of which the first that matches counts; what no rule matches is answered with 404. Without this
    /// key the rules stay as they are.
    ingress: Option<Placed<Vec<Placed<IngressToml>>>>,
    /// Take over a tunnel of this name that is there and not ours.
    adopt: Option<bool>,
    /// Its former key, when it was renamed.
    moved: Option<Placed<ResourceName>>,
}

/// Where requests lead; at least one of `hostname`, `path`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Ingress")]
struct IngressToml {
    /// Such as `api.example.com` or `*.example.com`; every host name unless said otherwise. Its DNS record is defined by
    /// itself.
    hostname: Option<Placed<String>>,
    /// A regular expression that the path matches.
    path: Option<Placed<String>>,
    /// Where they lead, as seen from the host that runs the tunnel, such as `http://localhost:8080`.
    #[schemars(required)]
    service: Option<Placed<String>>,
}

impl PlatformToml for TunnelToml {
    heads!(name);

    fn claim(&self, reading: &mut Reading<'_>, default: Placed<String>) -> Option<String> {
        let written = self.name.clone().unwrap_or(default);
        reading.check(written.place, names::title(&written.value, "tunnel", 100))
    }
    fn spec(&self, writing: &mut Writing<'_, '_, '_>) -> Result<Option<PlatformSpec>, TreeError> {
        let ingress = self.ingress.as_ref().map(|rules| {
            writing.trace("ingress", Some(rules.place));
            Value::List(rules.value.iter().filter_map(|written| rule(writing, written)).collect())
        });
        Ok(writing.finish(Kind::Tunnel, [("config_src", Some("cloudflare".into())), ("ingress", ingress)]))
    }
}

fn rule(writing: &mut Writing<'_, '_, '_>, written: &Placed<IngressToml>) -> Option<Value> {
    let Placed { place, value: IngressToml { hostname, path, service } } = written;
    if hostname.is_none() && path.is_none() {
        let hint = "give it a `hostname` or a `path`; what no rule matches is answered with 404";
        writing.reading.fault(Fault::new(*place, "this rule matches everything").hint(hint));
        return None;
    }
    let service = writing.required_at((*place, "ingress"), "service", service, "such as `http://localhost:8080`")?;
    let mut text = |written: &Placed<String>, checked| writing.reading.check(written.place, checked).map(Value::Text);
    some_of([
        ("hostname", hostname.as_ref().and_then(|written| text(written, names::hostname(&written.value)))),
        ("path", path.as_ref().and_then(|written| text(written, names::path(&written.value)))),
        ("service", text(service, names::service(&service.value))),
    ])
}
