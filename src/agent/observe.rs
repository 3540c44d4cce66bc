//! What is there of the files that are asked for.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;

use super::accounts::Accounts;
use super::beneath::Root;
use super::file::{self, ReadFile};
use super::manifest::{Entry, Manifest};
use super::path::HostPath;
use super::settle::{Cleaning, settle};
use super::state::{State, others};
use super::{Fault, FileAnswer, FileQuery, Found, FoundContent, FoundFile, Policy};
use crate::model::{EnvironmentId, InstanceKey};

/// One answer for each query, in their order. What an interrupted apply left is settled first, where nobody else is at
/// work on this host.
pub(super) fn observe(policy: &Policy, environment: &EnvironmentId, files: &[FileQuery]) -> Result<Vec<FileAnswer>, Fault> {
    let root = Root::open(policy.root.as_deref())?;
    let state = State::open(policy, &root, environment)?;
    let manifest = match &state {
        Some(state) => settled(&root, state)?,
        None => Manifest::default(),
    };
    let others = others(policy, &root, environment, files.iter().map(|query| query.path.as_str()))?;
    let other_entries = others.iter().flat_map(|(_, manifest)| &manifest.files).map(|(key, entry)| (key, entry, false));
    let own_entries = manifest.files.iter().map(|(key, entry)| (key, entry, true));
    let owners: BTreeMap<&str, (&InstanceKey, &Entry, bool)> =
        other_entries.chain(own_entries).map(|owner| (owner.1.path.as_str(), owner)).collect();

    let looking = Looking { policy, root: &root, accounts: Accounts::read(&root), environment, owners };
    Ok(files.iter().map(|query| FileAnswer { key: query.key.clone(), found: looking.found(query) }).collect())
}

fn settled(root: &Root, state: &State) -> Result<Manifest, Fault> {
    let mut manifest = state.manifest()?;
    if manifest.pending.is_empty() {
        return Ok(manifest);
    }
    match state.try_lock()? {
        Some(_lock) => {
            // Read again: another may have finished between.
            manifest = state.manifest()?;
            settle(root, &mut manifest, Cleaning::Remove)?;
            state.save(&manifest)?;
        }
        None => settle(root, &mut manifest, Cleaning::Leave)?,
    }
    Ok(manifest)
}

struct Looking<'a> {
    policy: &'a Policy,
    root: &'a Root,
    accounts: Accounts,
    environment: &'a EnvironmentId,
    owners: BTreeMap<&'a str, (&'a InstanceKey, &'a Entry, bool)>,
}

impl Looking<'_> {
    fn found(&self, query: &FileQuery) -> Found {
        match self.file(query) {
            Ok(None) => Found::Absent,
            Ok(Some(file)) => Found::File(Box::new(file)),
            Err(Fault { message, cause: Some(cause), .. }) => Found::Unknown(format!("{message}: {cause}")),
            Err(fault) => Found::Unknown(fault.message),
        }
    }

    fn file(&self, query: &FileQuery) -> Result<Option<FoundFile>, Fault> {
        let path = HostPath::parse(&query.path, self.policy)?;
        let Some(folder) = self.root.folder(path.folders())? else { return Ok(None) };
        let Some(ReadFile { facts, identity: _ }) = file::read(folder.as_fd(), path.name(), &query.path, &mut io::sink())? else {
            return Ok(None);
        };
        let owner = self.owners.get(query.path.as_str()).copied();
        let secret = query.secret || owner.is_some_and(|(_, entry, _)| entry.holds_secrets());
        let applied = owner.filter(|(_, entry, own)| *own && entry.actual.content == facts.content);
        let content = match applied {
            Some((_, entry, _)) => FoundContent::Applied { content: entry.content, secrets: entry.secrets.clone() },
            None if secret => {
                let names = owner.filter(|(_, _, own)| *own).map(|(_, entry, _)| entry.secrets.keys().cloned().collect());
                FoundContent::Withheld { secrets: names.unwrap_or_default() }
            }
            None => FoundContent::Other(facts.content),
        };
        let key = if secret { Some(State::make(self.policy, self.root, self.environment)?.key()?) } else { None };
        Ok(Some(FoundFile {
            content,
            mode: facts.mode,
            owner: self.accounts.user(facts.uid, query.owner.as_deref()),
            group: self.accounts.group(facts.gid, query.group.as_deref()),
            fingerprint: facts.fingerprint(key.as_ref()),
            owned_by: owner.map(|(key, _, _)| key.address.clone()),
            marker: applied.filter(|(_, entry, _)| entry.actual == facts).map(|(_, entry, _)| entry.marker.clone()),
        }))
    }
}
