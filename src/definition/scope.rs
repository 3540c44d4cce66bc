//! What the tables of one environment can refer to, and the drafts of its resources.

use std::collections::{BTreeMap, BTreeSet};

use super::layer::tables;
use super::reading::Reading;
use super::scalar;
use super::selector::OnToml;
use super::written::{ApiTokenToml, CloudflareToml, EdgeToml, FileToml, HostToml, KvToml, LATER_KEYS, SecretToml, WorkerToml};
use crate::document::{Decoded, Entries, Fault, Node, Place, Placed, Table, decode, shown};
use crate::model::{
    ApiToken, CloudflareTarget, Connect, EdgeTarget, EnvironmentId, HostTarget, Kind, ResourceName, SealedSecret, Target,
    TargetKind, TargetName,
};

const CLOUDFLARE_API: &str = "https://api.cloudflare.com/client/v4";
/// What an edge is told where the definition says nothing: it takes any.
const EDGE_ACCOUNT: &str = "00000000000000000000000000000000";

/// A table that was read, and where.
pub(super) struct Draft<T> {
    pub(super) name: ResourceName,
    /// Where its key stands.
    pub(super) key: Place,
    pub(super) written: T,
    /// Keys that could not be read, and about which nobody complains again.
    pub(super) dropped: BTreeSet<String>,
    pub(super) targets: BTreeSet<TargetName>,
    /// What it is called at its targets; `None` where that is at fault.
    pub(super) claim: Option<String>,
}

pub(super) struct Scope {
    pub(super) environment: EnvironmentId,
    pub(super) targets: BTreeMap<TargetName, Target>,
    /// Where targets are declared, those at fault among them.
    declared_targets: BTreeMap<TargetName, Place>,
    pub(super) secrets: BTreeMap<ResourceName, SealedSecret>,
    /// Secrets that are declared, those at fault among them.
    pub(super) declared_secrets: BTreeSet<ResourceName>,
    pub(super) workers: BTreeMap<ResourceName, Draft<WorkerToml>>,
    pub(super) kv: BTreeMap<ResourceName, Draft<KvToml>>,
    pub(super) files: BTreeMap<ResourceName, Draft<FileToml>>,
}

impl Scope {
    /// Reads all tables of an environment; the first of two passes: nothing but targets is referred to yet.
    pub(super) fn read(reading: &mut Reading<'_>, environment: &EnvironmentId, whole: &Table, hosts: &Table) -> Self {
        let mut scope = Self {
            environment: environment.clone(),
            targets: BTreeMap::new(),
            declared_targets: BTreeMap::new(),
            secrets: BTreeMap::new(),
            declared_secrets: BTreeSet::new(),
            workers: BTreeMap::new(),
            kv: BTreeMap::new(),
            files: BTreeMap::new(),
        };
        scope.read_secrets(reading, whole);
        scope.read_targets(reading, whole, hosts);
        let default_name = |name: &ResourceName| format!("{name}-{}", environment.environment);
        scope.workers = scope.drafts(
            reading,
            (whole, Kind::Worker),
            |t: &WorkerToml| &t.on,
            |reading, name, key, t| {
                let written = t.name.clone().unwrap_or_else(|| Placed { place: key, value: default_name(name) });
                reading.check(written.place, scalar::script_name(&written.value))
            },
        );
        scope.kv = scope.drafts(
            reading,
            (whole, Kind::Kv),
            |t: &KvToml| &t.on,
            |reading, name, key, t| {
                let written = t.title.clone().unwrap_or_else(|| Placed { place: key, value: default_name(name) });
                reading.check(written.place, scalar::title(&written.value))
            },
        );
        scope.files = scope.drafts(
            reading,
            (whole, Kind::File),
            |t: &FileToml| &t.on,
            |reading, _, _, t| {
                let written = t.path.as_ref()?;
                reading.check(written.place, scalar::host_path(&written.value))
            },
        );
        scope
    }

    fn drafts<T: serde::de::DeserializeOwned>(
        &self,
        reading: &mut Reading<'_>,
        (whole, kind): (&Table, Kind),
        on: impl Fn(&T) -> &Option<Placed<OnToml>>,
        claim: impl Fn(&mut Reading<'_>, &ResourceName, Place, &T) -> Option<String>,
    ) -> BTreeMap<ResourceName, Draft<T>> {
        let mut drafts = BTreeMap::new();
        for (name, key, node) in tables(whole, kind.as_str()) {
            let Some((name, decoded)) = named::<ResourceName, T>(reading, &name, key, &node) else { continue };
            let Some(written) = decoded.value else { continue };
            let targets = if decoded.dropped.contains("on") {
                BTreeSet::new()
            } else {
                self.select(reading, kind, key, on(&written).as_ref())
            };
            let claim = claim(reading, &name, key, &written);
            let draft = Draft { name: name.clone(), key, written, dropped: decoded.dropped, targets, claim };
            drafts.insert(name, draft);
        }
        drafts
    }

    /// The targets that a resource of `kind` lives on.
    fn select(&self, reading: &mut Reading<'_>, kind: Kind, key: Place, on: Option<&Placed<OnToml>>) -> BTreeSet<TargetName> {
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
                    Kind::Worker | Kind::Kv => "declare an account, `[cloudflare.main]`, or an edge, `[edge.local]`",
                    Kind::File => "declare a host in `fleet/<name>.toml`: `[host.origin]`",
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

    fn read_secrets(&mut self, reading: &mut Reading<'_>, whole: &Table) {
        for (name, key, node) in tables(whole, "secret") {
            let Some((name, decoded)) = named::<ResourceName, SecretToml>(reading, &name, key, &node) else { continue };
            self.declared_secrets.insert(name.clone());
            let Some(written) = decoded.value else { continue };
            let hint = "write it with `trunkline secrets set`";
            let Some(age) = required(reading, (key, &decoded.dropped), "age", written.age, hint) else { continue };
            match scalar::armor(&age.value) {
                Ok(armored) => {
                    self.secrets.insert(name, SealedSecret { age: armored });
                }
                Err(refused) => reading.fault(Fault::new(age.place, refused.message).maybe_hint(refused.hint).masked()),
            }
        }
    }

    fn read_targets(&mut self, reading: &mut Reading<'_>, whole: &Table, hosts: &Table) {
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
                    _ => host(reading, key, &node),
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
            Some(endpoint) => reading.check(endpoint.place, scalar::endpoint(&endpoint.value)),
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
        let endpoint = endpoint.and_then(|endpoint| reading.check(endpoint.place, scalar::endpoint(&endpoint.value)));
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

    /// Checks that a secret is declared.
    pub(super) fn secret(&self, reading: &mut Reading<'_>, name: &Placed<ResourceName>) {
        if !self.declared_secrets.contains(&name.value) {
            let known = self.declared_secrets.iter().map(ResourceName::as_str);
            reading.dangling(name.place, "secret", name.value.as_str(), known);
        }
    }
}

/// What tells two targets apart.
fn place_of(kind: &TargetKind) -> (String, String) {
    match kind {
        TargetKind::Cloudflare(target) => (target.endpoint.clone(), target.account_id.clone()),
        TargetKind::Edge(target) => (target.endpoint.clone(), target.account_id.clone()),
        TargetKind::Host(HostTarget { connect: Connect::Local, root }) => {
            ("local".to_owned(), root.as_ref().map_or_else(|| "/".to_owned(), |root| root.display().to_string()))
        }
    }
}

fn host(reading: &mut Reading<'_>, key: Place, node: &Node) -> Option<Target> {
    let decoded = told(reading, decode::<HostToml>(node, LATER_KEYS));
    let written = decoded.value?;
    let connect = required(reading, (key, &decoded.dropped), "connect", written.connect, "write `connect = \"local\"`");
    let connect = connect.and_then(|connect| {
        let text = connect.value.as_str();
        if text == "local" {
            return Some(Connect::Local);
        }
        let message = if text == "agent" || text.starts_with("ssh://") {
            format!("`{}` is not supported by this version", shown(text))
        } else {
            format!("`{}` is no way to reach a host", shown(text))
        };
        reading.fault(Fault::new(connect.place, message).hint("write `local`: the daemon's own machine"));
        None
    });
    let root = match written.root {
        Some(root) => Some(reading.check(root.place, scalar::host_path(&root.value))?.into()),
        None => None,
    };
    let (region, labels) = labels(reading, written.region, written.labels);
    Some(Target { region, labels, kind: TargetKind::Host(HostTarget { connect: connect?, root }) })
}

fn labels(
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

/// Tells the faults of a table.
pub(super) fn told<T>(reading: &mut Reading<'_>, mut decoded: Decoded<T>) -> Decoded<T> {
    std::mem::take(&mut decoded.faults).into_iter().for_each(|fault| reading.fault(fault));
    decoded
}

/// A key that a table must have; its absence is told at `place`, the table's key.
pub(super) fn required<T>(
    reading: &mut Reading<'_>,
    (place, dropped): (Place, &BTreeSet<String>),
    key: &str,
    value: Option<T>,
    hint: &str,
) -> Option<T> {
    if value.is_none() && !dropped.contains(key) && !reading.is_partial() {
        reading.fault(Fault::new(place, format!("the key `{key}` is missing")).label("in this table").hint(hint));
    }
    value
}

fn checked_name<N: std::str::FromStr<Err = crate::model::NameError>>(
    reading: &mut Reading<'_>,
    name: &str,
    key: Place,
) -> Option<N> {
    name.parse().map_err(|error: N::Err| reading.fault(Fault::new(key, error.to_string()).hint("rename it"))).ok()
}

fn named<N, T>(reading: &mut Reading<'_>, name: &str, key: Place, node: &Node) -> Option<(N, Decoded<T>)>
where
    N: std::str::FromStr<Err = crate::model::NameError>,
    T: serde::de::DeserializeOwned,
{
    let decoded = told(reading, decode::<T>(node, LATER_KEYS));
    Some((checked_name(reading, name, key)?, decoded))
}
