//! What was built before, by the digest of request and tools.
//!
//! Goes in: a key and files. Comes out: the same files, byte for byte, or none.
//!
//! **Invariant:** the folder is bounded, and belongs to the daemon alone; an entry that is damaged counts as absent.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::frame::{Files, read_files, read_header, write_header};
use super::limit;
use crate::model::{Digest, canonical_digest};

#[derive(Serialize, Deserialize)]
struct Header {
    files: Vec<(String, u64)>,
    /// Over paths and contents.
    digest: Digest,
}

fn digest(files: &Files) -> Digest {
    canonical_digest(&files.iter().map(|(path, bytes)| (path, Digest::of(bytes))).collect::<Vec<_>>())
}

/// What was kept under `key`.
pub(super) fn find(folder: &Path, key: &Digest) -> Option<Files> {
    let path = folder.join(key.to_string());
    let file = File::open(&path).ok()?;
    let mut from = BufReader::new(&file);
    let header: Header = read_header(&mut from).ok()?;
    let files = read_files(&mut from, &header.files, limit::MODULE_BYTES).ok()?;
    if digest(&files) != header.digest {
        tracing::warn!(path = %path.display(), "A kept build is damaged, and made again.");
        return None;
    }
    // What is used stays longest; where that cannot be noted, it is built again some day.
    let _ = file.set_modified(SystemTime::now());
    Some(files)
}

/// Keeps `files` under `key`, and drops what was not used for longest.
pub(super) fn keep(folder: &Path, key: &Digest, files: &Files) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let unfinished = folder.join(format!("{key}.{}.new", std::process::id()));
    let file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&unfinished)?;
    let mut to = BufWriter::new(file);
    let announced = files.iter().map(|(path, bytes)| (path.clone(), bytes.len() as u64)).collect();
    write_header(&mut to, &Header { files: announced, digest: digest(files) })?;
    files.values().try_for_each(|bytes| to.write_all(bytes))?;
    to.into_inner().map_err(|error| error.into_error())?.sync_all()?;
    fs::rename(&unfinished, folder.join(key.to_string()))?;
    bound(folder, limit::KEPT, limit::KEPT_BYTES)
}

fn bound(folder: &Path, count: usize, bytes: u64) -> io::Result<()> {
    let mut kept: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let there = entry.metadata()?;
        kept.push((there.modified()?, there.len(), entry.path()));
    }
    kept.sort();
    let mut left = (kept.len(), kept.iter().map(|(_, size, _)| size).sum::<u64>());
    for (_, size, path) in kept {
        if left.0 <= count && left.1 <= bytes {
            break;
        }
        fs::remove_file(path)?;
        left = (left.0 - 1, left.1 - size);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_found_and_what_is_damaged_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let files: Files = [("a.js".to_owned(), b"1".as_slice().into()), ("b/c.wasm".to_owned(), b"22".as_slice().into())].into();
        let key = Digest::of(b"key");
        assert!(find(folder.path(), &key).is_none());
        keep(folder.path(), &key, &files).unwrap();
        assert_eq!(find(folder.path(), &key).unwrap(), files);
        let path = folder.path().join(key.to_string());
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() = b'3';
        fs::write(&path, &bytes).unwrap();
        assert!(find(folder.path(), &key).is_none());
        fs::write(&path, "").unwrap();
        assert!(find(folder.path(), &key).is_none());
    }

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let folder = tempfile::tempdir().unwrap();
        let files: Files = [("a.js".to_owned(), vec![0; 1000].into())].into();
        let keys: Vec<Digest> = (0..4_u8).map(|n| Digest::of(&[n])).collect();
        for (age, key) in (0..).zip(&keys) {
            keep(folder.path(), key, &files).unwrap();
            let file = File::options().write(true).open(folder.path().join(key.to_string())).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(age)).unwrap();
        }
        find(folder.path(), &keys[0]).unwrap();
        bound(folder.path(), 3, u64::MAX).unwrap();
        assert!(find(folder.path(), &keys[1]).is_none() && find(folder.path(), &keys[0]).is_some());
        bound(folder.path(), 9, 2_500).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}
