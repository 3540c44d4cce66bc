//! What a resolution reads from the tree, bounded, and where it gathers its faults.
//!
//! **Invariant:** what is wrong with one file becomes a diagnostic of that file; only a database that cannot be read is
//! an error. Nothing outside of the tenant's own folder is read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::cache::Cache;
use super::limit;
use super::scalar::Refused;
use crate::document::{Fault, FileId, Parsed, Place, Placed, Table, did_you_mean, shown};
use crate::model::{BuildRequest, Content, Diagnostic, Entry, EntryMode, Related, ResourceName, Severity, Tree, TreeError};

/// A file's bytes and what stands for them.
pub(super) type Blob = (Arc<[u8]>, Content);

pub(super) struct Reading<'a> {
    tree: &'a dyn Tree,
    cache: &'a mut Cache,
    /// The tenant's own folder with a final slash; empty for the tenant `default`.
    root: String,
    sources: Vec<(String, Arc<Parsed>)>,
    /// By path: a file that several places name is read, and its faults are told, once.
    documents: BTreeMap<String, Option<FileId>>,
    /// Lines with a syntax fault: what else is said of them would follow from it.
    broken_lines: BTreeSet<(FileId, usize)>,
    files: BTreeSet<String>,
    toml_bytes: u64,
    diagnostics: BTreeSet<Diagnostic>,
    builds: BTreeMap<ResourceName, BuildRequest>,
    full: bool,
}

impl<'a> Reading<'a> {
    pub(super) fn new(tree: &'a dyn Tree, cache: &'a mut Cache, root: String) -> Self {
        Self {
            tree,
            cache,
            root,
            sources: Vec::new(),
            documents: BTreeMap::new(),
            broken_lines: BTreeSet::new(),
            files: BTreeSet::new(),
            toml_bytes: 0,
            diagnostics: BTreeSet::new(),
            builds: BTreeMap::new(),
            full: false,
        }
    }

    pub(super) fn root(&self) -> &str {
        &self.root
    }

    /// Every diagnostic, sorted by path and place, and what is to be built.
    pub(super) fn finish(self) -> (Vec<Diagnostic>, BTreeMap<ResourceName, BuildRequest>) {
        (self.diagnostics.into_iter().collect(), self.builds)
    }

    /// The modules of `worker` come from a build.
    pub(super) fn build(&mut self, worker: ResourceName, request: BuildRequest) {
        self.builds.insert(worker, request);
    }

    /// Whether the file at `path` may be run.
    pub(super) fn is_executable(&self, path: &str) -> Result<bool, TreeError> {
        Ok(self.tree.entry(path)?.is_some_and(|entry| entry.mode == EntryMode::Executable))
    }

    /// Whether some file could not be read in full: then what is missing may stand there.
    pub(super) fn is_partial(&self) -> bool {
        !self.broken_lines.is_empty() || self.full
    }

    /// Path and line of a place.
    pub(super) fn line(&self, place: Place) -> (String, usize) {
        match self.sources.get(place.file.0 as usize) {
            Some((path, parsed)) => (path.clone(), parsed.lines.line(place.start as usize)),
            None => (String::new(), 1),
        }
    }

    pub(super) fn fault(&mut self, fault: Fault) {
        let line = self.line(fault.place).1;
        if !self.broken_lines.contains(&(fault.place.file, line)) {
            self.tell(fault, Severity::Error);
        }
    }

    pub(super) fn warn(&mut self, fault: Fault) {
        self.tell(fault, Severity::Warning);
    }

    /// The value, or its fault.
    pub(super) fn check<T>(&mut self, place: Place, checked: Result<T, Refused>) -> Option<T> {
        checked.map_err(|refused| self.fault(Fault::new(place, refused.message).maybe_hint(refused.hint))).ok()
    }

    fn tell(&mut self, fault: Fault, severity: Severity) {
        let Some((path, _)) = self.sources.get(fault.place.file.0 as usize) else { return };
        let range = |place: Place| place.start as usize..place.end as usize;
        let mut diagnostic = Diagnostic::error(path.clone(), Some(range(fault.place)), fault.message);
        diagnostic.severity = severity;
        diagnostic.label = fault.label;
        diagnostic.hint = fault.hint;
        diagnostic.masked = fault.masked;
        diagnostic.related = fault
            .related
            .into_iter()
            .filter_map(|(place, label)| {
                let (path, _) = self.sources.get(place.file.0 as usize)?;
                Some(Related { path: path.clone(), start: place.start as usize, end: place.end as usize, label })
            })
            .collect();
        self.push(diagnostic);
    }

    /// A fault of a file that has no document, or of the file as a whole.
    pub(super) fn push(&mut self, diagnostic: Diagnostic) {
        if self.diagnostics.len() < limit::FAULTS {
            self.diagnostics.insert(diagnostic);
        } else {
            self.full = true;
        }
    }

    /// The path from the repository's root of what was written as `written`.
    pub(super) fn path(&mut self, written: &Placed<String>) -> Option<String> {
        let text = written.value.as_str();
        let hint = "write a path from the root of the repository, with `/`, such as `workers/ads-api/index.js`";
        let parts_good = !text.is_empty() && text.split('/').all(|part| !matches!(part, "" | "." | ".." | ".git"));
        if !parts_good || text.contains('\\') || text.chars().any(crate::document::is_deceptive) || text.len() > 4_000 {
            self.fault(Fault::new(written.place, format!("`{}` is not a path in the repository", shown(text))).hint(hint));
            return None;
        }
        if self.root.is_empty() && (text == "tenants" || text.starts_with("tenants/")) {
            self.fault(
                Fault::new(written.place, "the folder of a tenant can only be used by that tenant")
                    .hint("move what both need out of `tenants/`, and copy it where a tenant needs it"),
            );
            return None;
        }
        Some(format!("{}{text}", self.root))
    }

    /// The document at `path`; `None` where nothing stands. Its syntax faults are told.
    pub(super) fn document(&mut self, path: &str) -> Result<Option<(FileId, Table)>, TreeError> {
        if let Some(known) = self.documents.get(path) {
            return Ok(known.map(|file| (file, self.table(file))));
        }
        let parsed = self.parsed(path)?;
        let file = parsed.map(|parsed| {
            let file = FileId(u32::try_from(self.sources.len()).unwrap_or(u32::MAX));
            self.sources.push((path.to_owned(), Arc::clone(&parsed)));
            for fault in &parsed.faults {
                let place = Place { file, ..fault.place };
                self.tell(Fault { place, ..fault.clone() }, Severity::Error);
                self.broken_lines.insert((file, parsed.lines.line(place.start as usize)));
            }
            file
        });
        self.documents.insert(path.to_owned(), file);
        Ok(file.map(|file| (file, self.table(file))))
    }

    fn table(&self, file: FileId) -> Table {
        let root = &self.sources[file.0 as usize].1.root;
        let in_file = |entry: &crate::document::Entry| crate::document::Entry {
            key: Place { file, ..entry.key },
            node: entry.node.in_file(file),
        };
        root.iter().map(|(key, entry)| (Arc::clone(key), in_file(entry))).collect()
    }

    fn parsed(&mut self, path: &str) -> Result<Option<Arc<Parsed>>, TreeError> {
        let entry = match self.regular(path) {
            Ok(Some(entry)) => entry,
            Ok(None) => return Ok(None),
            Err(error) => return self.refusal(path, error).map(|()| None),
        };
        if !self.admit(path) {
            return Ok(None);
        }
        let (parsed, size) = match self.cache.document(&entry.id) {
            Some(found) => found,
            None => match self.tree.read(path, limit::TOML_FILE) {
                Ok(Some(bytes)) => (self.cache.parse(&entry.id, &bytes), bytes.len()),
                Ok(None) => return Ok(None),
                Err(error) => return self.refusal(path, error).map(|()| None),
            },
        };
        self.toml_bytes += size as u64;
        if self.toml_bytes > limit::TOML_TOTAL {
            let message = format!("the definitions of this environment have more than {} bytes in all", limit::TOML_TOTAL);
            self.full = true;
            self.push(Diagnostic::error(path, None, message).hint("split the environment"));
            return Ok(None);
        }
        Ok(Some(parsed))
    }

    /// The bytes at `path`, which stands at `written`; a fault there where they cannot be had.
    pub(super) fn blob(&mut self, path: &str, limit: u64, written: Place) -> Result<Option<Blob>, TreeError> {
        let error = match self.regular(path) {
            Ok(Some(entry)) => {
                if !self.admit(path) {
                    return Ok(None);
                }
                if let Some(blob) = self.cache.blob(&entry.id).filter(|(_, content)| content.size <= limit) {
                    return Ok(Some(blob));
                }
                match self.tree.read(path, limit) {
                    Ok(Some(bytes)) => return Ok(Some(self.cache.keep(&entry.id, bytes))),
                    Ok(None) => None,
                    Err(error) => Some(error),
                }
            }
            Ok(None) => None,
            Err(error) => Some(error),
        };
        match error {
            Some(error @ TreeError::Database { .. }) => return Err(error),
            Some(error) => self.fault(Fault::new(written, error.to_string())),
            None => {
                let hint = self.similar(path)?.unwrap_or_else(|| "add the file, or correct the path".to_owned());
                self.fault(Fault::new(written, format!("there is no file `{}`", shown(path))).hint(hint));
            }
        }
        Ok(None)
    }

    /// A file beside `path` whose name is near.
    fn similar(&mut self, path: &str) -> Result<Option<String>, TreeError> {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let entries = self.list(folder)?.unwrap_or_default();
        let near = crate::document::nearest(name, entries.iter().map(|(name, _)| name.as_str()));
        Ok(near.map(|near| {
            format!("did you mean `{}`?", shown(&if folder.is_empty() { near.to_owned() } else { format!("{folder}/{near}") }))
        }))
    }

    /// The folder's entries; `None` where there is no folder. What cannot be listed is told.
    pub(super) fn list(&mut self, path: &str) -> Result<Option<Vec<(String, Entry)>>, TreeError> {
        match self.tree.list(path) {
            Ok(entries) => Ok(entries),
            Err(error) => self.refusal(path, error).map(|()| None),
        }
    }

    /// What stands at `path`, if it is a regular file.
    fn regular(&self, path: &str) -> Result<Option<Entry>, TreeError> {
        let what = match self.tree.entry(path)? {
            None => return Ok(None),
            Some(entry) if matches!(entry.mode, EntryMode::File | EntryMode::Executable) => return Ok(Some(entry)),
            Some(entry) if entry.mode == EntryMode::Folder => "a folder",
            Some(entry) if entry.mode == EntryMode::Symlink => "a symbolic link",
            Some(_) => "a submodule",
        };
        Err(TreeError::Refused { path: path.to_owned(), what })
    }

    /// Counts a file against the bound.
    fn admit(&mut self, path: &str) -> bool {
        self.files.insert(path.to_owned());
        let admitted = self.files.len() <= limit::FILES;
        if !admitted {
            self.full = true;
            let message = format!("this environment reads more than {} files", limit::FILES);
            let first = self.files.first().cloned().unwrap_or_default();
            self.push(Diagnostic::error(first, None, message).hint("split the environment"));
        }
        admitted
    }

    /// A refused file or folder becomes a diagnostic of it; a database that cannot be read stays an error.
    fn refusal(&mut self, path: &str, error: TreeError) -> Result<(), TreeError> {
        if matches!(error, TreeError::Database { .. }) {
            return Err(error);
        }
        self.full = true;
        self.push(Diagnostic::error(path, None, error.to_string()));
        Ok(())
    }

    /// A reference to something that is not there.
    pub(super) fn dangling<'n>(&mut self, place: Place, what: &str, name: &str, known: impl IntoIterator<Item = &'n str>) {
        if self.is_partial() {
            return;
        }
        let known: Vec<&str> = known.into_iter().collect();
        let hint = did_you_mean(name, known.iter().copied()).unwrap_or_else(|| match known.as_slice() {
            [] if what == "secret" => {
                format!("this environment defines no secret; `trunkline secrets set ENVIRONMENT {}` adds it", shown(name))
            }
            [] => format!("this environment defines no {what}; add `[{what}.{}]`", shown(name)),
            known => {
                let list = known.iter().take(8).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
                format!("this environment has {list}")
            }
        });
        self.fault(Fault::new(place, format!("there is no `{what}.{}`", shown(name))).hint(hint));
    }
}
