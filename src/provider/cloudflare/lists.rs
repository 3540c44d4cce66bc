//! The lists of an account: what is there, read in a number of calls that does not grow with the number of Workers.
//!
//! Goes in: the zones whose routes count. Comes out: [`Lists`], and from it the fingerprint of each Worker.
//!
//! **Invariant:** a fingerprint changes when anybody changes the Worker in a way that a list shows: its code
//! (`etag`), anything versioned and every deployment (`modified_on`, `deployed_on`), its settings, tags and workers.dev
//! name (`updated_on`), and its routes in the zones that the fingerprint itself names. Cron triggers are in no list
//! and are seen by a deep read only, unless the server moves `modified_on` with them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

use crate::model::{Address, Marker, Retry, canonical_digest};
use crate::provider::ProviderError;

use super::carry_out::Uploaded;
use super::client::Client;
use super::fault::Fault;
use super::path::{Grammar, path, with_query};
use super::wire::{RouteItem, ScriptItem, Subdomain, WorkerItem, Zone};

/// Which account is read, and what of it never changes.
pub(super) struct Account {
    /// 32 hex digits.
    pub(super) id: String,
    /// Ids of zones by name, once found.
    zones: Mutex<BTreeMap<String, String>>,
    /// The server has no `workers/workers`: older edges.
    without_workers: AtomicBool,
    /// Held while a rule of a ruleset is written: where it stands depends on the others.
    pub(super) rules: tokio::sync::Mutex<()>,
}

impl Account {
    /// The account `id`.
    pub(super) fn new(id: String) -> Self {
        Self { id, zones: Mutex::default(), without_workers: AtomicBool::new(false), rules: tokio::sync::Mutex::default() }
    }

    /// A path below the account.
    pub(super) fn path(&self, segments: &[&str]) -> String {
        path(&[&["accounts", self.id.as_str()], segments].concat())
    }

    /// A path below a Worker, whose name has been checked.
    pub(super) fn script(&self, script: &str, segments: &[&str]) -> String {
        self.path(&[&["workers", "scripts", script], segments].concat())
    }
}

/// A zone and the routes in it.
#[derive(Debug)]
pub(super) struct ZoneRoutes {
    /// The zone's id.
    pub(super) id: String,
    /// Every route of the zone, of whatever Worker.
    pub(super) routes: Vec<RouteItem>,
}

/// What the lists of an account showed.
#[derive(Debug, Default)]
pub(super) struct Lists {
    /// Workers by name.
    pub(super) scripts: BTreeMap<String, ScriptItem>,
    /// The same by the newer list; empty where the server has none.
    workers: BTreeMap<String, WorkerItem>,
    /// Routes by the name of their zone, or why they could not be read.
    pub(super) zones: BTreeMap<String, Result<ZoneRoutes, Fault>>,
}

/// Reads the lists of Workers, and the routes of `zones`.
///
/// # Errors
/// Where the list of Workers cannot be read. A zone that cannot be read is an error in the answer.
pub(super) async fn read(client: &Client, account: &Account, zones: &BTreeSet<String>) -> Result<Lists, Fault> {
    let scripts = async {
        let items: Option<Vec<ScriptItem>> = client.get(&account.path(&["workers", "scripts"])).await?;
        Ok(items.unwrap_or_default())
    };
    let routes = futures_util::future::join_all(
        zones.iter().map(|zone| async move { (zone.clone(), zone_routes(client, account, zone).await) }),
    );
    let (scripts, workers, routes) = futures_util::future::join3(scripts, workers(client, account), routes).await;
    Ok(Lists {
        scripts: scripts.map(|items: Vec<ScriptItem>| items.into_iter().map(|i| (i.id.clone(), i)).collect())?,
        workers: workers?.into_iter().map(|item| (item.name.clone(), item)).collect(),
        zones: routes.into_iter().collect(),
    })
}

async fn workers(client: &Client, account: &Account) -> Result<Vec<WorkerItem>, Fault> {
    if account.without_workers.load(Ordering::Relaxed) {
        return Ok(Vec::new());
    }
    match client.get_pages(&account.path(&["workers", "workers"]), 100, |item: &WorkerItem| &item.id).await {
        Err(fault) if fault.is_unsupported() => {
            account.without_workers.store(true, Ordering::Relaxed);
            Ok(Vec::new())
        }
        read => read,
    }
}

async fn zone_routes(client: &Client, account: &Account, zone: &str) -> Result<ZoneRoutes, Fault> {
    let id = zone_id(client, account, zone).await?;
    let routes: Option<Vec<RouteItem>> = client.get(&path(&["zones", &id, "workers", "routes"])).await?;
    Ok(ZoneRoutes { id, routes: routes.unwrap_or_default() })
}

/// The id of a zone, looked up once.
pub(super) async fn zone_id(client: &Client, account: &Account, zone: &str) -> Result<String, Fault> {
    Grammar::Zone.check(zone).map_err(Fault::own)?;
    let known = account.zones.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get(zone).cloned();
    if let Some(id) = known {
        return Ok(id);
    }
    let query = with_query("/zones", &[("name", zone), ("account.id", &account.id)]);
    let found: Option<Vec<Zone>> = client.get(&query).await?;
    let found = found.unwrap_or_default().into_iter().find(|item| item.name == zone);
    let id = found.map(|item| item.id).ok_or_else(|| {
        let error = ProviderError::new(format!("the account shows no zone `{zone}`"), Retry::Stalled);
        Fault::own(error.hint("check the name of the zone, and that the token may read the zone (Zone Read)"))
    })?;
    Grammar::Id.check(&id).map_err(Fault::own)?;
    account.zones.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(zone.to_owned(), id.clone());
    Ok(id)
}

/// What of a Worker's places in the lists counts.
#[derive(Serialize)]
struct Counted<'a> {
    tag: &'a Option<String>,
    etag: &'a Option<String>,
    modified_on: &'a Option<String>,
    tags: BTreeSet<&'a str>,
    compatibility_date: &'a Option<String>,
    compatibility_flags: BTreeSet<&'a str>,
    migration_tag: &'a Option<String>,
    has_assets: Option<bool>,
    settings: [&'a Option<serde_json::Value>; 3],
    logpush: Option<bool>,
    worker: Option<CountedWorker<'a>>,
    routes: BTreeMap<&'a str, BTreeSet<&'a str>>,
}

#[derive(Serialize)]
struct CountedWorker<'a> {
    id: &'a str,
    updated_on: &'a Option<String>,
    deployed_on: &'a Option<String>,
    tags: BTreeSet<&'a str>,
    enabled: bool,
    previews_enabled: Option<bool>,
}

impl Lists {
    /// The fingerprint of the Worker `script`, its routes in `zones` included: `worker1:<digest>:<zones>`. It names
    /// the zones, so that whoever compares it later reads the same ones. `None` where it is not there, or one of the
    /// zones could not be read.
    pub(super) fn fingerprint(&self, script: &str, zones: &BTreeSet<String>) -> Option<String> {
        let item = self.scripts.get(script)?;
        let mut routes = BTreeMap::new();
        for zone in zones {
            let all = self.zones.get(zone)?.as_ref().ok()?;
            routes.insert(zone.as_str(), patterns(all, script).collect());
        }
        let counted = Counted {
            tag: &item.tag,
            etag: &item.etag,
            modified_on: &item.modified_on,
            tags: item.tags.iter().map(String::as_str).collect(),
            compatibility_date: &item.compatibility_date,
            compatibility_flags: item.compatibility_flags.iter().map(String::as_str).collect(),
            migration_tag: &item.migration_tag,
            has_assets: item.has_assets,
            settings: [&item.placement, &item.observability, &item.tail_consumers],
            logpush: item.logpush,
            worker: self.workers.get(script).map(|worker| CountedWorker {
                id: &worker.id,
                updated_on: &worker.updated_on,
                deployed_on: &worker.deployed_on,
                tags: worker.tags.iter().map(String::as_str).collect(),
                enabled: worker.subdomain.enabled,
                previews_enabled: worker.subdomain.previews_enabled,
            }),
            routes,
        };
        let zones: Vec<&str> = zones.iter().map(String::as_str).collect();
        Some(format!("worker1:{}:{}", canonical_digest(&counted), zones.join(",")))
    }

    /// Whether the Worker still has the fingerprint `expected`.
    pub(super) fn still(&self, script: &str, expected: &str) -> bool {
        self.fingerprint(script, &zones_of(expected)).is_some_and(|found| found == expected)
    }

    /// Whether the Worker is what its first upload made it, and nothing else.
    pub(super) fn is_as_uploaded(&self, script: &str, uploaded: &Uploaded) -> bool {
        self.scripts.get(script).is_some_and(|item| {
            item.modified_on.as_ref() == Some(&uploaded.modified_on) && item.etag.as_ref() == Some(&uploaded.etag)
        })
    }

    /// Whether the Worker answers on the account's workers.dev name, where the list shows it.
    pub(super) fn subdomain(&self, script: &str) -> Option<Subdomain> {
        self.workers.get(script).map(|worker| worker.subdomain.clone())
    }

    /// Who owns the Worker, by its tags.
    pub(super) fn owner(&self, script: &str) -> Option<Address> {
        self.tags(script).iter().find_map(|tag| Marker::parse_owner_tag(tag))
    }

    /// The Worker's tags.
    pub(super) fn tags(&self, script: &str) -> Vec<String> {
        let old = self.scripts.get(script).map(|item| item.tags.clone()).unwrap_or_default();
        match self.workers.get(script) {
            Some(worker) if old.is_empty() => worker.tags.clone(),
            _ => old,
        }
    }

    /// The routes of the Worker: pattern to zone.
    pub(super) fn routes(&self, script: &str) -> BTreeMap<String, String> {
        let read = self.zones.iter().filter_map(|(zone, all)| Some((zone, all.as_ref().ok()?)));
        read.flat_map(|(zone, all)| patterns(all, script).map(move |p| (p.to_owned(), zone.clone()))).collect()
    }
}

fn patterns<'a>(zone: &'a ZoneRoutes, script: &'a str) -> impl Iterator<Item = &'a str> {
    zone.routes.iter().filter(move |r| r.script.as_deref() == Some(script)).map(|r| r.pattern.as_str())
}

/// The zones that a fingerprint names.
pub(super) fn zones_of(fingerprint: &str) -> BTreeSet<String> {
    let zones = fingerprint.strip_prefix("worker1:").and_then(|rest| rest.split_once(':')).map_or("", |(_, zones)| zones);
    zones.split(',').filter(|zone| Grammar::Zone.check(zone).is_ok()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lists() -> Lists {
        let item = |id: &str| ScriptItem {
            id: id.into(),
            etag: Some("e".into()),
            modified_on: Some("t".into()),
            ..ScriptItem::default()
        };
        let route =
            |pattern: &str, script: &str| RouteItem { id: "r".into(), pattern: pattern.into(), script: Some(script.into()) };
        Lists {
            scripts: [("a".to_owned(), item("a")), ("b".to_owned(), item("b"))].into(),
            workers: [("a".to_owned(), WorkerItem { name: "a".into(), ..WorkerItem::default() })].into(),
            zones: [(
                "example.com".to_owned(),
                Ok(ZoneRoutes { id: "z".into(), routes: vec![route("example.com/a", "a"), route("example.com/b", "b")] }),
            )]
            .into(),
        }
    }

    #[test]
    fn a_fingerprint_changes_with_whatever_the_lists_show() {
        let zones: BTreeSet<String> = ["example.com".to_owned()].into();
        let before = lists().fingerprint("a", &zones).unwrap();
        assert_eq!(zones_of(&before), zones);
        assert!(lists().still("a", &before));
        let changes: [fn(&mut Lists); 8] = [
            |l| l.scripts.get_mut("a").unwrap().etag = Some("other".into()),
            |l| l.scripts.get_mut("a").unwrap().modified_on = Some("later".into()),
            |l| l.scripts.get_mut("a").unwrap().tags = vec!["x".into()],
            |l| l.workers.get_mut("a").unwrap().deployed_on = Some("later".into()),
            |l| l.workers.get_mut("a").unwrap().subdomain.enabled = true,
            |l| l.zones.get_mut("example.com").unwrap().as_mut().unwrap().routes[1].script = Some("a".into()),
            |l| drop(l.zones.remove("example.com")),
            |l| drop(l.scripts.remove("a")),
        ];
        for (n, change) in changes.into_iter().enumerate() {
            let mut lists = lists();
            change(&mut lists);
            assert!(!lists.still("a", &before), "change {n}");
        }
        let mut other = lists();
        other.scripts.get_mut("b").unwrap().etag = Some("other".into());
        assert!(other.still("a", &before), "another Worker does not count");
    }

    #[test]
    fn a_fingerprint_of_elsewhere_is_never_the_same() {
        for foreign in ["", "worker1:", "kv1:a:b", "worker1:x:a/../b"] {
            assert!(zones_of(foreign).is_empty());
            assert!(!lists().still("a", foreign));
        }
    }
}
