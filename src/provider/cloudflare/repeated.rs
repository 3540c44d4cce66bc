//! Does a text repeat a secret?
//!
//! Goes in: what a server said, and a value that it was sent. Comes out: whether a piece of the value is in it, as it is or
//! in one of the forms in which servers and clients write values down.
//!
//! **Invariant:** when in doubt, yes: what is lost is a sentence, and its HTTP status and code stay.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use zeroize::Zeroizing;

use crate::model::Secret;

/// A piece of this many bytes gives a secret away; shorter secrets are looked for as a whole.
const PIECE: usize = 12;

/// In fewer bytes than these an encoded value is found by chance.
const SHORTEST_ENCODED: usize = 6;

/// More of a text is not looked through: a longer one is not told from one that repeats.
const LONGEST: usize = 64 * 1024;

/// Whether `text` repeats `secret`, in whole or in a piece.
pub(super) fn repeats(text: &str, secret: &Secret) -> bool {
    if secret.expose().is_empty() {
        return false;
    }
    if text.len() > LONGEST {
        return true;
    }
    let text = text.as_bytes();
    let pieces: BTreeSet<&[u8]> = text.windows(PIECE).collect();
    let is_in = |form: &[u8]| match form.len() {
        0 => false,
        length @ 1..PIECE => text.windows(length).any(|window| window == form),
        _ => form.windows(PIECE).any(|piece| pieces.contains(piece)),
    };
    is_in(secret.expose()) || encoded(secret.expose()).iter().any(|form| form.len() >= SHORTEST_ENCODED && is_in(form))
}

/// The forms in which a value is written down.
fn encoded(value: &[u8]) -> Vec<Zeroizing<Vec<u8>>> {
    let mut forms = Vec::new();
    let mut add = |form: String| forms.push(Zeroizing::new(form.into_bytes()));
    if let Ok(text) = std::str::from_utf8(value) {
        let json = serde_json::to_string(text).unwrap_or_default();
        let json = json.trim_matches('"').to_owned();
        add(json.chars().fold(String::new(), |mut ascii, character| {
            if character.is_ascii() {
                ascii.push(character);
            } else {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    let _ = write!(ascii, "\\u{unit:04x}");
                }
            }
            ascii
        }));
        // JSON within JSON.
        add(json.replace('\\', "\\\\").replace('"', "\\\""));
        add(json);
        add(text.escape_debug().to_string());
        add(text.escape_default().to_string());
    }
    let hex = |upper: bool, sign: &str| {
        value.iter().fold(String::new(), |mut hex, byte| {
            let _ = if upper { write!(hex, "{sign}{byte:02X}") } else { write!(hex, "{sign}{byte:02x}") };
            hex
        })
    };
    for upper in [false, true] {
        add(hex(upper, ""));
        add(value.iter().fold(String::new(), |mut percent, &byte| {
            let _ = match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => write!(percent, "{}", char::from(byte)),
                _ if upper => write!(percent, "%{byte:02X}"),
                _ => write!(percent, "%{byte:02x}"),
            };
            percent
        }));
    }
    // Three bytes become four characters: a value begins at one of three places within them, and the characters at both
    // ends depend on what stands beside it.
    for shift in 0..3 {
        let shifted = Zeroizing::new([&[0; 2][..shift], value].concat());
        for engine in [&STANDARD, &URL_SAFE] {
            let text = engine.encode(&*shifted);
            let begin = (shift * 4).div_ceil(3);
            let end = shifted.len() * 4 / 3;
            add(text.get(begin..end).unwrap_or_default().to_owned());
        }
    }
    forms
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUE: &str = "hun\"ter\n2-\u{43f}\u{430}\u{440}\u{43e}\u{43b}\u{44c}/+? end";

    fn repeats_value(text: &str) -> bool {
        repeats(text, &Secret::new(VALUE.as_bytes().to_vec()))
    }

    #[test]
    fn every_form_is_found_wherever_it_stands() {
        assert!(repeats_value(&format!("bad metadata {VALUE}.")));
        let json = serde_json::to_string(VALUE).unwrap();
        assert!(repeats_value(&format!("bad metadata {json}")));
        assert!(repeats_value(&serde_json::to_string(&json).unwrap()));
        assert!(repeats_value(&format!("{VALUE:?}")));
        for before in ["", "a", "ab", "abc"] {
            let body = format!("{before}{VALUE}&more");
            for engine in [&STANDARD, &URL_SAFE] {
                assert!(repeats_value(&engine.encode(&body)), "{before}");
            }
            let hex: String = body.bytes().map(|byte| format!("{byte:02X}")).collect();
            assert!(repeats_value(&hex));
        }
        assert!(repeats_value("hun%22ter%0A2-%D0%BF%D0%B0"));
        assert!(repeats_value("hun\\\"ter\\n2-\\u043f\\u0430\\u0440"));
    }

    #[test]
    fn a_piece_is_enough_and_what_is_common_is_not() {
        let long = Secret::new(b"0123456789abcdefghijklmnopqrstuvwxyz".to_vec());
        assert!(repeats("near `fghijklmnopq…", &long));
        assert!(!repeats("Uncaught SyntaxError: missing ) after argument list at index.js:3", &long));
        assert!(repeats("token pin-7 is wrong", &Secret::new(b"pin-7".to_vec())));
        assert!(!repeats("token pin-8 is wrong", &Secret::new(b"pin-7".to_vec())));
        assert!(!repeats("anything", &Secret::new(Vec::new())));
        assert!(repeats(&"x".repeat(LONGEST + 1), &long));
    }
}
