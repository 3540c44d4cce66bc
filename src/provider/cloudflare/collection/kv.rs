//! KV namespaces. A title is unique in an account; a namespace has no place for a mark.

use std::collections::BTreeSet;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::Method;
use serde_json::{Value as Json, json};

use crate::model::Kind;
use crate::provider::Order;
use crate::provider::cloudflare::CloudflareProvider;
use crate::provider::cloudflare::client::Payload;
use crate::provider::cloudflare::fault::Fault;
use crate::provider::cloudflare::path::Grammar;
use crate::provider::cloudflare::write::Writer;

use super::{Failed, Sort, Thing, answered, picked, text};

pub(super) struct Kv;

const PATH: [&str; 3] = ["storage", "kv", "namespaces"];

fn thing(object: &Json) -> Option<Thing> {
    let (id, title) = (text(object, "id")?, text(object, "title")?);
    Grammar::Id.check(id).ok()?;
    Some(Thing::new(Kind::Kv, id, title, picked(object, &["title"])))
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
            let made = writer.try_write(Method::POST, &path, Payload::Json(json!({ "title": title })), &[]).await?;
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
            if *title == found.claim {
                return Ok(found.clone());
            }
            let path = writer.provider.account.path(&[PATH[0], PATH[1], PATH[2], &found.id]);
            writer.try_write(Method::PUT, &path, Payload::Json(json!({ "title": title })), &[]).await?;
            let renamed = json!({ "id": found.id, "title": title });
            answered(thing(&renamed), Kind::Kv, title)
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
