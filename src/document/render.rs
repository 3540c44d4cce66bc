//! Diagnostics as text for people: the line, a caret, a hint, as rustc prints them.

use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Element, Level, Origin, Renderer, Snippet};

use super::fault::{is_deceptive, shown};
use super::locate::locate;
use crate::model::{Diagnostic, Severity};

/// How many bytes of a line are shown on each side of a place.
const SIDE: usize = 120;

/// Wide enough for what [`SIDE`] leaves of a line.
const WIDTH: usize = 400;

/// `diagnostics` as text, each with the line that it points to. `read` gives a file by its path; where it gives
/// nothing, the path alone is shown. `colour` adds ANSI colours.
pub fn render(diagnostics: &[Diagnostic], read: &dyn Fn(&str) -> Option<Arc<[u8]>>, colour: bool) -> String {
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() }.term_width(WIDTH);
    let reports: Vec<String> = diagnostics.iter().map(|diagnostic| one(diagnostic, read, &renderer)).collect();
    let mut text = reports.join("\n\n");
    if !text.is_empty() {
        text.push('\n');
    }
    text
}

fn one(diagnostic: &Diagnostic, read: &dyn Fn(&str) -> Option<Arc<[u8]>>, renderer: &Renderer) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let label = diagnostic.label.as_deref();
    let window = place(&diagnostic.path, diagnostic.span(), read);
    let window = window.map(|window| if diagnostic.masked { window.masked() } else { window });
    let main = window.map(|window| window.snippet(AnnotationKind::Primary, label));
    let main = main.unwrap_or_else(|| Element::from(Origin::path(escaped(&diagnostic.path))));
    let mut group = level.primary_title(escaped(&diagnostic.message)).element(main);
    for related in &diagnostic.related {
        let window = place(&related.path, Some(related.start..related.end), read);
        if let Some(window) = window {
            group = group.element(window.snippet(AnnotationKind::Context, Some(&related.label)));
        }
    }
    if let Some(hint) = &diagnostic.hint {
        group = group.element(Level::HELP.message(escaped(hint)));
    }
    renderer.render(&[group])
}

/// The part of a file that is shown, with deceptive characters replaced.
struct Window {
    path: String,
    text: String,
    line: usize,
    span: std::ops::Range<usize>,
}

impl Window {
    /// The same with the place itself, and all that follows on its line, hidden.
    fn masked(mut self) -> Self {
        self.text.truncate(self.span.start);
        self.text.push_str("[hidden]");
        self.span.end = self.text.len();
        self
    }

    fn snippet(self, kind: AnnotationKind, label: Option<&str>) -> Element<'static> {
        let annotation = kind.span(self.span).label(label.map(escaped));
        Snippet::source(self.text).line_start(self.line).path(self.path).annotation(annotation).into()
    }
}

fn place(path: &str, span: Option<std::ops::Range<usize>>, read: &dyn Fn(&str) -> Option<Arc<[u8]>>) -> Option<Window> {
    let span = span?;
    let bytes = read(path)?;
    let text = match std::str::from_utf8(&bytes) {
        Ok(text) => text,
        // What stands before the first byte that is not UTF-8 can still be shown.
        Err(error) => std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default(),
    };
    let floor = |offset: usize| (0..=offset.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let start = floor(span.start);
    let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
    let line_end = text[start..].find('\n').map_or(text.len(), |newline| start + newline);
    let line_end = if text[start..line_end].ends_with('\r') { line_end - 1 } else { line_end };
    let end = floor(span.end).clamp(start, line_end);
    // A place of many lines is shown by its first; a very long line by what stands around the place.
    let from = floor(line_start.max(start.saturating_sub(SIDE)));
    let to = floor(line_end.min(start.max(end.min(start + SIDE)) + SIDE));
    let mut shown_text = String::new();
    let mut shown_span = 0..0;
    for (offset, c) in text[from..to].char_indices() {
        if from + offset == start {
            shown_span.start = shown_text.len();
        }
        shown_text.push(if is_deceptive(c) && c != '\t' { '\u{fffd}' } else { c });
        if from + offset < end {
            shown_span.end = shown_text.len();
        }
    }
    if start >= to {
        shown_span.start = shown_text.len();
    }
    let (line, _) = locate(text, start);
    shown_span.end = shown_span.end.max(shown_span.start);
    Some(Window { path: escaped(path), text: shown_text, line, span: shown_span })
}

fn escaped(text: &str) -> String {
    // Messages are ours and escape what they quote; this is the second lock on the same door.
    text.chars().flat_map(|c| if is_deceptive(c) { shown(&c.to_string()).chars().collect() } else { vec![c] }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Related;

    fn rendered(text: &'static str, diagnostic: Diagnostic) -> String {
        render(&[diagnostic], &|_| Some(text.as_bytes().into()), false)
    }

    #[test]
    fn a_diagnostic_shows_its_line_and_a_caret() {
        let diagnostic = Diagnostic::error("a.toml", Some(6..7), "this is wrong")
            .label("here")
            .hint("do that")
            .related(Related { path: "a.toml".into(), start: 0, end: 1, label: "first".into() });
        let text = rendered("a = 1\nb = 2\n", diagnostic);
        assert!(text.contains("error: this is wrong"), "{text}");
        assert!(text.contains("--> a.toml:2:1"), "{text}");
        assert!(text.contains("2 | b = 2"), "{text}");
        assert!(text.contains("^ here"), "{text}");
        assert!(text.contains("first"), "{text}");
        assert!(text.contains("help: do that"), "{text}");
    }

    #[test]
    fn nothing_deceptive_reaches_the_terminal() {
        let source = "a = '\u{202e}\u{1b}[31m'\r\nb = 1\r\n";
        let diagnostic =
            Diagnostic::error("\u{1b}[2J.toml", Some(4..8), "bad \u{1b}[31m \u{202e}").label("\u{7}").hint("\u{9b}x");
        let text = rendered(source, diagnostic);
        assert!(text.chars().all(|c| c == '\n' || !is_deceptive(c)), "{text:?}");
    }

    #[test]
    fn a_masked_place_is_not_shown() {
        let mut diagnostic = Diagnostic::error("a.toml", Some(8..17), "m");
        diagnostic.masked = true;
        let text = rendered("token = 'hunter2' # hunter2\n", diagnostic);
        assert!(text.contains("token = [hidden]") && !text.contains("hunter2"), "{text}");
    }

    #[test]
    fn places_outside_of_the_text_and_long_lines_are_shown_without_panic() {
        for (start, end) in [(0, 0), (3, 9_999), (9_999, 10_000), (5, 2), (1, 2)] {
            let text = rendered("é\nab", Diagnostic::error("x", Some(start..end), "m"));
            assert!(text.contains("--> x"), "{text}");
        }
        let long: &'static str = Box::leak("x".repeat(100_000).into_boxed_str());
        assert!(rendered(long, Diagnostic::error("x", Some(50_000..50_001), "m")).len() < 2_000);
    }
}
