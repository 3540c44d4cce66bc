//! `multipart/form-data`, both ways: an upload's body, and a Worker's modules as the API gives them back.
//!
//! Goes in: parts, or bytes. Comes out: bytes, or parts.
//!
//! **Invariant:** a name that would break out of its header is refused, not escaped: what comes back must compare
//! equal to what went up.

use bytes::Bytes;

use crate::model::Retry;
use crate::provider::ProviderError;

/// One part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    /// `name`.
    pub(super) name: String,
    /// `filename`, where there is one.
    pub(super) filename: Option<String>,
    /// `Content-Type`; empty where there is none.
    pub(super) content_type: String,
    /// The content.
    pub(super) content: Bytes,
}

/// Most parts that are read.
const MOST_PARTS: usize = 10_000;

/// The body that holds `parts`, separated by `boundary`, which must occur in none of them.
///
/// # Errors
/// Where a name cannot stand in a header.
pub(super) fn write(parts: &[(&Part, &[u8])], boundary: &str) -> Result<Vec<u8>, ProviderError> {
    let size: usize = parts.iter().map(|(_, content)| content.len() + 256).sum();
    let mut body = Vec::with_capacity(size);
    for (part, content) in parts {
        let mut header = format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{}\"", quotable(&part.name)?);
        if let Some(filename) = &part.filename {
            header.push_str(&format!("; filename=\"{}\"", quotable(filename)?));
        }
        header.push_str(&format!("\r\nContent-Type: {}\r\n\r\n", part.content_type));
        body.extend_from_slice(header.as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    Ok(body)
}

fn quotable(name: &str) -> Result<&str, ProviderError> {
    if name.is_empty() || name.chars().any(|c| c.is_control() || matches!(c, '"' | '\\')) {
        let shown: String = name.chars().take(80).flat_map(char::escape_default).collect();
        let error = ProviderError::new(format!("`{shown}` cannot be the name of a module"), Retry::Stalled);
        return Err(error.hint("rename the file: a name has no quote, backslash or control character"));
    }
    Ok(name)
}

/// The boundary that a content type names; `None` where it is no `multipart/form-data`.
pub(super) fn boundary(content_type: &str) -> Option<String> {
    let mut parameters = content_type.split(';');
    if !parameters.next()?.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    parameters.find_map(|parameter| {
        let (key, value) = parameter.split_once('=')?;
        let value = value.trim().trim_matches('"');
        (key.trim().eq_ignore_ascii_case("boundary") && !value.is_empty()).then(|| value.to_owned())
    })
}

/// The parts of `body`; `None` where it is malformed or has too many.
pub(super) fn read(body: &Bytes, boundary: &str) -> Option<Vec<Part>> {
    let delimiter = format!("--{boundary}");
    let separator = format!("\r\n{delimiter}");
    let mut at = find(body, delimiter.as_bytes(), 0)? + delimiter.len();
    let mut parts = Vec::new();
    loop {
        let rest = body.get(at..)?;
        if rest.starts_with(b"--") {
            return Some(parts);
        }
        if !rest.starts_with(b"\r\n") || parts.len() >= MOST_PARTS {
            return None;
        }
        // From the line break that ends the delimiter, so that a part without headers is found as well.
        let head_end = find(body, b"\r\n\r\n", at)?;
        let head = std::str::from_utf8(body.get(at..head_end)?).ok()?;
        let start = head_end + 4;
        let end = find(body, separator.as_bytes(), start)?;
        parts.push(part(head, body.slice(start..end))?);
        at = end + separator.len();
    }
}

fn part(head: &str, content: Bytes) -> Option<Part> {
    let (mut name, mut filename, mut content_type) = (None, None, String::new());
    for line in head.split("\r\n") {
        let Some((key, value)) = line.split_once(':') else { continue };
        if key.trim().eq_ignore_ascii_case("content-disposition") {
            name = parameter(value, "name");
            filename = parameter(value, "filename");
        } else if key.trim().eq_ignore_ascii_case("content-type") {
            value.trim().clone_into(&mut content_type);
        }
    }
    Some(Part { name: name?, filename, content_type, content })
}

fn parameter(value: &str, key: &str) -> Option<String> {
    value.split(';').skip(1).find_map(|parameter| {
        let (found, value) = parameter.split_once('=')?;
        (found.trim() == key).then(|| value.trim().trim_matches('"').to_owned())
    })
}

fn find(haystack: &[u8], needle: &[u8], from: usize) -> Option<usize> {
    let rest = haystack.get(from..)?;
    let first = *needle.first()?;
    let mut at = 0;
    while let Some(next) = rest.get(at..)?.iter().position(|b| *b == first) {
        at += next;
        if rest[at..].starts_with(needle) {
            return Some(from + at);
        }
        at += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(name: &str, content: &'static [u8]) -> Part {
        Part {
            name: name.into(),
            filename: Some(name.into()),
            content_type: "text/plain".into(),
            content: Bytes::from_static(content),
        }
    }

    #[test]
    fn what_was_written_is_read_back() {
        let parts = [
            module("index.js", b"export default {}\r\n--not-it"),
            module("lib/a b.bin", b"\0\r\n\r\n\xff"),
            module("empty", b""),
        ];
        let body: Vec<_> = parts.iter().map(|p| (p, p.content.as_ref())).collect();
        let body = Bytes::from(write(&body, "b0undary").unwrap());
        assert_eq!(read(&body, "b0undary").unwrap(), parts);
        for cut in 0..body.len() - 4 {
            assert!(read(&body.slice(..cut), "b0undary").is_none(), "cut at {cut}");
        }
    }

    #[test]
    fn a_name_that_breaks_its_header_is_refused() {
        for name in ["a\"b", "a\r\nX: y", "a\\b", ""] {
            let part = Part { filename: Some(name.into()), ..module("x", b"") };
            assert!(write(&[(&part, b"")], "b").is_err(), "{name:?}");
        }
    }

    #[test]
    fn a_boundary_comes_from_the_content_type() {
        assert_eq!(boundary("multipart/form-data; boundary=\"a b\"").as_deref(), Some("a b"));
        assert_eq!(boundary("Multipart/Form-Data;charset=x; Boundary=ab").as_deref(), Some("ab"));
        assert_eq!(boundary("application/javascript"), None);
    }
}
