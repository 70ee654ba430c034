//! What every node does for all of them, without a leader: makes jobs due, takes jobs from dead
//! nodes, cancels, expires, prunes. Each step is one bounded statement that skips what others have
//! locked, so any number of nodes may do it at once, and none has to.

mod rescue;
#[cfg(all(test, feature = "sqlite", feature = "test-util"))]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use steadfast_core::{clock, recover_async, rng};
use steadfast_store::{Lane, Node, batch, binds};
use tokio::sync::{mpsc, watch};

use super::engine::{Order, READY_MAX, write_off_after};
use super::{Settings, Tally};
use crate::decide::floor::SLACK;
use crate::decide::poll::apart;
use crate::job::micros;
use crate::retention::Pruner;
use crate::schedule::Schedules;
use crate::snapshots::SNAPSHOT_OLD;
use crate::wake::Signal;
use crate::{Error, Jobs, sql};
use rescue::Rescuer;

/// How many jobs one statement takes: 1,000, some milliseconds for the store.
const BATCH: i64 = 1_000;

/// How many statements follow each other while there is more to do: 100.
const TURNS: usize = 100;

/// How often due jobs are looked for when the next one is not known to be sooner: every second.
/// What another process enqueues with a shorter delay is that much late at most.
const DUE_EVERY: Duration = Duration::from_secs(1);

/// How often a node asks what operators want: which of its runs are to stop, which queues have limits.
/// Every second.
const CANCELS_EVERY: Duration = Duration::from_secs(1);

/// How often schedules that nobody has looked at are told of, and old snapshots: every 30 s, half of what makes
/// them overdue.
const OVERDUE_EVERY: Duration = Duration::from_secs(30);

/// How often it is looked for work that nobody does: every minute. It reads up to a thousand rows of each queue.
const ABANDONED_EVERY: Duration = Duration::from_secs(60);

/// Of how many queues it is told how much waits in them: of 100, since each is a series of whoever keeps the numbers.
const BACKLOG_QUEUES_MAX: usize = 100;

/// How long after a wake-up due jobs are looked for: 10 ms. It may be of a job whose delay is over before the next look.
const WOKEN_AFTER: Duration = Duration::from_millis(10);

/// How much longer than twice its time a job is left to a living node, beside what the node waits before it
/// writes it off: what it waits there before it starts, and a minute for the store to be told.
const ASTRAY_AFTER: Duration = Duration::from_secs(60).saturating_add(READY_MAX);

/// How often ended jobs are pruned: every minute.
const PRUNE_EVERY: Duration = Duration::from_secs(60);

pub(crate) struct Upkeep {
    settings: Arc<Settings>,
    schedules: Schedules,
    jobs: Jobs,
    tally: Arc<Tally>,
    node: Node,
    incarnation: i64,
    orders: mpsc::UnboundedSender<Order>,
    /// For what is looked for each second: it does not wait for connections that handlers have.
    lane: Lane,
}

impl Upkeep {
    pub(crate) fn new(
        settings: Arc<Settings>,
        jobs: Jobs,
        tally: Arc<Tally>,
        node: Node,
        incarnation: i64,
        orders: mpsc::UnboundedSender<Order>,
    ) -> Self {
        Self {
            settings,
            schedules: Schedules::new(&jobs),
            lane: jobs.store().lane(),
            jobs,
            tally,
            node,
            incarnation,
            orders,
        }
    }

    /// Works until it is dropped. Nothing waits for anything else: a history of millions is pruned for a while, and many
    /// nodes may wait for the row of a schedule.
    pub(crate) async fn run(self) {
        // Boxed, so that they are not all of them on the stack.
        tokio::join!(
            keep(|| Box::pin(self.keep_due())),
            keep(|| Box::pin(self.keep_obeying())),
            keep(|| Box::pin(self.keep_occurring())),
            keep(|| Box::pin(self.keep_telling())),
            keep(|| Box::pin(self.keep_looking())),
            keep(|| Box::pin(Rescuer::new(&self).keep_rescuing())),
            keep(|| Box::pin(self.keep_clearing())),
            keep(|| Box::pin(self.keep_pruning())),
        );
    }

    async fn keep_due(&self) {
        let mut woken = self.jobs.woken();
        loop {
            let wait = self.due(&mut woken).await;
            let due_at = clock::nanos() + self.look_again("due", wait, DUE_EVERY);
            tokio::select! {
                () = clock::sleep_until(clock::instant_at(due_at)) => {}
                // Perhaps with a delay that is over before we look next.
                _ = woken.changed() => clock::sleep(WOKEN_AFTER).await,
            }
        }
    }

    async fn keep_obeying(&self) {
        loop {
            let asked = self.cancels().await.map(|()| CANCELS_EVERY);
            let wait = self.look_again("cancels", asked, CANCELS_EVERY);
            clock::sleep(Duration::from_nanos(wait)).await;
        }
    }

    async fn keep_occurring(&self) {
        loop {
            let occurred = self.schedules.occur().await.map(|occurred| {
                self.tally.occurred(&occurred);
                occurred.next_in
            });
            let wait = self.look_again("occur", occurred, DUE_EVERY);
            clock::sleep(Duration::from_nanos(wait)).await;
        }
    }

    async fn keep_telling(&self) {
        loop {
            let backlog = self.jobs.queues("", BACKLOG_QUEUES_MAX).await;
            let told = backlog.map(|queues| {
                let more = queues.len() == BACKLOG_QUEUES_MAX;
                self.tally.backlog(&queues, more);
            });
            note("backlog", told);
            clock::sleep(spread(OVERDUE_EVERY)).await;
            let beating = self.settings.beating_kinds();
            let told = self.schedules.alarm(beating).await;
            let told = told.map(|(overdue, late)| self.tally.alarmed(overdue, late));
            note("overdue", told);
            note("snapshots", self.snapshots().await);
        }
    }

    async fn keep_looking(&self) {
        loop {
            clock::sleep(spread(ABANDONED_EVERY)).await;
            note("abandoned", self.abandoned().await);
        }
    }

    /// Counts the kinds and queues that nobody looks after.
    async fn abandoned(&self) -> Result<(), Error> {
        let lease = self.node.config().lease;
        let kinds = self.jobs.unhandled(lease).await?.len();
        let queues = self.jobs.unserved(lease).await?.len();
        self.tally.abandoned(kinds, queues);
        Ok(())
    }

    async fn keep_clearing(&self) {
        loop {
            note("unblock", self.unblock().await);
            note("expire", self.expire().await);
            clock::sleep(spread(self.settings.rescue_every)).await;
        }
    }

    async fn keep_pruning(&self) {
        let (mut pruner, mut told) = (Pruner::default(), false);
        note("kinds", self.tell_kinds(&mut told).await);
        loop {
            clock::sleep(spread(PRUNE_EVERY)).await;
            note("prune", self.prune(&mut pruner, &mut told).await);
        }
    }

    /// Gives how long to wait before the next look, in nanoseconds: until something is known to be due, or about as long
    /// as usual.
    fn look_again(&self, what: &'static str, due: Result<Duration, Error>, usual: Duration) -> u64 {
        let usual = apart(usual, rng::bits());
        let wait = note(what, due).map_or(usual, |due| due.min(usual));
        u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX / 4)
    }

    /// Makes jobs due; gives how long until the next look.
    async fn due(&self, woken: &mut watch::Receiver<Signal>) -> Result<Duration, Error> {
        // What comes in from now on is perhaps not seen.
        woken.mark_unchanged();
        for _ in 0..TURNS {
            let began = clock::nanos();
            let rows = self.lane.run(&sql::DUE, binds![BATCH]).await?;
            let row = rows.one()?;
            let (count, next): (i64, Option<i64>) = (row.get(0)?, row.get(1)?);
            // Half of what a claim allows for is left to the commit.
            let half = u64::try_from(SLACK.as_nanos() / 2).unwrap_or(0);
            if row.get::<i64>(2)? > 0 || clock::nanos().saturating_sub(began) > half {
                self.jobs.wake();
            } else if count > 0 {
                self.jobs.wake_as_usual();
            }
            if count < BATCH {
                let next = next.map(|us| Duration::from_micros(us.max(1_000).unsigned_abs()));
                return Ok(next.map_or(DUE_EVERY, |next| next.min(DUE_EVERY)));
            }
        }
        Ok(Duration::ZERO)
    }

    async fn cancels(&self) -> Result<(), Error> {
        let rows = self
            .lane
            .ask(&sql::CANCELS, binds![self.incarnation])
            .await?;
        for row in &rows {
            let order = Order::Cancel {
                id: row.get(0)?,
                term: row.get(1)?,
                reason: row.get(2)?,
            };
            // The engine has ended: so will this task.
            let _ = self.orders.send(order);
        }
        let (limited, paused) = self.said_of_queues().await?;
        self.tally.paused(&paused);
        let _ = self.orders.send(Order::Limited(limited));
        Ok(())
    }

    /// Gives which of the queues of this worker have limits, and which are paused.
    async fn said_of_queues(&self) -> Result<(Vec<String>, Vec<String>), Error> {
        let names = self.queue_names();
        let (mut limited, mut paused) = (Vec::new(), Vec::new());
        for row in &self.lane.ask(&sql::LIMITED, binds![names]).await? {
            if row.get::<i64>(1)? == 1 {
                limited.push(row.get(0)?);
            }
            if row.get::<i64>(2)? == 1 {
                paused.push(row.get(0)?);
            }
        }
        Ok((limited, paused))
    }

    /// Lets go of what a limit held back that was taken away since; where there still is one, claims
    /// look after them.
    async fn unblock(&self) -> Result<(), Error> {
        let (limited, _) = self.said_of_queues().await?;
        let names = self.settings.queues.iter().map(|(name, _)| name);
        for name in names.filter(|name| !limited.contains(name)) {
            let binds = binds![name.as_str(), "", BATCH];
            let freed = self.jobs.store().run(&sql::UNBLOCK, binds).await?;
            if freed.one()?.get::<i64>(1)? > 0 {
                self.jobs.wake();
            }
        }
        Ok(())
    }

    /// Ends what has come too late.
    async fn expire(&self) -> Result<(), Error> {
        for _ in 0..TURNS {
            let rows = self.jobs.store().run(&sql::EXPIRE, binds![BATCH]).await?;
            if (rows.len() as i64) < BATCH {
                break;
            }
        }
        Ok(())
    }

    /// Tells who keeps the database from cleaning up after jobs.
    async fn snapshots(&self) -> Result<(), Error> {
        let held = self.jobs.held_snapshots(SNAPSHOT_OLD).await?;
        for snapshot in &held {
            tracing::warn!(
                target: "steadfast::jobs",
                pid = snapshot.pid,
                application = %snapshot.application,
                user = %snapshot.user,
                state = %snapshot.state,
                held_s = snapshot.held.as_secs(),
                "a session holds an old snapshot: the database cannot clean up after jobs"
            );
        }
        let oldest = held.first().map_or(Duration::ZERO, |oldest| oldest.held);
        self.tally.snapshot_held(oldest);
        Ok(())
    }

    /// Tells the store how long our kinds are kept, and for how long their runs are to be left alone, unless it is told.
    async fn tell_kinds(&self, told: &mut bool) -> Result<(), Error> {
        if *told {
            return Ok(());
        }
        self.note_longest().await?;
        let binds = binds![self.incarnation, self.queue_names()];
        self.jobs.store().run(&sql::SERVE, binds).await?;
        let kinds = self.settings.kinds.values();
        let own = kinds.filter_map(|kind| Some((kind.name.to_owned(), kind.retention?)));
        let own: Vec<_> = own.collect();
        let known = self.settings.kind_names();
        self.jobs.set_retention(known, &own).await?;
        *told = true;
        Ok(())
    }

    fn queue_names(&self) -> Vec<String> {
        let queues = self.settings.queues.iter();
        queues.map(|(name, _)| name.clone()).collect()
    }

    async fn note_longest(&self) -> Result<(), Error> {
        let (mut kinds, mut runs) = (Vec::new(), Vec::new());
        let (mut fixed, mut extra) = (Vec::new(), Vec::new());
        for kind in self.settings.kinds.values() {
            let written_off = Duration::from_nanos(write_off_after(kind));
            kinds.push(kind.name.to_owned());
            runs.push(micros(kind.longest(None)));
            fixed.push(kind.says_longest());
            extra.push(micros(written_off + ASTRAY_AFTER));
        }
        let binds = binds![self.incarnation, batch![kinds, runs, fixed, extra]];
        self.jobs.store().run(&sql::LONGEST, binds).await?;
        Ok(())
    }

    async fn prune(&self, pruner: &mut Pruner, told: &mut bool) -> Result<(), Error> {
        self.tell_kinds(told).await?;
        let keep = self.settings.retention;
        pruner.prune(clock::nanos(), &self.jobs, keep).await?;
        for _ in 0..TURNS {
            if !self.schedules.prune().await? {
                break;
            }
        }
        for _ in 0..TURNS {
            let pruned = self
                .jobs
                .store()
                .run(&sql::PRUNE_KEYS, binds![BATCH])
                .await?;
            if pruned.one()?.get::<i64>(0)? < BATCH {
                break;
            }
        }
        Ok(())
    }
}

/// Keeps one part going: one that panics begins anew, and ends none of the others.
async fn keep<F: Future<Output = ()>>(part: impl Fn() -> F) {
    // The panic has been reported when it happened.
    while recover_async(part()).await.is_err() {
        clock::sleep(spread(DUE_EVERY)).await;
    }
}

/// Takes notice of what failed: it is tried again.
fn note<T>(what: &'static str, done: Result<T, Error>) -> Option<T> {
    done.inspect_err(|error| {
        tracing::debug!(target: "steadfast::jobs", what, %error, "upkeep failed; it is tried again");
    })
    .ok()
}

/// Gives a length of time, give or take a fifth.
fn spread(every: Duration) -> Duration {
    let every = u64::try_from(every.as_nanos()).unwrap_or(u64::MAX / 4);
    let part = ((u128::from(rng::bits()) * u128::from(every / 5 * 2)) >> 64) as u64;
    Duration::from_nanos(every - every / 5 + part)
}
