//! Values in the place of their placeholders.
//!
//! **Invariant:** one pass: a value that looks like a placeholder stays as it is.

use std::collections::BTreeMap;

use crate::model::{Retry, Secret, placeholder};
use crate::provider::ProviderError;

/// `template` with `values`, by what they are called, filled in.
///
/// # Errors
/// Where the template uses a value that is not among them.
pub(super) fn fill(path: &str, template: &[u8], values: &BTreeMap<String, Secret>) -> Result<Secret, ProviderError> {
    let values: Vec<(Vec<u8>, &Secret)> = values.iter().map(|(name, value)| (placeholder(name).into_bytes(), value)).collect();
    let mut pieces: Vec<&[u8]> = Vec::new();
    let mut rest = template;
    while let Some(at) = find(rest, opening().as_bytes()) {
        pieces.push(&rest[..at]);
        rest = &rest[at..];
        let (placeholder, value) = values.iter().find(|(placeholder, _)| rest.starts_with(placeholder)).ok_or_else(|| {
            ProviderError::new(format!("`{path}` uses a secret that its definition does not list"), Retry::Stalled)
        })?;
        pieces.push(value.expose());
        rest = &rest[placeholder.len()..];
    }
    pieces.push(rest);
    // The whole capacity at once: a vector that grows leaves copies behind that nobody wipes.
    let mut filled = Vec::with_capacity(pieces.iter().map(|piece| piece.len()).sum());
    pieces.iter().for_each(|piece| filled.extend_from_slice(piece));
    Ok(Secret::new(filled))
}

/// How every placeholder begins.
fn opening() -> String {
    placeholder("x").split('x').next().map_or(String::new(), str::to_owned)
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(values: &[(&str, &[u8])]) -> BTreeMap<String, Secret> {
        values.iter().map(|(name, value)| ((*name).to_owned(), Secret::new(value.to_vec()))).collect()
    }

    #[test]
    fn each_placeholder_is_filled_once() {
        let (a, ab, token) = ("a", "a-b", "tunnel.a.token");
        let looks_like_one = placeholder(ab).into_bytes();
        let values = values(&[(a, &looks_like_one), (ab, &[0xff, 0]), (token, b"eyJ")]);
        let template = format!("x={} y={} z={} t={}", placeholder(a), placeholder(ab), placeholder(a), placeholder(token));
        let filled = fill("/x", template.as_bytes(), &values).unwrap_or_else(|e| panic!("{e}"));
        let expected = [b"x=", &looks_like_one[..], b" y=\xff\x00 z=", &looks_like_one, b" t=eyJ"].concat();
        assert_eq!(filled.expose(), expected);
    }

    #[test]
    fn a_secret_that_is_not_listed_is_refused() {
        let template = format!("x={} y={}", placeholder("a"), placeholder("b"));
        for listed in [&[("a", &b"hunter2"[..])][..], &[]] {
            let error = fill("/x", template.as_bytes(), &values(listed)).err().expect("it must be refused");
            assert!(!format!("{error:?}").contains("hunter2"));
        }
    }
}
