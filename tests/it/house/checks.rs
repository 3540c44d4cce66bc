//! What else holds of every file of `src`.

use std::collections::BTreeMap;

use super::rooms::{Room, room_of};
use super::syntax::{Sort, before_tests, paths, tokens, without_failpoints};

type Sources = BTreeMap<String, String>;

/// A file has at most this many lines.
const LONGEST: usize = 400;

/// Whose use makes a room impure. A path counts when it begins so.
const IMPURE: [&[&str]; 21] = [
    &["std", "fs"],
    &["std", "net"],
    &["std", "process"],
    &["std", "env"],
    &["std", "thread"],
    &["std", "os"],
    &["std", "time", "SystemTime"],
    &["std", "time", "Instant"],
    &["SystemTime", "now"],
    &["Instant", "now"],
    &["chrono", "Utc", "now"],
    &["Utc", "now"],
    &["Local", "now"],
    &["Uuid", "now_v7"],
    &["uuid", "Uuid", "now_v7"],
    &["tokio"],
    &["reqwest"],
    &["git2"],
    &["rusqlite"],
    &["rustix"],
    &["tempfile"],
];

/// Pure rooms that do input or output, or read a clock. The tests within them are held to it too.
pub(crate) fn impure(rooms: &[Room], sources: &Sources) -> Vec<String> {
    let pure = |path: &str| rooms.iter().any(|room| room.pure && room.name == room_of(path));
    let mut faults = Vec::new();
    for (path, text) in sources.iter().filter(|(path, _)| pure(path)) {
        for named in paths(&tokens(text)) {
            if IMPURE.iter().any(|impure| named.path.iter().zip(*impure).filter(|(a, b)| a == *b).count() == impure.len()) {
                faults.push(format!("src/{path}:{}: a pure room uses `{}`", named.line, named.path.join("::")));
            }
        }
    }
    faults
}

/// Files with more lines than one noun or verb takes.
pub(crate) fn too_long(sources: &Sources) -> Vec<String> {
    let lines = |text: &str| text.lines().count();
    sources
        .iter()
        .filter(|(_, text)| lines(text) > LONGEST)
        .map(|(path, text)| format!("src/{path} has {} lines; at most {LONGEST} are allowed", lines(text)))
        .collect()
}

/// Files that do not open with what they are, and rooms that do not say what is never so in them.
pub(crate) fn without_a_word(rooms: &[Room], sources: &Sources) -> Vec<String> {
    let mut faults = Vec::new();
    for (path, text) in sources {
        let words = text.lines().next().and_then(|line| line.strip_prefix("//! ")).map_or(0, |line| line.split(' ').count());
        if words < 3 {
            faults.push(format!("src/{path} does not open with `//!` and what it is"));
        }
        let room = rooms.iter().any(|room| *path == format!("{}/mod.rs", room.name));
        if room && !text.contains("//! **Invariant:** ") {
            faults.push(format!("src/{path} has no `**Invariant:**` in its documentation"));
        }
    }
    faults
}

/// Shells: a program and its arguments are started, never a line that something else takes apart. Tests may start one.
pub(crate) fn shells(sources: &Sources) -> Vec<String> {
    const SHELLS: [&str; 5] = ["sh", "bash", "dash", "ash", "zsh"];
    let is_shell = |text: &str| SHELLS.contains(&text.rsplit('/').next().unwrap_or_default()) && !text.contains(' ');
    let mut faults = Vec::new();
    for (path, text) in sources {
        for token in before_tests(&tokens(text)).iter().filter(|token| token.sort == Sort::Text) {
            if is_shell(&token.text) || SHELLS.iter().any(|shell| token.text.contains(&format!("{shell} -c"))) {
                faults.push(format!("src/{path}:{}: `{}` is a shell", token.line, token.text));
            }
        }
    }
    faults
}

/// Statics that can change: everything is made in one place and handed on. Tests may have them, and functions that are
/// built for the crash tests only.
pub(crate) fn process_state(sources: &Sources) -> Vec<String> {
    let changes = |text: &str| {
        text == "mut"
            || text.starts_with("Atomic")
            || ["Mutex", "RwLock", "OnceLock", "LazyLock", "OnceCell", "LazyCell", "RefCell", "Cell"].contains(&text)
    };
    let mut faults = Vec::new();
    for (path, text) in sources {
        let tokens = tokens(text);
        let tokens = without_failpoints(before_tests(&tokens));
        for (at, token) in tokens.iter().enumerate().filter(|(_, token)| token.sort == Sort::Name) {
            let declared = tokens[at..].iter().take_while(|token| !matches!(token.text.as_str(), "=" | ";"));
            let changing = token.text == "static" && declared.clone().any(|token| changes(&token.text));
            if changing || token.text == "thread_local" {
                faults.push(format!("src/{path}:{}: a static that can change", token.line));
            }
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    const TESTED: &str = "#[cfg(test)]\nmod tests { static A: Mutex<u8> = x; fn f() { Command::new(\"sh\") } }";

    const KILLED: &str = "#[cfg(feature = \"failpoints\")] fn f() { { x } static A: Mutex<u8> = x; }";

    fn file(path: &str, text: &str) -> Sources {
        [(path.to_owned(), text.to_owned())].into()
    }

    fn rooms() -> Vec<Room> {
        let room = |name: &str, pure| Room { name: name.to_owned(), pure, may: [].into() };
        vec![room("plan", true), room("store", false)]
    }

    #[test]
    fn planted_impurity_is_found_and_only_in_pure_rooms() {
        for text in [
            "use std::fs;",
            "use std::{collections::BTreeMap, fs::File};",
            "fn f() { let now = chrono::Utc::now(); }",
            "fn f() { Utc::now() }",
            "use std::time::{Duration, Instant};",
            "use tokio::fs;",
        ] {
            assert_eq!(impure(&rooms(), &file("plan/a.rs", text)).len(), 1, "{text}");
            assert!(impure(&rooms(), &file("store/a.rs", text)).is_empty(), "{text}");
        }
        for text in ["use std::time::Duration;", "use chrono::{DateTime, Utc};", "// std::fs", "use std::fmt;", "fs::read()"] {
            assert!(impure(&rooms(), &file("plan/a.rs", text)).is_empty(), "{text}");
        }
    }

    #[test]
    fn long_files_and_silent_ones_are_found() {
        assert_eq!(too_long(&file("plan/a.rs", &"x\n".repeat(401))).len(), 1);
        assert!(too_long(&file("plan/a.rs", &"x\n".repeat(400))).is_empty());
        for (path, text, count) in [
            ("plan/a.rs", "//! Plans are made here.\n", 0),
            ("plan/a.rs", "use x;\n", 1),
            ("plan/a.rs", "//! Plans.\n", 1),
            ("plan/mod.rs", "//! Plans are made here.\n", 1),
            ("plan/mod.rs", "//! Plans are made here.\n//!\n//! **Invariant:** pure.\n", 0),
            ("plan/mod.rs", "//! Not built yet.\n", 1),
        ] {
            assert_eq!(without_a_word(&rooms(), &file(path, text)).len(), count, "{path}: {text}");
        }
    }

    #[test]
    fn planted_shells_and_statics_are_found() {
        for text in ["Command::new(\"sh\").arg(\"-c\")", "&[\"/bin/bash\", \"-c\"]", "\"sh -c 'true'\"", "r#\"/usr/bin/sh\"#"] {
            assert_eq!(shells(&file("plan/a.rs", text)).len(), 1, "{text}");
        }
        for text in ["git.args([\"-c\", \"core.hooksPath=/dev/null\"])", "\"publish\"", "// sh -c", "\"ssh\"", TESTED] {
            assert!(shells(&file("plan/a.rs", text)).is_empty(), "{text}");
        }
        for text in [
            "static A: Mutex<u8> = Mutex::new(0);",
            "static mut A: u8 = 0;",
            "static N: AtomicU64 = AtomicU64::new(0);",
            "thread_local! {}",
            "#[cfg(feature = \"failpoints\")] fn f() { { x } } static A: Mutex<u8> = x;",
            "#[cfg(not(feature = \"failpoints\"))] fn f() { static A: Mutex<u8> = x; }",
        ] {
            assert_eq!(process_state(&file("plan/a.rs", text)).len(), 1, "{text}");
        }
        for text in
            ["const A: u8 = 0;", "fn f(x: &'static str, y: Mutex<u8>) {}", "static NAMES: [&str; 1] = [\"a\"];", TESTED, KILLED]
        {
            assert!(process_state(&file("plan/a.rs", text)).is_empty(), "{text}");
        }
    }
}
