//! `[domain.<name>]`: a custom domain of a Worker.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{PlatformToml, Writing, zone};
use crate::definition::reading::Reading;
use crate::definition::selector::OnToml;
use crate::document::{Fault, Placed};
use crate::model::{Kind, PlatformSpec, ResourceName, TreeError, Value};

/// A custom domain of a Worker: every request for the host goes to it. Its DNS record and its certificate come with it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Domain")]
pub(in crate::definition) struct DomainToml {
    /// Where it lives; every target that takes custom domains unless said otherwise.
    on: Option<Placed<OnToml>>,
    /// The host, such as `api.example.com`.
    #[schemars(required)]
    hostname: Option<Placed<String>>,
    /// The zone that it lies in, such as `example.com`.
    #[schemars(required)]
    zone_name: Option<Placed<String>>,
    /// The key of a Worker of this environment.
    #[schemars(required)]
    worker: Option<Placed<ResourceName>>,
    /// Take over a custom domain that the Worker has already and that is not ours.
    adopt: Option<bool>,
    /// Its former key, when it was renamed.
    moved: Option<Placed<ResourceName>>,
}

impl PlatformToml for DomainToml {
    fn on(&self) -> Option<&Placed<OnToml>> {
        self.on.as_ref()
    }
    fn adopt(&self) -> bool {
        self.adopt.unwrap_or_default()
    }
    fn moved(&self) -> Option<&Placed<ResourceName>> {
        self.moved.as_ref()
    }
    fn named(&self) -> Option<&Placed<String>> {
        self.hostname.as_ref()
    }
    fn claim(&self, _reading: &mut Reading<'_>, _default: Placed<String>) -> Option<String> {
        let zone = zone::zone(&self.zone_name.as_ref()?.value).ok()?;
        zone::host(&self.hostname.as_ref()?.value, &zone).ok().filter(|host| !host.starts_with('*'))
    }
    fn spec(&self, writing: &mut Writing<'_, '_, '_>) -> Result<Option<PlatformSpec>, TreeError> {
        let zone =
            writing.required("zone_name", self.zone_name.as_ref(), "write the zone that it lies in, such as `example.com`");
        let zone = zone.and_then(|zone| writing.reading.check(zone.place, zone::zone(&zone.value)));
        let host = writing.required("hostname", self.hostname.as_ref(), "write the host, such as `api.example.com`");
        if let (Some(host), Some(zone)) = (host, &zone)
            && let Some(checked) = writing.reading.check(host.place, zone::host(&host.value, zone))
            && checked.starts_with('*')
        {
            let hint = "write each host, or give the Worker a route such as `*.example.com/*`";
            writing.reading.fault(Fault::new(host.place, "a custom domain is one host").hint(hint));
        }
        let worker = writing.required("worker", self.worker.as_ref(), "write the key of a Worker, such as `worker = \"api\"`");
        writing.trace("service", worker.map(|worker| worker.place));
        writing.trace("zone_name", self.zone_name.as_ref().map(|zone| zone.place));
        let service = worker.and_then(|worker| {
            writing.refer(Kind::Worker, worker)?;
            writing.scope.workers.get(&worker.value)?.claim.clone()
        });
        let (Some(zone), Some(service)) = (zone, service) else { return Ok(None) };
        Ok(writing.finish(Kind::Domain, [("zone_name", Some(Value::Text(zone))), ("service", Some(Value::Text(service)))]))
    }
}
