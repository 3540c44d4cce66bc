//! What the executor knows of one environment on this host.
//!
//! **Invariant:** an entry says what was put there and by which operation; content with secrets is described by its
//! placeholders and marks. The digest of what is really there is in it too, and the manifest is readable by its owner
//! only, as the files are.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::file::Facts;
use super::part::Part;
use crate::model::{Content, Digest, InstanceKey, Kind, Marker, Properties, SecretMark};

/// The version of the manifest's form.
pub(super) const FORMAT: u32 = 2;

/// The earlier form, which knows files only, and is read as it is.
pub(super) const FILES_ONLY: u32 = 1;

/// How many replaced versions of a file are kept.
pub(super) const GENERATIONS: usize = 10;

/// Of how many files that are no longer ours the replaced versions are kept.
const FORMER_FILES: usize = 1000;

/// The manifest of one environment.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Manifest {
    /// [`FORMAT`].
    pub(super) format: u32,
    /// The highest epoch seen.
    pub(super) epoch: u64,
    /// The files that are ours.
    pub(super) files: BTreeMap<Part, Entry>,
    /// The files that were begun and of which it is not known here whether they were finished.
    pub(super) pending: BTreeMap<Part, Pending>,
    /// What else is ours.
    #[serde(default)]
    pub(super) things: BTreeMap<InstanceKey, Thing>,
    /// The things that were begun and of which it is not known here whether they were finished.
    #[serde(default)]
    pub(super) begun: BTreeMap<InstanceKey, Begun>,
    /// Folders that we made.
    pub(super) folders: BTreeSet<String>,
    /// What was replaced, by path, oldest first.
    pub(super) history: BTreeMap<String, Vec<PreImage>>,
}

impl Default for Manifest {
    fn default() -> Self {
        Self {
            format: FORMAT,
            epoch: 0,
            files: BTreeMap::new(),
            pending: BTreeMap::new(),
            things: BTreeMap::new(),
            begun: BTreeMap::new(),
            folders: BTreeSet::new(),
            history: BTreeMap::new(),
        }
    }
}

/// A file that is ours.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Entry {
    /// Where it is.
    pub(super) path: String,
    /// The operation that put it there.
    pub(super) marker: Marker,
    /// What stands for its content in plans.
    pub(super) content: Content,
    /// What stands for the secrets in it.
    pub(super) secrets: BTreeMap<String, SecretMark>,
    /// What was really put there.
    pub(super) actual: Facts,
}

impl Entry {
    /// Whether values of secrets are in it.
    pub(super) fn holds_secrets(&self) -> bool {
        !self.secrets.is_empty()
    }
}

/// A thing that is ours.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Thing {
    /// What it is called on the host.
    pub(super) claim: String,
    /// The operation that made it what it is.
    pub(super) marker: Marker,
    /// What it was made, with marks for the secrets.
    pub(super) fields: Properties,
    /// What its kind has to remember of it.
    #[serde(default)]
    pub(super) memory: BTreeMap<String, String>,
    /// Its inputs that were written since it was last started.
    #[serde(default)]
    pub(super) stale: BTreeSet<String>,
    /// A change of it was cut short.
    #[serde(default)]
    pub(super) interrupted: bool,
}

/// The intent to change a thing.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Begun {
    /// What it is to be; `None` where it is to be deleted.
    pub(super) wanted: Option<Thing>,
    /// What it is called on the host.
    pub(super) claim: String,
    /// The key that it leaves.
    pub(super) from: Option<InstanceKey>,
    /// Which run of it there was before.
    pub(super) run: String,
}

/// The claim of a thing, as the links to owners know it: no path has this form.
pub(super) fn claim_of(kind: Kind, claim: &str) -> String {
    if kind == Kind::Directory { claim.to_owned() } else { format!("{kind}:{claim}") }
}

/// The intent to change a file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Pending {
    /// The operation.
    pub(super) operation: String,
    /// The file.
    pub(super) path: String,
    /// What it is to be; `None` where it is to be deleted.
    pub(super) wanted: Option<Entry>,
    /// The key that the file leaves.
    pub(super) from: Option<Part>,
    /// Where the instance was until now, and what it was there: deleted once the new file is there.
    pub(super) old: Option<(String, Facts)>,
    /// Folders that were not there.
    pub(super) folders: Vec<String>,
    /// What is replaced or deleted, by path.
    pub(super) replaced: Vec<(String, PreImage)>,
}

impl Pending {
    /// The paths that it is about.
    pub(super) fn paths(&self) -> impl Iterator<Item = &str> {
        [self.path.as_str()].into_iter().chain(self.old.as_ref().map(|(path, _)| path.as_str()))
    }
}

/// A replaced version of a file; its bytes are kept under their digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PreImage {
    /// What it was.
    pub(super) facts: Facts,
    /// The operation that replaced it.
    pub(super) operation: String,
}

impl Manifest {
    /// Every path and claim that is ours, or may come to be.
    pub(super) fn claims(&self) -> BTreeSet<String> {
        let paths = self.files.values().map(|entry| entry.path.as_str());
        let begun = self.pending.values().flat_map(Pending::paths);
        let things = self.things.iter().map(|(key, thing)| claim_of(key.address.kind, &thing.claim));
        let to_come = self.begun.iter().map(|(key, begun)| claim_of(key.address.kind, &begun.claim));
        paths.chain(begun).map(str::to_owned).chain(things).chain(to_come).collect()
    }

    /// The file that has `path`.
    pub(super) fn at(&self, path: &str) -> Option<(&Part, &Entry)> {
        self.files.iter().find(|(_, entry)| entry.path == path)
    }

    /// The thing of `kind` that is called `claim`.
    pub(super) fn called(&self, kind: Kind, claim: &str) -> Option<(&InstanceKey, &Thing)> {
        self.things.iter().find(|(key, thing)| key.address.kind == kind && thing.claim == claim)
    }

    /// The digests of all replaced versions that are to be kept, after the oldest were dropped.
    pub(super) fn prune_history(&mut self) -> BTreeSet<Digest> {
        for versions in self.history.values_mut() {
            versions.drain(..versions.len().saturating_sub(GENERATIONS));
        }
        let ours: BTreeSet<&String> = self.files.values().map(|entry| &entry.path).collect();
        // Operations are UUIDv7: their order is that of time.
        let mut former: Vec<(String, String)> = self
            .history
            .iter()
            .filter(|(path, _)| !ours.contains(path))
            .filter_map(|(path, versions)| Some((versions.last()?.operation.clone(), path.clone())))
            .collect();
        former.sort();
        for (_, path) in former.iter().take(former.len().saturating_sub(FORMER_FILES)) {
            self.history.remove(path);
        }
        let kept = self.history.values().flatten();
        let pending = self.pending.values().flat_map(|pending| pending.replaced.iter().map(|(_, version)| version));
        kept.chain(pending).map(|version| version.facts.content.sha256).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_generations_are_kept() {
        let version = |n: usize| PreImage {
            facts: Facts { content: Content::of(&n.to_le_bytes()), mode: 0o644, uid: 0, gid: 0 },
            operation: format!("{n:04}"),
        };
        let mut manifest = Manifest::default();
        manifest.history.insert("/etc/x".into(), (0..25).map(version).collect());
        manifest.history.extend((0..FORMER_FILES).map(|n| (format!("/etc/{n}"), vec![version(100 + n)])));
        let kept = manifest.prune_history();
        assert_eq!(manifest.history.len(), FORMER_FILES);
        assert!(!manifest.history.contains_key("/etc/x"), "the oldest of the files that are not ours goes");
        assert_eq!(kept.len(), FORMER_FILES);
        manifest.history = [("/etc/x".into(), (0..25).map(version).collect())].into();
        assert_eq!(manifest.prune_history(), (15..25).map(|n| version(n).facts.content.sha256).collect());
    }
}
