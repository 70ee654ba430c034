//! When a schedule is due: by the calendar, at a rate, after a delay, or once.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp as Instant;
use jiff::civil::DateTime;
use steadfast_core::Timestamp;

use super::cron::{self, Cron};
use super::error::InvalidRule;
use super::parse;
use super::zone::Zone;

/// Says when a schedule is due.
///
/// Made from text or by one of the constructors, and written as text again by `Display`; what is stored and
/// what people see is the text.
///
/// | text | meaning |
/// |---|---|
/// | `30 2 * * *` | a [cron expression](super#cron-expressions): minute, hour, day, month, weekday |
/// | `0 30 2 * * *` | the same with seconds in front |
/// | `@daily` | `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly` |
/// | `every 15m` | at a fixed rate, counted from 1970, so that restarts shift nothing |
/// | `every 6h from 2026-01-01T03:00:00Z` | the same, counted from then |
/// | `after 10m` | a fixed delay after the end of the run before |
/// | `at 2026-12-01T10:00` | once, by the clocks of the zone |
/// | `at 2026-12-01T10:00:00Z` | once, at that instant |
///
/// # Examples
/// ```
/// use steadfast_jobs::schedule::{Rule, Zone};
///
/// let rule: Rule = "30 2 * * mon-fri".parse()?;
/// assert_eq!(
///     rule.describe(&Zone::new("Europe/Berlin")?),
///     "at 02:30 on Monday to Friday, Europe/Berlin",
/// );
///
/// let wrong = "30 25 * * *".parse::<Rule>().unwrap_err();
/// assert_eq!(wrong.to_string(), "`25` is not an hour, at column 4 of `30 25 * * *`; write 0 to 23");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule(pub(super) Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Cron(Cron),
    Rate { period_ms: i64, anchor_ms: i64 },
    Delay { delay_ms: i64 },
    Once(Once),
}

/// An instant, or what the clocks of a zone show then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Once {
    Instant(i64),
    Reading(DateTime),
}

impl Rule {
    /// The shortest period and delay: a second. Due times are looked for about once a second, so a shorter
    /// one would be promised and not kept.
    pub const SHORTEST: Duration = Duration::from_secs(1);

    /// The longest period and delay: 400 days. What happens less often than once a year is a date.
    pub const LONGEST: Duration = Duration::from_secs(400 * 24 * 60 * 60);

    /// Reads a cron expression, or a nickname such as `@daily`.
    ///
    /// # Errors
    /// [`InvalidRule`], with the place and the fix.
    pub fn cron(expression: &str) -> Result<Self, InvalidRule> {
        parse::cron(expression).map(|cron| Self(Kind::Cron(cron)))
    }

    /// Reads the time of a line of a crontab, and gives with it what follows: the command, or in a system's
    /// crontab the user and the command.
    ///
    /// A crontab has no seconds. Lines that are empty, comments, or set a variable have no time.
    ///
    /// # Errors
    /// [`InvalidRule`], with the place and the fix.
    ///
    /// # Examples
    /// ```
    /// use steadfast_jobs::schedule::Rule;
    ///
    /// let (rule, command) = Rule::crontab_line("*/5 8-18 * * 1-5  /usr/bin/sync --all")?;
    /// assert_eq!(rule.to_string(), "*/5 8-18 * * 1-5");
    /// assert_eq!(command, "/usr/bin/sync --all");
    /// # Ok::<(), steadfast_jobs::schedule::InvalidRule>(())
    /// ```
    pub fn crontab_line(line: &str) -> Result<(Self, &str), InvalidRule> {
        parse::crontab_line(line).map(|(cron, command)| (Self(Kind::Cron(cron)), command))
    }

    /// Is due at every multiple of a period since 1970, in universal time: each full quarter of an hour for
    /// 15 minutes. A day here is 24 hours, whatever the clocks do.
    ///
    /// # Errors
    /// [`InvalidRule`] if the period is not whole seconds from [`SHORTEST`](Self::SHORTEST) to
    /// [`LONGEST`](Self::LONGEST).
    pub fn every(period: Duration) -> Result<Self, InvalidRule> {
        let period_ms = whole_seconds("period", period)?;
        Ok(Self(Kind::Rate {
            period_ms,
            anchor_ms: 0,
        }))
    }

    /// Counts the periods of a fixed rate from `anchor`, which may lie in the future or in the past. Only its
    /// whole seconds count. Changes no other rule.
    #[must_use]
    pub fn from(mut self, anchor: Timestamp) -> Self {
        if let Kind::Rate { anchor_ms, .. } = &mut self.0 {
            *anchor_ms = instant(anchor.unix_millis()).as_second() * 1000;
        }
        self
    }

    /// Is due a delay after the end of the run before; the first time at once.
    ///
    /// Runs of it never overlap and are never missed, so neither has to be decided.
    ///
    /// # Errors
    /// [`InvalidRule`] if the delay is not whole seconds from [`SHORTEST`](Self::SHORTEST) to
    /// [`LONGEST`](Self::LONGEST).
    pub fn after(delay: Duration) -> Result<Self, InvalidRule> {
        let delay_ms = whole_seconds("delay", delay)?;
        Ok(Self(Kind::Delay { delay_ms }))
    }

    /// Is due once.
    #[must_use]
    pub fn once(at: Timestamp) -> Self {
        Self(Kind::Once(Once::Instant(
            instant(at.unix_millis()).as_millisecond(),
        )))
    }

    /// Gives the cron expression, if it is one.
    #[must_use]
    pub fn as_cron(&self) -> Option<&Cron> {
        match &self.0 {
            Kind::Cron(cron) => Some(cron),
            _ => None,
        }
    }

    /// Says it for people: "every day at 02:30, Europe/Berlin".
    #[must_use]
    pub fn describe(&self, zone: &Zone) -> String {
        super::describe::rule(self, zone)
    }

    /// Gives the first instant after `after_ms` at which this is due, in milliseconds since 1970; `None`
    /// when none comes, and for a delay, whose next depends on the run before.
    pub(super) fn next(&self, after_ms: i64, zone: &Zone) -> Option<i64> {
        match &self.0 {
            Kind::Cron(cron) => {
                let next = cron.next(after_ms.div_euclid(1000), zone.rules())?;
                next.checked_mul(1000)
            }
            Kind::Rate {
                period_ms,
                anchor_ms,
            } => {
                let since = after_ms.checked_sub(*anchor_ms)?;
                let periods = since.div_euclid(*period_ms).checked_add(1)?;
                let next = periods.checked_mul(*period_ms)?.checked_add(*anchor_ms)?;
                // Beyond what a calendar can show there is nothing to wait for.
                Instant::from_millisecond(next).ok().map(|_| next)
            }
            Kind::Delay { .. } => None,
            Kind::Once(once) => once.at(zone).filter(|at| *at > after_ms),
        }
    }

    /// Gives the last instant up to `until_ms` at which this is due, if one is after `after_ms`.
    ///
    /// Found by halving the stretch: whether something is due in what is left needs one look.
    pub(super) fn last(&self, after_ms: i64, until_ms: i64, zone: &Zone) -> Option<i64> {
        let next = |after| self.next(after, zone).filter(|next| *next <= until_ms);
        let mut last = next(after_ms)?;
        let mut empty_from = until_ms;
        while last < empty_from {
            let middle = last + (empty_from - last) / 2;
            match next(middle) {
                Some(later) => last = later,
                None => empty_from = middle,
            }
        }
        Some(last)
    }
}

impl Once {
    pub(super) fn at(self, zone: &Zone) -> Option<i64> {
        match self {
            Self::Instant(at) => Some(at),
            Self::Reading(reading) => {
                cron::first_instant(reading, zone.rules()).map(|at| at.as_millisecond())
            }
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Cron(cron) => cron.fmt(f),
            Kind::Rate {
                period_ms,
                anchor_ms,
            } => {
                write!(f, "every {}", Length(*period_ms))?;
                if *anchor_ms != 0 {
                    write!(f, " from {}", instant(*anchor_ms))?;
                }
                Ok(())
            }
            Kind::Delay { delay_ms } => write!(f, "after {}", Length(*delay_ms)),
            Kind::Once(Once::Reading(reading)) => write!(f, "at {reading}"),
            Kind::Once(Once::Instant(at)) => write!(f, "at {}", instant(*at)),
        }
    }
}

/// Clocks reach further than calendars, which end in the year 9999: what lies beyond is brought there.
pub(super) fn instant(unix_ms: i64) -> Instant {
    let end = if unix_ms < 0 {
        Instant::MIN
    } else {
        Instant::MAX
    };
    Instant::from_millisecond(unix_ms).unwrap_or(end)
}

impl FromStr for Rule {
    type Err = InvalidRule;

    fn from_str(text: &str) -> Result<Self, InvalidRule> {
        let trimmed = text.trim();
        let (word, rest) = trimmed
            .split_once(|c: char| c.is_ascii_whitespace())
            .map_or((trimmed, &trimmed[trimmed.len()..]), |(word, rest)| {
                (word, rest.trim_start())
            });
        let wrong = |part: &str, what: String, fix: &str| {
            let start = part.as_ptr() as usize - text.as_ptr() as usize;
            InvalidRule::new(text, start..start + part.len(), what, fix)
        };
        match word.to_ascii_lowercase().as_str() {
            "every" | "@every" => {
                let (period, anchor) = match rest.split_once(" from ") {
                    Some((period, anchor)) => (period.trim(), Some(anchor.trim())),
                    None => (rest, None),
                };
                let rule = length(period)
                    .ok_or_else(|| wrong(period, not_a_length(period), LENGTH_FIX))
                    .and_then(Self::every)?;
                let Some(anchor) = anchor else {
                    return Ok(rule);
                };
                let from = anchor.parse::<Instant>().map_err(|_| {
                    let what = format!("`{anchor}` is not an instant");
                    wrong(anchor, what, "write one such as `2026-01-01T03:00:00Z`")
                })?;
                let Kind::Rate { period_ms, .. } = rule.0 else {
                    return Ok(rule);
                };
                Ok(Self(Kind::Rate {
                    period_ms,
                    anchor_ms: from.as_second() * 1000,
                }))
            }
            "after" => length(rest)
                .ok_or_else(|| wrong(rest, not_a_length(rest), LENGTH_FIX))
                .and_then(Self::after),
            "at" => {
                if let Ok(at) = rest.parse::<Instant>() {
                    return Ok(Self(Kind::Once(Once::Instant(at.as_millisecond()))));
                }
                let reading = rest.parse::<DateTime>().map_err(|_| {
                    let what = format!("`{rest}` is not a date and time");
                    wrong(
                        rest,
                        what,
                        "write `2026-12-01T10:00`, with `Z` behind it for universal time",
                    )
                })?;
                Ok(Self(Kind::Once(Once::Reading(reading))))
            }
            _ => Self::cron(text),
        }
    }
}

const LENGTH_FIX: &str = "write a length such as `90s`, `15m`, `6h`, `1h30m` or `2d`";

fn not_a_length(text: &str) -> String {
    let shown: String = text.chars().take(60).collect();
    format!("`{shown}` is not a length of time")
}

const UNITS: &[(char, u64)] = &[('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

/// Reads a length of whole seconds, greatest unit first.
pub(super) fn length(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut seconds: u64 = 0;
    let mut units = UNITS.iter();
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        let unit = rest[digits..].chars().next()?.to_ascii_lowercase();
        let (_, worth) = units.find(|(name, _)| *name == unit)?;
        seconds = number.checked_mul(*worth)?.checked_add(seconds)?;
        rest = rest[digits + 1..].trim_start();
    }
    (!text.is_empty()).then(|| Duration::from_secs(seconds))
}

/// Writes a length of whole seconds so that [`length`] reads it.
pub(super) struct Length(pub(super) i64);

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut seconds = self.0.unsigned_abs() / 1000;
        for (unit, worth) in UNITS {
            if seconds >= *worth {
                write!(f, "{}{unit}", seconds / worth)?;
                seconds %= worth;
            }
        }
        Ok(())
    }
}

fn whole_seconds(what: &str, length: Duration) -> Result<i64, InvalidRule> {
    let refuse = |why: &str| {
        let text = format!("{length:?}");
        let end = text.len();
        let fix = format!(
            "take whole seconds from {} s to {} days",
            Rule::SHORTEST.as_secs(),
            Rule::LONGEST.as_secs() / 86_400,
        );
        InvalidRule::new(&text, 0..end, format!("the {what} {why}"), fix)
    };
    if length.subsec_nanos() != 0 {
        return Err(refuse("has a part of a second"));
    }
    if length < Rule::SHORTEST {
        return Err(refuse("is too short"));
    }
    if length > Rule::LONGEST {
        return Err(refuse("is too long"));
    }
    Ok(length.as_secs() as i64 * 1000)
}

#[cfg(test)]
mod tests;
