//! Byte offset to line and column.

/// Line and column of the byte `offset` in `text`, both from 1; the column counts characters. An offset behind the
/// end, or inside of a character, counts as the nearest place before.
pub fn locate(text: &str, offset: usize) -> (usize, usize) {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    let before = &text[..offset];
    let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (line, before[start..].chars().count() + 1)
}

/// Where the lines of a text begin: finds many lines without reading the text again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lines(Vec<usize>);

impl Lines {
    /// The lines of `text`.
    pub fn of(text: &str) -> Self {
        let after_newlines = text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| at + 1);
        Self(std::iter::once(0).chain(after_newlines).collect())
    }

    /// The line of the byte `offset`, from 1.
    pub fn line(&self, offset: usize) -> usize {
        self.0.partition_point(|start| *start <= offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_and_lines_count_newlines() {
        let text = "a = 1\nµ = \"é\" # x\n";
        assert_eq!(locate(text, 0), (1, 1));
        assert_eq!(locate(text, 5), (1, 6));
        assert_eq!(locate(text, 6), (2, 1));
        let quote = text.find('"').unwrap();
        assert_eq!(locate(text, quote), (2, 5));
        assert_eq!(locate(text, 7), (2, 1), "inside of a character");
        assert_eq!(locate(text, 9_999), (3, 1));
        let lines = Lines::of(text);
        for (offset, _) in text.char_indices() {
            assert_eq!(lines.line(offset), locate(text, offset).0);
        }
    }
}
