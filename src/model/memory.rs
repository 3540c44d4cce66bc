//! A tree in memory: for tests, and for resolving a recorded bundle's policies.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::digest::Digest;
use super::tree::{Entry, EntryMode, Tree, TreeError};

/// Regular files by path.
#[derive(Debug, Clone, Default)]
pub struct MemoryTree {
    files: BTreeMap<String, Arc<[u8]>>,
}

impl MemoryTree {
    /// Puts a file at `path`, its folders included.
    pub fn insert(&mut self, path: &str, content: impl AsRef<[u8]>) {
        self.files.insert(path.to_owned(), content.as_ref().into());
    }

    /// Takes the file at `path` away.
    pub fn remove(&mut self, path: &str) {
        self.files.remove(path);
    }

    fn below<'a>(&'a self, path: &str) -> impl Iterator<Item = (&'a str, &'a Arc<[u8]>)> {
        let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
        self.files.iter().filter_map(move |(file, content)| Some((file.strip_prefix(&prefix)?, content)))
    }
}

impl Tree for MemoryTree {
    fn entry(&self, path: &str) -> Result<Option<Entry>, TreeError> {
        if let Some(content) = self.files.get(path) {
            let id = Digest::of(content).to_string()[..40].to_owned();
            return Ok(Some(Entry { mode: EntryMode::File, id }));
        }
        let content: Vec<_> = self.below(path).map(|(name, content)| (name, Digest::of(content))).collect();
        if content.is_empty() {
            return Ok(None);
        }
        let id = super::digest::canonical_digest(&content).to_string()[..40].to_owned();
        Ok(Some(Entry { mode: EntryMode::Folder, id }))
    }

    fn list(&self, path: &str) -> Result<Option<Vec<(String, Entry)>>, TreeError> {
        if self.files.contains_key(path) {
            return Ok(None);
        }
        let mut names: Vec<&str> = self.below(path).filter_map(|(name, _)| name.split('/').next()).collect();
        names.dedup();
        let mut entries = Vec::new();
        for name in names {
            let child = if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
            if let Some(entry) = self.entry(&child)? {
                entries.push((name.to_owned(), entry));
            }
        }
        Ok((!entries.is_empty()).then_some(entries))
    }

    fn read(&self, path: &str, limit: u64) -> Result<Option<Arc<[u8]>>, TreeError> {
        match self.files.get(path) {
            Some(content) if content.len() as u64 > limit => {
                Err(TreeError::TooLarge { path: path.to_owned(), size: content.len() as u64, limit })
            }
            content => Ok(content.cloned()),
        }
    }
}
