//! Carry out one prepared change of a file: the candidate beside it, checked, then in its place by one rename.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{
    AtFlags, Gid, Mode, OFlags, RenameFlags, Uid, fchmod, fchown, fstat, fsync, linkat, openat, renameat, renameat_with, unlinkat,
};
use rustix::io::Errno;

use super::beneath::Root;
use super::fault::Stop;
use super::file::{Identity, identity, identity_of};
use super::manifest::Manifest;
use super::path::HostPath;
use super::prepare::{Prepared, Step};
use super::settle::{Cleaning, prune_folders, record};
use super::validate::validate;
use super::{Fault, Payload};
use crate::boundary;

/// Carries one change out and records it in `manifest`; an outcome that is not known stays an intent.
pub(super) fn carry_out(root: &Root, manifest: &mut Manifest, prepared: Prepared) -> Result<String, Stop> {
    let Prepared { part, path, mut pending, before, fingerprint, step } = prepared;
    let done = match step {
        Step::Nothing => Ok(()),
        Step::Write { bytes, mode, uid, gid, validate, secret } => {
            // Looked at again: an order before this one may have removed a folder that it emptied.
            pending.folders.extend(root.missing(&path)?);
            let wanted = Wanted { bytes, mode, uid, gid, validate, secret };
            write(root, &path, &pending.operation, before, &wanted)
        }
        Step::Delete => delete(root, &path, before),
    };
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

struct Wanted {
    bytes: Payload,
    mode: u32,
    uid: u32,
    gid: u32,
    validate: Option<Vec<String>>,
    secret: bool,
}

/// The new content beside the file, gone with this value unless it took the file's place.
struct Candidate<'a> {
    folder: &'a OwnedFd,
    name: String,
    placed: bool,
}

impl Drop for Candidate<'_> {
    fn drop(&mut self) {
        if !self.placed {
            // What stays is removed by name when the intent is settled.
            let _ = unlinkat(self.folder, self.name.as_str(), AtFlags::empty());
        }
    }
}

fn write(root: &Root, path: &HostPath, operation: &str, before: Option<Identity>, wanted: &Wanted) -> Result<(), Stop> {
    let system = |errno: Errno| Fault::system(format!("`{path}` cannot be written"), errno);
    let folder = root.make_folder(path.folders())?;
    let mut candidate = Candidate { folder: &folder, name: path.candidate(operation), placed: false };
    let made = create(&folder, &candidate.name, wanted.bytes.expose());
    let made = made.map_err(|error| Fault::system(format!("`{path}` cannot be written"), error))?;
    if let Some(argv) = &wanted.validate {
        validate(argv, &root.real(path.folders(), &candidate.name), &path.to_string(), wanted.secret)?;
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = openat(&folder, candidate.name.as_str(), flags, Mode::empty()).map_err(system)?;
    if identity_of(&file).map_err(system)? != made {
        return Err(Fault::new(format!("the new content of `{path}` was changed before it was in place"))
            .hint("a validate command only looks at the file that it is given")
            .into());
    }
    let stat = fstat(&file).map_err(system)?;
    // Only where it differs: without the right to give files away, one can still write one's own.
    if (stat.st_uid, stat.st_gid) != (wanted.uid, wanted.gid) {
        let (uid, gid) = (Uid::from_raw(wanted.uid), Gid::from_raw(wanted.gid));
        fchown(&file, Some(uid), Some(gid)).map_err(|errno| {
            Fault::system(format!("`{path}` cannot be given to user {} and group {}", wanted.uid, wanted.gid), errno)
        })?;
    }
    fchmod(&file, Mode::from_raw_mode(wanted.mode)).map_err(system)?;
    fsync(&file).map_err(system)?;
    boundary::reach("after_candidate");

    if identity(folder.as_fd(), path.name()).map_err(system)? != before {
        return Err(Stop::Conflict(format!("`{path}` was changed by somebody else meanwhile")));
    }
    match before {
        Some(_) => renameat(&folder, candidate.name.as_str(), &folder, path.name()),
        None => place(&folder, &candidate.name, path.name()),
    }
    .map_err(|errno| match errno {
        Errno::EXIST => Stop::Conflict(format!("`{path}` was made by somebody else meanwhile")),
        errno => Stop::Refused(system(errno)),
    })?;
    candidate.placed = true;
    boundary::reach("after_rename");
    let unknown = |cause: &str| Stop::Unknown(Fault::system(format!("`{path}` may have been written"), cause));
    fsync(&folder).map_err(|errno| unknown(&errno.to_string()))?;
    read_back(root, path, &folder, made).map_err(|cause| unknown(&cause))
}

/// Whether the file that was put into `folder` is what the path leads to.
fn read_back(root: &Root, path: &HostPath, folder: &OwnedFd, made: Identity) -> Result<(), String> {
    let there = root.folder(path.folders()).map_err(|fault| fault.to_string())?;
    let there = there.ok_or("its folder was moved meanwhile")?;
    let (there, held) = (identity_of(&there), identity_of(folder));
    match (there, held) {
        (Ok(there), Ok(held)) if there.same_file(&held) => {}
        _ => return Err("its folder was moved meanwhile".to_owned()),
    }
    match identity(folder.as_fd(), path.name()) {
        Ok(Some(now)) if now.same_file(&made) => Ok(()),
        _ => Err("it was replaced by somebody else meanwhile".to_owned()),
    }
}

/// Writes `bytes` to a new file that only its owner can reach.
fn create(folder: &OwnedFd, name: &str, bytes: &[u8]) -> std::io::Result<Identity> {
    // An earlier attempt of the same operation may have left it.
    match unlinkat(folder, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(errno.into()),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(openat(folder, name, flags, Mode::RUSR | Mode::WUSR)?);
    fchmod(&file, Mode::RUSR | Mode::WUSR)?;
    file.write_all(bytes)?;
    fsync(&file)?;
    Ok(identity_of(&file)?)
}

/// Gives the candidate its name unless something has it.
fn place(folder: &OwnedFd, candidate: &str, name: &str) -> Result<(), Errno> {
    match renameat_with(folder, candidate, folder, name, RenameFlags::NOREPLACE) {
        // The file system does not know the flag: a link is never made over something either.
        Err(Errno::INVAL | Errno::NOSYS) => {
            linkat(folder, candidate, folder, name, AtFlags::empty())?;
            unlinkat(folder, candidate, AtFlags::empty())
        }
        placed => placed,
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
