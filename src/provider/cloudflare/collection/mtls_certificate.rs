//! Client certificates that Workers present to an origin.
//!
//! A certificate cannot be changed and its key never comes back. What is to be another one is uploaded beside the old one, which
//! Workers still use until they are changed in the same plan; the old one is remembered as superseded, and the next plan
//! deletes it.

use std::collections::BTreeSet;

use futures_util::FutureExt;
use http::Method;
use serde_json::{Value as Json, json};

use crate::model::{Kind, Properties, Retry, SUPERSEDED, Value};
use crate::provider::cloudflare::CloudflareProvider;
use crate::provider::cloudflare::client::Payload;
use crate::provider::cloudflare::path::Grammar;
use crate::provider::cloudflare::write::{Writer, sealed};
use crate::provider::{Order, ProviderError};

use super::secret::secret;
use super::{Failed, Gone, Listed, Made, Seen, Sort, Thing, answered, named, picked, text, with_unseen};

pub(super) struct MtlsCertificate;

const PATH: &str = "mtls_certificates";

/// "This certificate was uploaded already."
const UPLOADED: u64 = 1406;

fn thing(json: &Json) -> Option<Thing> {
    let (id, name) = (text(json, "id")?, text(json, "name")?);
    Grammar::Id.check(id).ok()?;
    Some(Thing::new(Kind::MtlsCertificate, id, name, picked(json, &["name", "ca"])))
}

/// The chain that `order` asks for.
fn chain(order: &Order, after: &Properties) -> Result<String, Failed> {
    let bytes = match after.get("certificates") {
        Some(Value::Content { content }) => order.contents.get(&content.sha256),
        _ => None,
    };
    let text = bytes.and_then(|bytes| std::str::from_utf8(bytes).ok()).map(str::to_owned);
    let missing = || ProviderError::new("the bytes of the certificate are not in the bundle", Retry::Stalled);
    Ok(text.ok_or_else(missing)?)
}

/// Uploads what `order` asks for.
async fn upload(writer: &mut Writer<'_>, order: &Order) -> Result<Thing, Failed> {
    let (name, after) = named(order);
    let mut body =
        json!({ "name": name, "certificates": chain(order, &after)?, "ca": after.get("ca") == Some(&Value::Bool(true)) });
    let mut secrets = Vec::new();
    if after.contains_key("private_key") {
        let (key, value) = secret(writer.provider, order, "private_key")?;
        body["private_key"] = json!(key);
        secrets.push(value);
    }
    let path = writer.provider.account.path(&[PATH]);
    let made = writer.try_write(Method::POST, &path, sealed(&body), &secrets).await;
    let mut made = made.map_err(|mut fault| {
        if fault.has(UPLOADED) {
            let hint = "an account takes a certificate once: use one of its own here, or let one environment define it";
            fault.error.hint = Some(hint.to_owned());
        }
        fault
    })?;
    // An answer may leave out what was sent.
    for field in ["name", "ca"] {
        if made.get(field).is_none_or(Json::is_null) {
            made[field] = body[field].clone();
        }
    }
    answered(thing(&made).filter(|thing| thing.claim == name), Kind::MtlsCertificate, name)
}

async fn remove(writer: &mut Writer<'_>, id: &str) -> Result<(), Failed> {
    Grammar::Id.check(id)?;
    let path = writer.provider.account.path(&[PATH, id]);
    match writer.try_write(Method::DELETE, &path, Payload::Empty, &[]).await {
        Ok(_) => Ok(()),
        Err(fault) if fault.is_missing() || fault.status == Some(404) => Ok(()),
        Err(fault) => Err(fault.into()),
    }
}

/// The ids that a record names as superseded.
fn superseded(properties: &Properties) -> Vec<String> {
    match properties.get(SUPERSEDED) {
        Some(Value::List(ids)) => ids.iter().filter_map(Value::as_text).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

impl Sort for MtlsCertificate {
    fn kind(&self) -> Kind {
        Kind::MtlsCertificate
    }

    /// Names are not unique.
    fn taken(&self) -> &'static [u64] {
        &[]
    }

    fn list<'a>(&'a self, provider: &'a CloudflareProvider, _places: &'a BTreeSet<String>) -> Listed<'a> {
        async move {
            let path = provider.account.path(&[PATH]);
            let all = provider.client.get_pages(&path, 50, |item: &Json| text(item, "id").unwrap_or_default()).await?;
            Ok(all.iter().filter_map(thing).collect())
        }
        .boxed()
    }

    fn unseen(&self) -> &'static [&'static str] {
        &["certificates", "private_key"]
    }

    /// What took the place of others shows those of them that are still there.
    fn seen(&self, properties: Properties, seen: &Seen<'_>) -> Properties {
        let mut properties = with_unseen(properties, self.unseen(), seen);
        let old = seen.recorded.and_then(|owned| owned.attributes.get(SUPERSEDED)).map_or("", String::as_str);
        let there = |id: &&str| seen.all.iter().any(|thing| thing.id == *id);
        let old: Vec<Value> = old.split(',').filter(there).map(Value::text).collect();
        if !old.is_empty() {
            properties.insert(SUPERSEDED.to_owned(), Value::List(old));
        }
        properties
    }

    fn create<'a>(&'a self, writer: &'a mut Writer<'_>, order: &'a Order) -> Made<'a> {
        upload(writer, order).boxed()
    }

    fn update<'a>(&'a self, writer: &'a mut Writer<'_>, order: &'a Order, found: &'a Thing) -> Made<'a> {
        async move {
            let (name, after) = named(order);
            let before = order.change.before.clone().unwrap_or_default();
            let old = superseded(&before);
            let remade = Kind::MtlsCertificate.remade_by().iter().any(|field| before.get(*field) != after.get(*field));
            if !remade || order.change.before.is_none() {
                for id in &old {
                    remove(writer, id).await?;
                }
                return Ok(found.clone());
            }
            // One that an earlier attempt uploaded, whose answer never came, bears the name and is not the old one.
            let mut made = None;
            if !order.earlier.is_empty() {
                let all = self.list(writer.provider, &BTreeSet::new()).await;
                let all = all.map_err(|fault| Failed::Outcome(writer.unread(fault)))?;
                made = all.into_iter().find(|thing| thing.claim == name && thing.id != found.id && !old.contains(&thing.id));
            }
            let mut made = match made {
                Some(made) => made,
                None => upload(writer, order).await?,
            };
            let old: Vec<&str> = old.iter().map(String::as_str).chain([found.id.as_str()]).collect();
            made.attributes.insert(SUPERSEDED.to_owned(), old.join(","));
            Ok(made)
        }
        .boxed()
    }

    fn delete<'a>(&'a self, writer: &'a mut Writer<'_>, found: &'a Thing) -> Gone<'a> {
        async move { remove(writer, &found.id).await }.boxed()
    }
}
