//! What the remote has now, and which of it is accepted.
//!
//! **Invariant:** one `git fetch` for each call, whole histories only. The accepted head moves to descendants only, unless
//! [`Source::accept`] is called for an operator. What cannot be fetched changes nothing.

use std::os::unix::fs::MetadataExt;

use git2::Oid;
use tracing::{debug, warn};

use super::command::{Purpose, git};
use super::{Source, SourceError};
use crate::model::Revision;

/// What the remote's branch held when it was looked at last.
const REMOTE_HEAD: &str = "refs/remote/head";

/// More packs than this make every look-up slower; they are then rolled up.
const MANY_PACKS: usize = 40;
/// As many loose objects in one of 256 folders stand for about 8,000.
const MANY_LOOSE: usize = 32;

/// What a fetch found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The head, now accepted.
    pub revision: Revision,
    /// Whether it differs from the head before.
    pub changed: bool,
}

impl Source {
    /// Looks at the remote, once, and accepts its head where that descends from the one before.
    ///
    /// # Errors
    /// Whatever it is, the head before still stands: [`SourceError::Unreachable`], [`SourceError::Empty`],
    /// [`SourceError::NoBranch`], [`SourceError::Rewritten`] and others.
    pub fn fetch(&self) -> Result<Fetched, SourceError> {
        self.roll_up_packs();
        self.fetch_refs(true)?;
        let now = self.reference(REMOTE_HEAD)?.ok_or_else(|| SourceError::NoBranch {
            remote: self.options.remote.to_string(),
            branch: self.options.branch.to_string(),
        })?;
        // The record is a copy of what the store holds: a fault in it must not keep a commit from being applied.
        if let Err(error) = self.merge_notes() {
            warn!(error = &error as &dyn std::error::Error, "Could not take over the remote's notes.");
        }
        let accepted = self.reference(&self.options.branch.full())?;
        if accepted == Some(now) {
            return Ok(Fetched { revision: self.revision(now), changed: false });
        }
        let known = || self.options.known.as_deref().and_then(|known| Oid::from_str(known).ok());
        if let Some(before) = accepted.or_else(known)
            && before != now
            && !(self.repository.find_commit(before).is_ok() && self.descends(now, before)?)
        {
            return Err(SourceError::Rewritten {
                branch: self.options.branch.to_string(),
                from: before.to_string(),
                to: now.to_string(),
            });
        }
        self.set_head(now)?;
        Ok(Fetched { revision: self.revision(now), changed: true })
    }

    /// The head that was accepted last; no network. `None` before the first fetch.
    ///
    /// # Errors
    /// [`SourceError::Object`] where the database cannot be read.
    pub fn head(&self) -> Result<Option<Revision>, SourceError> {
        Ok(self.reference(&self.options.branch.full())?.map(|id| self.revision(id)))
    }

    /// Makes `commit` (40 hex digits) the accepted head although it does not descend from the one before. For an operator who has
    /// looked at [`SourceError::Rewritten`]; nothing else may call it.
    ///
    /// # Errors
    /// [`SourceError::NotOnBranch`] where the remote's branch, as fetched last, does not hold it.
    pub fn accept(&self, commit: &str) -> Result<Revision, SourceError> {
        let id = self.commit_id(commit)?;
        let on_branch = match self.reference(REMOTE_HEAD)? {
            Some(head) => head == id || self.descends(head, id)?,
            None => false,
        };
        if !on_branch {
            return Err(SourceError::NotOnBranch { commit: commit.to_owned(), branch: self.options.branch.to_string() });
        }
        self.set_head(id)?;
        Ok(self.revision(id))
    }

    /// One `git fetch`: of the branch (unless only the record is wanted) and the notes.
    pub(super) fn fetch_refs(&self, branch: bool) -> Result<(), SourceError> {
        self.own_or_remote()?;
        let head = format!("+{}:{REMOTE_HEAD}", self.options.branch.full());
        // A pattern, since a single ref that the remote does not have would be an error.
        let notes = "+refs/notes/trunkline*:refs/remote/notes/trunkline*";
        let remote = self.options.remote.as_str();
        let mut arguments = vec![
            "fetch",
            "--quiet",
            "--prune",
            "--no-tags",
            "--no-write-fetch-head",
            "--no-recurse-submodules",
            "--no-auto-maintenance",
            "--no-show-forced-updates",
            "--",
            remote,
        ];
        if branch {
            arguments.push(&head);
        }
        arguments.push(notes);
        let finished = git(&self.options, Purpose::Receive, &arguments);
        self.remove_half_received();
        let finished = finished?;
        if !finished.success {
            return Err(self.why_not(&finished.detail()));
        }
        self.refresh()
    }

    /// Why a fetch failed, told apart by asking again rather than by reading messages.
    fn why_not(&self, detail: &str) -> SourceError {
        let remote = self.options.remote.to_string();
        match git(&self.options, Purpose::Ask, &["ls-remote", "--quiet", "--", &remote, "refs/heads/*"]) {
            Ok(answer) if answer.success => {
                let branch = format!("\t{}", self.options.branch.full());
                let mut lines = answer.stdout.lines();
                if lines.clone().any(|line| line.find('\t') == Some(64)) {
                    SourceError::ObjectFormat(remote)
                } else if lines.clone().any(|line| line.ends_with(&branch)) {
                    SourceError::Refused { remote, detail: detail.to_owned() }
                } else if lines.next().is_some() {
                    SourceError::NoBranch { remote, branch: self.options.branch.to_string() }
                } else {
                    SourceError::Empty(remote)
                }
            }
            Ok(answer) => SourceError::Unreachable { remote, detail: answer.detail() },
            Err(error @ SourceError::Timeout { .. }) => error,
            Err(_) => SourceError::Refused { remote, detail: detail.to_owned() },
        }
    }

    /// Whether the remote can be asked whether it can be written to: it answers reading.
    pub(super) fn answers(&self) -> Result<(), SourceError> {
        let remote = self.options.remote.to_string();
        let answer = git(&self.options, Purpose::Ask, &["ls-remote", "--quiet", "--", &remote, "HEAD"])?;
        if answer.success { Ok(()) } else { Err(SourceError::Unreachable { remote, detail: answer.detail() }) }
    }

    /// A repository on this machine runs hooks and obeys its configuration as whoever opens it; so it must be ours.
    pub(super) fn own_or_remote(&self) -> Result<(), SourceError> {
        let Some(path) = self.options.remote.path() else { return Ok(()) };
        let ours = rustix::process::geteuid().as_raw();
        let remote = self.options.remote.to_string();
        let metadata = match path.metadata() {
            Ok(metadata) if metadata.is_dir() => metadata,
            Ok(_) => return Err(SourceError::Unreachable { remote, detail: "it is not a folder".to_owned() }),
            Err(error) => return Err(SourceError::Unreachable { remote, detail: error.to_string() }),
        };
        let inner = path.join(".git").symlink_metadata().ok();
        if metadata.uid() != ours || inner.is_some_and(|inner| inner.uid() != ours) {
            return Err(SourceError::ForeignOwner(remote));
        }
        Ok(())
    }

    fn set_head(&self, id: Oid) -> Result<(), SourceError> {
        let name = self.options.branch.full();
        self.repository
            .reference(&name, id, true, "accepted")
            .map(drop)
            .map_err(SourceError::object(format!("cannot write `{name}`")))
    }

    /// What a pack that was refused or cut off left behind.
    fn remove_half_received(&self) {
        let Ok(entries) = std::fs::read_dir(self.options.database.join("objects/pack")) else { return };
        for entry in entries.flatten().filter(|entry| entry.file_name().as_encoded_bytes().starts_with(b"tmp_")) {
            let _ = std::fs::remove_file(entry.path());
        }
    }

    /// Each fetch brings a pack, each note a few loose objects: both are rolled up now and then. Nothing is thrown away, so
    /// that every recorded revision stays reachable for a rollback.
    fn roll_up_packs(&self) {
        let objects = self.options.database.join("objects");
        let count = |folder: &str, ending: &str| {
            let entries = std::fs::read_dir(objects.join(folder));
            entries.map_or(0, |e| e.flatten().filter(|e| e.file_name().to_string_lossy().ends_with(ending)).count())
        };
        if count("pack", ".pack") <= MANY_PACKS && count("17", "") <= MANY_LOOSE {
            return;
        }
        match git(&self.options, Purpose::Other, &["repack", "-d", "-n", "-q", "--geometric=2", "--no-write-bitmap-index"]) {
            Ok(finished) if finished.success => debug!("Rolled up the database's packs."),
            Ok(finished) => warn!(detail = finished.detail(), "Could not roll up the database's packs."),
            Err(error) => warn!(error = &error as &dyn std::error::Error, "Could not roll up the database's packs."),
        }
    }
}
