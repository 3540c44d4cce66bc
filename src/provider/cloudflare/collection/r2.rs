//! R2 buckets. A bucket is known by its name within its jurisdiction; where it is stored is said at creation and never
//! changes. A list, and every other call, is about one jurisdiction, which a header names.
//!
//! Location is a hint: the platform may store elsewhere, so what a list shows of it is not what was asked for.

use std::collections::BTreeSet;

use futures_util::FutureExt;
use futures_util::future::try_join_all;
use http::Method;
use serde_json::{Value as Json, json};

use crate::model::{Kind, Properties, Value};
use crate::provider::Order;
use crate::provider::cloudflare::CloudflareProvider;
use crate::provider::cloudflare::client::Payload;
use crate::provider::cloudflare::fault::Fault;
use crate::provider::cloudflare::write::Writer;

use super::{Gone, Listed, Made, Sort, Thing, answered, picked, place, text, unchangeable};

pub(super) struct R2;

fn thing(object: &Json) -> Option<Thing> {
    let name = text(object, "name")?;
    let mut fields = picked(object, &["name", "storage_class"]);
    if let Some(jurisdiction) = text(object, "jurisdiction").filter(|j| *j != "default") {
        fields.insert("jurisdiction".to_owned(), Value::text(jurisdiction));
    }
    let id = text(object, "jurisdiction").filter(|j| *j != "default").map_or(name.to_owned(), |j| format!("{j}:{name}"));
    Some(Thing::new(Kind::R2, &id, name, fields))
}

/// The header that says in which jurisdiction a call looks, where that is not anywhere.
fn header(properties: &Properties) -> Vec<(&'static str, &str)> {
    in_jurisdiction(place(Kind::R2, properties).unwrap_or("default"))
}

fn in_jurisdiction(name: &str) -> Vec<(&'static str, &str)> {
    if name == "default" { Vec::new() } else { vec![("cf-r2-jurisdiction", name)] }
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

    fn list<'a>(&'a self, provider: &'a CloudflareProvider, places: &'a BTreeSet<String>) -> Listed<'a> {
        async move {
            let path = provider.account.path(&["r2", "buckets"]);
            let path = &path;
            let lists = places.iter().map(|place| async move {
                let all = provider.client.get_cursor_pages(path, "buckets", &in_jurisdiction(place)).await?;
                let here = |object: &Json| {
                    // A server may leave out in which jurisdiction a list is.
                    let mut object = object.clone();
                    if place != "default" && text(&object, "jurisdiction").is_none() {
                        object["jurisdiction"] = json!(place);
                    }
                    thing(&object)
                };
                Ok::<Vec<Thing>, Fault>(all.iter().filter_map(here).collect())
            });
            Ok(try_join_all(lists).await?.concat())
        }
        .boxed()
    }

    fn is_by_place(&self) -> bool {
        true
    }

    fn unseen(&self) -> &'static [&'static str] {
        &["location"]
    }

    fn create<'a>(&'a self, writer: &'a mut Writer<'_>, order: &'a Order) -> Made<'a> {
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
            let mut made = writer.try_write_with(Method::POST, &path, Payload::Json(body), (&[], &header(&after))).await?;
            if let (Some(jurisdiction), None) = (field(&after, "jurisdiction"), text(&made, "jurisdiction")) {
                made["jurisdiction"] = json!(jurisdiction);
            }
            answered(thing(&made).filter(|thing| thing.claim == *name), Kind::R2, name)
        }
        .boxed()
    }

    fn update<'a>(&'a self, writer: &'a mut Writer<'_>, order: &'a Order, found: &'a Thing) -> Made<'a> {
        async move {
            let after = order.change.after.clone().unwrap_or_default();
            unchangeable(found, &after, &["jurisdiction"])?;
            let (is, wanted) = (found.properties.get("storage_class"), after.get("storage_class"));
            let Some(Value::Text(class)) = wanted.filter(|_| is != wanted) else { return Ok(found.clone()) };
            let path = writer.provider.account.path(&["r2", "buckets", &found.claim]);
            // It stands in a header, as wrangler sends it: this call has no body.
            let headers = [header(&found.properties), vec![("cf-r2-storage-class", class.as_str())]].concat();
            writer.try_write_with(Method::PATCH, &path, Payload::Empty, (&[], &headers)).await?;
            let mut changed = found.clone();
            changed.properties.insert("storage_class".to_owned(), Value::text(class));
            Ok(changed)
        }
        .boxed()
    }

    fn delete<'a>(&'a self, writer: &'a mut Writer<'_>, found: &'a Thing) -> Gone<'a> {
        async move {
            let path = writer.provider.account.path(&["r2", "buckets", &found.claim]);
            writer.try_write_with(Method::DELETE, &path, Payload::Empty, (&[], &header(&found.properties))).await?;
            Ok(())
        }
        .boxed()
    }
}
