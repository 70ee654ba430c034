use std::error::Error;
use std::fmt::{self, Write as _};
use std::sync::Arc;

use super::source::{Place, Source, Span};

/// Says what follows from a [`Problem`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// The document is refused.
    Error,
    /// It is told, and the document is taken.
    Warning,
}

/// A mistake in a document: where, what, and what to write instead.
///
/// Printed as a compiler prints it, with the line and a caret below what is meant. Whatever came from
/// the document is printed without control characters, so that a document cannot drive a terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    level: Level,
    code: Option<&'static str>,
    file: Arc<str>,
    start: usize,
    place: Place,
    message: String,
    fix: Option<String>,
    excerpt: Excerpt,
}

/// The problems of a document, in its order: at least one, at most [`MAX`](Self::MAX).
#[derive(Clone, PartialEq, Eq)]
pub struct Problems {
    kept: Vec<Problem>,
    left_out: usize,
}

/// A line of the document, or the part of it that is meant, with where the carets go.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Excerpt {
    text: String,
    indent: usize,
    carets: usize,
}

// === impl Problem ===

impl Problem {
    /// Makes an error about a part of a document.
    pub fn error(source: &Source, span: Span, message: impl Into<String>) -> Self {
        let place = source.place(span.start);
        Self {
            level: Level::Error,
            code: None,
            file: source.shared_name(),
            start: span.start,
            place,
            message: printable(&message.into()),
            fix: None,
            excerpt: Excerpt::of(source, place, span),
        }
    }

    /// Makes a warning about a part of a document.
    pub fn warning(source: &Source, span: Span, message: impl Into<String>) -> Self {
        Self {
            level: Level::Warning,
            ..Self::error(source, span, message)
        }
    }

    /// Says what to do about it.
    #[must_use]
    pub fn with_fix(self, fix: impl Into<String>) -> Self {
        Self {
            fix: Some(printable(&fix.into())),
            ..self
        }
    }

    /// Says by which rule it was found, by a stable id.
    #[must_use]
    pub fn with_code(self, code: &'static str) -> Self {
        Self {
            code: Some(code),
            ..self
        }
    }

    /// Says what follows from it.
    pub fn level(&self) -> Level {
        self.level
    }

    /// Gives the id of the rule that found it, if it was a rule.
    pub fn code(&self) -> Option<&'static str> {
        self.code
    }

    /// Gives the name of the document.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Gives its place in the document.
    pub fn place(&self) -> Place {
        self.place
    }

    /// Gives what is wrong.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Gives what to do about it, where that is known.
    pub fn fix(&self) -> Option<&str> {
        self.fix.as_deref()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = self.place.line.to_string();
        let margin = " ".repeat(line.len());
        match self.code {
            Some(code) => write!(f, "{}[{code}]", self.level)?,
            None => write!(f, "{}", self.level)?,
        }
        writeln!(f, ": {}", self.message)?;
        writeln!(f, "{margin}--> {}:{}", printable(&self.file), self.place)?;
        writeln!(f, "{margin} |")?;
        writeln!(f, "{line} | {}", self.excerpt.text)?;
        let (indent, carets) = (self.excerpt.indent, self.excerpt.carets);
        writeln!(f, "{margin} | {:indent$}{:^<carets$}", "", "")?;
        match &self.fix {
            Some(fix) => writeln!(f, "{margin} = fix: {fix}"),
            None => Ok(()),
        }
    }
}

impl Error for Problem {}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

// === impl Excerpt ===

impl Excerpt {
    /// The longest part of a line that is shown: 100 characters, which fit into a terminal beside the
    /// line's number.
    const CHARS_MAX: usize = 100;

    /// How much is shown before what is meant when the line is longer than that.
    const CHARS_BEFORE: usize = 30;

    fn of(source: &Source, place: Place, span: Span) -> Self {
        let line = source.line_span(place.line);
        let start = source.floor(span.start.clamp(line.start, line.end));
        let end = source.ceil(span.end.clamp(start, line.end));
        let text = source.text();
        let (before, meant, after) = (
            &text[line.start..start],
            &text[start..end],
            &text[end..line.end],
        );

        let mut excerpt = Self {
            text: String::new(),
            indent: 0,
            carets: 0,
        };
        let long = before.chars().count() > Self::CHARS_MAX - Self::CHARS_BEFORE;
        let skipped = match before.char_indices().rev().nth(Self::CHARS_BEFORE - 1) {
            Some((at, _)) if long => at,
            _ => 0,
        };
        if skipped > 0 {
            excerpt.push("…", usize::MAX);
        }
        excerpt.push(&before[skipped..], usize::MAX);
        excerpt.indent = width(&excerpt.text);
        let left = Self::CHARS_MAX.saturating_sub(excerpt.text.chars().count());
        excerpt.push(meant, left);
        excerpt.carets = (width(&excerpt.text) - excerpt.indent).max(1);
        let left = Self::CHARS_MAX.saturating_sub(excerpt.text.chars().count());
        excerpt.push(after, left);
        excerpt
    }

    /// Appends at most so many characters, and a mark where some are left out.
    fn push(&mut self, text: &str, chars_max: usize) {
        match text.char_indices().nth(chars_max) {
            Some((end, _)) => {
                self.text.push_str(&printable(&text[..end]));
                self.text.push('…');
            }
            None => self.text.push_str(&printable(text)),
        }
    }
}

// === impl Problems ===

impl Problems {
    /// The most problems that are told: 50. Whoever has more begins with these.
    pub const MAX: usize = 50;

    /// Takes problems in any order; `None` if there are none.
    pub fn collect(problems: impl IntoIterator<Item = Problem>) -> Option<Self> {
        let mut kept: Vec<Problem> = problems.into_iter().collect();
        kept.sort_by_key(|problem| problem.start);
        let left_out = kept.len().saturating_sub(Self::MAX);
        // Of too many, what refuses the document is not left out for what is only told.
        if left_out > 0 {
            kept.sort_by_key(|problem| problem.level);
            kept.truncate(Self::MAX);
            kept.sort_by_key(|problem| problem.start);
        }
        (!kept.is_empty()).then_some(Self { kept, left_out })
    }

    /// Gives them in the order of the document.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Problem> {
        self.kept.iter()
    }

    /// Says how many there were beside those that are kept.
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// Says whether one of them refuses the document.
    pub fn has_errors(&self) -> bool {
        self.iter().any(|problem| problem.level == Level::Error)
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self {
            kept: vec![problem],
            left_out: 0,
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.kept.iter().enumerate() {
            if index > 0 {
                f.write_char('\n')?;
            }
            problem.fmt(f)?;
        }
        match self.left_out {
            0 => Ok(()),
            more => writeln!(f, "\nand {more} more"),
        }
    }
}

/// As it is printed: a `main` that returns it shows the lines and not the fields.
impl fmt::Debug for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} problems:", self.kept.len() + self.left_out)?;
        fmt::Display::fmt(self, f)
    }
}

impl Error for Problems {}

/// Writes control characters, and those that turn the direction of a line, as escapes.
fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '\t' => printable.push_str("    "),
            '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' => {
                printable.extend(char.escape_unicode());
            }
            char if char.is_control() => printable.extend(char.escape_default()),
            char => printable.push(char),
        }
    }
    printable
}

/// Counts the columns of a terminal: two for the wide characters of East Asia.
fn width(text: &str) -> usize {
    let wide = |char: char| {
        matches!(
            u32::from(char),
            0x1100..=0x115f | 0x2e80..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff
                | 0xfe30..=0xfe6f | 0xff00..=0xff60 | 0xffe0..=0xffe6 | 0x1f300..=0x1faff
                | 0x20000..=0x3fffd
        )
    };
    text.chars().map(|char| 1 + usize::from(wide(char))).sum()
}
