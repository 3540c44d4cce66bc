//! The kinds that the platform keeps in lists: one file for each, from the table as it is written to its specification.
//!
//! A kind is its written type, which implements [`PlatformToml`], a line in [`KINDS`], a field of the written environment, and
//! its lines in [`super::fields`]. Its fields are in the words of the REST API.

/// What every table of these kinds has; `$name` is the key that says what it is called.
macro_rules! heads {
    ($name:ident) => {
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
            self.$name.as_ref()
        }
    };
}

mod cache_rule;
mod d1;
mod dispatch_namespace;
mod dns;
mod domain;
mod hyperdrive;
mod kv;
mod mtls_certificate;
pub(super) mod names;
mod queue;
mod r2;
mod tunnel;
mod vpc_service;
pub(super) mod zone;

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;

use super::origin::Tracing;
use super::reading::Reading;
use super::scalar::Refused;
use super::scope::{Draft, Scope};
use super::selector::OnToml;
use super::worker::Reference;
use crate::document::{Absent, Decoded, Fault, Node, Place, Placed, decode, shown};
use crate::model::{Address, Contents, Kind, Pending, PlatformSpec, Properties, ResourceName, TreeError, Value};

pub(super) use cache_rule::CacheRuleToml;
pub(super) use d1::D1Toml;
pub(super) use dispatch_namespace::DispatchNamespaceToml;
pub(super) use dns::DnsToml;
pub(super) use domain::DomainToml;
pub(super) use hyperdrive::HyperdriveToml;
pub(super) use kv::KvToml;
pub(super) use mtls_certificate::MtlsCertificateToml;
pub(super) use queue::QueueToml;
pub(super) use r2::R2Toml;
pub(super) use tunnel::TunnelToml;
pub(super) use vpc_service::VpcServiceToml;

/// Location hints. Source: the API's types (npm `cloudflare` 7.3.0).
const LOCATIONS: [&str; 6] = ["apac", "eeur", "enam", "oc", "weur", "wnam"];

/// Where data must stay.
const JURISDICTIONS: [&str; 2] = ["eu", "fedramp"];

/// A table of one of these kinds, as it is written.
pub(super) trait PlatformToml {
    /// The targets that it names.
    fn on(&self) -> Option<&Placed<OnToml>>;
    /// Take over a thing of this name that is there and not ours.
    fn adopt(&self) -> bool;
    /// Its former key.
    fn moved(&self) -> Option<&Placed<ResourceName>>;
    /// What it is called, where the table says it.
    fn named(&self) -> Option<&Placed<String>>;
    /// Whether one that we own keeps the name that it has, whatever its key becomes.
    fn keeps_its_claim(&self) -> bool {
        self.named().is_none()
    }
    /// What it is called at the target, checked. `default` is what it is called where the table does not say, at the
    /// place of its key.
    fn claim(&self, reading: &mut Reading<'_>, default: Placed<String>) -> Option<String>;
    /// Its specification; `None` where something about it is at fault.
    ///
    /// # Errors
    /// Where the database cannot be read.
    fn spec(&self, writing: &mut Writing<'_, '_, '_>) -> Result<Option<PlatformSpec>, TreeError>;
    /// What is defined with it and is a resource of its own, under the same key, because others come between the two.
    fn further(&self, _writing: &mut Writing<'_, '_, '_>) -> Option<PlatformSpec> {
        None
    }
    /// What the binding of a Worker to it says besides, in the words of the API.
    fn bound(&self) -> Properties {
        Properties::new()
    }
}

/// A draft of one of these kinds.
pub(super) type PlatformDraft = Draft<Box<dyn PlatformToml>>;

type Decode = fn(&Node, &[Absent]) -> Decoded<Box<dyn PlatformToml>>;

/// The kinds, and how a table of each is read.
pub(super) const KINDS: [(Kind, Decode); 12] = [
    (Kind::Kv, boxed::<KvToml>),
    (Kind::R2, boxed::<R2Toml>),
    (Kind::D1, boxed::<D1Toml>),
    (Kind::Queue, boxed::<QueueToml>),
    (Kind::Hyperdrive, boxed::<HyperdriveToml>),
    (Kind::Tunnel, boxed::<TunnelToml>),
    (Kind::VpcService, boxed::<VpcServiceToml>),
    (Kind::MtlsCertificate, boxed::<MtlsCertificateToml>),
    (Kind::DispatchNamespace, boxed::<DispatchNamespaceToml>),
    (Kind::Dns, boxed::<DnsToml>),
    (Kind::Domain, boxed::<DomainToml>),
    (Kind::CacheRule, boxed::<CacheRuleToml>),
];

fn boxed<T: PlatformToml + DeserializeOwned + 'static>(node: &Node, later: &[Absent]) -> Decoded<Box<dyn PlatformToml>> {
    let Decoded { value, faults, dropped } = decode::<T>(node, later);
    Decoded { value: value.map(|value| Box::new(value) as Box<dyn PlatformToml>), faults, dropped }
}

/// What a table is turned into its specification with.
pub(super) struct Writing<'a, 'r, 't> {
    pub(super) reading: &'a mut Reading<'r>,
    pub(super) scope: &'a Scope,
    pub(super) draft: &'a PlatformDraft,
    pub(super) tracing: &'a mut Tracing,
    pub(super) contents: &'t mut Contents,
    /// What it refers to; filled in on the way.
    pub(super) references: Vec<Reference>,
}

impl Writing<'_, '_, '_> {
    /// `field` is written at `place`, if it is written at all.
    pub(super) fn trace(&mut self, field: &str, place: Option<Place>) {
        self.tracing.field(self.reading, field, place);
    }

    /// A key that a table at `place`, inside of the key `outer`, must have.
    pub(super) fn required_at<'w, T>(
        &mut self,
        (place, outer): (Place, &str),
        key: &str,
        value: &'w Option<T>,
        hint: &str,
    ) -> Option<&'w T> {
        // Which key was dropped inside of another is not said; one fault is enough then.
        let dropped: BTreeSet<String> = self.draft.dropped.get(outer).iter().map(|_| key.to_owned()).collect();
        super::scope::required(self.reading, (place, &dropped), key, value.as_ref(), hint)
    }

    /// A key that the table must have.
    pub(super) fn required<T>(&mut self, key: &str, value: Option<T>, hint: &str) -> Option<T> {
        super::scope::required(self.reading, (self.draft.key, &self.draft.dropped), key, value, hint)
    }

    /// One of `words`, as it is written.
    pub(super) fn word(&mut self, field: &str, written: Option<&Placed<String>>, words: &[&str]) -> Option<Value> {
        let written = written?;
        self.trace(field, Some(written.place));
        if words.contains(&written.value.as_str()) {
            return Some(Value::text(&written.value));
        }
        let hint = crate::document::did_you_mean(&written.value, words.iter().copied())
            .unwrap_or_else(|| format!("write one of {}", words.iter().map(|w| format!("`{w}`")).collect::<Vec<_>>().join(", ")));
        self.reading.fault(Fault::new(written.place, format!("`{}` is not known here", shown(&written.value))).hint(hint));
        None
    }

    /// A whole number from `least` to `most`.
    pub(super) fn number(&mut self, field: &str, written: Option<&Placed<i64>>, (least, most): (i64, i64)) -> Option<Value> {
        let written = written?;
        self.trace(field, Some(written.place));
        if (least..=most).contains(&written.value) {
            return Some(Value::Integer(written.value));
        }
        let message = format!("{} is out of bounds", written.value);
        self.reading.fault(Fault::new(written.place, message).hint(format!("write a number from {least} to {most}")));
        None
    }

    /// A text that `check` takes.
    pub(super) fn text(
        &mut self,
        field: &str,
        written: Option<&Placed<String>>,
        check: impl FnOnce(&str) -> Result<String, Refused>,
    ) -> Option<Value> {
        let written = written?;
        self.trace(field, Some(written.place));
        self.reading.check(written.place, check(&written.value)).map(Value::Text)
    }

    /// A key that does not go with the others.
    pub(super) fn unfit(&mut self, place: Option<Place>, message: &str, hint: &str) {
        if let Some(place) = place {
            self.reading.fault(Fault::new(place, message).hint(hint));
        }
    }

    /// True or false.
    pub(super) fn flag(&mut self, field: &str, written: Option<&Placed<bool>>) -> Option<Value> {
        let written = written?;
        self.trace(field, Some(written.place));
        Some(Value::Bool(written.value))
    }

    /// The address of another resource of this environment, which is needed; a fault where there is none.
    pub(super) fn refer(&mut self, kind: Kind, name: &Placed<ResourceName>) -> Option<Address> {
        let address = self.scope.refer(self.reading, kind, name)?;
        self.references.push((kind, name.value.clone(), name.place));
        Some(address)
    }

    /// What the target calls another resource of this environment, known once it is there.
    pub(super) fn pending(&mut self, kind: Kind, name: &Placed<ResourceName>, attribute: &str) -> Option<Value> {
        let address = self.refer(kind, name)?;
        Some(Value::Pending { pending: Pending { address, attribute: attribute.to_owned(), target: None } })
    }

    /// A thing with its name and those of `fields` that are written. Faults of single fields were told already; a bundle
    /// is made only where there is none.
    pub(super) fn finish<const N: usize>(&mut self, kind: Kind, fields: [(&str, Option<Value>); N]) -> Option<PlatformSpec> {
        self.trace(kind.claim_field(), self.draft.written.named().map(|name| name.place));
        let mut spec = PlatformSpec::new(kind, self.draft.claim.clone()?);
        spec.fields.extend(fields.into_iter().filter_map(|(field, value)| Some((field.to_owned(), value?))));
        Some(spec)
    }
}

/// The drafts of these kinds, by kind and key.
pub(super) type Platform = BTreeMap<Kind, BTreeMap<ResourceName, PlatformDraft>>;

/// A table of those of `fields` that are written; `None` where none is.
fn some_of<const N: usize>(fields: [(&str, Option<Value>); N]) -> Option<Value> {
    let table: Properties = fields.into_iter().filter_map(|(field, value)| Some((field.to_owned(), value?))).collect();
    (!table.is_empty()).then_some(Value::Table(table))
}
