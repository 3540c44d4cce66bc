//! What starts a Worker: crons, routes, the workers.dev name. None of it is part of a version.
//!
//! Goes in: the properties before and after, what is there now. Comes out: the writes that are needed, and no others.
//!
//! **Invariant:** crons and routes that are not ours stay; a route that another Worker has is refused before any write.

use std::collections::{BTreeMap, BTreeSet};

use http::Method;
use serde_json::{Value as Json, json};

use crate::boundary;
use crate::model::{Properties, Value};
use crate::provider::Outcome;

use super::super::client::Payload;
use super::super::fault::Fault;
use super::super::path::{Grammar, path};
use super::super::read;
use super::super::upload::names;
use super::super::wire::Subdomain;
use super::Work;

impl Work<'_> {
    /// Writes the whole set of crons, where it is not there: those desired, and those that are not ours. `read` says
    /// that there may be some already.
    pub(super) async fn write_crons(&mut self, read: bool) -> Result<(), Outcome> {
        let ours: BTreeSet<String> = names(&self.before, "crons").union(&names(&self.after, "crons")).cloned().collect();
        let live: BTreeSet<String> = if read {
            let crons = read::crons(&self.provider.client, &self.provider.account, self.script).await;
            crons.map_err(|fault| self.writer.unread(fault))?.into_iter().collect()
        } else {
            BTreeSet::new()
        };
        let mut crons = names(&self.after, "crons");
        crons.extend(live.iter().filter(|cron| !ours.contains(*cron)).cloned());
        if crons == live {
            return Ok(());
        }
        let body = Json::Array(crons.into_iter().map(|cron| json!({ "cron": cron })).collect());
        let path = self.path(&["schedules"]);
        self.writer.write(Method::PUT, &path, Payload::Json(body), &[]).await?;
        boundary::reach("after_crons");
        Ok(())
    }

    /// Switches the workers.dev name on or off, where it is not so; previews stay as they are. `now` is how it is, where that
    /// is known. Whether anything was written.
    pub(super) async fn write_subdomain(&mut self, now: Option<Subdomain>) -> Result<bool, Outcome> {
        let wanted = matches!(self.after.get("workers_dev"), Some(Value::Bool(true)));
        let now = match now {
            Some(now) => now,
            None => {
                let now = read::subdomain(&self.provider.client, &self.provider.account, self.script).await;
                now.map_err(|fault| self.writer.unread(fault))?
            }
        };
        if now.enabled == wanted {
            return Ok(false);
        }
        let mut body = json!({ "enabled": wanted });
        if let Some(previews) = now.previews_enabled {
            body["previews_enabled"] = json!(previews);
        }
        let path = self.path(&["subdomain"]);
        self.writer.write(Method::POST, &path, Payload::Json(body), &[]).await?;
        boundary::reach("after_subdomain");
        Ok(true)
    }

    /// What of the routes is to be written.
    pub(super) fn route_changes(&self) -> Result<RouteChanges, Outcome> {
        let (before, after) = (routes(&self.before), routes(&self.after));
        let mut changes = RouteChanges::default();
        for (pattern, zone) in before.iter().filter(|(pattern, zone)| after.get(*pattern) != Some(zone)) {
            let Some(Ok(read)) = self.lists.zones.get(zone) else { continue };
            let mine = read.routes.iter().filter(|r| r.pattern == *pattern && r.script.as_deref() == Some(self.script));
            changes.remove.extend(mine.map(|route| (read.id.clone(), route.id.clone())));
        }
        for (pattern, zone) in &after {
            let Some(Ok(read)) = self.lists.zones.get(zone) else {
                return Err(Outcome::Conflict(format!("zone `{zone}` was not read")));
            };
            match read.routes.iter().find(|r| r.pattern == *pattern) {
                None => changes.add.push((read.id.clone(), pattern.clone())),
                Some(route) if route.script.as_deref() == Some(self.script) => {}
                Some(route) => {
                    let holder = route.script.as_deref().unwrap_or("no Worker");
                    return Err(Outcome::Conflict(format!("route `{pattern}` belongs to {holder}")));
                }
            }
        }
        Ok(changes)
    }

    pub(super) async fn write_routes(&mut self, changes: RouteChanges) -> Result<(), Outcome> {
        for (zone, route) in changes.remove {
            Grammar::Id.check(&route).map_err(|error| self.writer.unread(Fault::own(error)))?;
            let path = path(&["zones", &zone, "workers", "routes", &route]);
            match self.writer.try_write(Method::DELETE, &path, Payload::Empty, &[]).await {
                Ok(_) => {}
                Err(fault) if fault.status == Some(404) => {}
                Err(fault) => return Err(self.writer.failed(fault)),
            }
            boundary::reach("after_route_delete");
        }
        for (zone, pattern) in changes.add {
            let body = json!({ "pattern": pattern, "script": self.script });
            let path = path(&["zones", &zone, "workers", "routes"]);
            self.writer.write(Method::POST, &path, Payload::Json(body), &[]).await?;
            boundary::reach("after_route");
        }
        Ok(())
    }
}

/// Routes to be written, by the id of their zone.
#[derive(Default)]
pub(super) struct RouteChanges {
    /// Zone and route.
    remove: Vec<(String, String)>,
    /// Zone and pattern.
    add: Vec<(String, String)>,
}

/// The routes in `properties`: pattern to zone.
fn routes(properties: &Properties) -> BTreeMap<String, String> {
    let routes = properties.get("routes").and_then(Value::as_table).into_iter().flatten();
    routes
        .filter_map(|(pattern, route)| Some((pattern.clone(), route.as_table()?.get("zone_name")?.as_text()?.to_owned())))
        .collect()
}
