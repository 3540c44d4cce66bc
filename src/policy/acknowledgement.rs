//! What people acknowledged by name, in the trailers of commit messages.
//!
//! A trailer is one line of the last paragraph of a message, `Acknowledge: production/kv.sessions delete`. Git's own
//! rules say what that paragraph is (`git interpret-trailers`), so that what Git shows as a trailer is what counts.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::model::{Address, EnvironmentId};

/// One dangerous step that a person agreed to.
///
/// As text, the value of the trailer: `production/kv.sessions delete`, `production delete-budget`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Acknowledgement {
    /// The instances of a resource may be deleted, with the data that they hold.
    Delete(Address),
    /// A change of a resource that cannot be taken back may be made.
    OneWay(Address),
    /// More of an environment may be deleted than its budget allows.
    DeleteBudget(EnvironmentId),
}

/// A text that acknowledges nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is none of `environment/kind.name delete`, `environment/kind.name one-way`, `environment delete-budget`")]
pub struct ParseAcknowledgementError(String);

impl fmt::Display for Acknowledgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delete(address) => write!(f, "{address} delete"),
            Self::OneWay(address) => write!(f, "{address} one-way"),
            Self::DeleteBudget(environment) => write!(f, "{environment} delete-budget"),
        }
    }
}

impl FromStr for Acknowledgement {
    type Err = ParseAcknowledgementError;
    fn from_str(text: &str) -> Result<Self, ParseAcknowledgementError> {
        let error = || ParseAcknowledgementError(text.chars().take(200).flat_map(char::escape_debug).collect());
        let mut words = text.split_ascii_whitespace();
        let (Some(subject), Some(action), None) = (words.next(), words.next(), words.next()) else { return Err(error()) };
        match action {
            "delete" => Ok(Self::Delete(subject.parse().map_err(|_| error())?)),
            "one-way" => Ok(Self::OneWay(subject.parse().map_err(|_| error())?)),
            "delete-budget" => Ok(Self::DeleteBudget(subject.parse().map_err(|_| error())?)),
            _ => Err(error()),
        }
    }
}

impl TryFrom<String> for Acknowledgement {
    type Error = ParseAcknowledgementError;
    fn try_from(text: String) -> Result<Self, ParseAcknowledgementError> {
        text.parse()
    }
}

impl From<Acknowledgement> for String {
    fn from(acknowledgement: Acknowledgement) -> String {
        acknowledgement.to_string()
    }
}

/// The resources whose deletion is acknowledged by name.
pub fn acknowledged_deletes(acknowledged: &BTreeSet<Acknowledgement>) -> BTreeSet<Address> {
    acknowledged
        .iter()
        .filter_map(|acknowledgement| match acknowledgement {
            Acknowledgement::Delete(address) => Some(address.clone()),
            Acknowledgement::OneWay(_) | Acknowledgement::DeleteBudget(_) => None,
        })
        .collect()
}

/// What `messages` (of the commits between the last applied revision, exclusive, and the new one) acknowledge.
///
/// The key is compared without regard to case. A value that is no acknowledgement is ignored: the hold that it was
/// meant to lift says the line to write.
pub fn acknowledgements<'a>(messages: impl IntoIterator<Item = &'a str>) -> BTreeSet<Acknowledgement> {
    messages
        .into_iter()
        .flat_map(trailers)
        .filter(|(key, _)| key.eq_ignore_ascii_case("acknowledge"))
        .filter_map(|(_, value)| value.parse().ok())
        .collect()
}

/// What a line of a message is to Git.
enum Line<'a> {
    Trailer(&'a str, &'a str),
    /// Begins with white space: goes on with the trailer above it.
    Continuation(&'a str),
    /// A line that Git itself writes into the block.
    Generated,
    Other,
}

fn classify(line: &str) -> Line<'_> {
    if line.starts_with([' ', '\t']) {
        return Line::Continuation(line.trim());
    }
    if line.starts_with("(cherry picked from commit ") {
        return Line::Generated;
    }
    match line.split_once(':') {
        Some((key, value)) => {
            let key = key.trim_end_matches([' ', '\t']);
            let token = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
            if token { Line::Trailer(key, value.trim()) } else { Line::Other }
        }
        None => Line::Other,
    }
}

/// The trailers of one message: those of its last paragraph, which a blank line parts from the title, where every line is
/// a trailer; or where at least a quarter are and Git wrote one of them.
fn trailers(message: &str) -> Vec<(&str, String)> {
    let lines: Vec<&str> = message.lines().map(str::trim_end).filter(|line| !line.starts_with('#')).collect();
    let end = lines.iter().rposition(|line| !line.is_empty()).map_or(0, |last| last + 1);
    let Some(blank) = lines[..end].iter().rposition(|line| line.is_empty()) else { return Vec::new() };
    let mut found: Vec<(&str, String)> = Vec::new();
    let (mut others, mut picked, mut generated, mut in_trailer) = (0, 0, false, false);
    for line in &lines[blank + 1..end] {
        match classify(line) {
            Line::Trailer(key, value) => {
                generated |= key == "Signed-off-by";
                found.push((key, value.to_owned()));
                in_trailer = true;
            }
            Line::Continuation(text) => match found.last_mut() {
                Some((_, value)) if in_trailer => {
                    value.push(' ');
                    value.push_str(text);
                }
                _ => others += 1,
            },
            Line::Generated => {
                generated = true;
                picked += 1;
                in_trailer = false;
            }
            Line::Other => {
                others += 1;
                in_trailer = false;
            }
        }
    }
    let all = others == 0 && !found.is_empty();
    let most = generated && (found.len() + picked) * 3 >= others;
    if all || most { found } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(message: &str) -> Vec<String> {
        acknowledgements([message]).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_trailer_counts_and_prose_does_not() {
        assert_eq!(of("kv: drop sessions\n\nAcknowledge: production/kv.sessions delete\n"), ["production/kv.sessions delete"]);
        assert_eq!(of("t\n\nacknowledge : acme/production delete-budget"), ["acme/production delete-budget"]);
        assert_eq!(of("t\n\nAcknowledge: production/kv.sessions\n  delete\nReviewed-by: A\n"), ["production/kv.sessions delete"]);
        for silent in [
            "Acknowledge: production/kv.sessions delete",
            "t\n\nAcknowledge: production/kv.sessions delete\n\nMore text follows.",
            "t\n\nWrite this:\nAcknowledge: production/kv.sessions delete",
            "t\n\n> Acknowledge: production/kv.sessions delete",
            "t\n\nAcknowledge: production/kv.sessions create",
            "t\n\nAcknowledge: production/kv.sessions delete now",
            "t\n\nAcknowledge: * delete",
        ] {
            assert!(of(silent).is_empty(), "{silent:?}");
        }
    }

    #[test]
    fn an_acknowledgement_survives_json() {
        for text in ["production/kv.sessions delete", "production/d1.ads one-way", "acme/staging delete-budget"] {
            let acknowledgement: Acknowledgement = text.parse().unwrap();
            let json = serde_json::to_string(&acknowledgement).unwrap();
            assert_eq!(json, format!("\"{text}\""));
            assert_eq!(serde_json::from_str::<Acknowledgement>(&json).unwrap(), acknowledgement);
        }
    }
}
