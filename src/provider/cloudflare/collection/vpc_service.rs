//! Services of a private network, which Workers reach through a tunnel. A change sends the whole of it.

use std::collections::BTreeSet;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::Method;
use serde_json::Value as Json;

use crate::model::{Kind, Properties};
use crate::provider::Order;
use crate::provider::cloudflare::CloudflareProvider;
use crate::provider::cloudflare::client::Payload;
use crate::provider::cloudflare::fault::Fault;
use crate::provider::cloudflare::path::Grammar;
use crate::provider::cloudflare::write::Writer;

use super::{Failed, Sort, Thing, answered, changed, named, object, picked, text};

pub(super) struct VpcService;

const PATH: [&str; 3] = ["connectivity", "directory", "services"];

const FIELDS: [&str; 8] = ["name", "type", "http_port", "https_port", "tcp_port", "app_protocol", "host", "tls_settings"];

fn thing(json: &Json) -> Option<Thing> {
    let (id, name) = (text(json, "service_id")?, text(json, "name")?);
    Grammar::Id.check(id).ok()?;
    Some(Thing::new(Kind::VpcService, id, name, picked(json, &FIELDS)))
}

impl Sort for VpcService {
    fn kind(&self) -> Kind {
        Kind::VpcService
    }

    /// No code of its own is known: the status says it.
    fn taken(&self) -> &'static [u64] {
        &[]
    }

    fn list<'a>(
        &'a self,
        provider: &'a CloudflareProvider,
        _places: &'a BTreeSet<String>,
    ) -> BoxFuture<'a, Result<Vec<Thing>, Fault>> {
        async move {
            let path = provider.account.path(&PATH);
            let all = provider.client.get_pages(&path, 100, |item: &Json| text(item, "service_id").unwrap_or_default()).await?;
            Ok(all.iter().filter_map(thing).collect())
        }
        .boxed()
    }

    fn create<'a>(&'a self, writer: &'a mut Writer<'_>, order: &'a Order) -> BoxFuture<'a, Result<Thing, Failed>> {
        async move {
            let (name, after) = named(order);
            let path = writer.provider.account.path(&PATH);
            let made = writer.json(Method::POST, &path, Json::Object(object(&after))).await?;
            answered(thing(&made).filter(|thing| thing.claim == name), Kind::VpcService, name)
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
            let (name, after) = named(order);
            let before = order.change.before.clone().unwrap_or_default();
            let gone: Vec<&String> = before.keys().filter(|field| !after.contains_key(*field)).collect();
            if changed(&found.properties, &after).is_empty() && gone.is_empty() {
                return Ok(found.clone());
            }
            // What the definition never said stays as it is; `host` is one of several forms, and never mixed from two.
            let kept = found.properties.clone().into_iter().filter(|(field, _)| !gone.contains(&field));
            let whole: Properties = kept.chain(after).collect();
            let path = writer.provider.account.path(&[PATH[0], PATH[1], PATH[2], &found.id]);
            let answer = writer.json(Method::PUT, &path, Json::Object(object(&whole))).await?;
            answered(thing(&answer).filter(|thing| thing.id == found.id), Kind::VpcService, name)
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
