//! DNS records. A record carries our mark at the end of its comment, behind what a person wrote there.

use std::collections::BTreeSet;

use futures_util::FutureExt;
use futures_util::future::try_join_all;
use http::Method;
use serde_json::{Map, Value as Json, json};

use crate::model::{Kind, Properties, Value, dns};
use crate::provider::Order;
use crate::provider::cloudflare::CloudflareProvider;
use crate::provider::cloudflare::client::Payload;
use crate::provider::cloudflare::fault::Fault;
use crate::provider::cloudflare::path::{Grammar, path};
use crate::provider::cloudflare::write::Writer;
use crate::provider::cloudflare::zones::{within, zone_id};

use super::{Failed, Gone, Listed, Made, Sort, Thing, answered, picked, text};

pub(super) struct Dns;

/// Records of one page of the list.
const PAGE: u64 = 1000;

/// A record of a zone in the one form of its content; `None` for one of a type that definitions do not know.
fn thing(zone: (&str, &str), object: &Json) -> Option<Thing> {
    let (id, sort) = (text(object, "id")?, text(object, "type")?);
    Grammar::Id.check(id).ok()?;
    let name = dns::name(text(object, "name")?);
    let content = dns::content(sort, object.get("content")?.as_str()?).ok()?;
    let mut properties = picked(object, &["ttl"]);
    let mut put = |field: &str, value: Value| properties.insert(field.to_owned(), value);
    put("zone_name", Value::text(zone.0));
    put("type", Value::text(sort));
    put("name", Value::text(&name));
    put("content", Value::text(&content));
    if dns::is_proxiable(sort) {
        put("proxied", Value::Bool(object.get("proxied").and_then(Json::as_bool).unwrap_or(false)));
    }
    if let Some(priority) = object.get("priority").and_then(Json::as_f64).filter(|_| dns::has_priority(sort)) {
        // A whole number of sixteen bits, which some answers write with a fraction.
        put("priority", Value::Integer(priority as i64));
    }
    let (own, owner) = dns::split_comment(text(object, "comment").unwrap_or_default());
    if !own.is_empty() {
        put("comment", Value::text(own));
    }
    let mut thing = Thing::new(Kind::Dns, id, &dns::claim(sort, &name, &content), properties);
    thing.attributes.insert("zone_id".to_owned(), zone.1.to_owned());
    // Without the mark it is another state: whoever took it away wants it seen.
    thing.stamp = owner.as_ref().map(ToString::to_string);
    thing.owner = owner;
    Some(thing)
}

/// What is sent. `found` is the record that is there.
fn body(order: &Order, found: Option<&Thing>) -> Json {
    let after = order.change.after.clone().unwrap_or_default();
    let field = |name: &str| after.get(name).and_then(Value::as_text).unwrap_or_default();
    let (sort, content) = (field("type"), field("content"));
    let mut body: Map<String, Json> = super::object(&after);
    for ours in ["zone_name", "content", "comment"] {
        body.remove(ours);
    }
    match sort {
        "SRV" => {
            let mut words = content.split(' ');
            let number = |word: Option<&str>| word.and_then(|word| word.parse::<u16>().ok());
            let (weight, port) = (number(words.next()), number(words.next()));
            let priority = body.remove("priority");
            body.insert(
                "data".to_owned(),
                json!({ "priority": priority, "weight": weight, "port": port, "target": words.next() }),
            );
        }
        "CAA" => {
            let mut words = content.splitn(3, ' ');
            let flags = words.next().and_then(|word| word.parse::<u8>().ok());
            let (tag, value) = (words.next(), words.next().unwrap_or_default().trim_matches('"'));
            body.insert("data".to_owned(), json!({ "flags": flags, "tag": tag, "value": value }));
        }
        "TXT" => drop(body.insert("content".to_owned(), json!(dns::quoted(content)))),
        _ => drop(body.insert("content".to_owned(), json!(content))),
    }
    // What somebody wrote there stays, where the definition says nothing and did not before.
    let before = order.change.before.as_ref().is_some_and(|before| before.contains_key("comment"));
    let theirs = found.filter(|_| !before).and_then(|found| found.properties.get("comment"));
    let own = after.get("comment").or(theirs).and_then(Value::as_text).unwrap_or_default();
    body.insert("comment".to_owned(), json!(dns::comment(own, &order.change.key.address)));
    Json::Object(body)
}

/// The zone of an order, by its name and its id.
async fn zone_of(writer: &Writer<'_>, properties: &Properties) -> Result<(String, String), Failed> {
    let name = super::zone(properties).unwrap_or_default().to_owned();
    let provider = writer.provider;
    let id = zone_id(&provider.client, &provider.account, &name).await.map_err(|fault| Failed::Outcome(writer.unread(fault)))?;
    Ok((name, id))
}

impl Sort for Dns {
    fn kind(&self) -> Kind {
        Kind::Dns
    }

    /// A record of the name that does not go with others, an identical one.
    fn taken(&self) -> &'static [u64] {
        &[81053, 81054, 81057, 81058]
    }

    fn is_by_place(&self) -> bool {
        true
    }

    fn identical(&self) -> &'static [u64] {
        &[81057, 81058]
    }

    fn list<'a>(&'a self, provider: &'a CloudflareProvider, zones: &'a BTreeSet<String>) -> Listed<'a> {
        async move {
            let reads = zones.iter().map(|zone| {
                let read = move |id: String| async move {
                    let path = path(&["zones", &id, "dns_records"]);
                    let all = provider.client.get_pages(&path, PAGE, |item: &Json| text(item, "id").unwrap_or_default()).await?;
                    Ok::<_, Fault>(all.iter().filter_map(|object| thing((zone, &id), object)).collect::<Vec<_>>())
                };
                within(&provider.client, &provider.account, zone, read)
            });
            Ok(try_join_all(reads).await?.into_iter().flatten().collect())
        }
        .boxed()
    }

    fn create<'a>(&'a self, writer: &'a mut Writer<'_>, order: &'a Order) -> Made<'a> {
        async move {
            let zone = zone_of(writer, &order.change.after.clone().unwrap_or_default()).await?;
            let path = path(&["zones", &zone.1, "dns_records"]);
            let made = writer.try_write(Method::POST, &path, Payload::Json(body(order, None)), &[]).await?;
            answered(thing((&zone.0, &zone.1), &made), Kind::Dns, &order.change.claim)
        }
        .boxed()
    }

    fn update<'a>(&'a self, writer: &'a mut Writer<'_>, order: &'a Order, found: &'a Thing) -> Made<'a> {
        async move {
            let zone = zone_of(writer, &found.properties).await?;
            let wanted = order.change.after.as_ref().and_then(super::zone).unwrap_or_default();
            if wanted != zone.0 {
                let message =
                    format!("DNS record `{}` lies in the zone `{}` and cannot be moved to `{wanted}`", found.claim, zone.0);
                let error = crate::provider::ProviderError::new(message, crate::model::Retry::Stalled);
                return Err(error.hint("define it under another key: then it is made anew there, and deleted here").into());
            }
            // Single fields: tags and settings that somebody gave it stay.
            let path = path(&["zones", &zone.1, "dns_records", &found.id]);
            let changed = writer.try_write(Method::PATCH, &path, Payload::Json(body(order, Some(found))), &[]).await?;
            answered(thing((&zone.0, &zone.1), &changed), Kind::Dns, &order.change.claim)
        }
        .boxed()
    }

    fn delete<'a>(&'a self, writer: &'a mut Writer<'_>, found: &'a Thing) -> Gone<'a> {
        async move {
            let zone = zone_of(writer, &found.properties).await?;
            let path = path(&["zones", &zone.1, "dns_records", &found.id]);
            writer.try_write(Method::DELETE, &path, Payload::Empty, &[]).await?;
            Ok(())
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_in_the_form_of_a_definition() {
        let said = json!({
            "id": "ab", "type": "MX", "name": "Example.com", "content": "MX.example.com.", "ttl": 300, "priority": 10.0,
            "proxied": false, "comment": "mail trunkline:production/dns.mail", "tags": ["theirs"],
        });
        let thing = thing(("example.com", "z"), &said).unwrap();
        assert_eq!(thing.claim, "MX example.com mx.example.com");
        assert_eq!(thing.owner, Some("production/dns.mail".parse().unwrap()));
        let expected = json!({
            "zone_name": "example.com", "type": "MX", "name": "example.com", "content": "mx.example.com", "ttl": 300,
            "priority": 10, "comment": "mail",
        });
        assert_eq!(serde_json::to_value(&thing.properties).unwrap(), expected);
        assert!(super::thing(("example.com", "z"), &json!({ "id": "ab", "type": "LOC", "name": "x", "content": "y" })).is_none());
    }
}
