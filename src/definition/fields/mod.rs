//! The one table of kinds and fields: each field that the API takes, how a definition gives it or why it cannot, and, where the
//! API shows it again, as which property.
//!
//! Goes in: nothing. Comes out: lines, from which an import writes, by which `ignore` is checked and fields are refused by
//! name, and of which `docs/kinds.md` is made.
//!
//! **Invariant:** a field of the API is in the table, or nobody has decided about it: a test holds the table to the API's own
//! lists of fields.

mod things;
mod worker;
mod zones;

use super::written::LATER_KEYS;
use crate::document::Absent;
use crate::model::Kind;

/// The reason that another version may give.
const LATER: &str = "not yet";

/// How a field of the API is had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// By this key of the table, dotted where it is inside of another.
    Key(&'static str),
    /// It is always this.
    Given(&'static str),
    /// It cannot be given, for this reason; its name as a key is refused as not supported.
    Refused(&'static str),
}

/// How a property stands in a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As it is.
    Plain,
    /// By the key of the resource of this kind that has it as its id.
    Id(&'static str),
    /// By the key of the resource of this kind that has it as its name at the target.
    Name(&'static str),
    /// In seconds, where the API has milliseconds.
    Seconds,
    /// A mode and a time of a cache, as one word or an interval.
    Lifetime,
    /// Rules of a tunnel.
    Ingress,
    /// What a DNS record says: text, or a tunnel.
    Content,
}

/// A property by which a field is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    /// The property, dotted where it is inside of another.
    pub property: &'static str,
    /// The key, from the table in which an import writes it.
    pub key: &'static str,
    /// How it stands there.
    pub form: Form,
}

/// One field of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// The kind.
    pub kind: Kind,
    /// The field, dotted where it is inside of another.
    pub field: &'static str,
    /// How it is had.
    pub how: How,
    /// As what it is seen; `None` where the API never shows it, or shows it as something else that has a line.
    pub shown: Option<Shown>,
}

impl Field {
    /// The name by which it is refused as a key.
    pub fn name(&self) -> &'static str {
        self.field.rsplit('.').next().unwrap_or(self.field)
    }

    /// The same, seen as `property`.
    const fn seen(self, property: &'static str, key: &'static str, form: Form) -> Self {
        Self { shown: Some(Shown { property, key, form }), ..self }
    }

    /// The same, seen as it is written, but in another form.
    const fn formed(self, form: Form) -> Self {
        match self.how {
            How::Key(key) => self.seen(self.field, key, form),
            How::Given(_) | How::Refused(_) => self,
        }
    }

    /// The same, seen under the name of its key as it is.
    const fn as_property(self, property: &'static str) -> Self {
        match self.how {
            How::Key(key) => self.seen(property, key, Form::Plain),
            How::Given(_) | How::Refused(_) => self,
        }
    }
}

/// A field that is written and not seen again.
const fn written(kind: Kind, field: &'static str, key: &'static str) -> Field {
    Field { kind, field, how: How::Key(key), shown: None }
}

/// A field that is seen as it is written.
const fn plain(kind: Kind, field: &'static str, key: &'static str) -> Field {
    written(kind, field, key).formed(Form::Plain)
}

const fn given(kind: Kind, field: &'static str, what: &'static str) -> Field {
    Field { kind, field, how: How::Given(what), shown: None }
}

const fn refused(kind: Kind, field: &'static str, reason: &'static str) -> Field {
    Field { kind, field, how: How::Refused(reason), shown: None }
}

/// Every field, kind by kind.
pub fn fields() -> impl Iterator<Item = &'static Field> {
    [worker::FIELDS, things::FIELDS, zones::FIELDS].into_iter().flatten()
}

/// Those of one kind.
pub fn fields_of(kind: Kind) -> impl Iterator<Item = &'static Field> {
    fields().filter(move |field| field.kind == kind)
}

/// The keys that a table of `kind` does not have, and about which more can be said than that: those of later versions, and
/// fields of the API that are refused.
pub(super) fn refused_of(kind: Kind) -> Vec<Absent> {
    let refused = fields_of(kind).filter_map(|field| match field.how {
        How::Refused(LATER) => Some(Absent { key: field.name(), reason: "" }),
        How::Refused(reason) => Some(Absent { key: field.name(), reason }),
        How::Key(_) | How::Given(_) => None,
    });
    refused.chain(LATER_KEYS.iter().copied()).collect()
}
