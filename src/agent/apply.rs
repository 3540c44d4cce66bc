//! Carry out orders: intents first, then each file, then the record.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{
    AtFlags, Gid, Mode, OFlags, RenameFlags, Uid, fchmod, fchown, fstat, fsync, linkat, openat, renameat, renameat_with, unlinkat,
};
use rustix::io::Errno;

use super::accounts::Accounts;
use super::beneath::Root;
use super::fault::Stop;
use super::file::{Identity, identity, identity_of};
use super::manifest::Manifest;
use super::path::HostPath;
use super::prepare::{Prepared, Scene, Step};
use super::settle::{Cleaning, record, settle};
use super::state::{State, others};
use super::validate::validate;
use super::{Fault, FileOrder, FileResult, Payload, Policy};
use crate::boundary;
use crate::model::EnvironmentId;

/// One result for each order, in their order.
pub(super) fn apply(
    policy: &Policy,
    environment: &EnvironmentId,
    epoch: u64,
    orders: Vec<FileOrder>,
) -> Result<Vec<FileResult>, Fault> {
    let root = Root::open(policy.root.as_deref())?;
    let state = State::make(policy, &root, environment)?;
    let _lock = state.lock()?;
    let mut manifest = state.manifest()?;
    if epoch < manifest.epoch {
        let message = format!("epoch {epoch} is over: this host has seen {}", manifest.epoch);
        return Err(Fault::new(message).hint("another daemon took this environment over; stop this one"));
    }
    manifest.epoch = epoch;
    settle(&root, &mut manifest, Cleaning::Remove)?;

    let claims = state.claims(environment)?;
    let scene = Scene {
        policy,
        root: &root,
        state: &state,
        accounts: Accounts::read(&root),
        manifest: &manifest,
        others: others(policy, &root, environment, orders.iter().map(|order| order.path.as_str()))?,
    };
    let prepared: Vec<Result<Prepared, Stop>> = orders.into_iter().map(|order| scene.prepare(order)).collect();
    for prepared in prepared.iter().flatten() {
        manifest.pending.insert(prepared.key.clone(), prepared.pending.clone());
    }
    let paths: BTreeSet<String> =
        prepared.iter().flatten().flat_map(|prepared| prepared.pending.paths().map(str::to_owned)).collect();
    let wanted = prepared.iter().flatten().filter_map(|prepared| prepared.pending.wanted.as_ref());
    claims.take(wanted.map(|entry| entry.path.as_str()))?;
    // Intents are durable before a file is touched.
    boundary::reach("before_host_intent");
    state.save(&manifest)?;
    boundary::reach("after_host_intent");

    let mut results: Vec<FileResult> = prepared
        .into_iter()
        .map(|prepared| result(prepared.and_then(|prepared| carry_out(&root, &mut manifest, prepared))))
        .collect();
    boundary::reach("before_host_record");
    let saved = collect(&state, &mut manifest);
    boundary::reach("after_host_record");
    if let Err(fault) = saved {
        // What was done is done, and the intents say so; only the record is missing.
        let done = results.iter_mut().filter(|result| matches!(result, FileResult::Done { .. }));
        done.for_each(|result| *result = FileResult::Unknown(fault.clone()));
    } else {
        let held: BTreeSet<&str> = manifest.paths().collect();
        claims.give_up(paths.iter().map(String::as_str).filter(|path| !held.contains(path)));
    }
    Ok(results)
}

fn collect(state: &State, manifest: &mut Manifest) -> Result<(), Fault> {
    let kept = manifest.prune_history();
    state.save(manifest)?;
    state.collect(&kept)
}

fn result(done: Result<String, Stop>) -> FileResult {
    match done {
        Ok(fingerprint) => FileResult::Done { fingerprint },
        Err(Stop::Refused(fault)) => FileResult::Refused(fault),
        Err(Stop::Conflict(message)) => FileResult::Conflict(message),
        Err(Stop::Unknown(fault)) => FileResult::Unknown(fault),
    }
}

/// Carries one order out and records it in `manifest`; an outcome that is not known stays an intent.
fn carry_out(root: &Root, manifest: &mut Manifest, prepared: Prepared) -> Result<String, Stop> {
    let Prepared { key, path, mut pending, before, fingerprint, step } = prepared;
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
            manifest.pending.remove(&key);
            record(root, manifest, key, pending, Cleaning::Remove).map_err(Stop::Unknown)?;
            Ok(fingerprint)
        }
        Err(Stop::Unknown(fault)) => Err(Stop::Unknown(fault)),
        Err(stop) => {
            manifest.pending.remove(&key);
            if !pending.folders.is_empty() {
                manifest.folders.extend(pending.folders);
                super::settle::prune_folders(root, manifest, &path)?;
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
