//! A file's table to its specification on each target.

use std::collections::{BTreeMap, BTreeSet};

use super::limit;
use super::origin::Tracing;
use super::reading::Reading;
use super::scalar;
use super::scope::{Draft, Scope, required};
use super::template::{self, Known};
use super::written::FileToml;
use crate::document::{Entries, Fault, Place, Placed, shown};
use crate::model::{
    Address, Content, Contents, Diagnostic, FileSpec, InstanceKey, Kind, ResourceName, Target, TargetName, TreeError,
};

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
    let bodies = bodies(reading, scope, draft, (tracing, contents))?;
    let (Some(path), Some(mode), Some(owner), Some(group), Some(validate)) = (&draft.claim, mode, owner, group, validate) else {
        return Ok(BTreeMap::new());
    };
    let spec = |(target, Body { content, secrets, tokens }): (TargetName, Body)| {
        let (owner, group, validate) = (owner.clone(), group.clone(), validate.clone());
        (target, FileSpec { path: path.clone(), content, secrets, tokens, mode, owner, group, validate })
    };
    Ok(bodies.into_iter().map(spec).collect())
}

/// What a file holds.
#[derive(Clone)]
struct Body {
    content: Content,
    secrets: BTreeSet<ResourceName>,
    tokens: BTreeMap<ResourceName, InstanceKey>,
}

impl Body {
    /// Bytes as they are.
    fn plain(content: Content) -> Self {
        Self { content, secrets: BTreeSet::new(), tokens: BTreeMap::new() }
    }
}

/// What the file holds on each target.
fn bodies(
    reading: &mut Reading<'_>,
    scope: &Scope,
    draft: &Draft<FileToml>,
    (tracing, contents): (&mut Tracing, &mut Contents),
) -> Result<BTreeMap<TargetName, Body>, TreeError> {
    let FileToml { source, template, content, vars, .. } = &draft.written;
    let said: Vec<(&str, Place)> = [("source", source), ("template", template), ("content", content)]
        .into_iter()
        .filter_map(|(key, value)| value.as_ref().map(|value| (key, value.place)))
        .collect();
    match said.as_slice() {
        [_] => {}
        [] => {
            let any_dropped = ["source", "template", "content"].iter().any(|key| draft.dropped.contains(*key));
            if !any_dropped && !reading.is_partial() {
                reading.fault(
                    Fault::new(draft.key, "one of `source`, `template`, `content` is missing")
                        .label("in this table")
                        .hint("say what the file holds"),
                );
            }
            return Ok(BTreeMap::new());
        }
        [(first, place), (second, again), ..] => {
            reading.fault(
                Fault::new(*again, format!("`{first}` and `{second}` cannot both be the content of a file"))
                    .related(*place, "the other one")
                    .hint("keep exactly one of `source`, `template`, `content`; one of them may come from a base"),
            );
            return Ok(BTreeMap::new());
        }
    }
    if let (Some(Entries(vars)), None) = (vars, template)
        && let Some((first, _)) = vars.first()
    {
        reading.fault(Fault::new(first.place, "`vars` belongs to `template`").hint("remove it, or use a template"));
    }
    let same = |body: Body| draft.targets.iter().map(|target| (target.clone(), body.clone())).collect();
    if let Some(text) = content {
        let bytes = text.value.as_bytes();
        let content = Content::of(bytes);
        contents.insert(content.sha256, bytes.into());
        return Ok(same(Body::plain(content)));
    }
    if let Some(source) = source {
        let Some(path) = reading.path(source) else { return Ok(BTreeMap::new()) };
        let Some((bytes, content)) = reading.blob(&path, limit::SOURCE, source.place)? else { return Ok(BTreeMap::new()) };
        tracing.whole_file("content", &path);
        contents.insert(content.sha256, bytes);
        return Ok(same(Body::plain(content)));
    }
    let Some(template) = template else { return Ok(BTreeMap::new()) };
    let Some(path) = reading.path(template) else { return Ok(BTreeMap::new()) };
    let Some((bytes, _)) = reading.blob(&path, limit::TEMPLATE, template.place)? else { return Ok(BTreeMap::new()) };
    tracing.whole_file("content", &path);
    let Ok(text) = std::str::from_utf8(&bytes) else {
        reading.fault(Fault::new(template.place, format!("the template `{}` is not UTF-8", shown(&path))).hint("use `source`"));
        return Ok(BTreeMap::new());
    };
    let known = Known { secrets: &scope.declared_secrets, tunnels: tunnels(scope) };
    let mut bodies = BTreeMap::new();
    for name in &draft.targets {
        let Some(target) = scope.targets.get(name) else { continue };
        let context = context(scope, (name, target), vars.as_ref());
        match template::render(text, &context, &known) {
            Ok(rendered) => {
                let content = Content::of(rendered.text.as_bytes());
                contents.insert(content.sha256, rendered.text.as_bytes().into());
                let tokens = rendered.tokens.into_iter().filter_map(|tunnel| {
                    let address = Address { environment: scope.environment.clone(), kind: Kind::Tunnel, name: tunnel.clone() };
                    // One that is nowhere is at fault by itself.
                    let target = known.tunnels.get(&tunnel)?.first()?;
                    Some((tunnel, address.on(target.clone())))
                });
                bodies.insert(name.clone(), Body { content, secrets: rendered.secrets, tokens: tokens.collect() });
            }
            Err(fault) => {
                // What one host has another may not have.
                let message = if draft.targets.len() > 1 { format!("{} (on `{name}`)", fault.message) } else { fault.message };
                let mut diagnostic = Diagnostic::error(path.clone(), fault.span, message);
                diagnostic.hint = fault.hint.or_else(|| Some(format!("the template of `file.{}`", draft.name)));
                reading.push(diagnostic);
            }
        }
    }
    Ok(bodies)
}

/// The tunnels of the environment, and where each of them is.
fn tunnels(scope: &Scope) -> BTreeMap<ResourceName, BTreeSet<TargetName>> {
    let drafts = scope.platform.get(&Kind::Tunnel).into_iter().flatten();
    drafts.map(|(name, draft)| (name.clone(), draft.targets.clone())).collect()
}

/// What a template sees.
fn context(
    scope: &Scope,
    (name, target): (&TargetName, &Target),
    vars: Option<&Entries<Placed<serde_json::Value>>>,
) -> serde_json::Value {
    let vars: serde_json::Map<String, serde_json::Value> =
        vars.into_iter().flat_map(|Entries(vars)| vars).map(|(name, value)| (name.value.clone(), value.value.clone())).collect();
    serde_json::json!({
        "environment": scope.environment.environment.as_str(),
        "tenant": scope.environment.tenant.as_str(),
        "target": { "name": name.as_str(), "region": target.region, "labels": target.labels },
        "host": { "name": name.as_str(), "region": target.region, "labels": target.labels, "vars": scope.host_vars.get(name) },
        "vars": vars,
    })
}

/// `None` where it is at fault.
fn account(reading: &mut Reading<'_>, written: Option<&Placed<String>>) -> Option<Option<String>> {
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
