//! What an upload of a Worker sends.
//!
//! Goes in: an order, whose values are all known. Comes out: the whole body, made before anything is written.
//!
//! **Invariant:** an upload replaces every binding, so each one that is not ours is named in it as inherited from the
//! version that is active. The secrets' values are in the body and in [`Upload::secrets`], both wiped when dropped,
//! and nowhere else.

use std::collections::BTreeSet;

use bytes::Bytes;
use serde_json::{Map, Value as Json, json};
use zeroize::Zeroizing;

use crate::model::{Binding, Marker, Properties, Retry, Secret, SecretResolver, Spec, Value};
use crate::provider::{Order, ProviderError};

use super::client::Payload;
use super::collection::object;
use super::multipart::{self, Part};
use super::wire::{ScriptItem, Version};

/// An upload that is ready but for what it inherits.
pub(super) struct Upload {
    metadata: Map<String, Json>,
    bindings: Vec<Json>,
    modules: Vec<(Part, std::sync::Arc<[u8]>)>,
    /// The values of the secrets in it.
    pub(super) secrets: Vec<Secret>,
}

/// Names of the annotations that carry a marker.
pub(super) fn annotations(marker: &Marker) -> Json {
    json!({ "workers/tag": marker.operation, "workers/message": marker.message() })
}

/// Makes the upload that `order` asks for.
///
/// # Errors
/// Where a module's bytes or a secret cannot be had, or a value is of no form that the API takes: nothing was sent.
pub(super) fn prepare(order: &Order, resolver: &dyn SecretResolver) -> Result<Upload, ProviderError> {
    let after = order.change.after.as_ref().ok_or_else(|| malformed("there is nothing to upload"))?;
    let text = |key: &str| after.get(key).and_then(Value::as_text);
    let mut metadata = Map::new();
    metadata.insert("main_module".to_owned(), json!(text("main_module").ok_or_else(|| malformed("it names no main module"))?));
    if let Some(date) = text("compatibility_date") {
        metadata.insert("compatibility_date".to_owned(), json!(date));
    }
    metadata.insert("compatibility_flags".to_owned(), json!(names(after, "compatibility_flags")));
    metadata.insert("annotations".to_owned(), annotations(&order.marker));
    for key in ["limits", "placement"] {
        let mut written = after.get(key).and_then(Value::as_table).map(object);
        // One that is left as it is may show what only the platform writes.
        if let (Some(table), "placement") = (&mut written, key) {
            table.retain(|field, _| matches!(field.as_str(), "mode" | "region" | "host" | "hostname"));
        }
        metadata.extend(written.map(|table| (key.to_owned(), Json::Object(table))));
    }
    let mut secrets = Vec::new();
    let mut bindings = Vec::new();
    for (name, value) in table(after, "bindings") {
        bindings.push(binding(order, name, value, resolver, &mut secrets)?);
    }
    let mut modules = Vec::new();
    for (name, value) in table(after, "modules") {
        let fields = value.as_table().ok_or_else(|| malformed("a module is no table"))?;
        let (Some(Value::Content { content }), Some(content_type)) =
            (fields.get("content"), fields.get("type").and_then(Value::as_text))
        else {
            return Err(malformed(&format!("module `{name}` has no content")));
        };
        let bytes = order.contents.get(&content.sha256).cloned();
        let bytes = bytes.ok_or_else(|| malformed(&format!("the bytes of module `{name}` are not in the bundle")))?;
        let part = Part {
            name: name.clone(),
            filename: Some(name.clone()),
            content_type: content_type.to_owned(),
            content: Bytes::new(),
        };
        modules.push((part, bytes));
    }
    Ok(Upload { metadata, bindings, modules, secrets })
}

fn malformed(what: &str) -> ProviderError {
    ProviderError::new(format!("the order cannot be carried out: {what}"), Retry::Stalled)
}

fn table<'a>(properties: &'a Properties, key: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    properties.get(key).and_then(Value::as_table).into_iter().flatten()
}

/// The keys of a table among `properties`.
pub(super) fn names(properties: &Properties, key: &str) -> BTreeSet<String> {
    table(properties, key).map(|(name, _)| name.clone()).collect()
}

fn binding(
    order: &Order,
    name: &str,
    value: &Value,
    resolver: &dyn SecretResolver,
    secrets: &mut Vec<Secret>,
) -> Result<Json, ProviderError> {
    let bad = |what: &str| malformed(&format!("binding `{name}` {what}"));
    let fields = value.as_table().ok_or_else(|| bad("is no table"))?;
    let text = |key: &str| fields.get(key).and_then(Value::as_text).ok_or_else(|| bad(&format!("has no `{key}`")));
    match text("type")? {
        "json" => {
            let value: Json = serde_json::from_str(text("json")?).map_err(|error| bad("holds no JSON").source(error))?;
            Ok(json!({ "name": name, "type": "json", "json": value }))
        }
        "secret_text" => {
            let Some(Spec::Worker(worker)) = &order.spec else { return Err(bad("has no definition")) };
            let Some(Binding::Secret { name: secret }) = worker.bindings.get(name) else {
                return Err(bad("is no secret in the definition"));
            };
            let value = resolver.resolve(secret).map_err(|error| {
                ProviderError::new(format!("the value of binding `{name}` cannot be had"), Retry::Stalled).source(error)
            })?;
            let text = value.expose_text().ok_or_else(|| {
                ProviderError::new(format!("`secret.{secret}` is not text"), Retry::Stalled)
                    .hint("a Worker's secret is UTF-8 text; encode bytes, as base64 for instance")
            })?;
            let binding = json!({ "name": name, "type": "secret_text", "text": text });
            secrets.push(value);
            Ok(binding)
        }
        // The definitions have the words of the API.
        _ => {
            let mut binding = object(fields);
            binding.insert("name".to_owned(), json!(name));
            Ok(Json::Object(binding))
        }
    }
}

impl Upload {
    /// Says one more thing in the metadata.
    pub(super) fn say(&mut self, key: &str, value: Option<Json>) {
        self.metadata.extend(value.map(|value| (key.to_owned(), value)));
    }

    /// The body of a first upload, which is deployed at once; `tags` and the Worker's own settings are written with it.
    pub(super) fn create(mut self, tags: &[String], after: &Properties) -> Result<(Payload, Vec<Secret>), ProviderError> {
        self.metadata.insert("tags".to_owned(), json!(tags));
        self.metadata.extend(script_settings(&Properties::new(), after));
        self.finish()
    }

    /// The body of a further version: everything of `live` whose name is not among `ours` is inherited.
    pub(super) fn update(
        mut self,
        live: &Version,
        item: Option<&ScriptItem>,
        before: &Properties,
        after: &Properties,
    ) -> Result<(Payload, Vec<Secret>), ProviderError> {
        let ours: BTreeSet<String> = names(before, "bindings").union(&names(after, "bindings")).cloned().collect();
        for fields in &live.resources.bindings {
            let Some(name) = fields.get("name").and_then(Json::as_str).filter(|name| !ours.contains(*name)) else { continue };
            self.bindings.push(json!({ "name": name, "type": "inherit", "version_id": live.id }));
        }
        // Secrets are kept by sort as well, for one that is put this very moment; not where one of ours is to go, which
        // would then stay. That is said in so many words: a server that hears nothing keeps them.
        let all_stay = secret_names(before).is_subset(&secret_names(after));
        let kept = if all_stay { json!(["secret_text", "secret_key"]) } else { json!([]) };
        self.metadata.insert("keep_bindings".to_owned(), kept);
        // Versioned settings that the definitions do not know stay as they are.
        let is_ours = |key: &str| before.contains_key(key) || after.contains_key(key);
        if !is_ours("limits")
            && let Some(limits) = live.resources.script_runtime.limits.as_ref().filter(|limits| limits.is_object())
        {
            self.metadata.insert("limits".to_owned(), limits.clone());
        }
        if let Some(item) = item {
            let stay = after.contains_key("assets") || !before.contains_key("assets");
            if item.has_assets == Some(true) && stay && !self.metadata.contains_key("assets") {
                self.metadata.insert("keep_assets".to_owned(), json!(true));
            }
            if is_ours("placement") {
                return self.finish();
            }
            if let Some(mode) = item.placement_mode.as_ref().filter(|mode| *mode == "smart") {
                self.metadata.insert("placement".to_owned(), json!({ "mode": mode }));
            }
        }
        self.finish()
    }

    fn finish(mut self) -> Result<(Payload, Vec<Secret>), ProviderError> {
        self.metadata.insert("bindings".to_owned(), Json::Array(std::mem::take(&mut self.bindings)));
        let metadata = serde_json::to_vec(&self.metadata).map(Zeroizing::new);
        let metadata = metadata.map_err(|error| malformed("its metadata has no JSON form").source(error))?;
        let head =
            Part { name: "metadata".into(), filename: None, content_type: "application/json".into(), content: Bytes::new() };
        let mut parts: Vec<(&Part, &[u8])> = vec![(&head, &metadata)];
        parts.extend(self.modules.iter().map(|(part, bytes)| (part, bytes.as_ref())));
        let boundary = format!("trunkline-{}", uuid::Uuid::now_v7().simple());
        let body = Zeroizing::new(multipart::write(&parts, &boundary)?);
        let bytes = Bytes::from_owner(body);
        Ok((Payload::Bytes { content_type: format!("multipart/form-data; boundary={boundary}"), bytes }, self.secrets))
    }
}

/// The settings of a Worker as a whole that differ, in the form that the API takes; one that left is as if never set.
pub(super) fn script_settings(before: &Properties, after: &Properties) -> Map<String, Json> {
    let unset = [("observability", json!({ "enabled": false })), ("logpush", json!(false)), ("tail_consumers", json!([]))];
    let differs = unset.into_iter().filter(|(key, _)| before.get(*key) != after.get(*key));
    let mut settings: Map<String, Json> = differs
        .map(|(key, unset)| {
            let one: Properties = after.get(key).map(|value| (key.to_owned(), value.clone())).into_iter().collect();
            (key.to_owned(), object(&one).remove(key).unwrap_or(unset))
        })
        .collect();
    if let Some(observability) = settings.get_mut("observability") {
        as_numbers(observability);
    }
    settings
}

/// Shares are numbers to the API, and text among properties, which have whole numbers only.
fn as_numbers(json: &mut Json) {
    let Json::Object(fields) = json else { return };
    for (key, value) in fields {
        let share = value.as_str().and_then(|text| text.parse::<f64>().ok());
        match share.filter(|_| key == "head_sampling_rate").and_then(serde_json::Number::from_f64) {
            Some(number) => *value = Json::Number(number),
            None => as_numbers(value),
        }
    }
}

fn secret_names(properties: &Properties) -> BTreeSet<String> {
    let secret = |value: &Value| {
        let kind = value.as_table().and_then(|t| t.get("type")).and_then(Value::as_text);
        kind.is_some_and(|kind| kind.starts_with("secret_"))
    };
    table(properties, "bindings").filter(|(_, value)| secret(value)).map(|(name, _)| name.clone()).collect()
}
