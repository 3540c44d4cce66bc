//! Custom domains of Workers. A host has one Worker; the call that gives it one would take it from another, so the list is
//! read first, and a host that another Worker has is a conflict, adopted or not.

use std::collections::BTreeSet;

use futures_util::FutureExt;
use http::Method;
use serde_json::{Value as Json, json};

use crate::model::{Kind, Value};
use crate::plan::Action;
use crate::provider::cloudflare::CloudflareProvider;
use crate::provider::cloudflare::client::Payload;
use crate::provider::cloudflare::path::Grammar;
use crate::provider::cloudflare::write::Writer;
use crate::provider::{Order, Outcome};

use super::{Failed, Gone, Listed, Made, Shelf, Sort, Thing, answered, picked, text};

pub(super) struct Domain;

const SHELF: Shelf = Shelf { kind: Kind::Domain, path: &["workers", "domains"], pages: None, thing };

fn thing(object: &Json) -> Option<Thing> {
    let (id, hostname) = (text(object, "id")?, text(object, "hostname")?);
    Grammar::Id.check(id).ok()?;
    Some(Thing::new(Kind::Domain, id, hostname, picked(object, &["hostname", "service", "zone_name"])))
}

async fn put(writer: &mut Writer<'_>, order: &Order) -> Result<Thing, Failed> {
    let after = order.change.after.clone().unwrap_or_default();
    let field = |name: &str| after.get(name).and_then(Value::as_text).unwrap_or_default();
    let (hostname, service) = (&order.change.claim, field("service"));
    let body = json!({ "hostname": hostname, "service": service, "zone_name": field("zone_name"), "environment": "production" });
    let path = SHELF.place(writer.provider);
    let made = writer.try_write(Method::PUT, &path, Payload::Json(body), &[]).await?;
    let ours = |thing: &Thing| thing.claim == *hostname && thing.properties.get("service") == after.get("service");
    answered(thing(&made).filter(ours), Kind::Domain, hostname)
}

impl Sort for Domain {
    on_shelf!(SHELF);

    /// The host has DNS records of its own; another Worker has it.
    fn taken(&self) -> &'static [u64] {
        &[100_116, 100_117]
    }

    fn create<'a>(&'a self, writer: &'a mut Writer<'_>, order: &'a Order) -> Made<'a> {
        put(writer, order).boxed()
    }

    fn update<'a>(&'a self, writer: &'a mut Writer<'_>, order: &'a Order, found: &'a Thing) -> Made<'a> {
        async move {
            let service = |fields: Option<&crate::model::Properties>| fields.and_then(|fields| fields.get("service").cloned());
            if service(order.change.after.as_ref()) == service(Some(&found.properties)) {
                return Ok(found.clone());
            }
            if matches!(order.change.action, Action::Create | Action::Adopt) {
                let holder = found.properties.get("service").and_then(Value::as_text).unwrap_or("another Worker");
                let message =
                    format!("the host `{}` is a custom domain of `{holder}`; take it away from that Worker first", found.claim);
                return Err(Failed::Outcome(Outcome::Conflict(message)));
            }
            put(writer, order).await
        }
        .boxed()
    }
}
