//! What became of the requests.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::histogram::Histogram;

/// A run, class by class.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The seed of the plan.
    pub seed: u64,
    /// From the first arrival's schedule to the end of the last request.
    pub seconds: f64,
    /// What the sending thread used of its processor, without the kernel's work for the other side.
    pub cpu_seconds: f64,
    /// In the order of the plan.
    pub classes: Vec<ClassReport>,
}

impl Report {
    /// The class of that name.
    ///
    /// # Panics
    ///
    /// When the plan has none.
    pub fn class(&self, name: &str) -> &ClassReport {
        let found = self.classes.iter().find(|class| class.name == name);
        found.unwrap_or_else(|| panic!("the plan has no class `{name}`"))
    }

    /// The report as JSON; times are in milliseconds, as the names say.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("the report has string keys and finite numbers")
    }
}

/// What became of the requests of a class.
///
/// Each that was offered is counted once among `unsent`, `in_time`, `late`, `other`, `gave_up` and `errors`.
#[derive(Clone, Debug, Serialize)]
pub struct ClassReport {
    /// As in the plan.
    pub name: String,
    /// Due by the schedule.
    pub offered: u64,
    /// Found all connections busy.
    pub unsent: u64,
    /// Written to a connection.
    pub sent: u64,
    /// Answered with 2xx within the time that counts: the goodput.
    pub in_time: u64,
    /// Answered with 2xx after that.
    pub late: u64,
    /// Answered with another status.
    pub other: u64,
    /// The client gave up.
    pub gave_up: u64,
    /// Not answered, or not to the end, by what happened.
    pub errors: BTreeMap<&'static str, u64>,
    /// Answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Answers with the header `x-steadfast-rejected`, by its value; after the 32nd all count as `…`.
    pub rejected: BTreeMap<String, u64>,
    /// Of answers with 2xx, in time or late, from when the request was due.
    pub latency: Latency,
    /// Of all other answers.
    pub other_latency: Latency,
    /// From when requests were due to when they were written; includes opening the connection.
    pub lag: Latency,
    /// Offered in each second of the schedule.
    pub offered_by_second: Vec<u64>,
    /// Of those, answered in time.
    pub in_time_by_second: Vec<u64>,
}

impl ClassReport {
    /// Answered in time, of all that was offered; 1 when nothing was.
    pub fn in_time_share(&self) -> f64 {
        if self.offered == 0 {
            return 1.0;
        }
        self.in_time as f64 / self.offered as f64
    }
}

/// Percentiles in milliseconds, at most a percent too high; absent when nothing was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Latency {
    /// The median.
    pub p50_ms: Option<f64>,
    /// 99 of 100 are not above.
    pub p99_ms: Option<f64>,
    /// 999 of 1,000 are not above.
    pub p999_ms: Option<f64>,
    /// None is above.
    pub max_ms: Option<f64>,
}

impl Latency {
    fn of(histogram: &Histogram) -> Self {
        let ms = |quantile| {
            histogram
                .quantile(quantile)
                .map(|value| value.as_secs_f64() * 1e3)
        };
        Latency {
            p50_ms: ms(0.5),
            p99_ms: ms(0.99),
            p999_ms: ms(0.999),
            max_ms: ms(1.0),
        }
    }
}

/// Reasons are few; a service that makes them up must not fill our memory.
const REASONS_MAX: usize = 32;

/// Counts while the run goes on.
#[derive(Default)]
pub(crate) struct Tally {
    unsent: u64,
    sent: u64,
    in_time: u64,
    late: u64,
    other: u64,
    gave_up: u64,
    errors: BTreeMap<&'static str, u64>,
    statuses: BTreeMap<u16, u64>,
    rejected: BTreeMap<String, u64>,
    latency: Histogram,
    other_latency: Histogram,
    lag: Histogram,
    offered_by_second: Vec<u64>,
    in_time_by_second: Vec<u64>,
}

impl Tally {
    pub(crate) fn new(seconds: usize) -> Self {
        Tally {
            offered_by_second: vec![0; seconds],
            in_time_by_second: vec![0; seconds],
            ..Tally::default()
        }
    }

    pub(crate) fn offered(&mut self, second: usize) {
        self.offered_by_second[second] += 1;
    }

    pub(crate) fn unsent(&mut self) {
        self.unsent += 1;
    }

    pub(crate) fn sent(&mut self, lag: Duration) {
        self.sent += 1;
        self.lag.record(lag);
    }

    pub(crate) fn gave_up(&mut self) {
        self.gave_up += 1;
    }

    pub(crate) fn failed(&mut self, how: &'static str) {
        *self.errors.entry(how).or_default() += 1;
    }

    pub(crate) fn answered(
        &mut self,
        second: usize,
        status: u16,
        reason: Option<String>,
        latency: Duration,
        in_time: bool,
    ) {
        *self.statuses.entry(status).or_default() += 1;
        if let Some(reason) = reason {
            let known = self.rejected.len() < REASONS_MAX || self.rejected.contains_key(&reason);
            let reason = if known { reason } else { "…".to_owned() };
            *self.rejected.entry(reason).or_default() += 1;
        }
        if !(200..300).contains(&status) {
            self.other += 1;
            self.other_latency.record(latency);
            return;
        }
        self.latency.record(latency);
        if in_time {
            self.in_time += 1;
            self.in_time_by_second[second] += 1;
        } else {
            self.late += 1;
        }
    }

    pub(crate) fn report(&self, name: &str) -> ClassReport {
        // The last second is only begun where the schedule ends at its start, and then nobody came in it.
        let seconds = self.offered_by_second.len();
        let seconds =
            seconds - usize::from(seconds > 1 && self.offered_by_second[seconds - 1] == 0);
        ClassReport {
            name: name.to_owned(),
            offered: self.offered_by_second.iter().sum(),
            unsent: self.unsent,
            sent: self.sent,
            in_time: self.in_time,
            late: self.late,
            other: self.other,
            gave_up: self.gave_up,
            errors: self.errors.clone(),
            statuses: self.statuses.clone(),
            rejected: self.rejected.clone(),
            latency: Latency::of(&self.latency),
            other_latency: Latency::of(&self.other_latency),
            lag: Latency::of(&self.lag),
            offered_by_second: self.offered_by_second[..seconds].to_vec(),
            in_time_by_second: self.in_time_by_second[..seconds].to_vec(),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "seed {}, {:.1} s, {:.0} % of a core",
            self.seed,
            self.seconds,
            100.0 * self.cpu_seconds / self.seconds.max(f64::MIN_POSITIVE)
        )?;
        for class in &self.classes {
            write!(f, "\n{class}")?;
        }
        Ok(())
    }
}

impl fmt::Display for ClassReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}: {} offered, {} sent, {} in time ({:.2} %)",
            self.name,
            self.offered,
            self.sent,
            self.in_time,
            100.0 * self.in_time_share()
        )?;
        let counts = [
            ("late", self.late),
            ("given up", self.gave_up),
            ("unsent, all connections busy", self.unsent),
        ];
        for (what, count) in counts.into_iter().filter(|&(_, count)| count > 0) {
            writeln!(f, "  {what:<32} {count}")?;
        }
        for (status, count) in &self.statuses {
            writeln!(f, "  {:<32} {count}", format!("status {status}"))?;
        }
        for (reason, count) in &self.rejected {
            writeln!(f, "  {:<32} {count}", format!("rejected: {reason}"))?;
        }
        for (error, count) in &self.errors {
            writeln!(f, "  {:<32} {count}", format!("error: {error}"))?;
        }
        for (what, latency) in [
            ("latency", self.latency),
            ("latency of other answers", self.other_latency),
            ("lag", self.lag),
        ] {
            if let Latency {
                p50_ms: Some(p50),
                p99_ms: Some(p99),
                p999_ms: Some(p999),
                max_ms: Some(max),
            } = latency
            {
                writeln!(
                    f,
                    "  {what:<32} p50 {p50:.2} ms, p99 {p99:.2} ms, p99.9 {p999:.2} ms, max {max:.2} ms"
                )?;
            }
        }
        let each = self.in_time_by_second.iter().map(u64::to_string);
        writeln!(
            f,
            "  {:<32} {}",
            "in time, second by second",
            each.collect::<Vec<_>>().join(" ")
        )
    }
}
