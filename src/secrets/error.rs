//! What can go wrong with identities, recipients and sealed values; names places, never values.

use std::path::PathBuf;

use crate::model::ResourceName;

/// Why an identity cannot be had or a value cannot be sealed.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// The identity file cannot be read.
    #[error("the identity file `{path}` cannot be read")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// Others than its owner may read or write the identity file.
    #[error("the identity file `{path}` has mode {mode:04o}: others than its owner can reach it")]
    TooOpen {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The identity file is a folder, a pipe or a device, or larger than any identity file.
    #[error("the identity file `{path}` is {what}")]
    NotAnIdentityFile {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// A line of the identity file is no X25519 identity.
    #[error("line {line} of the identity is {what}")]
    Identity {
        /// The line, from 1.
        line: usize,
        /// What it is, without its text.
        what: &'static str,
    },
    /// The identity file holds only comments.
    #[error("the identity holds no key")]
    NoKey,
    /// A text is no X25519 recipient.
    #[error("a recipient is {what}")]
    Recipient {
        /// What it is.
        what: &'static str,
    },
    /// There is nobody to seal a value for.
    #[error("there is no recipient to seal `secret.{0}` for")]
    NoRecipients(ResourceName),
    /// An empty value would blank what it is used for.
    #[error("the value of `secret.{0}` is empty")]
    EmptyValue(ResourceName),
    /// The value is larger than any secret.
    #[error("the value of `secret.{name}` has more than {limit} bytes")]
    ValueTooLarge {
        /// The secret.
        name: ResourceName,
        /// The bound in bytes.
        limit: usize,
    },
    /// The age library refused.
    #[error("`secret.{name}` cannot be sealed")]
    Seal {
        /// The secret.
        name: ResourceName,
        /// The library's error.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// What is to be written is no age file.
    #[error("the sealed value of `secret.{0}` is not an ASCII-armored age file")]
    NotArmored(ResourceName),
    /// The definition into which a value is to be written does not parse.
    #[error("the file is not valid TOML")]
    Toml(#[source] Box<toml_edit::TomlError>),
    /// The definition holds something else where the table of the secret belongs.
    #[error("`{0}` is not a table")]
    NotATable(String),
}

impl SecretsError {
    /// What the reader can do now.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::TooOpen { path, .. } => Some(format!("chmod 600 {}", path.display())),
            Self::Unreadable { .. } | Self::NotAnIdentityFile { .. } | Self::NoKey => {
                Some("make an identity with `trunkline secrets keygen`".to_owned())
            }
            Self::Identity { .. } => Some(
                "an identity is a line `AGE-SECRET-KEY-1…`, as `trunkline secrets keygen` or `age-keygen` writes it".to_owned(),
            ),
            Self::Recipient { .. } | Self::NoRecipients(_) => {
                Some("a recipient is a text `age1…`, as `trunkline secrets keygen` or `age-keygen -y` prints it".to_owned())
            }
            Self::EmptyValue(_) => Some("to stop using a secret, remove its table from the definition".to_owned()),
            Self::NotATable(_) => Some("write secrets as tables: `[secret.<name>]` with a key `age`".to_owned()),
            Self::ValueTooLarge { .. } | Self::Seal { .. } | Self::NotArmored(_) | Self::Toml(_) => None,
        }
    }
}
