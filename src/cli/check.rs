//! `check` and `schema`.

use serde_json::json;

use super::arguments::{Check, Global, Output, Schema};
use super::output::{Failure, note, show, show_json};
use super::{ERROR, OK, workspace};
use crate::definition;

pub(super) fn check(global: &Global, verb: &Check) -> Result<u8, Failure> {
    let workspace = workspace::resolve(&verb.folder, &[])?;
    let status = if workspace.has_errors() { ERROR } else { OK };
    let counts: Vec<(String, usize)> = workspace
        .environments
        .iter()
        .map(|(id, resolution)| (id.to_string(), resolution.bundle.as_ref().map_or(0, |b| b.desired.resources.len())))
        .collect();
    match verb.output {
        Output::Json => {
            let environments: Vec<_> =
                counts.iter().map(|(id, count)| json!({ "environment": id, "instances": count })).collect();
            show_json(
                &json!({ "version": 1, "ok": status == OK, "environments": environments, "diagnostics": workspace.diagnostics }),
            )?;
        }
        Output::Text => {
            if !workspace.diagnostics.is_empty() {
                note(&workspace.render(global.colour()));
            }
            if status == OK {
                for (id, count) in counts {
                    show(&format!("{id}: {count} instance(s), no faults"))?;
                }
            } else {
                let errors = workspace.diagnostics.iter().filter(|d| d.severity == crate::model::Severity::Error).count();
                note(&format!("{errors} fault(s)"));
            }
        }
    }
    Ok(status)
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
