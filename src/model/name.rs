//! Names as checked newtypes: a value of these types has passed the grammar, wherever it came from.
//!
//! The grammar is that of a DNS label, `[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?`: it is safe in a path, a URL, a
//! unit name, a Git ref and a terminal, which is why nothing wider is accepted.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The text is empty.
    #[error("a name cannot be empty")]
    Empty,
    /// The text has more than 63 characters.
    #[error("`{0}` has more than 63 characters")]
    TooLong(String),
    /// A character outside the grammar.
    #[error("`{name}` contains {character:?}; names are made of a-z, 0-9 and `-`")]
    Character {
        /// The text as given, with control characters escaped.
        name: String,
        /// The first character that is not allowed.
        character: char,
    },
    /// The text begins or ends with `-`.
    #[error("`{0}` begins or ends with `-`")]
    Hyphen(String),
}

fn check(text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if let Some(character) = text.chars().find(|c| !(c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '-')) {
        let name = text.chars().take(80).flat_map(char::escape_default).collect();
        return Err(NameError::Character { name, character });
    }
    if text.len() > 63 {
        return Err(NameError::TooLong(text.to_owned()));
    }
    if text.starts_with('-') || text.ends_with('-') {
        return Err(NameError::Hyphen(text.to_owned()));
    }
    Ok(())
}

macro_rules! checked_name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(try_from = "String", into = "String")]
        #[schemars(with = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                check(&text)?;
                Ok(Self(text))
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                check(text)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

checked_name! {
    /// An owner of environments, accounts, hosts and secrets; `default` where nobody said otherwise.
    TenantName
}
checked_name! {
    /// The unit of reconciliation, such as `production`.
    EnvironmentName
}
checked_name! {
    /// The key of a resource or a secret within its kind, such as `ads-api`.
    ResourceName
}
checked_name! {
    /// The key of a target within an environment, unique over `cloudflare`, `edge` and `host`.
    TargetName
}

impl Default for TenantName {
    fn default() -> Self {
        Self("default".to_owned())
    }
}

impl TenantName {
    /// Whether this is the tenant that always exists.
    pub fn is_default(&self) -> bool {
        self.0 == "default"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_that_of_a_dns_label() {
        for good in ["a", "ads-api", "0", "a--b", &"a".repeat(63)] {
            assert_eq!(good.parse::<ResourceName>().map(String::from), Ok(good.to_owned()));
        }
        for bad in ["", "-a", "a-", "A", "a_b", "a/b", "..", "a\u{1b}[31m", "é", &"a".repeat(64)] {
            assert!(bad.parse::<ResourceName>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn an_error_never_repeats_a_control_character() {
        let error = "a\u{1b}[31m".parse::<ResourceName>().unwrap_err().to_string();
        assert!(!error.contains('\u{1b}'), "{error}");
    }
}
