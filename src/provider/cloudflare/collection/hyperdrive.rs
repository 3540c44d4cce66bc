//! Hyperdrive configurations. The password goes in and never comes back; what else was changed moves `modified_on`, and with it
//! the fingerprint, so that a password which somebody else may have written is set again.

use std::collections::BTreeSet;

use futures_util::FutureExt;
use http::Method;
use serde_json::{Value as Json, json};

use crate::model::{Kind, Properties, Secret, SecretMark, Value};
use crate::provider::Order;
use crate::provider::cloudflare::CloudflareProvider;
use crate::provider::cloudflare::client::Payload;
use crate::provider::cloudflare::path::Grammar;
use crate::provider::cloudflare::write::{Writer, sealed};

use super::secret::secret;
use super::{Failed, Gone, Listed, Made, Shelf, Sort, Thing, answered, changed, named, object, picked, text};

pub(super) struct Hyperdrive;

const SHELF: Shelf = Shelf { kind: Kind::Hyperdrive, path: &["hyperdrive", "configs"], pages: Some(("id", 100)), thing };

fn thing(json: &Json) -> Option<Thing> {
    let (id, name) = (text(json, "id")?, text(json, "name")?);
    Grammar::Id.check(id).ok()?;
    let mut fields = picked(json, &["name", "origin", "caching", "origin_connection_limit", "mtls"]);
    if let Some(Value::Table(origin)) = fields.get_mut("origin") {
        origin.insert("password".to_owned(), Value::Secret { mark: SecretMark::Unknown });
    }
    // "Not returned if set to the default". Source: the API's types (npm `cloudflare` 7.3.0).
    let caching = fields.entry("caching".to_owned()).or_insert_with(|| Value::Table(Properties::new()));
    if let Value::Table(caching) = caching {
        let disabled = caching.entry("disabled".to_owned()).or_insert(Value::Bool(false)).clone();
        if disabled == Value::Bool(false) {
            caching.entry("max_age".to_owned()).or_insert(Value::Integer(60));
            caching.entry("stale_while_revalidate".to_owned()).or_insert(Value::Integer(15));
        }
    }
    let mut thing = Thing::new(Kind::Hyperdrive, id, name, fields);
    thing.stamp = text(json, "modified_on").map(str::to_owned);
    Some(thing)
}

/// What is sent of `fields`, with the password where the origin is among them.
fn body(writer: &Writer<'_>, order: &Order, fields: &Properties) -> Result<(Payload, Vec<Secret>), Failed> {
    let mut body = Json::Object(object(fields));
    let mut secrets = Vec::new();
    if fields.contains_key("origin") {
        let (password, value) = secret(writer.provider, order, "origin.password")?;
        body["origin"]["password"] = json!(password);
        secrets.push(value);
    }
    Ok((sealed(&body), secrets))
}

/// The configuration as it is shown from now on.
async fn shown(writer: &Writer<'_>, id: &str, name: &str) -> Result<Thing, Failed> {
    Grammar::Id.check(id)?;
    let path = SHELF.item(writer.provider, id);
    let object: Json = writer.provider.client.get(&path).await.map_err(|fault| Failed::Outcome(writer.unread(fault)))?;
    answered(thing(&object), Kind::Hyperdrive, name)
}

impl Sort for Hyperdrive {
    on_shelf!(SHELF);

    /// "A Hyperdrive config with the given name already exists."
    fn taken(&self) -> &'static [u64] {
        &[2017]
    }

    fn create<'a>(&'a self, writer: &'a mut Writer<'_>, order: &'a Order) -> Made<'a> {
        async move {
            let (name, after) = named(order);
            let (payload, secrets) = body(writer, order, &after)?;
            let path = SHELF.place(writer.provider);
            let made = writer.try_write(Method::POST, &path, payload, &secrets).await?;
            let made = answered(thing(&made).filter(|thing| thing.claim == name), Kind::Hyperdrive, name)?;
            shown(writer, &made.id, name).await
        }
        .boxed()
    }

    fn update<'a>(&'a self, writer: &'a mut Writer<'_>, order: &'a Order, found: &'a Thing) -> Made<'a> {
        async move {
            let (name, after) = named(order);
            let before = order.change.before.clone().unwrap_or_default();
            let mut fields = changed(&found.properties, &after);
            // Marks are in what the plan compared, and nowhere else.
            if before.get("origin") != after.get("origin") || order.change.before.is_none() {
                fields.extend(after.get("origin").map(|origin| ("origin".to_owned(), origin.clone())));
            }
            // A table is taken as a whole: what the definition does not say of it stays.
            for table in ["origin", "caching", "mtls"] {
                if let (Some(Value::Table(wanted)), Some(Value::Table(is))) = (fields.get_mut(table), found.properties.get(table))
                {
                    *wanted = is.clone().into_iter().chain(std::mem::take(wanted)).collect();
                }
            }
            if let Some(Value::Table(caching)) = fields.get_mut("caching")
                && caching.get("disabled") == Some(&Value::Bool(true))
            {
                caching.retain(|field, _| field == "disabled");
            }
            if fields.is_empty() {
                return Ok(found.clone());
            }
            let (payload, secrets) = body(writer, order, &fields)?;
            let path = SHELF.item(writer.provider, &found.id);
            writer.try_write(Method::PATCH, &path, payload, &secrets).await?;
            shown(writer, &found.id, name).await
        }
        .boxed()
    }
}
