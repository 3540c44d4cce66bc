//! Which names a tree may hold and which paths may be asked for.
//!
//! **Invariant:** a name that passes is the same single file on every file system that a person may clone to, and shows
//! as what it is in a terminal. Rules of git's `verify_path` for all platforms at once, and stricter on characters.

use crate::model::TreeError;

/// Whether a character cannot be shown as itself: controls, line separators, and marks that reorder the text around them.
pub(super) fn unprintable(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// Characters that HFS+ leaves out when it compares names; from git's `utf8.c`, `next_hfs_char`.
fn ignorable(c: char) -> bool {
    matches!(c, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}')
}

/// The name of one entry, where it may stand in a tree.
pub(super) fn check(raw: &[u8]) -> Result<&str, TreeError> {
    let refused = || TreeError::Name { name: raw.iter().take(80).flat_map(|b| b.escape_ascii()).map(char::from).collect() };
    let name = std::str::from_utf8(raw).map_err(|_| refused())?;
    let bad = name.is_empty()
        || name.len() > 255
        || matches!(name, "." | "..")
        || name.contains(['/', '\\'])
        || name.chars().any(unprintable)
        || is_git_folder(name);
    if bad { Err(refused()) } else { Ok(name) }
}

/// Whether some file system takes the name for `.git`.
fn is_git_folder(name: &str) -> bool {
    let visible: String = name.chars().filter(|c| !ignorable(*c)).collect();
    let stem = visible.split(':').next().unwrap_or_default().trim_end_matches([' ', '.']).to_ascii_lowercase();
    matches!(stem.as_str(), ".git" | "git~1")
}

/// The names along `path`, which is from the root; the root itself has none.
///
/// # Errors
/// [`TreeError::Name`] for a path that leads out of the tree, [`TreeError::TooMany`] for one deeper than `depth`.
pub(super) fn components(path: &str, depth: usize) -> Result<Vec<&str>, TreeError> {
    if path.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<&str> = path.split('/').collect();
    if names.len() > depth {
        return Err(TreeError::TooMany { path: path.chars().take(120).collect(), limit: depth });
    }
    names.into_iter().map(|name| check(name.as_bytes())).collect()
}

/// `name` within the folder `path`.
pub(super) fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_no_path_anywhere_are_refused() {
        for bad in [
            &b""[..],
            b".",
            b"..",
            b".git",
            b".GIT",
            b".Git.",
            b".git ",
            b".git::$INDEX_ALLOCATION",
            b"git~1",
            b"GIT~1",
            b"a/b",
            b"a\\b",
            b"a\r",
            b"a\nb",
            b"a\x1b[31m",
            b"a\0b",
            b"a\x7f",
            b"\xff\xfe",
            ".g\u{200c}it".as_bytes(),
            "a\u{202e}b".as_bytes(),
            &[b'a'; 256],
        ] {
            assert!(check(bad).is_err(), "{:?} was accepted", bad.escape_ascii().to_string());
        }
        for good in [".gitignore", ".gitattributes", "git", "a b", "é.toml", "a:b", "...", &"a".repeat(255)] {
            assert_eq!(check(good.as_bytes()).unwrap(), good);
        }
    }

    #[test]
    fn paths_stay_within_the_tree() {
        assert_eq!(components("", 4).unwrap(), Vec::<&str>::new());
        assert_eq!(components("a/b", 4).unwrap(), ["a", "b"]);
        for bad in ["/a", "a/", "a//b", "../a", "a/../b", "./a", "a/.git/config"] {
            assert!(components(bad, 8).is_err(), "{bad}");
        }
        assert!(matches!(components("a/b/c/d/e", 4), Err(TreeError::TooMany { .. })));
    }
}
