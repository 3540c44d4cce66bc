//! A node as serde sees it.
//!
//! Goes in: a [`Node`] and what is known of its table. Comes out: what a visitor made of it, or the first fault; keys
//! that a struct does not have are noted in the [`Context`] and passed over.
//!
//! **Invariant:** text that stands where a reference to a secret belongs is never shown.

use std::cell::RefCell;
use std::collections::BTreeMap;

use serde::de::value::StrDeserializer;
use serde::de::{Deserializer, Visitor};
use serde::forward_to_deserialize_any;

use super::super::fault::{Fault, shown};
use super::super::node::{Node, Place, Value};
use super::super::placed;
use super::super::suggest::did_you_mean;
use super::Absent;
use super::access::{Fields, Items, PlacedAccess, Variant};
use super::error::DecodeError;

/// How the serde name of enums begins that say where a secret comes from: text in their place may be the secret itself.
const SECRET_REFERENCE: &str = "secret reference";

#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    /// By the place of the key: a table is decoded more than once.
    pub(super) unknown: &'a RefCell<BTreeMap<Place, Fault>>,
    pub(super) later: &'a [Absent],
}

#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    pub(super) node: &'a Node,
    pub(super) context: Context<'a>,
}

impl<'a> Reader<'a> {
    fn text<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match &self.node.value {
            Value::Text(text) => visitor.visit_str(text).map_err(|error| self.at(error)),
            _ => Err(DecodeError::wrong_sort("text", self.node)),
        }
    }

    fn at(self, mut error: DecodeError) -> DecodeError {
        error.place.get_or_insert(self.node.place);
        error
    }

    fn unknown_key(self, key: &str, place: Place, fields: &[&str]) {
        let fault = if let Some(absent) = self.context.later.iter().find(|absent| absent.key == key) {
            let fault = Fault::new(place, format!("`{}` is not supported by this version", shown(key)));
            match absent.reason {
                "" => fault.hint("remove it, or use a version of trunkline that has it"),
                reason => fault.hint(format!("remove it: {reason}")),
            }
        } else {
            let list = fields.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            Fault::new(place, format!("unknown key `{}`", shown(key)))
                .hint(did_you_mean(key, fields.iter().copied()).unwrap_or_else(|| format!("the keys of this table are {list}")))
        };
        self.context.unknown.borrow_mut().insert(place, fault);
    }
}

macro_rules! number {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
            match &self.node.value {
                Value::Integer(number) => visitor.visit_i64(*number).map_err(|error| self.at(error)),
                _ => Err(DecodeError::wrong_sort("an integer", self.node)),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match &self.node.value {
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Integer(number) => visitor.visit_i64(*number),
            Value::Float(number) if number.is_finite() => visitor.visit_f64(*number),
            Value::Float(_) => Err(DecodeError::new("a number must be finite")),
            Value::Text(text) => visitor.visit_str(text),
            Value::Datetime(_) => return Err(DecodeError::wrong_sort("text", self.node)),
            Value::Array(_) => return self.deserialize_seq(visitor),
            Value::Table(_) => return self.deserialize_map(visitor),
        }
        .map_err(|error| self.at(error))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match &self.node.value {
            Value::Bool(value) => visitor.visit_bool(*value).map_err(|error| self.at(error)),
            _ => Err(DecodeError::wrong_sort("a boolean", self.node)),
        }
    }

    number! { deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.text(visitor)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.text(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match &self.node.value {
            Value::Array(items) => visitor.visit_seq(Items::new(items, self.context)),
            _ => Err(DecodeError::wrong_sort("an array", self.node)),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match &self.node.value {
            Value::Table(table) => {
                let entries: Vec<_> = table.iter().collect();
                visitor.visit_map(Fields::new(entries, self.context))
            }
            _ => Err(DecodeError::wrong_sort("a table", self.node)),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        if name == placed::NAME {
            return visitor.visit_map(PlacedAccess::new(self));
        }
        let Value::Table(table) = &self.node.value else {
            return Err(DecodeError::wrong_sort("a table", self.node));
        };
        let (known, unknown): (Vec<_>, Vec<_>) = table.iter().partition(|(key, _)| fields.contains(&key.as_ref()));
        for (key, entry) in unknown {
            self.unknown_key(key, entry.key, fields);
        }
        visitor.visit_map(Fields::new(known, self.context)).map_err(|error| self.at(error))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        match &self.node.value {
            Value::Text(_) if name.starts_with(SECRET_REFERENCE) => {
                // Maybe somebody wrote the token itself.
                let mut error = DecodeError::wrong_sort("a table", self.node);
                error.hint = Some("write `{ secret = \"name\" }`; never write a secret in the clear".to_owned());
                error.masked = true;
                Err(error)
            }
            Value::Text(text) => visitor.visit_enum(StrDeserializer::<DecodeError>::new(text)).map_err(|error| self.at(error)),
            Value::Table(table) => {
                let list = variants.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" or ");
                for (key, entry) in table {
                    if !variants.contains(&key.as_ref()) {
                        self.unknown_key(key, entry.key, variants);
                    }
                }
                let mut known = table.iter().filter(|(key, _)| variants.contains(&key.as_ref()));
                match (known.next(), known.next()) {
                    (Some((key, entry)), None) => visitor.visit_enum(Variant { key, entry, context: self.context }),
                    (Some(_), Some((_, second))) => {
                        let mut error = DecodeError::new(format!("exactly one of {list} is expected"));
                        error.place = Some(second.key);
                        Err(error)
                    }
                    (None, _) => Err(self.at(DecodeError::new(format!("exactly one of {list} is expected")))),
                }
            }
            _ => Err(DecodeError::wrong_sort("a table", self.node)),
        }
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.text(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! { i128 u128 f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct }
}
