//! Which versions answer a Worker's requests.
//!
//! Goes in: the newest deployment. Comes out: the version that is the Worker, as far as anybody can say: the one that has
//! all requests, or of two that share them the one that we are giving more and more.
//!
//! **Invariant:** two versions that share the requests count only where the split is ours; any other is somebody's gradual
//! deployment, and not ours to end.

use std::collections::BTreeMap;

use crate::model::{EnvironmentId, InstanceKey, Marker, Retry, Spec, traffic};
use crate::provider::{Lookup, Order, ProviderError};

use super::client::Client;
use super::fault::Fault;
use super::lists::Account;
use super::observe;
use super::path::Grammar;
use super::read;
use super::wire::{Deployments, Share, Version};

/// What answers a Worker's requests.
#[derive(Debug)]
pub(super) struct Active {
    /// When it was made.
    created_on: Option<String>,
    /// What it says of the operation that made it, where that was one of ours.
    marker: Option<Marker>,
    /// The version's id.
    pub(super) version: String,
    /// The other version, where two share the requests.
    pub(super) split: Option<Split>,
}

/// A version that shares the requests with the one before it.
#[derive(Debug)]
pub(super) struct Split {
    /// The share of the new one, in percent.
    pub(super) traffic: u8,
    /// The new one, as it was read.
    current: Version,
    /// The one before it.
    pub(super) former: Version,
}

/// Whose splits are ours.
pub(super) struct Ours {
    environment: Option<EnvironmentId>,
    /// A rollout is defined, or was under way: then whoever moved the shares, we go on from there.
    gradual: bool,
}

impl Ours {
    /// As the lookup of `key` says.
    pub(super) fn looked_for(key: &InstanceKey, lookup: &Lookup) -> Self {
        let rolling = lookup.owned.as_ref().is_some_and(|owned| traffic(&owned.properties) < 100);
        Self { environment: Some(key.address.environment.clone()), gradual: rolling || has_rollout(lookup.spec.as_ref()) }
    }

    /// As an order says.
    pub(super) fn ordered(order: &Order) -> Self {
        let change = &order.change;
        let rolling = change.before.iter().chain(&change.after).any(|properties| traffic(properties) < 100);
        Self { environment: Some(change.key.address.environment.clone()), gradual: rolling || has_rollout(order.spec.as_ref()) }
    }

    /// None is.
    pub(super) fn none() -> Self {
        Self { environment: None, gradual: false }
    }

    fn is_one(&self, marker: &Marker) -> bool {
        self.environment.as_ref() == Some(&marker.key.address.environment)
    }

    fn made(&self, version: &Version) -> Option<Marker> {
        observe::marker(version).filter(|marker| self.is_one(marker))
    }
}

fn has_rollout(spec: Option<&Spec>) -> bool {
    matches!(spec, Some(Spec::Worker(worker)) if worker.rollout.is_some())
}

impl Active {
    /// The share of the version, in percent.
    pub(super) fn traffic(&self) -> u8 {
        self.split.as_ref().map_or(100, |split| split.traffic)
    }

    /// The version that has most of the requests; of two that have the same, the older one.
    pub(super) fn principal(&self) -> &str {
        match &self.split {
            Some(split) if split.traffic <= 50 => &split.former.id,
            _ => &self.version,
        }
    }

    /// The version, read where that is still to be done.
    pub(super) async fn whole(&self, client: &Client, account: &Account, script: &str) -> Result<Version, Fault> {
        match &self.split {
            Some(split) => Ok(split.current.clone()),
            None => read::version(client, account, script, &self.version).await,
        }
    }

    /// The operation that put the version where it is: the one that deployed it, where that was ours and of the same
    /// desired state, or the one that uploaded it.
    pub(super) fn marker(&self, version: &Version) -> Option<Marker> {
        let uploaded = observe::marker(version)?;
        let deployed = self.marker.clone().filter(|marker| marker.desired == uploaded.desired && marker.key == uploaded.key);
        Some(deployed.unwrap_or(uploaded))
    }

    /// What is recorded of a Worker besides its properties.
    pub(super) fn attributes(&self, etag: &str) -> BTreeMap<String, String> {
        let mut attributes: BTreeMap<String, String> = [("version_id", self.version.as_str()), ("etag", etag)]
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        if let Some(split) = &self.split {
            attributes.insert("former_version_id".to_owned(), split.former.id.clone());
            let former = observe::marker(&split.former).map(|marker| marker.desired.to_string());
            attributes.extend(former.map(|desired| ("former_desired".to_owned(), desired)));
            attributes.extend(self.created_on.clone().map(|at| ("stepped_at".to_owned(), at)));
        }
        attributes
    }
}

/// What answers the requests of a Worker; `None` where nothing is deployed.
///
/// # Errors
/// Where several versions share the requests, and the split is not ours.
pub(super) async fn active(client: &Client, account: &Account, script: &str, ours: &Ours) -> Result<Option<Active>, Fault> {
    let found: Deployments = client.get(&account.script(script, &["deployments"])).await?;
    let Some(first) = found.deployments.into_iter().next() else { return Ok(None) };
    let text = first.annotations.as_ref().and_then(|notes| notes.get("workers/message")?.as_str().map(str::to_owned));
    let marker = text.as_deref().and_then(Marker::parse_whole);
    let marker = marker.filter(|marker| ours.is_one(marker));
    let shares: Vec<Share> = first.versions.into_iter().filter(|share| share.percentage > 0.0).collect();
    for share in &shares {
        Grammar::Id.check(&share.version_id).map_err(Fault::own)?;
    }
    let (version, split) = match shares.as_slice() {
        [only] => (only.version_id.clone(), None),
        [one, other] if ours.gradual || marker.is_some() => {
            let read = |share: &Share| {
                let id = share.version_id.clone();
                async move { read::version(client, account, script, &id).await }
            };
            let (one_read, other_read) = futures_util::future::try_join(read(one), read(other)).await?;
            let mut both = [(one_read, one.percentage), (other_read, other.percentage)];
            both.sort_by_key(|(version, _)| version.number);
            let split = split(both, ours, marker.as_ref()).ok_or_else(|| shared(script))?;
            (split.current.id.clone(), Some(split))
        }
        _ => return Err(shared(script)),
    };
    Ok(Some(Active { created_on: first.created_on, marker, version, split }))
}

/// Which of two versions, the older first, is the one that is given more and more; `None` where neither is ours.
fn split([older, newer]: [(Version, f64); 2], ours: &Ours, deployed: Option<&Marker>) -> Option<Split> {
    let is_deployed = |version: &Version| {
        let desired = ours.made(version).map(|marker| marker.desired);
        desired.is_some() && desired == deployed.map(|marker| marker.desired)
    };
    let (current, former) = if is_deployed(&newer.0) {
        (newer, older)
    } else if is_deployed(&older.0) {
        (older, newer)
    } else {
        ours.made(&newer.0).filter(|_| ours.gradual)?;
        (newer, older)
    };
    // What is neither nothing nor all, whatever it is rounded to.
    let traffic = format!("{:.0}", current.1).parse::<u8>().unwrap_or(99).clamp(1, 99);
    Some(Split { traffic, current: current.0, former: former.0 })
}

fn shared(script: &str) -> Fault {
    let error = ProviderError::new(format!("several versions of Worker `{script}` share the requests"), Retry::Stalled);
    let hint = "finish the gradual deployment: `wrangler versions deploy <version>@100%`";
    Fault::own(error.hint(hint))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Digest;

    fn marker(desired: &str, environment: &str) -> Marker {
        Marker {
            key: format!("{environment}/worker.api@main").parse().unwrap(),
            revision: format!("main@sha1:{}", "a".repeat(40)).parse().unwrap(),
            desired: Digest::of(desired.as_bytes()),
            operation: "op".into(),
        }
    }

    fn version(number: u64, marker: Option<&Marker>) -> Version {
        let notes = marker.map(|marker| {
            [("workers/message", marker.message()), ("workers/tag", marker.operation.clone())]
                .map(|(key, text)| (key.to_owned(), serde_json::Value::from(text)))
                .into()
        });
        Version { id: format!("v{number}"), number: Some(number), annotations: notes, ..Version::default() }
    }

    #[test]
    fn a_split_is_ours_only_where_something_says_so() {
        let (a, b, theirs) = (marker("a", "production"), marker("b", "production"), marker("c", "staging"));
        let ours = |gradual| Ours { environment: Some("production".parse().unwrap()), gradual };
        let seen = |older: Option<&Marker>, newer: Option<&Marker>, gradual, deployed: Option<&Marker>| {
            let both = [(version(1, older), 70.0), (version(2, newer), 30.0)];
            split(both, &ours(gradual), deployed).map(|split| (split.current.id, split.traffic, split.former.id))
        };
        let newer = Some(("v2".to_owned(), 30, "v1".to_owned()));
        assert_eq!(seen(Some(&a), Some(&b), true, None), newer);
        assert_eq!(seen(None, Some(&b), true, None), newer, "what was there before us");
        assert_eq!(seen(Some(&a), Some(&b), false, Some(&b)), newer);
        // Brought back beside what somebody deployed meanwhile.
        assert_eq!(seen(Some(&a), None, true, Some(&a)), Some(("v1".to_owned(), 70, "v2".to_owned())));
        for (older, newer, gradual, deployed) in
            [(Some(&a), Some(&b), false, None), (Some(&a), None, true, None), (Some(&a), Some(&theirs), true, Some(&theirs))]
        {
            assert_eq!(seen(older, newer, gradual, deployed), None);
        }
    }
}
