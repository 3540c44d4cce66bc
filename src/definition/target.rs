//! Targets: accounts, edges and hosts as they are declared, and which of them a resource selects.

use std::collections::{BTreeMap, BTreeSet};

use super::address;
use super::layer::tables;
use super::reading::Reading;
use super::scalar;
use super::scope::{Scope, checked_name, required, told};
use super::selector::OnToml;
use super::written::{ApiTokenToml, CloudflareToml, EdgeToml, LATER_KEYS};
use crate::document::{Entries, Fault, Node, Place, Placed, Table, decode};
use crate::model::{
    ApiToken, CloudflareTarget, Connect, EdgeTarget, HostTarget, Kind, SshTarget, Target, TargetKind, TargetName,
};

const CLOUDFLARE_API: &str = "https://api.cloudflare.com/client/v4";
/// What an edge is told where the definition says nothing: it takes any.
const EDGE_ACCOUNT: &str = "00000000000000000000000000000000";

impl Scope {
    /// The targets that a resource of `kind` lives on.
    pub(super) fn select(
        &self,
        reading: &mut Reading<'_>,
        kind: Kind,
        key: Place,
        on: Option<&Placed<OnToml>>,
    ) -> BTreeSet<TargetName> {
        let empty = OnToml::default();
        let selector = on.map_or(&empty, |on| &on.value);
        let mut at_fault = false;
        for target in selector.targets.iter().flat_map(|targets| &targets.value) {
            match self.targets.get(&target.value) {
                Some(found) if !found.kind.takes(kind) => {
                    let takers = self.takers(kind);
                    reading.fault(
                        Fault::new(target.place, format!("`{}` takes no {kind}", target.value))
                            .hint(format!("targets that take a {kind}: {takers}")),
                    );
                    at_fault = true;
                }
                Some(_) => {}
                None if self.declared_targets.contains_key(&target.value) => at_fault = true,
                None => {
                    at_fault = true;
                    if !reading.is_partial() {
                        let known = self.declared_targets.keys().map(TargetName::as_str);
                        let hint = crate::document::did_you_mean(target.value.as_str(), known)
                            .unwrap_or_else(|| format!("targets that take a {kind}: {}", self.takers(kind)));
                        reading.fault(Fault::new(target.place, format!("there is no target `{}`", target.value)).hint(hint));
                    }
                }
            }
        }
        let matches = |name: &TargetName, target: &Target| {
            let named = selector.targets.as_ref().is_none_or(|list| list.value.iter().any(|t| t.value == *name));
            named
                && selector.labels.iter().all(|(label, value)| match label.value.as_str() {
                    "region" => target.region.as_deref() == Some(value.value.as_str()),
                    label => target.labels.get(label).is_some_and(|found| *found == value.value),
                })
        };
        let selected: BTreeSet<TargetName> = self
            .targets
            .iter()
            .filter(|(name, target)| target.kind.takes(kind) && matches(name, target))
            .map(|(name, _)| name.clone())
            .collect();
        let all_sound = self.targets.len() == self.declared_targets.len();
        if selected.is_empty() && !at_fault && all_sound && !reading.is_partial() {
            let takers = self.takers(kind);
            reading.fault(match on {
                Some(on) => Fault::new(on.place, "no target matches").hint(format!("targets that take a {kind}: {takers}")),
                None => Fault::new(key, format!("there is no target that takes a {kind}")).hint(match kind {
                    kind if kind.needs_a_system() => {
                        "declare a host without `root` in `fleet/<name>.toml`: below a folder there is no system of its own"
                    }
                    kind if kind.is_of_hosts() => "declare a host in `fleet/<name>.toml`: `[host.origin]`",
                    kind if TargetKind::edge_takes(kind) => "declare an account, `[cloudflare.main]`, or an edge, `[edge.local]`",
                    _ => "no edge can serve it; declare an account, `[cloudflare.main]`",
                }),
            });
        }
        selected
    }

    fn takers(&self, kind: Kind) -> String {
        let takers = self.targets.iter().filter(|(_, target)| target.kind.takes(kind));
        let list: Vec<String> = takers
            .take(8)
            .map(|(name, target)| {
                let region = target.region.iter().map(|region| ("region", region));
                let labels: Vec<String> = region
                    .chain(target.labels.iter().map(|(label, value)| (label.as_str(), value)))
                    .map(|(label, value)| format!("{label} = \"{value}\""))
                    .collect();
                if labels.is_empty() { format!("`{name}`") } else { format!("`{name}` ({})", labels.join(", ")) }
            })
            .collect();
        if list.is_empty() { "none".to_owned() } else { list.join(", ") }
    }

    pub(super) fn read_targets(&mut self, reading: &mut Reading<'_>, whole: &Table, hosts: &Table) {
        let mut owners: BTreeMap<(String, String), (TargetName, Place)> = BTreeMap::new();
        for (kind, table) in [("cloudflare", whole), ("edge", whole), ("host", hosts)] {
            for (name, key, node) in tables(table, kind) {
                let Some(name) = checked_name::<TargetName>(reading, &name, key) else { continue };
                if let Some(first) = self.declared_targets.get(&name) {
                    reading.fault(
                        Fault::new(key, format!("the target `{name}` is declared twice"))
                            .label("again here")
                            .related(*first, "first here")
                            .hint("accounts, edges and hosts share one set of names: rename one of them"),
                    );
                    continue;
                }
                self.declared_targets.insert(name.clone(), key);
                let target = match kind {
                    "cloudflare" => self.cloudflare(reading, key, &node),
                    "edge" => self.edge(reading, key, &node),
                    _ => self.host(reading, &name, (key, &node)),
                };
                let Some(target) = target else { continue };
                if let Some((first, place)) = owners.get(&place_of(&target.kind)) {
                    reading.fault(
                        Fault::new(key, format!("the targets `{first}` and `{name}` are one and the same"))
                            .label("the same again")
                            .related(*place, "first here")
                            .hint("remove one of them, or select it by a label instead"),
                    );
                    continue;
                }
                owners.insert(place_of(&target.kind), (name.clone(), key));
                self.targets.insert(name, target);
            }
        }
    }

    fn cloudflare(&self, reading: &mut Reading<'_>, key: Place, node: &Node) -> Option<Target> {
        let decoded = told(reading, decode::<CloudflareToml>(node, LATER_KEYS));
        let written = decoded.value?;
        let place = (key, &decoded.dropped);
        let account_id = required(reading, place, "account_id", written.account_id, "write the account's id, 32 hex digits");
        let account_id = account_id.and_then(|id| reading.check(id.place, scalar::account_id(&id.value)));
        let api_token = self.token(reading, place, written.api_token);
        let endpoint = match written.endpoint {
            Some(endpoint) => reading.check(endpoint.place, address::endpoint(&endpoint.value)),
            None => Some(CLOUDFLARE_API.to_owned()),
        };
        let (region, labels) = labels(reading, written.region, written.labels);
        let target = CloudflareTarget { account_id: account_id?, api_token: api_token?, endpoint: endpoint? };
        Some(Target { region, labels, kind: TargetKind::Cloudflare(target) })
    }

    fn edge(&self, reading: &mut Reading<'_>, key: Place, node: &Node) -> Option<Target> {
        let decoded = told(reading, decode::<EdgeToml>(node, LATER_KEYS));
        let written = decoded.value?;
        let place = (key, &decoded.dropped);
        let hint = "write the address of its API, such as `https://edge.fra.example.com/client/v4`";
        let endpoint = required(reading, place, "endpoint", written.endpoint, hint);
        let endpoint = endpoint.and_then(|endpoint| reading.check(endpoint.place, address::endpoint(&endpoint.value)));
        let api_token = self.token(reading, place, written.api_token);
        let account_id = match written.account_id {
            Some(id) => reading.check(id.place, scalar::account_id(&id.value)),
            None => Some(EDGE_ACCOUNT.to_owned()),
        };
        let (region, labels) = labels(reading, written.region, written.labels);
        let target = EdgeTarget { endpoint: endpoint?, account_id: account_id?, api_token: api_token? };
        Some(Target { region, labels, kind: TargetKind::Edge(target) })
    }

    fn token(
        &self,
        reading: &mut Reading<'_>,
        place: (Place, &BTreeSet<String>),
        written: Option<Placed<ApiTokenToml>>,
    ) -> Option<ApiToken> {
        let hint = "write `api_token = { secret = \"name\" }` or `{ credential = \"name\" }`";
        match required(reading, place, "api_token", written, hint)?.value {
            ApiTokenToml::Secret(name) => {
                self.secret(reading, &name);
                Some(ApiToken::Secret(name.value))
            }
            ApiTokenToml::Credential(name) => Some(ApiToken::Credential(name.value)),
        }
    }
}

/// What tells two targets apart.
pub(super) fn place_of(kind: &TargetKind) -> (String, String) {
    match kind {
        TargetKind::Cloudflare(target) => (target.endpoint.clone(), target.account_id.clone()),
        TargetKind::Edge(target) => (target.endpoint.clone(), target.account_id.clone()),
        TargetKind::Host(HostTarget { connect, root, offline: _ }) => {
            let machine = match connect {
                Connect::Local => "local".to_owned(),
                Connect::Agent { name } => format!("agent {name}"),
                // Who logs in makes no other machine of it.
                Connect::Ssh(ssh) => SshTarget { user: None, port: ssh.port.or(Some(22)), ..ssh.clone() }.to_string(),
            };
            (machine, root.as_ref().map_or_else(|| "/".to_owned(), |root| root.display().to_string()))
        }
    }
}

pub(super) fn labels(
    reading: &mut Reading<'_>,
    region: Option<Placed<String>>,
    labels: Option<Entries<Placed<String>>>,
) -> (Option<String>, BTreeMap<String, String>) {
    let region = region.and_then(|region| reading.check(region.place, scalar::label(&region.value)));
    let mut checked = BTreeMap::new();
    for (key, value) in labels.unwrap_or_default().0 {
        if matches!(key.value.as_str(), "region" | "targets") {
            let message = format!("`{}` cannot be a label", key.value);
            reading
                .fault(Fault::new(key.place, message).hint("`region` is a key of the target itself; `targets` selects by name"));
            continue;
        }
        let name = reading.check(key.place, scalar::label(&key.value));
        if let (Some(name), Some(value)) = (name, reading.check(value.place, scalar::label(&value.value))) {
            checked.insert(name, value);
        }
    }
    (region, checked)
}
