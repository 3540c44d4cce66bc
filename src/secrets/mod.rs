//! Encrypted values in the repository: make identities, seal values, open them, write them into a definition.
//!
//! Goes in: age files as definitions hold them, and the installation's identity. Comes out: [`Secret`] values for the
//! few sinks that need them, and the marks that stand for them everywhere else.
//!
//! A value is encrypted to X25519 recipients of age (<https://age-encryption.org/v1>). Inside the ciphertext stands an
//! envelope that names tenant, environment and secret; it is compared with the place from which the value is asked
//! for, so that a ciphertext copied elsewhere opens nothing.
//!
//! **Invariant:** no value, and nothing computed from a value without a key, is in an error, a log line or a file.
//! Plugins, passphrases and SSH keys are not understood at all. The scope comes from the caller, never from the
//! ciphertext.
//!
//! [`Secret`]: crate::model::Secret

mod edit;
mod envelope;
mod error;
mod identity;
mod opener;

pub use edit::{Listed, list, set};
pub use envelope::{MAX_VALUE_BYTES, seal};
pub use error::SecretsError;
pub use identity::{CREDENTIAL, Identities, Recipient};
pub use opener::Opener;
