//! Which version of which Worker answers a URL.
//!
//! Goes in: the state. Comes out: a table that is asked for each request.
//!
//! A route wins over a Worker's own name. A Worker whose `workers.dev` is switched on answers as `<name>.localhost`,
//! `<name>.workers.localhost` and `<name>.<account subdomain>.workers.dev`.
//!
//! **Invariant:** pure; the share of a version is decided by a key that comes in.

use std::collections::BTreeMap;

use super::super::record::State;
use super::super::runtime::track::{Track, exclusive};
use super::pattern::Pattern;

/// The account's part of `<worker>.<subdomain>.workers.dev`.
pub(in crate::edge) const ACCOUNT_SUBDOMAIN: &str = "edge";

/// Routes, names and shares of one state.
#[derive(Debug, Default)]
pub(in crate::edge) struct Table {
    /// The most specific first.
    routes: Vec<(Pattern, Option<String>)>,
    /// Custom domains: host to Worker.
    domains: BTreeMap<String, String>,
    scripts: BTreeMap<String, Served>,
}

#[derive(Debug)]
struct Served {
    named: bool,
    track: Track,
    /// Version ids with their shares of a hundred.
    versions: Vec<(String, f64)>,
}

/// What a URL leads to.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::edge) enum Hit<'a> {
    /// This Worker.
    Worker(&'a str),
    /// No Worker.
    Nothing,
}

impl Table {
    /// The table of a state.
    pub(in crate::edge) fn new(state: &State) -> Self {
        let parse = |route: &super::super::record::Route| Some((Pattern::parse(&route.pattern).ok()?, route.script.clone()));
        let mut routes: Vec<_> = state.account.routes.values().filter_map(parse).collect();
        routes.sort_by(|a, b| a.0.specificity(&b.0));
        let stopped = exclusive(state);
        let served = state.scripts.values().map(|script| {
            let track = if stopped.contains(script.name.as_str()) { Track::Exclusive } else { Track::Overlapping };
            let versions = script.serving().into_iter().map(|(version, share)| (version.id.clone(), share)).collect();
            (script.name.clone(), Served { named: script.subdomain.enabled, track, versions })
        });
        let domains = state.account.domains.values().map(|domain| (domain.hostname.clone(), domain.service.clone()));
        Self { routes, domains: domains.collect(), scripts: served.collect() }
    }

    /// What a URL leads to. `host` may have a port and any case; `path` is path and query.
    pub(in crate::edge) fn find(&self, scheme: &str, host: &str, path: &str) -> Hit<'_> {
        let host = host_name(host);
        if let Some((_, script)) = self.routes.iter().find(|(pattern, _)| pattern.matches(scheme, &host, path)) {
            return script.as_deref().map_or(Hit::Nothing, Hit::Worker);
        }
        if let Some(script) = self.domains.get(&host) {
            return Hit::Worker(script);
        }
        let own_names = [".workers.localhost".to_owned(), ".localhost".to_owned(), format!(".{ACCOUNT_SUBDOMAIN}.workers.dev")];
        let name = own_names.iter().find_map(|suffix| host.strip_suffix(suffix.as_str()));
        match name.and_then(|name| self.scripts.get_key_value(name)) {
            Some((name, served)) if served.named => Hit::Worker(name),
            _ => Hit::Nothing,
        }
    }

    /// How a Worker's process is replaced.
    pub(in crate::edge) fn track(&self, script: &str) -> Track {
        self.scripts.get(script).map_or(Track::Overlapping, |served| served.track)
    }

    /// The version of a Worker that answers: the one asked for, if it is part of the deployment, or else by share.
    /// `point` is a number from 0 up to, not including, 100.
    pub(in crate::edge) fn version(&self, script: &str, asked: Option<&str>, point: f64) -> Option<&str> {
        let versions = &self.scripts.get(script)?.versions;
        if let Some((id, _)) = versions.iter().find(|(id, _)| Some(id.as_str()) == asked) {
            return Some(id);
        }
        let mut below = 0.0;
        let chosen = versions.iter().find(|(_, share)| {
            below += share;
            point < below
        });
        chosen.or(versions.last()).map(|(id, _)| id.as_str())
    }
}

/// A host without its port, in lower case, without the root's dot.
fn host_name(host: &str) -> String {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    name.trim_end_matches('.').to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let pattern = |text: &str, script: Option<&str>| (Pattern::parse(text).unwrap(), script.map(str::to_owned));
        let mut routes = vec![
            pattern("*example.com/*", Some("any")),
            pattern("example.com/api/*", Some("api")),
            pattern("example.com/off*", None),
        ];
        routes.sort_by(|a, b| a.0.specificity(&b.0));
        let served = |named, versions: &[(&str, f64)]| Served {
            named,
            track: Track::Overlapping,
            versions: versions.iter().map(|(id, share)| ((*id).to_owned(), *share)).collect(),
        };
        let scripts = [
            ("api".to_owned(), served(true, &[("v1", 10.0), ("v2", 90.0)])),
            ("hidden".to_owned(), served(false, &[("v1", 100.0)])),
        ];
        let domains = [("www.example.net".to_owned(), "hidden".to_owned())];
        Table { routes, domains: domains.into(), scripts: scripts.into() }
    }

    #[test]
    fn the_most_specific_route_wins_and_a_route_without_a_worker_switches_off() {
        let table = table();
        assert_eq!(table.find("http", "Example.com:8080", "/api/x"), Hit::Worker("api"));
        assert_eq!(table.find("http", "example.com", "/x"), Hit::Worker("any"));
        assert_eq!(table.find("http", "example.com", "/off"), Hit::Nothing);
        assert_eq!(table.find("http", "example.org", "/"), Hit::Nothing);
        assert_eq!(table.find("http", "WWW.example.net:80", "/x"), Hit::Worker("hidden"));
        assert_eq!(table.find("http", "example.net", "/"), Hit::Nothing);
    }

    #[test]
    fn a_worker_answers_on_its_own_name_only_where_that_is_switched_on() {
        let table = table();
        for host in ["api.localhost:8787", "api.workers.localhost", "api.edge.workers.dev."] {
            assert_eq!(table.find("http", host, "/"), Hit::Worker("api"), "{host}");
        }
        assert_eq!(table.find("http", "hidden.localhost", "/"), Hit::Nothing);
    }

    #[test]
    fn shares_are_kept_and_a_version_can_be_asked_for() {
        let table = table();
        assert_eq!(table.version("api", None, 9.9), Some("v1"));
        assert_eq!(table.version("api", None, 10.0), Some("v2"));
        assert_eq!(table.version("api", Some("v1"), 99.0), Some("v1"));
        assert_eq!(table.version("api", Some("gone"), 99.9), Some("v2"));
        assert_eq!(table.version("none", None, 0.0), None);
    }
}
