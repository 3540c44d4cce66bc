//! Objects and refs of the database: bounded reads, counted, and the few that are written.
//!
//! **Invariant:** an object is read only after its size has been looked up and found within the bound.

use std::collections::BTreeMap;

use git2::{ErrorCode, ObjectType, Oid};

use super::{Source, SourceError, names};
use crate::model::{EntryMode, Revision, TreeError};

/// A tree's entries by name: checked, no name twice.
pub(super) type Listing = BTreeMap<String, Node>;

/// One entry of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Node {
    /// What it is.
    pub(super) mode: EntryMode,
    /// Its object.
    pub(super) id: Oid,
}

/// A tree object's bytes are not a tree's.
#[derive(Debug, thiserror::Error)]
#[error("the tree {0} is malformed")]
struct Malformed(Oid);

impl Source {
    /// What `name` points at.
    pub(super) fn reference(&self, name: &str) -> Result<Option<Oid>, SourceError> {
        match self.repository.refname_to_id(name) {
            Ok(id) => Ok(Some(id)),
            Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
            Err(error) => Err(SourceError::object(format!("cannot read `{name}`"))(error)),
        }
    }

    /// Sees what another process has written.
    pub(super) fn refresh(&self) -> Result<(), SourceError> {
        let read = SourceError::object("cannot read new objects");
        self.repository.odb().and_then(|odb| odb.refresh()).map_err(read)
    }

    pub(super) fn revision(&self, id: Oid) -> Revision {
        Revision { branch: self.options.branch.to_string(), commit: id.to_string() }
    }

    /// The commit of 40 hex digits.
    pub(super) fn commit_id(&self, text: &str) -> Result<Oid, SourceError> {
        let unknown = || SourceError::UnknownRevision(text.chars().take(80).flat_map(char::escape_default).collect());
        let id = Oid::from_str(text).ok().filter(|_| text.len() == 40).ok_or_else(unknown)?;
        match self.repository.find_commit(id) {
            Ok(_) => Ok(id),
            Err(_) => Err(unknown()),
        }
    }

    /// Whether the database has the commit (40 hex digits).
    pub fn knows(&self, commit: &str) -> bool {
        self.commit_id(commit).is_ok()
    }

    /// The tree of a commit.
    pub(super) fn tree_of(&self, commit: Oid) -> Result<Oid, SourceError> {
        let found =
            self.repository.find_commit(commit).map_err(SourceError::object(format!("cannot read the commit {commit}")))?;
        self.reads.set(self.reads.get() + 1);
        Ok(found.tree_id())
    }

    /// Whether `commit` is not `ancestor` and has it among its ancestors.
    pub(super) fn descends(&self, commit: Oid, ancestor: Oid) -> Result<bool, SourceError> {
        let walk = SourceError::object(format!("cannot walk the history of {commit}"));
        self.repository.graph_descendant_of(commit, ancestor).map_err(walk)
    }

    /// The bytes of an object of `kind`, at most `limit`; `path` is for errors.
    pub(super) fn bytes(&self, path: &str, id: Oid, kind: ObjectType, limit: u64) -> Result<Vec<u8>, TreeError> {
        let fault = |error: git2::Error| TreeError::Database { path: path.to_owned(), source: error.into() };
        let odb = self.repository.odb().map_err(fault)?;
        let (size, found) = odb.read_header(id).map_err(fault)?;
        if found != kind {
            return Err(TreeError::Database { path: path.to_owned(), source: format!("{id} is a {found}, not a {kind}").into() });
        }
        if size as u64 > limit {
            return Err(TreeError::TooLarge { path: path.to_owned(), size: size as u64, limit });
        }
        self.reads.set(self.reads.get() + 1);
        Ok(odb.read(id).map_err(fault)?.data().to_vec())
    }

    /// Writes a blob.
    pub(super) fn write_blob(&self, bytes: &[u8]) -> Result<Oid, SourceError> {
        self.repository.blob(bytes).map_err(SourceError::object("cannot write a blob"))
    }

    /// Writes a tree.
    pub(super) fn write_tree(&self, listing: &Listing) -> Result<Oid, SourceError> {
        let written = self.repository.odb().and_then(|odb| odb.write(ObjectType::Tree, &serialize(listing)));
        written.map_err(SourceError::object("cannot write a tree"))
    }
}

/// The entries of a tree object.
pub(super) fn parse(path: &str, id: Oid, raw: &[u8], limit: usize) -> Result<Listing, TreeError> {
    let malformed = || TreeError::Database { path: path.to_owned(), source: Malformed(id).into() };
    let mut listing = Listing::new();
    let mut rest = raw;
    while !rest.is_empty() {
        let space = rest.iter().position(|b| *b == b' ').ok_or_else(malformed)?;
        let end = rest.iter().position(|b| *b == 0).filter(|end| *end > space).ok_or_else(malformed)?;
        let object = rest.get(end + 1..end + 21).ok_or_else(malformed)?;
        let mode = match &rest[..space] {
            b"100644" | b"100664" => EntryMode::File,
            b"100755" => EntryMode::Executable,
            b"40000" | b"040000" => EntryMode::Folder,
            b"120000" => EntryMode::Symlink,
            b"160000" => EntryMode::Submodule,
            _ => return Err(malformed()),
        };
        let name = names::check(&rest[space + 1..end])?;
        let node = Node { mode, id: Oid::from_bytes(object).map_err(|_| malformed())? };
        if listing.insert(name.to_owned(), node).is_some() {
            return Err(TreeError::Name { name: format!("{name} twice") });
        }
        if listing.len() > limit {
            return Err(TreeError::TooMany { path: path.to_owned(), limit });
        }
        rest = &rest[end + 21..];
    }
    Ok(listing)
}

/// The bytes of a tree object. Git sorts a folder as if its name ended with `/`.
fn serialize(listing: &Listing) -> Vec<u8> {
    let sorted: BTreeMap<String, (&String, &Node)> = listing
        .iter()
        .map(|(name, node)| match node.mode {
            EntryMode::Folder => (format!("{name}/"), (name, node)),
            _ => (name.clone(), (name, node)),
        })
        .collect();
    let mut raw = Vec::new();
    for (name, node) in sorted.into_values() {
        let mode = match node.mode {
            EntryMode::File => "100644",
            EntryMode::Executable => "100755",
            EntryMode::Folder => "40000",
            EntryMode::Symlink => "120000",
            EntryMode::Submodule => "160000",
        };
        raw.extend_from_slice(mode.as_bytes());
        raw.push(b' ');
        raw.extend_from_slice(name.as_bytes());
        raw.push(0);
        raw.extend_from_slice(node.id.as_bytes());
    }
    raw
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let mut raw = Vec::new();
        for (mode, name) in entries {
            raw.extend_from_slice(mode.as_bytes());
            raw.push(b' ');
            raw.extend_from_slice(name);
            raw.push(0);
            raw.extend_from_slice(&[7; 20]);
        }
        raw
    }

    fn parsed(raw: &[u8]) -> Result<Listing, TreeError> {
        parse("", Oid::ZERO_SHA1, raw, 10)
    }

    #[test]
    fn a_tree_is_read_and_written_back_the_same() {
        let bytes =
            raw(&[("100644", b"a"), ("100644", b"a.b"), ("40000", b"a-"), ("100755", b"b"), ("120000", b"c"), ("160000", b"d")]);
        let listing = parsed(&bytes).unwrap();
        assert_eq!(listing["d"].mode, EntryMode::Submodule);
        let sorted =
            raw(&[("100644", b"a"), ("40000", b"a-"), ("100644", b"a.b"), ("100755", b"b"), ("120000", b"c"), ("160000", b"d")]);
        assert_eq!(serialize(&listing), sorted);
        let folders = raw(&[("100644", b"x.y"), ("40000", b"x")]);
        assert_eq!(serialize(&parsed(&folders).unwrap()), folders);
    }

    #[test]
    fn what_is_no_tree_is_refused() {
        for (entries, what) in [
            (raw(&[("100644", b"a"), ("100644", b"a")]), "the same name twice"),
            (raw(&[("120000", b"d"), ("40000", b"d")]), "a link and a folder of one name"),
            (raw(&[("40000", b".git")]), "git's own folder"),
            (raw(&[("100644", b"..")]), "the folder above"),
            (raw(&[("100600", b"a")]), "a mode that git does not write"),
            (raw(&[("100644", b"a")])[..20].to_vec(), "cut off"),
            (b"100644".to_vec(), "no name"),
            (b"100644\0 ".to_vec(), "no space before the end of the name"),
        ] {
            assert!(parsed(&entries).is_err(), "{what}");
        }
        let many: Vec<String> = (0..11).map(|n| format!("{n:02}")).collect();
        let many: Vec<(&str, &[u8])> = many.iter().map(|name| ("100644", name.as_bytes())).collect();
        assert!(matches!(parsed(&raw(&many)), Err(TreeError::TooMany { limit: 10, .. })));
    }
}
