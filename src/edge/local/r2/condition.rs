//! On which condition an object is read or replaced: `onlyIf` of a binding.
//!
//! **Invariant:** a condition is judged in the same transaction as what hangs on it.

use serde::Deserialize;

use super::object::loose;
use super::{Object, R2Error};

/// What has to hold.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(in crate::edge) struct Condition {
    etag_matches: Option<Vec<Etag>>,
    etag_does_not_match: Option<Vec<Etag>>,
    #[serde(deserialize_with = "loose")]
    uploaded_before: Option<i64>,
    #[serde(deserialize_with = "loose")]
    uploaded_after: Option<i64>,
    seconds_granularity: bool,
}

#[derive(Debug, Clone, Deserialize)]
struct Etag {
    #[serde(default)]
    value: String,
    r#type: String,
}

impl Etag {
    fn fits(&self, etag: &str, weakly: bool) -> bool {
        self.r#type == "wildcard" || (self.value == etag && (weakly || self.r#type != "weak"))
    }
}

impl Condition {
    /// Judges the object that is there, if any.
    pub(in crate::edge) fn judge(&self, object: Option<&Object>) -> Result<(), R2Error> {
        let holds = match object {
            Some(object) => self.holds(object),
            None => self.etag_matches.is_none() && self.uploaded_after.is_none(),
        };
        if holds { Ok(()) } else { Err(R2Error::PreconditionFailed) }
    }

    fn holds(&self, object: &Object) -> bool {
        let truncated = |time: i64| if self.seconds_granularity { time / 1000 * 1000 } else { time };
        let uploaded = truncated(object.uploaded);
        let matches = self.etag_matches.as_ref().map(|etags| etags.iter().any(|etag| etag.fits(&object.etag, false)));
        let differs = self.etag_does_not_match.as_ref().map(|etags| !etags.iter().any(|etag| etag.fits(&object.etag, true)));
        // RFC 9110, 13.2.2: times count where there is no etag to judge by.
        let before = matches.unwrap_or(false) || self.uploaded_before.is_none_or(|time| uploaded < truncated(time));
        let after = differs.unwrap_or(false) || self.uploaded_after.is_none_or(|time| truncated(time) < uploaded);
        matches.unwrap_or(true) && differs.unwrap_or(true) && before && after
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Checksums, HttpFields};
    use super::*;

    fn judge(condition: &str, etag: Option<&str>) -> bool {
        let condition: Condition = serde_json::from_str(condition).unwrap();
        let object = etag.map(|etag| Object {
            key: "k".into(),
            version: "v".into(),
            size: 1,
            etag: etag.into(),
            uploaded: 5500,
            http: HttpFields::default(),
            custom: std::collections::BTreeMap::new(),
            checksums: Checksums::default(),
            storage_class: "Standard".into(),
        });
        condition.judge(object.as_ref()).is_ok()
    }

    #[test]
    fn etags_and_times_are_judged() {
        let strong = r#"{"etagMatches":[{"value":"a","type":"strong"}]}"#;
        assert!(judge(strong, Some("a")) && !judge(strong, Some("b")) && !judge(strong, None));
        let not_there = r#"{"etagDoesNotMatch":[{"type":"wildcard"}]}"#;
        assert!(judge(not_there, None) && !judge(not_there, Some("a")));
        assert!(judge(r#"{"uploadedBefore":"6000"}"#, Some("a")) && !judge(r#"{"uploadedBefore":"5000"}"#, Some("a")));
        assert!(judge(r#"{"uploadedAfter":"5000"}"#, Some("a")));
        assert!(!judge(r#"{"uploadedAfter":"5000","secondsGranularity":true}"#, Some("a")));
        assert!(!judge(r#"{"uploadedAfter":"5000"}"#, None));
    }
}
