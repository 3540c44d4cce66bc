//! What a resolution read: the input id of an environment.
//!
//! An environment whose inputs are unchanged at a new commit needs no parse and no work. Absent paths count (a file
//! that appears there would be read), and so do the names in each folder that was listed.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::digest::{Digest, canonical_digest};
use super::tree::{Entry, EntryMode, Tree, TreeError};

/// Everything of a tree that a resolution looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inputs {
    /// Paths that were read or looked for: what stood there.
    pub entries: BTreeMap<String, Option<Entry>>,
    /// Folders that were listed: digest over their names and modes, and the tree's id, by which an unchanged folder is
    /// known without listing it.
    pub listings: BTreeMap<String, Option<(Digest, String)>>,
}

impl Inputs {
    /// The digest over everything that was looked at; ids of listed trees aside, since a file that was not read may
    /// change beside one that was.
    pub fn id(&self) -> Digest {
        let listings: BTreeMap<_, _> =
            self.listings.iter().map(|(path, l)| (path, l.as_ref().map(|(digest, _)| digest))).collect();
        canonical_digest(&(&self.entries, listings))
    }

    /// Whether `tree` shows the same in every place that was looked at.
    ///
    /// # Errors
    /// [`TreeError`] where the tree cannot be read.
    pub fn unchanged(&self, tree: &dyn Tree) -> Result<bool, TreeError> {
        for (path, entry) in &self.entries {
            if tree.entry(path)? != *entry {
                return Ok(false);
            }
        }
        for (path, listing) in &self.listings {
            let now = tree.entry(path)?;
            match (listing, &now) {
                (None, None) => {}
                (Some((_, id)), Some(entry)) if *id == entry.id => {}
                (listing, _) => {
                    let names = tree.list(path)?.map(|entries| names_digest(&entries));
                    if listing.as_ref().map(|(digest, _)| *digest) != names {
                        return Ok(false);
                    }
                }
            }
        }
        Ok(true)
    }
}

fn names_digest(entries: &[(String, Entry)]) -> Digest {
    let names: Vec<(&String, EntryMode)> = entries.iter().map(|(name, entry)| (name, entry.mode)).collect();
    canonical_digest(&names)
}

/// A tree that remembers what was looked at.
pub struct Recorder<'a> {
    tree: &'a dyn Tree,
    inputs: RefCell<Inputs>,
}

impl<'a> Recorder<'a> {
    /// Looks into `tree`, remembering.
    pub fn new(tree: &'a dyn Tree) -> Self {
        Self { tree, inputs: RefCell::default() }
    }

    /// What was looked at.
    pub fn into_inputs(self) -> Inputs {
        self.inputs.into_inner()
    }
}

impl Tree for Recorder<'_> {
    fn entry(&self, path: &str) -> Result<Option<Entry>, TreeError> {
        let entry = self.tree.entry(path)?;
        self.inputs.borrow_mut().entries.insert(path.to_owned(), entry.clone());
        Ok(entry)
    }

    fn list(&self, path: &str) -> Result<Option<Vec<(String, Entry)>>, TreeError> {
        let entries = self.tree.list(path)?;
        let id = match &entries {
            Some(_) => self.tree.entry(path)?.map(|entry| entry.id),
            None => None,
        };
        let listing = entries.as_ref().map(|entries| (names_digest(entries), id.unwrap_or_default()));
        self.inputs.borrow_mut().listings.insert(path.to_owned(), listing);
        Ok(entries)
    }

    fn read(&self, path: &str, limit: u64) -> Result<Option<Arc<[u8]>>, TreeError> {
        self.entry(path)?;
        self.tree.read(path, limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::MemoryTree;

    fn look(tree: &dyn Tree) -> Inputs {
        let recorder = Recorder::new(tree);
        recorder.list("workers").unwrap();
        recorder.read("workers/a.js", 100).unwrap();
        recorder.read("missing.toml", 100).unwrap();
        recorder.into_inputs()
    }

    #[test]
    fn only_what_was_looked_at_counts() {
        let mut tree = MemoryTree::default();
        tree.insert("workers/a.js", "1");
        tree.insert("workers/b.js", "1");
        let inputs = look(&tree);
        tree.insert("README.md", "changed");
        tree.insert("workers/b.js", "changed, but never read");
        assert!(inputs.unchanged(&tree).unwrap());
        assert_eq!(look(&tree).id(), inputs.id());

        for (path, text) in [("workers/a.js", "2"), ("workers/c.js", "new name in a listed folder"), ("missing.toml", "appears")]
        {
            let mut other = tree.clone();
            other.insert(path, text);
            assert!(!inputs.unchanged(&other).unwrap(), "{path}");
            assert_ne!(look(&other).id(), inputs.id(), "{path}");
        }
    }
}
