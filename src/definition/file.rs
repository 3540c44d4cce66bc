//! A file's table to its specification on each target.

use std::collections::BTreeMap;

use super::body::{Body, Head, Text};
use super::origin::Tracing;
use super::reading::Reading;
use super::scalar;
use super::scope::{Draft, Scope, required};
use super::template::Values;
use super::written::FileToml;
use crate::document::{Fault, Placed};
use crate::model::{Contents, FileSpec, Kind, TargetName, TreeError};

/// The specifications of a file by target; empty where something about it is at fault.
pub(super) fn file(
    reading: &mut Reading<'_>,
    scope: &Scope,
    draft: &Draft<FileToml>,
    (tracing, contents): (&mut Tracing, &mut Contents),
) -> Result<BTreeMap<TargetName, FileSpec>, TreeError> {
    let written = &draft.written;
    let hint = "write where the file stands on the host, such as `path = \"/etc/ads-engine/config.toml\"`";
    required(reading, (draft.key, &draft.dropped), "path", written.path.as_ref(), hint);
    let mode = match &written.mode {
        Some(mode) => reading.check(mode.place, scalar::mode(&mode.value)),
        None => Some(0o644),
    };
    let owner = account(reading, written.owner.as_ref());
    let group = account(reading, written.group.as_ref());
    let validate = validate(reading, written.validate.as_ref());
    for (field, place) in [
        ("path", written.path.as_ref().map(|v| v.place)),
        ("mode", written.mode.as_ref().map(|v| v.place)),
        ("owner", written.owner.as_ref().map(|v| v.place)),
        ("group", written.group.as_ref().map(|v| v.place)),
        ("content", written.content.as_ref().map(|v| v.place)),
    ] {
        tracing.field(reading, field, place);
    }
    let FileToml { source, template, content, vars, .. } = written;
    let text = Text {
        head: Head::of(Kind::File, draft),
        source: source.as_ref(),
        template: template.as_ref(),
        content: content.as_ref(),
        vars: vars.as_ref(),
        values: Values::AsTheyAre,
    };
    let bodies = text.bodies(reading, scope, (tracing, contents))?;
    let (Some(path), Some(mode), Some(owner), Some(group), Some(validate)) = (&draft.claim, mode, owner, group, validate) else {
        return Ok(BTreeMap::new());
    };
    let spec = |(target, Body { content, secrets, tokens }): (TargetName, Body)| {
        let (owner, group, validate) = (owner.clone(), group.clone(), validate.clone());
        (target, FileSpec { path: path.clone(), content, secrets, tokens, mode, owner, group, validate })
    };
    Ok(bodies.into_iter().map(spec).collect())
}

/// `None` where it is at fault.
pub(super) fn account(reading: &mut Reading<'_>, written: Option<&Placed<String>>) -> Option<Option<String>> {
    match written {
        Some(written) => reading.check(written.place, scalar::account(&written.value)).map(Some),
        None => Some(None),
    }
}

/// `None` where it is at fault.
fn validate(reading: &mut Reading<'_>, written: Option<&Placed<Vec<Placed<String>>>>) -> Option<Option<Vec<String>>> {
    let Some(written) = written else { return Some(None) };
    let hint = "write a command and its arguments, such as `[\"nginx\", \"-t\", \"-c\", \"{}\"]`";
    let words: Vec<String> = written.value.iter().map(|word| word.value.clone()).collect();
    if words.first().is_none_or(String::is_empty) || words.iter().any(|word| word.contains('\0')) {
        reading.fault(Fault::new(written.place, "this is not a command").hint(hint));
        return None;
    }
    if !words.iter().any(|word| word.contains("{}")) {
        let message = "the command does not look at the new content";
        reading.warn(Fault::new(written.place, message).hint("`{}` in an argument is the path of the new content"));
    }
    Some(Some(words))
}
