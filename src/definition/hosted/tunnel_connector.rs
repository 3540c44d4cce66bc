//! `[tunnel_connector.<name>]`: cloudflared on a host, as a unit.
//!
//! **Invariant:** its rules are at Cloudflare, or here, and never in both places: the remote ones would silently win.

use schemars::JsonSchema;
use serde::Deserialize;

use super::service::{Service, Word, listen, name, program};
use super::{Credential, HostedToml, Specs, Writing};
use crate::definition::platform::names;
use crate::definition::reading::Reading;
use crate::definition::scope::required;
use crate::definition::selector::OnToml;
use crate::definition::written::SecretRefToml;
use crate::document::{Fault, Placed, did_you_mean, shown};
use crate::model::{Content, InstanceKey, Kind, Properties, ResourceName, TreeError, Value};

/// The connector of a Cloudflare Tunnel. Its rules are at Cloudflare (`token`), or here (`tunnel`, `credentials`, `ingress`).
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "TunnelConnector")]
pub(in crate::definition) struct TunnelConnectorToml {
    /// Where it lives; every host unless said otherwise.
    on: Option<Placed<OnToml>>,
    /// What its unit and its folder are called after; its key unless said otherwise.
    name: Option<Placed<String>>,
    /// The token of a tunnel whose rules are at Cloudflare: `{ tunnel = "edge" }` for one that `[tunnel.edge]` defines,
    /// `{ secret = "…" }` for any other.
    token: Option<Placed<TokenToml>>,
    /// The id of a tunnel whose rules are here.
    tunnel: Option<Placed<String>>,
    /// The credentials file of that tunnel.
    credentials: Option<Placed<SecretRefToml>>,
    /// The rules, of which the first that matches counts; what no rule matches is answered with 404.
    ingress: Option<Placed<Vec<Placed<LocalIngressToml>>>>,
    /// How it talks to Cloudflare: `auto` (the default), `quic` or `http2`.
    protocol: Option<Placed<String>>,
    /// Where its metrics are served, such as `127.0.0.1:20241`.
    metrics: Option<Placed<String>>,
    /// The program; `/usr/bin/cloudflared` unless said otherwise.
    program: Option<Placed<String>>,
    /// Its former key, when it was renamed.
    moved: Option<Placed<ResourceName>>,
}

/// Where the token of a tunnel comes from.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", rename = "token of a tunnel")]
#[schemars(rename = "TunnelToken")]
enum TokenToml {
    /// The key of a secret of this environment.
    Secret(Placed<ResourceName>),
    /// The key of a tunnel of this environment; a token that was rotated starts the connector anew.
    Tunnel(Placed<ResourceName>),
}

/// Where requests lead; at least one of `hostname`, `path`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "LocalIngress")]
struct LocalIngressToml {
    /// Such as `api.example.com` or `*.example.com`; every host name unless said otherwise.
    hostname: Option<Placed<String>>,
    /// A regular expression that the path matches.
    path: Option<Placed<String>>,
    /// Where they lead, such as `http://localhost:8080`.
    #[schemars(required)]
    service: Option<Placed<String>>,
}

impl HostedToml for TunnelConnectorToml {
    heads!(name);

    fn adopt(&self) -> bool {
        false
    }

    fn claim(&self, reading: &mut Reading<'_>, default: Placed<String>) -> Option<String> {
        let written = self.name.clone().unwrap_or(default);
        let name = reading.check(written.place, name(&written.value))?;
        Some(format!("trunkline-connector-{name}.service"))
    }

    fn specs(&self, writing: &mut Writing<'_, '_, '_>) -> Result<Specs, TreeError> {
        let Some(claim) = writing.draft.claim.clone() else { return Ok(Specs::new()) };
        let folder = format!("/etc/trunkline/{}", claim.trim_end_matches(".service"));
        let program = match &self.program {
            Some(written) => writing.reading.check(written.place, program(&written.value)),
            None => Some("/usr/bin/cloudflared".to_owned()),
        };
        let mut command = vec![Word::Theirs(program.unwrap_or_default()), Word::Ours("tunnel"), Word::Ours("--no-autoupdate")];
        if let Some(written) = &self.metrics
            && let Some(address) = writing.reading.check(written.place, listen(&written.value))
        {
            command.extend([Word::Ours("--metrics"), Word::Theirs(address)]);
        }
        let rules = match (&self.token, self.local()) {
            (Some(token), None) => self.remote(writing, token, &folder, &mut command),
            (None, Some(_)) => self.here(writing, &claim, &folder, &mut command),
            (Some(token), Some(local)) => {
                let message = "the rules of a tunnel are at Cloudflare (`token`) or here, and never in both places";
                let hint = "keep `token`, or `tunnel`, `credentials` and `ingress`: with both, those at Cloudflare silently win";
                writing.reading.fault(Fault::new(local, message).related(token.place, "the other way").hint(hint));
                None
            }
            // One of them could not be read, and that is told.
            (None, None)
                if ["token", "tunnel", "credentials", "ingress"].iter().any(|key| writing.draft.dropped.contains(*key)) =>
            {
                None
            }
            (None, None) => {
                let hint =
                    "give it `token = { tunnel = \"…\" }`; or, with rules that are here, `tunnel`, `credentials` and `ingress`";
                let (key, message) = (writing.draft.key, "nothing says which tunnel it is");
                writing.reading.fault(Fault::new(key, message).label("in this table").hint(hint));
                None
            }
        };
        let Some(Rules { files, credential, credentials }) = rules else { return Ok(Specs::new()) };
        let description = format!("Cloudflare Tunnel connector {}", writing.draft.name);
        // It opens sockets of the kernel's own to see which addresses there are.
        let lines =
            vec!["Type=notify".to_owned(), "TimeoutStartSec=60".to_owned(), "RestrictAddressFamilies=AF_NETLINK".to_owned()];
        let text = Service { description, command, credentials, lines }.text();
        writing.trace("content", Some(writing.draft.key));
        Ok(writing.service(Kind::TunnelConnector, text, files, credential))
    }
}

/// What follows from where the rules are.
struct Rules {
    files: Properties,
    /// The path of the field that only it may read, and what that is.
    credential: (String, Credential),
    credentials: Vec<(&'static str, String)>,
}

impl TunnelConnectorToml {
    /// The first of the keys that say that its rules are here.
    fn local(&self) -> Option<crate::document::Place> {
        let places = [
            self.tunnel.as_ref().map(|written| written.place),
            self.credentials.as_ref().map(|written| written.place),
            self.ingress.as_ref().map(|written| written.place),
        ];
        places.into_iter().flatten().next()
    }

    fn protocol(&self, writing: &mut Writing<'_, '_, '_>, command: &mut Vec<Word>) {
        const WORDS: [&str; 3] = ["auto", "http2", "quic"];
        let Some(written) = &self.protocol else { return };
        if WORDS.contains(&written.value.as_str()) {
            command.extend([Word::Ours("--protocol"), Word::Theirs(written.value.clone())]);
            return;
        }
        let hint = did_you_mean(&written.value, WORDS).unwrap_or_else(|| "write `auto`, `http2` or `quic`".to_owned());
        writing.reading.fault(Fault::new(written.place, format!("`{}` is not known here", shown(&written.value))).hint(hint));
    }

    fn remote(
        &self,
        writing: &mut Writing<'_, '_, '_>,
        token: &Placed<TokenToml>,
        folder: &str,
        command: &mut Vec<Word>,
    ) -> Option<Rules> {
        let credential = match &token.value {
            TokenToml::Secret(name) => {
                writing.scope.secret(writing.reading, name);
                Credential::Secret(name.value.clone())
            }
            TokenToml::Tunnel(name) => Credential::Token(tunnel(writing, name)?),
        };
        command.push(Word::Ours("run"));
        self.protocol(writing, command);
        command.extend([Word::Ours("--token-file"), Word::Ours("%d/token")]);
        let path = format!("{folder}/token");
        let files = [("token".to_owned(), secret_file(&path))].into();
        Some(Rules { files, credential: ("files/token/secret".to_owned(), credential), credentials: vec![("token", path)] })
    }

    fn here(&self, writing: &mut Writing<'_, '_, '_>, claim: &str, folder: &str, command: &mut Vec<Word>) -> Option<Rules> {
        let place = (writing.draft.key, &writing.draft.dropped);
        let tunnel = required(writing.reading, place, "tunnel", self.tunnel.as_ref(), "the id of the tunnel, a UUID");
        let hint = "the file that `cloudflared tunnel create` wrote, as a secret: `{ secret = \"…\" }`";
        let credentials = required(writing.reading, place, "credentials", self.credentials.as_ref(), hint);
        let hint = "where requests lead: `[{ hostname = \"api.example.com\", service = \"http://localhost:8080\" }]`";
        let ingress = required(writing.reading, place, "ingress", self.ingress.as_ref(), hint);
        let (tunnel, credentials, ingress) = (tunnel?, credentials?, ingress?);
        let Ok(id) = tunnel.value.parse::<uuid::Uuid>() else {
            let message = format!("`{}` is not the id of a tunnel", shown(&tunnel.value));
            writing
                .reading
                .fault(Fault::new(tunnel.place, message).hint("an id is a UUID, as `cloudflared tunnel list` shows it"));
            return None;
        };
        let SecretRefToml::Secret(name) = &credentials.value;
        writing.scope.secret(writing.reading, name);
        let mut rules: Vec<serde_json::Value> = ingress.value.iter().filter_map(|written| rule(writing, written)).collect();
        rules.push(serde_json::json!({ "service": "http_status:404" }));
        let configuration = serde_json::json!({
            "tunnel": id.to_string(),
            "credentials-file": format!("/run/credentials/{claim}/credentials.json"),
            "ingress": rules,
        });
        // JSON is YAML too, and nothing that a definition says can be anything but text in it.
        let bytes = serde_json::to_vec_pretty(&configuration).unwrap_or_default();
        let content = Content::of(&bytes);
        writing.contents.insert(content.sha256, bytes.into());
        command.extend([Word::Ours("--config"), Word::Ours("%d/config.yml"), Word::Ours("run")]);
        self.protocol(writing, command);
        let (secret, config) = (format!("{folder}/credentials.json"), format!("{folder}/config.yml"));
        let files = Properties::from([
            ("credentials".to_owned(), secret_file(&secret)),
            (
                "config".to_owned(),
                Value::table([("path", config.as_str().into()), ("mode", "0600".into()), ("content", content.into())]),
            ),
        ]);
        Some(Rules {
            files,
            credential: ("files/credentials/secret".to_owned(), Credential::Secret(name.value.clone())),
            credentials: vec![("credentials.json", secret), ("config.yml", config)],
        })
    }
}

/// Where a tunnel of this environment is.
fn tunnel(writing: &mut Writing<'_, '_, '_>, name: &Placed<ResourceName>) -> Option<InstanceKey> {
    let address = writing.scope.refer(writing.reading, Kind::Tunnel, name)?;
    // One that is nowhere is at fault by itself.
    let targets = writing.scope.defined(Kind::Tunnel, &name.value)?.targets?;
    if targets.len() > 1 {
        let list = targets.iter().map(|target| format!("`{target}`")).collect::<Vec<_>>().join(", ");
        let message = format!("`tunnel.{}` is on {list}, and each has a token of its own", name.value);
        writing.reading.fault(Fault::new(name.place, message).hint("give the tunnel one target by `on`"));
        return None;
    }
    Some(address.on(targets.first()?.clone()))
}

/// A file that holds a secret, which stands beside it.
pub(super) fn secret_file(path: &str) -> Value {
    Value::table([("path", path.into()), ("mode", "0600".into())])
}

fn rule(writing: &mut Writing<'_, '_, '_>, written: &Placed<LocalIngressToml>) -> Option<serde_json::Value> {
    let Placed { place, value: LocalIngressToml { hostname, path, service } } = written;
    if hostname.is_none() && path.is_none() {
        let hint = "give it a `hostname` or a `path`; what no rule matches is answered with 404";
        writing.reading.fault(Fault::new(*place, "this rule matches everything").hint(hint));
        return None;
    }
    let none = std::collections::BTreeSet::new();
    let service = required(writing.reading, (*place, &none), "service", service.as_ref(), "such as `http://localhost:8080`")?;
    let mut rule = serde_json::Map::new();
    let mut add = |key: &str, place, checked| {
        if let Some(text) = writing.reading.check::<String>(place, checked) {
            rule.insert(key.to_owned(), text.into());
        }
    };
    if let Some(written) = hostname {
        add("hostname", written.place, names::hostname(&written.value));
    }
    if let Some(written) = path {
        add("path", written.place, names::path(&written.value));
    }
    add("service", service.place, names::service(&service.value));
    Some(rule.into())
}
