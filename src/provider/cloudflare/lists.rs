//! The lists of an account: what is there, read in a number of calls that does not grow with the number of Workers.
//!
//! Goes in: the zones whose routes count. Comes out: [`Lists`], and from it the fingerprint of each Worker.
//!
//! **Invariant:** a fingerprint changes when anybody changes the Worker in a way that a list shows: its code
//! (`etag`), anything versioned and every deployment (`modified_on`, `deployed_on`), its settings, tags and workers.dev
//! name (`updated_on`), and its routes in the zones that the fingerprint itself names. Cron triggers are in no list
//! and are seen by a deep read only, unless the server moves `modified_on` with them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use futures_util::future::{join, join_all};
use serde::Serialize;

use crate::model::{Address, Marker, canonical_digest};

use super::carry_out::Uploaded;
use super::client::Client;
use super::fault::Fault;
use super::path::{Grammar, path};
use super::wire::{RouteItem, ScriptItem, Subdomain, WorkerItem};
use super::zones::{Zones, within};

/// Which account is read, and what of it never changes.
pub(super) struct Account {
    /// 32 hex digits.
    pub(super) id: String,
    /// Ids of zones by name, once found; shared by all that look at this account.
    pub(super) zones: Arc<Zones>,
    /// When this pass began to look: a zone that was not found since is not looked up again.
    pub(super) since: Instant,
    /// The server has no `workers/workers`: older edges.
    without_workers: AtomicBool,
    /// Held while a rule of a ruleset is written: where it stands depends on the others.
    pub(super) rules: tokio::sync::Mutex<()>,
}

impl Account {
    /// The account `id`, of which `zones` are known.
    pub(super) fn new(id: String, zones: Arc<Zones>) -> Self {
        Self { id, zones, since: Instant::now(), without_workers: AtomicBool::new(false), rules: tokio::sync::Mutex::default() }
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
    /// The routes that the list of Workers shows, by the zone that their patterns lie in; for zones that were not read.
    shown: BTreeMap<String, Vec<RouteItem>>,
}

/// A Worker that is looked for, by what the inventory says of it.
pub(super) struct Sought<'a> {
    pub(super) script: &'a str,
    /// The zones whose routes count for it.
    pub(super) zones: BTreeSet<String>,
    /// Its recorded fingerprint, where that may stand for what is there.
    pub(super) recorded: Option<&'a str>,
}

/// Reads the lists of Workers, and the routes of `zones`.
///
/// # Errors
/// Where the list of Workers cannot be read. A zone that cannot be read is an error in the answer.
pub(super) async fn read(client: &Client, account: &Account, zones: &BTreeSet<String>) -> Result<Lists, Fault> {
    let (lists, zones) = join(without_zones(client, account), routes(client, account, zones)).await;
    Ok(Lists { zones, ..lists? })
}

/// Reads the lists of Workers, and the routes of those zones in which one of `sought` is not what is recorded: where the
/// list of Workers shows the recorded routes, and all else of the fingerprint, the zone would say nothing new.
///
/// # Errors
/// As [`read`].
pub(super) async fn read_changed(client: &Client, account: &Account, sought: &[Sought<'_>]) -> Result<Lists, Fault> {
    let mut lists = without_zones(client, account).await?;
    let zones: BTreeSet<&String> = sought.iter().flat_map(|sought| &sought.zones).collect();
    lists.shown = zones.into_iter().map(|zone| (zone.clone(), lists.routes_shown(zone))).collect();
    let changed = sought.iter().filter(|sought| !lists.shows(sought)).flat_map(|sought| sought.zones.iter().cloned());
    let changed: BTreeSet<String> = changed.collect();
    lists.zones = routes(client, account, &changed).await;
    Ok(lists)
}

/// The two lists of Workers.
async fn without_zones(client: &Client, account: &Account) -> Result<Lists, Fault> {
    let scripts = async {
        let items: Option<Vec<ScriptItem>> = client.get(&account.path(&["workers", "scripts"])).await?;
        Ok::<_, Fault>(items.unwrap_or_default())
    };
    let (scripts, workers) = join(scripts, workers(client, account)).await;
    Ok(Lists {
        scripts: scripts?.into_iter().map(|item| (item.id.clone(), item)).collect(),
        workers: workers?.into_iter().map(|item| (item.name.clone(), item)).collect(),
        ..Lists::default()
    })
}

async fn routes(client: &Client, account: &Account, zones: &BTreeSet<String>) -> BTreeMap<String, Result<ZoneRoutes, Fault>> {
    let reads = zones.iter().map(|zone| async move { (zone.clone(), zone_routes(client, account, zone).await) });
    join_all(reads).await.into_iter().collect()
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
    let read = |id: String| async move {
        let routes: Option<Vec<RouteItem>> = client.get(&path(&["zones", &id, "workers", "routes"])).await?;
        Ok(ZoneRoutes { id, routes: routes.unwrap_or_default() })
    };
    within(client, account, zone, read).await
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
            routes.insert(zone.as_str(), patterns(self.routes_in(zone)?, script).collect());
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
        let zones: BTreeSet<&String> = self.zones.keys().chain(self.shown.keys()).collect();
        let known = zones.into_iter().filter_map(|zone| Some((zone, self.routes_in(zone)?)));
        known.flat_map(|(zone, all)| patterns(all, script).map(move |p| (p.to_owned(), zone.clone()))).collect()
    }

    /// The routes of a zone: as it says itself, or as the list of Workers shows them where it was not asked.
    fn routes_in(&self, zone: &str) -> Option<&[RouteItem]> {
        match self.zones.get(zone) {
            Some(read) => read.as_ref().ok().map(|read| read.routes.as_slice()),
            None => self.shown.get(zone).map(Vec::as_slice),
        }
    }

    /// The routes in the list of Workers whose patterns lie in `zone`.
    fn routes_shown(&self, zone: &str) -> Vec<RouteItem> {
        let of = |item: &ScriptItem| {
            let routes = item.routes.clone().unwrap_or_default().into_iter();
            let script = Some(item.id.clone());
            routes.filter(|route| lies_in(&route.pattern, zone)).map(move |route| RouteItem { script: script.clone(), ..route })
        };
        self.scripts.values().flat_map(of).collect()
    }

    /// Whether the lists alone show that a Worker is what is recorded of it.
    fn shows(&self, Sought { script, zones, recorded }: &Sought<'_>) -> bool {
        // A server need not show routes in this list, and an empty list would look the same.
        let has_routes = || self.scripts.get(*script).is_some_and(|item| item.routes.is_some());
        let is_recorded = |recorded: &&str| *zones == zones_of(recorded) && self.still(script, recorded);
        zones.is_empty() || recorded.as_ref().is_some_and(is_recorded) && has_routes()
    }
}

fn patterns<'a>(routes: &'a [RouteItem], script: &'a str) -> impl Iterator<Item = &'a str> {
    routes.iter().filter(move |r| r.script.as_deref() == Some(script)).map(|r| r.pattern.as_str())
}

/// Whether the host of a route's pattern lies in a zone.
fn lies_in(pattern: &str, zone: &str) -> bool {
    let rest = pattern.split_once("://").map_or(pattern, |(_, rest)| rest);
    let host = rest.split('/').next().unwrap_or_default().trim_start_matches('*').trim_start_matches('.').to_ascii_lowercase();
    host.strip_suffix(zone).is_some_and(|before| before.is_empty() || before.ends_with('.'))
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
            shown: BTreeMap::new(),
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
    fn what_the_list_of_workers_shows_stands_for_a_zone_only_where_it_is_what_was_recorded() {
        let zone = "example.com".to_owned();
        let recorded = lists().fingerprint("a", &[zone.clone()].into()).unwrap();
        let route = |pattern: &str| RouteItem { id: "r".into(), pattern: pattern.into(), script: None };
        let shows = |routes: Option<Vec<RouteItem>>, zones: &[&str], recorded: Option<&str>| {
            let mut lists = Lists { zones: BTreeMap::new(), ..lists() };
            lists.scripts.get_mut("a").unwrap().routes = routes;
            let zones: BTreeSet<String> = zones.iter().map(|zone| (*zone).to_owned()).collect();
            lists.shown = zones.iter().map(|zone| (zone.clone(), lists.routes_shown(zone))).collect();
            lists.shows(&Sought { script: "a", zones, recorded })
        };
        let same = || Some(vec![route("example.com/a"), route("elsewhere.org/*")]);
        let recorded = Some(recorded.as_str());
        assert!(shows(same(), &["example.com"], recorded));
        assert!(!shows(Some(vec![]), &["example.com"], recorded), "the route is gone");
        assert!(!shows(Some(vec![route("example.com/b")]), &["example.com"], recorded), "it is another one");
        assert!(!shows(same(), &["example.com", "example.org"], recorded), "a zone counts that did not");
        assert!(!shows(same(), &["example.com"], None), "nothing is recorded");
        let none = Lists { zones: [(zone, Ok(ZoneRoutes { id: "z".into(), routes: vec![] }))].into(), ..lists() };
        let none = none.fingerprint("a", &["example.com".to_owned()].into()).unwrap();
        assert!(!shows(None, &["example.com"], Some(&none)), "a list without routes shows nothing");
        assert!(shows(Some(vec![]), &["example.com"], Some(&none)) && shows(None, &[], None));
    }

    #[test]
    fn a_pattern_lies_in_the_zone_of_its_host() {
        for pattern in ["example.com/*", "*.example.com/x", "*example.com/*", "https://api.Example.com/v1/*", "example.com"] {
            assert!(lies_in(pattern, "example.com"), "{pattern}");
        }
        for pattern in ["notexample.com/*", "example.org/example.com", "*.example.com.org/*", ""] {
            assert!(!lies_in(pattern, "example.com"), "{pattern}");
        }
    }

    #[test]
    fn a_fingerprint_of_elsewhere_is_never_the_same() {
        for foreign in ["", "worker1:", "kv1:a:b", "worker1:x:a/../b"] {
            assert!(zones_of(foreign).is_empty());
            assert!(!lists().still("a", foreign));
        }
    }
}
