//! Queues. Their list shows settings and consumers, so that the list of [`super::queue_consumer`] is this one.

use std::collections::BTreeSet;

use futures_util::FutureExt;
use http::Method;
use serde_json::{Value as Json, json};

use crate::model::{Kind, Properties, Value};
use crate::provider::Order;
use crate::provider::cloudflare::CloudflareProvider;
use crate::provider::cloudflare::client::Payload;
use crate::provider::cloudflare::path::Grammar;
use crate::provider::cloudflare::write::Writer;

use super::queue_consumer::consumers;
use super::{
    Failed, Gone, Listed, Made, Sort, Thing, answered, changed, jurisdiction, named, object, picked, text, unchangeable,
};

pub(super) struct Queue;

const SETTINGS: [&str; 3] = ["delivery_delay", "delivery_paused", "message_retention_period"];

fn thing(json: &Json) -> Option<Thing> {
    let (id, name) = (text(json, "queue_id")?, text(json, "queue_name")?);
    Grammar::Id.check(id).ok()?;
    let mut fields = picked(json, &["queue_name"]);
    let settings = json.get("settings").map(|settings| picked(settings, &SETTINGS)).unwrap_or_default();
    fields.insert("settings".to_owned(), Value::Table(settings));
    fields.extend(jurisdiction(json));
    Some(Thing::new(Kind::Queue, id, name, fields))
}

fn settings(properties: &Properties) -> Properties {
    properties.get("settings").and_then(Value::as_table).cloned().unwrap_or_default()
}

/// What a queue has of a setting that nobody gave it. Source: developers.cloudflare.com/queues/configuration/configure-queues.
fn default_of(setting: &str) -> Value {
    match setting {
        "delivery_delay" => Value::Integer(0),
        "message_retention_period" => Value::Integer(345_600),
        _ => Value::Bool(false),
    }
}

/// The settings to send: those that are there, without those that the definition no longer gives, under those that it gives.
fn merged(is: &Properties, before: &Properties, after: &Properties) -> Properties {
    let mut merged = is.clone();
    for setting in before.keys().filter(|setting| !after.contains_key(*setting)) {
        merged.insert(setting.clone(), default_of(setting));
    }
    merged.extend(after.clone());
    merged
}

async fn patch(writer: &mut Writer<'_>, id: &str, name: &str, body: Json) -> Result<Thing, Failed> {
    let path = writer.provider.account.path(&["queues", id]);
    let answer = writer.json(Method::PATCH, &path, body).await?;
    answered(thing(&answer).filter(|thing| thing.claim == name && thing.id == id), Kind::Queue, name)
}

impl Sort for Queue {
    fn kind(&self) -> Kind {
        Kind::Queue
    }

    /// "Queue name is already taken."
    fn taken(&self) -> &'static [u64] {
        &[11009]
    }

    fn list<'a>(&'a self, provider: &'a CloudflareProvider, _places: &'a BTreeSet<String>) -> Listed<'a> {
        async move {
            let path = provider.account.path(&["queues"]);
            let all = provider.client.get_pages(&path, 100, |item: &Json| text(item, "queue_id").unwrap_or_default()).await?;
            let consumers = all.iter().flat_map(consumers);
            Ok(all.iter().filter_map(thing).chain(consumers).collect())
        }
        .boxed()
    }

    fn create<'a>(&'a self, writer: &'a mut Writer<'_>, order: &'a Order) -> Made<'a> {
        async move {
            let (name, after) = named(order);
            let settings = settings(&after);
            let mut body = json!({ "queue_name": name });
            if !settings.is_empty() {
                body["settings"] = Json::Object(object(&settings));
            }
            if let Some(place) = after.get("jurisdiction").and_then(Value::as_text) {
                body["jurisdiction"] = json!(place);
            }
            let path = writer.provider.account.path(&["queues"]);
            let made = writer.json(Method::POST, &path, body).await?;
            let made = answered(thing(&made).filter(|thing| thing.claim == name), Kind::Queue, name)?;
            // The API's types take no settings at creation, wrangler sends them: where they were not taken they are set.
            let is = self::settings(&made.properties);
            if changed(&is, &settings).is_empty() {
                return Ok(made);
            }
            let body = json!({ "settings": object(&merged(&is, &Properties::new(), &settings)) });
            patch(writer, &made.id, name, body).await
        }
        .boxed()
    }

    fn update<'a>(&'a self, writer: &'a mut Writer<'_>, order: &'a Order, found: &'a Thing) -> Made<'a> {
        async move {
            let (name, after) = named(order);
            unchangeable(found, &after, &["jurisdiction"])?;
            let before = settings(&order.change.before.clone().unwrap_or_default());
            let is = settings(&found.properties);
            let wanted = merged(&is, &before, &settings(&after));
            let mut body = json!({});
            if found.claim != name {
                body["queue_name"] = json!(name);
            }
            if wanted != is {
                body["settings"] = Json::Object(object(&wanted));
            }
            if body == json!({}) {
                return Ok(found.clone());
            }
            patch(writer, &found.id, name, body).await
        }
        .boxed()
    }

    fn delete<'a>(&'a self, writer: &'a mut Writer<'_>, found: &'a Thing) -> Gone<'a> {
        async move {
            let path = writer.provider.account.path(&["queues", &found.id]);
            writer.try_write(Method::DELETE, &path, Payload::Empty, &[]).await?;
            Ok(())
        }
        .boxed()
    }
}
