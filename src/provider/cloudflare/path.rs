//! Paths and queries of the REST API, from names that came from elsewhere.
//!
//! Goes in: names and ids, of definitions and of answers. Comes out: an encoded path, or a refusal.
//!
//! **Invariant:** no text reaches a path without both passing a grammar and being percent-encoded: a name can never
//! become another path, a query or a fragment.

use crate::model::Retry;
use crate::provider::ProviderError;

/// What a name in a path may be made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Grammar {
    /// The name of a Worker: `[A-Za-z0-9_-]{1,255}`, not beginning with `-`.
    Script,
    /// An id that the API gave: `[A-Za-z0-9_-]{1,64}`.
    Id,
    /// The name of a zone: `[a-z0-9.-]{1,253}`, beginning and ending with a letter or digit.
    Zone,
}

impl Grammar {
    fn noun(self) -> &'static str {
        match self {
            Self::Script => "the name of a Worker",
            Self::Id => "an id",
            Self::Zone => "the name of a zone",
        }
    }

    fn accepts(self, text: &str) -> bool {
        let word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
        match self {
            Self::Script => (1..=255).contains(&text.len()) && text.bytes().all(word) && !text.starts_with('-'),
            Self::Id => (1..=64).contains(&text.len()) && text.bytes().all(word),
            Self::Zone => {
                let label = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
                (1..=253).contains(&text.len())
                    && text.bytes().all(|b| label(b) || matches!(b, b'.' | b'-'))
                    && text.bytes().next().is_some_and(label)
                    && text.bytes().next_back().is_some_and(label)
                    && !text.contains("..")
            }
        }
    }

    /// The same text, where it is of this grammar.
    ///
    /// # Errors
    /// One that will not pass by itself, naming the text with control characters escaped.
    pub(super) fn check(self, text: &str) -> Result<&str, ProviderError> {
        if self.accepts(text) {
            return Ok(text);
        }
        let shown: String = text.chars().take(80).flat_map(char::escape_default).collect();
        Err(ProviderError::new(format!("`{shown}` is not {}", self.noun()), Retry::Stalled))
    }
}

/// Percent-encodes everything but the unreserved characters of RFC 3986.
pub(super) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// A path below the endpoint, each segment encoded: `/accounts/…/workers/scripts`.
pub(super) fn path(segments: &[&str]) -> String {
    segments.iter().flat_map(|segment| ["/".to_owned(), encode(segment)]).collect()
}

/// The same with a query, after the one that it has.
pub(super) fn with_query(path: &str, query: &[(&str, &str)]) -> String {
    let pairs: Vec<String> = query.iter().map(|(key, value)| format!("{}={}", encode(key), encode(value))).collect();
    // Everything in a path is encoded: a mark in it begins the query that it has already.
    let begin = if path.contains('?') { '&' } else { '?' };
    if pairs.is_empty() { path.to_owned() } else { format!("{path}{begin}{}", pairs.join("&")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_its_segment() {
        for hostile in ["a/../b", "a?b", "a#b", "a%2fb", "..", "", "a b", "a\r\nb", "é", "a;b", "-x"] {
            assert!(Grammar::Script.check(hostile).is_err(), "{hostile:?}");
            let encoded = path(&["workers", "scripts", hostile]);
            let tail = encoded.strip_prefix("/workers/scripts/").unwrap();
            assert!(!tail.contains(['/', '?', '#', ' ', '\r']), "{encoded}");
        }
        assert!(Grammar::Script.check("ads-api-production").is_ok());
        assert!(Grammar::Id.check("0f2c5a9e-1b2d-4c3e-8f4a-5b6c7d8e9f0a").is_ok());
        assert!(Grammar::Id.check("../x").is_err());
        assert!(Grammar::Zone.check("example.com").is_ok());
        for hostile in ["example.com,x", "a..b", ".com", "a b", "EXAMPLE.com", "a:b"] {
            assert!(Grammar::Zone.check(hostile).is_err(), "{hostile:?}");
        }
    }

    #[test]
    fn a_query_is_encoded() {
        assert_eq!(with_query("/zones", &[("name", "a&b=c")]), "/zones?name=a%26b%3Dc");
        assert_eq!(with_query("/zones", &[]), "/zones");
        assert_eq!(with_query("/zones?name=a", &[("page", "2")]), "/zones?name=a&page=2");
    }
}
