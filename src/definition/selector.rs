//! The selector `on`: which targets an instance lives on.
//!
//! Goes in: a table of names of targets, a region and labels. Comes out: [`OnToml`], each part with its place.
//!
//! **Invariant:** any key but `targets` is a label; nothing is looked up here.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

use crate::document::Placed;
use crate::model::TargetName;

/// Selects targets: all that is said must match.
#[derive(Debug, Default)]
pub(super) struct OnToml {
    /// Names of targets.
    pub(super) targets: Option<Placed<Vec<Placed<TargetName>>>>,
    /// Labels, `region` among them.
    pub(super) labels: Vec<(Placed<String>, Placed<String>)>,
}

impl<'de> Deserialize<'de> for OnToml {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Selector;
        impl<'de> Visitor<'de> for Selector {
            type Value = OnToml;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<OnToml, A::Error> {
                let mut on = OnToml::default();
                while let Some(key) = map.next_key::<Placed<String>>()? {
                    if key.value == "targets" {
                        on.targets = Some(map.next_value()?);
                    } else {
                        on.labels.push((key, map.next_value()?));
                    }
                }
                Ok(on)
            }
        }
        deserializer.deserialize_map(Selector)
    }
}

impl JsonSchema for OnToml {
    fn schema_name() -> Cow<'static, str> {
        "On".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Selects targets by name, by region or by any label; all that is said must match.",
            "type": "object",
            "properties": {
                "targets": { "description": "Names of targets.", "type": "array", "items": { "type": "string" } },
                "region": { "description": "The region of the targets.", "type": "string" },
                "role": { "description": "The label `role` of the targets.", "type": "string" }
            },
            "additionalProperties": { "type": "string" }
        })
    }
}
