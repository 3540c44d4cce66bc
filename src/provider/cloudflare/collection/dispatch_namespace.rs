//! Dispatch namespaces of Workers for Platforms. A namespace has a name, by which it is called and never renamed, and holds the
//! Workers of others.

use std::collections::BTreeSet;

use futures_util::FutureExt;
use serde_json::{Value as Json, json};

use crate::model::Kind;
use crate::provider::Order;
use crate::provider::cloudflare::CloudflareProvider;
use crate::provider::cloudflare::write::Writer;

use super::{Gone, Listed, Made, Shelf, Sort, Thing, picked, text};

pub(super) struct DispatchNamespace;

const SHELF: Shelf = Shelf { kind: Kind::DispatchNamespace, path: &["workers", "dispatch", "namespaces"], pages: None, thing };

fn thing(object: &Json) -> Option<Thing> {
    let (id, name) = (text(object, "namespace_id")?, text(object, "namespace_name")?);
    Some(Thing::new(Kind::DispatchNamespace, id, name, picked(object, &["namespace_name"])))
}

impl Sort for DispatchNamespace {
    fn kind(&self) -> Kind {
        SHELF.kind
    }

    /// "A namespace with that name exists."
    fn taken(&self) -> &'static [u64] {
        &[100_119]
    }

    fn list<'a>(&'a self, provider: &'a CloudflareProvider, _places: &'a BTreeSet<String>) -> Listed<'a> {
        SHELF.list(provider).boxed()
    }

    fn create<'a>(&'a self, writer: &'a mut Writer<'_>, order: &'a Order) -> Made<'a> {
        let name = &order.change.claim;
        SHELF.make(writer, name, json!({ "name": name })).boxed()
    }

    fn update<'a>(&'a self, _writer: &'a mut Writer<'_>, _order: &'a Order, found: &'a Thing) -> Made<'a> {
        // It has nothing but its name, under which it was found.
        async move { Ok(found.clone()) }.boxed()
    }

    /// The API knows it by its name.
    fn delete<'a>(&'a self, writer: &'a mut Writer<'_>, found: &'a Thing) -> Gone<'a> {
        SHELF.remove(writer, &found.claim).boxed()
    }
}
