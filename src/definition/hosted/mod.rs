//! What lives on hosts besides files: one file for each kind, from the table as it is written to its specification.
//!
//! A kind is its written type, which implements [`HostedToml`], a line in [`KINDS`] and a field of the written environment.
//! Its fields are in the words of the system that keeps it.

/// What every table of these kinds has; `$name` is the key that says what it is called.
macro_rules! heads {
    ($name:ident) => {
        fn on(&self) -> Option<&Placed<OnToml>> {
            self.on.as_ref()
        }
        fn moved(&self) -> Option<&Placed<ResourceName>> {
            self.moved.as_ref()
        }
        fn named(&self) -> Option<&Placed<String>> {
            self.$name.as_ref()
        }
    };
}

mod compose;
mod compose_file;
mod compose_service;
mod compose_words;
mod container;
mod container_words;
mod directory;
mod edge_runtime;
mod env;
mod package;
mod pm2;
mod pm2_words;
mod restart;
mod service;
mod tunnel_connector;
mod unit;
mod unit_text;
mod values;

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;

use super::origin::Tracing;
use super::reading::Reading;
use super::scope::{Draft, Scope};
use super::selector::OnToml;
use super::worker::Reference;
use crate::document::{Absent, Decoded, Node, Place, Placed, decode};
use crate::model::{
    Content, Contents, FileSpec, HostedSpec, InstanceKey, Kind, Properties, ResourceName, TargetName, TreeError, Value,
};

pub(super) use compose::ComposeToml;
pub(super) use container::ContainerToml;
pub(super) use directory::DirectoryToml;
pub(super) use edge_runtime::EdgeRuntimeToml;
pub(super) use package::PackageToml;
pub(super) use pm2::Pm2Toml;
pub(super) use tunnel_connector::TunnelConnectorToml;
pub(super) use unit::UnitToml;

/// A table of one of these kinds, as it is written.
pub(super) trait HostedToml {
    /// The targets that it names.
    fn on(&self) -> Option<&Placed<OnToml>>;
    /// Take over a thing of this name that is there and not ours.
    fn adopt(&self) -> bool;
    /// Its former key.
    fn moved(&self) -> Option<&Placed<ResourceName>>;
    /// What it is called, where the table says it.
    fn named(&self) -> Option<&Placed<String>>;
    /// What it is called on its hosts, checked; `default` is its key.
    fn claim(&self, reading: &mut Reading<'_>, default: Placed<String>) -> Option<String>;
    /// Its specification on each host; nothing where something about it is at fault.
    ///
    /// # Errors
    /// Where the database cannot be read.
    fn specs(&self, writing: &mut Writing<'_, '_, '_>) -> Result<Specs, TreeError>;
}

/// The specification of one resource on each of its hosts.
pub(super) type Specs = BTreeMap<TargetName, HostedSpec>;

/// A draft of one of these kinds.
pub(super) type HostedDraft = Draft<Box<dyn HostedToml>>;

type Decode = fn(&Node, &[Absent]) -> Decoded<Box<dyn HostedToml>>;

/// The kinds, and how a table of each is read.
pub(super) const KINDS: [(Kind, Decode); 8] = [
    (Kind::Package, boxed::<PackageToml>),
    (Kind::Directory, boxed::<DirectoryToml>),
    (Kind::Unit, boxed::<UnitToml>),
    (Kind::Container, boxed::<ContainerToml>),
    (Kind::Compose, boxed::<ComposeToml>),
    (Kind::Pm2, boxed::<Pm2Toml>),
    (Kind::TunnelConnector, boxed::<TunnelConnectorToml>),
    (Kind::EdgeRuntime, boxed::<EdgeRuntimeToml>),
];

fn boxed<T: HostedToml + DeserializeOwned + 'static>(node: &Node, later: &[Absent]) -> Decoded<Box<dyn HostedToml>> {
    let Decoded { value, faults, dropped } = decode::<T>(node, later);
    Decoded { value: value.map(|value| Box::new(value) as Box<dyn HostedToml>), faults, dropped }
}

/// The drafts of these kinds, by kind and key.
pub(super) type Hosted = BTreeMap<Kind, BTreeMap<ResourceName, HostedDraft>>;

/// The files of the environment, on each target.
pub(super) type Files = BTreeMap<ResourceName, BTreeMap<TargetName, FileSpec>>;

/// What a table is turned into its specification with.
pub(super) struct Writing<'a, 'r, 't> {
    pub(super) reading: &'a mut Reading<'r>,
    pub(super) scope: &'a Scope,
    pub(super) draft: &'a HostedDraft,
    pub(super) files: &'a Files,
    pub(super) tracing: &'a mut Tracing,
    pub(super) contents: &'t mut Contents,
    /// What it refers to; filled in on the way.
    pub(super) references: Vec<Reference>,
}

impl Writing<'_, '_, '_> {
    /// `field` is written at `place`, if it is written at all.
    fn trace(&mut self, field: &str, place: Option<Place>) {
        self.tracing.field(self.reading, field, place);
    }

    /// The same specification on every host: the name, and those of `fields` that are written. Faults of single fields were
    /// told already; a bundle is made only where there is none.
    fn finish<const N: usize>(&mut self, kind: Kind, fields: [(&str, Option<Value>); N]) -> Specs {
        self.trace(kind.claim_field(), self.draft.written.named().map(|name| name.place));
        let Some(claim) = self.draft.claim.clone() else { return Specs::new() };
        let mut spec = HostedSpec::new(kind, claim);
        spec.fields.extend(fields.into_iter().filter_map(|(field, value)| Some((field.to_owned(), value?))));
        self.draft.targets.iter().map(|target| (target.clone(), spec.clone())).collect()
    }

    /// A unit that we write ourselves, with the files that it is made of besides; it runs, and starts with the machine.
    fn service(&mut self, kind: Kind, text: String, files: Properties, (path, credential): (String, Credential)) -> Specs {
        let content = Content::of(text.as_bytes());
        self.contents.insert(content.sha256, text.into_bytes().into());
        let fields = [
            ("content", Some(content.into())),
            ("enabled", Some(Value::Bool(true))),
            ("files", Some(Value::Table(files))),
            ("state", Some("running".into())),
        ];
        let mut specs = self.finish(kind, fields);
        for spec in specs.values_mut() {
            match &credential {
                Credential::Secret(secret) => drop(spec.secrets.insert(path.clone(), secret.clone())),
                Credential::Token(tunnel) => drop(spec.tokens.insert(path.clone(), tunnel.clone())),
            }
        }
        specs
    }
}

/// What only the service may read.
enum Credential {
    /// A secret of the environment.
    Secret(ResourceName),
    /// The token of a tunnel.
    Token(InstanceKey),
}
