use std::fmt;

use steadfast_core::clock::Timestamp;

/// Who changed something, and why.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Signed {
    author: String,
    reason: String,
}

/// Refuses a change that nobody stands for, or that nobody will understand.
///
/// Trying again with the same words fails again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} {problem}")]
pub struct InvalidSigned {
    what: &'static str,
    problem: &'static str,
}

impl Signed {
    /// The longest author and reason: 500 bytes each, a sentence or two. The rest belongs into a
    /// ticket, whose number fits.
    pub const BYTES_MAX: usize = 500;

    /// Takes both.
    ///
    /// # Errors
    /// When one is empty, too long, or has control characters.
    pub fn new(
        author: impl Into<String>,
        reason: impl Into<String>,
    ) -> Result<Self, InvalidSigned> {
        let checked = |what, text: String| {
            let problem = if text.trim().is_empty() {
                "is empty"
            } else if text.len() > Self::BYTES_MAX {
                "has more than 500 bytes"
            } else if text.contains(char::is_control) {
                "has control characters"
            } else {
                return Ok(text);
            };
            Err(InvalidSigned { what, problem })
        };
        Ok(Self {
            author: checked("author", author.into())?,
            reason: checked("reason", reason.into())?,
        })
    }

    /// Gives who.
    pub fn author(&self) -> &str {
        &self.author
    }

    /// Gives why.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl fmt::Display for Signed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.author, self.reason)
    }
}

/// Writes a point in wall time as people read it.
#[cfg(feature = "prometheus")]
pub(crate) fn utc(time: Timestamp) -> String {
    Utc(time).to_string()
}

/// A point in wall time as people read it, to the second: `2026-11-23 18:05:00Z`.
pub(super) struct Utc(pub(super) Timestamp);

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.unix_millis().div_euclid(1_000);
        let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        let (year, month, day) = civil(days);
        let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}Z"
        )
    }
}

/// The date of a day since 1970-01-01, by years that begin in March: the leap day is the last one
/// then, and the lengths of months repeat every five.
fn civil(days: i64) -> (i64, i64, i64) {
    // 719,468 days from 0000-03-01 to 1970-01-01; 146,097 days in 400 years.
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = (from_march + 2) % 12 + 1;
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn times_are_written_as_people_read_them() {
        let check = |seconds: u64, expect: &str| {
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(Utc(time.into()).to_string(), expect);
        };

        check(0, "1970-01-01 00:00:00Z");
        check(951_782_400, "2000-02-29 00:00:00Z");
        check(1_709_164_800, "2024-02-29 00:00:00Z");
        check(1_735_689_599, "2024-12-31 23:59:59Z");
        check(1_795_457_100, "2026-11-23 18:05:00Z");
        check(4_107_542_400, "2100-03-01 00:00:00Z");
    }

    #[test]
    fn a_change_has_an_author_and_a_reason() {
        let refused = |author: &str, reason: &str| {
            let refused = Signed::new(author, reason).unwrap_err();
            refused.to_string()
        };
        let long = "x".repeat(501);

        assert_eq!(refused("", "why"), "author is empty");
        assert_eq!(refused("ann", " "), "reason is empty");
        assert_eq!(refused("ann", &long), "reason has more than 500 bytes");
        assert_eq!(refused("a\u{1b}", "why"), "author has control characters");
        let signed = Signed::new("ann", "INC-7").unwrap();
        assert_eq!(signed.to_string(), "ann: INC-7");
    }
}
