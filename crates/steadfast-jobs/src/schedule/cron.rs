//! A cron expression once it is understood: which times match, and which is next in a zone.
//!
//! Everything is whole seconds. A time *matches* on the calendar; when it is *due* on the scale of
//! instants depends on the zone, and there are two kinds of expressions, told apart as cron itself
//! does, by whether second, minute or hour begins with `*`:
//!
//! - *Wildcards* (`*/15 * * * *`, `30 * * * *`) mean "whenever the clock shows". They are due at every
//!   instant whose reading matches: in an hour that the zone skips never, in one that it repeats twice.
//! - *Fixed* times (`30 2 * * *`, `0 9,17 * * mon`) mean "once on each such day". A reading that is skipped
//!   is due at the first instant after the gap, and one that is repeated the first time.

use std::fmt;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{AmbiguousOffset, TimeZone};

/// A cron expression: five fields, or six with seconds in front.
///
/// Made by [`Rule::cron`](super::Rule::cron) and the parser of crontab lines; the module
/// [`schedule`](super) has the syntax.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cron {
    pub(super) text: Box<str>,
    pub(super) fields: Fields,
}

/// The sets that the fields stand for: bit `n` stands for the value `n`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Fields {
    pub(super) seconds: u64,
    pub(super) minutes: u64,
    pub(super) hours: u64,
    pub(super) days: u64,
    /// Whether the last day of a month is among its days, whatever its number.
    pub(super) last_day: bool,
    pub(super) months: u64,
    /// From Sunday, 0, to Saturday, 6.
    pub(super) weekdays: u64,
    /// For each weekday which of a month are meant: bit 1 to 5, and bit 0 for its last.
    pub(super) nth: [u8; 7],
    /// Whether the field of days begins with `*`, which makes a day match by both fields instead of
    /// by one of them.
    pub(super) any_day: bool,
    pub(super) any_weekday: bool,
    /// Whether neither second, minute nor hour begins with `*`.
    pub(super) fixed: bool,
}

// === impl Cron ===

impl Cron {
    /// Tells whether the times are fixed ones, which run once where the zone skips or repeats them.
    #[must_use]
    pub fn is_fixed(&self) -> bool {
        self.fields.fixed
    }

    /// Gives the first instant after `after` at which this is due in a zone, both in seconds since
    /// 1970; `None` when the calendar ends (in the year 9999) before one comes.
    pub(super) fn next(&self, after: i64, zone: &TimeZone) -> Option<i64> {
        if self.fields.fixed {
            self.next_fixed(after, zone)
        } else {
            self.next_wildcard(after, zone)
        }
    }

    /// Between two changes of the zone's offset, readings and instants run in step. So each such
    /// stretch is searched on the calendar, and what would lie beyond its end is not in it.
    fn next_wildcard(&self, after: i64, zone: &TimeZone) -> Option<i64> {
        let mut from = after.checked_add(1)?;
        loop {
            let start = Timestamp::from_second(from).ok()?;
            let offset = zone.to_offset(start);
            let reading = self.fields.next(offset.to_datetime(start))?;
            let due = offset.to_timestamp(reading).ok()?;
            match zone.following(start).next() {
                Some(change) if change.timestamp() <= due => from = change.timestamp().as_second(),
                _ => return Some(due.as_second()),
            }
        }
    }

    /// The instant of a reading never falls while readings rise, so the first reading whose instant
    /// is late enough is the one.
    fn next_fixed(&self, after: i64, zone: &TimeZone) -> Option<i64> {
        let mut reading = zone.to_datetime(Timestamp::from_second(after).ok()?);
        loop {
            reading = self.fields.next(one_second_later(reading)?)?;
            // In the second pass of a repeated hour the first readings lie in the past.
            let due = first_instant(reading, zone)?.as_second();
            if due > after {
                return Some(due);
            }
        }
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Gives the instant of a reading: the first of two, or the first after the gap that skips it.
pub(super) fn first_instant(reading: DateTime, zone: &TimeZone) -> Option<Timestamp> {
    match zone.to_ambiguous_timestamp(reading).offset() {
        AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(reading).ok(),
        AmbiguousOffset::Fold { before, .. } => before.to_timestamp(reading).ok(),
        AmbiguousOffset::Gap { before, .. } => {
            // Read with the offset before the gap, it lies as long after the change as it lies in
            // the gap; the change is the last one up to there.
            let within = before.to_timestamp(reading).ok()?.as_second();
            let past = Timestamp::from_second(within.checked_add(1)?).ok()?;
            Some(zone.preceding(past).next()?.timestamp())
        }
    }
}

fn one_second_later(reading: DateTime) -> Option<DateTime> {
    let rest = reading.subsec_nanosecond();
    debug_assert_eq!(rest, 0, "readings are whole seconds");
    reading.checked_add(jiff::SignedDuration::from_secs(1)).ok()
}

// === impl Fields ===

impl Fields {
    /// Longer than any calendar needs to repeat itself: after 400 years the weekdays are the same.
    const HORIZON_YEARS: i16 = 400;

    /// Gives the first reading from `from` on that matches.
    pub(super) fn next(&self, from: DateTime) -> Option<DateTime> {
        let (mut date, time) = (from.date(), from.time());
        if self.has_month(date)
            && self.has_day(date)
            && let Some(time) = self.next_time(time)
        {
            return Some(date.to_datetime(time));
        }
        let midnight = self.next_time(Time::midnight())?;
        let last_year = from.year().saturating_add(Self::HORIZON_YEARS);
        date = date.tomorrow().ok()?;
        while date.year() <= last_year {
            if !self.has_month(date) {
                date = date.last_of_month().tomorrow().ok()?;
            } else if !self.has_day(date) {
                date = date.tomorrow().ok()?;
            } else {
                return Some(date.to_datetime(midnight));
            }
        }
        None
    }

    /// Tells whether a reading matches.
    pub(super) fn has(&self, reading: DateTime) -> bool {
        let time = reading.time();
        self.has_month(reading.date())
            && self.has_day(reading.date())
            && has(self.hours, time.hour())
            && has(self.minutes, time.minute())
            && has(self.seconds, time.second())
    }

    fn has_month(&self, date: Date) -> bool {
        has(self.months, date.month())
    }

    /// Days of the month *or* weekdays, as in cron, unless one of the two begins with `*`.
    fn has_day(&self, date: Date) -> bool {
        let day =
            has(self.days, date.day()) || (self.last_day && date.day() == date.days_in_month());
        let weekday = self.has_weekday(date);
        if self.any_day || self.any_weekday {
            day && weekday
        } else {
            day || weekday
        }
    }

    fn has_weekday(&self, date: Date) -> bool {
        let weekday = date.weekday().to_sunday_zero_offset();
        let nth = self.nth[weekday as usize];
        has(self.weekdays, weekday)
            || nth & (1 << ((date.day() + 6) / 7)) != 0
            || (nth & 1 != 0 && date.day() + 7 > date.days_in_month())
    }

    /// Gives the first time of a day from `from` on.
    fn next_time(&self, from: Time) -> Option<Time> {
        let (hour, minute, second) = (from.hour(), from.minute(), from.second());
        let (first_minute, first_second) =
            (at_or_after(self.minutes, 0)?, at_or_after(self.seconds, 0)?);
        if has(self.hours, hour) {
            if has(self.minutes, minute)
                && let Some(second) = at_or_after(self.seconds, second)
            {
                return Some(Time::constant(hour, minute, second, 0));
            }
            if let Some(minute) = at_or_after(self.minutes, minute + 1) {
                return Some(Time::constant(hour, minute, first_second, 0));
            }
        }
        let hour = at_or_after(self.hours, hour + 1)?;
        Some(Time::constant(hour, first_minute, first_second, 0))
    }
}

fn has(set: u64, value: i8) -> bool {
    set >> value & 1 == 1
}

/// Gives the least value of a set that is not below `value`.
fn at_or_after(set: u64, value: i8) -> Option<i8> {
    let rest = set.checked_shr(value as u32)?;
    (rest != 0).then(|| value + rest.trailing_zeros() as i8)
}

#[cfg(test)]
mod tests;
