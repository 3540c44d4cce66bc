//! What is there of what is asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::AsFd;

use super::accounts::Accounts;
use super::beneath::Root;
use super::file::{self, ReadFile};
use super::manifest::{Entry, Manifest, claim_of};
use super::part::Part;
use super::path::HostPath;
use super::settle::{Cleaning, settle};
use super::state::{State, others};
use super::things::{self, Eyes};
use super::{Fault, FileQuery, Found, FoundContent, FoundFile, Policy, Query, Sight, ThingQuery};
use crate::model::{EnvironmentId, InstanceKey};

/// One answer for each query, in their order. What an interrupted apply left is settled first, where nobody else is at
/// work on this host.
pub(super) fn observe(policy: &Policy, environment: &EnvironmentId, queries: &[Query]) -> Result<Vec<Sight>, Fault> {
    let root = Root::open(policy.root.as_deref())?;
    let state = State::open(policy, &root, environment)?;
    let manifest = match &state {
        Some(state) => settled(policy, &root, state)?,
        None => Manifest::default(),
    };
    let claims: Vec<String> = queries.iter().map(claim).collect();
    let others = others(policy, &root, environment, claims.iter().map(String::as_str))?;
    let other_entries = others.iter().flat_map(|(_, manifest)| &manifest.files).map(|(part, entry)| (part, entry, false));
    let own_entries = manifest.files.iter().map(|(part, entry)| (part, entry, true));
    let owners: BTreeMap<&str, (&Part, &Entry, bool)> =
        other_entries.chain(own_entries).map(|owner| (owner.1.path.as_str(), owner)).collect();

    let looking = Looking { policy, root: &root, accounts: Accounts::read(&root), environment, owners };
    let mut found: BTreeMap<usize, Found> = BTreeMap::new();
    let mut things: (Vec<usize>, Vec<&ThingQuery>) = Default::default();
    for (at, query) in queries.iter().enumerate() {
        match query {
            Query::File(query) => drop(found.insert(at, looking.found(query))),
            Query::Thing(query) => {
                things.0.push(at);
                things.1.push(query);
            }
        }
    }
    if !things.0.is_empty() {
        let eyes = Eyes { policy, root: &root, accounts: Accounts::read(&root), manifest: &manifest };
        let drifted = drifted(queries, &found);
        found.extend(things.0.into_iter().zip(things::observe(&eyes, &things.1, &drifted, &others)));
    }
    let key = |query: &Query| match query {
        Query::File(query) => query.key.clone(),
        Query::Thing(query) => query.key.clone(),
    };
    let lost = || Found::Unknown("it was not looked at".to_owned());
    Ok(queries
        .iter()
        .enumerate()
        .map(|(at, query)| Sight { key: key(query), found: found.remove(&at).unwrap_or_else(lost) })
        .collect())
}

fn claim(query: &Query) -> String {
    match query {
        Query::File(query) => query.path.clone(),
        Query::Thing(query) => claim_of(query.key.address.kind, &query.claim),
    }
}

/// The files that are not as they were applied.
fn drifted(queries: &[Query], found: &BTreeMap<usize, Found>) -> BTreeSet<InstanceKey> {
    let file = |(at, query): (usize, &Query)| match (query, found.get(&at)) {
        (Query::File(_), Some(Found::File(file))) if matches!(file.content, FoundContent::Applied { .. }) => None,
        (Query::File(query), Some(Found::File(_) | Found::Absent)) => Some(query.key.clone()),
        _ => None,
    };
    queries.iter().enumerate().filter_map(file).collect()
}

fn settled(policy: &Policy, root: &Root, state: &State) -> Result<Manifest, Fault> {
    let mut manifest = state.manifest()?;
    if manifest.pending.is_empty() && manifest.begun.is_empty() {
        return Ok(manifest);
    }
    match state.try_lock()? {
        Some(_lock) => {
            // Read again: another may have finished between.
            manifest = state.manifest()?;
            settle(root, &mut manifest, Cleaning::Remove)?;
            things::settle(policy, root, &mut manifest);
            state.save(&manifest)?;
        }
        None => {
            settle(root, &mut manifest, Cleaning::Leave)?;
            things::settle(policy, root, &mut manifest);
        }
    }
    Ok(manifest)
}

struct Looking<'a> {
    policy: &'a Policy,
    root: &'a Root,
    accounts: Accounts,
    environment: &'a EnvironmentId,
    owners: BTreeMap<&'a str, (&'a Part, &'a Entry, bool)>,
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
            owned_by: owner.map(|(part, _, _)| part.key.address.clone()),
            marker: applied.filter(|(_, entry, _)| entry.actual == facts).map(|(_, entry, _)| entry.marker.clone()),
        }))
    }
}
