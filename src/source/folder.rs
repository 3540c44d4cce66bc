//! A working folder as a tree: for `check` and `plan --worktree`, never for an apply.
//!
//! Files that git ignores are left out, unless they are tracked: what is shown is what a commit of everything would hold.
//! A file's id is that of the blob that git would make of its bytes, so that input ids agree with a commit's (no line-end
//! conversion or other filter is applied; a commit's tree knows none either). A folder's id is a digest of its names and
//! modes, **not** the id of a tree: that would take reading everything below it.
//!
//! **Invariant:** the same rules as for a commit's tree: symbolic links and nested repositories are shown and never followed.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use git2::{ObjectType, Oid, Repository, RepositoryOpenFlags};

use super::tree::refused;
use super::{Limits, names};
use crate::model::{Entry, EntryMode, Tree, TreeError};

/// A folder of the file system, seen as a tree.
pub struct Folder {
    root: PathBuf,
    limits: Limits,
    /// The repository that the folder belongs to, with the folder's place in it: knows what is ignored.
    repository: Option<(Repository, PathBuf)>,
}

impl Folder {
    /// The folder `root`, within `limits`.
    ///
    /// # Errors
    /// [`TreeError::Database`] where `root` is no folder that can be read.
    pub fn open(root: &Path, limits: Limits) -> Result<Self, TreeError> {
        let root = root.canonicalize().map_err(|e| fault("", e))?;
        if !root.is_dir() {
            return Err(fault("", io::Error::from(io::ErrorKind::NotADirectory)));
        }
        let none: [&Path; 0] = [];
        let repository = Repository::open_ext(&root, RepositoryOpenFlags::empty(), none).ok().and_then(|repository| {
            let inner = root.strip_prefix(repository.workdir()?.canonicalize().ok()?).ok()?.to_owned();
            Some((repository, inner))
        });
        Ok(Self { root, limits, repository })
    }

    fn ignored(&self, path: &str) -> bool {
        let Some((repository, inner)) = &self.repository else { return false };
        let path = inner.join(path);
        if !repository.is_path_ignored(&path).unwrap_or(false) {
            return false;
        }
        let Ok(index) = repository.index() else { return true };
        let below = path.join("");
        index.get_path(&path, 0).is_none() && index.find_prefix(&below).is_err()
    }

    /// What stands at `path`, whose folders have been walked.
    fn look(&self, path: &str) -> Result<Option<(EntryMode, Metadata)>, TreeError> {
        let place = self.root.join(path);
        let metadata = match place.symlink_metadata() {
            Ok(metadata) => metadata,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(None),
            Err(error) => return Err(fault(path, error)),
        };
        let mode = if metadata.is_symlink() {
            EntryMode::Symlink
        } else if metadata.is_dir() {
            let nested = !path.is_empty() && place.join(".git").symlink_metadata().is_ok();
            if nested { EntryMode::Submodule } else { EntryMode::Folder }
        } else if metadata.is_file() {
            if metadata.permissions().mode() & 0o100 == 0 { EntryMode::File } else { EntryMode::Executable }
        } else {
            // A socket, a pipe or a device: git does not see them.
            return Ok(None);
        };
        if !path.is_empty() && self.ignored(path) {
            return Ok(None);
        }
        Ok(Some((mode, metadata)))
    }

    fn find(&self, path: &str) -> Result<Option<EntryMode>, TreeError> {
        let mut mode = EntryMode::Folder;
        let mut walked = String::new();
        for name in names::components(path, self.limits.depth)? {
            match mode {
                EntryMode::Folder => {}
                EntryMode::File | EntryMode::Executable => return Ok(None),
                EntryMode::Symlink | EntryMode::Submodule => return Err(refused(&walked, mode)),
            }
            walked = names::join(&walked, name);
            match self.look(&walked)? {
                Some((found, _)) => mode = found,
                None => return Ok(None),
            }
        }
        Ok(Some(mode))
    }

    /// The names and modes in the folder `path`, sorted.
    fn names(&self, path: &str) -> Result<Vec<(String, EntryMode)>, TreeError> {
        let mut found = Vec::new();
        for entry in fs::read_dir(self.root.join(path)).map_err(|e| fault(path, e))? {
            let raw = entry.map_err(|e| fault(path, e))?.file_name();
            if raw == ".git" {
                continue;
            }
            let name = names::check(raw.as_bytes())?;
            if let Some((mode, _)) = self.look(&names::join(path, name))? {
                found.push((name.to_owned(), mode));
            }
            if found.len() > self.limits.entries {
                return Err(TreeError::TooMany { path: path.to_owned(), limit: self.limits.entries });
            }
        }
        found.sort();
        Ok(found)
    }

    fn id(&self, path: &str, mode: EntryMode) -> Result<String, TreeError> {
        let place = self.root.join(path);
        let hashed = match mode {
            EntryMode::File | EntryMode::Executable => Oid::hash_file(ObjectType::Blob, &place),
            EntryMode::Symlink => {
                let target = fs::read_link(&place).map_err(|e| fault(path, e))?;
                Oid::hash_object(ObjectType::Blob, target.as_os_str().as_bytes())
            }
            EntryMode::Folder => {
                let text: String = self.names(path)?.iter().map(|(name, mode)| format!("{name}\0{mode:?}\0")).collect();
                Oid::hash_object(ObjectType::Blob, text.as_bytes())
            }
            // What is checked out there is nobody's business here.
            EntryMode::Submodule => Oid::hash_object(ObjectType::Blob, b"submodule"),
        };
        hashed.map(|id| id.to_string()).map_err(|e| fault(path, e))
    }
}

impl Tree for Folder {
    fn entry(&self, path: &str) -> Result<Option<Entry>, TreeError> {
        let Some(mode) = self.find(path)? else { return Ok(None) };
        Ok(Some(Entry { mode, id: self.id(path, mode)? }))
    }

    fn list(&self, path: &str) -> Result<Option<Vec<(String, Entry)>>, TreeError> {
        match self.find(path)? {
            None | Some(EntryMode::File | EntryMode::Executable) => Ok(None),
            Some(mode @ (EntryMode::Symlink | EntryMode::Submodule)) => Err(refused(path, mode)),
            Some(EntryMode::Folder) => {
                let entry = |(name, mode): (String, EntryMode)| {
                    let id = self.id(&names::join(path, &name), mode)?;
                    Ok((name, Entry { mode, id }))
                };
                Ok(Some(self.names(path)?.into_iter().map(entry).collect::<Result<_, TreeError>>()?))
            }
        }
    }

    fn read(&self, path: &str, limit: u64) -> Result<Option<Arc<[u8]>>, TreeError> {
        match self.find(path)? {
            None => return Ok(None),
            Some(EntryMode::File | EntryMode::Executable) => {}
            Some(mode) => return Err(refused(path, mode)),
        }
        let limit = limit.min(self.limits.blob_bytes);
        let file = open(&self.root.join(path)).map_err(|e| fault(path, e))?;
        let size = file.metadata().map_err(|e| fault(path, e))?.len();
        if size > limit {
            return Err(TreeError::TooLarge { path: path.to_owned(), size, limit });
        }
        let mut bytes = Vec::new();
        file.take(limit + 1).read_to_end(&mut bytes).map_err(|e| fault(path, e))?;
        // It may have grown since.
        if bytes.len() as u64 > limit {
            return Err(TreeError::TooLarge { path: path.to_owned(), size: bytes.len() as u64, limit });
        }
        Ok(Some(bytes.into()))
    }
}

fn open(path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).map_err(io::Error::other)?;
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

fn fault<E: Into<Box<dyn std::error::Error + Send + Sync>>>(path: &str, error: E) -> TreeError {
    TreeError::Database { path: path.to_owned(), source: error.into() }
}
