//! The text of what lives on a host, by exactly one of `source`, `template` and `content`.
//!
//! Goes in: what a table says of it. Comes out: for each target the bytes, by their digest, and the secrets and tokens in them.

use std::collections::{BTreeMap, BTreeSet};

use super::limit;
use super::origin::Tracing;
use super::reading::Reading;
use super::scope::{Draft, Scope};
use super::template::{self, Known, Rendered, Values};
use crate::document::{Entries, Fault, Place, Placed, shown};
use crate::model::{Address, Content, Contents, Diagnostic, InstanceKey, Kind, ResourceName, Target, TargetName, TreeError};

/// What a text is on one target.
#[derive(Clone)]
pub(super) struct Body {
    pub(super) content: Content,
    /// The secrets in it.
    pub(super) secrets: BTreeSet<ResourceName>,
    /// The tunnels whose tokens are in it, and where each of them is.
    pub(super) tokens: BTreeMap<ResourceName, InstanceKey>,
}

impl Body {
    /// Bytes as they are.
    fn plain(content: Content) -> Self {
        Self { content, secrets: BTreeSet::new(), tokens: BTreeMap::new() }
    }
}

/// Whose text it is.
pub(super) struct Head<'a> {
    pub(super) kind: Kind,
    pub(super) name: &'a ResourceName,
    /// Where its key stands.
    pub(super) key: Place,
    dropped: &'a BTreeSet<String>,
    targets: &'a BTreeSet<TargetName>,
}

impl<'a> Head<'a> {
    pub(super) fn of<T>(kind: Kind, draft: &'a Draft<T>) -> Self {
        Self { kind, name: &draft.name, key: draft.key, dropped: &draft.dropped, targets: &draft.targets }
    }
}

/// A text as it is written.
pub(super) struct Text<'a> {
    pub(super) head: Head<'a>,
    pub(super) source: Option<&'a Placed<String>>,
    pub(super) template: Option<&'a Placed<String>>,
    pub(super) content: Option<&'a Placed<String>>,
    pub(super) vars: Option<&'a Entries<Placed<serde_json::Value>>>,
    /// What a template may place.
    pub(super) values: Values,
}

impl Text<'_> {
    /// Whether the table says nothing of a text.
    pub(super) fn is_absent(&self) -> bool {
        let dropped = ["source", "template", "content"].iter().any(|key| self.head.dropped.contains(*key));
        !dropped && self.source.is_none() && self.template.is_none() && self.content.is_none()
    }

    /// What it is on each target; nothing where it is at fault.
    pub(super) fn bodies(
        &self,
        reading: &mut Reading<'_>,
        scope: &Scope,
        (tracing, contents): (&mut Tracing, &mut Contents),
    ) -> Result<BTreeMap<TargetName, Body>, TreeError> {
        let Self { head, source, template, content, vars, values: _ } = self;
        if !self.is_one(reading) {
            return Ok(BTreeMap::new());
        }
        if let (Some(Entries(vars)), None) = (vars, template)
            && let Some((first, _)) = vars.first()
        {
            reading.fault(Fault::new(first.place, "`vars` belongs to `template`").hint("remove it, or use a template"));
        }
        let same = |body: Body| head.targets.iter().map(|target| (target.clone(), body.clone())).collect();
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
        match template {
            Some(template) => self.rendered(reading, scope, template, (tracing, contents)),
            None => Ok(BTreeMap::new()),
        }
    }

    /// Whether exactly one of the three keys is there.
    fn is_one(&self, reading: &mut Reading<'_>) -> bool {
        let Self { head, source, template, content, .. } = self;
        let said: Vec<(&str, Place)> = [("source", source), ("template", template), ("content", content)]
            .into_iter()
            .filter_map(|(key, value)| value.map(|value| (key, value.place)))
            .collect();
        match said.as_slice() {
            [_] => true,
            [] => {
                if self.is_absent() && !reading.is_partial() {
                    reading.fault(
                        Fault::new(head.key, "one of `source`, `template`, `content` is missing")
                            .label("in this table")
                            .hint(format!("say what the {} holds", head.kind)),
                    );
                }
                false
            }
            [(first, place), (second, again), ..] => {
                let message = format!("`{first}` and `{second}` cannot both be the content of a {}", head.kind);
                reading.fault(
                    Fault::new(*again, message)
                        .related(*place, "the other one")
                        .hint("keep exactly one of `source`, `template`, `content`; one of them may come from a base"),
                );
                false
            }
        }
    }

    fn rendered(
        &self,
        reading: &mut Reading<'_>,
        scope: &Scope,
        template: &Placed<String>,
        (tracing, contents): (&mut Tracing, &mut Contents),
    ) -> Result<BTreeMap<TargetName, Body>, TreeError> {
        let head = &self.head;
        let mut bodies = BTreeMap::new();
        let Some(path) = reading.path(template) else { return Ok(bodies) };
        let Some((bytes, _)) = reading.blob(&path, limit::TEMPLATE, template.place)? else { return Ok(bodies) };
        tracing.whole_file("content", &path);
        let Ok(text) = std::str::from_utf8(&bytes) else {
            let message = format!("the template `{}` is not UTF-8", shown(&path));
            reading.fault(Fault::new(template.place, message).hint("use `source`"));
            return Ok(bodies);
        };
        let known = Known { secrets: &scope.declared_secrets, tunnels: tunnels(scope) };
        for name in head.targets {
            let Some(target) = scope.targets.get(name) else { continue };
            let context = context(scope, (name, target), self.vars);
            match template::render(text, &context, &known, self.values) {
                Ok(Rendered { text, secrets, tokens }) => {
                    let content = Content::of(text.as_bytes());
                    contents.insert(content.sha256, text.as_bytes().into());
                    let tokens = tokens.into_iter().filter_map(|tunnel| {
                        let address =
                            Address { environment: scope.environment.clone(), kind: Kind::Tunnel, name: tunnel.clone() };
                        // One that is nowhere is at fault by itself.
                        let target = known.tunnels.get(&tunnel)?.first()?;
                        Some((tunnel, address.on(target.clone())))
                    });
                    bodies.insert(name.clone(), Body { content, secrets, tokens: tokens.collect() });
                }
                Err(fault) => {
                    // What one host has another may not have.
                    let several = head.targets.len() > 1;
                    let message = if several { format!("{} (on `{name}`)", fault.message) } else { fault.message };
                    let mut diagnostic = Diagnostic::error(path.clone(), fault.span, message);
                    diagnostic.hint = fault.hint.or_else(|| Some(format!("the template of `{}.{}`", head.kind, head.name)));
                    reading.push(diagnostic);
                }
            }
        }
        Ok(bodies)
    }
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
