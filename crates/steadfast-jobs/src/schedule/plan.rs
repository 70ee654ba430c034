//! The whole of when and how a schedule runs: rule, zone, and what happens when it cannot run in time.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use steadfast_core::Timestamp;

use super::error::{Contradiction, InvalidPlan};
use super::rule::{Kind, Length, Once, Rule, length};
use super::zone::Zone;
use crate::decide::length;

/// Says when and how a schedule runs: its rule, in which zone, and what to do about occurrences that were
/// missed or come while a run is still under way.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use steadfast_jobs::schedule::{Missed, Overlap, Plan, Rule, Zone};
///
/// let nightly = Plan::builder(Rule::cron("30 2 * * *")?)
///     .zone(Zone::new("Europe/Berlin")?)
///     .missed(Missed::RunOnce)        // all nodes were down at 02:30: run when one is back
///     .overlap(Overlap::Skip)         // last night's run is not over: leave this one out
///     .jitter(Duration::from_secs(300))
///     .build()?;
/// assert_eq!(nightly.describe(), "every day at 02:30, Europe/Berlin");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub(super) rule: Rule,
    pub(super) zone: Zone,
    pub(super) missed: Missed,
    pub(super) overlap: Overlap,
    pub(super) jitter: Duration,
    pub(super) start_deadline: Option<Duration>,
}

/// Collects the parts of a [`Plan`].
#[derive(Clone, Debug)]
#[must_use = "a plan is made by `build`"]
pub struct PlanBuilder {
    rule: Rule,
    zone: Zone,
    missed: Option<Missed>,
    overlap: Option<Overlap>,
    jitter: Duration,
    start_deadline: Option<Duration>,
}

/// What becomes of occurrences that no node saw in time.
///
/// An occurrence is in time until the next one is due, and for
/// [a minute at most](super::ON_TIME): a restart of all nodes takes less, and people still call it on time.
/// What is left out is recorded with its reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Missed {
    /// They are left out. For what is worthless later, such as a reminder.
    Skip,
    /// The last of them runs, the others are left out. The default: most work brings things up to date,
    /// and a nightly job whose night was missed is better late than never.
    #[default]
    RunOnce,
    /// All of them run, each with its own nominal time, if they are not older than this. For work that
    /// is about its time, such as the report of an hour.
    RunAll(Duration),
}

/// What becomes of an occurrence while an earlier run of the same schedule has not ended.
///
/// A run is a job that the schedule made, from its making to its end: also while it waits, or waits for another
/// attempt. One that was put back to work after its end is not counted again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Overlap {
    /// It runs beside the other.
    Allow,
    /// It is left out, and that is recorded. The default: two nightly runs over the same data are the
    /// accident that nobody has planned for.
    #[default]
    Skip,
    /// It runs after the other; further ones are left out while it waits.
    QueueOne,
    /// The other is cancelled, and it runs once that has ended: the two never run at once.
    CancelOther,
}

/// A due time to come, and what clocks in the zone show then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upcoming {
    /// When it is due. A jitter comes on top.
    pub at: Timestamp,
    /// What clocks in the zone of the plan show, with the distance from universal time:
    /// `2026-03-29 03:00:00 +02:00`.
    pub reading: String,
    /// Whether the clocks are changed around that time, and what that does.
    pub change: Change,
}

/// How long a run of a scheduled job may take, and when the job is late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lengths {
    /// The longest run, unless the kind of the job says otherwise.
    pub longest_run: Duration,
    /// How long after its start the job is late, if it has not ended.
    pub late_after: Duration,
}

/// What a change of the clocks does to an occurrence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    None,
    /// The time it was meant for does not exist on that day; it is due at the first instant after.
    Skipped,
    /// The clocks show that time twice; this is the first time.
    First,
    /// The clocks show that time twice; this is the second time.
    Second,
}

// === impl Plan ===

impl Plan {
    /// The longest jitter and start deadline, and the furthest that missed occurrences are caught up:
    /// 400 days, as the longest period.
    pub const LONGEST: Duration = Rule::LONGEST;

    /// The most occurrences of a preview: 1,000, a screen of which nobody reads the end.
    pub const PREVIEWED_MAX: usize = 1_000;

    /// Starts a plan: in universal time, with the defaults of [`Missed`] and [`Overlap`], without jitter or
    /// deadline.
    pub fn builder(rule: Rule) -> PlanBuilder {
        PlanBuilder {
            rule,
            zone: Zone::utc(),
            missed: None,
            overlap: None,
            jitter: Duration::ZERO,
            start_deadline: None,
        }
    }

    /// Puts a plan together again that was built before, by this version or another.
    pub(super) fn of_parts(
        rule: Rule,
        zone: Zone,
        (missed, overlap): (Missed, Overlap),
        (jitter, start_deadline): (Duration, Option<Duration>),
    ) -> Self {
        Self {
            rule,
            zone,
            missed,
            overlap,
            jitter,
            start_deadline,
        }
    }

    /// Gives the rule.
    #[must_use]
    pub fn rule(&self) -> &Rule {
        &self.rule
    }

    /// Gives the zone.
    #[must_use]
    pub fn zone(&self) -> &Zone {
        &self.zone
    }

    /// Tells what becomes of missed occurrences.
    #[must_use]
    pub fn missed(&self) -> Missed {
        self.missed
    }

    /// Tells what becomes of an occurrence while a run has not ended.
    #[must_use]
    pub fn overlap(&self) -> Overlap {
        self.overlap
    }

    /// Gives the longest time by which a start is put off.
    #[must_use]
    pub fn jitter(&self) -> Duration {
        self.jitter
    }

    /// Gives how long after its planned start a run may still begin.
    #[must_use]
    pub fn start_deadline(&self) -> Option<Duration> {
        self.start_deadline
    }

    /// Says it for people: "every day at 02:30, Europe/Berlin".
    #[must_use]
    pub fn describe(&self) -> String {
        self.rule.describe(&self.zone)
    }

    /// Gives the next `count` due times after a point in time, fewer if there are no more.
    ///
    /// `count` is bounded by [`PREVIEWED_MAX`](Self::PREVIEWED_MAX). A fixed delay has none: its next due
    /// time depends on the run before.
    ///
    /// # Examples
    /// ```
    /// use std::time::{Duration, SystemTime};
    /// use steadfast_jobs::schedule::{Change, Plan, Rule, Zone};
    ///
    /// let plan = Plan::builder(Rule::cron("30 2 * * *")?)
    ///     .zone(Zone::new("Europe/Berlin")?)
    ///     .build()?;
    /// // From the noon before the clocks are put forward.
    /// let noon = SystemTime::UNIX_EPOCH + Duration::from_secs(1_774_695_600);
    ///
    /// let next = plan.upcoming(noon.into(), 2);
    ///
    /// assert_eq!(next[0].reading, "2026-03-29 03:00:00 +02:00");
    /// assert_eq!(next[0].change, Change::Skipped);
    /// assert_eq!(next[1].reading, "2026-03-30 02:30:00 +02:00");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn upcoming(&self, after: Timestamp, count: usize) -> Vec<Upcoming> {
        let mut last = after.unix_millis();
        let mut upcoming = Vec::new();
        while upcoming.len() < count.min(Self::PREVIEWED_MAX) {
            let Some(next) = self.rule.next(last, &self.zone) else {
                break;
            };
            upcoming.push(self.show(next));
            last = next;
        }
        upcoming
    }

    /// Gives the time between the first due time from a point in time on and the next one: the period of
    /// the occurrence at that point. A date has none; that of a fixed delay is the delay.
    pub(super) fn period(&self, at_ms: i64) -> Option<Duration> {
        let ms = match &self.rule.0 {
            Kind::Once(_) => return None,
            Kind::Rate { period_ms, .. } => *period_ms,
            Kind::Delay { delay_ms } => *delay_ms,
            Kind::Cron(_) => {
                let first = self.rule.next(at_ms.saturating_sub(1), &self.zone)?;
                self.rule.next(first, &self.zone)?.saturating_sub(first)
            }
        };
        Some(Duration::from_millis(ms.unsigned_abs()))
    }

    /// Gives how long a run of the occurrence at `at`, or of the next one, may take, unless the kind of
    /// its job says otherwise, and how long after its start the job is late: both follow from its
    /// [period](crate::decide::length). Nothing for a date, which has none.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use steadfast_core::Timestamp;
    /// use steadfast_jobs::schedule::{Plan, Rule};
    ///
    /// let plan = Plan::builder(Rule::cron("*/2 * * * *")?).build()?;
    /// let lengths = plan.lengths(Timestamp::from_unix_millis(0)).unwrap();
    /// assert_eq!(lengths.longest_run, Duration::from_secs(6 * 60));
    /// assert_eq!(lengths.late_after, Duration::from_secs(6 * 60));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn lengths(&self, at: Timestamp) -> Option<Lengths> {
        let period = self.period(at.unix_millis())?;
        Some(Lengths {
            longest_run: length::longest_run(period),
            late_after: length::late_after(period),
        })
    }

    fn show(&self, at_ms: i64) -> Upcoming {
        let shown = self.zone.reading(at_ms);
        let reading = shown.map_or_else(String::new, |(reading, offset)| {
            let seconds = offset.seconds();
            let (sign, minutes) = (if seconds < 0 { '-' } else { '+' }, seconds.abs() / 60);
            let time = reading.strftime("%Y-%m-%d %H:%M:%S");
            format!("{time} {sign}{:02}:{:02}", minutes / 60, minutes % 60)
        });
        Upcoming {
            at: Timestamp::from_unix_millis(at_ms),
            reading,
            change: self.change(at_ms),
        }
    }

    fn change(&self, at_ms: i64) -> Change {
        use jiff::tz::AmbiguousOffset;
        let Some((reading, offset)) = self.zone.reading(at_ms) else {
            return Change::None;
        };
        if let Kind::Cron(cron) = &self.rule.0
            && !cron.fields.has(reading)
        {
            return Change::Skipped;
        }
        if let Kind::Once(Once::Reading(wanted)) = &self.rule.0
            && *wanted != reading
        {
            return Change::Skipped;
        }
        match self.zone.rules().to_ambiguous_timestamp(reading).offset() {
            AmbiguousOffset::Fold { before, .. } if before == offset => Change::First,
            AmbiguousOffset::Fold { .. } => Change::Second,
            _ => Change::None,
        }
    }
}

// === impl PlanBuilder ===

impl PlanBuilder {
    /// Sets the time zone; universal time unless set.
    pub fn zone(mut self, zone: Zone) -> Self {
        self.zone = zone;
        self
    }

    /// Sets what becomes of missed occurrences.
    pub fn missed(mut self, missed: Missed) -> Self {
        self.missed = Some(missed);
        self
    }

    /// Sets what becomes of an occurrence while a run has not ended.
    pub fn overlap(mut self, overlap: Overlap) -> Self {
        self.overlap = Some(overlap);
        self
    }

    /// Puts each start off by up to this long, so that many schedules of one minute do not all start in
    /// its first second. By how much depends on schedule and occurrence alone: every node says the same.
    pub fn jitter(mut self, jitter: Duration) -> Self {
        self.jitter = jitter;
        self
    }

    /// Sets how long after its planned start a run may still begin; what could not begin by then is left
    /// out. No limit unless set.
    pub fn start_deadline(mut self, deadline: Duration) -> Self {
        self.start_deadline = Some(deadline);
        self
    }

    /// Makes the plan.
    ///
    /// # Errors
    /// [`InvalidPlan`] if a length is over [`Plan::LONGEST`], a deadline or the window of
    /// [`Missed::RunAll`] is shorter than a second, all missed runs are wanted but may not overlap, or
    /// something is decided for a fixed delay that does not come up there.
    pub fn build(self) -> Result<Plan, InvalidPlan> {
        bounded("jitter", self.jitter, Duration::ZERO)?;
        if let Some(deadline) = self.start_deadline {
            bounded("start deadline", deadline, Rule::SHORTEST)?;
        }
        if let Some(Missed::RunAll(window)) = self.missed {
            bounded("window of run_all", window, Rule::SHORTEST)?;
        }
        if let Kind::Delay { .. } = self.rule.0 {
            if self.missed.is_some() {
                return Err(Contradiction::NothingToDecide("misses a time").into());
            }
            if self.overlap.is_some() {
                return Err(Contradiction::NothingToDecide("overlaps").into());
            }
        }
        let missed = self.missed.unwrap_or_default();
        // Who wants all of them and says nothing of overlaps wants them beside each other.
        let overlap = self.overlap.unwrap_or(match missed {
            Missed::RunAll(_) => Overlap::Allow,
            _ => Overlap::default(),
        });
        if matches!(missed, Missed::RunAll(_)) && overlap != Overlap::Allow {
            return Err(Contradiction::CatchUpOverlaps(overlap.as_str()).into());
        }
        Ok(Plan {
            rule: self.rule,
            zone: self.zone,
            missed,
            overlap,
            jitter: self.jitter,
            start_deadline: self.start_deadline,
        })
    }
}

fn bounded(what: &'static str, given: Duration, least: Duration) -> Result<(), InvalidPlan> {
    if (least..=Plan::LONGEST).contains(&given) {
        return Ok(());
    }
    let days = Plan::LONGEST.as_secs() / 86_400;
    Err(Contradiction::OutOfBounds {
        what,
        given: format!("{given:?}"),
        bound: format!("from {least:?} to {days} days"),
    }
    .into())
}

// === impl Missed ===

impl fmt::Display for Missed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Skip => f.write_str("skip"),
            Self::RunOnce => f.write_str("run_once"),
            Self::RunAll(window) => {
                let ms = i64::try_from(window.as_millis()).unwrap_or(i64::MAX);
                write!(f, "run_all({})", Length(ms))
            }
        }
    }
}

impl FromStr for Missed {
    type Err = InvalidPlan;

    fn from_str(text: &str) -> Result<Self, InvalidPlan> {
        let window = |text: &str| length(text.strip_prefix("run_all(")?.strip_suffix(')')?);
        match text {
            "skip" => Ok(Self::Skip),
            "run_once" => Ok(Self::RunOnce),
            _ => window(text).map(Self::RunAll).ok_or_else(|| {
                unknown(
                    "missed",
                    text,
                    "skip, run_once, or run_all(7d) with how far back",
                )
            }),
        }
    }
}

fn unknown(what: &'static str, given: &str, known: &'static str) -> InvalidPlan {
    const SHOWN_CHARS: usize = 60;
    let given = given.chars().take(SHOWN_CHARS).collect();
    Contradiction::Unknown { what, given, known }.into()
}

// === impl Overlap ===

impl Overlap {
    const ALL: [Self; 4] = [Self::Allow, Self::Skip, Self::QueueOne, Self::CancelOther];

    /// Gives its name, as it is written in settings and stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Skip => "skip",
            Self::QueueOne => "queue_one",
            Self::CancelOther => "cancel_other",
        }
    }
}

impl fmt::Display for Overlap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Overlap {
    type Err = InvalidPlan;

    fn from_str(text: &str) -> Result<Self, InvalidPlan> {
        let known = Self::ALL.into_iter().find(|one| one.as_str() == text);
        known.ok_or_else(|| unknown("overlap", text, "allow, skip, queue_one or cancel_other"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn daily() -> PlanBuilder {
        Plan::builder(Rule::cron("@daily").unwrap())
    }

    #[test]
    fn what_contradicts_itself_is_refused_with_the_way_out() {
        let week = Duration::from_secs(7 * 86_400);
        let check = |builder: PlanBuilder, part: &str| {
            let message = builder.build().unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        };

        let all = daily().missed(Missed::RunAll(week));
        check(all.clone().overlap(Overlap::Skip), "set overlap = allow");
        check(
            all.overlap(Overlap::QueueOne),
            "overlap = queue_one would throw",
        );
        check(daily().jitter(Duration::MAX), "from 0ns to 400 days");
        check(
            daily().start_deadline(Duration::ZERO),
            "start deadline is 0ns",
        );
        check(
            daily().missed(Missed::RunAll(Duration::ZERO)),
            "window of run_all is 0ns",
        );
        let delay = Plan::builder(Rule::after(Duration::from_secs(5)).unwrap());
        check(delay.clone().overlap(Overlap::Skip), "neither overlaps");
        check(delay.missed(Missed::Skip), "misses a time");
    }

    #[test]
    fn whoever_wants_all_missed_runs_gets_them_beside_each_other() {
        let plan = daily().missed(Missed::RunAll(Duration::from_secs(86_400)));

        assert_eq!(plan.build().unwrap().overlap(), Overlap::Allow);
    }

    #[test]
    fn what_is_done_about_missed_and_overlapping_ones_is_read_as_it_is_written() {
        for missed in [
            Missed::Skip,
            Missed::RunOnce,
            Missed::RunAll(Duration::from_secs(90_061)),
        ] {
            assert_eq!(missed.to_string().parse(), Ok(missed));
        }
        for overlap in Overlap::ALL {
            assert_eq!(overlap.to_string().parse(), Ok(overlap));
        }
        let message = "queue".parse::<Overlap>().unwrap_err().to_string();
        assert!(message.contains("queue_one"), "{message}");
        assert!("run_all(soon)".parse::<Missed>().is_err());
    }

    #[test]
    fn a_preview_says_what_the_change_of_the_clocks_does() {
        let berlin = |text: &str| {
            Plan::builder(text.parse().unwrap())
                .zone(Zone::new("Europe/Berlin").unwrap())
                .build()
                .unwrap()
        };
        let check = |plan: Plan, after: &str, expect: &[(&str, Change)]| {
            let after: jiff::Timestamp = after.parse().unwrap();
            let after = Timestamp::from_unix_millis(after.as_millisecond());
            let shown: Vec<(String, Change)> = plan
                .upcoming(after, expect.len())
                .into_iter()
                .map(|upcoming| (upcoming.reading, upcoming.change))
                .collect();
            let expect: Vec<(String, Change)> = expect
                .iter()
                .map(|(reading, change)| ((*reading).to_owned(), *change))
                .collect();
            assert_eq!(shown, expect);
        };

        check(
            berlin("30 1,2 * * *"),
            "2026-03-28T20:00:00Z",
            &[
                ("2026-03-29 01:30:00 +01:00", Change::None),
                ("2026-03-29 03:00:00 +02:00", Change::Skipped),
                ("2026-03-30 01:30:00 +02:00", Change::None),
            ],
        );
        check(
            berlin("at 2026-03-29T02:30"),
            "2026-03-28T20:00:00Z",
            &[("2026-03-29 03:00:00 +02:00", Change::Skipped)],
        );
        check(
            berlin("30 * * * *"),
            "2026-10-24T23:45:00Z",
            &[
                ("2026-10-25 02:30:00 +02:00", Change::First),
                ("2026-10-25 02:30:00 +01:00", Change::Second),
                ("2026-10-25 03:30:00 +01:00", Change::None),
            ],
        );
    }

    #[test]
    fn a_preview_is_bounded() {
        let every_second = Plan::builder(Rule::cron("* * * * * *").unwrap()).build();
        let now = Timestamp::from_unix_millis(0);

        let upcoming = every_second.unwrap().upcoming(now, usize::MAX);

        assert_eq!(upcoming.len(), Plan::PREVIEWED_MAX);
    }
}
