//! What a value may be where it stands in a unit.
//!
//! Goes in: what was rendered before the value, and the value. Comes out: the value as systemd has to read it to find it again.
//!
//! **Invariant:** a value says neither which setting a line is nor where it ends; in a command line and in `Environment=` it is
//! a part of one word, and that word is there.

use minijinja::{Error, ErrorKind};

/// A line longer than this is nothing that anyone wrote.
const MAX_LINE: usize = 64 * 1024;

/// What systemd takes off the front of a command line, each sign of which changes how it is run. Source: systemd.service(5).
const PREFIXES: [char; 6] = ['-', '+', '!', '@', ':', '|'];

/// What to do about a value that is refused.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Hint(pub(super) &'static str);

fn refuse(message: impl Into<String>, hint: &'static str) -> Error {
    Error::new(ErrorKind::InvalidOperation, message.into()).with_source(Hint(hint))
}

/// The value as it is written where it stands.
pub(super) fn placed(before: &[u8], value: &str) -> Result<String, Error> {
    if value.chars().any(|c| c.is_control() || c == '\\') {
        let message = "a value in a unit is one line, without control characters and backslashes";
        return Err(refuse(message, "write such a text into a `file`, and name that in the unit"));
    }
    let Some(line) = line(before)? else { return Ok(value.replace('%', "%%")) };
    let Some((key, said)) = line.split_once('=') else {
        let message = "a value cannot stand before the `=` of a line: it would choose the setting";
        return Err(refuse(message, "write the name of the setting in the template, with `if` where it differs"));
    };
    if said.trim().is_empty() && value.trim().is_empty() {
        let message = format!("an empty value of `{}=` would take back what was said before", key.trim());
        return Err(refuse(message, "leave the whole line out where there is no value: `{% if … %}`"));
    }
    let value_of = value.replace('%', "%%");
    let key = key.trim();
    let is_command = key.starts_with("Exec") && !matches!(key, "ExecPaths" | "ExecSearchPath");
    if !is_command && key != "Environment" {
        return Ok(value_of);
    }
    let one_word = match standing(said) {
        Standing::Quoted(quote) => !value.contains(quote),
        standing => {
            let is_plain = !value.contains(|c: char| c.is_whitespace() || matches!(c, '"' | '\''));
            // A word of nothing is none, and `;` alone begins another command.
            is_plain && (standing == Standing::Within || !matches!(value, "" | ";"))
        }
    };
    if !one_word {
        let message = format!("a value in `{key}=` is one word");
        return Err(refuse(message, "give it quotes in the template, `\"{{ … }}\"`; several words are a list and a `for`"));
    }
    if is_command && said.trim_start().trim_start_matches(PREFIXES).is_empty() && value.starts_with(PREFIXES) {
        let message = format!("a program of `{key}=` begins with what systemd takes for an order about it");
        return Err(refuse(message, "write such a prefix in the template"));
    }
    Ok(if is_command { value_of.replace('$', "$$") } else { value_of })
}

/// The line that goes on, from its beginning, those that it continues with it; nothing where it is a comment.
fn line(before: &[u8]) -> Result<Option<String>, Error> {
    let mut lines = before.rsplit(|byte| *byte == b'\n');
    let last = lines.next().unwrap_or_default();
    if is_comment(last) {
        return Ok(None);
    }
    let mut parts = vec![last];
    let mut seen = last.len();
    for earlier in lines {
        seen += earlier.len() + 1;
        // A comment between two parts of a line is no part of it.
        let slashes = earlier.iter().rev().take_while(|byte| **byte == b'\\').count();
        match is_comment(earlier) {
            false if slashes % 2 == 0 => break,
            false => parts.push(&earlier[..earlier.len() - 1]),
            true => {}
        }
        if seen > MAX_LINE {
            break;
        }
    }
    if seen > MAX_LINE {
        return Err(refuse("a line of a unit with a value in it has more than 64 KiB", "part it into several lines"));
    }
    parts.reverse();
    Ok(Some(parts.into_iter().map(String::from_utf8_lossy).collect::<Vec<_>>().join(" ")))
}

fn is_comment(line: &[u8]) -> bool {
    matches!(line.trim_ascii_start().first(), Some(b'#' | b';'))
}

/// Where in a list of words something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// A word begins.
    Between,
    /// In a word.
    Within,
    /// In quotes.
    Quoted(char),
}

/// Source: systemd.syntax(7), "Quoting".
fn standing(said: &str) -> Standing {
    let mut standing = Standing::Between;
    let mut chars = said.chars();
    while let Some(c) = chars.next() {
        standing = match (standing, c) {
            (Standing::Quoted(quote), c) if c == quote => Standing::Within,
            (_, '\\') => {
                chars.next();
                if let Standing::Quoted(_) = standing { standing } else { Standing::Within }
            }
            (Standing::Quoted(_), _) => standing,
            (_, c @ ('"' | '\'')) => Standing::Quoted(c),
            (_, c) if c.is_whitespace() => Standing::Between,
            _ => Standing::Within,
        };
    }
    standing
}

#[cfg(test)]
mod tests {
    use super::super::{Known, Values, render};

    fn rendered(source: &str, value: &str) -> Result<String, String> {
        let context = serde_json::json!({ "vars": { "v": value, "list": ["a b", "c"] } });
        let known = Known { secrets: &std::collections::BTreeSet::new(), tunnels: std::collections::BTreeMap::new() };
        match render(source, &context, &known, Values::InUnit) {
            Ok(rendered) => Ok(rendered.text),
            Err(fault) => {
                assert!(fault.span.is_some() && fault.hint.is_some(), "{fault:?}");
                Err(fault.message)
            }
        }
    }

    #[test]
    fn a_value_is_its_own_line_and_its_own_word() {
        for (source, value, says) in [
            ("User={{ vars.v }}", "x\nExecStartPost=/bin/id", "one line"),
            ("User={{ vars.v | trim }}", "x\nExecStartPost=/bin/id", "one line"),
            // It would take the next line into its own.
            ("Description={{ vars.v }}\nUser=nobody\n", "x\\", "backslashes"),
            ("{{ vars.v }}=x", "ExecStart", "before the `=`"),
            ("  {{ vars.v }}", "User=root", "before the `=`"),
            ("Description=a\n{{ vars.v }}", "[Install]", "before the `=`"),
            ("[{{ vars.v }}]", "Install", "before the `=`"),
            ("User={{ vars.v }}\n", "", "would take back"),
            ("User=  {{ vars.v }}\n", " ", "would take back"),
            ("ExecStart=/bin/a {{ vars.v }}", "b c", "one word"),
            ("ExecStart=/bin/a --b={{ vars.v }}", "b c", "one word"),
            ("ExecStart=/bin/a \\\n  {{ vars.v }}", "b c", "one word"),
            ("ExecStart=/bin/a \\\n# between\n  {{ vars.v }}", "b c", "one word"),
            ("ExecStart=/bin/a {{ vars.v }}", ";", "one word"),
            ("ExecStart=/bin/a {{ vars.v }} b", "", "one word"),
            ("ExecStart=/bin/a {{ vars.v }}", "\"b", "one word"),
            ("ExecStart=/bin/a \"{{ vars.v }}\"", "b\" c", "one word"),
            ("ExecStart=/bin/a '{{ vars.v }}'", "b' c", "one word"),
            ("ExecStart=/bin/a 'x' {{ vars.v }}", "b c", "one word"),
            ("ExecStart={{ vars.v }}", "+/bin/a", "an order about it"),
            ("ExecStart=-{{ vars.v }}", "+/bin/a", "an order about it"),
            ("Environment=A={{ vars.v }}", "1 LD_PRELOAD=/x", "one word"),
        ] {
            let found = rendered(source, value);
            assert!(found.as_ref().is_err_and(|message| message.contains(says)), "{source:?} {value:?}: {found:?}");
        }
    }

    #[test]
    fn what_is_placed_is_what_systemd_reads_back() {
        for (source, value, text) in [
            ("# {{ vars.v }}", "a b", "# a b"),
            ("Description={{ vars.v }}", "50% of $HOME; \"x\"", "Description=50%% of $HOME; \"x\""),
            ("ExecStart=/bin/a {{ vars.v }} %i", "$HOME%n", "ExecStart=/bin/a $$HOME%%n %i"),
            ("ExecStart=/bin/a \"{{ vars.v }}\"", "b 'c'", "ExecStart=/bin/a \"b 'c'\""),
            ("ExecStart=/bin/a \"{{ vars.v }}\"", "", "ExecStart=/bin/a \"\""),
            ("ExecStart=/bin/a --b={{ vars.v }}", "", "ExecStart=/bin/a --b="),
            ("ExecStart=/bin/a {{ vars.v }}", "-x", "ExecStart=/bin/a -x"),
            ("ExecSearchPath={{ vars.v }}", "/a:$b", "ExecSearchPath=/a:$b"),
            ("Environment=A={{ vars.v }}", "$x", "Environment=A=$x"),
            ("Environment=\"A={{ vars.v }}\"", "1 2", "Environment=\"A=1 2\""),
            ("ExecStart=/bin/a{% for w in vars.list %} \"{{ w }}\"{% endfor %}", "", "ExecStart=/bin/a \"a b\" \"c\""),
            ("ExecStart=/bin/a \\\\\nDescription={{ vars.v }}", "b c", "ExecStart=/bin/a \\\\\nDescription=b c"),
        ] {
            assert_eq!(rendered(source, value).as_deref(), Ok(text), "{source:?} {value:?}");
        }
    }
}
