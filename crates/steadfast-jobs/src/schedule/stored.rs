//! A schedule as it is said in code, and as it stands in the store.

use std::borrow::Cow;
use std::time::Duration;

use steadfast_core::Timestamp;
use steadfast_store::{Binds, Row, binds};

use super::due::{Due, Standing};
use super::plan::Plan;
use crate::error::{Refusal, Repr};
use crate::job::{Draft, check_name, micros};
use crate::{Error, Job, Options};

/// A schedule as code or people say it: its name, when it runs, and the job that it makes.
///
/// # Examples
/// ```
/// # use serde::{Deserialize, Serialize};
/// # use steadfast_jobs::{Job, Options};
/// use steadfast_jobs::schedule::{Plan, Rule, Schedule, Zone};
/// # #[derive(Serialize, Deserialize)] struct Settle { currency: String }
/// # impl Job for Settle { const KIND: &'static str = "settle"; }
///
/// let plan = Plan::builder(Rule::cron("30 2 * * *")?)
///     .zone(Zone::new("Europe/Berlin")?)
///     .build()?;
/// let job = Settle { currency: "EUR".into() };
/// let nightly = Schedule::new("settle-eur", plan, &job, Options::new().priority(10))?;
/// assert_eq!(nightly.name(), "settle-eur");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    pub(super) name: String,
    pub(super) plan: Plan,
    pub(super) queue: String,
    pub(super) kind: String,
    pub(super) payload: String,
    pub(super) max_attempts: u32,
    pub(super) priority: i16,
    pub(super) limit_key: Option<String>,
    pub(super) min_version: u32,
}

/// A schedule as the store has it.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) schedule: Schedule,
    /// Of the row: grows with each write, and keeps two of them apart.
    pub(super) revision: i64,
    /// Of what it says: as people see it.
    pub(super) changed: i64,
    pub(super) next_us: Option<i64>,
    pub(super) queued_us: Option<i64>,
    pub(super) decided_us: Option<i64>,
    pub(super) paused: Option<(i64, String)>,
    pub(super) look_us: Option<i64>,
    pub(super) now_us: i64,
}

// === impl Schedule ===

impl Schedule {
    /// Says a schedule that makes jobs of a type.
    ///
    /// The options say how each job is treated. When it is due and until when it may start is for the plan to
    /// say, and that there is one for each occurrence needs no unique key.
    ///
    /// # Errors
    /// When the name has not 1 to 100 bytes, the job is out of bounds, or the options say what the plan decides.
    pub fn new<J: Job>(
        name: impl Into<String>,
        plan: Plan,
        job: &J,
        options: Options,
    ) -> Result<Self, Error> {
        Self::of(name.into(), plan, Draft::of(job, options)?)
    }

    /// Says a schedule that makes jobs of a kind whose type is not known here, with a payload in JSON.
    ///
    /// # Errors
    /// As [`new`](Self::new), and when the payload is not JSON.
    pub fn of_kind(
        name: impl Into<String>,
        plan: Plan,
        kind: impl Into<String>,
        payload: impl Into<String>,
        options: Options,
    ) -> Result<Self, Error> {
        let draft = Draft::of_kind(kind.into(), payload.into(), options)?;
        Self::of(name.into(), plan, draft)
    }

    fn of(name: String, plan: Plan, draft: Draft) -> Result<Self, Error> {
        check_name("name of a schedule", &name)?;
        let options = &draft.options;
        for (said, what) in [
            (
                options.delay > Duration::ZERO || options.due_us.is_some(),
                "when a job is due",
            ),
            (options.expires_in.is_some(), "until when a job may start"),
            (options.unique.is_some(), "that each occurrence has one job"),
        ] {
            if said {
                return Err(Refusal::Planned(what).into());
            }
        }
        Ok(Self {
            name,
            plan,
            queue: draft.queue,
            kind: draft.kind.into_owned(),
            payload: draft.payload,
            max_attempts: draft.max_attempts,
            priority: draft.options.priority,
            limit_key: draft.options.limit_key,
            min_version: draft.options.min_version,
        })
    }

    /// Gives its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Gives when and how it runs.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Gives the kind of its jobs.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// Gives the payload of its jobs, as JSON.
    #[must_use]
    pub fn payload(&self) -> &str {
        &self.payload
    }

    /// Gives the queue of its jobs.
    #[must_use]
    pub fn queue(&self) -> &str {
        &self.queue
    }

    /// Gives the priority of its jobs.
    #[must_use]
    pub fn priority(&self) -> i16 {
        self.priority
    }

    /// Gives how many attempts its jobs have.
    #[must_use]
    pub fn max_attempts(&self) -> u32 {
        self.max_attempts
    }

    /// Gives the key of the limit that its jobs count against.
    #[must_use]
    pub fn limit_key(&self) -> Option<&str> {
        self.limit_key.as_deref()
    }

    /// Gives the oldest version of a node that may run its jobs.
    #[must_use]
    pub fn min_version(&self) -> u32 {
        self.min_version
    }

    /// Spreads its jitter apart from that of others (FNV-1a, which every version and node has alike).
    pub(super) fn seed(&self) -> u64 {
        self.name.bytes().fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
        })
    }

    /// Makes the job of an occurrence.
    pub(super) fn draft(&self, due: Due, now_ms: i64) -> Draft {
        let expires_in = due.start_until_ms.map(|until| {
            let left = until.saturating_sub(now_ms).max(1);
            Duration::from_millis(left.unsigned_abs())
        });
        Draft {
            queue: self.queue.clone(),
            kind: Cow::Owned(self.kind.clone()),
            payload: self.payload.clone(),
            max_attempts: self.max_attempts,
            options: Options {
                priority: self.priority,
                due_us: Some(due.start_ms.saturating_mul(1_000)),
                expires_in,
                limit_key: self.limit_key.clone(),
                min_version: self.min_version,
                ..Options::default()
            },
        }
    }

    /// Gives the values of the columns that say it, the name first.
    pub(super) fn binds(&self) -> Binds {
        let plan = &self.plan;
        binds![
            self.name.as_str(),
            plan.rule().to_string(),
            plan.zone().name(),
            plan.missed().to_string(),
            plan.overlap().as_str(),
            micros(plan.jitter()),
            plan.start_deadline().map(micros),
            self.queue.as_str(),
            self.kind.as_str(),
            self.payload.as_str(),
            self.priority,
            self.max_attempts,
            self.limit_key.clone(),
            self.min_version,
        ]
    }
}

// === impl Stored ===

impl Stored {
    pub(super) fn read(row: &Row) -> Result<Self, Error> {
        let name: String = row.get(0)?;
        let unreadable = |source: Box<dyn std::error::Error + Send + Sync>| Repr::StoredSchedule {
            name: name.clone(),
            source,
        };
        let plan = plan(row)?.map_err(unreadable)?;
        let number = |index: usize| -> Result<u32, Error> {
            Ok(u32::try_from(row.get::<i64>(index)?).unwrap_or(u32::MAX))
        };
        let paused: (Option<i64>, Option<String>) = (row.get(18)?, row.get(19)?);
        Ok(Self {
            schedule: Schedule {
                plan,
                queue: row.get(7)?,
                kind: row.get(8)?,
                payload: row.get(9)?,
                priority: i16::try_from(row.get::<i64>(10)?).unwrap_or(0),
                max_attempts: number(11)?,
                limit_key: row.get(12)?,
                min_version: number(13)?,
                name,
            },
            revision: row.get(14)?,
            next_us: row.get(15)?,
            queued_us: row.get(16)?,
            decided_us: row.get(17)?,
            paused: paused.0.zip(paused.1),
            look_us: row.get(20)?,
            now_us: row.get(21)?,
            changed: row.get(22)?,
        })
    }

    pub(super) fn now_ms(&self) -> i64 {
        self.now_us.div_euclid(1_000)
    }

    pub(super) fn decided_ms(&self) -> Option<i64> {
        self.decided_us.map(|us| us.div_euclid(1_000))
    }

    pub(super) fn standing(&self, live: usize, ended_us: Option<i64>) -> Standing {
        let ms = |us: i64| us.div_euclid(1_000);
        Standing {
            next_ms: self.next_us.map(ms),
            queued_ms: self.queued_us.map(ms),
            live: u32::try_from(live).unwrap_or(u32::MAX),
            // Up: what ended within a millisecond has ended at its end.
            ended_ms: ended_us.map(|us| ms(us.saturating_add(999))),
        }
    }
}

type Unreadable = Box<dyn std::error::Error + Send + Sync>;

fn plan(row: &Row) -> Result<Result<Plan, Unreadable>, Error> {
    let (rule, zone): (&str, &str) = (row.get(1)?, row.get(2)?);
    let (missed, overlap): (&str, &str) = (row.get(3)?, row.get(4)?);
    let (jitter, deadline): (i64, Option<i64>) = (row.get(5)?, row.get(6)?);
    let length = |us: i64| Duration::from_micros(us.max(0).unsigned_abs());
    let parts = || -> Result<Plan, Unreadable> {
        Ok(Plan::of_parts(
            rule.parse()?,
            super::Zone::new(zone)?,
            (missed.parse()?, overlap.parse()?),
            (length(jitter), deadline.map(length)),
        ))
    };
    Ok(parts())
}

pub(super) fn timestamp(us: i64) -> Timestamp {
    Timestamp::from_unix_millis(us.div_euclid(1_000))
}
