//! An account that is kept by definitions: what is written in TOML, planned and carried out as the daemon does it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use trunkline::definition::{Cache, resolve};
use trunkline::import::{self, Imported};
use trunkline::model::{
    Address, Bundle, InstanceKey, Marker, MemoryTree, ObservedState, ResourceName, Revision, Secret, SecretMark, SecretResolver,
};
use trunkline::plan::{Attempt, Change, Input, Plan, Resolution, lookups, plan, records, recover, resolve_pending};
use trunkline::provider::cloudflare::{Asked, survey};
use trunkline::provider::{Lookup, Order, Outcome, Provider, Query};

use super::world::{ACCOUNT, Resolver, TOKEN, World, shown};

/// An account, and the repository that says what is in it.
pub(super) struct Account {
    pub(super) world: World,
    tree: MemoryTree,
    /// The files of it that a test wrote.
    written: Vec<String>,
    /// Whose deletion is acknowledged.
    pub(super) acknowledged: BTreeSet<Address>,
    attempts: Vec<Attempt>,
}

const COMMIT: &str = "1a2b3c4d5e6f708192a3b4c5d6e7f80912345678";

fn revision() -> Revision {
    format!("main@sha1:{COMMIT}").parse().unwrap()
}

impl Account {
    pub(super) async fn start() -> Self {
        let world = World::start_whole().await;
        let mut tree = MemoryTree::default();
        let target = format!(
            "[cloudflare.main]\naccount_id = \"{ACCOUNT}\"\napi_token = {{ credential = \"token\" }}\nendpoint = \"http://{}/client/v4\"\n",
            world.proxy.address
        );
        tree.insert("trunkline.toml", "format = 1\n");
        tree.insert("environments/p/targets.toml", target);
        tree.insert("environments/p/secrets.toml", secrets());
        tree.insert("w/index.js", "export default { fetch: () => new Response('x'), async queue() {} }\n");
        tree.insert("certs/client.pem", include_str!("client.pem"));
        tree.insert("certs/other.pem", include_str!("other.pem"));
        Self { world, tree, written: Vec::new(), acknowledged: BTreeSet::new(), attempts: Vec::new() }
    }

    /// Writes a file of the repository.
    pub(super) fn write(&mut self, path: &str, text: &str) {
        self.tree.insert(path, text);
        self.written.push(path.to_owned());
    }

    /// What the environment is from now on.
    pub(super) fn define(&mut self, text: &str) {
        self.write("environments/p/main.toml", text);
    }

    /// Reads all that is there, and defines exactly that from now on.
    pub(super) async fn import(&mut self) -> Imported {
        let endpoint = format!("http://{}/client/v4", self.world.proxy.address);
        let asked = Asked {
            endpoint: endpoint.clone(),
            account_id: ACCOUNT.to_owned(),
            token: Secret::new(TOKEN.as_bytes().to_vec()),
            kinds: import::kinds().into_values().flatten().collect(),
            takes: &|_, _| true,
        };
        let survey = survey(asked).await.unwrap_or_else(|error| panic!("{error}"));
        let account = import::Account {
            shown: "the account",
            account_id: Some(ACCOUNT),
            endpoint: Some(&endpoint),
            credential: "token",
            environment: "p".parse().unwrap(),
            is_repository: true,
        };
        let imported = import::cloudflare(&account, &survey);
        for path in std::mem::take(&mut self.written) {
            self.tree.remove(&path);
        }
        for file in imported.files.iter().filter(|file| !file.targets) {
            self.write(&file.path, &file.text);
        }
        for source in &imported.sources {
            self.tree.insert(&source.path, &source.content);
        }
        imported
    }

    fn bundle(&self) -> Bundle {
        let resolution = resolve(&self.tree, &"p".parse().unwrap(), &mut Cache::new()).unwrap();
        resolution.bundle.unwrap_or_else(|| panic!("{:#?}", resolution.diagnostics))
    }

    async fn observe(&self, sought: BTreeMap<InstanceKey, trunkline::plan::Sought<'_>>, deep: bool) -> ObservedState {
        let lookup = |sought: trunkline::plan::Sought<'_>| Lookup {
            claim: sought.claim,
            spec: sought.spec.cloned(),
            owned: sought.owned.cloned(),
        };
        let instances = sought.into_iter().map(|(key, sought)| (key, lookup(sought))).collect();
        self.world
            .provider
            .observe(&Query { instances, deep, ..Query::default() })
            .await
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// The plan, from lists or from deep reads; what is as desired is recorded.
    pub(super) async fn plan(&mut self, deep: bool) -> (Bundle, Plan) {
        let bundle = self.bundle();
        let desired = trunkline::plan::inherit_claims(&bundle.desired, &self.world.inventory).into_owned();
        let attempts = std::mem::take(&mut self.attempts);
        let inventory = self.world.inventory.clone();
        let sought = lookups(&desired, &inventory, &attempts).instances;
        let observed = if attempts.is_empty() { ObservedState::new() } else { self.observe(sought, deep).await };
        for (operation, found) in recover(&attempts, &observed, &inventory) {
            let key = attempts.iter().find(|attempt| attempt.operation == operation).map(|attempt| attempt.key.clone());
            match (found, key) {
                (Some(Resolution::Happened(owned)), Some(key)) => drop(self.world.inventory.insert(key, *owned)),
                (Some(Resolution::Gone), Some(key)) => drop(self.world.inventory.remove(&key)),
                _ => {}
            }
        }
        let inventory = self.world.inventory.clone();
        let sought = lookups(&desired, &inventory, &[]);
        let (observed, successors) = (self.observe(sought.instances, deep).await, self.observe(sought.successors, deep).await);
        let marks = marks(&bundle);
        let steering = trunkline::plan::Steering::default();
        let input = Input {
            desired: &desired,
            marks: &marks,
            observed: &observed,
            successors: &successors,
            inventory: &inventory,
            acknowledged: &self.acknowledged,
            commit: COMMIT,
            steering: &steering,
        };
        let planned = plan(&input);
        let learnt = records(&input, &revision());
        learnt.forgotten.iter().for_each(|key| drop(self.world.inventory.remove(key)));
        self.world.inventory.extend(learnt.recorded);
        (Bundle { desired, contents: bundle.contents }, planned)
    }

    /// Plans and carries out, one change after the other, until one is not done; gives the plan and that outcome.
    pub(super) async fn try_apply(&mut self) -> (Plan, Option<Outcome>) {
        let (bundle, planned) = self.plan(false).await;
        assert!(planned.blocked.is_empty(), "{:#?}", planned.blocked);
        for change in &planned.changes {
            let order = self.order(&bundle, change);
            let outcome = self.world.carry_out(&order).await;
            if let Outcome::Done(_) = outcome {
                self.world.inventory.entry(change.key.clone()).and_modify(|owned| owned.depends_on = change.depends_on.clone());
                continue;
            }
            if let Outcome::Unknown(_) = outcome {
                self.attempts.push(attempt(&order));
            }
            return (planned, Some(outcome));
        }
        (planned, None)
    }

    /// The order that carries a change out.
    pub(super) fn order(&mut self, bundle: &Bundle, change: &Change) -> Order {
        self.world.operations += 1;
        let operation = format!("operation-{}", self.world.operations);
        let inventory = &self.world.inventory;
        let known = |key: &InstanceKey| inventory.get(key).map(|owned| owned.attributes.clone());
        let after = change.after.as_ref();
        let after = after.map(|after| resolve_pending(after, &known, &change.key.target).expect("every value is known"));
        Order {
            spec: bundle.desired.resources.get(&change.key).map(|desired| desired.spec.clone()),
            marker: Marker { key: change.key.clone(), revision: revision(), desired: change.desired, operation },
            change: Change { after, ..change.clone() },
            revision: revision(),
            contents: Arc::new(bundle.contents.clone()),
            tokens: Default::default(),
            earlier: Vec::new(),
        }
    }

    /// The same, which must succeed.
    pub(super) async fn apply(&mut self) -> Plan {
        let (planned, failed) = self.try_apply().await;
        if let Some(outcome) = failed {
            panic!("{}", shown(&outcome));
        }
        planned
    }

    /// What was applied is what is there, by lists and by deep reads.
    pub(super) async fn assert_converged(&mut self) {
        for deep in [false, true] {
            let (_, planned) = self.plan(deep).await;
            assert_eq!(lines(&planned), [""; 0], "deep: {deep}");
            assert!(planned.blocked.is_empty() && planned.orphaned.is_empty(), "{planned:#?}");
        }
    }

    /// A path below the account.
    pub(super) fn path(rest: &str) -> String {
        format!("/accounts/{ACCOUNT}/{rest}")
    }

    /// Calls the API as somebody else; gives the result.
    pub(super) async fn foreign(&self, method: &str, path: &str, body: Option<serde_json::Value>) -> serde_json::Value {
        let answer = self.world.foreign(method.parse().unwrap(), &Self::path(path), body).await;
        answer["result"].clone()
    }

    /// What a resource is called at the target.
    pub(super) fn attribute(&self, address: &str, attribute: &str) -> String {
        let key: InstanceKey = format!("p/{address}@main").parse().unwrap();
        self.world.inventory[&key].attributes[attribute].clone()
    }
}

fn attempt(order: &Order) -> Attempt {
    Attempt {
        operation: order.marker.operation.clone(),
        key: order.change.key.clone(),
        action: order.change.action,
        from: order.change.from.clone(),
        claim: order.change.claim.clone(),
        after: order.change.after.clone(),
        desired: order.change.desired,
        revision: revision(),
        lost: false,
        depends_on: order.change.depends_on.clone(),
    }
}

/// The secrets that the definitions of these tests may name.
fn secrets() -> String {
    let secret = |name: &str| {
        format!("[secret.{name}]\nage = '''\n-----BEGIN AGE ENCRYPTED FILE-----\nYWdl\n-----END AGE ENCRYPTED FILE-----\n'''\n")
    };
    ["value-one", "value-two", "client-key"].map(secret).concat()
}

fn marks(bundle: &Bundle) -> BTreeMap<ResourceName, SecretMark> {
    let names = bundle.desired.resources.values().flat_map(|desired| desired.spec.secrets());
    names.filter_map(|name| Some((name.clone(), SecretMark::Hmac(Resolver.mark(&name).ok()?)))).collect()
}

/// The changes of a plan, each with the fields that it changes: `update kv.sessions: title`.
pub(super) fn lines(planned: &Plan) -> Vec<String> {
    let line = |change: &Change| {
        let fields = trunkline::plan::fields(change).iter().map(trunkline::plan::Difference::field).collect::<Vec<_>>();
        let shows = !matches!(change.action, trunkline::plan::Action::Create | trunkline::plan::Action::Delete);
        let fields = if shows { format!(": {}", fields.join(", ")) } else { String::new() };
        format!("{} {}{fields}", change.action.as_str(), change.key.address.local())
    };
    planned.changes.iter().map(line).collect()
}
