//! A Worker read in full.
//!
//! Goes in: its name, and what the inventory says of it. Comes out: its properties in the shape of the desired ones.
//!
//! **Invariant:** what is taken from the inventory instead of the target is only what the target cannot have changed:
//! a version is immutable, so the modules and secrets of the very version that we recorded are those that we recorded.
//! Whatever else a secret may hold is unknown.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Map, Value as Json};

use crate::model::{Content, Marker, ModuleType, Properties, Retry, SecretMark, Value, with_traffic};
use crate::plan::Owned;
use crate::provider::ProviderError;

use super::client::{Client, Raw};
use super::deployed::{Ours, active};
use super::fault::Fault;
use super::lists::Account;
use super::multipart;
use super::path::with_query;
use super::wire::{Schedules, ScriptItem, Subdomain, Version};

/// A Worker as it is.
#[derive(Debug)]
pub(super) struct Live {
    /// In the shape of [`crate::model::Spec::properties`], routes aside.
    pub(super) properties: Properties,
    /// `version_id`, `etag`; of a version that shares the requests also `former_version_id`, `former_desired` and
    /// `stepped_at`.
    pub(super) attributes: BTreeMap<String, String>,
    /// The operation of ours that put it there.
    pub(super) marker: Option<Marker>,
    /// The active version, `None` where nothing was ever deployed.
    pub(super) version: Option<Version>,
    /// The modules, where they were read.
    pub(super) modules: Vec<Module>,
}

/// A module as the API gives it out.
#[derive(Debug, Clone)]
pub(super) struct Module {
    pub(super) name: String,
    pub(super) content_type: String,
    pub(super) content: Bytes,
}

/// What a version without a compatibility date runs with.
const OLDEST_DATE: &str = "2021-11-02";

/// One version.
pub(super) async fn version(client: &Client, account: &Account, script: &str, id: &str) -> Result<Version, Fault> {
    client.get(&account.script(script, &["versions", id])).await
}

/// The cron triggers.
pub(super) async fn crons(client: &Client, account: &Account, script: &str) -> Result<Vec<String>, Fault> {
    let found: Schedules = client.get(&account.script(script, &["schedules"])).await?;
    Ok(found.schedules.into_iter().map(|schedule| schedule.cron).collect())
}

/// Whether it answers on the account's workers.dev name.
pub(super) async fn subdomain(client: &Client, account: &Account, script: &str) -> Result<Subdomain, Fault> {
    client.get(&account.script(script, &["subdomain"])).await
}

/// Reads a Worker in full. `ours` says which splits are, `dateless` that no compatibility date is desired.
///
/// # Errors
/// A fault that [is missing](Fault::is_missing) where it is not there (any more).
pub(super) async fn live(
    client: &Client,
    account: &Account,
    script: &str,
    (owned, item): (Option<&Owned>, Option<&ScriptItem>),
    (ours, dateless): (&Ours, bool),
) -> Result<Live, Fault> {
    let (active, crons, subdomain) = futures_util::future::try_join3(
        active(client, account, script, ours),
        crons(client, account, script),
        subdomain(client, account, script),
    )
    .await?;
    let set = |items: &[String]| Value::Table(items.iter().map(|item| (item.clone(), Value::Bool(true))).collect());
    let mut properties = Properties::from([
        ("script".to_owned(), Value::text(script)),
        ("crons".to_owned(), set(&crons)),
        ("workers_dev".to_owned(), Value::Bool(subdomain.enabled)),
    ]);
    properties.extend(settings(item));
    let Some(active) = active else {
        for empty in ["modules", "bindings", "compatibility_flags"] {
            properties.insert(empty.to_owned(), Value::Table(Properties::new()));
        }
        return Ok(Live { properties, attributes: BTreeMap::new(), marker: None, version: None, modules: Vec::new() });
    };
    let version = active.whole(client, account, script).await?;
    properties = with_traffic(properties, active.traffic());
    let etag = version.resources.script.etag.clone().unwrap_or_default();
    let recorded = |name: &str| owned.and_then(|o| o.attributes.get(name)).map(String::as_str).filter(|text| !text.is_empty());
    let same_version = recorded("version_id") == Some(active.version.as_str());
    let same_code = same_version || recorded("etag") == Some(etag.as_str());
    let known = owned.filter(|_| same_code).and_then(|o| Some((o.properties.get("main_module")?, o.properties.get("modules")?)));
    let (main, digests, read) = match known {
        Some((main, modules)) => (Some(main.clone()), modules.clone(), Vec::new()),
        None => {
            let (main, read) = downloaded(client, account, script, &active.version).await?;
            (main.map(Value::text), digests(&read), read)
        }
    };
    properties.extend(main.map(|main| ("main_module".to_owned(), main)));
    properties.insert("modules".to_owned(), digests);
    let marks = owned.filter(|_| same_version).and_then(|o| o.properties.get("bindings")?.as_table());
    let bindings = version.resources.bindings.iter().filter_map(|fields| binding(fields, marks)).collect();
    properties.insert("bindings".to_owned(), Value::Table(bindings));
    let runtime = &version.resources.script_runtime;
    properties.insert("compatibility_flags".to_owned(), set(&runtime.compatibility_flags));
    if let Some(date) =
        runtime.compatibility_date.as_deref().filter(|date| !(date.is_empty() || dateless && *date == OLDEST_DATE))
    {
        properties.insert("compatibility_date".to_owned(), Value::text(date));
    }
    properties.extend(runtime.limits.as_ref().and_then(Value::of_json).map(|limits| ("limits".to_owned(), limits)));
    let recorded = owned.filter(|_| same_version).and_then(|o| o.properties.get("exports")?.as_table());
    properties.extend(exports(runtime.exports.as_ref(), recorded).map(|exports| ("exports".to_owned(), exports)));
    let tag = item.and_then(|item| item.migration_tag.as_ref()).or(runtime.migration_tag.as_ref());
    properties.extend(tag.filter(|tag| !tag.is_empty()).map(|tag| ("migration_tag".to_owned(), Value::text(tag))));
    if item.is_some_and(|item| item.has_assets == Some(true)) {
        // Which files a version serves is never told; those of the very version that we recorded are known.
        let recorded = owned.filter(|_| same_version).and_then(|o| o.properties.get("assets"));
        let unknown = || Value::Table([("files".to_owned(), Value::Table(Properties::new()))].into());
        properties.insert("assets".to_owned(), recorded.cloned().unwrap_or_else(unknown));
    }
    let (attributes, marker) = (active.attributes(&etag), active.marker(&version));
    Ok(Live { properties, attributes, marker, version: Some(version), modules: read })
}

/// The exports of a version. The API shows the live ones; what says how another one ended is that of the very version that
/// we recorded.
fn exports(live: Option<&Json>, recorded: Option<&Properties>) -> Option<Value> {
    let live = live.and_then(Value::of_json);
    let mut all = live.as_ref().and_then(Value::as_table).cloned().unwrap_or_default();
    for (name, export) in recorded.into_iter().flatten() {
        let state = export.as_table().and_then(|fields| fields.get("state")).and_then(Value::as_text);
        if matches!(state, Some("deleted" | "renamed" | "transferred")) {
            all.entry(name.clone()).or_insert_with(|| export.clone());
        }
    }
    (live.is_some() || !all.is_empty()).then_some(Value::Table(all))
}

/// The settings that the list of Workers shows.
fn settings(item: Option<&ScriptItem>) -> Properties {
    let Some(item) = item else { return Properties::new() };
    let fields = [
        ("placement", item.placement.as_ref().and_then(Value::of_json)),
        ("observability", item.observability.as_ref().and_then(Value::of_json)),
        ("tail_consumers", item.tail_consumers.as_ref().and_then(Value::of_json)),
        ("logpush", item.logpush.map(Value::Bool)),
    ];
    fields.into_iter().filter_map(|(field, value)| Some((field.to_owned(), value?))).collect()
}

async fn downloaded(
    client: &Client,
    account: &Account,
    script: &str,
    version: &str,
) -> Result<(Option<String>, Vec<Module>), Fault> {
    // `version` is what wrangler sends; a server that does not know it gives the newest version.
    let path = with_query(&account.script(script, &["content", "v2"]), &[("version", version)]);
    let raw = client.get_raw(&path).await?;
    modules(&raw).ok_or_else(|| {
        let message = format!("the modules of Worker `{script}` are not of the documented form");
        Fault::own(ProviderError::new(message, Retry::Transient))
    })
}

/// The main module's name, and every module.
fn modules(raw: &Raw) -> Option<(Option<String>, Vec<Module>)> {
    let module = |name: &str, content_type: &str, content: Bytes| {
        let content_type = match ModuleType::of_content_type(content_type) {
            Some(known) => known.content_type(),
            None => content_type.split(';').next().unwrap_or_default().trim(),
        };
        Module { name: normal(name).to_owned(), content_type: content_type.to_owned(), content }
    };
    let main = raw.entrypoint.as_deref().map(|main| normal(main).to_owned());
    let Some(boundary) = multipart::boundary(&raw.content_type) else {
        // A Worker of one script, in the older syntax.
        let name = main.unwrap_or_else(|| "worker.js".to_owned());
        let modules = vec![module(&name, &raw.content_type, raw.body.clone())];
        return Some((Some(name), modules));
    };
    let parts = multipart::read(&raw.body, &boundary)?;
    let modules = parts.into_iter().filter(|part| part.name != "metadata" || part.filename.is_some()).map(|part| {
        let name = part.filename.unwrap_or(part.name);
        module(&name, &part.content_type, part.content)
    });
    Some((main, modules.collect()))
}

/// A module's name as a definition has it: wrangler begins those of further modules with `./`, which says nothing.
fn normal(name: &str) -> &str {
    name.strip_prefix("./").filter(|rest| !rest.is_empty()).unwrap_or(name)
}

/// Every module by name.
fn digests(modules: &[Module]) -> Value {
    let digest = |Module { name, content_type, content }: &Module| {
        let fields = [("type".to_owned(), Value::text(content_type)), ("content".to_owned(), Content::of(content).into())];
        (name.clone(), Value::Table(fields.into()))
    };
    Value::Table(modules.iter().map(digest).collect())
}

/// A binding in the words of the API. `marks` are the recorded bindings, where the version is the recorded one.
fn binding(fields: &Map<String, Json>, marks: Option<&Properties>) -> Option<(String, Value)> {
    let text = |key: &str| fields.get(key).and_then(Json::as_str);
    let (name, kind) = (text("name")?, text("type")?);
    let mut table = Properties::from([("type".to_owned(), Value::text(kind))]);
    let mut put = |key: &str, value: Option<Value>| table.extend(value.map(|value| (key.to_owned(), value)));
    match kind {
        "plain_text" => put("text", text("text").map(Value::text)),
        "json" => put("json", fields.get("json").map(|json| Value::text(canonical(json)))),
        "secret_text" | "secret_key" => {
            let mark = marks.and_then(|m| m.get(name)?.as_table()?.get("text"));
            let unknown = Value::Secret { mark: SecretMark::Unknown };
            put("text", Some(mark.filter(|m| matches!(m, Value::Secret { .. })).cloned().unwrap_or(unknown)));
        }
        "service" => {
            put("service", text("service").map(Value::text));
            put("entrypoint", text("entrypoint").filter(|e| !e.is_empty()).map(Value::text));
            // The only environment that a Worker of today has.
            put("environment", text("environment").filter(|e| !matches!(*e, "" | "production")).map(Value::text));
        }
        // As the API has them; what a definition does not say of one is no difference.
        _ => {
            for (key, value) in fields.iter().filter(|(key, _)| *key != "name" && !key.starts_with('$')) {
                // wrangler still sends the older word.
                let key = if kind == "d1" && key == "id" { "database_id" } else { key };
                put(key, Value::of_json(value));
            }
        }
    }
    Some((name.to_owned(), Value::Table(table)))
}

/// Canonical JSON (RFC 8785): what the definitions hold.
fn canonical(json: &Json) -> String {
    serde_json_canonicalizer::to_string(json).unwrap_or_else(|_| json.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(json: &Json) -> Map<String, Json> {
        json.as_object().unwrap().clone()
    }

    #[test]
    fn a_binding_is_read_in_the_shape_of_the_desired_one() {
        use crate::model::Binding;
        let marks = BTreeMap::from([("stripe".parse().unwrap(), SecretMark::Hmac("ab".into()))]);
        let recorded = |name: &str, binding: &Binding| Properties::from([(name.to_owned(), binding.value(&marks))]);
        let cases = [
            (serde_json::json!({"name":"A","type":"plain_text","text":"x"}), Binding::PlainText { text: "x".into() }),
            (
                serde_json::json!({"name":"A","type":"json","json":{"b":1,"a":[true]}}),
                Binding::Json { json: r#"{"a":[true],"b":1}"#.into() },
            ),
            (serde_json::json!({"name":"A","type":"secret_text"}), Binding::Secret { name: "stripe".parse().unwrap() }),
            (
                serde_json::json!({"name":"A","type":"service","service":"b","environment":"production","entrypoint":null}),
                Binding::Service { script: "b".into(), entrypoint: None },
            ),
            (
                serde_json::json!({"name":"A","type":"service","service":"b","entrypoint":"C"}),
                Binding::Service { script: "b".into(), entrypoint: Some("C".into()) },
            ),
        ];
        for (json, expected) in cases {
            let recorded = recorded("A", &expected);
            assert_eq!(binding(&fields(&json), Some(&recorded)).unwrap().1, expected.value(&marks), "{json}");
        }
    }

    #[test]
    fn a_secret_of_another_version_is_unknown_and_an_unknown_sort_is_kept() {
        let (_, value) = binding(&fields(&serde_json::json!({"name":"A","type":"secret_text"})), None).unwrap();
        assert_eq!(value.as_table().unwrap()["text"], Value::Secret { mark: SecretMark::Unknown });
        let (name, value) =
            binding(&fields(&serde_json::json!({"name":"B","type":"r2_bucket","bucket_name":"x","jurisdiction":null})), None)
                .unwrap();
        assert_eq!(name, "B");
        assert_eq!(value.as_table().unwrap().keys().collect::<Vec<_>>(), ["bucket_name", "type"]);
    }

    #[test]
    fn modules_are_digested_by_name() {
        let body = "--b\r\nContent-Disposition: form-data; name=\"index.js\"; filename=\"index.js\"\r\nContent-Type: application/javascript+module; charset=utf-8\r\n\r\nexport {}\r\n--b--";
        let raw = Raw {
            content_type: "multipart/form-data; boundary=b".into(),
            entrypoint: Some("index.js".into()),
            body: body.into(),
        };
        let (main, read) = modules(&raw).unwrap();
        assert_eq!(main.as_deref(), Some("index.js"));
        let found = digests(&read);
        let module = found.as_table().unwrap()["index.js"].as_table().unwrap();
        assert_eq!(module["type"], ModuleType::Esm.content_type().into());
        assert_eq!(module["content"], Content::of(b"export {}").into());
    }
}
