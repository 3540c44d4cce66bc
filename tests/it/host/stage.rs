//! A host in a temporary folder, and the few lines of a plan that a test needs.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use trunkline::model::{
    Connect, Content, Contents, DesiredState, EnvironmentId, FileSpec, HostTarget, InstanceKey, Marker, Observed, ResourceName,
    SealedSecret, Secret, SecretMark, SecretResolver, SecretScope, Spec, Sync, canonical_digest,
};
use trunkline::plan::{Action, Change, Owned, Precondition};
use trunkline::provider::host::{Channels, HostProvider, Options, connect};
use trunkline::provider::{Lookup, Order, Outcome, Provider, Query, Receipt};
use trunkline::secrets::{Identities, Opener, seal};

/// One environment's view of a host.
pub(crate) struct Stage {
    pub(crate) root: PathBuf,
    pub(crate) environment: EnvironmentId,
    pub(crate) provider: HostProvider,
    pub(crate) secrets: Arc<Opener>,
    pub(crate) owned: BTreeMap<InstanceKey, Owned>,
}

pub(crate) const VALUE: &str = "hunter2-canary-4711";

impl Stage {
    pub(crate) fn new(root: &Path, environment: &str) -> Self {
        let environment: EnvironmentId = environment.parse().unwrap();
        let secrets = Arc::new(opener(&environment, &[("db-password", VALUE), ("digest-key", "0123456789abcdef")]));
        Self::with_secrets(root, environment, secrets)
    }

    pub(crate) fn with_secrets(root: &Path, environment: EnvironmentId, secrets: Arc<Opener>) -> Self {
        let options = Options {
            agents: None,
            epoch: 1,
            heals: true,
            target: HostTarget { connect: Connect::Local, root: Some(root.to_owned()), offline: Default::default() },
            environment: environment.clone(),
            secrets: secrets.clone(),
            state: PathBuf::from("/nonexistent"),
            channels: Default::default(),
            docker: None,
            containers: BTreeSet::new(),
        };
        let provider = connect(options).unwrap();
        Self { root: root.to_owned(), environment, provider, secrets, owned: BTreeMap::new() }
    }

    /// A host that is reached in another way.
    pub(crate) fn over(root: &Path, target: HostTarget, channels: Channels) -> Self {
        let mut stage = Self::new(root, "production");
        let options = Options {
            agents: None,
            epoch: 1,
            docker: None,
            containers: BTreeSet::new(),
            heals: true,
            target,
            environment: stage.environment.clone(),
            secrets: stage.secrets.clone(),
            state: "/nonexistent".into(),
            channels,
        };
        stage.provider = connect(options).unwrap();
        stage
    }

    pub(crate) fn key(&self, name: &str) -> InstanceKey {
        format!("{}/file.{name}@fra1", self.environment).parse().unwrap()
    }

    pub(crate) fn marks(&self, spec: &FileSpec) -> BTreeMap<ResourceName, SecretMark> {
        self.secrets.marks(&spec.secrets)
    }

    pub(crate) async fn observe(&self, name: &str, spec: Option<&FileSpec>, path: &str) -> Observed {
        let key = self.key(name);
        let owned = self.owned.get(&key).cloned();
        let lookup = Lookup { claim: path.to_owned(), spec: spec.cloned().map(Spec::File), owned };
        let query = Query { instances: [(key.clone(), lookup)].into(), deep: false, ..Query::default() };
        self.provider.observe(&query).await.unwrap().remove(&key).unwrap()
    }

    /// Plans as the room `plan` would: what is there and ours is updated, what is not there is made.
    pub(crate) async fn order(&self, name: &str, file: &File) -> Order {
        let observed = self.observe(name, Some(&file.spec), &file.spec.path).await;
        let present = observed.present();
        let (action, precondition) = match present {
            Some(present) => (Action::Update, Precondition::Fingerprint(present.fingerprint.clone())),
            None => (Action::Create, Precondition::Absent),
        };
        self.order_of(name, action, precondition, Some(file), &file.spec.path)
    }

    pub(crate) fn order_of(
        &self,
        name: &str,
        action: Action,
        precondition: Precondition,
        file: Option<&File>,
        claim: &str,
    ) -> Order {
        let key = self.key(name);
        let spec = file.map(|file| Spec::File(file.spec.clone()));
        let after = file.map(|file| Spec::File(file.spec.clone()).properties(&self.marks(&file.spec)));
        let desired = canonical_digest(&after);
        let revision: trunkline::model::Revision = format!("main@sha1:{}", "a".repeat(40)).parse().unwrap();
        let operation = uuid::Uuid::now_v7().to_string();
        Order {
            change: Change {
                key: key.clone(),
                action,
                claim: claim.to_owned(),
                from: None,
                before: None,
                after,
                foreign: BTreeMap::new(),
                precondition,
                after_changes: BTreeSet::new(),
                depends_on: BTreeSet::new(),
                desired,
                reversal: Default::default(),
                why: Vec::new(),
            },
            spec,
            marker: Marker { key, revision: revision.clone(), desired, operation },
            revision,
            contents: Arc::new(file.map(|file| file.contents.clone()).unwrap_or_default()),
            tokens: Default::default(),
            earlier: Vec::new(),
        }
    }

    pub(crate) async fn carry_out(&self, order: Order) -> Outcome {
        let mut outcomes = self.provider.carry_out(&[order]).await;
        assert_eq!(outcomes.len(), 1);
        outcomes.remove(0)
    }

    /// Applies `file`, and shows that the next plan would be empty.
    pub(crate) async fn apply(&mut self, name: &str, file: &File) -> Receipt {
        let order = self.order(name, file).await;
        let (marker, revision) = (order.marker.clone(), order.revision.clone());
        let receipt = done(self.carry_out(order).await);
        let owned = Owned {
            claim: file.spec.path.clone(),
            properties: receipt.properties.clone(),
            attributes: receipt.attributes.clone(),
            fingerprint: receipt.fingerprint.clone(),
            desired: marker.desired,
            revision,
            operation: marker.operation.clone(),
            depends_on: BTreeSet::new(),
        };
        self.owned.insert(self.key(name), owned);
        let observed = self.observe(name, Some(&file.spec), &file.spec.path).await;
        let present = observed.present().unwrap_or_else(|| panic!("{observed:?}"));
        assert_eq!(present.properties, Spec::File(file.spec.clone()).properties(&self.marks(&file.spec)), "it does not converge");
        assert_eq!(present.properties, receipt.properties);
        assert_eq!(present.fingerprint, receipt.fingerprint);
        assert_eq!(present.owner.as_ref(), Some(&self.key(name).address));
        assert_eq!(present.marker, Some(marker));
        receipt
    }

    /// An order to delete what is there now.
    pub(crate) async fn deletion(&self, name: &str, path: &str) -> Order {
        let observed = self.observe(name, None, path).await;
        let precondition =
            observed.present().map_or(Precondition::Absent, |present| Precondition::Fingerprint(present.fingerprint.clone()));
        self.order_of(name, Action::Delete, precondition, None, path)
    }

    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    pub(crate) fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.at(path)).unwrap()
    }

    pub(crate) fn mode(&self, path: &str) -> u32 {
        std::fs::symlink_metadata(self.at(path)).unwrap().mode() & 0o7777
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        std::fs::create_dir_all(self.at(path).parent().unwrap()).unwrap();
        std::fs::write(self.at(path), text).unwrap();
    }
}

/// A desired file with its bytes.
#[derive(Clone)]
pub(crate) struct File {
    pub(crate) spec: FileSpec,
    pub(crate) contents: Contents,
}

pub(crate) fn file(path: &str, text: &str) -> File {
    let content = Content::of(text.as_bytes());
    let spec = FileSpec {
        path: path.to_owned(),
        content,
        secrets: BTreeSet::new(),
        tokens: BTreeMap::new(),
        mode: 0o644,
        owner: None,
        group: None,
        validate: None,
    };
    File { spec, contents: [(content.sha256, Arc::from(text.as_bytes()))].into() }
}

impl File {
    pub(crate) fn mode(mut self, mode: u32) -> Self {
        self.spec.mode = mode;
        self
    }

    pub(crate) fn owner(mut self, owner: &str, group: &str) -> Self {
        self.spec.owner = Some(owner.to_owned());
        self.spec.group = Some(group.to_owned());
        self
    }

    pub(crate) fn secret(mut self, name: &str) -> Self {
        self.spec.secrets.insert(name.parse().unwrap());
        self
    }

    pub(crate) fn validate(mut self, argv: &[&str]) -> Self {
        self.spec.validate = Some(argv.iter().map(|&argument| argument.to_owned()).collect());
        self
    }
}

pub(crate) fn opener(environment: &EnvironmentId, values: &[(&str, &str)]) -> Opener {
    let (text, recipient) = Identities::generate();
    let sealed = values.iter().map(|(name, value)| {
        let name: ResourceName = name.parse().unwrap();
        let scope = SecretScope { environment: environment.clone(), name: name.clone() };
        let age = seal(std::slice::from_ref(&recipient), &scope, &Secret::new(value.as_bytes().to_vec())).unwrap();
        (name, SealedSecret { age })
    });
    let desired = DesiredState {
        environment: environment.clone(),
        description: None,
        retire: false,
        sync: Sync::default(),
        digest_key: Some("digest-key".parse().unwrap()),
        targets: BTreeMap::new(),
        resources: BTreeMap::new(),
        secrets: sealed.collect(),
        policies: BTreeMap::new(),
    };
    let identities = Identities::parse(&text).unwrap_or_else(|error| panic!("{error}"));
    let opener = Opener::new(Some(Arc::new(identities)), &desired);
    assert!(opener.resolve(&"digest-key".parse().unwrap()).is_ok());
    opener
}

pub(crate) fn done(outcome: Outcome) -> Receipt {
    match outcome {
        Outcome::Done(receipt) => receipt,
        other => panic!("{}", shown(&other)),
    }
}

/// The outcome with every cause, as a person would see it.
pub(crate) fn shown(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Done(_) => "done".to_owned(),
        Outcome::Conflict(message) => format!("conflict: {message}"),
        Outcome::Refused(error) => format!("refused: {error}: {:?} ({:?})", error.source, error.hint),
        Outcome::Unknown(error) => format!("unknown: {error}: {:?}", error.source),
        Outcome::NotBegun(needed) => format!("not begun: {needed}"),
    }
}

/// Every file beneath `folder` with its mode, links not followed.
pub(crate) fn tree(folder: &Path) -> BTreeMap<String, u32> {
    let mut found = BTreeMap::new();
    let mut left = vec![folder.to_owned()];
    while let Some(next) = left.pop() {
        for entry in std::fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            let metadata = std::fs::symlink_metadata(&path).unwrap();
            if metadata.is_dir() {
                left.push(path.clone());
            }
            let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
            found.insert(name, metadata.permissions().mode() & 0o7777);
        }
    }
    found
}

/// The same without the state folder.
pub(crate) fn managed(folder: &Path) -> BTreeMap<String, u32> {
    tree(folder).into_iter().filter(|(name, _)| !name.starts_with("var/lib/trunkline/")).collect()
}
