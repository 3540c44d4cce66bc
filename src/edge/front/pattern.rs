//! Route patterns, as Cloudflare has them.
//!
//! Goes in: `[scheme://]host/path`, with `*` at the start of the host and at the end of the path. Comes out: whether a URL
//! matches, and which of two patterns is the more specific. Host names ignore case and port; the path includes the query,
//! so that only a final `*` matches a URL with a query (developers.cloudflare.com/workers/configuration/routing/routes).
//!
//! **Invariant:** pure; the order of patterns is total, so that the same table always picks the same route.

use std::cmp::Ordering;

/// A checked route pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::edge) struct Pattern {
    scheme: Option<String>,
    /// Without the wildcard, lower case.
    host: String,
    host_wild: bool,
    /// Without the wildcard, with its first slash.
    path: String,
    path_wild: bool,
}

impl Pattern {
    /// Reads a pattern; the error says what is wrong with it.
    pub(in crate::edge) fn parse(text: &str) -> Result<Self, &'static str> {
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme @ ("http" | "https"), rest)) => (Some(scheme.to_owned()), rest),
            Some(("*", rest)) => (None, rest),
            Some(_) => return Err("the scheme of a route pattern is http or https"),
            None => (None, text),
        };
        if rest.contains('?') {
            return Err("a route pattern has no query");
        }
        let (host, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, "/"),
        };
        let (host_wild, host) = match host.strip_prefix('*') {
            Some(host) => (true, host),
            None => (false, host),
        };
        let (path_wild, path) = match path.strip_suffix('*') {
            Some(path) => (true, path),
            None => (false, path),
        };
        if host.contains('*') || path.contains('*') {
            return Err("`*` stands only at the start of the host and at the end of the path");
        }
        if host.is_empty() && !host_wild {
            return Err("a route pattern needs a host");
        }
        if host.contains(':') || !host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)) {
            return Err("the host of a route pattern is a DNS name without a port");
        }
        Ok(Self { scheme, host: host.to_ascii_lowercase(), host_wild, path: path.to_owned(), path_wild })
    }

    /// The host without its wildcard.
    pub(in crate::edge) fn host(&self) -> &str {
        self.host.trim_start_matches('.')
    }

    /// Whether a URL matches. `host` is lower case and without a port, `path` is path and query.
    pub(in crate::edge) fn matches(&self, scheme: &str, host: &str, path: &str) -> bool {
        let host_matches = if self.host_wild { host.ends_with(&self.host) } else { host == self.host };
        let path_matches = if self.path_wild { path.starts_with(&self.path) } else { path == self.path };
        host_matches && path_matches && self.scheme.as_deref().is_none_or(|own| own == scheme)
    }

    /// `Less` where `self` is the more specific: exact host before wildcard, longer host, longer path, exact path before
    /// wildcard, with a scheme before without.
    pub(in crate::edge) fn specificity(&self, other: &Self) -> Ordering {
        let key = |p: &Self| (p.host_wild, usize::MAX - p.host.len(), usize::MAX - p.path.len(), p.path_wild, p.scheme.is_none());
        key(self).cmp(&key(other)).then_with(|| (&self.host, &self.path).cmp(&(&other.host, &other.path)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, url: &str) -> bool {
        let (scheme, rest) = url.split_once("://").unwrap();
        let (host, path) = rest.split_at(rest.find('/').unwrap());
        Pattern::parse(pattern).unwrap().matches(scheme, host, path)
    }

    #[test]
    fn patterns_match_as_cloudflare_documents_it() {
        for (pattern, url, expected) in [
            ("example.com/*", "https://example.com/a?b=c", true),
            ("example.com/*", "https://www.example.com/", false),
            ("*.example.com/*", "https://www.example.com/", true),
            ("*.example.com/*", "https://example.com/", false),
            ("*example.com/*", "https://example.com/", true),
            ("*example.com/*", "https://a.example.com/", true),
            ("example.com/images*", "https://example.com/images", true),
            ("example.com/images/*", "https://example.com/images", false),
            ("example.com/a", "https://example.com/a", true),
            ("example.com/a", "https://example.com/a?q", false),
            ("example.com/a", "https://example.com/A", false),
            ("https://example.com/*", "http://example.com/", false),
            ("example.com", "https://example.com/", true),
            ("Example.COM/*", "https://example.com/", true),
        ] {
            assert_eq!(matches(pattern, url), expected, "{pattern} {url}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for text in ["example.com/*.jpg", "example.com/?a=*", "a.*.example.com/", "ftp://example.com/", "/path", "a:80/*", ""] {
            assert!(Pattern::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_most_specific_comes_first() {
        let mut patterns = ["*example.com/*", "*.example.com/a", "example.com/*", "example.com/hello/*", "a.example.com/*"]
            .map(|text| (text, Pattern::parse(text).unwrap()));
        patterns.sort_by(|a, b| a.1.specificity(&b.1));
        let order: Vec<_> = patterns.iter().map(|(text, _)| *text).collect();
        assert_eq!(order, ["a.example.com/*", "example.com/hello/*", "example.com/*", "*.example.com/a", "*example.com/*"]);
    }
}
