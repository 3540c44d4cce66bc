//! KV namespaces. A title is unique in an account; a namespace has no place for a mark.

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

use super::{Gone, Listed, Made, Shelf, Sort, Thing, jurisdiction, picked, text, unchangeable};

pub(super) struct Kv;

const SHELF: Shelf = Shelf { kind: Kind::Kv, path: &["storage", "kv", "namespaces"], pages: Some(("id", 1000)), thing };

fn thing(object: &Json) -> Option<Thing> {
    let (id, title) = (text(object, "id")?, text(object, "title")?);
    Grammar::Id.check(id).ok()?;
    let mut fields = picked(object, &["title"]);
    fields.extend(jurisdiction(object));
    Some(Thing::new(Kind::Kv, id, title, fields))
}

impl Sort for Kv {
    on_shelf!(SHELF);

    /// "A namespace with this title exists."
    fn taken(&self) -> &'static [u64] {
        &[10014]
    }

    fn create<'a>(&'a self, writer: &'a mut Writer<'_>, order: &'a Order) -> Made<'a> {
        async move {
            let title = &order.change.claim;
            let mut body = json!({ "title": title });
            if let Some(place) = order.change.after.as_ref().and_then(|after| after.get("jurisdiction")?.as_text()) {
                body["jurisdiction"] = json!(place);
            }
            SHELF.make(writer, title, body).await
        }
        .boxed()
    }

    fn update<'a>(&'a self, writer: &'a mut Writer<'_>, order: &'a Order, found: &'a Thing) -> Made<'a> {
        async move {
            let title = &order.change.claim;
            let none = Properties::new();
            unchangeable(found, order.change.after.as_ref().unwrap_or(&none), &["jurisdiction"])?;
            if *title == found.claim {
                return Ok(found.clone());
            }
            let path = SHELF.item(writer.provider, &found.id);
            writer.try_write(Method::PUT, &path, Payload::Json(json!({ "title": title })), &[]).await?;
            let mut renamed = Thing { claim: title.clone(), ..found.clone() };
            renamed.properties.insert("title".to_owned(), Value::text(title));
            renamed.attributes.insert("name".to_owned(), title.clone());
            Ok(renamed)
        }
        .boxed()
    }
}
