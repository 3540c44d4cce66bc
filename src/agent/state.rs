//! The state folder on the host: manifests, replaced files, the lock, the key for fingerprints.
//!
//! **Invariant:** readable by its owner only; each file is replaced as a whole or not at all.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, Dir, FlockOperation, Mode, OFlags, flock, fstat, fsync, mkdirat, openat, renameat, unlinkat};
use rustix::io::Errno;

use super::beneath::Root;
use super::claims::{self, Claims};
use super::file::MAX_FILE_BYTES;
use super::manifest::{FILES_ONLY, FORMAT, Manifest};
use super::path::HostPath;
use super::policy::STATE_BENEATH_ROOT;
use super::{Fault, Payload, Policy};
use crate::model::{Digest, EnvironmentId, EnvironmentName, Secret, TenantName};

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const MANIFEST: &str = "manifest.json";
const PREIMAGES: &str = "preimages";
const INCOMING: &str = ".incoming";
const CANDIDATES: &str = "candidates";
const MAX_MANIFEST_BYTES: u64 = 64 * 1024 * 1024;
const LOCK_PATIENCE: Duration = Duration::from_secs(120);

/// The state folder of one environment, within that of the host.
pub(super) struct State {
    host: OwnedFd,
    own: OwnedFd,
    /// Where `own` is for the programs of this machine.
    real: PathBuf,
    shown: String,
}

/// Held for as long as files of this host are changed.
pub(super) struct Lock(#[expect(dead_code, reason = "dropping it releases the lock")] OwnedFd);

impl State {
    /// The state of `environment`; `None` where nothing was ever applied here.
    pub(super) fn open(policy: &Policy, root: &Root, environment: &EnvironmentId) -> Result<Option<Self>, Fault> {
        let shown = policy.state_path();
        let Some(host) = open_host(policy, root)? else { return Ok(None) };
        let own = enter(&host, environment.tenant.as_str(), &shown)?
            .map(|tenant| enter(&tenant, environment.environment.as_str(), &shown))
            .transpose()?
            .flatten();
        let real = real(policy, environment);
        Ok(own.map(|own| Self { host, own, real, shown }))
    }

    /// The same, made where it is not there.
    pub(super) fn make(policy: &Policy, root: &Root, environment: &EnvironmentId) -> Result<Self, Fault> {
        let shown = policy.state_path();
        let failed = |errno: Errno| unusable(&shown, errno);
        let host = match policy.root {
            Some(_) => {
                let path = HostPath::grammar(STATE_BENEATH_ROOT)?;
                root.make_folder(path.folders())?;
                root.make_folder_with(path.components(), 0o700)?
            }
            None => {
                let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&policy.state);
                made.map_err(|error| unusable(&shown, error))?;
                rustix::fs::open(&policy.state, FOLDER.difference(OFlags::NOFOLLOW), Mode::empty()).map_err(failed)?
            }
        };
        check(&host, &shown, 0o022)?;
        let tenant = make_and_enter(&host, environment.tenant.as_str(), &shown)?;
        let own = make_and_enter(&tenant, environment.environment.as_str(), &shown)?;
        make_and_enter(&own, PREIMAGES, &shown)?;
        Ok(Self { host, own, real: real(policy, environment), shown })
    }

    /// Waits until nobody else changes files of this host.
    pub(super) fn lock(&self) -> Result<Lock, Fault> {
        let start = Instant::now();
        loop {
            if let Some(lock) = self.try_lock()? {
                return Ok(lock);
            }
            if start.elapsed() > LOCK_PATIENCE {
                return Err(Fault::system(format!("the lock of `{}` cannot be had", self.shown), "another apply holds it"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The lock, unless somebody has it.
    pub(super) fn try_lock(&self) -> Result<Option<Lock>, Fault> {
        // No tenant has this name: there is no dot in their grammar.
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&self.host, ".lock", flags, Mode::RUSR | Mode::WUSR).map_err(|errno| self.failed(errno))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Lock(file))),
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            Err(errno) => Err(self.failed(errno)),
        }
    }

    /// What this environment claims on this host; the lock is held.
    pub(super) fn claims(&self, environment: &EnvironmentId) -> Result<Claims, Fault> {
        Claims::open(&self.host, &self.shown, environment)
    }

    /// The manifest of this environment; an empty one where there is none.
    pub(super) fn manifest(&self) -> Result<Manifest, Fault> {
        Ok(read_manifest(&self.own, &self.shown)?.unwrap_or_default())
    }

    /// Replaces the manifest.
    pub(super) fn save(&self, manifest: &Manifest) -> Result<(), Fault> {
        let bytes = serde_json::to_vec_pretty(manifest).map_err(|error| unusable(&self.shown, error))?;
        self.replace(&self.own, MANIFEST, &bytes)
    }

    /// The key under which fingerprints of files with secrets are made; made at random when it is first needed.
    pub(super) fn key(&self) -> Result<[u8; 32], Fault> {
        let mut key = [0; 32];
        if let Some(bytes) = read(&self.own, "fingerprint.key", 32).map_err(|error| unusable(&self.shown, error))?
            && bytes.len() == key.len()
        {
            key.copy_from_slice(&bytes);
            return Ok(key);
        }
        let random = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut key));
        random.map_err(|error| unusable(&self.shown, error))?;
        self.replace(&self.own, "fingerprint.key", &key)?;
        Ok(key)
    }

    /// A place for the bytes of a file that may be replaced: kept by [`State::keep`] or gone at the next one.
    pub(super) fn incoming(&self) -> Result<File, Fault> {
        let folder = self.preimages()?;
        create(&folder, INCOMING).map_err(|error| unusable(&self.shown, error))
    }

    /// Keeps what was written to `incoming` under its digest.
    pub(super) fn keep(&self, incoming: &File, sha256: Digest) -> Result<(), Fault> {
        let folder = self.preimages()?;
        let kept = fsync(incoming)
            .and_then(|()| renameat(&folder, INCOMING, &folder, sha256.to_string().as_str()))
            .and_then(|()| fsync(&folder));
        kept.map_err(|errno| self.failed(errno))
    }

    /// The bytes of a replaced file.
    pub(super) fn kept(&self, sha256: Digest) -> Result<Payload, Fault> {
        let folder = self.preimages()?;
        let bytes = read(&folder, &sha256.to_string(), MAX_FILE_BYTES).map_err(|error| unusable(&self.shown, error))?;
        let bytes = bytes.ok_or_else(|| unusable(&self.shown, "a replaced file is no longer there"))?;
        Ok(Payload::new(Secret::new(bytes)))
    }

    /// A folder for candidates that need their own name, empty.
    pub(super) fn candidates(&self) -> Result<(OwnedFd, PathBuf), Fault> {
        let folder = make_and_enter(&self.own, CANDIDATES, &self.shown)?;
        for name in names(&folder, &self.shown)? {
            unlinkat(&folder, name.as_str(), AtFlags::empty()).map_err(|errno| self.failed(errno))?;
        }
        Ok((folder, self.real.join(CANDIDATES)))
    }

    /// Deletes every replaced file that is not in `kept`.
    pub(super) fn collect(&self, kept: &BTreeSet<Digest>) -> Result<(), Fault> {
        let folder = self.preimages()?;
        for name in names(&folder, &self.shown)? {
            if !name.parse().is_ok_and(|digest: Digest| kept.contains(&digest)) {
                unlinkat(&folder, name.as_str(), AtFlags::empty()).map_err(|errno| self.failed(errno))?;
            }
        }
        Ok(())
    }

    fn preimages(&self) -> Result<OwnedFd, Fault> {
        enter(&self.own, PREIMAGES, &self.shown)?.ok_or_else(|| self.failed(Errno::NOENT))
    }

    fn replace(&self, folder: &OwnedFd, name: &str, bytes: &[u8]) -> Result<(), Fault> {
        let incoming = format!(".{name}.incoming");
        let written = || -> std::io::Result<()> {
            let mut file = create(folder, &incoming)?;
            file.write_all(bytes)?;
            fsync(&file)?;
            renameat(folder, incoming.as_str(), folder, name)?;
            Ok(fsync(folder)?)
        };
        written().map_err(|error| unusable(&self.shown, error))
    }

    fn failed(&self, errno: Errno) -> Fault {
        unusable(&self.shown, errno)
    }
}

fn real(policy: &Policy, environment: &EnvironmentId) -> PathBuf {
    let state = match &policy.root {
        Some(root) => root.join(STATE_BENEATH_ROOT.trim_start_matches('/')),
        None => policy.state.clone(),
    };
    state.join(environment.tenant.as_str()).join(environment.environment.as_str())
}

/// The manifests of the other environments on this host that `paths` may belong to, sorted by environment.
pub(super) fn others<'a>(
    policy: &Policy,
    root: &Root,
    environment: &EnvironmentId,
    paths: impl IntoIterator<Item = &'a str>,
) -> Result<Vec<(EnvironmentId, Manifest)>, Fault> {
    let shown = policy.state_path();
    let Some(host) = open_host(policy, root)? else { return Ok(Vec::new()) };
    let mut others = match claims::owners(&host, &shown, paths)? {
        Some(owners) => {
            let read = |id: EnvironmentId| Ok(manifest_of(&host, &shown, &id)?.map(|manifest| (id, manifest)));
            owners.into_iter().filter_map(|id| read(id).transpose()).collect::<Result<_, Fault>>()?
        }
        None => every(&host, &shown)?,
    };
    others.retain(|(id, _)| id != environment);
    Ok(others)
}

/// The manifests of all environments on this host.
pub(super) fn everybody(policy: &Policy, root: &Root) -> Result<Vec<(EnvironmentId, Manifest)>, Fault> {
    open_host(policy, root)?.map_or_else(|| Ok(Vec::new()), |host| every(&host, &policy.state_path()))
}

/// The manifests of all environments in the state folder `host`, sorted by environment.
pub(super) fn every(host: &OwnedFd, shown: &str) -> Result<Vec<(EnvironmentId, Manifest)>, Fault> {
    let mut found = Vec::new();
    for tenant in names(host, shown)? {
        let Ok(tenant) = TenantName::try_from(tenant) else { continue };
        let Some(folder) = enter(host, tenant.as_str(), shown)? else { continue };
        for name in names(&folder, shown)? {
            let Ok(name) = EnvironmentName::try_from(name) else { continue };
            let id = EnvironmentId { tenant: tenant.clone(), environment: name };
            if let Some(manifest) = manifest_of(host, shown, &id)? {
                found.push((id, manifest));
            }
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(found)
}

fn manifest_of(host: &OwnedFd, shown: &str, environment: &EnvironmentId) -> Result<Option<Manifest>, Fault> {
    let Some(tenant) = enter(host, environment.tenant.as_str(), shown)? else { return Ok(None) };
    let Some(own) = enter(&tenant, environment.environment.as_str(), shown)? else { return Ok(None) };
    read_manifest(&own, shown)
}

fn open_host(policy: &Policy, root: &Root) -> Result<Option<OwnedFd>, Fault> {
    let shown = policy.state_path();
    let host = match policy.root {
        Some(_) => root.folder(HostPath::grammar(STATE_BENEATH_ROOT)?.components())?,
        None => match rustix::fs::open(&policy.state, FOLDER.difference(OFlags::NOFOLLOW), Mode::empty()) {
            Ok(folder) => Some(folder),
            Err(Errno::NOENT) => None,
            Err(errno) => return Err(unusable(&shown, errno)),
        },
    };
    host.map(|host| check(&host, &shown, 0o022).map(|()| host)).transpose()
}

pub(super) fn names(folder: &OwnedFd, shown: &str) -> Result<Vec<String>, Fault> {
    let failed = |errno: Errno| unusable(shown, errno);
    let mut names = Vec::new();
    for entry in Dir::read_from(folder).map_err(failed)? {
        if let Ok(name) = entry.map_err(failed)?.file_name().to_str()
            && name != "."
            && name != ".."
        {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

pub(super) fn unusable(shown: &str, cause: impl std::fmt::Display) -> Fault {
    Fault::system(format!("the state folder `{shown}` cannot be used"), cause)
        .hint("run as a user that owns it; the system's units run as root for hosts with `connect = \"local\"`")
}

/// Nobody else may have put anything into a state folder.
fn check(folder: &OwnedFd, shown: &str, forbidden: u32) -> Result<(), Fault> {
    let stat = fstat(folder).map_err(|errno| unusable(shown, errno))?;
    if stat.st_uid != rustix::process::geteuid().as_raw() || stat.st_mode & forbidden != 0 {
        let mode = stat.st_mode & 0o7777;
        let message =
            format!("the state folder `{shown}` belongs to user {} with mode {mode:04o}: others can write to it", stat.st_uid);
        return Err(Fault::new(message).hint(format!("chown it to the user of trunkline, and `chmod -R go-rwx {shown}`")));
    }
    Ok(())
}

pub(super) fn enter(folder: &OwnedFd, name: &str, shown: &str) -> Result<Option<OwnedFd>, Fault> {
    match openat(folder, name, FOLDER, Mode::empty()) {
        Ok(folder) => check(&folder, shown, 0o022).map(|()| Some(folder)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(errno) => Err(unusable(shown, errno)),
    }
}

pub(super) fn make_and_enter(folder: &OwnedFd, name: &str, shown: &str) -> Result<OwnedFd, Fault> {
    match mkdirat(folder, name, Mode::RWXU) {
        Ok(()) => fsync(folder).map_err(|errno| unusable(shown, errno))?,
        Err(Errno::EXIST) => {}
        Err(errno) => return Err(unusable(shown, errno)),
    }
    enter(folder, name, shown)?.ok_or_else(|| unusable(shown, format!("`{name}` is no folder")))
}

fn create(folder: &OwnedFd, name: &str) -> std::io::Result<File> {
    match unlinkat(folder, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(errno.into()),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(File::from(openat(folder, name, flags, Mode::RUSR | Mode::WUSR)?))
}

fn read(folder: impl AsFd, name: &str, limit: u64) -> std::io::Result<Option<Vec<u8>>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match openat(folder, name, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(errno.into()),
    };
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(std::io::Error::other(format!("`{name}` is larger than any we wrote")));
    }
    Ok(Some(bytes))
}

fn read_manifest(folder: &OwnedFd, shown: &str) -> Result<Option<Manifest>, Fault> {
    let Some(bytes) = read(folder, MANIFEST, MAX_MANIFEST_BYTES).map_err(|error| unusable(shown, error))? else {
        return Ok(None);
    };
    let broken = |cause: String| Fault {
        message: format!("a manifest below `{shown}` cannot be understood"),
        cause: Some(cause),
        hint: Some("nothing is changed on this host until it is restored, or moved away by hand".to_owned()),
        transient: false,
    };
    // No line of it is repeated: a manifest names digests of files that hold secrets.
    let mut manifest: Manifest =
        serde_json::from_slice(&bytes).map_err(|error| broken(format!("line {}, column {}", error.line(), error.column())))?;
    if manifest.format == FILES_ONLY {
        manifest.format = FORMAT;
    }
    if manifest.format != FORMAT {
        return Err(broken(format!("its format is {}, and this version knows {FORMAT}", manifest.format)));
    }
    Ok(Some(manifest))
}
