//! `check` and `schema`.

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::arguments::{Check, Global, Output, Schema};
use super::output::{Failure, note, show, show_json};
use super::workspace::{self, Workspace};
use super::{ERROR, OK};
use crate::definition;
use crate::model::{EnvironmentId, ResourceName};
use crate::{build, reconcile};

pub(super) fn check(global: &Global, verb: &Check) -> Result<u8, Failure> {
    let workspace = workspace::resolve(&verb.folder, &[])?;
    let counts: Vec<(String, usize)> = workspace
        .environments
        .iter()
        .map(|(id, resolution)| (id.to_string(), resolution.bundle.as_ref().map_or(0, |b| b.desired.resources.len())))
        .collect();
    let builds = if verb.build { run_builds(global, &workspace)? } else { not_run(&workspace) };
    let failed = builds.iter().any(|build| build.fault.is_some());
    let status = if workspace.has_errors() || failed { ERROR } else { OK };
    match verb.output {
        Output::Json => {
            let environments: Vec<_> =
                counts.iter().map(|(id, count)| json!({ "environment": id, "instances": count })).collect();
            let builds: Vec<_> = builds
                .iter()
                .map(|b| json!({ "environment": b.environment, "worker": b.worker, "run": verb.build, "fault": b.fault }))
                .collect();
            show_json(&json!({
                "version": 1, "ok": status == OK, "environments": environments, "builds": builds,
                "diagnostics": workspace.diagnostics,
            }))?;
        }
        Output::Text => {
            if !workspace.diagnostics.is_empty() {
                note(&workspace.render(global.colour()));
            }
            builds.iter().for_each(|build| note(&build.line(verb.build)));
            if status == OK {
                for (id, count) in counts {
                    show(&format!("{id}: {count} instance(s), no faults"))?;
                }
            } else {
                let errors = workspace.diagnostics.iter().filter(|d| d.severity == crate::model::Severity::Error).count();
                note(&format!("{} fault(s)", errors + builds.iter().filter(|build| build.fault.is_some()).count()));
            }
        }
    }
    Ok(status)
}

/// A build, and what is wrong with it.
struct Checked {
    environment: EnvironmentId,
    worker: ResourceName,
    fault: Option<String>,
}

impl Checked {
    fn line(&self, was_run: bool) -> String {
        let Self { environment, worker, fault } = self;
        match fault {
            Some(fault) => format!("{environment}: {fault}"),
            None if was_run => format!("{environment}: worker.{worker} was built"),
            None => format!("{environment}: the build of worker.{worker} was not run; `trunkline check --build` runs it"),
        }
    }
}

fn not_run(workspace: &Workspace) -> Vec<Checked> {
    let builds = workspace.environments.iter().flat_map(|(id, resolution)| resolution.builds.keys().map(move |name| (id, name)));
    builds.map(|(id, name)| Checked { environment: id.clone(), worker: name.clone(), fault: None }).collect()
}

fn run_builds(global: &Global, workspace: &Workspace) -> Result<Vec<Checked>, Failure> {
    let settings = workspace::settings(global)?;
    let options = reconcile::build_options(&settings, CancellationToken::new())?;
    let mut checked = not_run(workspace);
    for entry in &mut checked {
        let found = workspace.environments.iter().find(|(id, _)| *id == entry.environment);
        let Some(request) = found.and_then(|(_, resolution)| resolution.builds.get(&entry.worker)) else { continue };
        if let Err(error) = build::build(&options, &entry.worker, request) {
            entry.fault = Some(reconcile::explained(&[error]));
        }
    }
    Ok(checked)
}

pub(super) fn schema(verb: &Schema) -> Result<u8, Failure> {
    let mut text = serde_json::to_string_pretty(&definition::json_schema()).map_err(|error| Failure::of(&error))?;
    text.push('\n');
    match &verb.write {
        Some(path) => {
            std::fs::write(path, text).map_err(|error| Failure::new(format!("{} cannot be written: {error}", path.display())))?;
        }
        None => show(&text)?,
    }
    Ok(OK)
}
