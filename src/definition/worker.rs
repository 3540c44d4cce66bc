//! A Worker's table to its specification: modules, bindings, routes, crons.

use std::collections::{BTreeMap, BTreeSet};

use super::assets::assets;
use super::bindings::bindings;
use super::build;
use super::cron::cron;
use super::durable::{exports, migrations};
use super::modules::modules;
use super::origin::Tracing;
use super::purge::purge;
use super::reading::Reading;
use super::rollout::rollout;
use super::scalar;
use super::scope::{Draft, Scope, required};
use super::settings::settings;
use super::written::WorkerToml;
use crate::document::{Entries, Fault, Place, shown};
use crate::model::{Contents, Kind, ResourceName, Route, TreeError, WorkerSpec};

/// Another resource that a Worker refers to, and where.
pub(super) type Reference = (Kind, ResourceName, Place);

/// The specification of a Worker and what it refers to; `None` where something about it is at fault.
pub(super) fn worker(
    reading: &mut Reading<'_>,
    scope: &Scope,
    draft: &Draft<WorkerToml>,
    (tracing, contents): (&mut Tracing, &mut Contents),
) -> Result<(Option<WorkerSpec>, Vec<Reference>), TreeError> {
    let written = &draft.written;
    let hint = "write the path of the module to start with, such as `main = \"workers/ads-api/index.js\"`, or a `build`";
    let main = match &written.build {
        Some(_) => written.main.clone(),
        None if draft.dropped.contains("build") => written.main.clone(),
        None => required(reading, (draft.key, &draft.dropped), "main", written.main.clone(), hint),
    };
    let modules = match (&written.build, &main) {
        // What a build leaves takes their place.
        (Some(build), _) => build::request(reading, draft, build, tracing)?.then(Default::default),
        (None, Some(main)) => modules(reading, main, written.modules.as_deref().unwrap_or_default(), (tracing, contents))?,
        (None, None) => None,
    };
    let mut references = Vec::new();
    let bindings = bindings(reading, scope, written, (tracing, &mut references));
    let settings = settings(reading, scope, written, (tracing, &mut references));
    let (migrations, exports) = (migrations(reading, written), exports(reading, written));
    let assets = match &written.assets {
        Some(written) => assets(reading, written, (tracing, contents))?,
        None => None,
    };
    let purge = written.purge.as_ref().and_then(|written| purge(reading, written)).map(Box::new);
    let rollout = match &written.rollout {
        Some(written) => rollout(reading, written, tracing).map(Box::new),
        None => None,
    };
    let date = match &written.compatibility_date {
        Some(date) => reading.check(date.place, scalar::date(&date.value)).map(Some),
        None => Some(None),
    };
    let mut flags = BTreeSet::new();
    for flag in written.compatibility_flags.iter().flatten() {
        if let Some(checked) = reading.check(flag.place, scalar::flag(&flag.value))
            && !flags.insert(checked)
        {
            reading.fault(Fault::new(flag.place, format!("the flag `{}` stands here twice", shown(&flag.value))));
        }
    }
    let crons = crons(reading, written);
    let routes = routes(reading, written);
    for (field, place) in [
        ("script", written.name.as_ref().map(|v| v.place)),
        ("main_module", main.as_ref().map(|v| v.place)),
        ("compatibility_date", written.compatibility_date.as_ref().map(|v| v.place)),
        ("compatibility_flags", written.compatibility_flags.as_ref().and_then(|v| v.first()).map(|v| v.place)),
        ("crons", written.triggers.as_ref().and_then(|v| v.crons.as_ref()?.first()).map(|v| v.place)),
        ("routes", written.routes.as_ref().and_then(|v| v.first()).map(|v| v.place)),
        ("workers_dev", written.workers_dev.as_ref().map(|v| v.place)),
        ("migration_tag", written.migrations.as_ref().and_then(|v| v.last()).map(|v| v.place)),
        ("exports", written.exports.as_ref().and_then(|Entries(v)| v.first()).map(|(name, _)| name.place)),
    ] {
        tracing.field(reading, field, place);
    }
    let spec = match (draft.claim.clone(), modules, date) {
        (Some(script), Some((main, modules)), Some(compatibility_date)) => Some(WorkerSpec {
            script,
            main,
            modules,
            compatibility_date,
            compatibility_flags: flags,
            bindings,
            crons,
            routes,
            workers_dev: written.workers_dev.as_ref().is_some_and(|v| v.value),
            settings,
            migrations,
            exports,
            assets,
            purge,
            rollout,
        }),
        _ => None,
    };
    Ok((spec, references))
}

fn crons(reading: &mut Reading<'_>, written: &WorkerToml) -> BTreeSet<String> {
    let mut crons = BTreeSet::new();
    for expression in written.triggers.iter().flat_map(|triggers| triggers.crons.iter().flatten()) {
        if let Some(checked) = reading.check(expression.place, cron(&expression.value))
            && !crons.insert(checked)
        {
            let message = format!("the cron expression `{}` stands here twice", shown(&expression.value));
            reading.fault(Fault::new(expression.place, message));
        }
    }
    crons
}

fn routes(reading: &mut Reading<'_>, written: &WorkerToml) -> BTreeSet<Route> {
    let mut routes = BTreeMap::new();
    let none = BTreeSet::new();
    for route in written.routes.iter().flatten() {
        let at = (route.place, &none);
        let pattern = required(reading, at, "pattern", route.value.pattern.clone(), "such as `api.example.com/*`");
        let zone = required(reading, at, "zone_name", route.value.zone_name.clone(), "such as `example.com`");
        let (Some(pattern), Some(zone)) = (pattern, zone) else { continue };
        let Some(checked) = reading.check(pattern.place, scalar::route(&pattern.value, &zone.value)) else { continue };
        if let Some(first) = routes.insert(checked.pattern.clone(), (checked, pattern.place)) {
            reading.fault(
                Fault::new(pattern.place, format!("the route `{}` stands here twice", shown(&pattern.value)))
                    .related(first.1, "first here"),
            );
        }
    }
    routes.into_values().map(|(route, _)| route).collect()
}
