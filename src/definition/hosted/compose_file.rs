//! A Compose file, read: YAML or JSON to items with their places.
//!
//! **Invariant:** what is read is bounded in bytes, items and depth; an item stands where it is written, and nowhere else:
//! anchors, aliases, merges and tags are refused.

use std::ops::Range;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use crate::document::shown;

/// What a Compose file may have of everything, at most.
const MAX_ITEMS: usize = 20_000;
const MAX_DEPTH: usize = 16;

/// Something that is written.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Item {
    /// Byte offsets.
    pub(super) span: Range<usize>,
    pub(super) value: Written,
}

/// What is written.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Written {
    Null,
    Bool(bool),
    /// As it is written.
    Number(String),
    Text(String),
    List(Vec<Item>),
    Table(Vec<(Key, Item)>),
}

/// The key of an entry.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Key {
    pub(super) span: Range<usize>,
    pub(super) name: String,
}

/// Why a file cannot be read.
#[derive(Debug, PartialEq)]
pub(super) struct Unread {
    pub(super) span: Range<usize>,
    pub(super) message: String,
    pub(super) hint: &'static str,
}

impl Item {
    /// What is written in a definition itself; it has no place of its own.
    pub(super) fn of_json(json: &serde_json::Value) -> Self {
        use serde_json::Value as Json;
        let value = match json {
            Json::Null => Written::Null,
            Json::Bool(flag) => Written::Bool(*flag),
            Json::Number(number) => Written::Number(number.to_string()),
            Json::String(text) => Written::Text(text.clone()),
            Json::Array(items) => Written::List(items.iter().map(Self::of_json).collect()),
            Json::Object(fields) => {
                let entry = |(name, value): (&String, &Json)| (Key { span: 0..0, name: name.clone() }, Self::of_json(value));
                Written::Table(fields.iter().map(entry).collect())
            }
        };
        Self { span: 0..0, value }
    }

    /// What it is, for people.
    pub(super) fn sort(&self) -> &'static str {
        match self.value {
            Written::Null => "nothing",
            Written::Bool(_) => "a boolean",
            Written::Number(_) => "a number",
            Written::Text(_) => "text",
            Written::List(_) => "a list",
            Written::Table(_) => "a table",
        }
    }
}

struct Reader<'a> {
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
    /// The byte at which each character begins, and the end.
    starts: Vec<usize>,
    items: usize,
}

/// Reads a file of one document.
pub(super) fn read(text: &str) -> Result<Item, Unread> {
    let starts = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
    let mut reader = Reader { parser: Parser::new_from_str(text), starts, items: 0 };
    loop {
        match reader.next()? {
            (Event::StreamStart | Event::DocumentStart(_) | Event::Nothing, _) => {}
            (Event::StreamEnd, span) => return Err(unread(span, "the file is empty", "write `services:` into it")),
            (event, span) => {
                let item = reader.item(event, span, 0)?;
                return match reader.rest()? {
                    None => Ok(item),
                    Some(span) => Err(unread(span, "a second document begins here", "keep one project in a file")),
                };
            }
        }
    }
}

fn unread(span: Range<usize>, message: impl Into<String>, hint: &'static str) -> Unread {
    Unread { span, message: message.into(), hint }
}

impl<'a> Reader<'a> {
    fn bytes(&self, span: Span) -> Range<usize> {
        let byte = |index: usize| self.starts.get(index).or(self.starts.last()).copied().unwrap_or_default();
        byte(span.start.index())..byte(span.end.index()).max(byte(span.start.index()))
    }

    fn next(&mut self) -> Result<(Event<'a>, Range<usize>), Unread> {
        match self.parser.next() {
            Some(Ok((event, span))) => Ok((event, self.bytes(span))),
            Some(Err(error)) => {
                let at = *error.marker();
                Err(unread(self.bytes(Span::new(at, at)), format!("this is no YAML: {}", shown(error.info())), "correct it"))
            }
            None => Ok((Event::StreamEnd, self.bytes(Span::default()))),
        }
    }

    /// Where another document begins.
    fn rest(&mut self) -> Result<Option<Range<usize>>, Unread> {
        loop {
            match self.next()? {
                (Event::StreamEnd, _) => return Ok(None),
                (Event::DocumentEnd | Event::Nothing, _) => {}
                (_, span) => return Ok(Some(span)),
            }
        }
    }

    fn item(&mut self, event: Event<'a>, span: Range<usize>, depth: usize) -> Result<Item, Unread> {
        self.items += 1;
        if self.items > MAX_ITEMS || depth > MAX_DEPTH {
            return Err(unread(span, "the file holds too much, or too deep", "split it into several projects"));
        }
        const WRITE_OUT: &str = "write it out where it is needed";
        let value = match event {
            Event::Alias(_) => return Err(unread(span, "aliases are not read", WRITE_OUT)),
            Event::Scalar(_, _, anchor, tag) if anchor != 0 || tag.is_some() => {
                return Err(unread(span, "anchors and tags are not read", WRITE_OUT));
            }
            Event::SequenceStart(anchor, tag) | Event::MappingStart(anchor, tag) if anchor != 0 || tag.is_some() => {
                return Err(unread(span, "anchors and tags are not read", WRITE_OUT));
            }
            Event::Scalar(text, style, _, _) => scalar(text.into_owned(), style),
            Event::SequenceStart(..) => {
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, _) => break Written::List(items),
                        (event, span) => items.push(self.item(event, span, depth + 1)?),
                    }
                }
            }
            Event::MappingStart(..) => {
                let mut entries: Vec<(Key, Item)> = Vec::new();
                loop {
                    let (event, span) = self.next()?;
                    if matches!(event, Event::MappingEnd) {
                        break Written::Table(entries);
                    }
                    let name = match self.item(event, span.clone(), depth + 1)?.value {
                        Written::Text(name) | Written::Number(name) => name,
                        _ => return Err(unread(span, "this cannot be a key", "keys are text")),
                    };
                    if entries.iter().any(|(key, _)| key.name == name) {
                        return Err(unread(span, format!("the key `{}` stands twice", shown(&name)), "keep one of them"));
                    }
                    let (event, of_value) = self.next()?;
                    let item = self.item(event, of_value, depth + 1)?;
                    entries.push((Key { span, name }, item));
                }
            }
            _ => return Err(unread(span, "this is no YAML", "correct it")),
        };
        Ok(Item { span, value })
    }
}

/// What a scalar means. Source: YAML 1.2.2, 10.3.2, the core schema.
fn scalar(text: String, style: ScalarStyle) -> Written {
    if style != ScalarStyle::Plain {
        return Written::Text(text);
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(&text);
    let is_number = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && digits.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'-' | b'+'))
        && digits.parse::<f64>().is_ok();
    match text.as_str() {
        "" | "~" | "null" | "Null" | "NULL" => Written::Null,
        "true" | "True" | "TRUE" => Written::Bool(true),
        "false" | "False" | "FALSE" => Written::Bool(false),
        _ if is_number => Written::Number(text),
        _ => Written::Text(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yaml_and_json_are_read_with_their_places() {
        let item = read("services:\n  # é\n  web: {image: x, read_only: true, cpus: 1.5, user: \"1\", a: ~}\n").unwrap();
        let Written::Table(top) = &item.value else { panic!("{item:?}") };
        let Written::Table(services) = &top[0].1.value else { panic!("{item:?}") };
        assert_eq!((services[0].0.name.as_str(), services[0].0.span.clone()), ("web", 19..22));
        let Written::Table(web) = &services[0].1.value else { panic!("{item:?}") };
        let values: Vec<&Written> = web.iter().map(|(_, item)| &item.value).collect();
        let text = |text: &str| Written::Text(text.to_owned());
        assert_eq!(values, [&text("x"), &Written::Bool(true), &Written::Number("1.5".into()), &text("1"), &Written::Null]);
        assert!(read("{\"services\": {\"web\": {\"image\": \"x\"}}}").is_ok());
    }

    #[test]
    fn what_stands_elsewhere_than_where_it_is_written_is_refused() {
        for (text, message) in [
            ("a: &x 1\nb: *x\n", "anchors and tags"),
            ("a: *x\n", ""),
            ("a: !!str 1\n", "anchors and tags"),
            ("a: 1\na: 2\n", "stands twice"),
            ("a: 1\n---\nb: 1\n", "a second document"),
            ("", "is empty"),
            ("a: [1\n", "no YAML"),
            ("? [a]\n: 1\n", "cannot be a key"),
        ] {
            let unread = read(text).unwrap_err();
            assert!(unread.message.contains(message), "{text}: {unread:?}");
        }
        assert!(read(&format!("{}{}", "[".repeat(40), "]".repeat(40))).unwrap_err().message.contains("too deep"));
        assert!(read(&format!("[{}]", "1,".repeat(MAX_ITEMS))).unwrap_err().message.contains("too much"));
    }
}
