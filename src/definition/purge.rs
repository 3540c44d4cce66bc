//! `purge` of a Worker: what of a zone's cache its deployments make stale.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Deserialize;

use super::platform::zone;
use super::reading::Reading;
use super::scope::required;
use crate::document::{Fault, Placed, is_deceptive, shown};
use crate::model::{Purge, PurgeMode};

/// What one purge may name of a sort. Source: developers.cloudflare.com/cache/how-to/purge-cache.
const MOST: usize = 100;

/// What of a zone's cache is made stale after each deployment of another version: `hosts`, `prefixes`, `tags`, or `everything`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Purge")]
pub(super) struct PurgeToml {
    /// The zone, such as `example.com`.
    #[schemars(required)]
    zone: Option<Placed<String>>,
    /// Hosts of the zone, such as `api.example.com`.
    hosts: Option<Vec<Placed<String>>>,
    /// Hosts with the begin of a path, such as `example.com/static`.
    prefixes: Option<Vec<Placed<String>>>,
    /// Values of the header `Cache-Tag`.
    tags: Option<Vec<Placed<String>>>,
    /// All that the zone has in its cache.
    everything: Option<Placed<bool>>,
    /// `invalidate`, after which what is cached is asked for again before it is served (the default), or `purge`.
    mode: Option<Placed<ModeToml>>,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "PurgeMode")]
enum ModeToml {
    /// What is cached is asked for again before it is served.
    Invalidate,
    /// What is cached is dropped.
    Purge,
}

/// The purge; `None` where something about it is at fault.
pub(super) fn purge(reading: &mut Reading<'_>, written: &Placed<PurgeToml>) -> Option<Purge> {
    let PurgeToml { zone, hosts, prefixes, tags, everything, mode } = &written.value;
    let at = (written.place, &BTreeSet::new());
    let zone = required(reading, at, "zone", zone.as_ref(), "write the zone, such as `zone = \"example.com\"`")?;
    let zone_name = reading.check(zone.place, zone::zone(&zone.value))?;
    let everything = everything.as_ref().is_some_and(|all| all.value);
    let items = [hosts, prefixes, tags].map(|items| items.as_deref().unwrap_or_default());
    let named = items.iter().any(|items| !items.is_empty());
    if named == everything {
        let message = if named { "everything is more than single things" } else { "nothing is named that could be purged" };
        let hint = "write `hosts`, `prefixes` or `tags`, or `everything = true` alone";
        reading.fault(Fault::new(written.place, message).hint(hint));
    }
    for many in items.iter().filter(|items| items.len() > MOST) {
        let message = format!("{} things are more than one purge may name", many.len());
        reading.fault(Fault::new(many[MOST].place, message).hint(format!("name {MOST} at most, or purge by a prefix or a tag")));
    }
    let [hosts, prefixes, tags] = items;
    Some(Purge {
        hosts: hosts.iter().filter_map(|host| reading.check(host.place, zone::host(&host.value, &zone_name))).collect(),
        prefixes: prefixes.iter().filter_map(|one| prefix(reading, one, &zone_name)).collect(),
        tags: tags.iter().filter_map(|one| tag(reading, one)).collect(),
        everything,
        mode: match mode.as_ref().map(|mode| mode.value) {
            Some(ModeToml::Purge) => PurgeMode::Purge,
            Some(ModeToml::Invalidate) | None => PurgeMode::Invalidate,
        },
        zone_name,
    })
}

fn prefix(reading: &mut Reading<'_>, written: &Placed<String>, zone: &str) -> Option<String> {
    let text = written.value.as_str();
    let (host, path) = text.split_once('/').unwrap_or((text, ""));
    let host = reading.check(written.place, zone::host(host, zone))?;
    if text.contains(['?', '#']) || !path.bytes().all(|b| b.is_ascii_graphic()) {
        let fault = Fault::new(written.place, format!("`{}` is not the begin of addresses", shown(text)));
        reading.fault(fault.hint("write a host and the begin of a path, without scheme and query, such as `example.com/static`"));
        return None;
    }
    Some(if path.is_empty() { host } else { format!("{host}/{path}") })
}

fn tag(reading: &mut Reading<'_>, written: &Placed<String>) -> Option<String> {
    let text = written.value.as_str();
    if !text.is_empty() && text.len() <= 1024 && !text.chars().any(|c| is_deceptive(c) || c.is_whitespace() || c == ',') {
        return Some(text.to_owned());
    }
    let fault = Fault::new(written.place, format!("`{}` is not a cache tag", shown(text)));
    reading.fault(fault.hint("write 1 to 1,024 characters, without spaces and commas"));
    None
}
