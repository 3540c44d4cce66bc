//! The parts of a node as serde asks for them: items of an array, entries of a table, a variant, a place.
//!
//! Goes in: the parts. Comes out: one after the other; a fault gets the step that leads to its part.

use std::sync::Arc;

use serde::de::value::{StrDeserializer, StringDeserializer};
use serde::de::{DeserializeSeed, EnumAccess, Error as _, IntoDeserializer, MapAccess, SeqAccess, VariantAccess, Visitor};

use super::super::node::{Entry, Node, Value};
use super::super::placed;
use super::error::{DecodeError, Step};
use super::reader::{Context, Reader};

pub(super) struct Items<'a> {
    items: &'a [Node],
    next: usize,
    context: Context<'a>,
}

impl<'a> Items<'a> {
    pub(super) fn new(items: &'a [Node], context: Context<'a>) -> Self {
        Self { items, next: 0, context }
    }
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

pub(super) struct Fields<'a> {
    entries: Vec<(&'a Arc<str>, &'a Entry)>,
    next: usize,
    context: Context<'a>,
}

impl<'a> Fields<'a> {
    pub(super) fn new(entries: Vec<(&'a Arc<str>, &'a Entry)>, context: Context<'a>) -> Self {
        Self { entries, next: 0, context }
    }
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

pub(super) struct PlacedAccess<'a> {
    reader: Reader<'a>,
    next: usize,
}

impl<'a> PlacedAccess<'a> {
    pub(super) fn new(reader: Reader<'a>) -> Self {
        Self { reader, next: 0 }
    }
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

pub(super) struct Variant<'a> {
    pub(super) key: &'a Arc<str>,
    pub(super) entry: &'a Entry,
    pub(super) context: Context<'a>,
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
