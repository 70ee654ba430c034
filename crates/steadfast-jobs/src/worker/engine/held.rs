//! What a node holds.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use steadfast_core::{BoxError, Cancel};
use steadfast_store::Row;

use super::Engine;
use super::operation::{Alike, Packed, text_of};
use crate::decide::floor::Floor;
use crate::decide::poll::Poll;
use crate::worker::alone::Place;
use crate::worker::execute::Finished;
use crate::worker::{Kind, Run};

/// What a node holds of one queue.
pub(super) struct Queue {
    pub(super) name: String,
    pub(super) permits: usize,
    pub(super) running: usize,
    pub(super) ready: VecDeque<Claimed>,
    pub(super) floor: Floor,
    /// Whether it has limits, and is claimed from by `claim_limited`.
    pub(super) limited: bool,
    /// Whether those are new, so that what is held may not count against them yet.
    pub(super) limits_are_new: bool,
    /// When that is next due, after how many answers without a job.
    pub(super) poll: Poll,
    pub(super) next_poll: u64,
    /// When a suspect of it is next asked for; `u64::MAX` while one is, by a claim of its own.
    pub(super) next_suspect: u64,
    /// From which key on those held back are looked at.
    pub(super) from_key: String,
}

impl Queue {
    pub(super) fn has_room(&self) -> bool {
        self.running + self.ready.len() < self.permits
    }

    /// Tells whether a suspect could start at once, by a claim of its own.
    pub(super) fn takes_suspect(&self) -> bool {
        self.running < self.permits && !self.limited
    }

    /// Has one with limits asked now. Of several, the one that has waited for the longest goes first.
    pub(super) fn ask_at(&mut self, now: u64) {
        self.next_poll = self.next_poll.min(now);
    }

    /// Has one with limits asked now: a place is free, and the store knows it.
    pub(super) fn freed(&mut self, now: u64) {
        self.poll.found();
        self.ask_at(now);
    }

    /// Takes what was claimed, in its order: what was claimed ahead of need is no reason to keep a higher priority waiting.
    pub(super) fn hold(&mut self, jobs: Vec<Claimed>) {
        let ends = jobs.first().zip(self.ready.back());
        let is_before = ends.is_some_and(|(first, last)| first.rank_us < last.rank_us);
        self.ready.extend(jobs);
        if is_before {
            // The suspect stays in front: others of this process wait for its end.
            let order = |job: &Claimed| (job.place.is_none(), job.rank_us, job.id);
            self.ready.make_contiguous().sort_by_key(order);
        }
    }
}

/// A run under way.
pub(super) struct Flight {
    pub(super) queue: usize,
    pub(super) kind: Arc<Kind>,
    pub(super) run: Run,
    pub(super) cancel: Cancel,
    /// When it should have ended, whatever it does.
    pub(super) over: u64,
}

/// A job that is ours.
pub(super) struct Claimed {
    pub(super) id: i64,
    pub(super) term: i64,
    pub(super) queue: usize,
    pub(super) kind: Arc<Kind>,
    pub(super) payload: String,
    pub(super) spent: u32,
    pub(super) max_attempts: u32,
    pub(super) crashes: u32,
    pub(super) rank_us: i64,
    pub(super) trace_id: Option<String>,
    /// How long its run may take, as the job says.
    pub(super) longest: Option<Duration>,
    /// When it was claimed.
    pub(super) since: u64,
    /// That of a suspect.
    pub(super) place: Option<Place>,
}

/// A run that goes on although its job is not ours any more.
pub(super) struct Stray {
    pub(super) queue: usize,
    pub(super) kind: &'static str,
    pub(super) run: Run,
    /// Whether its end is still to be offered to the store.
    pub(super) offers: bool,
    /// Whether it holds a permit; one that is written off does so only if there was no spare.
    pub(super) permit: bool,
    pub(super) written_off: bool,
    /// When it should have ended, whatever it does.
    pub(super) over: u64,
    /// How long it has after it was told to end.
    pub(super) write_off_after: u64,
}

/// What an engine leaves to the next one when its lease is lost.
#[derive(Default)]
pub(crate) struct Legacy {
    /// By id and term.
    pub(super) strays: HashMap<(i64, i64), Stray>,
    /// Ends of earlier lives that the store is still to be asked about, with their incarnation: they
    /// count if nobody has taken the job.
    pub(super) late: Vec<(i64, Finished)>,
    /// Ends that were rejected and are not in the books yet, with their incarnation.
    pub(super) rejected: VecDeque<(i64, Finished)>,
}

impl Legacy {
    /// Tells whether ends of an earlier life are still to come, or to be told.
    pub(crate) fn owes(&self) -> bool {
        let offers = |stray: &Stray| stray.offers && !stray.written_off;
        !self.late.is_empty() || self.strays.values().any(offers)
    }
}

impl Engine {
    /// Reads a suspect that was claimed.
    pub(super) fn suspect(&self, now: u64, (row, place): (Row, Place)) -> Option<Claimed> {
        Some(Claimed {
            place: Some(place),
            ..self.claimed(now, &row, 0)?
        })
    }

    /// Reads a claimed job; `skip` columns come before it.
    pub(super) fn claimed(&self, now: u64, row: &Row, skip: usize) -> Option<Claimed> {
        let read = || -> Result<Option<Claimed>, steadfast_store::Error> {
            let (queue, kind): (&str, &str) = (row.get(skip + 2)?, row.get(skip + 3)?);
            let queue = self.queues.iter().position(|known| known.name == queue);
            let (Some(queue), Some(kind)) = (queue, self.settings.kinds.get(kind)) else {
                return Ok(None);
            };
            Ok(Some(Claimed {
                id: row.get(skip)?,
                term: row.get(skip + 1)?,
                queue,
                kind: kind.clone(),
                payload: text_of(row.get(skip + 4)?, "\0"),
                spent: count(row.get(skip + 5)?),
                max_attempts: count(row.get(skip + 6)?),
                crashes: count(row.get(skip + 7)?),
                rank_us: row.get(skip + 8)?,
                trace_id: row.get(skip + 9)?,
                longest: row.get::<Option<i64>>(skip + 10)?.map(micros),
                since: now,
                place: None,
            }))
        };
        match read() {
            Ok(claimed) => claimed,
            Err(error) => {
                tracing::error!(target: "steadfast::jobs", %error, "a claimed job cannot be read");
                None
            }
        }
    }

    /// Reads what a run of `exchange` has claimed.
    pub(super) fn unpacked(&self, now: u64, packed: Packed) -> Vec<Claimed> {
        let Packed { jobs, mut large } = packed;
        let read = match jobs {
            Alike::Json { queue, text } => self.of_json(now, queue, &text, &mut large),
            Alike::Rows(rows) => self.of_rows(now, &rows, &mut large),
        };
        read.unwrap_or_else(|error| {
            tracing::error!(target: "steadfast::jobs", %error, "a claimed job cannot be read");
            Vec::new()
        })
    }

    fn of_json(
        &self,
        now: u64,
        queue: usize,
        text: &str,
        large: &mut HashMap<i64, String>,
    ) -> Result<Vec<Claimed>, BoxError> {
        let jobs: Vec<Fields> = serde_json::from_str(text)?;
        let mut claimed = Vec::with_capacity(jobs.len());
        for Fields(
            id,
            term,
            kind,
            payload,
            spent,
            max_attempts,
            crashes,
            rank_us,
            trace_id,
            longest,
        ) in jobs
        {
            let Some(kind) = self.settings.kinds.get(&*kind) else {
                continue;
            };
            claimed.push(Claimed {
                id,
                term,
                queue,
                kind: kind.clone(),
                payload: payload.or_else(|| large.remove(&id)).unwrap_or_default(),
                spent: count(spent),
                max_attempts: count(max_attempts),
                crashes: count(crashes),
                rank_us,
                trace_id,
                longest: longest.map(micros),
                since: now,
                place: None,
            });
        }
        Ok(claimed)
    }

    fn of_rows(
        &self,
        now: u64,
        rows: &[Row],
        large: &mut HashMap<i64, String>,
    ) -> Result<Vec<Claimed>, BoxError> {
        let mut claimed = Vec::new();
        for row in rows {
            let (queue, kind): (&str, &str) = (row.get(2)?, row.get(3)?);
            let queue = self.queues.iter().position(|known| known.name == queue);
            let (Some(queue), Some(kind)) = (queue, self.settings.kinds.get(kind)) else {
                continue;
            };
            let spent = count(row.get(4)?);
            let max_attempts = count(row.get(5)?);
            let crashes = count(row.get(6)?);
            let longest = row.get::<Option<i64>>(7)?.map(micros);
            let (ids, terms): (Vec<i64>, Vec<i64>) = (row.get(8)?, row.get(9)?);
            let ranks: Vec<i64> = row.get(10)?;
            let trace_ids: Vec<Option<String>> = row.get(11)?;
            let payloads: Vec<Option<String>> = row.get(12)?;
            claimed.reserve(ids.len());
            let ids = ids.into_iter().zip(terms).zip(ranks);
            for (((id, term), rank_us), (trace_id, payload)) in
                ids.zip(trace_ids.into_iter().zip(payloads))
            {
                claimed.push(Claimed {
                    id,
                    term,
                    queue,
                    kind: kind.clone(),
                    payload: payload.or_else(|| large.remove(&id)).unwrap_or_default(),
                    spent,
                    max_attempts,
                    crashes,
                    rank_us,
                    trace_id,
                    longest,
                    since: now,
                    place: None,
                });
            }
        }
        Ok(claimed)
    }
}

fn count(value: i64) -> u32 {
    u32::try_from(value).unwrap_or(0)
}

fn micros(us: i64) -> Duration {
    Duration::from_micros(us.unsigned_abs())
}

/// A claimed job, as in the array that `exchange` gives on SQLite.
#[derive(Deserialize)]
struct Fields<'a>(
    i64,
    i64,
    #[serde(borrow)] Cow<'a, str>,
    Option<String>,
    i64,
    i64,
    i64,
    i64,
    Option<String>,
    Option<i64>,
);
