//! What is wrong with a rule or a zone, where, and what to write instead.

use std::fmt;
use std::ops::Range;

/// Refuses a text that is no rule: says where, why, and what to write instead.
///
/// `{}` is one line; `{:#}` shows the text with a mark below the part that is meant. Trying again with
/// the same text fails again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidRule {
    text: Box<str>,
    at: Range<usize>,
    what: Box<str>,
    fix: Box<str>,
}

/// Refuses a name that is no time zone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is not a time zone of the IANA database; {fix}")]
pub struct UnknownZone {
    pub(super) name: Box<str>,
    pub(super) fix: Box<str>,
}

/// Refuses a plan whose parts contradict each other or are out of bounds; the message says which.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct InvalidPlan(#[from] pub(super) Contradiction);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Contradiction {
    #[error(
        "missed = run_all starts several runs at once, and overlap = {0} would throw all or all but one \
         of them away; set overlap = allow (a queue or key with a limit of 1 runs them one by one), \
         or missed = run_once"
    )]
    CatchUpOverlaps(&'static str),
    #[error("a fixed delay counts from the end of the run before, so it neither {0}; leave it out")]
    NothingToDecide(&'static str),
    #[error("`{given}` is not known for {what}; write {known}")]
    Unknown {
        what: &'static str,
        given: String,
        known: &'static str,
    },
    #[error("{what} is {given}, it must be {bound}")]
    OutOfBounds {
        what: &'static str,
        given: String,
        bound: String,
    },
}

// === impl InvalidPlan ===

impl InvalidPlan {
    /// Gives the setting of the plan that has to be another: `jitter`, `start_deadline`, `missed` or `overlap`.
    #[must_use]
    pub fn setting(&self) -> &'static str {
        match self.0 {
            Contradiction::CatchUpOverlaps(_) | Contradiction::NothingToDecide("overlaps") => {
                "overlap"
            }
            Contradiction::NothingToDecide(_) => "missed",
            Contradiction::Unknown { what, .. } | Contradiction::OutOfBounds { what, .. } => {
                match what {
                    "start deadline" => "start_deadline",
                    "window of run_all" => "missed",
                    what => what,
                }
            }
        }
    }
}

// === impl InvalidRule ===

impl InvalidRule {
    pub(super) fn new(
        text: &str,
        at: Range<usize>,
        what: impl Into<Box<str>>,
        fix: impl Into<Box<str>>,
    ) -> Self {
        // A rule is short; of a text that is not, the beginning shows what it was.
        let shown = shorten(text);
        let at = at.start.min(shown.len())..at.end.min(shown.len());
        Self {
            text: shown.into(),
            at,
            what: what.into(),
            fix: fix.into(),
        }
    }

    /// Gives the column that the mistake begins at, in characters from 1.
    #[must_use]
    pub fn column(&self) -> usize {
        self.text[..self.at.start].chars().count() + 1
    }

    /// Gives what to write instead.
    #[must_use]
    pub fn fix(&self) -> &str {
        &self.fix
    }
}

fn shorten(text: &str) -> &str {
    const SHOWN_BYTES: usize = 200;
    let mut end = SHOWN_BYTES.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

impl fmt::Display for InvalidRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !f.alternate() {
            let (what, column, fix) = (&self.what, self.column(), &self.fix);
            return write!(f, "{what}, at column {column} of `{}`; {fix}", self.text);
        }
        let marks = self.text[self.at.clone()].chars().count().max(1);
        writeln!(f, "{}", self.what)?;
        writeln!(f, "  {}", self.text)?;
        writeln!(
            f,
            "  {}{}",
            " ".repeat(self.column() - 1),
            "^".repeat(marks)
        )?;
        write!(f, "{}", self.fix)
    }
}

impl std::error::Error for InvalidRule {}
