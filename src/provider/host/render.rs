//! Values in the place of their placeholders.
//!
//! **Invariant:** one pass: a value that looks like a placeholder stays as it is.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{ResourceName, Retry, Secret, SecretResolver, placeholder};
use crate::provider::ProviderError;

/// `template` with the values of `names` filled in.
///
/// # Errors
/// Where a value cannot be had, and where the template uses a secret that is not among `names`.
pub(super) fn fill(
    path: &str,
    template: &[u8],
    names: &BTreeSet<ResourceName>,
    secrets: &dyn SecretResolver,
) -> Result<Secret, ProviderError> {
    let mut values = BTreeMap::new();
    for name in names {
        let value = secrets.resolve(name).map_err(|error| {
            ProviderError::new(format!("`{path}` cannot be filled in"), Retry::Stalled)
                .hint("check the identity that the daemon was given, and seal the value anew with `trunkline secrets set`")
                .source(error)
        })?;
        values.insert(placeholder(name).into_bytes(), value);
    }
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
    let name: ResourceName = "x".parse().expect("`x` is a name");
    let whole = placeholder(&name);
    whole.split('x').next().map_or(String::new(), str::to_owned)
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::SecretError;

    struct Values(BTreeMap<ResourceName, Vec<u8>>);

    impl SecretResolver for Values {
        fn resolve(&self, name: &ResourceName) -> Result<Secret, SecretError> {
            self.0.get(name).cloned().map(Secret::new).ok_or_else(|| SecretError::Undefined(name.clone()))
        }
        fn mark(&self, name: &ResourceName) -> Result<String, SecretError> {
            Err(SecretError::Undefined(name.clone()))
        }
    }

    fn name(text: &str) -> ResourceName {
        text.parse().unwrap()
    }

    #[test]
    fn each_placeholder_is_filled_once() {
        let (a, ab) = (name("a"), name("a-b"));
        let looks_like_one = placeholder(&ab).into_bytes();
        let values = Values([(a.clone(), looks_like_one.clone()), (ab.clone(), vec![0xff, 0])].into());
        let template = format!("x={} y={} z={}", placeholder(&a), placeholder(&ab), placeholder(&a));
        let filled = fill("/x", template.as_bytes(), &[a, ab].into(), &values).unwrap_or_else(|e| panic!("{e}"));
        let expected = [b"x=", &looks_like_one[..], b" y=\xff\x00 z=", &looks_like_one].concat();
        assert_eq!(filled.expose(), expected);
    }

    #[test]
    fn a_secret_that_is_not_listed_or_not_there_is_refused() {
        let values = Values([(name("a"), b"hunter2".to_vec())].into());
        let template = format!("x={} y={}", placeholder(&name("a")), placeholder(&name("b")));
        for names in [vec!["a"], vec!["a", "b"], vec![]] {
            let names = names.into_iter().map(name).collect();
            let error = fill("/x", template.as_bytes(), &names, &values).err().expect("it must be refused");
            assert!(!format!("{error:?}").contains("hunter2"));
        }
    }
}
