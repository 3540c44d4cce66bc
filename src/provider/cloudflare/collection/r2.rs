//! R2 buckets. A bucket is known by its name; location and jurisdiction are given at creation and never change.

use std::collections::BTreeSet;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::Method;
use serde_json::{Value as Json, json};

use crate::model::{Kind, Properties, Retry, Value};
use crate::provider::cloudflare::CloudflareProvider;
use crate::provider::cloudflare::client::Payload;
use crate::provider::cloudflare::fault::Fault;
use crate::provider::cloudflare::write::Writer;
use crate::provider::{Order, ProviderError};

use super::{Failed, Sort, Thing, answered, object, picked, text};

pub(super) struct R2;

fn thing(object: &Json) -> Option<Thing> {
    let name = text(object, "name")?;
    let mut fields = picked(object, &["name", "storage_class"]);
    // The API answers hints in capitals and takes them in small letters.
    if let Some(location) = text(object, "location") {
        fields.insert("location".to_owned(), Value::text(location.to_ascii_lowercase()));
    }
    if let Some(jurisdiction) = text(object, "jurisdiction").filter(|j| *j != "default") {
        fields.insert("jurisdiction".to_owned(), Value::text(jurisdiction));
    }
    Some(Thing::new(Kind::R2, name, name, fields))
}

fn field<'a>(properties: &'a Properties, name: &str) -> Option<&'a str> {
    properties.get(name).and_then(Value::as_text)
}

impl Sort for R2 {
    fn kind(&self) -> Kind {
        Kind::R2
    }

    /// "The bucket you tried to create already exists."
    fn taken(&self) -> &'static [u64] {
        &[10004]
    }

    fn list<'a>(
        &'a self,
        provider: &'a CloudflareProvider,
        _zones: &'a BTreeSet<String>,
    ) -> BoxFuture<'a, Result<Vec<Thing>, Fault>> {
        async move {
            let path = provider.account.path(&["r2", "buckets"]);
            let all = provider.client.get_cursor_pages(&path, "buckets").await?;
            Ok(all.iter().filter_map(thing).collect())
        }
        .boxed()
    }

    fn create<'a>(&'a self, writer: &'a mut Writer<'_>, order: &'a Order) -> BoxFuture<'a, Result<Thing, Failed>> {
        async move {
            let name = &order.change.claim;
            let after = order.change.after.clone().unwrap_or_default();
            let mut body = json!({ "name": name });
            for (key, theirs) in [("location", "locationHint"), ("storage_class", "storageClass")] {
                if let Some(text) = field(&after, key) {
                    body[theirs] = json!(text);
                }
            }
            let path = writer.provider.account.path(&["r2", "buckets"]);
            let made = writer.try_write(Method::POST, &path, Payload::Json(body), &[]).await?;
            answered(thing(&made).filter(|thing| thing.claim == *name), Kind::R2, name)
        }
        .boxed()
    }

    fn update<'a>(
        &'a self,
        writer: &'a mut Writer<'_>,
        order: &'a Order,
        found: &'a Thing,
    ) -> BoxFuture<'a, Result<Thing, Failed>> {
        async move {
            let after = order.change.after.clone().unwrap_or_default();
            for fixed in ["location", "jurisdiction"] {
                let (is, wanted) = (field(&found.properties, fixed), field(&after, fixed));
                if wanted.is_some() && is != wanted {
                    let message = format!("the {fixed} of R2 bucket `{}` cannot be changed", found.claim);
                    let hint = format!("it is `{}`: write that, or define another bucket", is.unwrap_or("default"));
                    return Err(ProviderError::new(message, Retry::Stalled).hint(hint).into());
                }
            }
            let class: Properties = after.into_iter().filter(|(key, _)| key == "storage_class").collect();
            if class.is_empty() || class.get("storage_class") == found.properties.get("storage_class") {
                return Ok(found.clone());
            }
            let path = writer.provider.account.path(&["r2", "buckets", &found.id]);
            let changed = writer.try_write(Method::PATCH, &path, Payload::Json(Json::Object(object(&class))), &[]).await?;
            answered(thing(&changed), Kind::R2, &found.claim)
        }
        .boxed()
    }

    fn delete<'a>(&'a self, writer: &'a mut Writer<'_>, found: &'a Thing) -> BoxFuture<'a, Result<(), Failed>> {
        async move {
            let path = writer.provider.account.path(&["r2", "buckets", &found.id]);
            writer.try_write(Method::DELETE, &path, Payload::Empty, &[]).await?;
            Ok(())
        }
        .boxed()
    }
}
