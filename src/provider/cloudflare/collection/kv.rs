//! KV namespaces. A title is unique in an account; a namespace has no place for a mark.

use std::collections::BTreeSet;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::Method;
use serde_json::{Value as Json, json};

use crate::model::{Kind, Properties, Value};
use crate::provider::Order;
use crate::provider::cloudflare::CloudflareProvider;
use crate::provider::cloudflare::client::Payload;
use crate::provider::cloudflare::fault::Fault;
use crate::provider::cloudflare::path::Grammar;
use crate::provider::cloudflare::write::Writer;

use super::{Failed, Sort, Thing, answered, jurisdiction, picked, text, unchangeable};

pub(super) struct Kv;

const PATH: [&str; 3] = ["storage", "kv", "namespaces"];

fn thing(object: &Json) -> Option<Thing> {
    let (id, title) = (text(object, "id")?, text(object, "title")?);
    Grammar::Id.check(id).ok()?;
    let mut fields = picked(object, &["title"]);
    fields.extend(jurisdiction(object));
    Some(Thing::new(Kind::Kv, id, title, fields))
}

impl Sort for Kv {
    fn kind(&self) -> Kind {
        Kind::Kv
    }

    /// "A namespace with this title exists."
    fn taken(&self) -> &'static [u64] {
        &[10014]
    }

    fn list<'a>(
        &'a self,
        provider: &'a CloudflareProvider,
        _zones: &'a BTreeSet<String>,
    ) -> BoxFuture<'a, Result<Vec<Thing>, Fault>> {
        async move {
            let path = provider.account.path(&PATH);
            let all = provider.client.get_pages(&path, 1000, |item: &Json| text(item, "id").unwrap_or_default()).await?;
            Ok(all.iter().filter_map(thing).collect())
        }
        .boxed()
    }

    fn create<'a>(&'a self, writer: &'a mut Writer<'_>, order: &'a Order) -> BoxFuture<'a, Result<Thing, Failed>> {
        async move {
            let title = &order.change.claim;
            let path = writer.provider.account.path(&PATH);
            let mut body = json!({ "title": title });
            if let Some(place) = order.change.after.as_ref().and_then(|after| after.get("jurisdiction")?.as_text()) {
                body["jurisdiction"] = json!(place);
            }
            let made = writer.json(Method::POST, &path, body).await?;
            answered(thing(&made).filter(|thing| thing.claim == *title), Kind::Kv, title)
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
            let title = &order.change.claim;
            let none = Properties::new();
            unchangeable(found, order.change.after.as_ref().unwrap_or(&none), &["jurisdiction"])?;
            if *title == found.claim {
                return Ok(found.clone());
            }
            let path = writer.provider.account.path(&[PATH[0], PATH[1], PATH[2], &found.id]);
            writer.try_write(Method::PUT, &path, Payload::Json(json!({ "title": title })), &[]).await?;
            let mut renamed = Thing { claim: title.clone(), ..found.clone() };
            renamed.properties.insert("title".to_owned(), Value::text(title));
            renamed.attributes.insert("name".to_owned(), title.clone());
            Ok(renamed)
        }
        .boxed()
    }

    fn delete<'a>(&'a self, writer: &'a mut Writer<'_>, found: &'a Thing) -> BoxFuture<'a, Result<(), Failed>> {
        async move {
            let path = writer.provider.account.path(&[PATH[0], PATH[1], PATH[2], &found.id]);
            writer.try_write(Method::DELETE, &path, Payload::Empty, &[]).await?;
            Ok(())
        }
        .boxed()
    }
}
