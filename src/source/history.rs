//! Questions about commits, answered from the database.
//!
//! **Invariant:** no network, nothing is written.

use chrono::{DateTime, Utc};
use git2::{ErrorCode, ObjectType, Oid, Sort};

use super::{Source, SourceError, names};
use crate::model::{EntryMode, Revision, TreeError};

/// A commit's message is cut at so many bytes.
const MESSAGE_BYTES: usize = 64 * 1024;

/// One commit, for people. What its author chose (name, address, time, message) proves nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitInfo {
    /// The object id, 40 hex digits.
    pub id: String,
    /// The object ids of its parents.
    pub parents: Vec<String>,
    /// The author's name; control characters are replaced.
    pub author: String,
    /// The author's address; control characters are replaced.
    pub email: String,
    /// When it was committed, by the committer's clock.
    pub time: DateTime<Utc>,
    /// The first paragraph of the message on one line; control characters are replaced.
    pub summary: String,
    /// The whole message, at most 64 KiB, with its line ends; other control characters are replaced.
    pub message: String,
}

impl Source {
    /// The commit that `text` names: an object id (whole or at least 4 digits of it), `HEAD~1`, the branch, or a tag of the
    /// database. `HEAD` is the head that was accepted last.
    ///
    /// # Errors
    /// [`SourceError::UnknownRevision`], [`SourceError::Ambiguous`].
    pub fn resolve(&self, text: &str) -> Result<Revision, SourceError> {
        let shown = || text.chars().take(80).flat_map(char::escape_default).collect::<String>();
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '/' | '~' | '^' | '-');
        if text.is_empty() || text.len() > 256 || text.starts_with('-') || !text.chars().all(plain) {
            return Err(SourceError::UnknownRevision(shown()));
        }
        let found = self.repository.revparse_single(text).and_then(|object| object.peel_to_commit());
        match found {
            Ok(commit) => Ok(self.revision(commit.id())),
            Err(error) if error.code() == ErrorCode::Ambiguous => Err(SourceError::Ambiguous(shown())),
            Err(_) => Err(SourceError::UnknownRevision(shown())),
        }
    }

    /// Whether `descendant` is `ancestor` or descends from it.
    ///
    /// # Errors
    /// [`SourceError::UnknownRevision`] where the database lacks one of them.
    pub fn is_ancestor(&self, ancestor: &str, descendant: &str) -> Result<bool, SourceError> {
        let (ancestor, descendant) = (self.commit_id(ancestor)?, self.commit_id(descendant)?);
        Ok(ancestor == descendant || self.descends(descendant, ancestor)?)
    }

    /// The commits that `upto` holds and `after` does not, newest first, a child always before its parents; at most `limit`.
    ///
    /// # Errors
    /// [`SourceError::UnknownRevision`] where the database lacks one of them.
    pub fn commits(&self, after: Option<&str>, upto: &str, limit: usize) -> Result<Vec<CommitInfo>, SourceError> {
        let walk = || SourceError::object(format!("cannot walk the history of {upto}"));
        let mut revwalk = self.repository.revwalk().map_err(walk())?;
        // Without a lower end, the order by time can stop at `limit`; the order by descent would read the whole history.
        let sorting = if after.is_some() { Sort::TOPOLOGICAL | Sort::TIME } else { Sort::TIME };
        revwalk.set_sorting(sorting).map_err(walk())?;
        revwalk.push(self.commit_id(upto)?).map_err(walk())?;
        if let Some(after) = after {
            revwalk.hide(self.commit_id(after)?).map_err(walk())?;
        }
        revwalk.take(limit).map(|id| self.commit_info(id.map_err(walk())?)).collect()
    }

    /// The paths of files that differ between two commits, sorted. A rename is two paths.
    ///
    /// # Errors
    /// [`SourceError::Tree`] where more than [`Limits::entries`](super::Limits::entries) differ or a tree is refused.
    pub fn changed_paths(&self, from: &str, to: &str) -> Result<Vec<String>, SourceError> {
        let (from, to) = (self.tree_of(self.commit_id(from)?)?, self.tree_of(self.commit_id(to)?)?);
        let mut changed = Vec::new();
        self.compare("", Some(from), Some(to), 0, &mut changed)?;
        changed.sort();
        changed.dedup();
        Ok(changed)
    }

    fn compare(
        &self,
        path: &str,
        from: Option<Oid>,
        to: Option<Oid>,
        depth: usize,
        out: &mut Vec<String>,
    ) -> Result<(), TreeError> {
        if from == to {
            return Ok(());
        }
        let limits = &self.options.limits;
        if depth > limits.depth {
            return Err(TreeError::TooMany { path: path.to_owned(), limit: limits.depth });
        }
        let side = |id: Option<Oid>| id.map(|id| self.listing(path, id)).transpose().map(Option::unwrap_or_default);
        let (from, to) = (side(from)?, side(to)?);
        let all: std::collections::BTreeSet<&String> = from.keys().chain(to.keys()).collect();
        for name in all {
            let (before, after) = (from.get(name), to.get(name));
            if before == after {
                continue;
            }
            let below = names::join(path, name);
            let folder = |node: Option<&super::object::Node>| node.filter(|n| n.mode == EntryMode::Folder).map(|n| n.id);
            self.compare(&below, folder(before), folder(after), depth + 1, out)?;
            if [before, after].into_iter().flatten().any(|node| node.mode != EntryMode::Folder) {
                out.push(below);
            }
            if out.len() > limits.entries {
                return Err(TreeError::TooMany { path: String::new(), limit: limits.entries });
            }
        }
        Ok(())
    }

    fn commit_info(&self, id: Oid) -> Result<CommitInfo, SourceError> {
        let read = || SourceError::object(format!("cannot read the commit {id}"));
        // The size first: a commit can be as large as its author likes.
        let size = self.repository.odb().and_then(|odb| odb.read_header(id)).map_err(read())?.0;
        if size > 16 << 20 {
            return Err(TreeError::TooLarge { path: format!("commit {id}"), size: size as u64, limit: 16 << 20 }.into());
        }
        let commit = self.repository.find_commit(id).map_err(read())?;
        debug_assert_eq!(commit.as_object().kind(), Some(ObjectType::Commit));
        let author = commit.author();
        let message = clean(commit.message_bytes(), true);
        let summary = message.trim().lines().take_while(|line| !line.trim().is_empty()).collect::<Vec<_>>().join(" ");
        Ok(CommitInfo {
            id: id.to_string(),
            parents: commit.parent_ids().map(|id| id.to_string()).collect(),
            author: clean(author.name_bytes(), false),
            email: clean(author.email_bytes(), false),
            time: DateTime::from_timestamp(commit.time().seconds(), 0).unwrap_or_default(),
            summary: summary.chars().take(500).collect(),
            message,
        })
    }
}

fn clean(bytes: &[u8], lines: bool) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(MESSAGE_BYTES)]);
    let keep = |c: char| lines && matches!(c, '\n' | '\t');
    let text = if lines { text.replace("\r\n", "\n") } else { text.into_owned() };
    text.chars().map(|c| if names::unprintable(c) && !keep(c) { '\u{fffd}' } else { c }).collect()
}
