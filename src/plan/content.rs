//! Differences of bytes, for people: files and modules.
//!
//! Goes in: two contents. Comes out: a bounded number of lines.
//!
//! **Invariant:** bounded, whatever the contents are, and without a clock, so that the same contents give the same
//! lines.

use similar::{ChangeTag, TextDiff};

use super::toml::plain;

/// The largest content, in bytes, that is compared line by line.
const LARGEST: usize = 128 * 1024;

/// The most characters of a line that are shown.
const WIDEST: usize = 200;

/// How a line stands in a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    /// It goes.
    Gone,
    /// It comes.
    New,
    /// It is on both sides, or says something about the lines around it.
    Both,
}

/// The lines in which two texts differ, with `context` lines around them.
pub(super) fn lines(before: &str, after: &str, context: usize) -> Vec<(Sign, String)> {
    let diff = TextDiff::from_lines(before, after);
    let mut found = Vec::new();
    for (number, group) in diff.grouped_ops(context).iter().enumerate() {
        if number > 0 {
            found.push((Sign::Both, "…".to_owned()));
        }
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let sign = match change.tag() {
                ChangeTag::Delete => Sign::Gone,
                ChangeTag::Insert => Sign::New,
                ChangeTag::Equal => Sign::Both,
            };
            found.push((sign, shown(change.value())));
        }
    }
    found
}

/// The lines in which two contents differ, at most `limit` of them and a line that says how many more there are; a
/// word about them where they are no text, or too large.
pub(super) fn of_bytes(before: &[u8], after: &[u8], context: usize, limit: usize) -> Vec<(Sign, String)> {
    if before.len().max(after.len()) > LARGEST {
        return vec![(Sign::Both, "(too large to be shown)".to_owned())];
    }
    let (Some(before), Some(after)) = (text(before), text(after)) else {
        return vec![(Sign::Both, "(binary)".to_owned())];
    };
    let mut found = lines(before, after, context);
    if found.len() > limit {
        let more = found.len() - limit;
        found.truncate(limit);
        found.push((Sign::Both, format!("… {more} more lines")));
    }
    found
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))
}

fn shown(line: &str) -> String {
    let line = line.strip_suffix('\n').unwrap_or(line);
    let line = line.strip_suffix('\r').unwrap_or(line);
    match line.char_indices().nth(WIDEST) {
        Some((end, _)) => format!("{}…", plain(&line[..end])),
        None => plain(line),
    }
}
