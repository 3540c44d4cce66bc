//! Rego as tokens: enough to say where a name stands that no rule may use, and which rules a file has.
//!
//! **Invariant:** comments and strings are never taken for code. This is for messages with places; what may be called
//! is held by the evaluator itself (see `rules`), whatever the spelling.

use std::ops::Range;

/// One token with its place in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) text: &'a str,
    pub(super) span: Range<usize>,
    pub(super) sort: Sort,
    /// How many brackets are open around it.
    pub(super) depth: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    Name,
    /// A string with its quotes.
    Text,
    Other,
}

/// The tokens of `rego`.
pub(super) fn tokens(rego: &str) -> Vec<Token<'_>> {
    let mut found = Vec::new();
    let (mut at, mut depth) = (0, 0_usize);
    while let Some(first) = rego[at..].chars().next() {
        let rest = &rego[at..];
        let (length, sort) = match first {
            '#' => (rest.find('\n').unwrap_or(rest.len()), None),
            '"' => (quoted(rest), Some(Sort::Text)),
            '`' => (rest[1..].find('`').map_or(rest.len(), |end| end + 2), Some(Sort::Text)),
            c if c.is_whitespace() => (c.len_utf8(), None),
            c if is_name(c) => (rest.find(|c| !is_name(c)).unwrap_or(rest.len()), Some(Sort::Name)),
            c => (c.len_utf8(), Some(Sort::Other)),
        };
        let text = &rest[..length];
        if sort == Some(Sort::Other) && matches!(text, ")" | "]" | "}") {
            depth = depth.saturating_sub(1);
        }
        if let Some(sort) = sort {
            found.push(Token { text, span: at..at + length, sort, depth });
        }
        if sort == Some(Sort::Other) && matches!(text, "(" | "[" | "{") {
            depth += 1;
        }
        at += length;
    }
    found
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The length of the string that `text` begins with, both quotes included.
fn quoted(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Where `a.b` is named (as `a.b` or `a["b"]`), other than as a part of a longer path.
pub(super) fn uses(tokens: &[Token<'_>], dotted: &str) -> Vec<Range<usize>> {
    let Some((module, name)) = dotted.split_once('.') else { return Vec::new() };
    (0..tokens.len())
        .filter_map(|at| {
            let inner = at.checked_sub(1).is_some_and(|before| tokens[before].text == ".");
            let texts: Vec<&str> = tokens[at..].iter().take(3).map(|token| token.text).collect();
            let named = match texts.as_slice() {
                [a, ".", b] => *a == module && *b == name,
                [a, "[", b] => *a == module && b.trim_matches(['"', '`']) == name,
                _ => false,
            };
            (named && !inner).then(|| tokens[at].span.start..tokens[at + 2].span.end)
        })
        .collect()
}

/// The names at the outermost level that satisfy `wanted` and are neither called nor a part of a path: those among
/// them that are rules are for the parser to say.
pub(super) fn outer_names<'a>(tokens: &[Token<'a>], wanted: impl Fn(&str) -> bool) -> Vec<&'a str> {
    let mut names: Vec<&str> = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let inner = at.checked_sub(1).is_some_and(|before| tokens[before].text == ".");
        let called = tokens.get(at + 1).is_some_and(|next| next.text == "(");
        if token.sort == Sort::Name && token.depth == 0 && !inner && !called && wanted(token.text) && !names.contains(&token.text)
        {
            names.push(token.text);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_in_a_comment_or_a_string_is_not_used() {
        let silent = "# time.now_ns\nx := \"time.now_ns \\\" time.now_ns\"\ny := `time.now_ns`\nz := input.time.now_ns";
        assert!(uses(&tokens(silent), "time.now_ns").is_empty());
        for spelled in
            ["x := time.now_ns()", "x := time . now_ns ()", "x := time[\"now_ns\"]()", "y := \"a\" x := time[`now_ns`]()"]
        {
            let found = uses(&tokens(spelled), "time.now_ns");
            assert_eq!(found.len(), 1, "{spelled}");
            assert!(spelled[found[0].clone()].starts_with("time"), "{spelled}");
        }
    }

    #[test]
    fn names_of_rules_stand_outside_brackets() {
        let rego = "package trunkline.x\n\ntest_a if {\n  test_inner\n}\n\n  test_b := true\n\ntest_f(x) := x\n";
        assert_eq!(outer_names(&tokens(rego), |name| name.starts_with("test_")), ["test_a", "test_b"]);
    }

    #[test]
    fn any_text_is_cut_into_tokens_without_a_panic() {
        for odd in ["\"", "\"\\", "`", "é\"", "))) {", "\u{1f980}#", "a.", "a["] {
            let found = tokens(odd);
            let _ = uses(&found, "a.b");
        }
    }
}
