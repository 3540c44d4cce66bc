//! Properties as TOML text, for people.
//!
//! Goes in: values without secrets. Comes out: lines, one for each scalar and one for each item of a table, so that a
//! diff by lines is a diff by items.
//!
//! **Invariant:** the text holds no control character and no character that reorders or hides text, whatever is in
//! the values: it goes to terminals and pull requests.

use std::fmt::Write as _;

use crate::model::{Properties, SecretMark, Value};

/// A key, quoted where it is no bare key.
pub(super) fn key(text: &str) -> String {
    let bare = !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    if bare { text.to_owned() } else { quoted(text) }
}

/// A basic string.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            other => visible(other, &mut out),
        }
    }
    out.push('"');
    out
}

/// `text` with what a terminal would obey or hide written as `\uXXXX`.
pub(super) fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if character == '\t' { out.push(character) } else { visible(character, &mut out) }
    }
    out
}

fn visible(character: char, out: &mut String) {
    let hidden = matches!(character,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{e0000}'..='\u{e007f}');
    if character.is_control() || hidden {
        let code = u32::from(character);
        // Writing to a `String` cannot fail.
        let _ = if code > 0xffff { write!(out, "\\U{code:08X}") } else { write!(out, "\\u{code:04X}") };
    } else {
        out.push(character);
    }
}

/// One value on one line.
pub(super) fn inline(value: &Value) -> String {
    match value {
        Value::Bool(value) => value.to_string(),
        Value::Integer(value) => value.to_string(),
        Value::Text(text) => quoted(text),
        Value::List(items) => format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", ")),
        Value::Content { content } => quoted(&format!("sha256:{} ({} bytes)", content.sha256.short(), content.size)),
        Value::Secret { mark: SecretMark::Hmac(_) } => quoted("(secret)"),
        Value::Secret { mark: SecretMark::Unknown } => quoted("(secret, not comparable)"),
        Value::Pending { pending } => {
            quoted(&format!("({} of {}, known once it is applied)", pending.attribute, pending.address))
        }
        Value::Table(table) if table.is_empty() => "{}".to_owned(),
        Value::Table(table) => {
            let items: Vec<_> = table.iter().map(|(name, value)| format!("{} = {}", key(name), inline(value))).collect();
            format!("{{ {} }}", items.join(", "))
        }
    }
}

/// One line for each item.
pub(super) fn items(properties: &Properties) -> String {
    properties.iter().map(|(name, value)| format!("{} = {}\n", key(name), inline(value))).collect()
}
