//! Cloudflare Tunnels that are configured from here, and their ingress rules.
//!
//! The rules are one whole set, the last of which catches all; it is written by us and not shown. A definition that gives rules
//! gives all of them: one that somebody added stands in the plan as going. What else the configuration holds is kept.
//!
//! **Invariant:** the token that lets a host run a tunnel is in no property, no attribute and no record: it is read when it
//! is needed.

use std::collections::BTreeSet;

use futures_util::FutureExt;
use http::Method;
use serde_json::{Map, Value as Json, json};

use crate::boundary;
use crate::model::{Kind, Properties, Retry, Secret, Value};
use crate::provider::cloudflare::CloudflareProvider;
use crate::provider::cloudflare::client::Payload;
use crate::provider::cloudflare::fault::Fault;
use crate::provider::cloudflare::path::{Grammar, with_query};
use crate::provider::cloudflare::write::Writer;
use crate::provider::{Order, Outcome, ProviderError};

use super::{Failed, Gone, Listed, Made, Seeing, Sort, Thing, answered, named, object, picked, text};

pub(super) struct Tunnel;

/// What takes a request that no rule matches.
const CATCH_ALL: &str = "http_status:404";

/// "The tunnel has active connections."
const IN_USE: u64 = 1022;

fn thing(json: &Json) -> Option<Thing> {
    let (id, name) = (text(json, "id")?, text(json, "name")?);
    Grammar::Id.check(id).ok()?;
    if text(json, "deleted_at").is_some() {
        return None;
    }
    let mut thing = Thing::new(Kind::Tunnel, id, name, picked(json, &["name", "config_src"]));
    // The host that stands for it in DNS.
    thing.attributes.insert("hostname".to_owned(), format!("{id}.cfargotunnel.com"));
    Some(thing)
}

/// The whole configuration; empty where there is none yet.
async fn configuration(provider: &CloudflareProvider, id: &str) -> Result<Map<String, Json>, Fault> {
    let path = provider.account.path(&["cfd_tunnel", id, "configurations"]);
    let mut object: Json = provider.client.get(&path).await?;
    let config = object.get_mut("config").map(Json::take).unwrap_or_default();
    Ok(if let Json::Object(config) = config { config } else { Map::new() })
}

/// The rules of a configuration, as definitions give them: without the last, where that is what we write.
fn ingress(config: &Map<String, Json>) -> Value {
    let mut rules = config.get("ingress").and_then(Json::as_array).cloned().unwrap_or_default();
    let is_ours = |rule: &Json| rule.get("service").and_then(Json::as_str) == Some(CATCH_ALL) && rules_all(rule);
    if rules.last().is_some_and(is_ours) {
        rules.pop();
    }
    Value::List(rules.iter().map(clean).filter_map(|rule| Value::of_json(&rule)).collect())
}

/// Whether a rule matches everything.
fn rules_all(rule: &Json) -> bool {
    text(rule, "hostname").is_none() && text(rule, "path").is_none()
}

/// A rule without what says nothing.
fn clean(rule: &Json) -> Json {
    let mut rule = rule.clone();
    if let Some(fields) = rule.as_object_mut() {
        fields.retain(|_, value| match value {
            Json::Null => false,
            Json::String(text) => !text.is_empty(),
            Json::Object(fields) => !fields.is_empty(),
            _ => true,
        });
    }
    rule
}

/// Writes the rules that `order` asks for, where they are not there.
async fn configure(writer: &mut Writer<'_>, order: &Order, id: &str) -> Result<(), Failed> {
    let (name, after) = named(order);
    let before = order.change.before.as_ref().and_then(|before| before.get("ingress"));
    // Rules that the definition no longer gives are ours, and go.
    let wanted = match (after.get("ingress"), before) {
        (Some(wanted), _) => wanted.clone(),
        (None, Some(_)) => Value::List(Vec::new()),
        (None, None) => return Ok(()),
    };
    let mut config = configuration(writer.provider, id).await.map_err(|fault| Failed::Outcome(writer.unread(fault)))?;
    let is = ingress(&config);
    if is == wanted {
        return Ok(());
    }
    if before.is_some_and(|before| *before != is) {
        let message = format!("the ingress rules of tunnel `{name}` were changed since they were planned for");
        return Err(Failed::Outcome(Outcome::Conflict(message)));
    }
    let Value::List(rules) = wanted else { return Ok(()) };
    let rules = rules.iter().filter_map(Value::as_table).map(|rule| Json::Object(object(rule)));
    config.insert("ingress".to_owned(), rules.chain([json!({ "service": CATCH_ALL })]).collect());
    let path = writer.provider.account.path(&["cfd_tunnel", id, "configurations"]);
    writer.json(Method::PUT, &path, json!({ "config": config })).await?;
    boundary::reach("after_listed");
    Ok(())
}

impl Sort for Tunnel {
    fn kind(&self) -> Kind {
        Kind::Tunnel
    }

    /// "You already have a tunnel with this name."
    fn taken(&self) -> &'static [u64] {
        &[1013]
    }

    fn list<'a>(&'a self, provider: &'a CloudflareProvider, _places: &'a BTreeSet<String>) -> Listed<'a> {
        async move {
            // Deleted tunnels stay in the list otherwise.
            let path = with_query(&provider.account.path(&["cfd_tunnel"]), &[("is_deleted", "false")]);
            let all = provider.client.get_pages(&path, 100, |item: &Json| text(item, "id").unwrap_or_default()).await?;
            Ok(all.iter().filter_map(thing).collect())
        }
        .boxed()
    }

    fn deep(&self) -> &'static [&'static str] {
        &["ingress"]
    }

    fn read<'a>(&'a self, provider: &'a CloudflareProvider, mut thing: Thing, _wanted: &'a Properties) -> Seeing<'a> {
        async move {
            let config = configuration(provider, &thing.id).await?;
            thing.properties.insert("ingress".to_owned(), ingress(&config));
            Ok(thing)
        }
        .boxed()
    }

    fn create<'a>(&'a self, writer: &'a mut Writer<'_>, order: &'a Order) -> Made<'a> {
        async move {
            let (name, _) = named(order);
            let path = writer.provider.account.path(&["cfd_tunnel"]);
            let body = json!({ "name": name, "config_src": "cloudflare" });
            let mut made = writer.json(Method::POST, &path, body).await?;
            if text(&made, "config_src").is_none() {
                made["config_src"] = json!("cloudflare");
            }
            let made = answered(thing(&made).filter(|thing| thing.claim == name), Kind::Tunnel, name)?;
            boundary::reach("after_listed");
            configure(writer, order, &made.id).await?;
            Ok(made)
        }
        .boxed()
    }

    fn update<'a>(&'a self, writer: &'a mut Writer<'_>, order: &'a Order, found: &'a Thing) -> Made<'a> {
        async move {
            let (name, _) = named(order);
            if found.properties.get("config_src").and_then(Value::as_text) == Some("local") {
                let message = format!("tunnel `{}` is configured by files on its hosts", found.claim);
                let hint = "define a tunnel of another name, and let the hosts run that one";
                return Err(ProviderError::new(message, Retry::Stalled).hint(hint).into());
            }
            let mut thing = found.clone();
            if found.claim != name {
                let path = writer.provider.account.path(&["cfd_tunnel", &found.id]);
                writer.json(Method::PATCH, &path, json!({ "name": name })).await?;
                thing.claim = name.to_owned();
                thing.properties.insert("name".to_owned(), Value::text(name));
                thing.attributes.insert("name".to_owned(), name.to_owned());
            }
            configure(writer, order, &found.id).await?;
            Ok(thing)
        }
        .boxed()
    }

    fn delete<'a>(&'a self, writer: &'a mut Writer<'_>, found: &'a Thing) -> Gone<'a> {
        async move {
            let path = writer.provider.account.path(&["cfd_tunnel", &found.id]);
            writer.try_write(Method::DELETE, &path, Payload::Empty, &[]).await.map_err(|mut fault| {
                if fault.has(IN_USE) {
                    fault.error.message = format!("tunnel `{}` has active connections, and is not deleted", found.claim);
                    fault.error.hint = Some("stop `cloudflared` on the hosts that run it; the next pass deletes it".to_owned());
                    fault.error.retry = Retry::Transient;
                }
                fault
            })?;
            Ok(())
        }
        .boxed()
    }
}

/// The token by which a host runs the tunnel `id`.
pub(in crate::provider::cloudflare) async fn token(provider: &CloudflareProvider, id: &str) -> Result<Secret, ProviderError> {
    Grammar::Id.check(id)?;
    let path = provider.account.path(&["cfd_tunnel", id, "token"]);
    let token: String = provider.client.get(&path).await.map_err(|fault| fault.error)?;
    Ok(Secret::new(token.into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catch_all_is_not_shown_and_another_one_is() {
        let config = |rules: Json| json!({ "ingress": rules }).as_object().cloned().unwrap();
        let ours = config(
            json!([{ "hostname": "a.example.com", "path": "", "originRequest": {}, "service": "http://localhost:1" }, { "service": CATCH_ALL }]),
        );
        let rule = [("hostname", "a.example.com"), ("service", "http://localhost:1")];
        let rule = Value::Table(rule.into_iter().map(|(key, text)| (key.to_owned(), text.into())).collect());
        assert_eq!(ingress(&ours), Value::List(vec![rule]));
        let theirs = config(json!([{ "service": "http_status:503" }]));
        assert_eq!(ingress(&theirs), Value::List(vec![Value::Table([("service".to_owned(), "http_status:503".into())].into())]));
        assert_eq!(ingress(&Map::new()), Value::List(Vec::new()));
    }
}
