//! Custom domains of Workers. A host has one Worker; the call that gives it one would take it from another, so the list is
//! read first, and a host that another Worker has is a conflict, adopted or not.

use std::collections::BTreeSet;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::Method;
use serde_json::{Value as Json, json};

use crate::model::{Kind, Value};
use crate::plan::Action;
use crate::provider::cloudflare::CloudflareProvider;
use crate::provider::cloudflare::client::Payload;
use crate::provider::cloudflare::fault::Fault;
use crate::provider::cloudflare::path::Grammar;
use crate::provider::cloudflare::write::Writer;
use crate::provider::{Order, Outcome};

use super::{Failed, Sort, Thing, answered, picked, text};

pub(super) struct Domain;

const PATH: [&str; 2] = ["workers", "domains"];

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
    let path = writer.provider.account.path(&PATH);
    let made = writer.try_write(Method::PUT, &path, Payload::Json(body), &[]).await?;
    let ours = |thing: &Thing| thing.claim == *hostname && thing.properties.get("service") == after.get("service");
    answered(thing(&made).filter(ours), Kind::Domain, hostname)
}

impl Sort for Domain {
    fn kind(&self) -> Kind {
        Kind::Domain
    }

    /// The host has DNS records of its own; another Worker has it.
    fn taken(&self) -> &'static [u64] {
        &[100_116, 100_117]
    }

    fn list<'a>(
        &'a self,
        provider: &'a CloudflareProvider,
        _zones: &'a BTreeSet<String>,
    ) -> BoxFuture<'a, Result<Vec<Thing>, Fault>> {
        async move {
            let all: Option<Vec<Json>> = provider.client.get(&provider.account.path(&PATH)).await?;
            Ok(all.unwrap_or_default().iter().filter_map(thing).collect())
        }
        .boxed()
    }

    fn create<'a>(&'a self, writer: &'a mut Writer<'_>, order: &'a Order) -> BoxFuture<'a, Result<Thing, Failed>> {
        put(writer, order).boxed()
    }

    fn update<'a>(
        &'a self,
        writer: &'a mut Writer<'_>,
        order: &'a Order,
        found: &'a Thing,
    ) -> BoxFuture<'a, Result<Thing, Failed>> {
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

    fn delete<'a>(&'a self, writer: &'a mut Writer<'_>, found: &'a Thing) -> BoxFuture<'a, Result<(), Failed>> {
        async move {
            let path = writer.provider.account.path(&[PATH[0], PATH[1], &found.id]);
            writer.try_write(Method::DELETE, &path, Payload::Empty, &[]).await?;
            Ok(())
        }
        .boxed()
    }
}
