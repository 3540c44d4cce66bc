//! The data folder: one JSON file for each Worker, one for the account, content-addressed blobs.
//!
//! Goes in: values to keep. Comes out: what was kept, after any crash. A file is written beside its place, synced,
//! renamed over it, and the folder is synced, so that it holds either the old content or the new.
//!
//! **Invariant:** no secret in clear is ever handed to this file, and nothing here decides what is kept.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::EdgeError;
use super::assets::{Assets, keep};
use super::record::{Account, Script, State};
use crate::model::Digest;

/// The data folder, held by one process at a time.
#[derive(Debug)]
pub(super) struct Disk {
    root: PathBuf,
    _lock: File,
}

impl Disk {
    /// Makes what is missing of the folder and takes its lock.
    pub(super) fn open(root: &Path) -> Result<Self, EdgeError> {
        for folder in ["", "scripts", "blobs", "run", "kv", "kv/do", "kv/blobs", "objects", "assets", "assets/sites"] {
            let path = root.join(folder);
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&path)
                .map_err(|source| EdgeError::Folder { path, source })?;
        }
        let root = fs::canonicalize(root).map_err(|source| EdgeError::Folder { path: root.to_owned(), source })?;
        let path = root.join("lock");
        let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
        let lock = lock.map_err(|source| EdgeError::Folder { path: path.clone(), source })?;
        match rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { root, _lock: lock }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(EdgeError::Locked(root)),
            Err(error) => Err(EdgeError::Folder { path, source: error.into() }),
        }
    }

    /// The folder, absolute.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Reads everything back. Leftovers of an interrupted write are removed.
    pub(super) fn load(&self) -> Result<State, EdgeError> {
        let account: Account = read_json(&self.root.join("account.json"))?.unwrap_or_default();
        let mut state = State { account: Arc::new(account), ..State::default() };
        let folder = self.root.join("scripts");
        let failed = |source| EdgeError::Folder { path: folder.clone(), source };
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                fs::remove_file(&path).map_err(failed)?;
                continue;
            }
            if let Some(script) = read_json::<Script>(&path)? {
                state.scripts.insert(script.name.clone(), Arc::new(script));
            }
        }
        Ok(state)
    }

    /// Makes the difference between two states durable. What names a Worker goes before the Worker goes.
    pub(super) fn save(&self, before: &State, after: &State) -> Result<(), EdgeError> {
        for (name, script) in &after.scripts {
            if before.scripts.get(name).is_none_or(|old| !Arc::ptr_eq(old, script)) {
                self.write_json(&self.root.join("scripts").join(format!("{name}.json")), script.as_ref())?;
            }
        }
        if !Arc::ptr_eq(&before.account, &after.account) {
            self.write_json(&self.root.join("account.json"), after.account.as_ref())?;
        }
        for name in before.scripts.keys().filter(|name| !after.scripts.contains_key(*name)) {
            let path = self.root.join("scripts").join(format!("{name}.json"));
            let removed = fs::remove_file(&path).and_then(|()| sync_folder(&path));
            removed.map_err(|source| EdgeError::File { path, source })?;
        }
        Ok(())
    }

    /// Keeps bytes under their digest.
    pub(super) fn put_blob(&self, bytes: &[u8]) -> Result<Digest, EdgeError> {
        let digest = Digest::of(bytes);
        let path = self.root.join("blobs").join(digest.to_string());
        if !path.exists() {
            write_atomic(&path, bytes, 0o600).map_err(|source| EdgeError::File { path, source })?;
        }
        Ok(digest)
    }

    /// The bytes under a digest.
    pub(super) fn blob(&self, digest: Digest) -> Result<Vec<u8>, EdgeError> {
        let path = self.root.join("blobs").join(digest.to_string());
        fs::read(&path).map_err(|source| EdgeError::File { path, source })
    }

    /// Removes the Durable Objects with this id.
    pub(super) fn free_objects(&self, id: &str) -> Result<(), EdgeError> {
        let path = self.root.join("objects").join(id);
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(EdgeError::Folder { path, source: error }),
            _ => Ok(()),
        }
    }

    /// The ids of the Durable Objects that are stored under this id: the names of the runtime's files.
    pub(super) fn stored_objects(&self, id: &str) -> Result<Vec<String>, EdgeError> {
        let path = self.root.join("objects").join(id);
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(EdgeError::Folder { path, source }),
        };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        Ok(names.filter_map(|name| name.strip_suffix(".sqlite").filter(|id| id.len() == 64).map(str::to_owned)).collect())
    }

    /// Removes what no Worker names: blobs, sites, and objects of deleted classes. Called when nothing else runs.
    pub(super) fn sweep(&self, state: &State) -> Result<(), EdgeError> {
        let versions = || state.scripts.values().flat_map(|script| &script.versions);
        let sites = versions().filter_map(|version| version.assets.as_ref()).map(|assets| assets.site).collect();
        Assets::new(&self.root).sweep(&sites)?;
        let objects = state.scripts.values().flat_map(|script| script.objects.values().map(|objects| objects.id.clone()));
        keep(&self.root.join("objects"), &objects.collect())?;
        self.sweep_blobs(state)
    }

    /// Removes the blobs that no version names.
    fn sweep_blobs(&self, state: &State) -> Result<(), EdgeError> {
        let versions = state.scripts.values().flat_map(|script| &script.versions);
        let named: BTreeSet<String> = versions.flat_map(|v| v.modules.iter().map(|m| m.sha256.to_string())).collect();
        let folder = self.root.join("blobs");
        let failed = |source| EdgeError::Folder { path: folder.clone(), source };
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if entry.file_name().to_str().is_none_or(|name| !named.contains(name)) {
                fs::remove_file(entry.path()).map_err(failed)?;
            }
        }
        Ok(())
    }

    fn write_json<T: Serialize>(&self, path: &Path, value: &T) -> Result<(), EdgeError> {
        let failed = |source| EdgeError::File { path: path.to_owned(), source };
        let bytes = serde_json::to_vec_pretty(value).map_err(|error| failed(error.into()))?;
        write_atomic(path, &bytes, 0o600).map_err(failed)
    }
}

/// Replaces a file as a whole, durably.
pub(super) fn write_atomic(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let beside = path.with_extension(format!("{}.new", super::record::fresh_uuid()));
    let written = (|| {
        let mut file = OpenOptions::new().create_new(true).write(true).mode(mode).open(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        sync_folder(path)
    })();
    if written.is_err() {
        // The error that matters is the first one; what is left over is removed at the next start.
        let _ = fs::remove_file(&beside);
    }
    written
}

fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, EdgeError> {
    let failed = |source| EdgeError::File { path: path.to_owned(), source };
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| failed(error.into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_saved_is_loaded_and_a_half_written_file_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::open(folder.path()).unwrap();
        let mut state = disk.load().unwrap();
        let before = state.clone();
        state.account_mut().namespaces.insert("a".into(), "title".into());
        disk.save(&before, &state).unwrap();
        fs::write(folder.path().join("scripts/x.0.new"), b"{").unwrap();
        let loaded = disk.load().unwrap();
        assert_eq!(loaded.account, state.account);
        assert!(!folder.path().join("scripts/x.0.new").exists());
    }

    #[test]
    fn one_process_holds_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let _held = Disk::open(folder.path()).unwrap();
        assert!(matches!(Disk::open(folder.path()), Err(EdgeError::Locked(_))));
    }
}
