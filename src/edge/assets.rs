//! Static assets on disk: files by the hash that their client names, and sites, which are folders of them.
//!
//! ```text
//!   assets/files/<hash>            bytes, once for all sites
//!   assets/manifests/<digest>      which path is which hash, as JSON
//!   assets/sites/<digest>/…        the same as a folder of hard links, which the runtime serves
//! ```
//!
//! **Invariant:** a site is complete or not there; no path leads out of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::EdgeError;
use super::disk::write_atomic;
use super::record::fresh_hex;
use crate::model::{Digest, canonical_digest};

/// Which files a site has: path to file.
pub(super) type Manifest = BTreeMap<String, Entry>;

/// One file of a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// 32 hex digits, by a scheme of the client's.
    pub(super) hash: String,
    pub(super) size: u64,
}

/// The folder of all assets.
#[derive(Debug, Clone)]
pub(super) struct Assets {
    root: PathBuf,
}

/// What is wrong with a manifest; `None` where nothing is.
pub(super) fn fault(manifest: &Manifest) -> Option<String> {
    for (path, entry) in manifest {
        let relative = path.strip_prefix('/').map(Path::new);
        let plain = relative.is_some_and(|relative| {
            !path.contains('\0') && !path.ends_with('/') && relative.components().all(|part| matches!(part, Component::Normal(_)))
        });
        if !plain || path.len() < 2 {
            return Some(format!("`{path}` is no path of an asset"));
        }
        if entry.hash.len() != 32 || !entry.hash.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Some(format!("the hash of `{path}` has not 32 hex digits"));
        }
    }
    None
}

impl Assets {
    /// The assets in the data folder.
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.join("assets") }
    }

    fn file(&self, hash: &str) -> PathBuf {
        self.root.join("files").join(hash.to_ascii_lowercase())
    }

    fn failed(path: &Path) -> impl Fn(io::Error) -> EdgeError {
        let path = path.to_owned();
        move |source| EdgeError::File { path: path.clone(), source }
    }

    /// The path of a file that is kept for a moment: what is left of it goes at the next start.
    pub(super) fn beside(&self, name: &str) -> PathBuf {
        self.root.join("sites").join(name)
    }

    /// Keeps a file for a moment.
    pub(super) fn put_beside(&self, name: &str, bytes: &[u8]) -> Result<(), EdgeError> {
        let path = self.beside(name);
        write_atomic(&path, bytes, 0o600).map_err(Self::failed(&path))
    }

    /// Keeps a manifest; its digest.
    pub(super) fn put_manifest(&self, manifest: &Manifest) -> Result<Digest, EdgeError> {
        let digest = canonical_digest(manifest);
        let path = self.root.join("manifests").join(digest.to_string());
        if !path.exists() {
            let bytes = serde_json::to_vec(manifest).map_err(|error| Self::failed(&path)(error.into()))?;
            make(path.parent())?;
            write_atomic(&path, &bytes, 0o600).map_err(Self::failed(&path))?;
        }
        Ok(digest)
    }

    /// The manifest with a digest, if it is there.
    pub(super) fn manifest(&self, digest: Digest) -> Option<Manifest> {
        serde_json::from_slice(&fs::read(self.root.join("manifests").join(digest.to_string())).ok()?).ok()
    }

    /// The hashes of a manifest whose files are not there, each once.
    pub(super) fn missing(&self, manifest: &Manifest) -> Vec<String> {
        let hashes: BTreeSet<&String> = manifest.values().map(|entry| &entry.hash).collect();
        hashes.into_iter().filter(|hash| !self.file(hash).exists()).cloned().collect()
    }

    /// Keeps a file.
    pub(super) fn put_file(&self, hash: &str, bytes: &[u8]) -> Result<(), EdgeError> {
        let path = self.file(hash);
        if path.exists() {
            return Ok(());
        }
        make(path.parent())?;
        write_atomic(&path, bytes, 0o600).map_err(Self::failed(&path))
    }

    /// Makes the site of a manifest, whose files have to be there.
    pub(super) fn make_site(&self, digest: Digest, manifest: &Manifest) -> Result<(), EdgeError> {
        let site = self.root.join("sites").join(digest.to_string());
        if site.exists() {
            return Ok(());
        }
        let beside = self.root.join("sites").join(format!("new-{}", fresh_hex()));
        make(Some(&beside))?;
        let made = (|| {
            for (path, entry) in manifest {
                let target = beside.join(path.trim_start_matches('/'));
                if let Some(folder) = target.parent() {
                    fs::create_dir_all(folder)?;
                }
                fs::hard_link(self.file(&entry.hash), &target)?;
            }
            fs::rename(&beside, &site)?;
            fs::File::open(self.root.join("sites"))?.sync_all()
        })();
        made.map_err(|error| {
            // The first error is the one that matters.
            let _ = fs::remove_dir_all(&beside);
            Self::failed(&site)(error)
        })
    }

    /// Removes the sites and manifests that no version names, and files of no manifest. Called when nothing else runs.
    pub(super) fn sweep(&self, named: &BTreeSet<Digest>) -> Result<(), EdgeError> {
        let names: BTreeSet<String> = named.iter().map(Digest::to_string).collect();
        keep(&self.root.join("sites"), &names)?;
        keep(&self.root.join("manifests"), &names)?;
        let manifests = named.iter().filter_map(|digest| self.manifest(*digest));
        let hashes = manifests.flat_map(|manifest| manifest.into_values().map(|entry| entry.hash.to_ascii_lowercase())).collect();
        keep(&self.root.join("files"), &hashes)
    }
}

/// Removes from a folder, which need not be there, everything but these names.
pub(super) fn keep(folder: &Path, names: &BTreeSet<String>) -> Result<(), EdgeError> {
    let failed = |source| EdgeError::Folder { path: folder.to_owned(), source };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    for entry in entries {
        let entry = entry.map_err(failed)?;
        if entry.file_name().to_str().is_some_and(|name| names.contains(name)) {
            continue;
        }
        match entry.file_type().map_err(failed)?.is_dir() {
            true => fs::remove_dir_all(entry.path()).map_err(failed)?,
            false => fs::remove_file(entry.path()).map_err(failed)?,
        }
    }
    Ok(())
}

fn make(folder: Option<&Path>) -> Result<(), EdgeError> {
    use std::os::unix::fs::DirBuilderExt as _;
    let Some(folder) = folder else { return Ok(()) };
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|source| EdgeError::Folder { path: folder.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(path: &str) -> Manifest {
        BTreeMap::from([(path.to_owned(), Entry { hash: "0".repeat(32), size: 1 })])
    }

    #[test]
    fn no_path_leads_out_of_a_site() {
        for fine in ["/index.html", "/a/b c/ü.txt", "/.well-known/x"] {
            assert_eq!(fault(&manifest(fine)), None, "{fine}");
        }
        for wrong in ["index.html", "/", "/../x", "/a/../b", "//etc/passwd", "/a/", "/a\0"] {
            assert!(fault(&manifest(wrong)).is_some(), "{wrong}");
        }
    }

    #[test]
    fn a_site_has_its_files_and_goes_when_nobody_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let assets = Assets::new(folder.path());
        let manifest = manifest("/a/index.html");
        let digest = assets.put_manifest(&manifest).unwrap();
        assert_eq!(assets.missing(&manifest), ["0".repeat(32)]);
        assert!(assets.make_site(digest, &manifest).is_err(), "a file is missing");
        assets.put_file(&"0".repeat(32), b"x").unwrap();
        assets.make_site(digest, &manifest).unwrap();
        let page = folder.path().join(format!("assets/sites/{digest}/a/index.html"));
        assert_eq!(fs::read(&page).unwrap(), b"x");
        assets.sweep(&BTreeSet::from([digest])).unwrap();
        assert!(page.exists() && assets.missing(&manifest).is_empty());
        assets.sweep(&BTreeSet::new()).unwrap();
        assert!(!page.exists() && !assets.missing(&manifest).is_empty());
    }
}
