//! Carry out prepared changes of files: candidates beside them, checked, made durable, then in place by one rename each.
//!
//! What is done once for many is done once: a file system is asked to be durable once for the new contents of all files, and
//! each folder once for their names.

use std::os::fd::AsFd;

use rustix::fs::{AtFlags, fsync, unlinkat};
use rustix::io::Errno;

use super::Fault;
use super::beneath::Root;
use super::candidate::{Candidate, Content, Folders, make_durable};
use super::fault::Stop;
use super::file::{Identity, identity};
use super::manifest::Manifest;
use super::path::HostPath;
use super::prepare::{Prepared, Step};
use super::settle::{Cleaning, prune_folders, record};
use crate::boundary;

/// So many are open at once.
const AT_ONCE: usize = 200;

/// Carries changes out and records each in `manifest`, one answer for each, in their order: the fingerprint now. An outcome
/// that is not known stays an intent.
pub(super) fn carry_out(root: &Root, manifest: &mut Manifest, changes: Vec<Prepared>) -> Vec<Result<String, Stop>> {
    let mut ended = Vec::with_capacity(changes.len());
    let mut changes = changes.into_iter().peekable();
    while changes.peek().is_some() {
        ended.extend(together(root, manifest, changes.by_ref().take(AT_ONCE).collect()));
    }
    ended
}

fn together(root: &Root, manifest: &mut Manifest, mut changes: Vec<Prepared>) -> Vec<Result<String, Stop>> {
    let mut folders = Folders::default();
    let candidates: Vec<Result<Option<Candidate>, Stop>> =
        changes.iter_mut().map(|change| candidate(root, &mut folders, change)).collect();
    let durable = make_durable(candidates.iter().flatten().flatten());
    let placed: Vec<Result<Option<Candidate>, Stop>> =
        changes.iter().zip(candidates).map(|(change, candidate)| place(root, change, candidate?, durable)).collect();
    let unsynced = folders.sync();
    let finish = |(change, placed): (Prepared, Result<Option<Candidate>, Stop>)| {
        let done = placed.and_then(|candidate| {
            let Some(candidate) = candidate else { return Ok(()) };
            let synced = unsynced.get(change.path.folders()).cloned().map_or(Ok(()), Err);
            synced
                .and_then(|()| candidate.read_back(root, &change.path))
                .map_err(|cause| Stop::Unknown(Fault::system(format!("`{}` may have been written", change.path), cause)))
        });
        finish(root, manifest, change, done)
    };
    changes.into_iter().zip(placed).map(finish).collect()
}

/// The new content beside the file, where there is to be one.
fn candidate(root: &Root, folders: &mut Folders, change: &mut Prepared) -> Result<Option<Candidate>, Stop> {
    let Prepared { path, pending, step: Step::Write { bytes, mode, uid, gid, validate, secret }, .. } = change else {
        return Ok(None);
    };
    // Looked at again: an order before this one may have removed a folder that it emptied.
    pending.folders.extend(root.missing(path)?);
    let (mode, uid, gid, secret) = (*mode, *uid, *gid, *secret);
    let content = Content { bytes, mode, uid, gid, validate: validate.as_deref(), secret };
    Candidate::write(root, folders, (path, &pending.operation), &content).map(Some)
}

/// The candidate in its place, or the file gone.
fn place(
    root: &Root,
    change: &Prepared,
    candidate: Option<Candidate>,
    durable: Result<(), Errno>,
) -> Result<Option<Candidate>, Stop> {
    let Prepared { path, before, step, .. } = change;
    match (step, candidate) {
        (Step::Delete, _) => delete(root, path, *before).map(|()| None),
        (_, None) => Ok(None),
        (_, Some(mut candidate)) => {
            durable.map_err(|errno| Fault::system(format!("`{path}` cannot be written"), errno))?;
            boundary::reach("after_candidate");
            candidate.place(path, *before)?;
            boundary::reach("after_rename");
            Ok(Some(candidate))
        }
    }
}

/// Writes into `manifest` what became of a change.
fn finish(root: &Root, manifest: &mut Manifest, change: Prepared, done: Result<(), Stop>) -> Result<String, Stop> {
    let Prepared { part, path, pending, before: _, fingerprint, step: _ } = change;
    match done {
        Ok(()) => {
            manifest.pending.remove(&part);
            record(root, manifest, part, pending, Cleaning::Remove).map_err(Stop::Unknown)?;
            Ok(fingerprint)
        }
        Err(Stop::Unknown(fault)) => Err(Stop::Unknown(fault)),
        Err(stop) => {
            manifest.pending.remove(&part);
            if !pending.folders.is_empty() {
                manifest.folders.extend(pending.folders);
                prune_folders(root, manifest, &path)?;
            }
            Err(stop)
        }
    }
}

fn delete(root: &Root, path: &HostPath, before: Option<Identity>) -> Result<(), Stop> {
    let system = |errno: Errno| Fault::system(format!("`{path}` cannot be deleted"), errno);
    let Some(folder) = root.folder(path.folders())? else { return Ok(()) };
    match identity(folder.as_fd(), path.name()).map_err(system)? {
        None => return Ok(()),
        now if now != before => return Err(Stop::Conflict(format!("`{path}` was changed by somebody else meanwhile"))),
        Some(_) => {}
    }
    unlinkat(&folder, path.name(), AtFlags::empty()).map_err(system)?;
    boundary::reach("after_unlink");
    fsync(&folder).map_err(|errno| Stop::Unknown(system(errno)))
}
