//! A commit's tree, read from the database within bounds.
//!
//! **Invariant:** a path that leads over a symbolic link or a submodule is refused, never followed; a folder with a bad or
//! a repeated name is refused whole.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use git2::{ObjectType, Oid};

use super::object::{Listing, Node, parse};
use super::{Source, SourceError, names};
use crate::model::{Entry, EntryMode, Tree, TreeError};

/// A tree object has at most this many bytes; 100,000 entries with long names have fewer.
const TREE_BYTES: u64 = 32 << 20;

/// How many entries of parsed trees are kept: about 6 MiB.
const CACHED_ENTRIES: usize = 32_768;

/// The tree of one commit.
pub struct GitTree<'a> {
    source: &'a Source,
    root: Oid,
}

impl Source {
    /// The tree of `commit` (40 hex digits).
    ///
    /// # Errors
    /// [`SourceError::UnknownRevision`] where the database has no such commit.
    pub fn tree(&self, commit: &str) -> Result<GitTree<'_>, SourceError> {
        // Every environment looks at the same commit, one after the other: it is read for the first of them.
        if let Some((_, root)) = self.root.borrow().as_ref().filter(|(known, _)| known == commit) {
            return Ok(GitTree { source: self, root: *root });
        }
        let root = self.tree_of(self.commit_id(commit)?)?;
        *self.root.borrow_mut() = Some((commit.to_owned(), root));
        Ok(GitTree { source: self, root })
    }

    /// The entries of the tree `id`, from the cache or the database; `path` is for errors.
    pub(super) fn listing(&self, path: &str, id: Oid) -> Result<Arc<Listing>, TreeError> {
        if let Some(listing) = self.trees.borrow_mut().get(id) {
            return Ok(listing);
        }
        let raw = self.bytes(path, id, ObjectType::Tree, TREE_BYTES)?;
        let listing = Arc::new(parse(path, id, &raw, self.options.limits.entries)?);
        self.trees.borrow_mut().put(id, Arc::clone(&listing));
        Ok(listing)
    }

    /// What stands at `path` below the tree `root`.
    pub(super) fn node(&self, root: Oid, path: &str) -> Result<Option<Node>, TreeError> {
        let mut node = Node { mode: EntryMode::Folder, id: root };
        let mut walked = String::new();
        for name in names::components(path, self.options.limits.depth)? {
            match node.mode {
                EntryMode::Folder => {}
                EntryMode::File | EntryMode::Executable => return Ok(None),
                EntryMode::Symlink | EntryMode::Submodule => return Err(refused(&walked, node.mode)),
            }
            match self.listing(&walked, node.id)?.get(name) {
                Some(found) => node = *found,
                None => return Ok(None),
            }
            walked = names::join(&walked, name);
        }
        Ok(Some(node))
    }
}

impl Tree for GitTree<'_> {
    fn entry(&self, path: &str) -> Result<Option<Entry>, TreeError> {
        Ok(self.source.node(self.root, path)?.map(entry))
    }

    fn list(&self, path: &str) -> Result<Option<Vec<(String, Entry)>>, TreeError> {
        let Some(node) = self.source.node(self.root, path)? else { return Ok(None) };
        match node.mode {
            EntryMode::Folder => {
                let listing = self.source.listing(path, node.id)?;
                Ok(Some(listing.iter().map(|(name, node)| (name.clone(), entry(*node))).collect()))
            }
            EntryMode::File | EntryMode::Executable => Ok(None),
            EntryMode::Symlink | EntryMode::Submodule => Err(refused(path, node.mode)),
        }
    }

    fn read(&self, path: &str, limit: u64) -> Result<Option<Arc<[u8]>>, TreeError> {
        let Some(node) = self.source.node(self.root, path)? else { return Ok(None) };
        match node.mode {
            EntryMode::File | EntryMode::Executable => {
                let limit = limit.min(self.source.options.limits.blob_bytes);
                Ok(Some(self.source.bytes(path, node.id, ObjectType::Blob, limit)?.into()))
            }
            mode => Err(refused(path, mode)),
        }
    }
}

fn entry(node: Node) -> Entry {
    Entry { mode: node.mode, id: node.id.to_string() }
}

/// Why what stands at `path` is not read.
pub(super) fn refused(path: &str, mode: EntryMode) -> TreeError {
    let what = match mode {
        EntryMode::Folder => "a folder",
        EntryMode::Symlink => "a symbolic link",
        EntryMode::Submodule => "a submodule",
        EntryMode::File | EntryMode::Executable => "not a regular file",
    };
    TreeError::Refused { path: path.to_owned(), what }
}

/// Parsed trees by object id, the least recently used leaving first. It outlives a pass, so that the next commit reads
/// only the trees that changed.
#[derive(Default)]
pub(super) struct Cache {
    listings: HashMap<Oid, (u64, Arc<Listing>)>,
    by_use: BTreeMap<u64, Oid>,
    entries: usize,
    clock: u64,
}

impl Cache {
    fn get(&mut self, id: Oid) -> Option<Arc<Listing>> {
        let (used, listing) = self.listings.get_mut(&id)?;
        self.by_use.remove(used);
        self.clock += 1;
        *used = self.clock;
        self.by_use.insert(self.clock, id);
        Some(Arc::clone(listing))
    }

    fn put(&mut self, id: Oid, listing: Arc<Listing>) {
        self.clock += 1;
        // An empty tree counts as well, or any number of them would fit.
        self.entries += listing.len() + 1;
        self.by_use.insert(self.clock, id);
        if let Some((used, before)) = self.listings.insert(id, (self.clock, listing)) {
            self.by_use.remove(&used);
            self.entries -= before.len() + 1;
        }
        while self.entries > CACHED_ENTRIES {
            let Some((_, oldest)) = self.by_use.pop_first() else { break };
            if let Some((_, listing)) = self.listings.remove(&oldest) {
                self.entries -= listing.len() + 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_is_bounded_and_keeps_what_is_used() {
        let id = |n: u32| Oid::hash_object(ObjectType::Blob, &n.to_be_bytes()).unwrap();
        let node = Node { mode: EntryMode::File, id: id(0) };
        let listing = Arc::new((0..999).map(|n| (n.to_string(), node)).collect::<Listing>());
        let mut cache = Cache::default();
        for n in 0..200 {
            cache.put(id(n), Arc::clone(&listing));
            assert!(cache.get(id(0)).is_some(), "what is used stays");
        }
        assert!(cache.entries <= CACHED_ENTRIES);
        assert_eq!(cache.listings.len(), cache.by_use.len());
        assert_eq!(cache.listings.len(), CACHED_ENTRIES / 1000);
        assert!(cache.get(id(1)).is_none(), "what is not used leaves");
    }
}
