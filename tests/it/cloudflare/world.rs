//! An account behind a counting proxy, and a provider that calls it: what these tests stand on.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use trunkline::edge::Edge;
use trunkline::model::{
    Binding, Content, Contents, Digest, InstanceKey, Marker, Module, ModuleType, Observed, Present, Properties, ResourceName,
    Revision, Route, Secret, SecretError, SecretMark, SecretResolver, Spec, Value, WorkerSpec, canonical_digest,
};
use trunkline::plan::{Action, Change, Owned, Precondition};
use trunkline::provider::cloudflare::{CloudflareProvider, Options, Paces, Patience, connect};
use trunkline::provider::{Lookup, Order, Outcome, Provider, Query, Receipt};

use crate::proxy::Proxy;

pub(super) const ACCOUNT: &str = "0123456789abcdef0123456789abcdef";
pub(super) const TOKEN: &str = "edge-token";

/// The one secret of these tests, and its value.
pub(super) const SECRET: (&str, &str) = ("stripe-key", "s3cr3t-value-of-stripe");

/// A provider, and what it calls.
pub(super) struct World {
    /// The account: an edge on loopback, with its data in a folder of its own.
    pub(super) edge: Edge,
    pub(super) proxy: Proxy,
    pub(super) provider: CloudflareProvider,
    /// What is owned; kept as the daemon would.
    pub(super) inventory: BTreeMap<InstanceKey, Owned>,
    pub(super) operations: u32,
    pub(super) contents: Contents,
    _data: TempDir,
}

/// The key of `CLIENT`, made for these tests.
pub(super) const CLIENT_KEY: &str = include_str!("client.key");

pub(super) struct Resolver;

impl SecretResolver for Resolver {
    fn resolve(&self, name: &ResourceName) -> Result<Secret, SecretError> {
        match name.as_str() {
            n if n == SECRET.0 => Ok(Secret::new(SECRET.1.as_bytes().to_vec())),
            // The value of each is in its name, for those who look for it everywhere.
            n if n.starts_with("value-") => Ok(Secret::new(format!("s3cr3t-of-{n}").into_bytes())),
            "client-key" => Ok(Secret::new(CLIENT_KEY.as_bytes().to_vec())),
            "bytes" => Ok(Secret::new(vec![0xff, 0xfe])),
            _ => Err(SecretError::Undefined(name.clone())),
        }
    }
    fn mark(&self, name: &ResourceName) -> Result<String, SecretError> {
        Ok(Digest::of(self.resolve(name)?.expose()).to_string())
    }
}

/// How patient the provider of these tests is.
pub(super) fn patience() -> Patience {
    Patience {
        read: Duration::from_secs(10),
        write: Duration::from_secs(10),
        wait: Duration::from_secs(5),
        ..Patience::default()
    }
}

/// A provider that calls `address` with `token`.
pub(super) fn provider(address: SocketAddr, token: &str, patience: Patience) -> CloudflareProvider {
    paced(address, token, patience, Paces::new(4))
}

/// The same with paces that others share.
pub(super) fn paced(address: SocketAddr, token: &str, patience: Patience, paces: Paces) -> CloudflareProvider {
    // The second call in a process finds it installed.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    connect(Options {
        endpoint: format!("http://{address}/client/v4"),
        account_id: ACCOUNT.to_owned(),
        token: Secret::new(token.as_bytes().to_vec()),
        settle: Duration::ZERO,
        secrets: Arc::new(Resolver),
        client: None,
        paces,
        patience,
    })
    .unwrap_or_else(|error| panic!("{error}"))
}

pub(super) fn key(text: &str) -> InstanceKey {
    text.parse().unwrap()
}

/// Settings that every Worker has, whether a definition says them or not.
const SETTINGS: [&str; 4] = ["logpush", "observability", "placement", "tail_consumers"];

/// A Worker with one module, and nothing else.
pub(super) fn worker(script: &str) -> WorkerSpec {
    WorkerSpec {
        script: script.to_owned(),
        main: "index.js".to_owned(),
        modules: BTreeMap::new(),
        compatibility_date: Some("2026-11-01".to_owned()),
        compatibility_flags: BTreeSet::new(),
        bindings: BTreeMap::new(),
        crons: BTreeSet::new(),
        routes: BTreeSet::new(),
        workers_dev: false,
        ..WorkerSpec::default()
    }
}

/// A plain var.
pub(super) fn var(text: &str) -> Binding {
    Binding::PlainText { text: text.to_owned() }
}

/// A route of `example.com`.
pub(super) fn route(pattern: &str) -> Route {
    Route { pattern: pattern.to_owned(), zone_name: "example.com".to_owned() }
}

/// What a plan would hold: the desired properties, with secrets marked and KV ids known.
fn resolved(spec: &Spec, inventory: &BTreeMap<InstanceKey, Owned>, key: &InstanceKey) -> Properties {
    fn known(value: &mut Value, inventory: &BTreeMap<InstanceKey, Owned>, key: &InstanceKey) {
        match value {
            Value::Pending { pending } => {
                let owned = &inventory[&pending.address.on(key.target.clone())];
                *value = Value::text(&owned.attributes[&pending.attribute]);
            }
            Value::Table(table) => table.values_mut().for_each(|value| known(value, inventory, key)),
            _ => {}
        }
    }
    let marks = spec.secrets().into_iter().filter_map(|name| Some((name.clone(), SecretMark::Hmac(Resolver.mark(&name).ok()?))));
    let mut properties = spec.properties(&marks.collect());
    properties.values_mut().for_each(|value| known(value, inventory, key));
    properties
}

impl World {
    /// A new one, with nothing in it.
    pub(super) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// The same, with links to private networks, and with the records of what no edge can run.
    pub(super) async fn start_whole() -> Self {
        Self::with(|options| (options.private_network, options.stand_in) = (true, true)).await
    }

    async fn with(also: impl FnOnce(&mut trunkline::edge::Options)) -> Self {
        let data = TempDir::new().expect("a temporary folder");
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        let token = Secret::new(TOKEN.as_bytes().to_vec());
        let mut options = trunkline::edge::Options::new(free, free, data.path().join("edge"), token);
        options.workerd = Some(workerd());
        options.guard = Some(env!("CARGO_BIN_EXE_trunkline").into());
        also(&mut options);
        let edge = trunkline::edge::start(options).await.unwrap_or_else(|error| panic!("{error}"));
        let proxy = Proxy::start(edge.api_addr()).await;
        let provider = provider(proxy.address, TOKEN, patience());
        Self { edge, proxy, provider, inventory: BTreeMap::new(), operations: 0, contents: Contents::new(), _data: data }
    }

    /// What a Worker answers on a host.
    pub(super) async fn answer(&self, host: &str, path: &str) -> String {
        let url = format!("http://{}{path}", self.edge.http_addr());
        let request = http_client().get(url).header("host", host);
        request.send().await.expect("an answer").text().await.expect("a text")
    }

    /// Gives `worker` a module.
    pub(super) fn module(&mut self, worker: &mut WorkerSpec, name: &str, module_type: ModuleType, source: &str) {
        let content = Content::of(source.as_bytes());
        self.contents.insert(content.sha256, source.as_bytes().into());
        worker.modules.insert(name.to_owned(), Module { module_type, content });
    }

    /// What is there of one instance.
    pub(super) async fn observe(&self, key: &InstanceKey, spec: Option<&Spec>, deep: bool) -> Observed {
        let owned = self.inventory.get(key).cloned();
        let claim = spec.map(Spec::claim).or(owned.as_ref().map(|o| o.claim.as_str())).expect("a claim").to_owned();
        let lookup = Lookup { claim, spec: spec.cloned(), owned };
        let query = Query { instances: [(key.clone(), lookup)].into(), deep, ..Query::default() };
        let lookup = query.instances[key].clone();
        let mut observed =
            self.provider.observe(&query).await.unwrap_or_else(|error| panic!("{error}")).remove(key).expect("an entry");
        if let Observed::Present(present) = &mut observed {
            // The planner leaves settings alone that are neither desired nor were applied by us.
            let desired = lookup.spec.as_ref().map(|spec| spec.properties(&BTreeMap::new()));
            let is_ours = |field: &str| {
                desired.as_ref().is_some_and(|d| d.contains_key(field))
                    || lookup.owned.as_ref().is_some_and(|o| o.properties.contains_key(field))
            };
            present.properties.retain(|field, _| !SETTINGS.contains(&field.as_str()) || is_ours(field));
            // It also leaves alone what the target adds to a binding of ours: the id of a class's namespace.
            if let Some(Value::Table(bindings)) = present.properties.get_mut("bindings") {
                for binding in bindings.values_mut() {
                    if let Value::Table(fields) = binding
                        && fields.get("type") == Some(&Value::text("durable_object_namespace"))
                    {
                        fields.remove("namespace_id");
                    }
                }
            }
        }
        observed
    }

    pub(super) async fn present(&self, key: &InstanceKey, spec: Option<&Spec>, deep: bool) -> Present {
        match self.observe(key, spec, deep).await {
            Observed::Present(present) => *present,
            other => panic!("{key}: {other:?}"),
        }
    }

    /// The order that a plan would make of what is there and what is desired.
    pub(super) async fn order(&mut self, action: Action, key: &InstanceKey, spec: Option<&Spec>) -> Order {
        let observed = self.observe(key, spec, false).await;
        self.operations += 1;
        let owned = self.inventory.get(key);
        let after = spec.filter(|_| action != Action::Delete).map(|spec| resolved(spec, &self.inventory, key));
        let mut foreign = BTreeMap::new();
        let before = observed.present().map(|present| {
            let mut before = present.properties.clone();
            for table in ["bindings", "crons", "routes"] {
                let names = |p: Option<&Properties>| -> BTreeSet<String> {
                    p.and_then(|p| p.get(table)?.as_table()).into_iter().flat_map(|t| t.keys().cloned()).collect()
                };
                let mut ours = names(after.as_ref());
                ours.extend(names(owned.map(|o| &o.properties)));
                if let Some(Value::Table(items)) = before.get_mut(table) {
                    let theirs: BTreeSet<String> = items.keys().filter(|name| !ours.contains(*name)).cloned().collect();
                    items.retain(|name, _| !theirs.contains(name));
                    foreign.insert(table.to_owned(), theirs);
                }
            }
            before
        });
        let desired = canonical_digest(&after);
        let revision: Revision = format!("main@sha1:{}", "a".repeat(40)).parse().unwrap();
        let operation = format!("operation-{}", self.operations);
        Order {
            change: Change {
                key: key.clone(),
                action,
                claim: spec.map(Spec::claim).or(owned.map(|o| o.claim.as_str())).expect("a claim").to_owned(),
                from: None,
                before,
                after,
                foreign,
                precondition: match observed.present() {
                    Some(present) => Precondition::Fingerprint(present.fingerprint.clone()),
                    None => Precondition::Absent,
                },
                after_changes: BTreeSet::new(),
                depends_on: BTreeSet::new(),
                desired,
                reversal: Default::default(),
                why: Vec::new(),
            },
            spec: spec.cloned(),
            marker: Marker { key: key.clone(), revision: revision.clone(), desired, operation },
            revision,
            contents: Arc::new(self.contents.clone()),
            tokens: Default::default(),
            earlier: Vec::new(),
        }
    }

    /// Carries one order out, and records what was done.
    pub(super) async fn carry_out(&mut self, order: &Order) -> Outcome {
        let outcome = self.provider.carry_out(std::slice::from_ref(order)).await.pop().expect("an outcome");
        if let Outcome::Done(receipt) = &outcome {
            self.record(order, receipt);
        }
        outcome
    }

    /// Records what was done, as the daemon would.
    pub(super) fn record(&mut self, order: &Order, receipt: &Receipt) {
        let key = &order.change.key;
        if order.change.action == Action::Delete {
            self.inventory.remove(key);
            return;
        }
        let owned = Owned {
            claim: order.change.claim.clone(),
            properties: receipt.properties.clone(),
            attributes: receipt.attributes.clone(),
            fingerprint: receipt.fingerprint.clone(),
            desired: order.change.desired,
            revision: order.revision.clone(),
            operation: order.marker.operation.clone(),
            depends_on: BTreeSet::new(),
        };
        self.inventory.insert(key.clone(), owned);
    }

    /// Makes it so, which must succeed; gives the writes that it took.
    pub(super) async fn apply(&mut self, action: Action, key: &InstanceKey, spec: &Spec) -> Vec<String> {
        let order = self.order(action, key, Some(spec)).await;
        self.proxy.reset();
        done(self.carry_out(&order).await);
        self.proxy.writes()
    }

    /// What is desired, as a plan would compare it.
    pub(super) fn desired(&self, key: &InstanceKey, spec: &Spec) -> Properties {
        resolved(spec, &self.inventory, key)
    }

    /// Calls the API as somebody else.
    pub(super) async fn foreign(&self, method: http::Method, path: &str, body: Option<serde_json::Value>) -> serde_json::Value {
        let mut request = self.request(method, path);
        if let Some(body) = body {
            request = request.json(&body);
        }
        answered(request).await
    }

    /// The same with a body of any type.
    pub(super) async fn foreign_bytes(&self, path: &str, content_type: &str, body: String) -> serde_json::Value {
        answered(self.request(http::Method::POST, path).header("content-type", content_type).body(body)).await
    }

    fn request(&self, method: http::Method, path: &str) -> reqwest::RequestBuilder {
        let url = format!("http://{}/client/v4{path}", self.proxy.address);
        http_client().request(method, url).bearer_auth(TOKEN)
    }
}

fn http_client() -> reqwest::Client {
    trunkline::provider::cloudflare::http_client(&patience()).unwrap_or_else(|error| panic!("{error}"))
}

/// A program that `tests/run` installs.
pub(super) fn installed(program: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/.cache/npm/node_modules").join(program);
    assert!(path.exists(), "{} is missing: run `tests/run` once, which installs it", path.display());
    path
}

fn workerd() -> PathBuf {
    std::env::var_os("TRUNKLINE_WORKERD").map_or_else(|| installed("workerd/bin/workerd"), PathBuf::from)
}

async fn answered(request: reqwest::RequestBuilder) -> serde_json::Value {
    let response = request.send().await.unwrap();
    let status = response.status();
    let text = response.text().await.unwrap();
    assert!(status.is_success(), "{status} {text}");
    serde_json::from_str(&text).unwrap()
}

pub(super) fn done(outcome: Outcome) -> Receipt {
    match outcome {
        Outcome::Done(receipt) => receipt,
        other => panic!("{}", shown(&other)),
    }
}

/// An outcome with its error's whole chain.
pub(super) fn shown(outcome: &Outcome) -> String {
    format!("{outcome:?}")
}
