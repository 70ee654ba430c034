//! How long jobs are kept after their end.

use std::collections::HashMap;
use std::time::Duration;

use steadfast_core::clock;
use steadfast_store::{batch, binds};

use crate::job::micros;
use crate::{Error, Jobs, State, sql};

/// How many jobs one statement looks at: 1,000, some milliseconds for the store.
const BATCH: i64 = 1_000;

/// How many statements follow each other for one way to end and one kind: 100. What is left is for the
/// next time.
const TURNS: usize = 100;

/// How many kinds have a retention of their own: 1,000 are looked after.
const KINDS_MAX: i64 = 1_000;

/// How often a walk through the history goes back, for what was committed after it had passed, or was locked: every hour.
const BACK_EVERY: Duration = Duration::from_secs(3_600);

/// How far it goes back: two hours of the history, so that it comes by twice. From the very start it would have all before it
/// that others keep for longer, and might not get through that within the hour.
const BACK: Duration = Duration::from_secs(2 * 3_600);

/// How long notes of rejected ends are kept: 30 days, as discarded jobs are.
const REJECTED_KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// How long ended jobs are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Those that were completed: a day, for looking at what happened last night.
    pub completed: Duration,
    /// Those that were cancelled: a day.
    pub cancelled: Duration,
    /// Those that were discarded: 30 days, since somebody has to look at them.
    pub discarded: Duration,
    /// Those that were quarantined: 30 days, for the same reason.
    pub quarantined: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        Self {
            completed: DAY,
            cancelled: DAY,
            discarded: DAY * 30,
            quarantined: DAY * 30,
        }
    }
}

impl Retention {
    fn of(&self, state: State) -> Duration {
        match state {
            State::Cancelled => self.cancelled,
            State::Discarded => self.discarded,
            State::Quarantined => self.quarantined,
            // Live jobs are not pruned at all.
            State::Completed | State::Pending | State::Running | State::Waiting => self.completed,
        }
    }
}

impl Jobs {
    /// Says how long jobs of these kinds are kept, and that the others of `known` have no time of their
    /// own. Workers do so by themselves, from their kinds.
    pub(crate) async fn set_retention(
        &self,
        known: Vec<String>,
        kinds: &[(String, Retention)],
    ) -> Result<(), Error> {
        let column = |of: fn(&Retention) -> Duration| -> Vec<i64> {
            kinds.iter().map(|(_, keep)| micros(of(keep))).collect()
        };
        let names: Vec<String> = kinds.iter().map(|(kind, _)| kind.clone()).collect();
        let columns = batch![
            names,
            column(|keep| keep.completed),
            column(|keep| keep.cancelled),
            column(|keep| keep.discarded),
            column(|keep| keep.quarantined)
        ];
        let binds = binds![known, columns];
        self.store().run(&sql::RETENTION, binds).await?;
        Ok(())
    }
}

/// Deletes what is to be kept no longer, and remembers how far it has looked.
///
/// The history is ordered by how jobs ended and when, not by kind. What another kind keeps for longer lies in the way, and
/// is passed once: when the walk begins, and when it begins anew because somebody keeps kinds for another time.
#[derive(Debug, Default)]
pub(crate) struct Pruner {
    /// Time and id of the last job that was looked at, by state and kind.
    seen: HashMap<(State, String), (i64, i64)>,
    /// For how long kinds were kept then.
    keeps: Vec<(String, Retention)>,
    /// When it last went back.
    back: Option<u64>,
}

impl Pruner {
    /// Deletes a bounded number of jobs, the oldest first; gives how many.
    pub(crate) async fn prune(
        &mut self,
        now: u64,
        jobs: &Jobs,
        usual: Retention,
    ) -> Result<u64, Error> {
        let rows = jobs
            .store()
            .ask(&sql::RETENTIONS, binds![KINDS_MAX])
            .await?;
        let mut keeps = vec![(String::new(), usual)];
        for row in &rows {
            let keep = |column| -> Result<Duration, steadfast_store::Error> {
                let us: i64 = row.get(column)?;
                Ok(Duration::from_micros(us.max(0).unsigned_abs()))
            };
            let retention = Retention {
                completed: keep(1)?,
                cancelled: keep(2)?,
                discarded: keep(3)?,
                quarantined: keep(4)?,
            };
            keeps.push((row.get(0)?, retention));
        }
        self.go_back(now, &keeps);
        let mut deleted = 0;
        for (kind, keep) in &keeps {
            for state in State::ALL.into_iter().filter(|state| state.is_terminal()) {
                deleted += self.prune_kind(jobs, state, kind, keep.of(state)).await?;
            }
        }
        for _ in 0..TURNS {
            let binds = binds![micros(REJECTED_KEPT), BATCH];
            let pruned = jobs.store().run(&sql::PRUNE_REJECTED, binds).await?;
            if pruned.one()?.get::<i64>(0)? < BATCH {
                break;
            }
        }
        Ok(deleted)
    }

    /// Begins anew if kinds are kept for another time: one that has none of its own any more lies behind the usual walk.
    fn go_back(&mut self, now: u64, keeps: &[(String, Retention)]) {
        if self.keeps != keeps {
            self.seen.clear();
            self.keeps = keeps.to_vec();
        }
        let every = u64::try_from(BACK_EVERY.as_nanos()).unwrap_or(u64::MAX);
        let last = *self.back.get_or_insert(now);
        if now.saturating_sub(last) >= every {
            self.back = Some(now);
            for (finished_us, _) in self.seen.values_mut() {
                *finished_us = finished_us.saturating_sub(micros(BACK));
            }
        }
    }

    async fn prune_kind(
        &mut self,
        jobs: &Jobs,
        state: State,
        kind: &str,
        keep: Duration,
    ) -> Result<u64, Error> {
        let seen = self.seen.entry((state, kind.to_owned()));
        let seen = seen.or_insert((i64::MIN, 0));
        let mut deleted = 0;
        for _ in 0..TURNS {
            let binds = binds![state.as_str(), kind, micros(keep), seen.0, seen.1, BATCH];
            let pruned = jobs.store().run(&sql::PRUNE, binds).await?;
            let row = pruned.one()?;
            let looked_at: i64 = row.get(0)?;
            deleted += row.get::<i64>(1)?.unsigned_abs();
            *seen = (row.get(2)?, row.get(3)?);
            if looked_at < BATCH {
                break;
            }
        }
        Ok(deleted)
    }
}

impl Jobs {
    /// Deletes ended jobs that are to be kept no longer, a bounded number of each way to end; gives how
    /// many. Workers do so by themselves, about once a minute. `usual` is for kinds that have no
    /// [`Kind::retention`](crate::Kind::retention).
    ///
    /// # Errors
    /// When the store refuses; a part may be deleted then.
    ///
    /// # Cancel safety
    /// Dropped half-way, a part is deleted.
    pub async fn prune(&self, usual: Retention) -> Result<u64, Error> {
        let mut pruner = Pruner::default();
        // Boxed, so that whoever asks has not all of it on the stack.
        Box::pin(pruner.prune(clock::nanos(), self, usual)).await
    }
}

#[cfg(all(test, feature = "sqlite", feature = "test-util"))]
mod tests {
    use steadfast_store::testing::{Database, Kind as On};
    use steadfast_store::{Dialect, Fault};

    use super::*;

    /// Adds jobs of a kind to the history, from an id on, one that ended each ten seconds.
    async fn add(jobs: &Jobs, kind: &str, from: i64, count: i64) {
        let store = jobs.store();
        let text = match store.dialect() {
            Dialect::Sqlite => {
                "WITH RECURSIVE n (id) AS (SELECT ?2 UNION ALL SELECT id + 1 FROM n WHERE id < ?2 + ?3 - 1)
                 INSERT INTO steadfast_job_history (id, queue, kind, state, priority, due_us, payload, attempt,
                     max_attempts, crashes, held, term, created_us, finished_us, min_version)
                 SELECT id, 'default', ?1, 'completed', 0, 0, '{}', 0, 1, 0, 0, 0, 0,
                     CAST(unixepoch('subsec') * 1000000 AS INTEGER) - 50 * 3600000000 + id * 10000000, 0 FROM n"
            }
            Dialect::Postgres => {
                "INSERT INTO steadfast.job_history (id, queue, kind, state, priority, due_us, payload, attempt,
                     max_attempts, crashes, held, term, created_us, finished_us, min_version)
                 SELECT id, 'default', $1, 'completed', 0, 0, '{}', 0, 1, 0, 0, 0, 0,
                     steadfast.now_us() - 50 * 3600000000 + id * 10000000, 0
                 FROM generate_series($2::bigint, $2 + $3 - 1) AS n (id)"
            }
        };
        let binds = binds![kind, from, count];
        let added: Result<_, steadfast_store::Error> =
            store.write(async |mut tx| tx.sql(text, binds).await).await;
        added.unwrap();
    }

    /// It would have all of that before it each hour, and never get to what comes after it.
    #[tokio::test(flavor = "multi_thread")]
    async fn what_a_kind_keeps_for_long_is_passed_once() {
        const DAY: Duration = Duration::from_secs(24 * 3_600);
        let usual = Retention::default();
        let long = Retention {
            completed: 30 * DAY,
            ..usual
        };
        for on in [On::Sqlite, On::Postgres] {
            let database = Database::make(on).await;
            let jobs = Jobs::open(&database.open().await).await.unwrap();
            let faults = jobs.store().config().faults.clone();
            faults.on_name("prune", Fault::Delay(Duration::ZERO));
            let kept = [("kept".to_owned(), long)];
            jobs.set_retention(vec!["kept".into()], &kept)
                .await
                .unwrap();
            // Seven hours of them.
            add(&jobs, "kept", 1, 2_500).await;
            add(&jobs, "any", 3_001, 1).await;
            let mut pruner = Pruner::default();
            let mut prune = async |hours: u64| {
                let before = faults.hits();
                let now = hours * u64::try_from(BACK_EVERY.as_nanos()).unwrap();
                let deleted = pruner.prune(now, &jobs, usual).await.unwrap();
                (deleted, faults.hits() - before)
            };
            // One for each way to end, for this kind and for the others.
            let least = 8;

            assert_eq!(prune(1).await, (1, least + 2), "on {on:?}");
            assert_eq!(prune(1).await, (0, least), "on {on:?}");

            // What was committed after it had passed, and is less than two hours before the last.
            add(&jobs, "any", 2_501, 1).await;
            assert_eq!(prune(1).await, (0, least), "on {on:?}");
            assert_eq!(prune(2).await, (1, least), "on {on:?}");

            jobs.set_retention(vec!["kept".into()], &[]).await.unwrap();
            assert_eq!(prune(2).await.0, 2_500, "on {on:?}: it lies behind");
        }
    }
}
