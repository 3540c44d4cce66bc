//! A Worker: its code, what starts it, its settings.

use serde_json::{Map, Value as Json, json};

use super::super::sketch::TableSketch;
use super::things::json_of;
use super::{Making, bindings, modules};
use crate::model::{Properties, Value};
use crate::provider::cloudflare::SurveyedWorker;

/// Carries one Worker.
pub(super) fn carry(making: &mut Making<'_>, worker: &SurveyedWorker) {
    let what = format!("worker `{}`", worker.script);
    if !making.is_free(&what, worker.owner.as_ref()) {
        return;
    }
    let Some(key) = making.names.of_claim("worker", &worker.script).map(str::to_owned) else { return };
    let mut table = TableSketch::default();
    let Some(sources) = modules::carry(making, worker, (&key, &what), &mut table) else { return };
    table.keys.insert("name".to_owned(), json!(worker.script));
    table.keys.insert("adopt".to_owned(), true.into());
    let properties = &worker.properties;
    if let Some(date) = properties.get("compatibility_date").and_then(Value::as_text) {
        table.keys.insert("compatibility_date".to_owned(), json!(date));
    }
    set(properties, "compatibility_flags", &mut table, |flags| json!(flags));
    set(properties, "crons", &mut table, |crons| json!({ "crons": crons }));
    if let Some(crons) = table.keys.remove("crons") {
        table.keys.insert("triggers".to_owned(), crons);
    }
    let routes: Vec<Json> = items(properties, "routes")
        .filter_map(|(pattern, route)| {
            let zone = route.as_table()?.get("zone_name")?.as_text()?;
            Some(json!({ "pattern": pattern, "zone_name": zone }))
        })
        .collect();
    if !routes.is_empty() {
        table.keys.insert("routes".to_owned(), routes.into());
    }
    if properties.get("workers_dev") == Some(&Value::Bool(true)) {
        table.keys.insert("workers_dev".to_owned(), true.into());
    }
    settings(making, worker, (&what, &mut table));
    durable_objects(making, properties, (&what, &mut table));
    if properties.contains_key("assets") {
        making.ask(&what, "its static files cannot be read; they stay as they are until `assets` is defined");
        table
            .comments
            .push("Its static files cannot be read: they stay as they are until `assets` says which they are.".to_owned());
    }
    bindings::carry(making, worker, (&what, &mut table));
    making.sources.insert(key.clone(), sources);
    making.tables.insert(("worker", key), table);
}

/// The items of a set.
fn items<'a>(properties: &'a Properties, field: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    properties.get(field).and_then(Value::as_table).into_iter().flatten()
}

fn set(properties: &Properties, field: &str, table: &mut TableSketch, form: impl Fn(Vec<&String>) -> Json) {
    let names: Vec<&String> = items(properties, field).map(|(name, _)| name).collect();
    if !names.is_empty() {
        table.keys.insert(field.to_owned(), form(names));
    }
}

fn settings(making: &mut Making<'_>, worker: &SurveyedWorker, (what, table): (&str, &mut TableSketch)) {
    let properties = &worker.properties;
    let mut put = |key: &str, value: Json| drop(table.keys.insert(key.to_owned(), value));
    if properties.get("logpush") == Some(&Value::Bool(true)) {
        put("logpush", true.into());
    }
    let text = |table: &Properties, key: &str| table.get(key).and_then(Value::as_text).map(str::to_owned);
    if let Some(placement) = properties.get("placement").and_then(Value::as_table) {
        let said = ["region", "host", "hostname"].iter().find_map(|key| Some((*key, text(placement, key)?)));
        match (said, text(placement, "mode").as_deref()) {
            (Some((key, value)), _) => put("placement", json!({ key: value })),
            (None, Some("smart")) => put("placement", json!({ "mode": "smart" })),
            (None, None | Some("" | "off")) => {}
            (None, Some(_)) => making.leave(&format!("{what}: placement"), "definitions have no such placement"),
        }
    }
    if let Some(limits) = properties.get("limits").and_then(Value::as_table) {
        let known = picked(limits, &["cpu_ms", "subrequests"]);
        if !known.is_empty() {
            put("limits", known.into());
        }
    }
    if let Some(observability) = properties.get("observability").and_then(Value::as_table) {
        let mut known = picked(observability, &["enabled", "head_sampling_rate"]);
        if let Some(logs) = observability.get("logs").and_then(Value::as_table) {
            let logs = picked(logs, &["enabled", "head_sampling_rate", "invocation_logs"]);
            if !logs.is_empty() {
                known.insert("logs".to_owned(), logs.into());
            }
        }
        // What is off is as if never set.
        let says_something = known.len() > 1 || known.get("enabled") == Some(&Json::Bool(true));
        if says_something && known.contains_key("enabled") {
            put("observability", known.into());
        }
    }
    if let Some(Value::List(consumers)) = properties.get("tail_consumers")
        && !consumers.is_empty()
    {
        let consumer = |consumer: &Value| {
            let table = consumer.as_table().filter(|table| table.len() == 1)?;
            text(table, "service")
        };
        match consumers.iter().map(consumer).collect::<Option<Vec<String>>>() {
            Some(scripts) => {
                let written = scripts.iter().map(|script| match making.names.refer(&worker.script, script) {
                    Some(key) => json!({ "worker": key }),
                    None => json!({ "script": script }),
                });
                put("tail_consumers", written.collect());
            }
            None => making.leave(&format!("{what}: tail_consumers"), "one of them is more than a Worker's name"),
        }
    }
}

/// Those of `keys` that a table has; shares are numbers again.
fn picked(table: &Properties, keys: &[&str]) -> Map<String, Json> {
    let value = |key: &str| {
        let value = json_of(table.get(key)?)?;
        let share = value.as_str().filter(|_| key == "head_sampling_rate").and_then(|text| text.parse::<f64>().ok());
        Some(share.and_then(serde_json::Number::from_f64).map_or(value, Json::Number))
    };
    keys.iter().filter_map(|key| Some(((*key).to_owned(), value(key)?))).collect()
}

fn durable_objects(making: &mut Making<'_>, properties: &Properties, (what, table): (&str, &mut TableSketch)) {
    let declared: Option<Map<String, Json>> = properties
        .get("exports")
        .and_then(Value::as_table)
        .map(|exports| exports.iter().filter_map(|(name, export)| Some((name.clone(), json_of(export)?))).collect());
    if let Some(exports) = declared.filter(|exports| !exports.is_empty()) {
        table.keys.insert("exports".to_owned(), exports.into());
    } else if let Some(tag) = properties.get("migration_tag").and_then(Value::as_text) {
        making.ask(what, format!("its migrations cannot be read: it stands at `{}`", crate::document::shown(tag)));
        let tag = crate::document::shown(tag);
        table
            .comments
            .push(format!("Its classes of Durable Objects stand at the migration `{tag}`. The steps cannot be read: with"));
        table.comments.push("`migrations`, write those that led there too.".to_owned());
    }
}
