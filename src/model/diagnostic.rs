//! A fault or a warning that points into a file.

use std::ops::Range;

use serde::Serialize;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The environment cannot be resolved; nothing is applied.
    Error,
    /// It works, but a person should look.
    Warning,
}

/// One fault of one file. Sorted by path, then by place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Diagnostic {
    /// The file, from the repository's root, with `/`.
    pub path: String,
    /// Where in the file: byte offsets, half-open. `None` where the fault is the file as a whole.
    pub start: Option<usize>,
    /// The end of the place, exclusive.
    pub end: Option<usize>,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, lower case, no final period.
    pub message: String,
    /// A short text beside the caret.
    pub label: Option<String>,
    /// What the reader can do now: an edit or a command.
    pub hint: Option<String>,
    /// Other places that belong to the fault: where a thing was defined first, the other owner of a name.
    pub related: Vec<Related>,
    /// What stands at the place may be a secret in the clear: whoever shows the line masks it.
    pub masked: bool,
}

/// Another place that belongs to a fault.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Related {
    /// The file, from the repository's root, with `/`.
    pub path: String,
    /// Where in the file: byte offsets, half-open.
    pub start: usize,
    /// The end of the place, exclusive.
    pub end: usize,
    /// What stands there.
    pub label: String,
}

impl Diagnostic {
    /// An error at a place of a file.
    pub fn error(path: impl Into<String>, span: Option<Range<usize>>, message: impl Into<String>) -> Self {
        let (start, end) = span.map_or((None, None), |s| (Some(s.start), Some(s.end)));
        Self {
            path: path.into(),
            start,
            end,
            severity: Severity::Error,
            message: message.into(),
            label: None,
            hint: None,
            related: Vec::new(),
            masked: false,
        }
    }

    /// The same with a text beside the caret.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// The same with what to do now.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same with another place that belongs to it.
    #[must_use]
    pub fn related(mut self, related: Related) -> Self {
        self.related.push(related);
        self
    }

    /// The place as a range of byte offsets.
    pub fn span(&self) -> Option<Range<usize>> {
        Some(self.start?..self.end?)
    }
}
