//! What we write at the target, so that a lost store can be rebuilt and an unknown outcome can be observed.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::address::InstanceKey;
use super::digest::Digest;
use super::revision::Revision;

/// Which operation put the present state there.
///
/// At Cloudflare it is split over two annotations of the version: `workers/tag` holds the operation id,
/// `workers/message` holds [`Marker::message`]. On a host it is an entry of the manifest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Marker {
    /// The instance that the operation was for.
    pub key: InstanceKey,
    /// The revision that was applied.
    pub revision: Revision,
    /// Digest of the desired properties.
    pub desired: Digest,
    /// The operation, a UUIDv7.
    pub operation: String,
}

impl Marker {
    /// `trunkline main@sha1:<40> <64 hex digits> production/worker.ads-api@main`: at most 1,000 bytes.
    pub fn message(&self) -> String {
        format!("trunkline {} {} {}", self.revision.full(), self.desired, self.key)
    }

    /// Reads back what [`Marker::message`] wrote; `None` for anything else.
    pub fn parse(message: &str, operation: &str) -> Option<Self> {
        let mut words = message.split(' ');
        if words.next()? != "trunkline" {
            return None;
        }
        let revision = words.next()?.parse().ok()?;
        let desired = words.next()?.parse().ok()?;
        let key = words.next()?.parse().ok()?;
        words.next().is_none().then(|| Self { key, revision, desired, operation: operation.to_owned() })
    }

    /// What a deployment says, which has a place for one text only: [`Marker::message`] and the operation.
    pub fn whole(&self) -> String {
        format!("{} {}", self.message(), self.operation)
    }

    /// Reads back what [`Marker::whole`] wrote; `None` for anything else.
    pub fn parse_whole(text: &str) -> Option<Self> {
        let (message, operation) = text.rsplit_once(' ')?;
        Self::parse(message, operation)
    }

    /// The tag that says who owns a thing, written when it is created and never after:
    /// `trunkline:production/worker.ads-api`.
    pub fn owner_tag(address: &super::address::Address) -> String {
        format!("trunkline:{address}")
    }

    /// The owner that a tag names, where it is one of ours.
    pub fn parse_owner_tag(tag: &str) -> Option<super::address::Address> {
        tag.strip_prefix("trunkline:")?.parse().ok()
    }
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_back_and_a_foreign_one_is_not() {
        let marker = Marker {
            key: "production/worker.ads-api@main".parse().unwrap(),
            revision: format!("main@sha1:{}", "a".repeat(40)).parse().unwrap(),
            desired: Digest::of(b"x"),
            operation: "op".into(),
        };
        assert_eq!(Marker::parse(&marker.message(), "op"), Some(marker.clone()));
        assert_eq!(Marker::parse_whole(&marker.message()), None);
        assert_eq!(Marker::parse_whole(&marker.whole()), Some(marker));
        assert_eq!(Marker::parse("deployed by hand", "op"), None);
    }
}
