//! A commit that takes something back, on a branch for people to merge.
//!
//! **Invariant:** the branch that is followed is never written. A branch that the remote already has is never overwritten.

use std::collections::BTreeSet;

use git2::Oid;

use super::object::{Listing, Node};
use super::push::Update;
use super::{Branch, Source, SourceError, names};
use crate::model::EntryMode;

/// A proposed commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// The branch, without `refs/heads/`.
    pub branch: String,
    /// The commit, 40 hex digits.
    pub commit: String,
    /// Whether the remote has it.
    pub pushed: bool,
    /// Whether the remote answered, and did not take it.
    pub refused: bool,
    /// Why not, where it has not.
    pub reason: Option<String>,
}

impl Source {
    /// [`commit_revert`](Self::commit_revert), then [`push_proposal`](Self::push_proposal).
    ///
    /// # Errors
    /// As the first of them. A push that fails is no error: the proposal says so.
    pub fn propose_revert(
        &self,
        branch: &str,
        base: &str,
        good: &str,
        paths: Option<&[String]>,
        message: &str,
    ) -> Result<Proposal, SourceError> {
        self.commit_revert(branch, base, good, paths, message).map(|proposal| self.push_proposal(proposal))
    }

    /// Makes a commit on top of `base` in which `paths` (files or folders; `None` for everything) are as they are in `good`, to
    /// be pushed as `branch`. Calling it again with the same arguments makes no second commit. No network.
    ///
    /// # Errors
    /// [`SourceError::NothingToRevert`], [`SourceError::FollowedBranch`], and where the commit cannot be made.
    pub fn commit_revert(
        &self,
        branch: &str,
        base: &str,
        good: &str,
        paths: Option<&[String]>,
        message: &str,
    ) -> Result<Proposal, SourceError> {
        let branch: Branch = branch.parse()?;
        if branch == self.options.branch {
            return Err(SourceError::FollowedBranch(branch.to_string()));
        }
        let (base_id, good_id) = (self.commit_id(base)?, self.commit_id(good)?);
        let (before, wanted) = (self.tree_of(base_id)?, self.tree_of(good_id)?);
        let tree = match paths {
            None => wanted,
            Some(paths) => self.taken_back(before, wanted, paths)?,
        };
        if tree == before {
            return Err(SourceError::NothingToRevert { base: base.to_owned(), good: good.to_owned() });
        }
        let kept = format!("refs/proposals/{branch}");
        let commit = match self.reference(&kept)?.filter(|id| self.is_the_same(*id, base_id, tree, message)) {
            Some(id) => id,
            None => {
                let id = self.write_commit(None, tree, &[base_id], message)?;
                self.write_reference(&kept, id)?;
                id
            }
        };
        Ok(Proposal { branch: branch.to_string(), commit: commit.to_string(), pushed: false, refused: false, reason: None })
    }

    /// Pushes a proposal; what is returned says whether the remote has it.
    pub fn push_proposal(&self, proposal: Proposal) -> Proposal {
        let (refused, reason) = match self.try_push(&proposal) {
            Ok(updates) => updates.into_iter().find_map(|(_, update)| match update {
                Update::Taken => None,
                Update::Rejected(reason) => Some((true, Some(reason))),
            }),
            Err(error) => Some((false, Some(error.to_string()))),
        }
        .unwrap_or_default();
        Proposal { pushed: reason.is_none(), refused, reason, ..proposal }
    }

    fn try_push(&self, proposal: &Proposal) -> Result<Vec<(String, Update)>, SourceError> {
        let branch: Branch = proposal.branch.parse()?;
        self.push(&[(branch.full(), self.commit_id(&proposal.commit)?, false)])
    }

    fn is_the_same(&self, id: Oid, base: Oid, tree: Oid, message: &str) -> bool {
        self.repository.find_commit(id).is_ok_and(|commit| {
            commit.tree_id() == tree
                && commit.parent_count() == 1
                && commit.parent_id(0).is_ok_and(|parent| parent == base)
                && commit.message().is_ok_and(|text| text == message)
        })
    }

    /// The tree `before` with `paths` as in `wanted`.
    fn taken_back(&self, before: Oid, wanted: Oid, paths: &[String]) -> Result<Oid, SourceError> {
        let mut tree = Some(before);
        for path in paths.iter().collect::<BTreeSet<_>>() {
            let found = self.node(wanted, path)?;
            let names = names::components(path, self.options.limits.depth)?;
            tree = self.put(path, tree, &names, found)?;
        }
        // Without any entry: the empty tree.
        tree.map_or_else(|| self.write_tree(&Listing::new()), Ok)
    }

    /// The tree `tree` with `node`, or nothing, at `path`; `None` where nothing is left in it.
    fn put(&self, path: &str, tree: Option<Oid>, path_names: &[&str], node: Option<Node>) -> Result<Option<Oid>, SourceError> {
        let Some((name, rest)) = path_names.split_first() else { return Ok(node.map(|node| node.id)) };
        let mut listing = match tree {
            Some(id) => Listing::clone(&*self.listing(path, id)?),
            None => Listing::new(),
        };
        let replacement = if rest.is_empty() {
            node
        } else {
            let below = listing.get(*name).filter(|node| node.mode == EntryMode::Folder).map(|node| node.id);
            if below.is_none() && node.is_none() {
                // Nothing there to be removed; what stands in the way of the path is not touched.
                return Ok(tree);
            }
            self.put(path, below, rest, node)?.map(|id| Node { mode: EntryMode::Folder, id })
        };
        match replacement {
            Some(node) => listing.insert((*name).to_owned(), node),
            None => listing.remove(*name),
        };
        if listing.is_empty() { Ok(None) } else { self.write_tree(&listing).map(Some) }
    }
}
