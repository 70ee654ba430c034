//! What the store is asked, one operation at a time.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt::Write as _;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use steadfast_core::{Cancel, clock};
use steadfast_store::{Dialect, Lane, Row, Rows, Value, batch, binds};

use super::held::Flight;
use super::runs::wanted;
use super::{ENDS_MAX, Engine};
use crate::decide::retry::Follow;
use crate::error::Repr;
use crate::job::micros;
use crate::worker::alone::{self, Place};
use crate::worker::execute::Finished;
use crate::worker::run::settled;
use crate::{Error, sql};

/// For how many keys of a queue with limits it is looked whether they have room, at each claim: 200.
const UNBLOCK_KEYS: i64 = 200;

/// From how many ends and jobs wanted on they go to PostgreSQL side by side, by two connections: 500, some
/// milliseconds of work for each of two cores. Less is done in one statement, and flushed once.
pub(super) const SIDE_BY_SIDE: usize = 500;

/// A queue by its place, from which rank on, and how many jobs.
pub(super) type Asked = (usize, i64, usize);

pub(super) type Operation = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// What an operation of the store has told.
pub(super) enum Outcome {
    Exchanged {
        sent: Vec<Finished>,
        asked: Vec<Asked>,
        began: u64,
        told: Result<Told, Error>,
    },
    PutBack {
        sent: Vec<Finished>,
        told: Result<Back, Error>,
    },
    /// Ends of runs of an earlier life, with its incarnation.
    Late {
        incarnation: i64,
        sent: Vec<Finished>,
        told: Result<Told, Error>,
    },
    /// Whether it was noted or not: it was counted before.
    Rejected(Result<Rows, Error>),
    Suspect(Result<Option<(Row, Place)>, Error>),
    Found(Result<Found, Error>),
    Limited {
        index: usize,
        told: Result<Limited, Error>,
    },
    Checked {
        asked: Vec<(Flight, Finished)>,
        told: Result<Books, Error>,
    },
}

/// What a queue with limits has given.
#[derive(Default)]
pub(super) struct Limited {
    /// Whether it was our turn.
    pub(super) ours: bool,
    /// Whether it was that of somebody else; of nobody, if the queue is paused.
    pub(super) is_taken: bool,
    pub(super) claimed: Vec<Row>,
    /// Whether jobs were held back, behind which may be others that are not.
    pub(super) held_back: bool,
    pub(super) suspect: Option<(Row, Place)>,
    /// Whether there was a look for one.
    pub(super) asked_for_suspect: bool,
    /// From which key on those held back are looked at next; empty for the start.
    pub(super) from_key: String,
}

/// Which runs have ended by the books, and how: not always as they are told, where another word about the same run has come
/// before.
pub(super) type Books = HashMap<i64, Follow>;

/// What the books say: which ends are noted, and what we hold, as (id, term).
pub(super) struct Found {
    pub(super) ended: Books,
    pub(super) held: Vec<(i64, i64)>,
}

/// What of the runs that were put back was taken.
pub(super) struct Back {
    pub(super) taken: Vec<i64>,
    /// Those of them that somebody wanted to stop meanwhile.
    pub(super) stopped: Vec<i64>,
    /// Those that are ours, and locked.
    pub(super) locked: Vec<i64>,
    /// Those that had ended before.
    pub(super) settled: Books,
}

pub(super) struct Told {
    /// The time of the database, if the lease holds.
    pub(super) at_us: Option<i64>,
    pub(super) ended: Vec<i64>,
    /// Those that are ours, and locked.
    pub(super) locked: Vec<i64>,
    /// Those that had ended before.
    pub(super) settled: Books,
    pub(super) claimed: Vec<Packed>,
}

/// What was claimed by one run.
pub(super) struct Packed {
    pub(super) jobs: Alike,
    /// Payloads that are left out there, by id.
    pub(super) large: HashMap<i64, String>,
}

/// Jobs as a store packs them.
pub(super) enum Alike {
    /// One text for a queue, of SQLite.
    Json { queue: usize, text: String },
    /// A row of PostgreSQL for each queue, kind and so on.
    Rows(Vec<Row>),
}

impl Engine {
    pub(super) fn exchange(&mut self, asked: Vec<Asked>) -> Operation {
        let rest = self.done.split_off(self.done.len().min(ENDS_MAX));
        let sent = std::mem::replace(&mut self.done, rest);
        if self.done.is_empty() && self.back.is_empty() {
            self.since = None;
        }
        let began = clock::nanos();
        if !asked.is_empty() {
            self.woken = false;
            // Its answer says when the next one is, unless something ends before that.
            self.next_poll = u64::MAX;
        }
        let dialect = self.jobs.store().dialect();
        let wanted: usize = asked.iter().map(|(_, _, want)| want).sum();
        let side_by_side = dialect == Dialect::Postgres && sent.len().min(wanted) >= SIDE_BY_SIDE;
        let (mut runs, mut beside) = (Vec::new(), None);
        // The ends go along with the first claim.
        let mut first = &sent[..];
        if side_by_side {
            let ends = std::mem::take(&mut first);
            beside = Some(self.exchange_run(self.incarnation, ends, &[]));
        }
        // SQLite takes the queues one by one: each is a statement of the same transaction writer.
        let parts: Vec<&[Asked]> = match dialect {
            Dialect::Sqlite if asked.len() > 1 => asked.chunks(1).collect(),
            _ => vec![&asked[..]],
        };
        for part in parts {
            let ends = std::mem::take(&mut first);
            runs.push(self.exchange_run(self.incarnation, ends, part));
        }
        let (lane, second) = (self.lane.clone(), self.second.clone());
        let hurry = self.hurry.clone();
        Box::pin(async move {
            let told = async {
                let mut told = match beside {
                    None => exchange(&lane, runs).await?,
                    Some(ends) => {
                        // Both to their end: what of a failure was done is only asked once nothing is under way.
                        let (ended, claimed) =
                            tokio::join!(exchange(&second, vec![ends]), exchange(&lane, runs));
                        both(ended, claimed)?
                    }
                };
                told.settled = settled_of(&lane, &sent, &[&told.ended, &told.locked]).await?;
                Ok(told)
            };
            let told = unless(&hurry, told).await;
            Outcome::Exchanged {
                sent,
                asked,
                began,
                told,
            }
        })
    }

    fn exchange_run<'a>(
        &self,
        incarnation: i64,
        sent: impl IntoIterator<Item = &'a Finished>,
        asked: &[Asked],
    ) -> Exchange {
        let names: Vec<String> = asked
            .iter()
            .map(|(index, _, _)| self.queues[*index].name.clone())
            .collect();
        let wants: Vec<i64> = asked.iter().map(|(_, _, want)| *want as i64).collect();
        let floors: Vec<i64> = asked.iter().map(|(_, floor, _)| *floor).collect();
        let sent: Vec<&Finished> = sent.into_iter().collect();
        let ids = sent.iter().map(|end| end.id).collect();
        let (plain, rest): (Vec<_>, Vec<_>) = sent.into_iter().partition(|end| is_plain(end));
        let plain = match self.jobs.store().dialect() {
            Dialect::Postgres => batch![
                plain.iter().map(|end| end.id).collect::<Vec<_>>(),
                plain.iter().map(|end| end.term).collect::<Vec<_>>()
            ],
            Dialect::Sqlite => pairs(&plain).into(),
        };
        let binds = binds![
            incarnation,
            plain,
            ends(&rest),
            batch![names, wants, floors],
            self.settings.kinds_without(&self.held),
            self.settings.version
        ];
        Exchange {
            binds,
            ids,
            queue: asked.first().map_or(0, |(index, _, _)| *index),
        }
    }

    pub(super) fn put_back(&mut self) -> Operation {
        let rest = self.back.split_off(self.back.len().min(ENDS_MAX));
        let sent = std::mem::replace(&mut self.back, rest);
        if self.done.is_empty() && self.back.is_empty() {
            self.since = None;
        }
        let column = |value: fn(&Finished) -> i64| -> Vec<i64> { sent.iter().map(value).collect() };
        let delays: Vec<i64> = sent.iter().map(|end| micros(delay(end.follow))).collect();
        let spent: Vec<bool> = sent
            .iter()
            .map(|end| matches!(end.follow, Follow::Retry(_)))
            .collect();
        let ended: Vec<bool> = sent
            .iter()
            .map(|end| matches!(end.follow, Follow::Retry(_) | Follow::Snooze(_)))
            .collect();
        let errors: Vec<Option<String>> = sent.iter().map(|end| end.error.clone()).collect();
        let binds = binds![
            batch![
                column(|end| end.id),
                column(|end| end.term),
                delays,
                spent,
                ended,
                errors
            ],
            self.incarnation
        ];
        let (lane, hurry) = (self.lane.clone(), self.hurry.clone());
        Box::pin(async move {
            let told = async {
                let rows = lane.run(&sql::PUT_BACK, binds).await?;
                let mut back = Back {
                    taken: Vec::with_capacity(rows.len()),
                    stopped: Vec::new(),
                    locked: Vec::new(),
                    settled: Books::new(),
                };
                for row in &rows {
                    let id = row.get(0)?;
                    match row.get::<i64>(1)? {
                        0 => back.taken.push(id),
                        1 => {
                            back.taken.push(id);
                            back.stopped.push(id);
                        }
                        _ => back.locked.push(id),
                    }
                }
                back.settled = settled_of(&lane, &sent, &[&back.taken, &back.locked]).await?;
                Ok(back)
            };
            let told = unless(&hurry, told).await;
            Outcome::PutBack { sent, told }
        })
    }

    /// Offers ends of runs of an earlier life, which count if nobody has taken their jobs.
    pub(super) fn offer_late(&mut self) -> Operation {
        let incarnation = self.legacy.late[0].0;
        let (sent, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut self.legacy.late)
            .into_iter()
            .partition(|(of, _)| *of == incarnation);
        self.legacy.late = rest;
        let sent: Vec<Finished> = sent.into_iter().map(|(_, finished)| finished).collect();
        // Those that their handlers have completed are there, or are not to be.
        let plain = sent.iter().filter(|end| end.settled == settled::NO);
        let run = self.exchange_run(incarnation, plain, &[]);
        let (lane, hurry) = (self.lane.clone(), self.hurry.clone());
        Box::pin(async move {
            let told = async {
                let mut told = exchange(&lane, vec![run]).await?;
                told.settled = settled_of(&lane, &sent, &[&told.ended, &told.locked]).await?;
                Ok(told)
            };
            let told = unless(&hurry, told).await;
            Outcome::Late {
                incarnation,
                sent,
                told,
            }
        })
    }

    /// Notes rejected ends of one life, so that people can see them.
    pub(super) fn note_rejected(&mut self) -> Operation {
        let incarnation = self.legacy.rejected.front().map_or(0, |(of, _)| *of);
        let (ours, rest): (VecDeque<_>, VecDeque<_>) = std::mem::take(&mut self.legacy.rejected)
            .into_iter()
            .partition(|(of, _)| *of == incarnation);
        self.legacy.rejected = rest;
        let ends = || ours.iter().map(|(_, end)| end);
        let binds = binds![
            batch![
                ends().map(|end| end.id).collect::<Vec<_>>(),
                ends().map(|end| end.term).collect::<Vec<_>>(),
                ends().map(|end| end.kind.to_owned()).collect::<Vec<_>>(),
                ends().map(|end| i64::from(end.attempt)).collect::<Vec<_>>(),
                ends().map(|end| wanted(end).to_owned()).collect::<Vec<_>>(),
                ends().map(|end| end.error.clone()).collect::<Vec<_>>()
            ],
            incarnation
        ];
        let lane = self.lane.clone();
        Box::pin(async move {
            let noted = lane.run(&sql::REJECT, binds).await;
            Outcome::Rejected(noted.map_err(Error::from))
        })
    }

    pub(super) fn claim_suspect(&mut self) -> Operation {
        let mut names = Vec::new();
        // Also of those that are not due: one claim for all of them is all it takes while nothing runs.
        for queue in self.queues.iter_mut().filter(|queue| queue.takes_suspect()) {
            // Its answer says when the next one is.
            queue.next_suspect = u64::MAX;
            names.push(queue.name.clone());
        }
        let binds = binds![
            self.incarnation,
            names,
            self.settings.kinds_without(&self.held),
            self.settings.version
        ];
        let lane = self.lane.clone();
        Box::pin(async move {
            // Whoever finds it taken asks again before long, and keeps no end waiting.
            let Some(place) = alone::take(clock::nanos()) else {
                return Outcome::Suspect(Ok(None));
            };
            let told = lane.run(&sql::CLAIM_SUSPECT, binds).await;
            let told = told.map(|rows| Some((rows.into_iter().next()?, place)));
            Outcome::Suspect(told.map_err(Error::from))
        })
    }

    /// Claims from a queue with limits: no more than can start at once, since what is held counts.
    pub(super) fn claim_limited(&mut self, now: u64, index: usize, draining: bool) -> Operation {
        let asks = self.asks_for_suspect(now);
        let claims = !draining && self.settings.wants_any();
        let queue = &mut self.queues[index];
        // Its answer says when the next one is.
        queue.next_poll = u64::MAX;
        let asks = asks && now >= queue.next_suspect;
        let room = queue
            .permits
            .saturating_sub(queue.running + queue.ready.len());
        let room = if claims { room } else { 0 };
        let (name, from_key) = (queue.name.clone(), queue.from_key.clone());
        let new = queue.limits_are_new;
        let (incarnation, version) = (self.incarnation, self.settings.version);
        let kinds = self.settings.kinds_without(&self.held);
        let lane = self.lane.clone();
        Box::pin(async move {
            let place = asks.then(|| alone::take(clock::nanos())).flatten();
            let claimed = lane.write(async |mut tx| {
                let mut told = Limited {
                    from_key,
                    ..Limited::default()
                };
                let locked = tx.run(&sql::LOCK_LIMITED, binds![name.as_str()]).await?;
                let turn = locked.first().map(|row| row.get::<i64>(0)).transpose()?;
                (told.ours, told.is_taken) = (turn == Some(1), turn == Some(0));
                if !told.ours {
                    return Ok(told);
                }
                if new {
                    let binds = binds![incarnation, name.as_str()];
                    tx.run(&sql::LIMIT_HELD, binds).await?;
                }
                if room == 0 {
                    return Ok(told);
                }
                // Before the others, who may be there all the time.
                if let Some(place) = place {
                    let binds = binds![incarnation, vec![name.clone()], kinds.clone(), version];
                    let rows = tx.run(&sql::CLAIM_SUSPECT, binds).await?;
                    told.asked_for_suspect = true;
                    told.suspect = rows.into_iter().next().map(|row| (row, place));
                }
                let from_key = std::mem::take(&mut told.from_key);
                let binds = binds![name.as_str(), from_key, UNBLOCK_KEYS];
                let rows = tx.run(&sql::UNBLOCK, binds).await?;
                told.from_key = rows.one()?.get::<Option<String>>(0)?.unwrap_or_default();
                let want = room as i64 - i64::from(told.suspect.is_some());
                let binds = binds![incarnation, name.as_str(), want, kinds, version];
                for row in tx.run(&sql::CLAIM_LIMITED, binds).await? {
                    match row.get::<i64>(0)? {
                        2 => told.claimed.push(row),
                        _ => told.held_back = true,
                    }
                }
                Ok(told)
            });
            let told = claimed
                .await
                .map_err(|error: steadfast_store::Error| Error::from(error));
            Outcome::Limited { index, told }
        })
    }

    /// Asks which of our ends were noted, and what we hold by the books.
    pub(super) fn find_out(&self) -> Operation {
        let ends = self.done.iter().chain(&self.back);
        let ends: Vec<(i64, i64)> = ends.map(|end| (end.id, end.term)).collect();
        let incarnation = self.incarnation;
        // Other queues of this node are those of other workers.
        let queues: Vec<String> = self.queues.iter().map(|queue| queue.name.clone()).collect();
        let lane = self.lane.clone();
        Box::pin(async move {
            let found = async {
                let ended = books(&lane, ends).await?;
                let rows = lane.run(&sql::HELD, binds![incarnation, queues]).await?;
                let held: Result<Vec<(i64, i64)>, steadfast_store::Error> = rows
                    .iter()
                    .map(|row| Ok((row.get(0)?, row.get(1)?)))
                    .collect();
                Ok(Found { ended, held: held? })
            };
            Outcome::Found(found.await)
        })
    }

    /// Asks which of the runs that their handlers have completed are in the history.
    pub(super) fn check_perhaps(&mut self) -> Operation {
        let asked = std::mem::take(&mut self.perhaps);
        let ends: Vec<(i64, i64)> = asked.iter().map(|(_, end)| (end.id, end.term)).collect();
        let (lane, hurry) = (self.lane.clone(), self.hurry.clone());
        Box::pin(async move {
            let told = unless(&hurry, books(&lane, ends)).await;
            Outcome::Checked { asked, told }
        })
    }
}

/// Waits for an answer, unless there is no time for it: what has been sent is to be given back then.
async fn unless<T>(
    hurry: &Cancel,
    asked: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    tokio::select! {
        told = asked => told,
        _ = hurry.cancelled() => Err(Repr::Unanswered.into()),
    }
}

fn delay(follow: Follow) -> Duration {
    match follow {
        Follow::Retry(wait) | Follow::Snooze(wait) => wait,
        Follow::Complete | Follow::Discard | Follow::Release | Follow::Stop | Follow::Nothing => {
            Duration::ZERO
        }
    }
}

/// One run of `exchange`.
struct Exchange {
    binds: Vec<Value>,
    /// The jobs whose ends it tells.
    ids: Vec<i64>,
    /// Where what it claims belongs, on SQLite.
    queue: usize,
}

/// Tells whether an end says no more than that the job is completed.
fn is_plain(end: &Finished) -> bool {
    matches!(end.follow, Follow::Complete) && end.error.is_none() && end.result.is_none()
}

/// Writes ends as `{"id": term, …}`.
fn pairs(sent: &[&Finished]) -> String {
    let mut text = String::with_capacity(2 + 16 * sent.len());
    text.push('{');
    for (index, end) in sent.iter().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        // A text takes everything.
        let _ = write!(text, "{comma}\"{}\":{}", end.id, end.term);
    }
    text.push('}');
    text
}

fn ends(sent: &[&Finished]) -> Value {
    let states: Vec<String> = sent
        .iter()
        .map(|end| match end.follow {
            Follow::Discard => "discarded".to_owned(),
            Follow::Stop => "cancelled".to_owned(),
            _ => "completed".to_owned(),
        })
        .collect();
    let ids: Vec<i64> = sent.iter().map(|end| end.id).collect();
    let terms: Vec<i64> = sent.iter().map(|end| end.term).collect();
    let errors: Vec<Option<String>> = sent.iter().map(|end| end.error.clone()).collect();
    let results: Vec<Option<String>> = sent.iter().map(|end| end.result.clone()).collect();
    batch![ids, terms, states, errors, results]
}

/// Puts together what ends and claims that went side by side have told.
fn both(ended: Result<Told, Error>, claimed: Result<Told, Error>) -> Result<Told, Error> {
    let (ended, claimed) = (ended?, claimed?);
    Ok(Told {
        at_us: claimed.at_us.filter(|_| ended.at_us.is_some()),
        ended: ended.ended,
        locked: ended.locked,
        settled: Books::new(),
        claimed: claimed.claimed,
    })
}

/// Asks which of the ends that were neither taken nor locked are there already. It may be the second time that they are told,
/// or their handlers have completed them, and what did it was under way until a moment ago: asked before, the books would not
/// have had it yet.
async fn settled_of(lane: &Lane, sent: &[Finished], known: &[&[i64]]) -> Result<Books, Error> {
    let known: HashSet<i64> = known.iter().copied().flatten().copied().collect();
    let open = sent.iter().filter(|end| !known.contains(&end.id));
    let open: Vec<(i64, i64)> = open.map(|end| (end.id, end.term)).collect();
    if open.is_empty() {
        return Ok(Books::new());
    }
    books(lane, open).await
}

/// Asks how these runs, by id and term, have ended.
async fn books(lane: &Lane, runs: Vec<(i64, i64)>) -> Result<Books, Error> {
    let (ids, terms): (Vec<i64>, Vec<i64>) = runs.into_iter().unzip();
    let rows = lane.run(&sql::SETTLED, binds![batch![ids, terms]]).await?;
    let mut books = Books::with_capacity(rows.len());
    for row in &rows {
        let follow = match row.get::<&str>(1)? {
            "completed" => Follow::Complete,
            "cancelled" => Follow::Stop,
            _ => Follow::Discard,
        };
        books.insert(row.get(0)?, follow);
    }
    Ok(books)
}

/// SQLite takes any bytes for a text. Those that are none become something that JSON does not know, so that the
/// payload which has them cannot be read, and all others can.
pub(super) fn text_of(bytes: Vec<u8>, instead: &str) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| {
        let mut text = String::new();
        for chunk in error.as_bytes().utf8_chunks() {
            text.push_str(chunk.valid());
            if !chunk.invalid().is_empty() {
                text.push_str(instead);
            }
        }
        text
    })
}

async fn exchange(lane: &Lane, runs: Vec<Exchange>) -> Result<Told, Error> {
    let mut told = Told {
        at_us: None,
        ended: Vec::new(),
        locked: Vec::new(),
        settled: Books::new(),
        claimed: Vec::new(),
    };
    for (number, run) in runs.into_iter().enumerate() {
        let (mut rows, mut text) = (Vec::new(), None);
        let mut large = HashMap::new();
        for row in lane.run(&sql::EXCHANGE, run.binds).await? {
            match row.get::<i64>(0)? {
                0 => {
                    let at_us = row.get::<Option<i64>>(1)?;
                    // The first saw the least.
                    told.at_us = match number {
                        0 => at_us,
                        _ => told.at_us.filter(|_| at_us.is_some()),
                    };
                }
                1 => told.ended.push(row.get(1)?),
                2 => rows.push(row),
                3 if row.get::<i64>(1)? == run.ids.len() as i64 => told.ended.extend(&run.ids),
                3 => {}
                4 => text = Some(text_of(row.get(1)?, r"\u0000")),
                5 => {
                    large.insert(row.get(1)?, row.get(2)?);
                }
                7 => told.locked.push(row.get(1)?),
                _ => {
                    large.insert(row.get(1)?, text_of(row.get(2)?, "\0"));
                }
            }
        }
        let queue = run.queue;
        let jobs = match text {
            Some(text) => Alike::Json { queue, text },
            None => Alike::Rows(rows),
        };
        told.claimed.push(Packed { jobs, large });
    }
    Ok(told)
}
