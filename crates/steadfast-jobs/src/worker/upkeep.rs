//! What every node does for all of them, without a leader: makes jobs due, takes jobs from dead
//! nodes, cancels, expires, prunes. Each step is one bounded statement that skips what others have
//! locked, so any number of nodes may do it at once, and none has to.

use std::sync::Arc;
use std::time::Duration;

use steadfast_core::{clock, rng};
use steadfast_store::{Node, binds};
use tokio::sync::mpsc;

use super::engine::Order;
use super::{Settings, Tally};
use crate::decide::brake::Brake;
use crate::event::{JobEvent, What};
use crate::job::micros;
use crate::schedule::Schedules;
use crate::{Error, JobId, Jobs, State, sql};

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

/// How often schedules that nobody has looked at are told of: every 30 s, half of what makes them
/// overdue.
const OVERDUE_EVERY: Duration = Duration::from_secs(30);

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
    brake: Brake,
    /// The slowest beat that the brake has been told of.
    slowest: Duration,
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
        let config = node.config();
        let brake = Brake::new(config.lease, config.margin());
        Self {
            settings,
            schedules: Schedules::new(&jobs),
            jobs,
            tally,
            slowest: node.health().slowest_beat,
            node,
            incarnation,
            orders,
            brake,
        }
    }

    /// Works until it is dropped.
    pub(crate) async fn run(mut self) {
        let mut woken = self.jobs.woken();
        let (mut due_at, mut cancels_at, mut rescue_at, mut occur_at) = (0, 0, 0, 0);
        let mut overdue_at = clock::nanos() + spread(OVERDUE_EVERY);
        let mut prune_at = clock::nanos() + spread(PRUNE_EVERY);
        loop {
            let next = [
                due_at, cancels_at, rescue_at, prune_at, occur_at, overdue_at,
            ];
            let next = next.into_iter().min().unwrap_or(0);
            tokio::select! {
                () = clock::sleep_until(clock::instant_at(next)) => {}
                // Perhaps with a delay that is over before we look next.
                // Found dead by its file or by its lease: nobody has to wait.
                () = self.node.death() => rescue_at = 0,
                _ = woken.changed() => due_at = due_at.min(clock::nanos() + 10_000_000),
            }
            let now = clock::nanos();
            if now >= due_at {
                let wait = self.due().await;
                due_at = clock::nanos() + self.or_told("due", wait, DUE_EVERY);
                woken.mark_unchanged();
            }
            if now >= occur_at {
                let occurred = self.schedules.occur().await;
                let occurred = occurred.map(|occurred| occurred.next_in);
                occur_at = clock::nanos() + self.or_told("occur", occurred, DUE_EVERY);
            }
            if now >= overdue_at {
                let told = self.schedules.alarm().await.map(|()| OVERDUE_EVERY);
                self.or_told("overdue", told, OVERDUE_EVERY);
                overdue_at = clock::nanos() + spread(OVERDUE_EVERY);
            }
            if now >= cancels_at {
                let asked = self.cancels().await.map(|()| CANCELS_EVERY);
                cancels_at = clock::nanos() + self.or_told("cancels", asked, CANCELS_EVERY);
            }
            if now >= rescue_at {
                let rescued = self.rescue(now).await;
                let every = self.settings.rescue_every;
                let rescued = rescued.map(|()| every);
                self.or_told("rescue", rescued, every);
                rescue_at = clock::nanos() + spread(every);
            }
            if now >= prune_at {
                let pruned = self.prune().await.map(|()| PRUNE_EVERY);
                self.or_told("prune", pruned, PRUNE_EVERY);
                prune_at = clock::nanos() + spread(PRUNE_EVERY);
            }
        }
    }

    fn or_told(&self, what: &'static str, wait: Result<Duration, Error>, usual: Duration) -> u64 {
        let wait = wait.unwrap_or_else(|error| {
            tracing::debug!(target: "steadfast::jobs", what, %error, "upkeep failed; it is tried again");
            usual
        });
        u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX / 4)
    }

    /// Makes jobs due; gives how long until the next look.
    async fn due(&self) -> Result<Duration, Error> {
        for _ in 0..TURNS {
            let rows = self.jobs.store().run(&sql::DUE, binds![BATCH]).await?;
            let row = rows.one()?;
            let (count, next): (i64, Option<i64>) = (row.get(0)?, row.get(1)?);
            if count > 0 {
                self.jobs.wake();
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
            .jobs
            .store()
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
        let names: Vec<String> = self
            .settings
            .queues
            .iter()
            .map(|(name, _)| name.clone())
            .collect();
        let rows = self.jobs.store().ask(&sql::LIMITED, binds![names]).await?;
        let limited: Result<Vec<String>, _> = rows.iter().map(|row| row.get(0)).collect();
        let _ = self.orders.send(Order::Limited(limited?));
        Ok(())
    }

    async fn rescue(&mut self, now: u64) -> Result<(), Error> {
        // Whoever is marked as ended is dead for certain, of that no stall can make us doubt; and
        // marks are forgotten after some days, so this comes first.
        self.rescue_ended().await?;
        self.note_beats(now);
        if self.brake.may_rescue(now) && !self.node.end_expired().await?.is_empty() {
            self.rescue_ended().await?;
        }
        self.unblock().await?;
        for _ in 0..TURNS {
            let rows = self.jobs.store().run(&sql::EXPIRE, binds![BATCH]).await?;
            if (rows.len() as i64) < BATCH {
                break;
            }
        }
        Ok(())
    }

    async fn rescue_ended(&self) -> Result<(), Error> {
        for _ in 0..TURNS {
            let rows = self.jobs.store().run(&sql::RESCUE, binds![BATCH]).await?;
            for row in &rows {
                self.tell_rescued(row)?;
            }
            if !rows.is_empty() {
                self.jobs.wake();
            }
            if (rows.len() as i64) < BATCH {
                break;
            }
        }
        Ok(())
    }

    /// Lets go of what a limit held back that was taken away since; where there still is one, claims
    /// look after them.
    async fn unblock(&self) -> Result<(), Error> {
        let names = self.settings.queues.iter().map(|(name, _)| name.clone());
        let names: Vec<String> = names.collect();
        let rows = self
            .jobs
            .store()
            .ask(&sql::LIMITED, binds![names.clone()])
            .await?;
        let limited: Result<Vec<String>, _> = rows.iter().map(|row| row.get(0)).collect();
        let limited = limited?;
        for name in names.iter().filter(|name| !limited.contains(name)) {
            let binds = binds![name.as_str(), "", BATCH];
            let freed = self.jobs.store().run(&sql::UNBLOCK, binds).await?;
            if freed.one()?.get::<i64>(1)? > 0 {
                self.jobs.wake();
            }
        }
        Ok(())
    }

    /// Tells the brake how our own beats fared.
    fn note_beats(&mut self, now: u64) {
        let health = self.node.health();
        if let Some((ago, _)) = health.last_failure {
            let ago = u64::try_from(ago.as_nanos()).unwrap_or(u64::MAX);
            self.brake.beat(now.saturating_sub(ago), 0, false);
        }
        if health.slowest_beat > self.slowest {
            self.slowest = health.slowest_beat;
            let took = u64::try_from(self.slowest.as_nanos()).unwrap_or(u64::MAX);
            self.brake.beat(now, took, true);
        }
    }

    fn tell_rescued(&self, row: &steadfast_store::Row) -> Result<(), Error> {
        let (id, kind): (i64, &str) = (row.get(0)?, row.get(2)?);
        let crashes = u32::try_from(row.get::<i64>(3)?).unwrap_or(u32::MAX);
        let what = if row.get::<i64>(4)? == 1 {
            tracing::error!(
                target: "steadfast::jobs",
                job = id,
                kind,
                crashes,
                "a job is quarantined: its process died twice while it was the only suspect there"
            );
            What::Quarantined
        } else {
            tracing::warn!(target: "steadfast::jobs", job = id, kind, crashes, "rescued a job from a dead node");
            What::Rescued { crashes }
        };
        self.tally.tell(what.index(), || JobEvent {
            id: JobId(id),
            kind: kind.into(),
            attempt: 0,
            term: 0,
            what: what.clone(),
        });
        Ok(())
    }

    async fn prune(&self) -> Result<(), Error> {
        let keep = self.settings.retention;
        for (state, keep) in [
            (State::Completed, keep.completed),
            (State::Cancelled, keep.cancelled),
            (State::Discarded, keep.discarded),
            (State::Quarantined, keep.quarantined),
        ] {
            for _ in 0..TURNS {
                let binds = binds![state.as_str(), micros(keep), BATCH];
                let pruned = self.jobs.store().run(&sql::PRUNE, binds).await?;
                if pruned.one()?.get::<i64>(0)? < BATCH {
                    break;
                }
            }
        }
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

/// Gives a length of time in nanoseconds, give or take a fifth.
fn spread(every: Duration) -> u64 {
    let every = u64::try_from(every.as_nanos()).unwrap_or(u64::MAX / 4);
    let part = ((u128::from(rng::bits()) * u128::from(every / 5 * 2)) >> 64) as u64;
    every - every / 5 + part
}
