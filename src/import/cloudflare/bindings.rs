//! What the code of a Worker sees: vars, and references to what was imported. What is left out stays on the Worker.

use serde_json::{Map, Value as Json, json};

use super::super::sketch::TableSketch;
use super::Making;
use super::things::json_of;
use crate::document::shown;
use crate::model::{Kind, Properties, Value};
use crate::provider::cloudflare::SurveyedWorker;

/// Carries the bindings of a Worker.
pub(super) fn carry(making: &mut Making<'_>, worker: &SurveyedWorker, (what, table): (&str, &mut TableSketch)) {
    for (name, binding) in worker.properties.get("bindings").and_then(Value::as_table).into_iter().flatten() {
        let at = format!("{what}: bindings.{}", shown(name));
        let Some(fields) = binding.as_table() else { continue };
        match one(making, worker, fields) {
            Ok(Said::Var(value)) => drop(table.vars.insert(name.clone(), value)),
            Ok(Said::Binding(value)) => drop(table.bindings.insert(name.clone(), value)),
            Ok(Said::Secret) => {
                let secret = super::super::key::key(name);
                let (environment, name) = (&making.account.environment, shown(name));
                let line = format!(
                    "secret: `trunkline secrets set {environment} {secret}`, then `{name} = {{ secret = \"{secret}\" }}`"
                );
                table.comments.push(line);
                making.ask(&at, format!("a secret cannot be read: `trunkline secrets set {environment} {secret}`"));
            }
            Err(reason) => {
                table.comments.push(format!("{} stays as it is: {reason}", shown(name)));
                making.leave(&at, reason);
            }
        }
    }
}

/// How a binding is said.
enum Said {
    Var(Json),
    Binding(Json),
    Secret,
}

fn one(making: &mut Making<'_>, worker: &SurveyedWorker, fields: &Properties) -> Result<Said, String> {
    let text = |key: &str| fields.get(key).and_then(Value::as_text).filter(|text| !text.is_empty());
    let needed = |key: &str| text(key).ok_or_else(|| format!("it has no `{key}`"));
    let only = |known: &[&str]| match fields.keys().find(|key| *key != "type" && !known.contains(&key.as_str())) {
        Some(key) => Err(format!("definitions have nothing for its `{}`", shown(key))),
        None => Ok(()),
    };
    let sort = text("type").unwrap_or_default();
    let said = match sort {
        "plain_text" => return Ok(Said::Var(json!(fields.get("text").and_then(Value::as_text).unwrap_or_default()))),
        "json" => return var(needed("json")?),
        "secret_text" => return Ok(Said::Secret),
        "service" => {
            only(&["service", "entrypoint"])?;
            let service = needed("service")?;
            let key = making.names.refer(&worker.script, service);
            let mut said = Map::new();
            match key {
                Some(key) => said.insert("service".to_owned(), json!(key)),
                None => said.insert("script".to_owned(), json!(service)),
            };
            said.extend(text("entrypoint").map(|entrypoint| ("entrypoint".to_owned(), json!(entrypoint))));
            said
        }
        "durable_object_namespace" => {
            only(&["class_name", "script_name", "namespace_id", "environment"])?;
            let mut said = Map::from_iter([("durable_object".to_owned(), json!(needed("class_name")?))]);
            if let Some(script) = text("script_name").filter(|script| *script != worker.script) {
                match making.names.refer(&worker.script, script) {
                    Some(key) => said.insert("worker".to_owned(), json!(key)),
                    None => said.insert("script".to_owned(), json!(script)),
                };
            }
            said
        }
        "analytics_engine" => {
            only(&["dataset"])?;
            Map::from_iter([("analytics_engine".to_owned(), json!(needed("dataset")?))])
        }
        "ratelimit" => {
            only(&["namespace_id", "simple"])?;
            let mut limit = Map::from_iter([("namespace_id".to_owned(), json!(needed("namespace_id")?))]);
            if let Some(Json::Object(simple)) = fields.get("simple").and_then(json_of) {
                limit.extend(simple);
            }
            Map::from_iter([("ratelimit".to_owned(), Json::Object(limit))])
        }
        "assets" => return Err("it belongs to static files, which cannot be read".to_owned()),
        "version_metadata" | "ai" | "browser" => {
            only(&[])?;
            Map::from_iter([(sort.to_owned(), json!(true))])
        }
        _ => resource(making, sort, fields)?,
    };
    let words = said.keys().find(|key| !making.words.has_binding(key));
    match words {
        Some(word) => Err(format!("this version has no binding `{word}`")),
        None => Ok(Said::Binding(Json::Object(said))),
    }
}

/// A JSON value; text is another sort of binding, and TOML has no null.
fn var(text: &str) -> Result<Said, String> {
    fn has_null(value: &Json) -> bool {
        match value {
            Json::Null => true,
            Json::Array(items) => items.iter().any(has_null),
            Json::Object(entries) => entries.values().any(has_null),
            _ => false,
        }
    }
    match serde_json::from_str::<Json>(text) {
        Ok(Json::String(_)) => Err("it is text in the form of JSON, which definitions do not write".to_owned()),
        Ok(value) if has_null(&value) => Err("it holds a `null`, which TOML does not have".to_owned()),
        Ok(value) => Ok(Said::Var(value)),
        Err(_) => Err("it is no JSON".to_owned()),
    }
}

/// A thing of the account, by its id or its name.
fn resource(making: &Making<'_>, sort: &str, fields: &Properties) -> Result<Map<String, Json>, String> {
    let kinds = Kind::ALL.into_iter().filter_map(|kind| Some((kind, kind.binding()?)));
    let (kind, bound) = kinds
        .into_iter()
        .find(|(_, bound)| bound.sort == sort)
        .ok_or_else(|| format!("a binding of the type `{}` is not managed", shown(sort)))?;
    let word = kind.as_str();
    let said = fields.get(bound.field).and_then(Value::as_text).unwrap_or_default();
    let key = match bound.attribute {
        "id" => making.names.of_id(word, said),
        _ => making.names.of_claim(word, said),
    };
    let key = key.ok_or_else(|| format!("its {word} `{}` is not imported", shown(said)))?;
    if making.suspended.contains_key(&(word, key.to_owned())) {
        return Err(format!("bind it once `{word}.{key}` is defined, by `{{ {word} = \"{key}\" }}`"));
    }
    let mut written = Map::from_iter([(word.to_owned(), json!(key))]);
    for (field, value) in fields.iter().filter(|(field, _)| *field != "type" && *field != bound.field) {
        match (field.as_str(), json_of(value)) {
            // It follows from the thing itself.
            ("jurisdiction" | "database_name", _) => {}
            ("delivery_delay", Some(delay)) if making.words.has_binding("delivery_delay") => {
                written.insert(field.clone(), delay);
            }
            _ => return Err(format!("definitions have nothing for its `{}`", shown(field))),
        }
    }
    Ok(written)
}
