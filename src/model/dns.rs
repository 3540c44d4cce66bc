//! DNS records: the one form in which what is written and what the platform shows are compared, and our mark on them.
//!
//! Goes in: what a definition or the API says. Comes out: the same with case, last dots, quotes and spaces made one, or what is
//! wrong with it.
//!
//! **Invariant:** what is in this form stays as it is when it is put into it again.

use core::net::{Ipv4Addr, Ipv6Addr};

use super::address::Address;
use super::digest::Digest;
use super::marker::Marker;

/// The types of record that definitions know.
pub const TYPES: [&str; 9] = ["A", "AAAA", "CAA", "CNAME", "MX", "NS", "PTR", "SRV", "TXT"];

/// Characters of a comment that every plan takes. Source: developers.cloudflare.com/dns/manage-dns-records/reference/record-attributes.
pub const COMMENT_OF_EVERY_PLAN: usize = 100;

/// Characters of a comment that the paid plans take.
pub const COMMENT_LIMIT: usize = 500;

/// Bytes of one string of a text record.
const STRING: usize = 255;

/// Characters of content that a name of a record shows.
const SHOWN: usize = 48;

/// Whether the platform can stand between the name and those who ask for it.
pub fn is_proxiable(sort: &str) -> bool {
    matches!(sort, "A" | "AAAA" | "CNAME")
}

/// Whether records of this type have a priority.
pub fn has_priority(sort: &str) -> bool {
    matches!(sort, "MX" | "SRV")
}

/// A name: small letters, no last dot.
pub fn name(text: &str) -> String {
    text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase()
}

/// The content of a record of the type `sort` in its one form.
///
/// # Errors
/// What is expected instead.
pub fn content(sort: &str, text: &str) -> Result<String, &'static str> {
    let words: Vec<&str> = text.split_whitespace().collect();
    match sort {
        "A" => Ok(text.parse::<Ipv4Addr>().map_err(|_| "an IPv4 address, such as `192.0.2.1`")?.to_string()),
        "AAAA" => Ok(text.parse::<Ipv6Addr>().map_err(|_| "an IPv6 address, such as `2001:db8::1`")?.to_string()),
        "CNAME" | "MX" | "NS" | "PTR" => target(text).ok_or("the name of a host, such as `host.example.com`"),
        "SRV" => match words[..] {
            [weight, port, host] if weight.parse::<u16>().is_ok() && port.parse::<u16>().is_ok() => {
                target(host).map(|host| format!("{weight} {port} {host}"))
            }
            _ => None,
        }
        .ok_or("weight, port and host, such as `5 5060 sip.example.com`; the priority is a key of its own"),
        "CAA" => match text.trim().splitn(3, char::is_whitespace).collect::<Vec<_>>()[..] {
            [flags, tag, value] if flags.parse::<u8>().is_ok() && !value.trim().is_empty() => {
                Some(format!("{flags} {} \"{}\"", tag.to_ascii_lowercase(), value.trim().trim_matches('"')))
            }
            _ => None,
        }
        .ok_or("flags, tag and value, such as `0 issue \"letsencrypt.org\"`"),
        "TXT" => Ok(unquoted(text).unwrap_or_else(|| text.to_owned())),
        _ => Err("a record of a known type"),
    }
}

fn target(text: &str) -> Option<String> {
    let name = name(text);
    let sound = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    (name.len() <= 253 && name.split('.').all(sound)).then_some(name)
}

/// The text of quoted strings, one after the other: `"a" "b\"c"` is `ab"c`; `None` where it is not written so.
fn unquoted(text: &str) -> Option<String> {
    let mut found = String::new();
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let mut characters = rest.strip_prefix('"')?.char_indices();
        let end = loop {
            match characters.next()? {
                (at, '"') => break at,
                (_, '\\') => match characters.next()?.1 {
                    digit if digit.is_ascii_digit() => {
                        let code: String = [digit, characters.next()?.1, characters.next()?.1].into_iter().collect();
                        found.push(char::from(code.parse::<u8>().ok()?));
                    }
                    character => found.push(character),
                },
                (_, character) => found.push(character),
            }
        };
        rest = rest[end + 2..].trim_start();
    }
    Some(found)
}

/// A text as the API takes it for a `TXT` record: quoted strings of at most 255 bytes.
pub fn quoted(text: &str) -> String {
    let mut strings = vec![String::new()];
    let mut bytes = 0;
    for character in text.chars() {
        if bytes + character.len_utf8() > STRING {
            strings.push(String::new());
            bytes = 0;
        }
        bytes += character.len_utf8();
        if let Some(string) = strings.last_mut() {
            if matches!(character, '"' | '\\') {
                string.push('\\');
            }
            string.push(character);
        }
    }
    strings.iter().map(|string| format!("\"{string}\"")).collect::<Vec<_>>().join(" ")
}

/// What a record is called: type and name, and its content where a name may have several records of the type.
pub fn claim(sort: &str, name: &str, content: &str) -> String {
    if sort == "CNAME" {
        return format!("{sort} {name}");
    }
    if content.chars().count() <= SHOWN {
        return format!("{sort} {name} {content}");
    }
    let begin: String = content.chars().take(SHOWN / 2).collect();
    format!("{sort} {name} {begin}… {}", &Digest::of(content.as_bytes()).to_string()[..12])
}

/// A comment: the person's own text, then our mark.
pub fn comment(text: &str, owner: &Address) -> String {
    let mark = Marker::owner_tag(owner);
    if text.is_empty() { mark } else { format!("{text} {mark}") }
}

/// The person's own text of a comment, and whose the record is.
pub fn split_comment(comment: &str) -> (&str, Option<Address>) {
    let (text, last) = comment.rsplit_once(char::is_whitespace).unwrap_or(("", comment));
    match Marker::parse_owner_tag(last) {
        Some(owner) => (text.trim_end(), Some(owner)),
        None => (comment, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_has_one_form_and_keeps_it() {
        for (sort, written, expected) in [
            ("A", "192.0.2.1", "192.0.2.1"),
            ("AAAA", "2001:DB8:0:0::1", "2001:db8::1"),
            ("CNAME", "Origin.Example.ORG.", "origin.example.org"),
            ("MX", "MX1.example.com.", "mx1.example.com"),
            ("SRV", "5\t5060 SIP.example.com.", "5 5060 sip.example.com"),
            ("CAA", "0 ISSUE letsencrypt.org", "0 issue \"letsencrypt.org\""),
            ("CAA", "128 issue \"ca.example; policy=ev\"", "128 issue \"ca.example; policy=ev\""),
            ("TXT", "v=spf1 -all", "v=spf1 -all"),
            ("TXT", "\"v=spf1 \" \"-all\"", "v=spf1 -all"),
            ("TXT", r#""a\"b\\c\065""#, r#"a"b\cA"#),
            ("TXT", "says \"hello\"", "says \"hello\""),
            ("TXT", "", ""),
        ] {
            assert_eq!(content(sort, written).as_deref(), Ok(expected), "{sort} {written}");
            if sort != "TXT" {
                assert_eq!(content(sort, expected).as_deref(), Ok(expected), "{sort} {expected}");
            }
        }
        for (sort, bad) in [
            ("A", "192.0.2.256"),
            ("A", "2001:db8::1"),
            ("CNAME", "a b"),
            ("CNAME", ""),
            ("SRV", "5 sip.example.com"),
            ("CAA", "x issue y"),
        ] {
            assert!(content(sort, bad).is_err(), "{sort} {bad}");
        }
    }

    #[test]
    fn long_text_is_sent_in_strings_and_comes_back_whole() {
        let text = format!("k={}\"\\é", "a".repeat(600));
        let sent = quoted(&text);
        assert!(sent.starts_with("\"k=") && sent.matches("\" \"").count() == 2, "{sent}");
        assert_eq!(content("TXT", &sent).unwrap(), text);
    }

    #[test]
    fn a_comment_carries_whose_it_is() {
        let owner: Address = "production/dns.api".parse().unwrap();
        for text in ["", "the API", "two  words "] {
            let comment = comment(text, &owner);
            assert_eq!(split_comment(&comment), (text.trim_end(), Some(owner.clone())), "{comment}");
        }
        for theirs in ["", "the API", "trunkline:", "see trunkline:production/dns.api above"] {
            assert_eq!(split_comment(theirs), (theirs, None));
        }
    }
}
