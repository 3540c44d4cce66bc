//! `[dns.<name>]`: a DNS record.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use super::{PlatformToml, Writing, zone};
use crate::definition::reading::Reading;
use crate::definition::selector::OnToml;
use crate::document::{Fault, Placed, is_deceptive, shown};
use crate::model::{Address, Kind, Marker, PlatformSpec, ResourceName, TreeError, Value, dns};

/// What others know of a tunnel: the host that stands for it.
const HOST_OF_TUNNEL: &str = "hostname";

const CONTENT_HINT: &str = "write what the record says, such as `content = \"192.0.2.1\"`";

/// A DNS record.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Dns")]
pub(in crate::definition) struct DnsToml {
    /// Where it lives; every target that takes DNS records unless said otherwise.
    on: Option<Placed<OnToml>>,
    /// The zone that it lies in, such as `example.com`.
    #[schemars(required)]
    zone: Option<Placed<String>>,
    /// `A`, `AAAA`, `CAA`, `CNAME`, `MX`, `NS`, `PTR`, `SRV` or `TXT`.
    #[serde(rename = "type")]
    #[schemars(required)]
    sort: Option<Placed<String>>,
    /// Its whole name, such as `api.example.com`.
    #[schemars(required)]
    name: Option<Placed<String>>,
    /// An address, a host, a text; or `{ tunnel = "origin" }`, a tunnel of this environment.
    #[schemars(required)]
    content: Option<Placed<ContentToml>>,
    /// For how many seconds others may remember it; 1, which is automatic, unless said otherwise.
    ttl: Option<Placed<i64>>,
    /// Whether the platform stands between the name and those who ask for it; false unless said otherwise.
    proxied: Option<Placed<bool>>,
    /// Of several, the smallest is asked first: `MX` and `SRV` only.
    priority: Option<Placed<i64>>,
    /// For people. Our mark is written behind it.
    comment: Option<Placed<String>>,
    /// Take over a record that is there and not ours: of a `CNAME` by its name, of others also by their content.
    adopt: Option<bool>,
    /// Its former key, when it was renamed.
    moved: Option<Placed<ResourceName>>,
}

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::definition) enum ContentToml {
    Text(String),
    Tunnel(Placed<ResourceName>),
}

impl<'de> Deserialize<'de> for ContentToml {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Content;
        impl<'de> Visitor<'de> for Content {
            type Value = ContentToml;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text, or a table such as `{ tunnel = \"origin\" }`")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<ContentToml, E> {
                Ok(ContentToml::Text(text.to_owned()))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ContentToml, A::Error> {
                match map.next_key::<String>()? {
                    Some(key) if key == "tunnel" => {
                        let tunnel = map.next_value()?;
                        match map.next_key::<String>()? {
                            None => Ok(ContentToml::Tunnel(tunnel)),
                            Some(key) => Err(A::Error::custom(format!("found `{}` beside `tunnel`", shown(&key)))),
                        }
                    }
                    Some(key) => Err(A::Error::custom(format!("expected the key `tunnel`, found `{}`", shown(&key)))),
                    None => Err(A::Error::custom("expected the key `tunnel`, found an empty table")),
                }
            }
        }
        deserializer.deserialize_any(Content)
    }
}

impl JsonSchema for ContentToml {
    fn schema_name() -> Cow<'static, str> {
        "DnsContent".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "An address, a host, a text; or the key of a tunnel of this environment.",
            "oneOf": [
                { "type": "string" },
                {
                    "type": "object",
                    "properties": { "tunnel": { "description": "The key of a tunnel of this environment.", "type": "string" } },
                    "required": ["tunnel"],
                    "additionalProperties": false
                }
            ]
        })
    }
}

impl DnsToml {
    /// Type, name and content in their one form; `None` where something is wrong with one of them, which is told elsewhere.
    fn parts(&self) -> Option<(&str, String, String)> {
        let sort = self.sort.as_ref().map(|sort| sort.value.as_str()).filter(|sort| dns::TYPES.contains(sort))?;
        let zone = zone::zone(&self.zone.as_ref()?.value).ok()?;
        let name = zone::host(&self.name.as_ref()?.value, &zone).ok()?;
        let content = match &self.content.as_ref()?.value {
            ContentToml::Text(text) => dns::content(sort, text).ok()?,
            ContentToml::Tunnel(_) => String::new(),
        };
        Some((sort, name, content))
    }

    fn content(&self, writing: &mut Writing<'_, '_, '_>, sort: &str) -> Option<Value> {
        let written = writing.required("content", self.content.as_ref(), CONTENT_HINT)?;
        writing.trace("content", Some(written.place));
        match &written.value {
            ContentToml::Text(text) => match dns::content(sort, text) {
                Ok(content) => Some(Value::Text(content)),
                Err(expected) => {
                    let message = format!("`{}` is not the content of a record of the type {sort}", shown(text));
                    writing.reading.fault(Fault::new(written.place, message).hint(format!("write {expected}")));
                    None
                }
            },
            ContentToml::Tunnel(tunnel) if sort == "CNAME" => writing.pending(Kind::Tunnel, tunnel, HOST_OF_TUNNEL),
            ContentToml::Tunnel(tunnel) => {
                let message = format!("a tunnel is a host, and no content of a record of the type {sort}");
                writing.reading.fault(Fault::new(tunnel.place, message).hint("write `type = \"CNAME\"`"));
                None
            }
        }
    }

    fn ttl(&self, writing: &mut Writing<'_, '_, '_>, proxied: bool) -> Value {
        let Some(ttl) = &self.ttl else { return Value::Integer(1) };
        writing.trace("ttl", Some(ttl.place));
        if ttl.value != 1 && !(30..=86_400).contains(&ttl.value) {
            let fault = Fault::new(ttl.place, format!("{} is no time that a record can be remembered for", ttl.value));
            writing.reading.fault(fault.hint("write 60 to 86400 seconds (on Enterprise from 30), or 1, which is automatic"));
        } else if proxied && ttl.value != 1 {
            let fault = Fault::new(ttl.place, "a record that is proxied has the automatic time, whatever is written here");
            writing.reading.warn(fault.hint("remove `ttl`, or write 1"));
            return Value::Integer(1);
        }
        Value::Integer(ttl.value)
    }

    fn priority(&self, writing: &mut Writing<'_, '_, '_>, sort: &str) -> Option<Value> {
        match (&self.priority, dns::has_priority(sort)) {
            (written, true) => {
                let hint = "write a number; of several records, the smallest is asked first";
                let written = writing.required("priority", written.as_ref(), hint)?;
                writing.number("priority", Some(written), (0, 65_535))
            }
            (Some(written), false) => {
                let fault = Fault::new(written.place, format!("a record of the type {sort} has no priority"));
                writing.reading.fault(fault.hint("remove it"));
                None
            }
            (None, false) => None,
        }
    }

    fn comment(&self, writing: &mut Writing<'_, '_, '_>) -> Option<Value> {
        let written = self.comment.as_ref()?;
        writing.trace("comment", Some(written.place));
        let text = written.value.as_str();
        let environment = writing.scope.environment.clone();
        let owner = Address { environment, kind: Kind::Dns, name: writing.draft.name.clone() };
        let whole = dns::comment(text, &owner).chars().count();
        let mark = Marker::owner_tag(&owner);
        if text.chars().any(is_deceptive) || text.trim() != text || dns::split_comment(text).1.is_some() {
            let fault = Fault::new(written.place, format!("`{}` cannot be a comment", shown(text)));
            writing.reading.fault(fault.hint("write one line, without spaces at its ends and without a mark of ours"));
        } else if whole > dns::COMMENT_LIMIT {
            let message = format!("with the mark `{mark}`, which is written behind it, the comment has {whole} characters");
            let hint = format!("a comment has at most {}", dns::COMMENT_LIMIT);
            writing.reading.fault(Fault::new(written.place, message).hint(hint));
        } else if whole > dns::COMMENT_OF_EVERY_PLAN {
            let message = format!("with the mark `{mark}`, which is written behind it, the comment has {whole} characters");
            let hint = format!("a zone of the free plan takes {}", dns::COMMENT_OF_EVERY_PLAN);
            writing.reading.warn(Fault::new(written.place, message).hint(hint));
        }
        (!text.is_empty()).then(|| Value::text(text))
    }
}

impl PlatformToml for DnsToml {
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
        self.name.as_ref()
    }
    fn claim(&self, _reading: &mut Reading<'_>, _default: Placed<String>) -> Option<String> {
        self.parts().map(|(sort, name, content)| dns::claim(sort, &name, &content))
    }
    fn spec(&self, writing: &mut Writing<'_, '_, '_>) -> Result<Option<PlatformSpec>, TreeError> {
        let zone = writing.required("zone", self.zone.as_ref(), "write the zone that it lies in, such as `example.com`");
        let zone = zone.and_then(|zone| writing.reading.check(zone.place, zone::zone(&zone.value)));
        let name = writing.required("name", self.name.as_ref(), "write its whole name, such as `api.example.com`");
        let name =
            name.zip(zone.as_ref()).and_then(|(name, zone)| writing.reading.check(name.place, zone::host(&name.value, zone)));
        let sort = writing.required("type", self.sort.as_ref(), "write its type, such as `CNAME`");
        let Some(sort) = sort.and_then(|sort| writing.word("type", Some(sort), &dns::TYPES)) else {
            writing.required("content", self.content.as_ref(), CONTENT_HINT);
            return Ok(None);
        };
        let text = sort.as_text().unwrap_or_default().to_owned();
        let proxied = self.proxied.as_ref().is_some_and(|proxied| proxied.value);
        if let Some(written) = self.proxied.as_ref().filter(|_| proxied && !dns::is_proxiable(&text)) {
            let fault = Fault::new(written.place, format!("a record of the type {text} cannot be proxied"));
            writing.reading.fault(fault.hint("remove it; `A`, `AAAA` and `CNAME` can be"));
        }
        writing.trace("proxied", self.proxied.as_ref().map(|proxied| proxied.place));
        let (content, ttl) = (self.content(writing, &text), self.ttl(writing, proxied));
        let (priority, comment) = (self.priority(writing, &text), self.comment(writing));
        let (Some(zone), Some(name), Some(content)) = (zone, name, content) else { return Ok(None) };
        let fields = [
            ("zone_name", Some(Value::Text(zone))),
            ("type", Some(sort)),
            ("name", Some(Value::Text(name))),
            ("content", Some(content)),
            ("ttl", Some(ttl)),
            ("proxied", dns::is_proxiable(&text).then_some(Value::Bool(proxied))),
            ("priority", priority),
            ("comment", comment),
        ];
        Ok(writing.finish(Kind::Dns, fields))
    }
}
