//! The mark by which layers know of each other's retries.

use std::fmt;

/// Says which attempt a call is, and how many its outermost caller may make.
///
/// It travels as the value of a header, `2/3` for the second attempt of at most three. A layer that
/// gets a call whose mark says that [somebody outside retries](Self::is_retried_outside) does not
/// retry by itself, and passes the mark on, so that the layers below know it, too: three layers
/// with three attempts make three of one call, and not twenty-seven.
///
/// At an edge without trust the header is stripped, as anybody could forbid our retries with it;
/// nothing worse, for a mark never causes an attempt.
///
/// # Examples
///
/// ```
/// # use steadfast_core as steadfast;
/// use steadfast::decide::budget::AttemptMark;
///
/// let mark = AttemptMark::new(2, 3).unwrap();
/// assert_eq!(mark.to_string(), "2/3");
/// assert_eq!(AttemptMark::parse("2/3"), Some(mark));
/// assert_eq!(AttemptMark::parse("4/3"), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AttemptMark {
    attempt: u8,
    of: u8,
}

impl AttemptMark {
    /// The longest value in bytes; a longer one is not read.
    pub const BYTES_MAX: usize = 7;

    /// Makes the mark of an attempt, counted from 1, of at most `of`; `None` if out of range.
    #[must_use]
    pub fn new(attempt: u8, of: u8) -> Option<Self> {
        (1..=of).contains(&attempt).then_some(Self { attempt, of })
    }

    /// Reads a header value, or `None` if it is not such a mark; then treat the call as unmarked.
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        if value.len() > Self::BYTES_MAX {
            return None;
        }
        let (attempt, of) = value.split_once('/')?;
        let number = |digits: &str| {
            let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
            plain.then(|| digits.parse().ok()).flatten()
        };
        Self::new(number(attempt)?, number(of)?)
    }

    /// Returns which attempt this is, counted from 1.
    #[must_use]
    pub fn attempt(self) -> u8 {
        self.attempt
    }

    /// Returns how many attempts the caller may make.
    #[must_use]
    pub fn of(self) -> u8 {
        self.of
    }

    /// Says whether the caller may make more than one attempt, so that nobody below should.
    ///
    /// That includes the last attempt: if it were retried below, all attempts below would come
    /// at the moment when all attempts outside have already failed.
    #[must_use]
    pub fn is_retried_outside(self) -> bool {
        self.of > 1
    }
}

impl fmt::Display for AttemptMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.attempt, self.of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_not_a_mark_is_not_read() {
        let wrong = [
            "",
            "/",
            "1",
            "1/",
            "/1",
            "0/1",
            "2/1",
            "1/0",
            "-1/2",
            "+1/2",
            " 1/2",
            "1/2 ",
            "1/2/3",
            "1/256",
            "1/99999999999",
            "000001/2",
            "a/b",
            "1\u{661}/2",
        ];
        for value in wrong {
            assert_eq!(AttemptMark::parse(value), None, "{value:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(attempt in 1..=255_u8, more: u8) {
            let mark = AttemptMark::new(attempt, attempt.saturating_add(more)).unwrap();
            let value = mark.to_string();

            prop_assert!(value.len() <= AttemptMark::BYTES_MAX);
            prop_assert_eq!(AttemptMark::parse(&value), Some(mark));
        }

        #[test]
        fn no_value_panics(value: String) {
            let _ = AttemptMark::parse(&value);
        }
    }
}
