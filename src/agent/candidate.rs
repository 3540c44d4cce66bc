//! The new content of a file, beside the file that it is to replace.
//!
//! **Invariant:** a candidate is gone with its value unless it took the file's place, and only its owner can reach it until it
//! has the mode that is wanted.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use rustix::fs::{
    AtFlags, Gid, Mode, OFlags, RenameFlags, Uid, fchmod, fchown, fstat, fsync, linkat, openat, renameat, renameat_with, syncfs,
    unlinkat,
};
use rustix::io::Errno;

use super::beneath::Root;
use super::fault::Stop;
use super::file::{Identity, identity, identity_of};
use super::path::HostPath;
use super::validate::validate;
use super::{Fault, Payload};

/// What a file is to be.
pub(super) struct Content<'a> {
    pub(super) bytes: &'a Payload,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) validate: Option<&'a [String]>,
    /// Values of secrets are in it.
    pub(super) secret: bool,
}

/// The folders of files that are written together, each opened once.
#[derive(Default)]
pub(super) struct Folders(BTreeMap<Vec<String>, Rc<OwnedFd>>);

impl Folders {
    fn of(&mut self, root: &Root, path: &HostPath) -> Result<Rc<OwnedFd>, Fault> {
        if let Some(folder) = self.0.get(path.folders()) {
            return Ok(Rc::clone(folder));
        }
        let folder = Rc::new(root.make_folder(path.folders())?);
        self.0.insert(path.folders().to_vec(), Rc::clone(&folder));
        Ok(folder)
    }

    /// Makes what happened to names in them durable; those where that is not known, with the reason.
    pub(super) fn sync(&self) -> BTreeMap<Vec<String>, String> {
        let synced = self.0.iter().map(|(path, folder)| (path, fsync(folder)));
        synced.filter_map(|(path, synced)| Some((path.clone(), synced.err()?.to_string()))).collect()
    }
}

/// New content that has no name of its own yet.
pub(super) struct Candidate {
    folder: Rc<OwnedFd>,
    name: String,
    file: File,
    /// Which file it is.
    made: Identity,
    placed: bool,
}

impl Drop for Candidate {
    fn drop(&mut self) {
        if !self.placed {
            // What stays is removed by name when the intent is settled.
            let _ = unlinkat(&self.folder, self.name.as_str(), AtFlags::empty());
        }
    }
}

impl Candidate {
    /// Writes it, has it checked, and gives it owner and mode. It is not durable yet.
    pub(super) fn write(
        root: &Root,
        folders: &mut Folders,
        (path, operation): (&HostPath, &str),
        content: &Content<'_>,
    ) -> Result<Self, Stop> {
        let system = |error: std::io::Error| Fault::system(format!("`{path}` cannot be written"), error);
        let folder = folders.of(root, path)?;
        let name = path.candidate(operation);
        let (file, made) = create(&folder, &name, content.bytes.expose()).map_err(system)?;
        let mut candidate = Self { folder, name, file, made, placed: false };
        if let Some(argv) = content.validate {
            validate(argv, &root.real(path.folders(), &candidate.name), &path.to_string(), content.secret)?;
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let opened = openat(&candidate.folder, candidate.name.as_str(), flags, Mode::empty());
            candidate.file = opened.map_err(|errno| system(errno.into()))?.into();
            if identity_of(&candidate.file).map_err(|errno| system(errno.into()))? != made {
                return Err(Fault::new(format!("the new content of `{path}` was changed before it was in place"))
                    .hint("a validate command only looks at the file that it is given")
                    .into());
            }
        }
        let stat = fstat(&candidate.file).map_err(|errno| system(errno.into()))?;
        // Only where it differs: without the right to give files away, one can still write one's own.
        if (stat.st_uid, stat.st_gid) != (content.uid, content.gid) {
            let (uid, gid) = (Uid::from_raw(content.uid), Gid::from_raw(content.gid));
            fchown(&candidate.file, Some(uid), Some(gid)).map_err(|errno| {
                Fault::system(format!("`{path}` cannot be given to user {} and group {}", content.uid, content.gid), errno)
            })?;
        }
        fchmod(&candidate.file, Mode::from_raw_mode(content.mode)).map_err(|errno| system(errno.into()))?;
        Ok(candidate)
    }

    /// Gives it the name of the file, which is still the one that was there `before`.
    pub(super) fn place(&mut self, path: &HostPath, before: Option<Identity>) -> Result<(), Stop> {
        let system = |errno: Errno| Fault::system(format!("`{path}` cannot be written"), errno);
        if identity(self.folder.as_fd(), path.name()).map_err(system)? != before {
            return Err(Stop::Conflict(format!("`{path}` was changed by somebody else meanwhile")));
        }
        match before {
            Some(_) => renameat(&self.folder, self.name.as_str(), &self.folder, path.name()),
            None => give_name(&self.folder, &self.name, path.name()),
        }
        .map_err(|errno| match errno {
            Errno::EXIST => Stop::Conflict(format!("`{path}` was made by somebody else meanwhile")),
            errno => Stop::Refused(system(errno)),
        })?;
        self.placed = true;
        Ok(())
    }

    /// Whether it is what the path leads to.
    pub(super) fn read_back(&self, root: &Root, path: &HostPath) -> Result<(), String> {
        let there = root.folder(path.folders()).map_err(|fault| fault.to_string())?;
        let there = there.ok_or("its folder was moved meanwhile")?;
        match (identity_of(&there), identity_of(&*self.folder)) {
            (Ok(there), Ok(held)) if there.same_file(&held) => {}
            _ => return Err("its folder was moved meanwhile".to_owned()),
        }
        match identity(self.folder.as_fd(), path.name()) {
            Ok(Some(now)) if now.same_file(&self.made) => Ok(()),
            _ => Err("it was replaced by somebody else meanwhile".to_owned()),
        }
    }
}

/// So many are made durable one by one; more than that, all at once.
const FEW: usize = 8;

/// Makes candidates durable before any has its name: a machine that goes down in between has the old file or the new one, and
/// never an empty one. Many are one call for each file system that they lie on.
pub(super) fn make_durable<'a>(candidates: impl Iterator<Item = &'a Candidate> + Clone) -> Result<(), Errno> {
    if candidates.clone().count() <= FEW {
        return candidates.map(|candidate| &candidate.file).try_for_each(fsync);
    }
    let mut devices = std::collections::BTreeSet::new();
    for candidate in candidates {
        if devices.insert(fstat(&candidate.file)?.st_dev) {
            syncfs(&candidate.file)?;
        }
    }
    Ok(())
}

/// Writes `bytes` to a new file that only its owner can reach.
fn create(folder: &OwnedFd, name: &str, bytes: &[u8]) -> std::io::Result<(File, Identity)> {
    // An earlier attempt of the same operation may have left it.
    match unlinkat(folder, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(errno.into()),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(openat(folder, name, flags, Mode::RUSR | Mode::WUSR)?);
    fchmod(&file, Mode::RUSR | Mode::WUSR)?;
    file.write_all(bytes)?;
    let made = identity_of(&file)?;
    Ok((file, made))
}

/// Gives the candidate its name unless something has it.
fn give_name(folder: &OwnedFd, candidate: &str, name: &str) -> Result<(), Errno> {
    match renameat_with(folder, candidate, folder, name, RenameFlags::NOREPLACE) {
        // The file system does not know the flag: a link is never made over something either.
        Err(Errno::INVAL | Errno::NOSYS) => {
            linkat(folder, candidate, folder, name, AtFlags::empty())?;
            unlinkat(folder, candidate, AtFlags::empty())
        }
        placed => placed,
    }
}
