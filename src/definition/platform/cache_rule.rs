//! `[cache_rule.<name>]`: a cache rule of a zone.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{PlatformToml, Writing, zone};
use crate::definition::reading::Reading;
use crate::definition::selector::OnToml;
use crate::document::{Fault, Placed, is_deceptive, shown};
use crate::model::{Address, Kind, Marker, PlatformSpec, Properties, ResourceName, TreeError, Value, parse_interval};

/// Ways to remember without a time of our own.
const MODES: [&str; 2] = ["bypass_by_default", "respect_origin"];

/// Characters of an expression. Source: developers.cloudflare.com/ruleset-engine/rules-language/expressions.
const EXPRESSION: usize = 4096;

/// A cache rule of a zone.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "CacheRule")]
pub(in crate::definition) struct CacheRuleToml {
    /// Where it lives; every target that takes cache rules unless said otherwise.
    on: Option<Placed<OnToml>>,
    /// The zone whose requests it is about, such as `example.com`.
    #[schemars(required)]
    zone: Option<Placed<String>>,
    /// Which requests, in the language of the platform's rules, such as `starts_with(http.request.uri.path, "/static/")`.
    #[schemars(required)]
    expression: Option<Placed<String>>,
    /// For people.
    description: Option<Placed<String>>,
    /// Whether answers are cached; true unless said otherwise.
    cache: Option<Placed<bool>>,
    /// For how long the platform keeps an answer: a time such as `1d`, or `respect_origin`, or `bypass_by_default`.
    edge_ttl: Option<Placed<String>>,
    /// For how long a browser may keep it: the same.
    browser_ttl: Option<Placed<String>>,
    /// Whether the rule is in force; true unless said otherwise.
    enabled: Option<Placed<bool>>,
    /// Its place among our rules of the zone, from the smallest; rules of others keep theirs.
    order: Option<Placed<i64>>,
    /// Its `ref` at the target, where it is not made from its address: that of a rule to take over. Such a rule keeps its place.
    #[serde(rename = "ref")]
    reference: Option<Placed<String>>,
    /// Take over a rule with this `ref` that is there and not ours.
    adopt: Option<bool>,
    /// Its former key, when it was renamed.
    moved: Option<Placed<ResourceName>>,
}

impl CacheRuleToml {
    fn ttl(writing: &mut Writing<'_, '_, '_>, field: &str, written: Option<&Placed<String>>) -> Option<(String, Value)> {
        let written = written?;
        writing.trace(&format!("action_parameters.{field}"), Some(written.place));
        let table = |entries: Vec<(&str, Value)>| {
            let entries = entries.into_iter().map(|(key, value)| (key.to_owned(), value));
            Some((field.to_owned(), Value::Table(entries.collect())))
        };
        if MODES.contains(&written.value.as_str()) {
            return table(vec![("mode", Value::text(&written.value))]);
        }
        match parse_interval(&written.value).ok().and_then(|time| i64::try_from(time.as_secs()).ok()) {
            Some(seconds) => table(vec![("mode", "override_origin".into()), ("default", Value::Integer(seconds))]),
            None => {
                let fault = Fault::new(written.place, format!("`{}` is no time to keep an answer for", shown(&written.value)));
                writing.reading.fault(fault.hint("write a time such as `1d`, or `respect_origin`, or `bypass_by_default`"));
                None
            }
        }
    }

    fn parameters(&self, writing: &mut Writing<'_, '_, '_>) -> Value {
        let cache = self.cache.as_ref().is_none_or(|cache| cache.value);
        writing.trace("action_parameters.cache", self.cache.as_ref().map(|cache| cache.place));
        let times = [("edge_ttl", self.edge_ttl.as_ref()), ("browser_ttl", self.browser_ttl.as_ref())];
        let mut parameters: Properties =
            times.into_iter().filter_map(|(field, written)| Self::ttl(writing, field, written)).collect();
        if let Some(time) = self.edge_ttl.as_ref().filter(|_| !cache) {
            let fault = Fault::new(time.place, "what is not cached is kept for no time");
            writing.reading.fault(fault.hint("remove it, or `cache = false`"));
        }
        parameters.insert("cache".to_owned(), Value::Bool(cache));
        Value::Table(parameters)
    }

    /// One line of text for people or for the platform.
    fn line(writing: &mut Writing<'_, '_, '_>, field: &str, written: &Placed<String>, most: usize) -> Option<Value> {
        writing.trace(field, Some(written.place));
        let text = written.value.trim();
        let clean = |c: char| !is_deceptive(c) || c == '\n';
        if !text.is_empty() && text.chars().count() <= most && text.chars().all(clean) {
            return Some(Value::text(text));
        }
        let fault = Fault::new(written.place, format!("`{}` cannot be the {field} of a rule", shown(&written.value)));
        writing.reading.fault(fault.hint(format!("write 1 to {most} characters")));
        None
    }
}

impl PlatformToml for CacheRuleToml {
    fn on(&self) -> Option<&Placed<OnToml>> {
        self.on.as_ref()
    }
    fn adopt(&self) -> bool {
        self.adopt.unwrap_or_default()
    }
    fn moved(&self) -> Option<&Placed<ResourceName>> {
        self.moved.as_ref()
    }
    fn named(&self) -> Option<&Placed<String>> {
        self.reference.as_ref()
    }
    /// Its `ref` says whose it is, and follows a move.
    fn keeps_its_claim(&self) -> bool {
        false
    }
    fn claim(&self, reading: &mut Reading<'_>, default: Placed<String>) -> Option<String> {
        let Some(written) = &self.reference else { return Some(default.value) };
        let text = written.value.as_str();
        if text.is_empty() || text.len() > 255 || text.starts_with("trunkline:") || !text.bytes().all(|b| b.is_ascii_graphic()) {
            let fault = Fault::new(written.place, format!("`{}` cannot be the `ref` of a rule of another's making", shown(text)));
            reading.fault(fault.hint("write the `ref` of the rule that is to be taken over, or remove it"));
            return None;
        }
        Some(text.to_owned())
    }
    fn spec(&self, writing: &mut Writing<'_, '_, '_>) -> Result<Option<PlatformSpec>, TreeError> {
        let zone = writing.required("zone", self.zone.as_ref(), "write the zone, such as `example.com`");
        let zone = zone.and_then(|zone| writing.reading.check(zone.place, zone::zone(&zone.value)));
        let hint = "write which requests it is about, such as `starts_with(http.request.uri.path, \"/static/\")`";
        let expression = writing.required("expression", self.expression.as_ref(), hint);
        let expression = expression.and_then(|written| Self::line(writing, "expression", written, EXPRESSION));
        let description = self.description.as_ref().and_then(|written| Self::line(writing, "description", written, 500));
        let parameters = self.parameters(writing);
        let order = writing.number("order", self.order.as_ref(), (0, 1_000_000));
        if let (Some(order), Some(_)) = (&self.order, &self.reference) {
            let fault = Fault::new(order.place, "a rule with a `ref` of its own keeps its place");
            writing.reading.fault(fault.hint("remove `order`, or `ref`: then the rule is made anew, with a `ref` of ours"));
        }
        let enabled = writing.flag("enabled", self.enabled.as_ref()).unwrap_or(Value::Bool(true));
        let (Some(zone), Some(expression)) = (zone, expression) else { return Ok(None) };
        let fields = [
            ("zone_name", Some(Value::Text(zone))),
            ("expression", Some(expression)),
            ("description", description),
            ("action_parameters", Some(parameters)),
            ("enabled", Some(enabled)),
            ("order", order),
        ];
        let mut spec = writing.finish(Kind::CacheRule, fields);
        if let Some(spec) = spec.as_mut().filter(|_| self.reference.is_none()) {
            let environment = writing.scope.environment.clone();
            let owner = Address { environment, kind: Kind::CacheRule, name: writing.draft.name.clone() };
            spec.rename(&Marker::owner_tag(&owner));
        }
        Ok(spec)
    }
}
