//! A TOML value that knows where it stands, also after values of several files have been merged.

use std::collections::BTreeMap;
use std::sync::Arc;

/// One of the files that a resolution read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct FileId(pub u32);

/// A range of bytes of one file, half-open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Place {
    /// The file.
    pub file: FileId,
    /// Its first byte.
    pub start: u32,
    /// The byte behind its last.
    pub end: u32,
}

/// A value and its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Where it stands.
    pub place: Place,
    /// What it is.
    pub value: Value,
}

/// What a TOML value is.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// True or false.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A number with a fraction.
    Float(f64),
    /// Text.
    Text(Arc<str>),
    /// A date or a time, as it was written.
    Datetime(Arc<str>),
    /// A list.
    Array(Vec<Node>),
    /// A table.
    Table(Table),
}

/// The entries of a table by key.
pub type Table = BTreeMap<Arc<str>, Entry>;

/// One entry of a table.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Where its key stands.
    pub key: Place,
    /// Its value.
    pub node: Node,
}

impl Value {
    /// What a reader calls this sort of value, with its article.
    pub fn sort(&self) -> &'static str {
        match self {
            Self::Bool(_) => "a boolean",
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a float",
            Self::Text(_) => "text",
            Self::Datetime(_) => "a date",
            Self::Array(_) => "an array",
            Self::Table(_) => "a table",
        }
    }
}

impl Node {
    /// The same in another file.
    #[must_use]
    pub fn in_file(&self, file: FileId) -> Self {
        let value = match &self.value {
            Value::Array(items) => Value::Array(items.iter().map(|item| item.in_file(file)).collect()),
            Value::Table(table) => Value::Table(
                table
                    .iter()
                    .map(|(key, entry)| {
                        let entry = Entry { key: Place { file, ..entry.key }, node: entry.node.in_file(file) };
                        (Arc::clone(key), entry)
                    })
                    .collect(),
            ),
            scalar => scalar.clone(),
        };
        Self { place: Place { file, ..self.place }, value }
    }
}

/// `over` on top of `base`: tables merge deep, everything else is replaced; what stands in both stands where `over` has it.
pub fn merge(base: Table, over: Table) -> Table {
    let mut merged = base;
    for (key, entry) in over {
        let entry = match (merged.remove(&key), entry) {
            (
                Some(Entry { node: Node { value: Value::Table(below), .. }, .. }),
                Entry { key, node: Node { place, value: Value::Table(above) } },
            ) => Entry { key, node: Node { place, value: Value::Table(merge(below, above)) } },
            (_, entry) => entry,
        };
        merged.insert(key, entry);
    }
    merged
}
