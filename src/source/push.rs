//! The record and proposals, sent to the remote.
//!
//! **Invariant:** the branch that is followed is never pushed. Notes are never forced: what the remote has is merged first.

use git2::Oid;

use super::command::{Purpose, git};
use super::notes::{APPLIED, NOTES, REMOTE_NOTES};
use super::{Source, SourceError};

/// Applied refs as the remote has them, as far as we pushed them.
const REMOTE_APPLIED: &str = "refs/remote/applied/";

/// How often notes are merged and pushed again when others push in between.
const ATTEMPTS: usize = 5;

/// What became of a push of the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pushed {
    /// The remote has all of it.
    Done,
    /// The remote answers, and does not allow it; with what it said.
    Refused(String),
    /// Pushing the record is switched off.
    Off,
}

/// What became of one ref.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Update {
    Taken,
    Rejected(String),
}

impl Source {
    /// Pushes the notes and the applied refs. Where the remote has notes that we lack, they are merged in and pushed
    /// again. Nothing to push costs no process.
    ///
    /// # Errors
    /// [`SourceError::Unreachable`] where the remote does not even answer; the record waits for the next call.
    pub fn push_records(&self) -> Result<Pushed, SourceError> {
        if !self.options.push_records {
            return Ok(Pushed::Off);
        }
        let mut reason = String::new();
        for _ in 0..ATTEMPTS {
            let pending = self.pending()?;
            if pending.is_empty() {
                return Ok(Pushed::Done);
            }
            let mut rejected = None;
            for (name, update) in self.push(&pending)? {
                match update {
                    Update::Taken => self.remember(&name, &pending)?,
                    Update::Rejected(why) => rejected = Some((name, why)),
                }
            }
            let Some((name, why)) = rejected else { return Ok(Pushed::Done) };
            reason = why;
            // Did somebody else push notes in between? Only then is there a point in trying again.
            let before = self.reference(REMOTE_NOTES)?;
            self.fetch_refs(false)?;
            if name != NOTES || self.reference(REMOTE_NOTES)? == before {
                break;
            }
            self.merge_notes()?;
        }
        Ok(Pushed::Refused(reason))
    }

    /// The refs of the record that the remote does not have, by name, with what each is to become.
    fn pending(&self) -> Result<Vec<(String, Oid, bool)>, SourceError> {
        let mut pending = Vec::new();
        if let Some(ours) = self.reference(NOTES)?
            && self.reference(REMOTE_NOTES)? != Some(ours)
        {
            pending.push((NOTES.to_owned(), ours, false));
        }
        let there = self.references(REMOTE_APPLIED)?;
        for (name, id) in self.references(APPLIED)? {
            if there.get(&name.replacen(APPLIED, REMOTE_APPLIED, 1)) != Some(&id) {
                pending.push((name, id, true));
            }
        }
        Ok(pending)
    }

    fn remember(&self, name: &str, pending: &[(String, Oid, bool)]) -> Result<(), SourceError> {
        let Some((_, id, _)) = pending.iter().find(|(pushed, _, _)| pushed == name) else { return Ok(()) };
        let there = if name == NOTES { REMOTE_NOTES.to_owned() } else { name.replacen(APPLIED, REMOTE_APPLIED, 1) };
        self.write_reference(&there, *id)
    }

    /// Pushes objects to refs of the remote (name, object, whether to force), and says what became of each.
    pub(super) fn push(&self, refs: &[(String, Oid, bool)]) -> Result<Vec<(String, Update)>, SourceError> {
        self.own_or_remote()?;
        let mut arguments: Vec<String> =
            ["push", "--porcelain", "--no-verify", "--no-follow-tags", "--no-recurse-submodules", "--"].map(str::to_owned).into();
        arguments.push(self.options.remote.to_string());
        arguments.extend(refs.iter().map(|(name, id, force)| format!("{}{id}:{name}", if *force { "+" } else { "" })));
        let finished = git(&self.options, Purpose::Other, &arguments)?;
        let mut updates: Vec<(String, Update)> = finished.stdout.lines().filter_map(update).collect();
        for (name, _, _) in refs {
            if !updates.iter().any(|(updated, _)| updated == name) {
                // It never came to refs: no network, or no right to write at all. Reading tells the two apart.
                self.answers()?;
                updates.push((name.clone(), Update::Rejected(finished.detail())));
            }
        }
        Ok(updates)
    }
}

/// One line of `git push --porcelain`: `<flag>\t<from>:<to>\t<summary>`.
fn update(line: &str) -> Option<(String, Update)> {
    let mut fields = line.split('\t');
    let (flag, refs, summary) = (fields.next()?, fields.next()?, fields.next()?);
    let (_, to) = refs.split_once(':')?;
    let update = match flag {
        " " | "+" | "*" | "=" => Update::Taken,
        "!" => Update::Rejected(
            summary.chars().take(300).map(|c| if super::names::unprintable(c) { '\u{fffd}' } else { c }).collect(),
        ),
        _ => return None,
    };
    Some((to.to_owned(), update))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_git_says_of_a_ref_is_read() {
        let taken = |line: &str| assert_eq!(update(line), Some(("refs/notes/trunkline".to_owned(), Update::Taken)), "{line}");
        taken("*\t1a2b:refs/notes/trunkline\t[new reference]");
        taken(" \t1a2b:refs/notes/trunkline\t1a2b..3c4d");
        taken("=\t1a2b:refs/notes/trunkline\t[up to date]");
        assert_eq!(
            update("!\t1a2b:refs/notes/trunkline\t[remote rejected] (hook declined)"),
            Some(("refs/notes/trunkline".to_owned(), Update::Rejected("[remote rejected] (hook declined)".to_owned())))
        );
        for line in ["To /srv/git/config.git", "Done", ""] {
            assert_eq!(update(line), None);
        }
    }
}
