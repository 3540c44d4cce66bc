//! Compare intents with what is there, and record what was carried out.
//!
//! An executor that is killed leaves intents in the manifest. A rename is atomic: either the file is what the intent
//! wanted, or nothing happened besides a candidate that nobody uses.

use std::io;
use std::os::fd::AsFd;

use rustix::fs::{AtFlags, fsync, unlinkat};
use rustix::io::Errno;

use super::Fault;
use super::beneath::{Root, shown};
use super::file::{self, Facts};
use super::manifest::{Manifest, Pending};
use super::part::Part;
use super::path::HostPath;
use crate::model::Kind;

/// Whether what an interrupted operation left may be cleaned up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cleaning {
    /// The caller holds the lock.
    Remove,
    /// The caller only looks.
    Leave,
}

/// Settles every intent of `manifest` to change a file. What cannot be read stays an intent.
pub(super) fn settle(root: &Root, manifest: &mut Manifest, cleaning: Cleaning) -> Result<(), Fault> {
    let parts: Vec<Part> = manifest.pending.keys().cloned().collect();
    for part in parts {
        let Some(pending) = manifest.pending.get(&part).cloned() else { continue };
        let path = HostPath::grammar(&pending.path)?;
        if cleaning == Cleaning::Remove {
            remove_candidate(root, &path, &pending.operation)?;
        }
        let Ok(now) = facts(root, &path) else { continue };
        manifest.pending.remove(&part);
        let carried_out = match &pending.wanted {
            Some(wanted) => now == Some(wanted.actual),
            None => now.is_none(),
        };
        if carried_out {
            record(root, manifest, part, pending, cleaning)?;
        } else {
            keep_folders(root, manifest, &pending)?;
            if cleaning == Cleaning::Remove {
                prune_folders(root, manifest, &path)?;
            }
        }
    }
    Ok(())
}

/// Writes into `manifest` that `pending` was carried out, and finishes it: the instance's former file goes, and folders
/// of ours that became empty.
pub(super) fn record(
    root: &Root,
    manifest: &mut Manifest,
    part: Part,
    pending: Pending,
    cleaning: Cleaning,
) -> Result<(), Fault> {
    keep_folders(root, manifest, &pending)?;
    let Pending { operation: _, path, wanted, from, old, folders: _, replaced } = pending;
    for (path, version) in replaced {
        let versions = manifest.history.entry(path).or_default();
        if !versions.contains(&version) {
            versions.push(version);
        }
    }
    if let Some(from) = from {
        manifest.files.remove(&from);
    }
    let deleted = wanted.is_none();
    match wanted {
        Some(wanted) => manifest.files.insert(part, wanted),
        None => manifest.files.remove(&part),
    };
    if cleaning == Cleaning::Leave {
        return Ok(());
    }
    if let Some((old, facts)) = old {
        let old = HostPath::grammar(&old)?;
        remove_as_left(root, &old, facts)?;
        prune_folders(root, manifest, &old)?;
    }
    if deleted {
        prune_folders(root, manifest, &HostPath::grammar(&path)?)?;
    }
    Ok(())
}

fn facts(root: &Root, path: &HostPath) -> Result<Option<Facts>, Fault> {
    let Some(folder) = root.folder(path.folders())? else { return Ok(None) };
    Ok(file::read(folder.as_fd(), path.name(), &path.to_string(), &mut io::sink())?.map(|read| read.facts))
}

fn remove_candidate(root: &Root, path: &HostPath, operation: &str) -> Result<(), Fault> {
    let Ok(Some(folder)) = root.folder(path.folders()) else { return Ok(()) };
    match unlinkat(&folder, path.candidate(operation).as_str(), AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT | Errno::ISDIR) => Ok(()),
        Err(errno) => Err(Fault::system(format!("the candidate beside `{path}` cannot be removed"), errno)),
    }
}

/// Deletes the file at `path` if it is as it was left.
fn remove_as_left(root: &Root, path: &HostPath, left: Facts) -> Result<(), Fault> {
    if !matches!(facts(root, path), Ok(Some(facts)) if facts == left) {
        return Ok(());
    }
    let Some(folder) = root.folder(path.folders())? else { return Ok(()) };
    let removed = unlinkat(&folder, path.name(), AtFlags::empty()).and_then(|()| fsync(&folder));
    removed.map_err(|errno| Fault::system(format!("`{path}` cannot be removed"), errno))
}

/// The folders that were missing when the intent was made and are there now are ours.
fn keep_folders(root: &Root, manifest: &mut Manifest, pending: &Pending) -> Result<(), Fault> {
    for folder in &pending.folders {
        let path = HostPath::grammar(folder)?;
        if matches!(root.folder(path.components()), Ok(Some(_))) {
            manifest.folders.insert(folder.clone());
        }
    }
    Ok(())
}

/// Removes the folders of ours that lead to `path`, from the deepest up, as far as they are empty.
pub(super) fn prune_folders(root: &Root, manifest: &mut Manifest, path: &HostPath) -> Result<(), Fault> {
    let folders = path.folders();
    for end in (1..=folders.len()).rev() {
        let this = shown(&folders[..end]);
        // One that a definition asks for stays, whatever was made for a file.
        if !manifest.folders.contains(&this) || manifest.called(Kind::Directory, &this).is_some() {
            return Ok(());
        }
        let removed = match root.folder(&folders[..end - 1]) {
            Ok(Some(parent)) => unlinkat(&parent, folders[end - 1].as_str(), AtFlags::REMOVEDIR),
            Ok(None) => Err(Errno::NOENT),
            Err(_) => return Ok(()),
        };
        match removed {
            Ok(()) | Err(Errno::NOENT) => {
                manifest.folders.remove(&this);
            }
            // Something is in it, or it is no folder any more: it stays, and stays ours.
            Err(_) => return Ok(()),
        }
    }
    Ok(())
}
