//! What was parsed and read before, by blob id: a commit that changes one file parses one file.

use std::collections::HashMap;
use std::sync::Arc;

use crate::document::{Parsed, parse};
use crate::model::Content;

/// Text of parsed files, in bytes.
const PARSED_BYTES: usize = 4 * 1024 * 1024;
/// Content of other files, in bytes.
const BLOB_BYTES: usize = 8 * 1024 * 1024;

/// Parsed documents and file contents by blob id, bounded; belongs to one reader of one repository (or of several:
/// a blob id names its content everywhere).
#[derive(Debug, Default)]
pub struct Cache {
    documents: Shelf<Arc<Parsed>>,
    blobs: Shelf<(Arc<[u8]>, Content)>,
    parsed: u64,
    read: u64,
}

impl Cache {
    /// An empty cache.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many documents have been parsed, ever: what was found in the cache does not count.
    pub fn parsed(&self) -> u64 {
        self.parsed
    }

    /// How many files have been read from a tree, ever: what was found in the cache does not count.
    pub fn read(&self) -> u64 {
        self.read
    }

    pub(super) fn document(&mut self, id: &str) -> Option<(Arc<Parsed>, usize)> {
        self.documents.get(id)
    }

    pub(super) fn parse(&mut self, id: &str, bytes: &[u8]) -> Arc<Parsed> {
        self.parsed += 1;
        self.read += 1;
        let parsed = Arc::new(parse(bytes));
        self.documents.put(id, Arc::clone(&parsed), bytes.len(), PARSED_BYTES);
        parsed
    }

    pub(super) fn blob(&mut self, id: &str) -> Option<(Arc<[u8]>, Content)> {
        self.blobs.get(id).map(|(blob, _)| blob)
    }

    pub(super) fn keep(&mut self, id: &str, bytes: Arc<[u8]>) -> (Arc<[u8]>, Content) {
        self.read += 1;
        let content = Content::of(&bytes);
        let size = bytes.len();
        let blob = (bytes, content);
        self.blobs.put(id, blob.clone(), size, BLOB_BYTES);
        blob
    }
}

#[derive(Debug)]
struct Shelf<T> {
    items: HashMap<String, (T, usize, u64)>,
    bytes: usize,
    clock: u64,
}

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self { items: HashMap::new(), bytes: 0, clock: 0 }
    }
}

impl<T: Clone> Shelf<T> {
    fn get(&mut self, id: &str) -> Option<(T, usize)> {
        self.clock += 1;
        let (item, size, used) = self.items.get_mut(id)?;
        *used = self.clock;
        Some((item.clone(), *size))
    }

    fn put(&mut self, id: &str, item: T, size: usize, limit: usize) {
        // An entry costs more than its text; the allowance keeps a million empty files out as well.
        let cost = size + 256;
        if cost > limit {
            return;
        }
        self.clock += 1;
        if let Some((_, old, _)) = self.items.insert(id.to_owned(), (item, size, self.clock)) {
            self.bytes -= old + 256;
        }
        self.bytes += cost;
        if self.bytes > limit {
            self.evict(limit);
        }
    }

    /// Down to three quarters of the limit, the longest unused first.
    fn evict(&mut self, limit: usize) {
        let mut ages: Vec<(u64, String, usize)> =
            self.items.iter().map(|(id, (_, size, used))| (*used, id.clone(), *size)).collect();
        ages.sort_unstable();
        for (_, id, size) in ages {
            if self.bytes <= limit / 4 * 3 {
                break;
            }
            self.items.remove(&id);
            self.bytes -= size + 256;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_last_stays_and_the_bound_holds() {
        let mut shelf: Shelf<usize> = Shelf::default();
        for index in 0..100 {
            shelf.put(&index.to_string(), index, 1_000, 20_000);
            shelf.get("0");
            assert!(shelf.bytes <= 20_000);
        }
        assert_eq!(shelf.get("0").map(|(item, _)| item), Some(0));
        assert_eq!(shelf.get("1").map(|(item, _)| item), None);
        shelf.put("huge", 1, 30_000, 20_000);
        assert!(shelf.get("huge").is_none());
    }
}
