//! Dispatch namespaces of Workers for Platforms. A namespace has a name, by which it is called and never renamed, and holds the
//! Workers of others.

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
use crate::provider::cloudflare::write::Writer;

use super::{Failed, Sort, Thing, answered, named, picked, text};

pub(super) struct DispatchNamespace;

const PATH: [&str; 3] = ["workers", "dispatch", "namespaces"];

fn thing(object: &Json) -> Option<Thing> {
    let (id, name) = (text(object, "namespace_id")?, text(object, "namespace_name")?);
    Some(Thing::new(Kind::DispatchNamespace, id, name, picked(object, &["namespace_name"])))
}

impl Sort for DispatchNamespace {
    fn kind(&self) -> Kind {
        Kind::DispatchNamespace
    }

    /// "A namespace with that name exists."
    fn taken(&self) -> &'static [u64] {
        &[100_119]
    }

    fn list<'a>(
        &'a self,
        provider: &'a CloudflareProvider,
        _places: &'a BTreeSet<String>,
    ) -> BoxFuture<'a, Result<Vec<Thing>, Fault>> {
        async move {
            let all: Option<Vec<Json>> = provider.client.get(&provider.account.path(&PATH)).await?;
            Ok(all.unwrap_or_default().iter().filter_map(thing).collect())
        }
        .boxed()
    }

    fn create<'a>(&'a self, writer: &'a mut Writer<'_>, order: &'a Order) -> BoxFuture<'a, Result<Thing, Failed>> {
        async move {
            let (name, _) = named(order);
            let path = writer.provider.account.path(&PATH);
            let made = writer.json(Method::POST, &path, json!({ "name": name })).await?;
            answered(thing(&made).filter(|thing| thing.claim == name), Kind::DispatchNamespace, name)
        }
        .boxed()
    }

    fn update<'a>(
        &'a self,
        _writer: &'a mut Writer<'_>,
        _order: &'a Order,
        found: &'a Thing,
    ) -> BoxFuture<'a, Result<Thing, Failed>> {
        // It has nothing but its name, under which it was found.
        async move { Ok(found.clone()) }.boxed()
    }

    fn delete<'a>(&'a self, writer: &'a mut Writer<'_>, found: &'a Thing) -> BoxFuture<'a, Result<(), Failed>> {
        async move {
            let path = writer.provider.account.path(&[PATH[0], PATH[1], PATH[2], &found.claim]);
            writer.try_write(Method::DELETE, &path, Payload::Empty, &[]).await?;
            Ok(())
        }
        .boxed()
    }
}
