//! Secrets at rest: sealed under the edge's own age key.
//!
//! Goes in: a value. Comes out: its ciphertext and a keyed mark, by which two values can be told apart without either.
//!
//! **Invariant:** the key file is readable by its owner only, or the edge does not start; a value leaves here only as
//! [`Secret`].

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use age::secrecy::ExposeSecret as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::EdgeError;
use super::disk::write_atomic;
use super::record::Binding;
use crate::model::Secret;

/// The edge's own key.
pub(super) struct Seal {
    identity: age::x25519::Identity,
    mark_key: Zeroizing<Vec<u8>>,
    sign_key: Zeroizing<Vec<u8>>,
}

impl Seal {
    /// Reads the key file, or makes it.
    pub(super) fn open(path: &Path) -> Result<Self, EdgeError> {
        let failed = |source| EdgeError::File { path: path.to_owned(), source };
        let text = match fs::read_to_string(path) {
            Ok(text) => Zeroizing::new(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let text = Zeroizing::new(age::x25519::Identity::generate().to_string().expose_secret().to_owned());
                write_atomic(path, text.as_bytes(), 0o600).map_err(failed)?;
                text
            }
            Err(error) => return Err(failed(error)),
        };
        let mode = fs::metadata(path).map_err(failed)?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(EdgeError::KeyMode { path: path.to_owned(), mode: mode & 0o777 });
        }
        let line = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#')).unwrap_or_default();
        let identity: age::x25519::Identity = line.parse().map_err(|_| EdgeError::Key(path.to_owned()))?;
        // A key of its own for the marks, so that a mark says nothing about the identity.
        let mark_key = Zeroizing::new(keyed(line.as_bytes(), b"trunkline edge secret marks"));
        let sign_key = Zeroizing::new(keyed(line.as_bytes(), b"trunkline edge tokens"));
        Ok(Self { identity, mark_key, sign_key })
    }

    /// The binding that keeps a value.
    pub(super) fn seal(&self, value: &Secret) -> Result<Binding, EdgeError> {
        let mark = keyed(&self.mark_key, value.expose()).iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Binding::SecretText { sealed: self.seal_text(value)?, mark })
    }

    /// The ciphertext of a value, base64.
    pub(super) fn seal_text(&self, value: &Secret) -> Result<String, EdgeError> {
        let sealed = age::encrypt(&self.identity.to_public(), value.expose()).map_err(|_| EdgeError::Seal)?;
        Ok(STANDARD.encode(sealed))
    }

    /// A signature of what this edge gives out and takes back.
    pub(super) fn sign(&self, message: &[u8]) -> Vec<u8> {
        keyed(&self.sign_key, message)
    }

    /// The value that a sealed text keeps.
    pub(super) fn open_sealed(&self, sealed: &str) -> Result<Secret, EdgeError> {
        let bytes = STANDARD.decode(sealed).map_err(|_| EdgeError::Unseal)?;
        age::decrypt(&self.identity, &bytes).map(Secret::new).map_err(|_| EdgeError::Unseal)
    }
}

fn keyed(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_value_comes_back_and_equal_values_have_equal_marks() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let seal = Seal::open(&path).unwrap();
        let mark = |value: &[u8]| match seal.seal(&Secret::new(value.to_vec())).unwrap() {
            Binding::SecretText { sealed, mark } => (sealed, mark),
            other => panic!("{other:?}"),
        };
        let (first, second, other) = (mark(b"one"), mark(b"one"), mark(b"two"));
        assert_ne!(first.0, second.0);
        assert_eq!(first.1, second.1);
        assert_ne!(first.1, other.1);
        let again = Seal::open(&path).unwrap();
        assert_eq!(again.open_sealed(&first.0).unwrap().expose(), b"one");
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        Seal::open(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(Seal::open(&path), Err(EdgeError::KeyMode { .. })));
    }
}
