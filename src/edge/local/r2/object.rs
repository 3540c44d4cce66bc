//! An object and what is known of it.
//!
//! **Invariant:** what is stored of an object is what the wire shows of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

use super::super::super::record::fresh_hex;
use super::{Blob, Given, R2Error};

/// An object without its bytes.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::edge) struct Object {
    pub(in crate::edge) key: String,
    pub(in crate::edge) version: String,
    pub(in crate::edge) size: u64,
    /// MD5 in hex; of a multipart object, the MD5 of its parts' MD5s, with their number.
    pub(in crate::edge) etag: String,
    /// Milliseconds since 1970.
    pub(in crate::edge) uploaded: i64,
    pub(in crate::edge) http: HttpFields,
    pub(in crate::edge) custom: BTreeMap<String, String>,
    pub(in crate::edge) checksums: Checksums,
    pub(in crate::edge) storage_class: String,
}

/// Headers that an object is served with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(in crate::edge) struct HttpFields {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::edge) content_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::edge) content_language: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::edge) content_disposition: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::edge) content_encoding: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::edge) cache_control: Option<String>,
    /// Milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "loose")]
    pub(in crate::edge) cache_expiry: Option<i64>,
}

/// Checksums, in hex.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::edge) struct Checksums {
    #[serde(rename = "0", skip_serializing_if = "Option::is_none")]
    pub(in crate::edge) md5: Option<String>,
    #[serde(rename = "1", skip_serializing_if = "Option::is_none")]
    pub(in crate::edge) sha1: Option<String>,
    #[serde(rename = "2", skip_serializing_if = "Option::is_none")]
    pub(in crate::edge) sha256: Option<String>,
    #[serde(rename = "3", skip_serializing_if = "Option::is_none")]
    pub(in crate::edge) sha384: Option<String>,
    #[serde(rename = "4", skip_serializing_if = "Option::is_none")]
    pub(in crate::edge) sha512: Option<String>,
}

/// Which bytes of an object are asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(in crate::edge) struct Range {
    #[serde(deserialize_with = "loose")]
    pub(in crate::edge) offset: Option<i64>,
    #[serde(deserialize_with = "loose")]
    pub(in crate::edge) length: Option<i64>,
    #[serde(deserialize_with = "loose")]
    pub(in crate::edge) suffix: Option<i64>,
}

/// A number, or the text of one: the runtime writes those of 64 bits as texts.
pub(super) fn loose<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => number.as_i64(),
        _ => None,
    })
}

/// The object that a blob becomes.
pub(super) fn of_blob(key: &str, blob: &Blob, given: Given, now: i64) -> Object {
    Object {
        key: key.to_owned(),
        version: fresh_hex(),
        size: blob.size,
        etag: blob.md5.clone(),
        uploaded: now,
        http: given.http,
        custom: given.custom,
        checksums: Checksums { md5: Some(blob.md5.clone()), ..blob.checksums.clone() },
        storage_class: given.storage_class.unwrap_or_else(|| "Standard".to_owned()),
    }
}

impl Range {
    /// Start and length within an object.
    pub(in crate::edge) fn within(&self, size: u64) -> Result<(u64, u64), R2Error> {
        let number = |value: i64| u64::try_from(value).map_err(|_| R2Error::InvalidRange);
        if let Some(suffix) = self.suffix {
            let length = number(suffix)?.min(size);
            return if length == 0 { Err(R2Error::InvalidRange) } else { Ok((size - length, length)) };
        }
        let offset = self.offset.map_or(Ok(0), number)?;
        if offset > size {
            return Err(R2Error::InvalidRange);
        }
        let length = self.length.map_or(Ok(size - offset), number)?.min(size - offset);
        if length == 0 && size > 0 { Err(R2Error::InvalidRange) } else { Ok((offset, length)) }
    }

    /// The one range of a header such as `bytes=0-9`; `None` where it has none or several, which means the whole object.
    pub(in crate::edge) fn of_header(header: &str) -> Option<Self> {
        let (first, last) = header.trim().strip_prefix("bytes=").filter(|rest| !rest.contains(','))?.split_once('-')?;
        let (first, last) = (first.trim(), last.trim());
        match (first.parse::<i64>(), last.parse::<i64>()) {
            (Ok(first), Ok(last)) if last >= first => {
                Some(Self { offset: Some(first), length: Some(last - first + 1), suffix: None })
            }
            (Ok(first), Err(_)) if last.is_empty() => Some(Self { offset: Some(first), ..Self::default() }),
            (Err(_), Ok(suffix)) if first.is_empty() => Some(Self { suffix: Some(suffix), ..Self::default() }),
            _ => None,
        }
    }
}

impl Object {
    /// The runtime's form of an object, of which these bytes are given.
    pub(in crate::edge) fn shown(&self, range: Option<(u64, u64)>) -> Value {
        let custom: Vec<Value> = self.custom.iter().map(|(k, v)| json!({ "k": k, "v": v })).collect();
        let mut shown = json!({
            "name": self.key,
            "version": self.version,
            "size": self.size,
            "etag": self.etag,
            "uploaded": self.uploaded,
            "httpFields": self.http,
            "customFields": custom,
            "checksums": self.checksums,
            "storageClass": self.storage_class,
        });
        if let Some((offset, length)) = range {
            shown["range"] = json!({ "offset": offset, "length": length });
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_lies_within_the_object() {
        let range = |offset, length, suffix| Range { offset, length, suffix }.within(10);
        assert_eq!(range(None, None, None), Ok((0, 10)));
        assert_eq!(range(Some(2), Some(3), None), Ok((2, 3)));
        assert_eq!(range(Some(8), Some(30), None), Ok((8, 2)));
        assert_eq!(range(None, None, Some(4)), Ok((6, 4)));
        assert_eq!(range(Some(11), None, None), Err(R2Error::InvalidRange));
        assert_eq!(range(Some(-1), None, None), Err(R2Error::InvalidRange));
        assert_eq!(Range::default().within(0), Ok((0, 0)));
    }

    #[test]
    fn a_header_with_one_range_is_understood() {
        assert_eq!(Range::of_header("bytes=2-4").unwrap().within(10), Ok((2, 3)));
        assert_eq!(Range::of_header("bytes=7-").unwrap().within(10), Ok((7, 3)));
        assert_eq!(Range::of_header("bytes=-3").unwrap().within(10), Ok((7, 3)));
        assert!(Range::of_header("bytes=0-1,3-4").is_none());
        assert!(Range::of_header("items=0-1").is_none());
    }
}
