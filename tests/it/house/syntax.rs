//! Rust as far as the house needs it: tokens without comments, and the paths that are named.

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sort {
    Name,
    /// A string literal; its text is what stands between the quotes.
    Text,
    Other,
}

/// One token with its line, from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) sort: Sort,
    pub(crate) text: String,
    pub(crate) line: usize,
}

/// The tokens of `rust`; comments, documentation, character literals and lifetimes aside.
pub(crate) fn tokens(rust: &str) -> Vec<Token> {
    let chars: Vec<char> = rust.chars().collect();
    let at = |index: usize| chars.get(index).copied().unwrap_or('\0');
    let mut found = Vec::new();
    let (mut index, mut line) = (0, 1);
    while index < chars.len() {
        let begin = index;
        let token = match at(index) {
            '/' if at(index + 1) == '/' => {
                while index < chars.len() && at(index) != '\n' {
                    index += 1;
                }
                None
            }
            '/' if at(index + 1) == '*' => {
                let mut depth = 0;
                loop {
                    match (at(index), at(index + 1)) {
                        ('/', '*') => (depth, index) = (depth + 1, index + 2),
                        ('*', '/') => (depth, index) = (depth - 1, index + 2),
                        _ => index += 1,
                    }
                    if depth == 0 || index >= chars.len() {
                        break None;
                    }
                }
            }
            '"' => Some((Sort::Text, string(&chars, &mut index))),
            'r' | 'b' | 'c' if raw_string(&chars, index).is_some() => {
                let (open, hashes) = raw_string(&chars, index).unwrap();
                let end = (open..chars.len())
                    .find(|end| at(*end) == '"' && (1..=hashes).all(|n| at(end + n) == '#'))
                    .unwrap_or(chars.len());
                let text = chars[open..end].iter().collect();
                index = (end + 1 + hashes).min(chars.len());
                Some((Sort::Text, text))
            }
            'b' | 'c' if at(index + 1) == '"' => {
                index += 1;
                Some((Sort::Text, string(&chars, &mut index)))
            }
            '\'' => {
                // A character, `'x'` or `'\n'`; else a lifetime.
                if at(index + 1) == '\\' {
                    index += 3;
                    while index < chars.len() && at(index) != '\'' {
                        index += 1;
                    }
                    index += 1;
                } else if at(index + 2) == '\'' {
                    index += 3;
                } else {
                    index += 1;
                    while is_name(at(index)) {
                        index += 1;
                    }
                }
                None
            }
            c if c.is_whitespace() => {
                index += 1;
                None
            }
            c if is_name(c) => {
                while is_name(at(index)) {
                    index += 1;
                }
                Some((Sort::Name, chars[begin..index].iter().collect()))
            }
            ':' if at(index + 1) == ':' => {
                index += 2;
                Some((Sort::Other, "::".to_owned()))
            }
            c => {
                index += 1;
                Some((Sort::Other, c.to_string()))
            }
        };
        if let Some((sort, text)) = token {
            found.push(Token { sort, text, line });
        }
        line += chars[begin..index.min(chars.len())].iter().filter(|c| **c == '\n').count();
    }
    found
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The string that begins with the quote at `index`; leaves `index` behind the other quote.
fn string(chars: &[char], index: &mut usize) -> String {
    *index += 1;
    let begin = *index;
    while *index < chars.len() && chars[*index] != '"' {
        *index += if chars[*index] == '\\' { 2 } else { 1 };
    }
    let text = chars[begin..(*index).min(chars.len())].iter().collect();
    *index = (*index + 1).min(chars.len());
    text
}

/// Where the text of a raw string that begins at `index` begins, and by how many `#` it is closed.
fn raw_string(chars: &[char], index: usize) -> Option<(usize, usize)> {
    let at = |index: usize| chars.get(index).copied().unwrap_or('\0');
    let after = match (at(index), at(index + 1)) {
        ('r', _) => index + 1,
        ('b' | 'c', 'r') => index + 2,
        _ => return None,
    };
    let hashes = (after..).take_while(|next| at(*next) == '#').count();
    (at(after + hashes) == '"').then_some((after + hashes + 1, hashes))
}

/// The tokens without the functions, or other items with a block, that only the feature `failpoints` builds.
pub(crate) fn without_failpoints(tokens: &[Token]) -> Vec<Token> {
    const GATE: [&str; 9] = ["#", "[", "cfg", "(", "feature", "=", "failpoints", ")", "]"];
    let gated = |window: &[Token]| window.iter().map(|token| token.text.as_str()).eq(GATE);
    let mut kept = Vec::new();
    let mut rest = tokens;
    while let Some(gate) = rest.windows(GATE.len()).position(gated) {
        kept.extend_from_slice(&rest[..gate]);
        let mut depth = 0;
        let end = rest[gate..].iter().position(|token| {
            match (token.sort, token.text.as_str()) {
                (Sort::Other, "{") => depth += 1,
                (Sort::Other, "}") => depth -= 1,
                _ => return false,
            }
            depth == 0
        });
        rest = end.map_or(&[], |end| &rest[gate + end + 1..]);
    }
    kept.extend_from_slice(rest);
    kept
}

/// The tokens before the tests of a file: `#[cfg(test)] mod … {` is the last thing in it.
pub(crate) fn before_tests(tokens: &[Token]) -> &[Token] {
    const OPENING: [&str; 8] = ["#", "[", "cfg", "(", "test", ")", "]", "mod"];
    let opens = |window: &[Token]| window.iter().map(|token| token.text.as_str()).eq(OPENING);
    &tokens[..tokens.windows(OPENING.len()).position(opens).unwrap_or(tokens.len())]
}

/// A path that is named somewhere, groups taken apart: `a::{b, c::d}` is `a::b` and `a::c::d`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) path: Vec<String>,
    pub(crate) line: usize,
    /// How many `mod name { … }` it stands in.
    pub(crate) inner: usize,
}

/// Every path of two names or more in `tokens`.
pub(crate) fn paths(tokens: &[Token]) -> Vec<Named> {
    let mut found = Vec::new();
    let (mut depth, mut modules) = (0_usize, Vec::new());
    for (at, token) in tokens.iter().enumerate() {
        let text = |index: usize| tokens.get(index).map_or("", |token| token.text.as_str());
        match token.text.as_str() {
            "{" if token.sort == Sort::Other => {
                depth += 1;
                if at >= 2 && text(at - 2) == "mod" {
                    modules.push(depth);
                }
            }
            "}" if token.sort == Sort::Other => {
                modules.retain(|module| *module != depth);
                depth = depth.saturating_sub(1);
            }
            // A path begins with a name that is not the continuation of another path.
            _ if token.sort == Sort::Name
                && text(at + 1) == "::"
                && (at == 0 || text(at - 1) != "::")
                && !in_group(tokens, at) =>
            {
                let mut end = at;
                let mut all = Vec::new();
                tree(tokens, &mut end, &[], &mut all);
                found.extend(all.into_iter().map(|(path, line)| Named { path, line, inner: modules.len() }));
            }
            _ => {}
        }
    }
    found
}

/// Whether the token stands in a group of a path, `a::{ … }`, whose paths are taken with it.
fn in_group(tokens: &[Token], at: usize) -> bool {
    let mut open = 0_i32;
    for before in (0..at).rev() {
        match (tokens[before].sort, tokens[before].text.as_str()) {
            (Sort::Other, "}") => open += 1,
            (Sort::Other, "{") if open > 0 => open -= 1,
            (Sort::Other, "{") => return before > 0 && tokens[before - 1].text == "::",
            (Sort::Other, ";") => return false,
            _ => {}
        }
    }
    false
}

/// Reads the path at `at` with its groups, below `prefix`.
fn tree(tokens: &[Token], at: &mut usize, prefix: &[String], found: &mut Vec<(Vec<String>, usize)>) {
    let mut path = prefix.to_vec();
    let line = tokens.get(*at).map_or(0, |token| token.line);
    loop {
        match tokens.get(*at) {
            Some(token) if token.sort == Sort::Name => path.push(token.text.clone()),
            Some(token) if token.text == "*" => path.push("*".to_owned()),
            Some(token) if token.text == "{" => {
                *at += 1;
                while let Some(token) = tokens.get(*at) {
                    match token.text.as_str() {
                        "}" => break,
                        _ if token.sort == Sort::Name || token.text == "{" => tree(tokens, at, &path, found),
                        _ => *at += 1,
                    }
                }
                *at += 1;
                return;
            }
            _ => break,
        }
        *at += 1;
        if tokens.get(*at).is_none_or(|token| token.text != "::") {
            break;
        }
        *at += 1;
    }
    found.push((path, line));
}

#[test]
fn comments_and_strings_are_no_code() {
    let rust = r##"
        // crate::one
        /* crate::two /* crate::three */ crate::four */
        const A: &str = "crate::five \" crate::six"; const B: &str = r#"crate::seven " "#; const C: u8 = b'"';
        fn f<'a>(x: &'a str) -> char { '"' }
        use crate::eight; let y = '\''; let z = '\u{1f980}'; let w = br"crate::nine"; crate::ten();
    "##;
    let named: Vec<String> = paths(&tokens(rust)).into_iter().map(|n| format!("{} {}", n.line, n.path.join("::"))).collect();
    assert_eq!(named, ["6 crate::eight", "6 crate::ten"]);
}

#[test]
fn groups_are_taken_apart() {
    let rust = "use crate::{a::{self, b}, c, d::*};\nmod tests {\n use super::super::e;\n}\nfn f() { crate::g::h(std::fs::x(), Vec::<u8>::new()) }";
    let named: Vec<String> = paths(&tokens(rust)).into_iter().map(|n| format!("{} {}", n.inner, n.path.join("::"))).collect();
    let expected = [
        "0 crate::a::self",
        "0 crate::a::b",
        "0 crate::c",
        "0 crate::d::*",
        "1 super::super::e",
        "0 crate::g::h",
        "0 std::fs::x",
        "0 Vec",
    ];
    assert_eq!(named[..expected.len()], expected);
}
