//! What the tables of one environment can refer to, and the drafts of its resources.

use std::collections::{BTreeMap, BTreeSet};

use super::fields::refused_of;
use super::hosted::{self, Hosted};
use super::ignore;
use super::layer::tables;
use super::platform::{self, Platform};
use super::reading::Reading;
use super::scalar;
use super::selector::OnToml;
use super::written::{FileToml, LATER_KEYS, SecretToml, WorkerToml};
use crate::document::{Absent, Decoded, Fault, Node, Place, Placed, Table, decode};
use crate::model::{Address, EnvironmentId, Kind, ResourceName, SealedSecret, Target, TargetName};

/// A table that was read, and where.
pub(super) struct Draft<T> {
    pub(super) name: ResourceName,
    /// Where its key stands.
    pub(super) key: Place,
    pub(super) written: T,
    /// Keys that could not be read, and about which nobody complains again.
    pub(super) dropped: BTreeSet<String>,
    pub(super) targets: BTreeSet<TargetName>,
    /// The fields that are left as they are once it is there.
    pub(super) ignore: Vec<Placed<String>>,
    /// What it is called at its targets; `None` where that is at fault.
    pub(super) claim: Option<String>,
}

/// How a table of a kind is read.
type Read<T> = fn(&Node, &[Absent]) -> Decoded<T>;

/// What others need to know of a resource.
pub(super) struct Defined<'a> {
    /// Where its key stands.
    pub(super) key: Place,
    /// `None` where they are at fault.
    pub(super) targets: Option<&'a BTreeSet<TargetName>>,
}

pub(super) struct Scope {
    pub(super) environment: EnvironmentId,
    pub(super) targets: BTreeMap<TargetName, Target>,
    /// Where targets are declared, those at fault among them.
    pub(super) declared_targets: BTreeMap<TargetName, Place>,
    pub(super) secrets: BTreeMap<ResourceName, SealedSecret>,
    /// Secrets that are declared, those at fault among them.
    pub(super) declared_secrets: BTreeSet<ResourceName>,
    pub(super) workers: BTreeMap<ResourceName, Draft<WorkerToml>>,
    pub(super) platform: Platform,
    pub(super) files: BTreeMap<ResourceName, Draft<FileToml>>,
    /// What templates see as `host.vars`.
    pub(super) host_vars: BTreeMap<TargetName, serde_json::Map<String, serde_json::Value>>,
    pub(super) hosted: Hosted,
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
            platform: Platform::new(),
            files: BTreeMap::new(),
            host_vars: BTreeMap::new(),
            hosted: Hosted::new(),
        };
        scope.read_secrets(reading, whole);
        scope.read_targets(reading, whole, hosts);
        let default_name = |name: &ResourceName| format!("{name}-{}", environment.environment);
        scope.workers = scope.drafts(
            reading,
            (whole, Kind::Worker, decode::<WorkerToml>),
            |t| t.on.as_ref(),
            |reading, name, key, t| {
                let written = t.name.clone().unwrap_or_else(|| Placed { place: key, value: default_name(name) });
                reading.check(written.place, scalar::script_name(&written.value))
            },
        );
        for (kind, read) in platform::KINDS {
            let drafts = scope.drafts(
                reading,
                (whole, kind, read),
                |t| t.on(),
                |reading, name, key, t| t.claim(reading, Placed { place: key, value: default_name(name) }),
            );
            scope.platform.insert(kind, drafts);
        }
        scope.files = scope.drafts(
            reading,
            (whole, Kind::File, decode::<FileToml>),
            |t| t.on.as_ref(),
            |reading, _, _, t| {
                let written = t.path.as_ref()?;
                reading.check(written.place, scalar::host_path(&written.value))
            },
        );
        for (kind, read) in hosted::KINDS {
            let drafts = scope.drafts(
                reading,
                (whole, kind, read),
                |t| t.on(),
                |reading, name, key, t| t.claim(reading, Placed { place: key, value: name.to_string() }),
            );
            scope.hosted.insert(kind, drafts);
        }
        scope
    }

    fn drafts<T>(
        &self,
        reading: &mut Reading<'_>,
        (whole, kind, read): (&Table, Kind, Read<T>),
        on: impl Fn(&T) -> Option<&Placed<OnToml>>,
        claim: impl Fn(&mut Reading<'_>, &ResourceName, Place, &T) -> Option<String>,
    ) -> BTreeMap<ResourceName, Draft<T>> {
        let mut drafts = BTreeMap::new();
        let refused = refused_of(kind);
        for (name, key, mut node) in tables(whole, kind.as_str()) {
            let ignore = if kind.is_of_hosts() { Vec::new() } else { ignore::taken(reading, &mut node) };
            let decoded = told(reading, read(&node, &refused));
            let Some(name) = checked_name::<ResourceName>(reading, &name, key) else { continue };
            let Some(written) = decoded.value else { continue };
            let targets =
                if decoded.dropped.contains("on") { BTreeSet::new() } else { self.select(reading, kind, key, on(&written)) };
            let claim = claim(reading, &name, key, &written);
            let draft = Draft { name: name.clone(), key, written, dropped: decoded.dropped, targets, ignore, claim };
            drafts.insert(name, draft);
        }
        drafts
    }

    fn read_secrets(&mut self, reading: &mut Reading<'_>, whole: &Table) {
        for (name, key, node) in tables(whole, "secret") {
            let decoded = told(reading, decode::<SecretToml>(&node, LATER_KEYS));
            let Some(name) = checked_name::<ResourceName>(reading, &name, key) else { continue };
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

    /// Where a resource is defined and on which targets it is; no targets where that is at fault.
    pub(super) fn defined(&self, kind: Kind, name: &ResourceName) -> Option<Defined<'_>> {
        fn of<T>(draft: &Draft<T>) -> Defined<'_> {
            Defined { key: draft.key, targets: (!draft.dropped.contains("on")).then_some(&draft.targets) }
        }
        match kind {
            Kind::Worker => self.workers.get(name).map(of),
            Kind::File => self.files.get(name).map(of),
            kind if kind.is_of_hosts() => self.hosted.get(&kind)?.get(name).map(of),
            _ => self.platform.get(&kind)?.get(name).map(of),
        }
    }

    /// The keys of a kind.
    pub(super) fn names(&self, kind: Kind) -> Vec<&ResourceName> {
        match kind {
            Kind::Worker => self.workers.keys().collect(),
            Kind::File => self.files.keys().collect(),
            kind if kind.is_of_hosts() => self.hosted.get(&kind).into_iter().flatten().map(|(name, _)| name).collect(),
            _ => self.platform.get(&kind).into_iter().flatten().map(|(name, _)| name).collect(),
        }
    }

    /// The address of a resource of this environment; a fault where there is none.
    pub(super) fn refer(&self, reading: &mut Reading<'_>, kind: Kind, name: &Placed<ResourceName>) -> Option<Address> {
        if self.defined(kind, &name.value).is_none() {
            let known = self.names(kind).into_iter().map(ResourceName::as_str);
            reading.dangling(name.place, kind.as_str(), name.value.as_str(), known);
            return None;
        }
        Some(Address { environment: self.environment.clone(), kind, name: name.value.clone() })
    }

    /// Checks that a secret is declared.
    pub(super) fn secret(&self, reading: &mut Reading<'_>, name: &Placed<ResourceName>) {
        if !self.declared_secrets.contains(&name.value) {
            let known = self.declared_secrets.iter().map(ResourceName::as_str);
            reading.dangling(name.place, "secret", name.value.as_str(), known);
        }
    }
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

pub(super) fn checked_name<N: std::str::FromStr<Err = crate::model::NameError>>(
    reading: &mut Reading<'_>,
    name: &str,
    key: Place,
) -> Option<N> {
    name.parse().map_err(|error: N::Err| reading.fault(Fault::new(key, error.to_string()).hint("rename it"))).ok()
}
