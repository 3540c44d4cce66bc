//! The environment of a program: text, and secrets.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use super::Writing;
use super::container_words as words;
use crate::document::{Entries, Placed, shown};
use crate::model::{Properties, ResourceName, Value};

/// The value of a variable.
#[derive(Debug)]
pub(super) enum EnvToml {
    Text(String),
    Secret(Placed<ResourceName>),
}

impl<'de> Deserialize<'de> for EnvToml {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Variable;
        impl<'de> Visitor<'de> for Variable {
            type Value = EnvToml;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text, or `{ secret = \"name\" }`")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<EnvToml, E> {
                Ok(EnvToml::Text(text.to_owned()))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<EnvToml, A::Error> {
                match map.next_key::<String>()? {
                    Some(key) if key == "secret" => {
                        let secret = map.next_value()?;
                        match map.next_key::<String>()? {
                            None => Ok(EnvToml::Secret(secret)),
                            Some(key) => Err(A::Error::custom(format!("found `{}` beside `secret`", shown(&key)))),
                        }
                    }
                    Some(key) => Err(A::Error::custom(format!("expected the key `secret`, found `{}`", shown(&key)))),
                    None => Err(A::Error::custom("expected the key `secret`")),
                }
            }
        }
        deserializer.deserialize_any(Variable)
    }
}

impl JsonSchema for EnvToml {
    fn schema_name() -> Cow<'static, str> {
        "Variable".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Text, or a secret of this environment.",
            "anyOf": [
                { "type": "string" },
                {
                    "type": "object",
                    "properties": { "secret": { "description": "The key of the secret.", "type": "string" } },
                    "required": ["secret"],
                    "additionalProperties": false
                }
            ]
        })
    }
}

/// The variables, with those that are secrets added to `secrets`.
pub(super) fn environment(
    writing: &mut Writing<'_, '_, '_>,
    Entries(entries): &Entries<Placed<EnvToml>>,
    secrets: &mut Vec<(String, ResourceName)>,
) -> Value {
    let mut table = Properties::new();
    for (key, Placed { place, value }) in entries {
        let Some(name) = writing.reading.check(key.place, words::variable(&key.value)) else { continue };
        match value {
            EnvToml::Text(text) => {
                table.extend(writing.reading.check(*place, words::line(text)).map(|text| (name, Value::Text(text))));
            }
            EnvToml::Secret(secret) => {
                writing.scope.secret(writing.reading, secret);
                secrets.push((format!("env/{name}"), secret.value.clone()));
            }
        }
    }
    Value::Table(table)
}
