//! Which environment has a path on this host: a pass costs the same beside one other environment and beside a thousand.
//!
//! A folder within the state folder holds a symbolic link for each path: named by the path's digest, and leading to
//! `tenant/environment`. It tells whose manifest is to be read, and the manifest decides: a link to an environment that has
//! given the path up says nothing.
//!
//! **Invariant:** while the folder is there, each path in any manifest has a link to its environment: a link is durable before
//! the intent that needs it. Where the folder is not there yet, every manifest is read.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, fsync, readlinkat, renameat, symlinkat, unlinkat};
use rustix::io::Errno;

use super::Fault;
use super::state::{enter, every, make_and_enter, names, unusable};
use crate::model::{Digest, EnvironmentId};

/// No tenant has this name: there is no dot in their grammar.
const FOLDER: &str = ".claims";
const INCOMING: &str = ".claims.incoming";
/// No digest has this name.
const LINK: &str = ".link.incoming";

/// The claims on one host, for one environment.
pub(super) struct Claims {
    folder: OwnedFd,
    own: String,
    shown: String,
}

/// The environments that the paths may belong to; `None` where only reading every manifest tells.
pub(super) fn owners<'a>(
    host: &OwnedFd,
    shown: &str,
    paths: impl IntoIterator<Item = &'a str>,
) -> Result<Option<BTreeSet<EnvironmentId>>, Fault> {
    let Some(folder) = enter(host, FOLDER, shown)? else { return Ok(None) };
    let mut owners = BTreeSet::new();
    for path in paths {
        owners.extend(owner(&folder, shown, path)?.and_then(|owner| owner.parse::<EnvironmentId>().ok()));
    }
    Ok(Some(owners))
}

impl Claims {
    /// The claims of `environment` in the state folder `host`, whose lock is held; made from the manifests where there are
    /// none.
    pub(super) fn open(host: &OwnedFd, shown: &str, environment: &EnvironmentId) -> Result<Self, Fault> {
        let folder = match enter(host, FOLDER, shown)? {
            Some(folder) => folder,
            None => build(host, shown)?,
        };
        Ok(Self { folder, own: target(environment), shown: shown.to_owned() })
    }

    /// Makes these paths ours, durably. Nobody else's manifest has them.
    pub(super) fn take<'a>(&self, paths: impl IntoIterator<Item = &'a str>) -> Result<(), Fault> {
        let mut taken = false;
        for path in paths {
            if owner(&self.folder, &self.shown, path)?.as_deref() != Some(&self.own) {
                link(&self.folder, path, &self.own).map_err(|errno| unusable(&self.shown, errno))?;
                taken = true;
            }
        }
        if taken { fsync(&self.folder).map_err(|errno| unusable(&self.shown, errno)) } else { Ok(()) }
    }

    /// Gives these paths up, which our manifest no longer has. One that stays says nothing.
    pub(super) fn give_up<'a>(&self, paths: impl IntoIterator<Item = &'a str>) {
        for path in paths {
            if matches!(owner(&self.folder, &self.shown, path), Ok(Some(owner)) if owner == self.own) {
                let _ = unlinkat(&self.folder, name(path), AtFlags::empty());
            }
        }
    }
}

fn name(path: &str) -> String {
    Digest::of(path.as_bytes()).to_string()
}

fn target(environment: &EnvironmentId) -> String {
    format!("{}/{}", environment.tenant, environment.environment)
}

fn owner(folder: &OwnedFd, shown: &str, path: &str) -> Result<Option<String>, Fault> {
    match readlinkat(folder, name(path), Vec::new()) {
        Ok(owner) => Ok(Some(owner.to_string_lossy().into_owned())),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(unusable(shown, errno)),
    }
}

/// A link replaces another as a whole: there is no moment without one.
fn link(folder: &OwnedFd, path: &str, owner: &str) -> Result<(), Errno> {
    match unlinkat(folder, LINK, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(errno),
    }
    symlinkat(owner, folder, LINK)?;
    renameat(folder, LINK, folder, name(path))
}

/// Made from every manifest, and in place only once it is whole.
fn build(host: &OwnedFd, shown: &str) -> Result<OwnedFd, Fault> {
    let failed = |errno: Errno| unusable(shown, errno);
    let folder = make_and_enter(host, INCOMING, shown)?;
    for left in names(&folder, shown)? {
        unlinkat(&folder, left.as_str(), AtFlags::empty()).map_err(failed)?;
    }
    for (environment, manifest) in every(host, shown)? {
        for claim in manifest.claims() {
            link(&folder, &claim, &target(&environment)).map_err(failed)?;
        }
    }
    let placed = fsync(&folder).and_then(|()| renameat(host, INCOMING, host, FOLDER)).and_then(|()| fsync(host));
    placed.map_err(failed)?;
    Ok(folder)
}
