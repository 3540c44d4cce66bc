//! `[vpc_service.<name>]`: a service of a private network, which Workers reach through a tunnel.

use core::net::IpAddr;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{PlatformToml, Writing, names, some_of};
use crate::definition::reading::Reading;
use crate::definition::selector::OnToml;
use crate::document::Placed;
use crate::model::{Kind, PlatformSpec, ResourceName, TargetKind, TargetName, TreeError, Value};

/// A service of a private network.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "VpcService")]
pub(in crate::definition) struct VpcServiceToml {
    /// Where it lives; every target that takes private services unless said otherwise.
    on: Option<Placed<OnToml>>,
    /// Its name at the target; its key, `-` and the environment's name unless said otherwise.
    name: Option<Placed<String>>,
    /// `http` or `tcp`; `http` unless said otherwise.
    #[serde(rename = "type")]
    sort: Option<Placed<String>>,
    /// Its port for HTTP.
    http_port: Option<Placed<i64>>,
    /// Its port for HTTPS.
    https_port: Option<Placed<i64>>,
    /// Its port, where `type` is `tcp`.
    tcp_port: Option<Placed<i64>>,
    /// What is spoken over TCP: `postgresql` or `mysql`.
    app_protocol: Option<Placed<String>>,
    /// Where it is, as seen from the host that runs the tunnel: an address, or a name of the private network.
    #[schemars(required)]
    host: Option<Placed<String>>,
    /// The key of a tunnel of this environment; an edge needs none, since it is in the private network itself.
    tunnel: Option<Placed<ResourceName>>,
    /// The addresses of those who know the name, where `host` is one.
    resolvers: Option<Vec<Placed<String>>>,
    /// How its certificate is checked: `verify_full`, `verify_ca` or `disabled`.
    cert_verification: Option<Placed<String>>,
    /// Take over a service of this name that is there and not ours.
    adopt: Option<bool>,
    /// Its former key, when it was renamed.
    moved: Option<Placed<ResourceName>>,
}

const PORTS: (i64, i64) = (1, 65_535);

impl PlatformToml for VpcServiceToml {
    heads!(name);

    fn claim(&self, reading: &mut Reading<'_>, default: Placed<String>) -> Option<String> {
        let written = self.name.clone().unwrap_or(default);
        reading.check(written.place, names::title(&written.value, "private service", 255))
    }
    fn spec(&self, writing: &mut Writing<'_, '_, '_>) -> Result<Option<PlatformSpec>, TreeError> {
        let sort = match &self.sort {
            Some(_) => writing.word("type", self.sort.as_ref(), &["http", "tcp"]),
            None => Some("http".into()),
        };
        self.check_ports(writing, sort.as_ref().and_then(Value::as_text));
        let verification = &["disabled", "verify_ca", "verify_full"];
        let mode = writing.word("tls_settings.cert_verification_mode", self.cert_verification.as_ref(), verification);
        let fields = [
            ("type", sort),
            ("http_port", writing.number("http_port", self.http_port.as_ref(), PORTS)),
            ("https_port", writing.number("https_port", self.https_port.as_ref(), PORTS)),
            ("tcp_port", writing.number("tcp_port", self.tcp_port.as_ref(), PORTS)),
            ("app_protocol", writing.word("app_protocol", self.app_protocol.as_ref(), &["mysql", "postgresql"])),
            ("host", self.place(writing)),
            ("tls_settings", mode.map(|mode| Value::table([("cert_verification_mode", mode)]))),
        ];
        Ok(writing.finish(Kind::VpcService, fields))
    }
}

impl VpcServiceToml {
    fn check_ports(&self, writing: &mut Writing<'_, '_, '_>, sort: Option<&str>) {
        let Self { http_port, https_port, tcp_port, app_protocol, .. } = self;
        let place = |port: &Option<Placed<i64>>| port.as_ref().map(|port| port.place);
        if sort == Some("tcp") {
            let at = place(http_port).or(place(https_port));
            writing.unfit(at, "a service of the type `tcp` has a `tcp_port`", "remove this port");
            writing.required("tcp_port", tcp_port.as_ref(), "write the port, such as `tcp_port = 5432`");
        } else if sort == Some("http") {
            let at = place(tcp_port).or(app_protocol.as_ref().map(|written| written.place));
            writing.unfit(at, "this belongs to a service of the type `tcp`", "remove it, or write `type = \"tcp\"`");
        }
    }

    /// Where it is, and by which tunnel: an address is reached directly, a name is resolved on the other side.
    fn place(&self, writing: &mut Writing<'_, '_, '_>) -> Option<Value> {
        let hint = "write an address such as `10.0.0.5`, or a name of the private network";
        let host = writing.required("host", self.host.as_ref(), hint);
        let checked = writing.text("host", host, names::host);
        let is_edge = |target: &TargetName| matches!(writing.scope.targets[target].kind, TargetKind::Edge(_));
        let hint = "write the key of a tunnel, such as `tunnel = \"origin\"`";
        let tunnel = match &self.tunnel {
            None if !writing.draft.targets.is_empty() && writing.draft.targets.iter().all(is_edge) => None,
            tunnel => writing.required("tunnel", tunnel.as_ref(), hint),
        };
        // `None` inside is a fault, which was told.
        let by = tunnel.map(|tunnel| writing.pending(Kind::Tunnel, tunnel, "id"));
        let resolvers = self.resolvers.iter().flatten();
        let resolvers: Vec<Value> = resolvers
            .filter_map(|written| writing.reading.check(written.place, names::address(&written.value)).map(Value::Text))
            .collect();
        let checked = checked?;
        let (field, network) = match checked.as_text()?.parse::<IpAddr>() {
            Ok(IpAddr::V4(_)) => ("ipv4", "network"),
            Ok(IpAddr::V6(_)) => ("ipv6", "network"),
            Err(_) => ("hostname", "resolver_network"),
        };
        if field != "hostname" {
            let at = self.resolvers.iter().flatten().next().map(|resolver| resolver.place);
            writing.unfit(at, "an address needs no `resolvers`", "remove them");
        }
        let by = match by {
            Some(id) => Some(id?),
            None => None,
        };
        let resolvers = (!resolvers.is_empty()).then_some(Value::List(resolvers));
        some_of([(field, Some(checked)), (network, some_of([("tunnel_id", by), ("resolver_ips", resolvers)]))])
    }
}
