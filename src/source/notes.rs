//! The record in Git: notes on the commits that were applied, and a ref for what each environment runs.
//!
//! A note is a set of JSON lines, sorted, each once: what `git notes merge -s cat_sort_uniq` makes, so that two writers'
//! notes always merge. In the notes' tree, commits stand in 256 folders by the first two digits of their ids; a tree in any
//! other form that git knows is read, and rewritten in this one.
//!
//! **Invariant:** a line that was written is never taken away. Lines that came from the remote were written by anyone who
//! may push there: they are a record to read, never an instruction.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;

use git2::{ObjectType, Oid};

use super::object::{Listing, Node};
use super::{Source, SourceError};
use crate::model::{EntryMode, EnvironmentId, TreeError};

/// Our notes.
pub(super) const NOTES: &str = "refs/notes/trunkline";
/// The remote's notes at the last fetch.
pub(super) const REMOTE_NOTES: &str = "refs/remote/notes/trunkline";
/// What each environment runs.
pub(super) const APPLIED: &str = "refs/trunkline/applied/";

/// The lines of one commit, in bytes.
const NOTE_BYTES: u64 = 4 << 20;

/// Notes by the commit that they are on.
type Notes = BTreeMap<Oid, Oid>;

impl Source {
    /// Adds one line to the record of `commit` (40 hex digits). The same line twice stays once.
    ///
    /// Lines of one commit are kept sorted as text: a key such as `at` that sorts first makes them read in the order of time.
    ///
    /// # Errors
    /// [`SourceError::UnknownRevision`], [`SourceError::Object`].
    pub fn annotate(&self, commit: &str, line: &serde_json::Value) -> Result<(), SourceError> {
        self.annotate_all(&BTreeMap::from([(commit.to_owned(), vec![line.clone()])]))
    }

    /// The same for lines of many commits: one commit of notes for all of them, and none where every line is there.
    ///
    /// # Errors
    /// [`SourceError::UnknownRevision`], [`SourceError::Object`].
    pub fn annotate_all(&self, lines: &BTreeMap<String, Vec<serde_json::Value>>) -> Result<(), SourceError> {
        let _turn = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        let tip = self.reference(NOTES)?;
        let root = tip.map(|tip| self.tree_of(tip)).transpose()?;
        let mut root = self.in_256_folders(root)?;
        let mut changed: BTreeMap<String, Listing> = BTreeMap::new();
        for (commit, new) in lines {
            let (folder, name) = place(self.commit_id(commit)?);
            let inner = match (changed.get(&folder), root.get(&folder)) {
                (Some(inner), _) => inner.clone(),
                (None, Some(node)) => Listing::clone(&*self.listing(&folder, node.id)?),
                (None, None) => Listing::new(),
            };
            let mut all = match inner.get(&name) {
                Some(node) => self.lines(node.id)?,
                None => BTreeSet::new(),
            };
            let before = all.len();
            // JSON escapes line ends, so that each is one line.
            all.extend(new.iter().map(ToString::to_string));
            if all.len() > before {
                let note = file(self.write_lines(&all)?);
                changed.entry(folder).or_insert(inner).insert(name, note);
            }
        }
        if changed.is_empty() {
            return Ok(());
        }
        for (folder, inner) in changed {
            root.insert(folder, Node { mode: EntryMode::Folder, id: self.write_tree(&inner)? });
        }
        let parents: Vec<Oid> = tip.into_iter().collect();
        self.commit_notes(&root, &parents, "Notes added by trunkline")
    }

    /// Every line of the record with the commit that it is on: what a lost store is rebuilt from.
    ///
    /// # Errors
    /// [`SourceError::Tree`] where the notes are beyond the bounds.
    pub fn records(&self) -> Result<Vec<(String, String)>, SourceError> {
        let Some(tip) = self.reference(NOTES)? else { return Ok(Vec::new()) };
        let mut records = Vec::new();
        for (commit, note) in self.notes_of(tip)? {
            records.extend(self.lines(note)?.into_iter().map(|line| (commit.to_string(), line)));
        }
        Ok(records)
    }

    /// Says that `environment` runs `commit` (40 hex digits): `refs/trunkline/applied/<tenant>/<environment>`.
    ///
    /// # Errors
    /// [`SourceError::UnknownRevision`], [`SourceError::Object`].
    pub fn set_applied(&self, environment: &EnvironmentId, commit: &str) -> Result<(), SourceError> {
        let id = self.commit_id(commit)?;
        let name = format!("{APPLIED}{}/{}", environment.tenant, environment.environment);
        if self.reference(&name)? == Some(id) { Ok(()) } else { self.write_reference(&name, id) }
    }

    /// What each environment runs, as recorded here.
    ///
    /// # Errors
    /// [`SourceError::Object`] where the database cannot be read.
    pub fn applied(&self) -> Result<BTreeMap<EnvironmentId, String>, SourceError> {
        let refs = self.references(APPLIED)?;
        let parse = |name: &str| name.strip_prefix(APPLIED)?.parse::<EnvironmentId>().ok();
        Ok(refs.into_iter().filter_map(|(name, id)| Some((parse(&name)?, id.to_string()))).collect())
    }

    /// Takes the remote's lines over into ours.
    pub(super) fn merge_notes(&self) -> Result<(), SourceError> {
        let _turn = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(theirs) = self.reference(REMOTE_NOTES)? else { return Ok(()) };
        let ours = match self.reference(NOTES)? {
            Some(ours) if ours == theirs || self.descends(ours, theirs)? => return Ok(()),
            Some(ours) if !self.descends(theirs, ours)? => ours,
            // Only once they have been read within the bounds.
            _ => return self.notes_of(theirs).and_then(|_| self.write_reference(NOTES, theirs)),
        };
        let mut merged = self.notes_of(ours)?;
        for (commit, note) in self.notes_of(theirs)? {
            match merged.get(&commit) {
                Some(ours) if *ours == note => {}
                Some(ours) => {
                    let lines = self.lines(*ours)?.into_iter().chain(self.lines(note)?).collect();
                    merged.insert(commit, self.write_lines(&lines)?);
                }
                None => {
                    merged.insert(commit, note);
                }
            }
        }
        let root = self.write_folders(&merged)?;
        self.commit_notes(&root, &[ours, theirs], "Notes merged by trunkline")
    }

    /// The refs that begin with `prefix`.
    pub(super) fn references(&self, prefix: &str) -> Result<BTreeMap<String, Oid>, SourceError> {
        let read = || SourceError::object(format!("cannot list `{prefix}*`"));
        let mut found = BTreeMap::new();
        for reference in self.repository.references_glob(&format!("{prefix}*")).map_err(read())? {
            let reference = reference.map_err(read())?;
            if let (Ok(name), Some(id)) = (reference.name(), reference.target()) {
                found.insert(name.to_owned(), id);
            }
        }
        Ok(found)
    }

    /// Points the ref `name` at `id`, wherever it pointed before.
    pub(super) fn write_reference(&self, name: &str, id: Oid) -> Result<(), SourceError> {
        let written = self.repository.reference(name, id, true, "trunkline");
        written.map(drop).map_err(SourceError::object(format!("cannot write `{name}`")))
    }

    /// All notes of the notes commit `tip`.
    fn notes_of(&self, tip: Oid) -> Result<Notes, SourceError> {
        let mut notes = Notes::new();
        self.collect(self.tree_of(tip)?, "", &mut notes)?;
        Ok(notes)
    }

    /// Git spreads notes over folders of two digits each, as deep as it likes; what does not spell an object id is no note.
    fn collect(&self, tree: Oid, digits: &str, notes: &mut Notes) -> Result<(), SourceError> {
        for (name, node) in self.listing(digits, tree)?.iter() {
            let digits = format!("{digits}{name}");
            if !name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
                continue;
            }
            match node.mode {
                EntryMode::Folder if name.len() == 2 && digits.len() < 40 => self.collect(node.id, &digits, notes)?,
                EntryMode::File if digits.len() == 40 => {
                    let commit = Oid::from_str(&digits).map_err(SourceError::object("cannot read a note's commit"))?;
                    // The same commit twice, at two depths: git shows both, so both are kept.
                    let note = match notes.get(&commit) {
                        Some(first) => {
                            let lines = self.lines(*first)?.into_iter().chain(self.lines(node.id)?).collect();
                            self.write_lines(&lines)?
                        }
                        None => node.id,
                    };
                    notes.insert(commit, note);
                }
                _ => {}
            }
            if notes.len() > self.options.limits.entries {
                return Err(TreeError::TooMany { path: NOTES.to_owned(), limit: self.options.limits.entries }.into());
            }
        }
        Ok(())
    }

    /// The notes' tree in the form that we write: as it is, or rewritten.
    fn in_256_folders(&self, root: Option<Oid>) -> Result<Listing, SourceError> {
        let Some(root) = root else { return Ok(Listing::new()) };
        let listing = self.listing("", root)?;
        let hex = |name: &str, length| name.len() == length && name.bytes().all(|b| b.is_ascii_hexdigit());
        let mut good = listing.iter().all(|(name, node)| node.mode == EntryMode::Folder && hex(name, 2));
        for (name, node) in listing.iter() {
            good = good && self.listing(name, node.id)?.iter().all(|(name, node)| node.mode == EntryMode::File && hex(name, 38));
        }
        if good {
            return Ok(Listing::clone(&listing));
        }
        let mut notes = Notes::new();
        self.collect(root, "", &mut notes)?;
        self.write_folders(&notes)
    }

    fn write_folders(&self, notes: &Notes) -> Result<Listing, SourceError> {
        let mut folders: BTreeMap<String, Listing> = BTreeMap::new();
        for (commit, note) in notes {
            let (folder, name) = place(*commit);
            folders.entry(folder).or_default().insert(name, file(*note));
        }
        let node =
            |(folder, inner): (String, Listing)| Ok((folder, Node { mode: EntryMode::Folder, id: self.write_tree(&inner)? }));
        folders.into_iter().map(node).collect()
    }

    fn lines(&self, note: Oid) -> Result<BTreeSet<String>, SourceError> {
        let bytes = self.bytes(NOTES, note, ObjectType::Blob, NOTE_BYTES)?;
        Ok(String::from_utf8_lossy(&bytes).lines().filter(|line| !line.is_empty()).map(str::to_owned).collect())
    }

    fn write_lines(&self, lines: &BTreeSet<String>) -> Result<Oid, SourceError> {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        self.write_blob(text.as_bytes())
    }

    fn commit_notes(&self, root: &Listing, parents: &[Oid], message: &str) -> Result<(), SourceError> {
        let id = self.write_tree(root)?;
        self.write_commit(Some(NOTES), id, parents, message).map(drop)
    }

    /// Writes a commit. With a ref, its first parent must be what the ref points at, and it then points at the commit.
    pub(super) fn write_commit(&self, name: Option<&str>, tree: Oid, parents: &[Oid], message: &str) -> Result<Oid, SourceError> {
        let write = || SourceError::object("cannot write a commit");
        let tree = self.repository.find_tree(tree).map_err(write())?;
        let parents: Vec<git2::Commit<'_>> =
            parents.iter().map(|id| self.repository.find_commit(*id)).collect::<Result<_, _>>().map_err(write())?;
        let signature = self.signature()?;
        let parents: Vec<&git2::Commit<'_>> = parents.iter().collect();
        self.repository.commit(name, &signature, &signature, message, &tree, &parents).map_err(write())
    }
}

fn place(commit: Oid) -> (String, String) {
    let text = commit.to_string();
    let (folder, name) = text.split_at(2);
    (folder.to_owned(), name.to_owned())
}

fn file(id: Oid) -> Node {
    Node { mode: EntryMode::File, id }
}
