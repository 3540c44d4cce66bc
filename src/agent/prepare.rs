//! Check an order against the host, and keep what it would replace: everything before a file is touched.

use std::os::fd::AsFd;

use super::accounts::Accounts;
use super::beneath::Root;
use super::fault::Stop;
use super::file::{self, Facts, Identity, ReadFile};
use super::manifest::{Entry, Manifest, Pending, PreImage};
use super::part::Part;
use super::path::HostPath;
use super::state::State;
use super::{Fault, FileOrder, FileTask, FileWrite, Payload, Policy};
use crate::model::{Content, EnvironmentId, Kind, Marker};
use crate::plan::Precondition;

/// A change of a file: one that was ordered, or one that the change of a thing consists of.
pub(super) struct FileChange {
    /// Which.
    pub(super) part: Part,
    /// For a move: which it was.
    pub(super) from: Option<Part>,
    /// Where it is or is to be.
    pub(super) path: String,
    /// What must be so; `None` where the thing was looked at as a whole.
    pub(super) precondition: Option<Precondition>,
    /// What is written into the manifest.
    pub(super) marker: Marker,
    /// What is done.
    pub(super) task: FileTask,
}

impl From<FileOrder> for FileChange {
    fn from(order: FileOrder) -> Self {
        let FileOrder { key, from, path, precondition, marker, task } = order;
        Self { part: key.into(), from: from.map(Part::from), path, precondition: Some(precondition), marker, task }
    }
}

/// What orders are checked against.
pub(super) struct Scene<'a> {
    pub(super) policy: &'a Policy,
    pub(super) root: &'a Root,
    pub(super) state: &'a State,
    pub(super) accounts: Accounts,
    pub(super) manifest: &'a Manifest,
    pub(super) others: &'a [(EnvironmentId, Manifest)],
}

/// An order that may be carried out.
pub(super) struct Prepared {
    pub(super) part: Part,
    pub(super) path: HostPath,
    /// What goes into the manifest before anything is done.
    pub(super) pending: Pending,
    /// Which file stood there; `None` for none.
    pub(super) before: Option<Identity>,
    /// The fingerprint once it is done.
    pub(super) fingerprint: String,
    pub(super) step: Step,
}

/// What is left to do.
pub(super) enum Step {
    /// It is as wanted already: only the manifest changes.
    Nothing,
    /// The file is written.
    Write {
        bytes: Payload,
        mode: u32,
        uid: u32,
        gid: u32,
        validate: Option<Vec<String>>,
        /// Values of secrets are in it.
        secret: bool,
    },
    /// The file is deleted.
    Delete,
}

impl Scene<'_> {
    /// Checks `change`; nothing but the state folder is changed.
    pub(super) fn prepare(&self, change: FileChange) -> Result<Prepared, Stop> {
        let path = HostPath::parse(&change.path, self.policy)?;
        if !self.others.is_empty() || !self.manifest.files.is_empty() {
            self.check_claims(&change)?;
        }
        let FileChange { part, from, path: _, precondition, marker, task } = change;
        let target = Target { path, part, from, precondition, operation: marker.operation.clone() };
        match task {
            FileTask::Write(write) => self.prepare_write(target, marker, *write),
            FileTask::Delete => self.prepare_delete(target),
        }
    }

    fn check_claims(&self, change: &FileChange) -> Result<(), Stop> {
        let path = &change.path;
        let at = |manifest: &Manifest| {
            let file = manifest.at(path).map(|(part, _)| part.to_string());
            file.or_else(|| manifest.called(Kind::Directory, path).map(|(key, _)| key.to_string()))
        };
        if let Some((environment, owner)) = self.others.iter().find_map(|(id, manifest)| Some((id, at(manifest)?))) {
            let message = format!("`{path}` belongs to `{owner}` of the environment `{environment}` on this host");
            return Err(Stop::Conflict(message));
        }
        match self.manifest.at(path) {
            Some((part, _)) if *part != change.part && Some(part) != change.from.as_ref() => {
                Err(Stop::Conflict(format!("`{path}` belongs to `{part}`")))
            }
            _ => Ok(()),
        }
    }

    fn prepare_write(&self, target: Target, marker: Marker, write: FileWrite) -> Result<Prepared, Stop> {
        let FileWrite { bytes, content, secrets, mode, owner, group, validate } = write;
        let path = target.path.to_string();
        if mode & !0o777 != 0 {
            let message = format!("`{path}` is to have mode {mode:04o}: bits above 0777 are not given to files");
            return Err(Fault::new(message).hint("leave setuid, setgid and sticky bits to packages").into());
        }
        let existing = self.read(&target.path, &target.operation)?;
        let secret = !secrets.is_empty();
        let former = self.manifest.files.get(target.from.as_ref().unwrap_or(&target.part));
        let old = match former.filter(|former| former.path != path) {
            Some(former) => self.former(former, &target.operation)?,
            None => None,
        };
        // For an instance that leaves another path, the plan may have looked there or here.
        let seen = match &target.precondition {
            Some(Precondition::Absent) => existing.as_ref(),
            _ => existing.as_ref().or(old.as_ref()),
        };

        let repeated = self.manifest.files.get(&target.part).is_some_and(|entry| {
            entry.marker.operation == target.operation && existing.as_ref().is_some_and(|e| e.read.facts == entry.actual)
        });
        if !repeated {
            self.check(&target, seen.map(|seen| &seen.read))?;
        }

        let facts = existing.as_ref().map(|e| e.read.facts);
        let uid = match &owner {
            Some(owner) => self.accounts.uid(owner)?,
            None => facts.map_or(rustix::process::geteuid().as_raw(), |facts| facts.uid),
        };
        let gid = match &group {
            Some(group) => self.accounts.gid(group)?,
            None => facts.map_or(rustix::process::getegid().as_raw(), |facts| facts.gid),
        };
        let wanted = Facts { content: Content::of(bytes.expose()), mode, uid, gid };
        let as_wanted = facts == Some(wanted);
        let replaced = existing.iter().filter(|_| !as_wanted).chain(&old).map(Kept::pre_image).collect();
        let missing = if existing.is_some() { Vec::new() } else { self.root.missing(&target.path)? };
        Ok(Prepared {
            fingerprint: self.fingerprint(&wanted, secret)?,
            before: existing.map(|e| e.read.identity),
            step: if as_wanted { Step::Nothing } else { Step::Write { bytes, mode, uid, gid, validate, secret } },
            pending: Pending {
                operation: target.operation,
                path: path.clone(),
                wanted: Some(Entry { path, marker, content, secrets, actual: wanted }),
                from: target.from.filter(|from| *from != target.part),
                old: old.map(|old| (old.path, old.read.facts)),
                folders: missing,
                replaced,
            },
            part: target.part,
            path: target.path,
        })
    }

    fn prepare_delete(&self, target: Target) -> Result<Prepared, Stop> {
        let path = target.path.to_string();
        let existing = self.read(&target.path, &target.operation)?;
        let entry = self.manifest.files.get(&target.part).filter(|entry| entry.path == path);
        match (&existing, entry) {
            (None, _) => {}
            (Some(_), None) => {
                return Err(Stop::Conflict(format!("`{path}` is not in the manifest of this host: it is not known to be ours")));
            }
            (Some(existing), Some(entry)) => {
                if existing.read.facts.content != entry.actual.content {
                    return Err(Stop::Conflict(format!("`{path}` was changed by somebody else since it was applied")));
                }
                self.check(&target, Some(&existing.read))?;
            }
        }
        Ok(Prepared {
            fingerprint: String::new(),
            step: if existing.is_some() { Step::Delete } else { Step::Nothing },
            pending: Pending {
                operation: target.operation,
                path,
                wanted: None,
                from: None,
                old: None,
                folders: Vec::new(),
                replaced: existing.iter().map(Kept::pre_image).collect(),
            },
            before: existing.map(|e| e.read.identity),
            part: target.part,
            path: target.path,
        })
    }

    /// The file of an instance that leaves `former`'s path, if it is there as it was left.
    fn former(&self, former: &Entry, operation: &str) -> Result<Option<Kept>, Stop> {
        let old = self.read(&HostPath::grammar(&former.path)?, operation)?;
        match &old {
            Some(old) if old.read.facts.content != former.actual.content => {
                let path = &former.path;
                Err(Stop::Conflict(format!(
                    "`{path}`, which the instance leaves, was changed by somebody else since it was applied"
                )))
            }
            _ => Ok(old),
        }
    }

    /// Reads a file and keeps its bytes: what an order replaces can be had back.
    fn read(&self, path: &HostPath, operation: &str) -> Result<Option<Kept>, Fault> {
        let Some(folder) = self.root.folder(path.folders())? else { return Ok(None) };
        // Looked at first, so that nothing is written where nothing is there.
        if file::identity(folder.as_fd(), path.name()).is_ok_and(|identity| identity.is_none()) {
            return Ok(None);
        }
        let mut incoming = self.state.incoming()?;
        let Some(read) = file::read(folder.as_fd(), path.name(), &path.to_string(), &mut incoming)? else { return Ok(None) };
        self.state.keep(&incoming, read.facts.content.sha256)?;
        Ok(Some(Kept { path: path.to_string(), operation: operation.to_owned(), read }))
    }

    fn check(&self, target: &Target, seen: Option<&ReadFile>) -> Result<(), Stop> {
        let path = &target.path;
        match (target.precondition.as_ref(), seen) {
            (None, _) | (Some(Precondition::Absent), None) => Ok(()),
            (Some(Precondition::Absent), Some(_)) => Err(Stop::Conflict(format!("`{path}` is there, and the plan saw nothing"))),
            (Some(Precondition::Fingerprint(_)), None) => Err(Stop::Conflict(format!("`{path}` is no longer there"))),
            (Some(Precondition::Fingerprint(fingerprint)), Some(read)) => {
                // The plan may have been made when the file was, or was to be, one with secrets, or not.
                for keyed in [false, true] {
                    if self.fingerprint(&read.facts, keyed)? == *fingerprint {
                        return Ok(());
                    }
                }
                Err(Stop::Conflict(format!("`{path}` is not what the plan saw: content, mode or owner changed since")))
            }
        }
    }

    fn fingerprint(&self, facts: &Facts, keyed: bool) -> Result<String, Fault> {
        let key = if keyed { Some(self.state.key()?) } else { None };
        Ok(facts.fingerprint(key.as_ref()))
    }
}

struct Target {
    path: HostPath,
    part: Part,
    from: Option<Part>,
    precondition: Option<Precondition>,
    operation: String,
}

struct Kept {
    path: String,
    operation: String,
    read: ReadFile,
}

impl Kept {
    fn pre_image(&self) -> (String, PreImage) {
        (self.path.clone(), PreImage { facts: self.read.facts, operation: self.operation.clone() })
    }
}
