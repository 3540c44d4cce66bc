//! Cache rules. All rules of a zone are one ordered ruleset, the entrypoint of its cache phase; ours are known by their
//! `ref`, `trunkline:<address>` and, where the definition gives them a place among ours, `:<order>`.
//!
//! **Invariant:** only single rules are written, so that those of others keep their places and their bytes; the ruleset is
//! read anew before each write, one write at a time.

use std::collections::BTreeSet;

use futures_util::FutureExt;
use futures_util::future::try_join_all;
use http::Method;
use serde_json::{Map, Value as Json, json};

use crate::model::{Kind, Marker, Properties, Value};
use crate::provider::cloudflare::CloudflareProvider;
use crate::provider::cloudflare::client::Payload;
use crate::provider::cloudflare::fault::Fault;
use crate::provider::cloudflare::path::{Grammar, path};
use crate::provider::cloudflare::write::Writer;
use crate::provider::cloudflare::zones::within;
use crate::provider::{Order, Outcome};

use super::{Failed, Gone, Listed, Made, Seen, Sort, Thing, answered, picked, text};

pub(super) struct CacheRule;

const PHASE: &str = "http_request_cache_settings";

/// A zone has an entrypoint of this phase already.
const ONE_IS_THERE: u64 = 20217;

/// The attribute of a rule of ours that does not stand where its place says: where it stands.
const MISPLACED: &str = "misplaced";

/// The parameters that definitions know.
const PARAMETERS: [&str; 3] = ["cache", "edge_ttl", "browser_ttl"];

/// The ruleset of a zone.
struct Ruleset {
    zone: String,
    zone_id: String,
    /// `None` where the zone has no rules yet.
    id: Option<String>,
    rules: Vec<Json>,
}

/// A `ref` without the place that it may end with, and that place.
fn split(reference: &str) -> (&str, Option<i64>) {
    let ours = |text: &str| Marker::parse_owner_tag(text).is_some();
    match reference.rsplit_once(':') {
        Some((begin, place)) if ours(begin) => (begin, place.parse().ok()),
        _ => (reference, None),
    }
}

fn reference(claim: &str, order: Option<&Value>) -> String {
    match order {
        Some(Value::Integer(order)) => format!("{claim}:{order}"),
        _ => claim.to_owned(),
    }
}

/// What sorts our rules: those with a place, by it.
fn rank(rule: &Json) -> Option<(i64, &str)> {
    let (claim, order) = split(text(rule, "ref")?);
    Some((order?, claim))
}

impl Ruleset {
    async fn read(provider: &CloudflareProvider, zone: &str) -> Result<Self, Fault> {
        let read = |zone_id: String| async move {
            let path = path(&["zones", &zone_id, "rulesets", "phases", PHASE, "entrypoint"]);
            let found: Json = match provider.client.get(&path).await {
                Ok(found) => found,
                Err(fault) if fault.is_missing() => Json::Null,
                Err(fault) => return Err(fault),
            };
            Ok(Self::of(zone, zone_id, &found))
        };
        within(&provider.client, &provider.account, zone, read).await
    }

    fn of(zone: &str, zone_id: String, found: &Json) -> Self {
        let id = text(found, "id").filter(|id| Grammar::Id.check(id).is_ok()).map(str::to_owned);
        let rules = found.get("rules").and_then(Json::as_array).cloned().unwrap_or_default();
        Self { zone: zone.to_owned(), zone_id, id, rules }
    }

    fn things(&self) -> Vec<Thing> {
        self.rules.iter().enumerate().filter_map(|(at, rule)| self.thing(rule, at)).collect()
    }

    fn thing(&self, rule: &Json, at: usize) -> Option<Thing> {
        let id = text(rule, "id")?;
        Grammar::Id.check(id).ok()?;
        let (claim, order) = split(text(rule, "ref").unwrap_or(id));
        let mut properties = picked(rule, &["expression", "action_parameters", "enabled"]);
        properties.insert("zone_name".to_owned(), Value::text(&self.zone));
        properties.insert("ref".to_owned(), Value::text(claim));
        properties.extend(text(rule, "description").map(|text| ("description".to_owned(), Value::text(text))));
        properties.extend(order.map(|order| ("order".to_owned(), Value::Integer(order))));
        let mut thing = Thing::new(Kind::CacheRule, id, claim, properties);
        thing.stamp = text(rule, "version").map(str::to_owned);
        thing.owner = Marker::parse_owner_tag(claim);
        // Where it stands depends on its neighbours: no part of what it is known by, so that one order for a rule does not
        // stand in the way of the next one for another.
        thing.attributes.extend(self.place(at).map(|place| (MISPLACED.to_owned(), place)));
        Some(thing)
    }

    /// Where a rule of ours stands, in words, if that is not where its place says.
    fn place(&self, at: usize) -> Option<String> {
        let own = rank(self.rules.get(at)?)?;
        let before = self.rules[..at].iter().filter_map(rank).filter(|other| *other > own).max()?;
        Some(format!("behind {}", before.0))
    }

    /// The position at which a rule with this place stands right among ours; `None` where there is no other.
    fn position(&self, (order, claim): (i64, &str), own: Option<&str>) -> Option<Json> {
        let others =
            || self.rules.iter().filter(|rule| text(rule, "id") != own).filter_map(|rule| Some((rank(rule)?, text(rule, "id")?)));
        let next = others().find(|(rank, _)| *rank > (order, claim)).map(|(_, id)| json!({ "before": id }));
        next.or_else(|| others().next_back().map(|(_, id)| json!({ "after": id })))
    }

    fn path(&self, rest: &[&str]) -> String {
        let id = self.id.as_deref().unwrap_or_default();
        path(&[&["zones", self.zone_id.as_str(), "rulesets", id], rest].concat())
    }
}

/// The rule as a whole, as the API takes it; what of the parameters is not ours is as in `found`.
fn rule(order: &Order, found: Option<&Thing>) -> Map<String, Json> {
    let after = order.change.after.clone().unwrap_or_default();
    let mut parameters =
        found.and_then(|found| found.properties.get("action_parameters")?.as_table().cloned()).unwrap_or_default();
    let wanted = after.get("action_parameters").and_then(Value::as_table).cloned().unwrap_or_default();
    let before =
        order.change.before.as_ref().and_then(|before| before.get("action_parameters")?.as_table()).cloned().unwrap_or_default();
    for name in PARAMETERS {
        match (wanted.get(name), before.contains_key(name)) {
            (Some(value), _) => drop(parameters.insert(name.to_owned(), merged(parameters.get(name), value))),
            (None, true) => drop(parameters.remove(name)),
            (None, false) => {}
        }
    }
    let mut body = super::object(&after);
    for ours in ["zone_name", "order"] {
        body.remove(ours);
    }
    if let (Some(found), false) = (found, body.contains_key("description")) {
        let theirs = found.properties.get("description").filter(|_| !before_has(order, "description"));
        body.extend(theirs.and_then(Value::as_text).map(|text| ("description".to_owned(), json!(text))));
    }
    body.insert("ref".to_owned(), json!(reference(&order.change.claim, after.get("order"))));
    body.insert("action".to_owned(), json!("set_cache_settings"));
    body.insert("action_parameters".to_owned(), Json::Object(super::object(&parameters)));
    body
}

fn before_has(order: &Order, field: &str) -> bool {
    order.change.before.as_ref().is_some_and(|before| before.contains_key(field))
}

/// A time to keep answers: ours, with what somebody else set in it beside (times by status).
fn merged(there: Option<&Value>, wanted: &Value) -> Value {
    let (Some(Value::Table(there)), Value::Table(wanted)) = (there, wanted) else { return wanted.clone() };
    let theirs = there.iter().filter(|(key, _)| !matches!(key.as_str(), "mode" | "default"));
    Value::Table(theirs.chain(wanted).map(|(key, value)| (key.clone(), value.clone())).collect())
}

fn made(zone: &Ruleset, answer: &Json, wanted: &str) -> Option<Thing> {
    let all = Ruleset::of(&zone.zone, zone.zone_id.clone(), answer);
    all.things().into_iter().find(|thing| thing.claim == wanted)
}

/// The ruleset, read anew.
async fn fresh(writer: &Writer<'_>, properties: Option<&Properties>) -> Result<Ruleset, Failed> {
    let zone = properties.and_then(super::zone).unwrap_or_default();
    Ruleset::read(writer.provider, zone).await.map_err(|fault| Failed::Outcome(writer.unread(fault)))
}

impl Sort for CacheRule {
    fn kind(&self) -> Kind {
        Kind::CacheRule
    }

    /// Two rules of one `ref`.
    fn taken(&self) -> &'static [u64] {
        &[20126]
    }

    fn is_by_place(&self) -> bool {
        true
    }

    fn list<'a>(&'a self, provider: &'a CloudflareProvider, zones: &'a BTreeSet<String>) -> Listed<'a> {
        async move {
            let reads = zones.iter().map(|zone| Ruleset::read(provider, zone));
            Ok(try_join_all(reads).await?.iter().flat_map(Ruleset::things).collect())
        }
        .boxed()
    }

    /// Where a rule of ours stands among the others, if that is not where its place says.
    fn seen(&self, mut properties: Properties, seen: &Seen<'_>) -> Properties {
        let same =
            |thing: &&Thing| ["ref", "zone_name"].iter().all(|field| thing.properties.get(*field) == properties.get(*field));
        if let Some(place) = seen.all.iter().find(same).and_then(|thing| thing.attributes.get(MISPLACED)) {
            properties.insert("order".to_owned(), Value::text(place));
        }
        properties
    }

    fn create<'a>(&'a self, writer: &'a mut Writer<'_>, order: &'a Order) -> Made<'a> {
        async move {
            let claim = &order.change.claim;
            let _one_at_a_time = writer.provider.account.rules.lock().await;
            let mut zone = fresh(writer, order.change.after.as_ref()).await?;
            let mut body = rule(order, None);
            if zone.id.is_none() {
                let first = json!({ "name": "default", "kind": "zone", "phase": PHASE, "rules": [body] });
                let path = path(&["zones", &zone.zone_id, "rulesets"]);
                match writer.try_write(Method::POST, &path, Payload::Json(first), &[]).await {
                    Ok(answer) => return answered(made(&zone, &answer, claim), Kind::CacheRule, claim),
                    // Somebody made one since it was read.
                    Err(fault) if fault.has(ONE_IS_THERE) => zone = fresh(writer, order.change.after.as_ref()).await?,
                    Err(fault) => return Err(fault.into()),
                }
            }
            if zone.things().iter().any(|thing| thing.claim == *claim) {
                return Err(Failed::Outcome(Outcome::Conflict(format!("a cache rule `{claim}` is there now"))));
            }
            let place = order.change.after.as_ref().and_then(|after| after.get("order"));
            if let Some(Value::Integer(place)) = place {
                body.extend(zone.position((*place, claim), None).map(|position| ("position".to_owned(), position)));
            }
            let answer = writer.try_write(Method::POST, &zone.path(&["rules"]), Payload::Json(Json::Object(body)), &[]).await?;
            answered(made(&zone, &answer, claim), Kind::CacheRule, claim)
        }
        .boxed()
    }

    fn update<'a>(&'a self, writer: &'a mut Writer<'_>, order: &'a Order, found: &'a Thing) -> Made<'a> {
        async move {
            let claim = &order.change.claim;
            let _one_at_a_time = writer.provider.account.rules.lock().await;
            let zone = fresh(writer, Some(&found.properties)).await?;
            let Some(now) = zone.things().into_iter().find(|thing| thing.id == found.id) else {
                return Err(Failed::Outcome(Outcome::Conflict(format!("cache rule `{}` is gone", found.claim))));
            };
            // Where our own rules stand may have changed by another order; what the rule says may not.
            if now.stamp != found.stamp {
                let message = format!("cache rule `{}` was changed since it was planned for", found.claim);
                return Err(Failed::Outcome(Outcome::Conflict(message)));
            }
            let mut body = rule(order, Some(&now));
            let place = order.change.after.as_ref().and_then(|after| after.get("order"));
            let stands = place == now.properties.get("order") && !now.attributes.contains_key(MISPLACED);
            if let (Some(Value::Integer(order)), false) = (place, stands) {
                body.extend(zone.position((*order, claim), Some(&now.id)).map(|position| ("position".to_owned(), position)));
            }
            let path = zone.path(&["rules", &now.id]);
            let answer = writer.try_write(Method::PATCH, &path, Payload::Json(Json::Object(body)), &[]).await?;
            answered(made(&zone, &answer, claim), Kind::CacheRule, claim)
        }
        .boxed()
    }

    fn delete<'a>(&'a self, writer: &'a mut Writer<'_>, found: &'a Thing) -> Gone<'a> {
        async move {
            let _one_at_a_time = writer.provider.account.rules.lock().await;
            let zone = fresh(writer, Some(&found.properties)).await?;
            writer.try_write(Method::DELETE, &zone.path(&["rules", &found.id]), Payload::Empty, &[]).await?;
            Ok(())
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(references: &[&str]) -> Ruleset {
        let rules = references.iter().map(|reference| json!({ "id": reference.replace([':', '/', '.'], "-"), "ref": reference }));
        Ruleset { zone: "example.com".into(), zone_id: "z".into(), id: Some("r".into()), rules: rules.collect() }
    }

    #[test]
    fn a_ref_says_whose_a_rule_is_and_where_it_stands() {
        assert_eq!(split("trunkline:production/cache_rule.a:10"), ("trunkline:production/cache_rule.a", Some(10)));
        assert_eq!(split("trunkline:production/cache_rule.a"), ("trunkline:production/cache_rule.a", None));
        assert_eq!(split("theirs:10"), ("theirs:10", None));
    }

    #[test]
    fn ours_stand_in_their_order_and_those_of_others_do_not_count() {
        let tag = |name: &str, order: i64| format!("trunkline:production/cache_rule.{name}:{order}");
        let (a, b, c) = (tag("a", 10), tag("b", 20), tag("c", 30));
        let right = zone(&["theirs", &a, "theirs2", &b]);
        assert_eq!((right.place(1), right.place(3)), (None, None));
        let claim = "trunkline:production/cache_rule.c";
        assert_eq!(right.position((15, claim), None), Some(json!({ "before": "trunkline-production-cache_rule-b-20" })));
        assert_eq!(right.position((30, claim), None), Some(json!({ "after": "trunkline-production-cache_rule-b-20" })));
        assert_eq!(zone(&["theirs"]).position((30, claim), None), None);
        let wrong = zone(&[&c, &a]);
        assert_eq!((wrong.place(0), wrong.place(1)), (None, Some("behind 30".to_owned())));
    }
}
