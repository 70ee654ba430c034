//! Looking at jobs: one, a page of many, how many there are.
//!
//! A dashboard that counts whole tables becomes the largest load of its database. Here every look
//! reads a bounded number of rows, with five million jobs as with none: a page reads a window and
//! says where to go on, a count stops at a cap.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use serde::de::DeserializeOwned;
use steadfast_core::clock::Timestamp;
use steadfast_store::{Row, binds};

use crate::error::{Refusal, Repr};
use crate::{Error, JobId, Jobs, State, sql};

/// The most jobs of a page: 500.
pub const PAGE_MAX: usize = 500;

/// How many rows a page of some of the jobs looks at: 10,000, a few milliseconds for the store. A page of rare jobs may
/// have less than was asked for, or none, and still say where to go on. One of all looks at no more than it has.
pub const WINDOW: i64 = 10_000;

/// Where a count stops: 1,000, a tenth of a millisecond for the store. Whether there are some, or many, is seen; with
/// 10,000 a count took three times as long where there are millions.
pub const COUNT_CAP: u64 = 1_000;

/// What the store knows about a job.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct JobInfo {
    /// Its id.
    pub id: JobId,
    /// The queue it is in.
    pub queue: String,
    /// Its kind.
    pub kind: String,
    /// Where it is in its life.
    pub state: State,
    /// Its priority.
    pub priority: i64,
    /// When it is or was due.
    pub due: Timestamp,
    /// How many attempts are spent.
    pub attempt: u32,
    /// How many it has.
    pub max_attempts: u32,
    /// How many processes died with it since a run of it last came to an end.
    pub crashes: u32,
    /// Its term, which grows whenever it changes hands.
    pub term: u64,
    /// The incarnation of the node that holds it, or held it at its end.
    pub incarnation: Option<i64>,
    /// When its last run was claimed.
    pub claimed: Option<Timestamp>,
    /// When it was enqueued.
    pub created: Timestamp,
    /// When it ended.
    pub finished: Option<Timestamp>,
    /// The key of its limit.
    pub limit_key: Option<String>,
    /// The trace it belongs to.
    pub trace_id: Option<String>,
    /// Why its last attempt failed, or why it was ended.
    pub error: Option<String>,
}

/// A job with its payload and its result, as JSON.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct JobDetail {
    /// What else is known.
    pub info: JobInfo,
    /// What it was enqueued with.
    pub payload: String,
    /// What its handler returned.
    pub result: Option<String>,
}

impl JobDetail {
    /// Reads the result; `None` while there is none.
    ///
    /// # Errors
    /// When it is of another type.
    pub fn result<R: DeserializeOwned>(&self) -> Result<Option<R>, Error> {
        let read = self.result.as_deref().map(serde_json::from_str);
        Ok(read.transpose().map_err(Repr::Result)?)
    }
}

/// Which jobs to list.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    state: Option<State>,
    queue: Option<String>,
    kind: Option<String>,
    limit_key: Option<String>,
    after: Option<Cursor>,
}

impl Filter {
    /// Lists live jobs, the newest first.
    pub fn live() -> Self {
        Self::default()
    }

    /// Lists jobs in this state: live ones by the time they were enqueued, ended ones by the time
    /// they ended, the latest first.
    pub fn state(state: State) -> Self {
        Self {
            state: Some(state),
            ..Self::default()
        }
    }

    /// Only those of this queue.
    #[must_use]
    pub fn queue(mut self, name: impl Into<String>) -> Self {
        self.queue = Some(name.into());
        self
    }

    /// Only those of this kind.
    #[must_use]
    pub fn kind(mut self, name: impl Into<String>) -> Self {
        self.kind = Some(name.into());
        self
    }

    /// Only those with this key of their [limit](crate::Options::limit_key).
    #[must_use]
    pub fn limit_key(mut self, key: impl Into<String>) -> Self {
        self.limit_key = Some(key.into());
        self
    }

    /// Goes on behind a page.
    #[must_use]
    pub fn after(mut self, cursor: Cursor) -> Self {
        self.after = Some(cursor);
        self
    }

    /// How many rows a page is looked for in: where each of them matches, no more than it has.
    fn window(&self, limit: usize) -> i64 {
        let ended = self.state.is_some_and(State::is_terminal);
        let by_state = self.state.is_some() && !ended;
        match by_state || self.queue.is_some() || self.kind.is_some() || self.limit_key.is_some() {
            true => WINDOW,
            false => limit as i64,
        }
    }
}

/// Where a list goes on. Stays good while jobs come and go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    time_us: i64,
    id: i64,
}

/// As text, for whoever comes back with it.
impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{:x}", self.time_us, self.id)
    }
}

/// Says that a text is no cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no cursor of a list of jobs")]
pub struct NoCursor;

impl FromStr for Cursor {
    type Err = NoCursor;

    fn from_str(text: &str) -> Result<Self, NoCursor> {
        let number = |text: &str| i64::from_str_radix(text, 16).ok().filter(|it| *it >= 0);
        let (time, id) = text.split_once('-').ok_or(NoCursor)?;
        let (time_us, id) = number(time).zip(number(id)).ok_or(NoCursor)?;
        Ok(Self { time_us, id })
    }
}

/// A part of a list.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Page {
    /// The jobs; perhaps fewer than asked for, see [`WINDOW`].
    pub jobs: Vec<JobInfo>,
    /// Where its first job is: a list that goes on from there begins with that one, and has none that came later.
    /// `None` when it has no jobs.
    pub first: Option<Cursor>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<Cursor>,
}

/// How many jobs there are in each state, up to a cap, where it means "that many or more": [`COUNT_CAP`] where nothing
/// else is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Counts([u64; State::ALL.len()]);

impl Counts {
    /// Gives the number of those in a state.
    pub fn of(&self, state: State) -> u64 {
        let place = State::ALL.iter().position(|known| *known == state);
        place.map_or(0, |place| self.0[place])
    }
}

impl Jobs {
    /// Gives a job, live or ended, with its payload and its result; `None` when there is none, or
    /// not any more.
    ///
    /// # Errors
    /// When the store cannot be asked.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn find(&self, id: JobId) -> Result<Option<JobDetail>, Error> {
        let rows = self.store().ask(&sql::FIND, binds![id.0]).await?;
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        Ok(Some(JobDetail {
            payload: row.get(6)?,
            result: row.get(18)?,
            info: info(
                row,
                [0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17],
            )?,
        }))
    }

    /// Lists jobs, `limit` of them at most: 1 to [`PAGE_MAX`].
    ///
    /// # Errors
    /// When the limit is out of bounds, or the store cannot be asked.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn list(&self, filter: &Filter, limit: usize) -> Result<Page, Error> {
        if !(1..=PAGE_MAX).contains(&limit) {
            return Err(Refusal::Range {
                what: "the length of a page",
                is: limit.to_string(),
                least: "1".into(),
                most: PAGE_MAX.to_string(),
            }
            .into());
        }
        let ended = filter.state.is_some_and(State::is_terminal);
        let start = Cursor {
            time_us: i64::MAX,
            id: i64::MAX,
        };
        let from = filter.after.unwrap_or(start);
        let window = filter.window(limit);
        let mut binds = binds![
            from.id,
            filter.state.map(State::as_str),
            filter.queue.clone(),
            filter.kind.clone(),
            window,
            limit as i64,
            filter.limit_key.clone()
        ];
        let statement = if ended {
            binds.push(from.time_us.into());
            &sql::LIST_ENDED
        } else {
            &sql::LIST_LIVE
        };
        let rows = self.store().ask(statement, binds).await?;
        page(&rows, limit, window)
    }

    /// Counts the jobs in each state, up to [`COUNT_CAP`].
    ///
    /// # Errors
    /// When the store cannot be asked.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn counts(&self) -> Result<Counts, Error> {
        self.counts_up_to(COUNT_CAP).await
    }

    pub(crate) async fn counts_up_to(&self, cap: u64) -> Result<Counts, Error> {
        let rows = self.store().ask(&sql::COUNTS, binds![cap as i64]).await?;
        let mut counts = Counts::default();
        for row in &rows {
            let (state, count): (&str, i64) = (row.get(0)?, row.get(1)?);
            let place = State::ALL.iter().position(|known| known.as_str() == state);
            let place = place.ok_or(Repr::Answer("an unknown state"))?;
            counts.0[place] = count.unsigned_abs();
        }
        Ok(counts)
    }
}

fn page(rows: &steadfast_store::Rows, limit: usize, window: i64) -> Result<Page, Error> {
    let mut jobs = Vec::new();
    let (mut window_end, mut seen, mut last, mut first) = (None, 0, None, None);
    for row in rows {
        let cursor = Cursor {
            id: row.get(1)?,
            time_us: row.get::<Option<i64>>(15)?.unwrap_or(i64::MAX),
        };
        if row.get::<i64>(0)? == 0 {
            window_end = Some(cursor);
            seen = row.get(2)?;
        } else {
            first.get_or_insert(Cursor {
                // A list goes on behind its cursor.
                id: cursor.id.saturating_add(1),
                ..cursor
            });
            last = Some(cursor);
            jobs.push(info(
                row,
                [1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18],
            )?);
        }
    }
    let next = if jobs.len() == limit {
        last
    } else {
        window_end.filter(|_| seen == window)
    };
    Ok(Page { jobs, first, next })
}

/// Reads a job from the columns given.
fn info(row: &Row, at: [usize; 17]) -> Result<JobInfo, Error> {
    let count = |value: i64| u32::try_from(value).unwrap_or(0);
    let state: &str = row.get(at[3])?;
    Ok(JobInfo {
        id: JobId(row.get(at[0])?),
        queue: row.get(at[1])?,
        kind: row.get(at[2])?,
        state: State::of(state).ok_or(Repr::Answer("an unknown state"))?,
        priority: row.get(at[4])?,
        due: time(row.get(at[5])?),
        attempt: count(row.get(at[6])?),
        max_attempts: count(row.get(at[7])?),
        crashes: count(row.get(at[8])?),
        term: row.get::<i64>(at[9])?.unsigned_abs(),
        incarnation: row.get(at[10])?,
        claimed: row.get::<Option<i64>>(at[11])?.map(time),
        created: time(row.get(at[12])?),
        finished: row.get::<Option<i64>>(at[13])?.map(time),
        limit_key: row
            .get::<Option<String>>(at[14])?
            .filter(|key| !key.is_empty()),
        trace_id: row.get(at[15])?,
        error: row.get(at[16])?,
    })
}

pub(crate) fn time(us: i64) -> Timestamp {
    let length = Duration::from_micros(us.unsigned_abs());
    let epoch = SystemTime::UNIX_EPOCH;
    let time = if us < 0 {
        epoch.checked_sub(length)
    } else {
        epoch.checked_add(length)
    };
    time.unwrap_or(epoch).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_looks_at_more_than_it_has_only_where_some_may_not_match() {
        let live = Filter::live();
        let completed = Filter::state(State::Completed);

        assert_eq!(live.window(50), 50);
        assert_eq!(completed.window(50), 50);
        for some in [
            Filter::state(State::Running),
            live.queue("some"),
            completed.clone().kind("some"),
            completed.limit_key("some"),
        ] {
            assert_eq!(some.window(50), WINDOW, "{some:?}");
        }
    }
}
