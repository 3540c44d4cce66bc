//! Properties: the one form in which desired and observed are compared, rendered and recorded.
//!
//! Sets are tables keyed by their items (`crons`, `routes`, `bindings`), so that a three-way comparison can tell an
//! item of ours that left from one that was never ours.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::address::{Address, InstanceKey};
use super::digest::Content;
use super::name::TargetName;

/// Named values, sorted by name.
pub type Properties = BTreeMap<String, Value>;

/// A value that is only known once another resource has been applied, such as the `id` of a KV namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pending {
    /// The resource that will have it.
    pub address: Address,
    /// Which of its attributes.
    pub attribute: String,
    /// Where that resource is, if not on the same target: a file on a host has the token of a tunnel of an account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<TargetName>,
}

/// The attribute of a tunnel that is no name of anything, but what stands for its token: see [`SecretMark::as_attribute`].
pub const TOKEN: &str = "token";

impl Pending {
    /// The instance that will have it, for one that needs it on `target`.
    pub fn instance(&self, target: &TargetName) -> InstanceKey {
        self.address.on(self.target.as_ref().unwrap_or(target).clone())
    }

    /// The value, now that the attribute is known.
    pub fn known(&self, attribute: String) -> Value {
        match self.attribute.as_str() {
            TOKEN => Value::Secret { mark: SecretMark::of_attribute(attribute) },
            _ => Value::Text(attribute),
        }
    }
}

/// What stands for a secret value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretMark {
    /// HMAC-SHA256 under the environment's digest key, 64 hex digits.
    Hmac(String),
    /// The value cannot be compared: no identity here, or somebody else may have written it there.
    Unknown,
}

/// How an attribute says that a mark cannot be had.
const NO_MARK: &str = "unknown";

impl SecretMark {
    /// The mark as an attribute of what has the secret.
    pub fn as_attribute(&self) -> String {
        match self {
            Self::Hmac(mark) => mark.clone(),
            Self::Unknown => NO_MARK.to_owned(),
        }
    }

    fn of_attribute(attribute: String) -> Self {
        if attribute == NO_MARK { Self::Unknown } else { Self::Hmac(attribute) }
    }
}

/// One property.
///
/// As JSON: text, integers, booleans, lists and tables as themselves; the rest as a table with one `$` key:
/// `{"$content":{"sha256":"…","size":3}}`, `{"$secret":{"hmac":"…"}}`, `{"$secret":"unknown"}`,
/// `{"$pending":{"address":"production/kv.sessions","attribute":"id"}}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// True or false.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// Text.
    Text(String),
    /// An ordered list.
    List(Vec<Value>),
    /// Bytes, by their digest.
    Content {
        /// What stands for the bytes.
        #[serde(rename = "$content")]
        content: Content,
    },
    /// A secret, by its mark.
    Secret {
        /// What stands for the value.
        #[serde(rename = "$secret")]
        mark: SecretMark,
    },
    /// Not known yet.
    Pending {
        /// Where it will come from.
        #[serde(rename = "$pending")]
        pending: Pending,
    },
    /// A table; no key of it begins with `$`.
    Table(Properties),
}

impl Value {
    /// A value of an API; `None` for `null`. A number that is not whole is text, in its shortest form, so that properties
    /// can be compared and digested.
    pub fn of_json(json: &serde_json::Value) -> Option<Self> {
        use serde_json::Value as Json;
        Some(match json {
            Json::Null => return None,
            Json::Bool(flag) => Self::Bool(*flag),
            Json::Number(number) => whole(number).map_or_else(|| Self::Text(number.to_string()), Self::Integer),
            Json::String(text) => Self::text(text),
            Json::Array(items) => Self::List(items.iter().filter_map(Self::of_json).collect()),
            Json::Object(fields) => {
                Self::Table(fields.iter().filter_map(|(key, json)| Some((key.clone(), Self::of_json(json)?))).collect())
            }
        })
    }

    /// A text value.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// A table with `entries`.
    pub fn table<const N: usize>(entries: [(&str, Self); N]) -> Self {
        Self::Table(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
    }

    /// The text, where it is one.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The table, where it is one.
    pub fn as_table(&self) -> Option<&Properties> {
        match self {
            Self::Table(table) => Some(table),
            _ => None,
        }
    }
}

/// The whole number that `number` is, `1.0` included.
fn whole(number: &serde_json::Number) -> Option<i64> {
    number.as_i64().or_else(|| {
        let text = number.as_f64().filter(|value| value.fract() == 0.0)?.to_string();
        text.parse().ok()
    })
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<Content> for Value {
    fn from(content: Content) -> Self {
        Self::Content { content }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_an_api_have_one_form() {
        let of = |text: &str| Value::of_json(&serde_json::from_str(text).unwrap());
        assert_eq!(of("1.0"), Some(Value::Integer(1)));
        assert_eq!(of("1"), Some(Value::Integer(1)));
        assert_eq!(of("0.10"), Some(Value::text("0.1")));
        assert_eq!(of("null"), None);
    }

    #[test]
    fn every_sort_of_value_survives_json() {
        let values = [
            Value::Bool(true),
            Value::Integer(-3),
            Value::text("x"),
            Value::List(vec![Value::text("a"), Value::Integer(1)]),
            Value::from(Content::of(b"abc")),
            Value::Secret { mark: SecretMark::Hmac("00".into()) },
            Value::Secret { mark: SecretMark::Unknown },
            Value::Pending {
                pending: Pending { address: "production/kv.sessions".parse().unwrap(), attribute: "id".into(), target: None },
            },
            Value::Pending {
                pending: Pending {
                    address: "production/tunnel.origin".parse().unwrap(),
                    attribute: TOKEN.into(),
                    target: Some("main".parse().unwrap()),
                },
            },
            Value::Table([("a".to_owned(), Value::Table(Properties::new()))].into()),
        ];
        for value in values {
            let json = serde_json::to_string(&value).unwrap();
            assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), value, "{json}");
        }
    }
}
