//! The text of a unit, as far as a definition has to understand it.
//!
//! Goes in: bytes. Comes out: its sections. What the keys mean is for `systemd-analyze verify` on the host to judge.

use std::collections::BTreeSet;

use crate::definition::scalar::{Refused, refuse};
use crate::document::shown;

/// A text longer than this is no unit.
const MAX_BYTES: usize = 256 * 1024;

/// The sections of a unit.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct UnitText {
    sections: BTreeSet<String>,
}

impl UnitText {
    /// Reads the text of the unit `name`.
    pub(super) fn parse(bytes: &[u8], name: &str) -> Result<Self, Refused> {
        let hint = "a unit is lines of `Key=value` in sections, such as `[Service]`";
        let Ok(text) = std::str::from_utf8(bytes) else {
            return refuse(format!("the text of `{name}` is not UTF-8"), hint);
        };
        if bytes.len() > MAX_BYTES {
            return refuse(format!("the text of `{name}` has more than 256 KiB"), hint);
        }
        if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t')) {
            return refuse(format!("the text of `{name}` holds a control character"), hint);
        }
        let mut sections = BTreeSet::new();
        let mut continues = false;
        for line in text.lines() {
            let trimmed = line.trim();
            let begins_a_line = !std::mem::replace(&mut continues, line.ends_with('\\'));
            if begins_a_line && let Some(section) = trimmed.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                sections.insert(section.to_owned());
            }
        }
        let sort = name.rsplit_once('.').map_or("", |(_, sort)| sort);
        let own: String = sort.chars().enumerate().map(|(at, c)| if at == 0 { c.to_ascii_uppercase() } else { c }).collect();
        if !sections.contains(&own) {
            return refuse(format!("the text of `{}` has no section `[{own}]`", shown(name)), hint);
        }
        Ok(Self { sections })
    }

    /// Whether it has a section.
    pub(super) fn has(&self, section: &str) -> bool {
        self.sections.contains(section)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_found_where_a_line_begins() {
        let text = UnitText::parse(b"[Service]\nExecStart=/bin/true \\\n[Install]\n", "x.service").unwrap();
        assert!(text.has("Service") && !text.has("Install"));
        assert!(UnitText::parse(b"[Service]\n\n[Install]\nWantedBy=x", "x.service").unwrap().has("Install"));
        for (bad, name) in [
            (&b"[Unit]\n"[..], "x.service"),
            (b"[Service]\n", "x.timer"),
            (b"[Service]\n\0", "x.service"),
            (b"\xff", "x.service"),
        ] {
            assert!(UnitText::parse(bad, name).is_err(), "{bad:?}");
        }
    }
}
