//! The one type for a secret value, and the trait by which one is had.
//!
//! **Invariant:** [`Secret`] has no `Debug`, no `Display`, no `Serialize`; its bytes are wiped when it is dropped.

use secrecy::{ExposeSecret, SecretSlice};
use serde::{Deserialize, Serialize};

use super::address::EnvironmentId;
use super::name::ResourceName;

/// A decrypted value, from decryption to the wire.
///
/// ```compile_fail
/// let secret = trunkline::model::Secret::new(b"value".to_vec());
/// println!("{secret:?}");
/// ```
/// ```compile_fail
/// let secret = trunkline::model::Secret::new(b"value".to_vec());
/// println!("{secret}");
/// ```
/// ```compile_fail
/// let secret = trunkline::model::Secret::new(b"value".to_vec());
/// serde_json::to_string(&secret);
/// ```
#[derive(Clone)]
pub struct Secret(SecretSlice<u8>);

impl Secret {
    /// Takes the bytes over.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }

    /// The bytes. Every caller is one of the few sinks that a secret may reach: a provider's request body, a
    /// file on a host, the HMAC that stands for it.
    pub fn expose(&self) -> &[u8] {
        self.0.expose_secret()
    }

    /// The value as text, or `None` where it is not UTF-8.
    pub fn expose_text(&self) -> Option<&str> {
        std::str::from_utf8(self.expose()).ok()
    }
}

/// What a secret is bound to, inside its ciphertext.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SecretScope {
    /// The environment that may use it.
    pub environment: EnvironmentId,
    /// Its key in the definitions.
    pub name: ResourceName,
}

/// Why a secret cannot be had. Names the secret, never its value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// No identity is configured.
    #[error("no identity is configured to decrypt `secret.{0}`")]
    NoIdentity(ResourceName),
    /// The environment defines no such secret.
    #[error("`secret.{0}` is not defined in this environment")]
    Undefined(ResourceName),
    /// None of the identities opens it.
    #[error("`secret.{0}` cannot be decrypted with the configured identity")]
    Undecryptable(ResourceName),
    /// The value was sealed for another tenant, environment or name.
    #[error("`secret.{name}` was sealed for another place ({sealed_for})")]
    Relocated {
        /// The secret that was asked for.
        name: ResourceName,
        /// What the envelope inside the ciphertext says.
        sealed_for: String,
    },
    /// The value decrypts to something that is not valid where it is used.
    #[error("`secret.{name}` is {what}")]
    Invalid {
        /// The secret that was asked for.
        name: ResourceName,
        /// What is wrong, without the value.
        what: &'static str,
    },
}

/// Opens the secrets of one environment. Implemented by the room `secrets`; injected wherever a value is needed.
pub trait SecretResolver: Send + Sync {
    /// The value of `secret.<name>`.
    ///
    /// # Errors
    /// [`SecretError`]; the caller fails closed.
    fn resolve(&self, name: &ResourceName) -> Result<Secret, SecretError>;

    /// HMAC-SHA256 of the value under the environment's digest key, as 64 hex digits: what stands for the value in
    /// plans and records. The HMAC is over the secret's name, a zero byte and the value.
    ///
    /// # Errors
    /// [`SecretError`]: without the digest key the plan says "not comparable", never "changed".
    fn mark(&self, name: &ResourceName) -> Result<String, SecretError>;

    /// The same of the token of a tunnel, which no repository holds: over [`super::token_label`], a zero byte and the token.
    ///
    /// # Errors
    /// [`SecretError`], as for [`SecretResolver::mark`]; always where there is no digest key to be had.
    fn mark_token(&self, tunnel: &ResourceName, _token: &Secret) -> Result<String, SecretError> {
        Err(SecretError::NoIdentity(tunnel.clone()))
    }
}
