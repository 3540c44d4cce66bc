//! Services of a private network, which Workers reach through a tunnel. A change sends the whole of it.

use std::collections::BTreeSet;

use futures_util::FutureExt;
use http::Method;
use serde_json::Value as Json;

use crate::model::{Kind, Properties};
use crate::provider::Order;
use crate::provider::cloudflare::CloudflareProvider;
use crate::provider::cloudflare::path::Grammar;
use crate::provider::cloudflare::write::Writer;

use super::{Gone, Listed, Made, Shelf, Sort, Thing, answered, changed, named, object, picked, text};

pub(super) struct VpcService;

const SHELF: Shelf =
    Shelf { kind: Kind::VpcService, path: &["connectivity", "directory", "services"], pages: Some(("service_id", 100)), thing };

const FIELDS: [&str; 8] = ["name", "type", "http_port", "https_port", "tcp_port", "app_protocol", "host", "tls_settings"];

fn thing(json: &Json) -> Option<Thing> {
    let (id, name) = (text(json, "service_id")?, text(json, "name")?);
    Grammar::Id.check(id).ok()?;
    Some(Thing::new(Kind::VpcService, id, name, picked(json, &FIELDS)))
}

impl Sort for VpcService {
    on_shelf!(SHELF);

    /// No code of its own is known: the status says it.
    fn taken(&self) -> &'static [u64] {
        &[]
    }

    fn create<'a>(&'a self, writer: &'a mut Writer<'_>, order: &'a Order) -> Made<'a> {
        async move {
            let (name, after) = named(order);
            SHELF.make(writer, name, Json::Object(object(&after))).await
        }
        .boxed()
    }

    fn update<'a>(&'a self, writer: &'a mut Writer<'_>, order: &'a Order, found: &'a Thing) -> Made<'a> {
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
            let path = SHELF.item(writer.provider, &found.id);
            let answer = writer.json(Method::PUT, &path, Json::Object(object(&whole))).await?;
            answered(thing(&answer).filter(|thing| thing.id == found.id), Kind::VpcService, name)
        }
        .boxed()
    }
}
