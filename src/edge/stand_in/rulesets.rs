//! Rulesets of a zone or an account: ordered rules, whose version grows with every change. Nothing is judged by them.
//!
//! Codes: 10003 a phase without an entrypoint, 10000s a ruleset or rule that is not there, 20217 a second entrypoint,
//! 20127 a rule that makes no sense.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Query, State as Extracted};
use bytes::Bytes;
use http::{StatusCode, Uri};
use serde_json::{Map, Value, json};

use super::super::api::answer::{Answer, Refusal, ok};
use super::super::plane::Plane;
use super::super::record::{fresh_hex, now};
use super::records::Records;
use super::{Asked, Kept, StandIn, cursor_pages, missing, object, text, zones};

type Ctx = Extracted<Arc<Plane>>;

/// Whose rulesets: a zone's or the account's.
struct Owner {
    set: String,
    kind: &'static str,
}

fn owner(plane: &Plane, uri: &Uri, id: &str) -> Result<Owner, Refusal> {
    if uri.path().starts_with("/accounts/") {
        return Ok(Owner { set: format!("rulesets {id}"), kind: "root" });
    }
    zones::name(plane, id)?;
    Ok(Owner { set: format!("rulesets {id}"), kind: "zone" })
}

fn no_ruleset(id: &str) -> Refusal {
    missing(10001, "ruleset", id)
}

fn no_rule(id: &str) -> Refusal {
    missing(10002, "rule", id)
}

/// A ruleset without its rules, as lists show it.
fn outline(ruleset: &Value) -> Value {
    let mut outline = ruleset.clone();
    outline.as_object_mut().map(|fields| fields.remove("rules"));
    outline
}

/// The rule that `wanted` describes, in the place of `before`.
fn rule(wanted: &Map<String, Value>, before: Option<&Value>) -> Result<Value, Refusal> {
    let field = |name: &str| wanted.get(name).cloned();
    let expression = text(wanted, "expression").ok_or_else(|| Refusal::bad(20127, "a rule needs an `expression`"))?;
    let action = text(wanted, "action").ok_or_else(|| Refusal::bad(20127, "a rule needs an `action`"))?;
    let id = before.map_or_else(fresh_hex, |before| before["id"].as_str().unwrap_or_default().to_owned());
    let version = before.and_then(|before| before["version"].as_str()?.parse::<u64>().ok()).unwrap_or(0) + 1;
    let reference = text(wanted, "ref").map(str::to_owned).or_else(|| before?["ref"].as_str().map(str::to_owned));
    let mut rule = json!({
        "id": id,
        "version": version.to_string(),
        "action": action,
        "expression": expression,
        "description": field("description").unwrap_or_else(|| json!("")),
        "last_updated": now(),
        "ref": reference.unwrap_or_else(|| id.clone()),
        "enabled": field("enabled").unwrap_or(json!(true)),
    });
    for name in ["action_parameters", "logging", "ratelimit"] {
        if let Some(value) = field(name).filter(|value| !value.is_null()) {
            rule[name] = value;
        }
    }
    Ok(rule)
}

/// Rules as a whole set; those that name the id of one that is there keep it, and their version where nothing differs.
fn rules(wanted: Option<&Value>, before: &[Value]) -> Result<Vec<Value>, Refusal> {
    let wanted = wanted.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let made = wanted.iter().filter_map(Value::as_object).map(|wanted| {
        let old = before.iter().find(|old| old["id"].as_str() == text(wanted, "id") && old["id"].is_string());
        let made = rule(wanted, old)?;
        let same = |old: &&Value| {
            ["action", "expression", "description", "ref", "enabled", "action_parameters"].iter().all(|f| old[*f] == made[*f])
        };
        Ok(old.filter(same).cloned().unwrap_or(made))
    });
    unique(made.collect::<Result<_, Refusal>>()?)
}

fn unique(rules: Vec<Value>) -> Result<Vec<Value>, Refusal> {
    let mut refs = BTreeSet::new();
    match rules.iter().find(|rule| !refs.insert(rule["ref"].to_string())) {
        Some(rule) => Err(Refusal::bad(20126, format!("two rules have the ref {}", rule["ref"]))),
        None => Ok(rules),
    }
}

fn fresh(owner: &Owner, (name, phase): (&str, &str), wanted: &Map<String, Value>) -> Result<Value, Refusal> {
    let kind = text(wanted, "kind").unwrap_or(owner.kind);
    Ok(json!({
        "id": fresh_hex(),
        "name": name,
        "description": wanted.get("description").cloned().unwrap_or_else(|| json!("")),
        "kind": kind,
        "phase": phase,
        "version": "1",
        "last_updated": now(),
        "rules": rules(wanted.get("rules"), &[])?,
    }))
}

/// The same ruleset with other rules, one version on.
fn with_rules(ruleset: &Value, rules: Vec<Value>) -> Result<Value, Refusal> {
    let mut next = ruleset.clone();
    let version = ruleset["version"].as_str().and_then(|version| version.parse::<u64>().ok()).unwrap_or(0) + 1;
    next["version"] = json!(version.to_string());
    next["last_updated"] = json!(now());
    next["rules"] = Value::Array(unique(rules)?);
    Ok(next)
}

fn entrypoint_of<'a>(records: &'a Records, owner: &Owner, phase: &str) -> Option<&'a Value> {
    records.all(&owner.set).iter().find(|ruleset| ruleset["phase"] == phase && ruleset["kind"] == owner.kind)
}

/// `GET rulesets`.
pub(super) async fn list(
    Extracted(plane): Ctx,
    Extension(kept): Kept,
    uri: Uri,
    Path(id): Path<String>,
    Query(asked): Asked,
) -> Answer {
    let owner = owner(&plane, &uri, &id)?;
    cursor_pages(kept.listed().all(&owner.set).iter().map(outline).collect(), &asked, 50)
}

/// `POST rulesets`.
pub(super) async fn create(
    Extracted(plane): Ctx,
    Extension(kept): Kept,
    uri: Uri,
    Path(id): Path<String>,
    body: Bytes,
) -> Answer {
    let (owner, wanted) = (owner(&plane, &uri, &id)?, object(&body)?);
    let phase = text(&wanted, "phase").ok_or_else(|| Refusal::bad(20119, "`phase` is required"))?.to_owned();
    let name = text(&wanted, "name").ok_or_else(|| Refusal::bad(20119, "`name` is required"))?.to_owned();
    let edit = |records: &mut Records| {
        let made = fresh(&owner, (&name, &phase), &wanted)?;
        if made["kind"] == owner.kind && entrypoint_of(records, &owner, &phase).is_some() {
            let message = format!(
                "'{}' is not a valid value for kind because exceeded maximum number of rulesets for phase {phase}",
                owner.kind
            );
            return Err(Refusal::bad(20217, message));
        }
        records.add(&owner.set, made.clone())?;
        Ok(made)
    };
    ok(kept.change(edit).await?)
}

/// `GET rulesets/phases/{p}/entrypoint`.
pub(super) async fn entrypoint(
    Extracted(plane): Ctx,
    Extension(kept): Kept,
    uri: Uri,
    Path((id, phase)): Path<(String, String)>,
) -> Answer {
    let owner = owner(&plane, &uri, &id)?;
    let found = entrypoint_of(&kept.listed(), &owner, &phase).cloned();
    ok(found.ok_or_else(|| {
        let message = format!("could not find entrypoint ruleset in the \"{phase}\" phase");
        Refusal::new(StatusCode::NOT_FOUND, 10003, message)
    })?)
}

/// `PUT rulesets/phases/{p}/entrypoint`: the whole set of rules.
pub(super) async fn put_entrypoint(
    Extracted(plane): Ctx,
    Extension(kept): Kept,
    uri: Uri,
    Path((id, phase)): Path<(String, String)>,
    body: Bytes,
) -> Answer {
    let (owner, wanted) = (owner(&plane, &uri, &id)?, object(&body)?);
    let edit = |records: &mut Records| {
        let Some(before) = entrypoint_of(records, &owner, &phase).cloned() else {
            let made = fresh(&owner, (text(&wanted, "name").unwrap_or("default"), &phase), &wanted)?;
            records.add(&owner.set, made.clone())?;
            return Ok(made);
        };
        let old = before["rules"].as_array().map_or(&[][..], Vec::as_slice);
        let next = with_rules(&before, rules(wanted.get("rules"), old)?)?;
        records.replace(&owner.set, "id", next.clone());
        Ok(next)
    };
    ok(kept.change(edit).await?)
}

/// `GET rulesets/{r}`.
pub(super) async fn show(
    Extracted(plane): Ctx,
    Extension(kept): Kept,
    uri: Uri,
    Path((id, ruleset)): Path<(String, String)>,
) -> Answer {
    let owner = owner(&plane, &uri, &id)?;
    ok(kept.now().find(&owner.set, ("id", &ruleset)).cloned().ok_or_else(|| no_ruleset(&ruleset))?)
}

/// Edits the rules of a ruleset.
async fn edited(
    kept: &StandIn,
    owner: &Owner,
    ruleset: &str,
    edit: impl FnOnce(Vec<Value>) -> Result<Vec<Value>, Refusal>,
) -> Answer {
    let change = |records: &mut Records| {
        let before = records.find(&owner.set, ("id", ruleset)).ok_or_else(|| no_ruleset(ruleset))?;
        let next = with_rules(before, edit(before["rules"].as_array().cloned().unwrap_or_default())?)?;
        records.replace(&owner.set, "id", next.clone());
        Ok(next)
    };
    ok(kept.change(change).await?)
}

/// `PUT rulesets/{r}`: the whole set of rules.
pub(super) async fn update(
    Extracted(plane): Ctx,
    Extension(kept): Kept,
    uri: Uri,
    Path((id, ruleset)): Path<(String, String)>,
    body: Bytes,
) -> Answer {
    let (owner, wanted) = (owner(&plane, &uri, &id)?, object(&body)?);
    edited(&kept, &owner, &ruleset, |before| rules(wanted.get("rules"), &before)).await
}

/// `DELETE rulesets/{r}`.
pub(super) async fn delete(
    Extracted(plane): Ctx,
    Extension(kept): Kept,
    uri: Uri,
    Path((id, ruleset)): Path<(String, String)>,
) -> Result<StatusCode, Refusal> {
    let owner = owner(&plane, &uri, &id)?;
    kept.change(|records| records.remove(&owner.set, ("id", &ruleset)).ok_or_else(|| no_ruleset(&ruleset))).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Puts a rule where `position` says: `{"before": id}`, `{"after": id}` (empty: first, last) or `{"index": n}`, from 1.
fn placed(mut rules: Vec<Value>, rule: Value, position: Option<&Value>, at: Option<usize>) -> Result<Vec<Value>, Refusal> {
    let find = |id: &Value| rules.iter().position(|rule| rule["id"] == *id).ok_or_else(|| no_rule(&id.to_string()));
    let place = match position {
        None => at.unwrap_or(rules.len()),
        Some(position) if let Some(id) = position.get("before") => {
            if id == "" {
                0
            } else {
                find(id)?
            }
        }
        Some(position) if let Some(id) = position.get("after") => {
            if id == "" {
                rules.len()
            } else {
                find(id)? + 1
            }
        }
        Some(position) => match position["index"].as_u64().and_then(|index| usize::try_from(index).ok()) {
            Some(index) if (1..=rules.len() + 1).contains(&index) => index - 1,
            _ => return Err(Refusal::bad(20128, "the position is not one of the ruleset")),
        },
    };
    rules.insert(place, rule);
    Ok(rules)
}

/// `POST rulesets/{r}/rules`.
pub(super) async fn add_rule(
    Extracted(plane): Ctx,
    Extension(kept): Kept,
    uri: Uri,
    Path((id, ruleset)): Path<(String, String)>,
    body: Bytes,
) -> Answer {
    let (owner, wanted) = (owner(&plane, &uri, &id)?, object(&body)?);
    edited(&kept, &owner, &ruleset, |before| placed(before, rule(&wanted, None)?, wanted.get("position"), None)).await
}

/// `PATCH rulesets/{r}/rules/{rule}`: the whole rule, as the API documents it, and its place.
pub(super) async fn edit_rule(
    Extracted(plane): Ctx,
    Extension(kept): Kept,
    uri: Uri,
    Path((id, ruleset, changed)): Path<(String, String, String)>,
    body: Bytes,
) -> Answer {
    let (owner, wanted) = (owner(&plane, &uri, &id)?, object(&body)?);
    let edit = |mut before: Vec<Value>| {
        let at = before.iter().position(|rule| rule["id"] == changed.as_str()).ok_or_else(|| no_rule(&changed))?;
        let old = before.remove(at);
        let only_moved = wanted.keys().all(|key| key == "position" || key == "id");
        let next = if only_moved { old } else { rule(&wanted, Some(&old))? };
        placed(before, next, wanted.get("position"), Some(at))
    };
    edited(&kept, &owner, &ruleset, edit).await
}

/// `DELETE rulesets/{r}/rules/{rule}`.
pub(super) async fn delete_rule(
    Extracted(plane): Ctx,
    Extension(kept): Kept,
    uri: Uri,
    Path((id, ruleset, gone)): Path<(String, String, String)>,
) -> Answer {
    let owner = owner(&plane, &uri, &id)?;
    let edit = |mut before: Vec<Value>| {
        let at = before.iter().position(|rule| rule["id"] == gone.as_str()).ok_or_else(|| no_rule(&gone))?;
        before.remove(at);
        Ok(before)
    };
    edited(&kept, &owner, &ruleset, edit).await
}
