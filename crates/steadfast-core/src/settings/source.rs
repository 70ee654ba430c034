use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::problem::{Problem, Problems};

/// From where to where in the bytes of a [`Source`].
pub type Span = Range<usize>;

/// A document with its name, as people will look for it.
#[derive(Clone, PartialEq, Eq)]
pub struct Source {
    name: Arc<str>,
    text: Arc<str>,
    /// Where each line begins.
    lines: Arc<[usize]>,
}

/// A place in a file, both numbers from 1; the column counts characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl Source {
    /// The longest document: 1 MiB. People write a hundredth of that, and what is longer was not
    /// written by them.
    pub const BYTES_MAX: usize = 1 << 20;

    /// Takes a document. The name is only told, never opened.
    ///
    /// # Errors
    /// When it is longer than [`BYTES_MAX`](Self::BYTES_MAX).
    pub fn new(name: impl Into<Arc<str>>, text: impl AsRef<str>) -> Result<Self, Problems> {
        let source = Self::kept(name.into(), text.as_ref());
        let bytes = source.text.len();
        if bytes <= Self::BYTES_MAX {
            return Ok(source);
        }
        let message = format!(
            "it has {bytes} bytes, more than the {} that a document may have",
            Self::BYTES_MAX
        );
        Err(Problem::error(&source, 0..0, message).into())
    }

    /// Takes a document that was read from somewhere.
    ///
    /// # Errors
    /// When it is too long, as in [`new`](Self::new), or not UTF-8; the place of the first byte that
    /// is not is told.
    pub fn from_bytes(name: impl Into<Arc<str>>, bytes: &[u8]) -> Result<Self, Problems> {
        let name = name.into();
        match str::from_utf8(bytes) {
            Ok(text) => Self::new(name, text),
            Err(error) => {
                let at = error.valid_up_to();
                // Up to the end of the line, so that the line can be shown.
                let rest = &bytes[at..];
                let line = rest.iter().position(|byte| *byte == b'\n');
                let shown = &bytes[..at + line.unwrap_or(rest.len())];
                let shown = shown.len().min(at + 200);
                let source = Self::kept(name, &String::from_utf8_lossy(&bytes[..shown]));
                let message = format!("byte 0x{:02x} is not UTF-8", bytes[at]);
                let end = at + char::REPLACEMENT_CHARACTER.len_utf8();
                let problem = Problem::error(&source, at..end, message);
                Err(problem.with_fix("save the file as UTF-8").into())
            }
        }
    }

    fn kept(name: Arc<str>, text: &str) -> Self {
        // A mark of the byte order is no part of the text, and would be the first key's.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let lines = std::iter::once(0).chain(ends.map(|(end, _)| end + 1));
        Self {
            name,
            lines: lines.collect(),
            text: text.into(),
        }
    }

    /// Gives the name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Gives the text, without a mark of the byte order.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Gives the place of a byte; that of the end for one beyond it.
    pub fn place(&self, byte: usize) -> Place {
        let byte = self.floor(byte);
        let line = self.lines.partition_point(|start| *start <= byte);
        let start = self.lines[line - 1];
        let column = self.text[start..byte].chars().count() + 1;
        Place { line, column }
    }

    /// Gives a line by its number from 1, without its end; empty where there is none.
    pub fn line(&self, line: usize) -> &str {
        &self.text[self.line_span(line)]
    }

    /// Gives the last beginning of a character at or before a byte.
    pub(super) fn floor(&self, byte: usize) -> usize {
        let mut byte = byte.min(self.text.len());
        while !self.text.is_char_boundary(byte) {
            byte -= 1;
        }
        byte
    }

    /// Gives the first beginning of a character at or after a byte.
    pub(super) fn ceil(&self, byte: usize) -> usize {
        let mut byte = byte.min(self.text.len());
        while !self.text.is_char_boundary(byte) {
            byte += 1;
        }
        byte
    }

    pub(super) fn shared_name(&self) -> Arc<str> {
        self.name.clone()
    }

    pub(super) fn line_span(&self, line: usize) -> Span {
        let end = self.text.len();
        let start = self.lines.get(line.wrapping_sub(1)).copied();
        let start = start.unwrap_or(end);
        let rest = &self.text[start..];
        let line = rest.lines().next().unwrap_or_default();
        start..start + line.len()
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source")
            .field("name", &self.name)
            .field("bytes", &self.text.len())
            .finish()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}
