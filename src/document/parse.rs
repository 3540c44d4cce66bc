//! Text to nodes, with every syntax fault.

use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fault::{Fault, is_deceptive};
use super::locate::Lines;
use super::node::{Entry, FileId, Node, Place, Table, Value};

/// How many faults of one file are kept.
const MAX_FAULTS: usize = 100;

/// A parsed file. Its places have the [`FileId`] 0.
#[derive(Debug, Clone)]
pub struct Parsed {
    /// The top-level table, with what could be read of it.
    pub root: Table,
    /// What is wrong with the syntax.
    pub faults: Vec<Fault>,
    /// Where its lines begin.
    pub lines: Lines,
}

/// Parses a file. Never stops at the first fault; `root` holds what could be read besides.
pub fn parse(bytes: &[u8]) -> Parsed {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let at = error.valid_up_to();
            let fault = Fault::new(place(at..at + 1), "the file is not UTF-8").hint("save the file as UTF-8");
            let valid = String::from_utf8_lossy(&bytes[..at]);
            return Parsed { root: Table::new(), faults: vec![fault], lines: Lines::of(&valid) };
        }
    };
    let (root, errors) = DeTable::parse_recoverable(text);
    let mut faults: Vec<Fault> = errors
        .iter()
        .map(|error| Fault::new(error.span().map_or_else(Place::default, place), message(error.message())))
        .collect();
    faults.extend(deceptive_characters(text));
    let root = match table(&root, &mut faults) {
        Value::Table(table) => table,
        _ => Table::new(),
    };
    faults.sort();
    faults.dedup();
    faults.truncate(MAX_FAULTS);
    Parsed { root, faults, lines: Lines::of(text) }
}

/// The parser's message in this house's form: one line, lower case, no final period.
fn message(text: &str) -> String {
    let line = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(", ");
    format!("invalid TOML: {}", super::fault::shown(line.trim_end_matches('.')))
}

/// TOML forbids control characters; marks that change the direction of text are refused as well, also in comments.
fn deceptive_characters(text: &str) -> Vec<Fault> {
    let found = text.char_indices().filter(|(at, c)| is_deceptive(*c) && !c.is_control() && !(*at == 0 && *c == '\u{feff}'));
    found
        .take(MAX_FAULTS)
        .map(|(at, c)| {
            Fault::new(place(at..at + c.len_utf8()), format!("the invisible character {} is refused", c.escape_default()))
                .hint("write it as an escape in a basic string, or remove it")
        })
        .collect()
}

fn place(span: std::ops::Range<usize>) -> Place {
    // Files are at most 1 MiB, so that the conversion never saturates in practice.
    let of = |offset: usize| u32::try_from(offset).unwrap_or(u32::MAX);
    Place { file: FileId(0), start: of(span.start), end: of(span.end) }
}

fn table(spanned: &Spanned<DeTable<'_>>, faults: &mut Vec<Fault>) -> Value {
    entries(spanned.get_ref(), faults)
}

fn entries(table: &DeTable<'_>, faults: &mut Vec<Fault>) -> Value {
    let entries = table.iter().map(|(key, value)| {
        let entry = Entry { key: place(key.span()), node: node(value, faults) };
        (Arc::from(key.get_ref().as_ref()), entry)
    });
    Value::Table(entries.collect())
}

fn node(spanned: &Spanned<DeValue<'_>>, faults: &mut Vec<Fault>) -> Node {
    let at = place(spanned.span());
    let value = match spanned.get_ref() {
        DeValue::String(text) => Value::Text(Arc::from(text.as_ref())),
        DeValue::Integer(integer) => match i64::from_str_radix(integer.as_str(), integer.radix()) {
            Ok(number) => Value::Integer(number),
            Err(_) => {
                faults.push(Fault::new(at, "the number does not fit into 64 bits"));
                Value::Integer(0)
            }
        },
        DeValue::Float(float) => match float.as_str().parse() {
            Ok(number) => Value::Float(number),
            Err(_) => {
                faults.push(Fault::new(at, "the number cannot be read"));
                Value::Float(0.0)
            }
        },
        DeValue::Boolean(value) => Value::Bool(*value),
        DeValue::Datetime(datetime) => Value::Datetime(Arc::from(datetime.to_string())),
        DeValue::Array(items) => Value::Array(items.iter().map(|item| node(item, faults)).collect()),
        DeValue::Table(inner) => entries(inner, faults),
    };
    Node { place: at, value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_syntax_fault_is_found_and_the_rest_is_read() {
        let parsed = parse(b"a = \nb = 1\nc = [1,, 2]\nd = 'x'\nb = 2\n");
        assert!(parsed.faults.len() >= 3, "{:?}", parsed.faults);
        assert_eq!(parsed.root["d"].node.value, Value::Text("x".into()));
        let lines: Vec<usize> = parsed.faults.iter().map(|f| parsed.lines.line(f.place.start as usize)).collect();
        assert_eq!((lines.contains(&1), lines.contains(&3), lines.contains(&5)), (true, true, true), "{lines:?}");
    }

    #[test]
    fn bombs_are_refused_quickly() {
        let deep = "a.".repeat(100_000) + "a = 1";
        let arrays = format!("a = {}{}", "[".repeat(100_000), "]".repeat(100_000));
        let tables = format!("a = {}1{}", "{a=".repeat(100_000), "}".repeat(100_000));
        let header = format!("[{}a]", "a.".repeat(100_000));
        for text in [deep, arrays, tables, header] {
            assert!(!parse(text.as_bytes()).faults.is_empty(), "{}", &text[..20]);
        }
        assert!(!parse(b"a = \"\xff\"").faults.is_empty());
        assert!(!parse(b"a = \"\0\"").faults.is_empty());
        assert!(!parse("a = 'x' # \u{202e}".as_bytes()).faults.is_empty());
        assert!(parse("\u{feff}a = 'x'".as_bytes()).faults.is_empty(), "a byte order mark is no fault");
    }
}
