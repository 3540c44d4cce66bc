//! Nodes to written types, with every fault.
//!
//! A [`serde::Deserializer`] over [`Node`]. It skips and reports the keys that a struct does not have (so that all of
//! them are found, with the nearest name), and after a fault in a value the value is dropped and the table is decoded
//! again: a table yields all its faults, and a value of the written type besides.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde::de::value::{StrDeserializer, StringDeserializer};
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error as _, Expected, IntoDeserializer, MapAccess, SeqAccess,
    Unexpected, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::fault::{Fault, shown};
use super::node::{Entry, Node, Place, Value};
use super::placed;
use super::suggest::did_you_mean;

/// How many values of one table are dropped before decoding gives up.
const MAX_FAULTS: usize = 64;

/// How the serde name of enums begins that say where a secret comes from: text in their place may be the secret itself.
const SECRET_REFERENCE: &str = "secret reference";

/// What became of a table.
#[derive(Debug)]
pub struct Decoded<T> {
    /// The value, without what could not be read; `None` where nothing of it could.
    pub value: Option<T>,
    /// Every fault.
    pub faults: Vec<Fault>,
    /// The keys of the table that were dropped in whole or in part: whoever misses one is not to complain again.
    pub dropped: BTreeSet<String>,
}

/// Decodes `node` as a `T`. `later` names keys that another version of the format has.
pub fn decode<T: DeserializeOwned>(node: &Node, later: &[&str]) -> Decoded<T> {
    let mut node = Cow::Borrowed(node);
    let unknown = RefCell::new(BTreeMap::new());
    let mut faults = BTreeSet::new();
    let mut dropped = BTreeSet::new();
    let value = loop {
        let context = Context { unknown: &unknown, later };
        let Err(error) = T::deserialize(Reader { node: &node, context }) else {
            break T::deserialize(Reader { node: &node, context }).ok();
        };
        let path = error.path.iter().rev().cloned().collect::<Vec<_>>();
        let place = error.place.unwrap_or(node.place);
        faults.insert(Fault {
            place,
            message: error.message,
            label: error.label,
            hint: error.hint,
            related: Vec::new(),
            masked: error.masked,
        });
        if let Some(Step::Key(key)) = path.first() {
            dropped.insert(key.to_string());
        }
        if faults.len() > MAX_FAULTS || !remove(node.to_mut(), &path) {
            break None;
        }
    };
    let mut faults: Vec<Fault> = faults.into_iter().chain(unknown.into_inner().into_values()).collect();
    faults.sort();
    Decoded { value, faults, dropped }
}

/// Takes what stands at `path` out of `node`; `false` where that is `node` itself.
fn remove(node: &mut Node, path: &[Step]) -> bool {
    match (path, &mut node.value) {
        ([Step::Key(key)], Value::Table(table)) => table.remove(key.as_ref()).is_some(),
        ([Step::Index(index)], Value::Array(items)) if *index < items.len() => {
            items.remove(*index);
            true
        }
        ([Step::Key(key), rest @ ..], Value::Table(table)) => {
            table.get_mut(key.as_ref()).is_some_and(|entry| remove(&mut entry.node, rest))
        }
        ([Step::Index(index), rest @ ..], Value::Array(items)) => items.get_mut(*index).is_some_and(|item| remove(item, rest)),
        _ => false,
    }
}

#[derive(Debug, Clone)]
enum Step {
    Key(Arc<str>),
    Index(usize),
}

#[derive(Debug)]
struct DecodeError {
    message: String,
    label: Option<String>,
    hint: Option<String>,
    masked: bool,
    place: Option<Place>,
    /// From the inside out.
    path: Vec<Step>,
}

impl DecodeError {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), label: None, hint: None, masked: false, place: None, path: Vec::new() }
    }

    fn within(mut self, step: Step, place: Place) -> Self {
        self.path.push(step);
        self.place.get_or_insert(place);
        self
    }

    fn wrong_sort(expected: &str, found: &Node) -> Self {
        let mut error = Self::new(format!("expected {expected}, found {}", found.value.sort()));
        error.place = Some(found.place);
        error.hint = match (&found.value, expected) {
            (Value::Integer(_) | Value::Float(_) | Value::Bool(_) | Value::Datetime(_), "text") => {
                Some("put it in quotes".to_owned())
            }
            (Value::Text(_), "an array") => Some("put it in brackets: `[\"…\"]`".to_owned()),
            (Value::Text(text), "a boolean") if matches!(text.as_ref(), "true" | "false") => {
                Some(format!("write `{text}` without quotes"))
            }
            _ => None,
        };
        error
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for DecodeError {}

impl serde::de::Error for DecodeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }
    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("expected {expected}, found {}", shown(&unexpected.to_string())))
    }
    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("expected {expected}, found {}", shown(&unexpected.to_string())))
    }
    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let list = expected.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let mut error = Self::new(format!("`{}` is not one of {list}", shown(variant)));
        error.hint = did_you_mean(variant, expected.iter().copied());
        error
    }
    fn missing_field(field: &'static str) -> Self {
        Self::new(format!("the key `{field}` is missing"))
    }
    fn duplicate_field(field: &'static str) -> Self {
        Self::new(format!("the key `{field}` stands here twice"))
    }
}

#[derive(Clone, Copy)]
struct Context<'a> {
    /// By the place of the key: a table is decoded more than once.
    unknown: &'a RefCell<BTreeMap<Place, Fault>>,
    later: &'a [&'a str],
}

#[derive(Clone, Copy)]
struct Reader<'a> {
    node: &'a Node,
    context: Context<'a>,
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
        let fault = if self.context.later.contains(&key) {
            Fault::new(place, format!("`{}` is not supported by this version", shown(key)))
                .hint("remove it, or use a version of trunkline that has it")
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
            Value::Array(items) => visitor.visit_seq(Items { items, next: 0, context: self.context }),
            _ => Err(DecodeError::wrong_sort("an array", self.node)),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match &self.node.value {
            Value::Table(table) => {
                let entries: Vec<_> = table.iter().collect();
                visitor.visit_map(Fields { entries, next: 0, context: self.context })
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
            return visitor.visit_map(PlacedAccess { reader: self, next: 0 });
        }
        let Value::Table(table) = &self.node.value else {
            return Err(DecodeError::wrong_sort("a table", self.node));
        };
        let (known, unknown): (Vec<_>, Vec<_>) = table.iter().partition(|(key, _)| fields.contains(&key.as_ref()));
        for (key, entry) in unknown {
            self.unknown_key(key, entry.key, fields);
        }
        visitor.visit_map(Fields { entries: known, next: 0, context: self.context }).map_err(|error| self.at(error))
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

struct Items<'a> {
    items: &'a [Node],
    next: usize,
    context: Context<'a>,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = DecodeError;
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, DecodeError> {
        let Some(node) = self.items.get(self.next) else { return Ok(None) };
        let index = self.next;
        self.next += 1;
        let value = seed.deserialize(Reader { node, context: self.context });
        value.map(Some).map_err(|error| error.within(Step::Index(index), node.place))
    }
}

struct Fields<'a> {
    entries: Vec<(&'a Arc<str>, &'a Entry)>,
    next: usize,
    context: Context<'a>,
}

impl<'de> MapAccess<'de> for Fields<'_> {
    type Error = DecodeError;
    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, DecodeError> {
        let Some((key, entry)) = self.entries.get(self.next) else { return Ok(None) };
        // A key is text that stands somewhere, like any other: it may have a place and be a checked name.
        let node = Node { place: entry.key, value: Value::Text(Arc::clone(key)) };
        let value = seed.deserialize(Reader { node: &node, context: self.context });
        value.map(Some).map_err(|error| error.within(Step::Key(Arc::clone(key)), entry.key))
    }
    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, DecodeError> {
        let (key, entry) = self.entries.get(self.next).ok_or_else(|| DecodeError::custom("a value without a key"))?;
        self.next += 1;
        let value = seed.deserialize(Reader { node: &entry.node, context: self.context });
        value.map_err(|error| error.within(Step::Key(Arc::clone(key)), entry.node.place))
    }
    fn size_hint(&self) -> Option<usize> {
        Some(self.entries.len() - self.next)
    }
}

struct PlacedAccess<'a> {
    reader: Reader<'a>,
    next: usize,
}

impl<'de> MapAccess<'de> for PlacedAccess<'_> {
    type Error = DecodeError;
    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, DecodeError> {
        let Some(field) = placed::FIELDS.get(self.next) else { return Ok(None) };
        seed.deserialize(StrDeserializer::new(field)).map(Some)
    }
    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, DecodeError> {
        let place = self.reader.node.place;
        self.next += 1;
        match self.next {
            1 => seed.deserialize(place.file.0.into_deserializer()),
            2 => seed.deserialize(place.start.into_deserializer()),
            3 => seed.deserialize(place.end.into_deserializer()),
            _ => seed.deserialize(self.reader),
        }
    }
}

struct Variant<'a> {
    key: &'a Arc<str>,
    entry: &'a Entry,
    context: Context<'a>,
}

impl<'de, 'a> EnumAccess<'de> for Variant<'a> {
    type Error = DecodeError;
    type Variant = Self;
    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), DecodeError> {
        let variant = seed.deserialize(StringDeserializer::<DecodeError>::new(self.key.to_string()))?;
        Ok((variant, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_> {
    type Error = DecodeError;
    fn unit_variant(self) -> Result<(), DecodeError> {
        Err(DecodeError::wrong_sort("text", &self.entry.node))
    }
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, DecodeError> {
        // The fault is the whole table's: half of a variant means nothing.
        seed.deserialize(Reader { node: &self.entry.node, context: self.context }).map_err(|mut error| {
            error.place.get_or_insert(self.entry.node.place);
            error.path.clear();
            error
        })
    }
    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, DecodeError> {
        Err(DecodeError::wrong_sort("a table", &self.entry.node))
    }
    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], _: V) -> Result<V::Value, DecodeError> {
        Err(DecodeError::wrong_sort("a table", &self.entry.node))
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::super::node::FileId;
    use super::super::placed::{Entries, Placed};
    use super::*;
    use crate::model::ResourceName;

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum From {
        Secret(Placed<ResourceName>),
        #[expect(dead_code, reason = "only its name matters here")]
        Credential(Placed<ResourceName>),
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Written {
        name: Option<Placed<String>>,
        flag: Option<bool>,
        token: Option<Placed<From>>,
        list: Option<Vec<Placed<String>>>,
        vars: Option<Entries<Placed<serde_json::Value>>>,
    }

    fn read(text: &str) -> Decoded<Written> {
        let parsed = super::super::parse(text.as_bytes());
        assert_eq!(parsed.faults, []);
        let place = Place { file: FileId(0), start: 0, end: 0 };
        decode(&Node { place, value: Value::Table(parsed.root) }, &["rollout"])
    }

    #[test]
    fn values_know_their_places() {
        let text = "name = 'x'\ntoken = { secret = 'a' }\nlist = ['p', 'q']\nvars = { A = 1, B = [true, 'x', { c = 1.5 }] }\n";
        let decoded = read(text);
        assert_eq!(decoded.faults, []);
        let value = decoded.value.unwrap();
        let name = value.name.unwrap();
        assert_eq!(&text[name.place.start as usize..name.place.end as usize], "'x'");
        let vars = value.vars.unwrap().0;
        assert_eq!(vars[1].1.value, serde_json::json!([true, "x", { "c": 1.5 }]));
        assert!(matches!(value.token.unwrap().value, From::Secret(name) if name.value.as_str() == "a"));
        assert_eq!(value.list.unwrap().len(), 2);
    }

    #[test]
    fn all_faults_of_a_table_are_found_at_once() {
        let decoded = read(
            "nam = 1\nname = 7\nflag = 'true'\ntoken = { secret = 'A_B' }\nlist = ['p', 3, 4]\nrollout = 1\nvars = { X = inf }\n",
        );
        let messages: Vec<_> = decoded.faults.iter().map(|f| f.message.as_str()).collect();
        for part in
            ["unknown key `nam`", "found an integer", "found text", "`A_B` contains 'A'", "`rollout` is not supported", "finite"]
        {
            assert!(messages.iter().any(|m| m.contains(part)), "{part}: {messages:?}");
        }
        assert_eq!(decoded.faults.len(), 8, "{messages:?}");
        let value = decoded.value.unwrap();
        assert_eq!((value.name, value.flag, value.list.unwrap().len()), (None, None, 1));
        assert!(decoded.dropped.contains("name") && !decoded.dropped.contains("nam"));
    }

    #[test]
    fn an_enum_says_what_it_expects() {
        for text in ["token = { }", "token = { secret = 'a', credential = 'b' }", "token = { secrt = 'a' }", "token = 3"] {
            let decoded = read(text);
            assert!(!decoded.faults.is_empty(), "{text}");
            assert!(decoded.value.unwrap().token.is_none(), "{text}");
        }
        assert!(read("token = { secrt = 'a' }").faults.iter().any(|f| f.hint.as_deref() == Some("did you mean `secret`?")));
    }
}
