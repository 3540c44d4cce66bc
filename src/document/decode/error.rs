//! What is wrong with one value, and where it stands in its table.
//!
//! Goes in: what the reader expected and found. Comes out: a [`DecodeError`] that gathers its path on the way out.
//!
//! **Invariant:** what an input said is escaped before it is part of a message.

use std::fmt;
use std::sync::Arc;

use serde::de::{Expected, Unexpected};

use super::super::fault::shown;
use super::super::node::{Node, Place, Value};
use super::super::suggest::did_you_mean;

#[derive(Debug, Clone)]
pub(super) enum Step {
    Key(Arc<str>),
    Index(usize),
}

#[derive(Debug)]
pub(super) struct DecodeError {
    pub(super) message: String,
    pub(super) label: Option<String>,
    pub(super) hint: Option<String>,
    pub(super) masked: bool,
    pub(super) place: Option<Place>,
    /// From the inside out.
    pub(super) path: Vec<Step>,
}

impl DecodeError {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), label: None, hint: None, masked: false, place: None, path: Vec::new() }
    }

    pub(super) fn within(mut self, step: Step, place: Place) -> Self {
        self.path.push(step);
        self.place.get_or_insert(place);
        self
    }

    pub(super) fn wrong_sort(expected: &str, found: &Node) -> Self {
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
