//! Several SQL statements in one text, taken apart where SQLite would.
//!
//! **Invariant:** nothing is changed in a statement but the blanks, comments and semicolons around it.

/// The statements of a text, without what is only blanks or comments.
pub(super) fn split(text: &str) -> Vec<&str> {
    let mut statements = Vec::new();
    let mut start = None;
    // A trigger's own statements end in semicolons too; it ends with `END`.
    let mut words: Vec<String> = Vec::new();
    let mut end = 0;
    let mut rest = Tokens { text, at: 0 };
    while let Some((token, from, to)) = rest.next() {
        match token {
            Token::Blank => {}
            Token::Semicolon if start.is_some() && !in_trigger(&words) => {
                statements.extend(start.take().map(|start: usize| &text[start..end]));
                words.clear();
            }
            Token::Semicolon if start.is_none() => {}
            token => {
                start.get_or_insert(from);
                end = to;
                // Enough to know a trigger by, and how it ends.
                let word = if token == Token::Word { text[from..to].to_ascii_uppercase() } else { ".".to_owned() };
                if words.len() >= 4 {
                    words.truncate(4);
                    words[3] = word;
                } else {
                    words.push(word);
                }
            }
        }
    }
    statements.extend(start.map(|start| &text[start..end]));
    statements
}

/// Whether the words so far are those of a trigger that has not ended. Of many words, the first three and the last are
/// kept.
fn in_trigger(words: &[String]) -> bool {
    let word = |at: usize| words.get(at).map(String::as_str).unwrap_or_default();
    let create = word(0) == "CREATE";
    let trigger = create && (word(1) == "TRIGGER" || (["TEMP", "TEMPORARY"].contains(&word(1)) && word(2) == "TRIGGER"));
    trigger && words.last().is_none_or(|last| last != "END")
}

#[derive(PartialEq, Eq)]
enum Token {
    /// Blanks or a comment.
    Blank,
    Semicolon,
    Word,
    Other,
}

struct Tokens<'a> {
    text: &'a str,
    at: usize,
}

impl Tokens<'_> {
    fn next(&mut self) -> Option<(Token, usize, usize)> {
        let from = self.at;
        let rest = &self.text[from..];
        let first = rest.chars().next()?;
        let until = |end: &str, skip: usize| rest[skip..].find(end).map_or(rest.len(), |at| skip + at + end.len());
        let (token, length) = match first {
            ';' => (Token::Semicolon, 1),
            '-' if rest.starts_with("--") => (Token::Blank, until("\n", 2)),
            '/' if rest.starts_with("/*") => (Token::Blank, until("*/", 2)),
            // A doubled quote ends one text and begins the next, which comes to the same.
            '\'' => (Token::Other, until("'", 1)),
            '"' => (Token::Other, until("\"", 1)),
            '`' => (Token::Other, until("`", 1)),
            '[' => (Token::Other, until("]", 1)),
            c if c.is_whitespace() => (Token::Blank, rest.find(|c: char| !c.is_whitespace()).unwrap_or(rest.len())),
            c if c.is_alphanumeric() || c == '_' => {
                (Token::Word, rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len()))
            }
            c => (Token::Other, c.len_utf8()),
        };
        self.at = from + length;
        Some((token, from, self.at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_end_at_semicolons_that_are_no_part_of_them() {
        for (text, expected) in [
            ("SELECT 1", vec!["SELECT 1"]),
            (" SELECT 1 ;; ;\nSELECT 2; ", vec!["SELECT 1", "SELECT 2"]),
            ("SELECT ';''; --', \"a;\" -- c; d\n, 2; /* ; */", vec!["SELECT ';''; --', \"a;\" -- c; d\n, 2"]),
            ("-- only\n/* comments", vec![]),
            ("SELECT 'é;'; SELECT [a;]", vec!["SELECT 'é;'", "SELECT [a;]"]),
            ("SELECT 'open", vec!["SELECT 'open"]),
        ] {
            assert_eq!(split(text), expected, "{text}");
        }
    }

    #[test]
    fn a_trigger_is_one_statement() {
        let trigger = "CREATE TRIGGER t AFTER INSERT ON a BEGIN\n UPDATE b SET n = 1; DELETE FROM c; END";
        assert_eq!(split(&format!("CREATE TABLE a (x); {trigger};\nSELECT 1;")), ["CREATE TABLE a (x)", trigger, "SELECT 1"]);
        let case = "CREATE TEMP TRIGGER t AFTER INSERT ON a BEGIN SELECT CASE WHEN 1 THEN 2 END FROM b; SELECT 1; END";
        assert_eq!(split(&format!("{case}; SELECT 1")), [case, "SELECT 1"]);
    }
}
