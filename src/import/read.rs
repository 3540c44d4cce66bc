//! TOML and JSON with comments, as one tree of values with places.

use std::sync::Arc;

use jsonc_parser::ast::{self, ObjectPropName};
use jsonc_parser::common::{Range, Ranged};
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};

use super::ImportError;
use crate::document::{Entry, FileId, Lines, Node, Place, Table, Value, parse, shown};

/// A file that was read.
pub(super) struct Document {
    pub(super) table: Table,
    pub(super) lines: Lines,
}

/// Reads a file by what its name says.
pub(super) fn read(path: &str, bytes: &[u8]) -> Result<Document, ImportError> {
    match path.rsplit_once('.').map(|(_, end)| end) {
        Some("toml") => toml(path, bytes),
        Some("json" | "jsonc") => json(path, bytes),
        _ => Err(ImportError::NotWrangler { path: path.to_owned() }),
    }
}

fn toml(path: &str, bytes: &[u8]) -> Result<Document, ImportError> {
    let parsed = parse(bytes);
    match parsed.faults.first() {
        Some(fault) => Err(ImportError::Syntax {
            path: path.to_owned(),
            line: parsed.lines.line(fault.place.start as usize),
            message: fault.message.clone(),
        }),
        None => Ok(Document { table: parsed.root, lines: parsed.lines }),
    }
}

fn json(path: &str, bytes: &[u8]) -> Result<Document, ImportError> {
    let syntax = |line, message: String| ImportError::Syntax { path: path.to_owned(), line, message };
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let valid = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
        syntax(Lines::of(&valid).line(valid.len()), "the file is not UTF-8".to_owned())
    })?;
    let lines = Lines::of(text);
    // As wrangler reads it, whatever the file is called: comments and trailing commas, and nothing else of JSON5.
    let options = ParseOptions {
        allow_comments: true,
        allow_trailing_commas: true,
        allow_loose_object_property_names: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    };
    let parsed = parse_to_ast(text.trim_start_matches('\u{feff}'), &CollectOptions::default(), &options).map_err(|error| {
        syntax(lines.line(error.range().start), format!("invalid JSON: {}", shown(&error.kind().to_string())))
    })?;
    match parsed.value.as_ref().and_then(node) {
        Some(Node { value: Value::Table(table), .. }) => Ok(Document { table, lines }),
        Some(node) => {
            Err(syntax(lines.line(node.place.start as usize), format!("expected a table, found {}", node.value.sort())))
        }
        None => Err(ImportError::Empty { path: path.to_owned() }),
    }
}

fn place(range: Range) -> Place {
    let of = |offset: usize| u32::try_from(offset).unwrap_or(u32::MAX);
    Place { file: FileId(0), start: of(range.start), end: of(range.end) }
}

/// `None` for `null`: wrangler takes it for absent.
fn node(value: &ast::Value<'_>) -> Option<Node> {
    let place = place(value.range());
    let value = match value {
        ast::Value::NullKeyword(_) => return None,
        ast::Value::StringLit(text) => Value::Text(Arc::from(&*text.value)),
        ast::Value::BooleanLit(value) => Value::Bool(value.value),
        ast::Value::NumberLit(number) => match number.value.parse() {
            Ok(whole) => Value::Integer(whole),
            Err(_) => Value::Float(number.value.parse().unwrap_or(f64::MAX)),
        },
        ast::Value::Array(array) => Value::Array(array.elements.iter().filter_map(node).collect()),
        ast::Value::Object(object) => {
            let entries = object.properties.iter().filter_map(|property| {
                let key = match &property.name {
                    ObjectPropName::String(name) => self::place(name.range),
                    ObjectPropName::Word(name) => self::place(name.range),
                };
                Some((Arc::from(property.name.as_str()), Entry { key, node: node(&property.value)? }))
            });
            Value::Table(entries.collect())
        }
    };
    Some(Node { place, value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_trailing_commas_are_read_and_places_kept() {
        let text = "{\n  // a comment\n  \"name\": \"api\", /* another */\n  \"list\": [1, 2.5, true, null,],\n}\n";
        let document = read("wrangler.jsonc", text.as_bytes()).unwrap();
        assert_eq!(document.table["name"].node.value, Value::Text("api".into()));
        assert_eq!(document.lines.line(document.table["list"].key.start as usize), 4);
        let Value::Array(items) = &document.table["list"].node.value else { panic!() };
        assert_eq!(
            items.iter().map(|item| item.value.clone()).collect::<Vec<_>>(),
            [Value::Integer(1), Value::Float(2.5), Value::Bool(true)]
        );
        let same = read("wrangler.toml", b"name = 'api'\nlist = [1, 2.5, true]\n").unwrap();
        assert_eq!(same.table["name"].node.value, document.table["name"].node.value);
    }

    #[test]
    fn what_is_broken_is_told_with_its_line() {
        for (path, text, line) in [
            ("wrangler.json", "{\n\"a\": 1\n\"b\": 2}", 2),
            ("wrangler.jsonc", "{ a: 1 }", 1),
            ("wrangler.toml", "a = 1\nb = \n", 2),
            ("wrangler.jsonc", "[1]", 1),
        ] {
            match read(path, text.as_bytes()) {
                Err(ImportError::Syntax { line: found, .. }) => assert_eq!(found, line, "{text}"),
                other => panic!("{text}: {:?}", other.map(|document| document.table)),
            }
        }
        assert!(matches!(read("wrangler.jsonc", b" "), Err(ImportError::Empty { .. })));
        assert!(matches!(read("wrangler.yaml", b"a: 1"), Err(ImportError::NotWrangler { .. })));
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(read("wrangler.json", deep.as_bytes()).is_err());
    }
}
