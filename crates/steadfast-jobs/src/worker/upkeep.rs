//! What every node does for all of them, without a leader: makes jobs due, takes jobs from dead
//! nodes, cancels, expires, prunes. Each step is one bounded statement that skips what others have
//! locked, so any number of nodes may do it at once, and none has to.

use std::sync::Arc;
use std::time::Duration;

use steadfast_core::{clock, rng};
use steadfast_store::{Node, batch, binds};
use tokio::sync::mpsc;

use super::engine::{Order, READY_MAX, write_off_after};
use super::{Settings, Tally};
use crate::decide::brake::Brake;
use crate::decide::floor::SLACK;
use crate::decide::poll::apart;
use crate::decide::spread::Spread;
use crate::event::{JobEvent, What};
use crate::job::micros;
use crate::retention::Pruner;
use crate::schedule::Schedules;
use crate::snapshots::SNAPSHOT_OLD;
use crate::{Error, JobId, Jobs, sql};

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

/// How often jobs are looked for that a living node holds beyond any time: every minute. It looks after
/// them itself; this is for one that has lost sight of them.
const ASTRAY_EVERY: Duration = Duration::from_secs(60);

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
    brake: Brake,
    spread: Spread,
    astray_at: u64,
    pruner: Pruner,
    /// Whether the store knows how long our kinds are kept.
    retention_is_set: bool,
    /// Whether it knows how long our runs may take.
    longest_is_noted: bool,
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
        let brake = Brake::new(node.config().lease);
        Self {
            settings,
            schedules: Schedules::new(&jobs),
            jobs,
            tally,
            node,
            incarnation,
            orders,
            brake,
            spread: Spread::new(),
            astray_at: clock::nanos() + spread(ASTRAY_EVERY),
            pruner: Pruner::default(),
            retention_is_set: false,
            longest_is_noted: false,
        }
    }

    /// Works until it is dropped.
    pub(crate) async fn run(mut self) {
        let mut woken = self.jobs.woken();
        let (mut due_at, mut cancels_at, mut rescue_at, mut occur_at) = (0, 0, 0, 0);
        let mut overdue_at = clock::nanos() + spread(OVERDUE_EVERY);
        let mut prune_at = clock::nanos() + spread(PRUNE_EVERY);
        let told = self.note_longest().await.map(|()| PRUNE_EVERY);
        self.or_told("longest", told, PRUNE_EVERY);
        let told = self.set_retention().await.map(|()| PRUNE_EVERY);
        self.or_told("retention", told, PRUNE_EVERY);
        loop {
            let next = [
                due_at, cancels_at, rescue_at, prune_at, occur_at, overdue_at,
            ];
            let next = next.into_iter().min().unwrap_or(0);
            tokio::select! {
                () = clock::sleep_until(clock::instant_at(next)) => {}
                // Found dead by its file or by its lease: nobody has to wait, but for the next wave.
                () = self.node.death() => {
                    rescue_at = if self.spread.is_under_way() { rescue_at } else { 0 };
                }
                // Perhaps with a delay that is over before we look next.
                _ = woken.changed() => due_at = due_at.min(clock::nanos() + 10_000_000),
            }
            let now = clock::nanos();
            if now >= due_at {
                let wait = self.due().await;
                due_at = clock::nanos() + self.look_again("due", wait, DUE_EVERY);
                woken.mark_unchanged();
            }
            if now >= occur_at {
                let occurred = self.schedules.occur().await.map(|occurred| {
                    self.tally.occurred(&occurred);
                    occurred.next_in
                });
                occur_at = clock::nanos() + self.look_again("occur", occurred, DUE_EVERY);
            }
            if now >= overdue_at {
                let beating = self.settings.beating_kinds();
                let told = self.schedules.alarm(beating).await.map(|(overdue, late)| {
                    self.tally.alarmed(overdue, late);
                    OVERDUE_EVERY
                });
                self.or_told("overdue", told, OVERDUE_EVERY);
                let told = self.snapshots().await.map(|()| OVERDUE_EVERY);
                self.or_told("snapshots", told, OVERDUE_EVERY);
                overdue_at = clock::nanos() + spread(OVERDUE_EVERY);
            }
            if now >= cancels_at {
                let asked = self.cancels().await.map(|()| CANCELS_EVERY);
                cancels_at = clock::nanos() + self.look_again("cancels", asked, CANCELS_EVERY);
            }
            if now >= rescue_at {
                let every = self.settings.rescue_every;
                let rescued = self.rescue(now).await;
                let next_wave = rescued.map(|next| next.unwrap_or(Duration::ZERO));
                let wait = self.or_told("rescue", next_wave, Duration::ZERO);
                let wait = if wait > 0 { wait } else { spread(every) };
                rescue_at = clock::nanos() + wait;
            }
            if now >= prune_at {
                let pruned = self.prune(now).await.map(|()| PRUNE_EVERY);
                self.or_told("prune", pruned, PRUNE_EVERY);
                prune_at = clock::nanos() + spread(PRUNE_EVERY);
            }
        }
    }

    /// Gives how long to wait before the next look: until something is known to be due, or about as long as usual.
    fn look_again(&self, what: &'static str, due: Result<Duration, Error>, usual: Duration) -> u64 {
        let usual = apart(usual, rng::bits());
        self.or_told(what, due.map(|due| due.min(usual)), usual)
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
            let began = clock::nanos();
            let rows = self.jobs.store().run(&sql::DUE, binds![BATCH]).await?;
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
        let (limited, paused) = self.said_of_queues().await?;
        self.tally.paused(&paused);
        let _ = self.orders.send(Order::Limited(limited));
        Ok(())
    }

    /// Gives which of the queues of this worker have limits, and which are paused.
    async fn said_of_queues(&self) -> Result<(Vec<String>, Vec<String>), Error> {
        let names = self.settings.queues.iter().map(|(name, _)| name.clone());
        let names: Vec<String> = names.collect();
        let (mut limited, mut paused) = (Vec::new(), Vec::new());
        for row in &self.jobs.store().ask(&sql::LIMITED, binds![names]).await? {
            if row.get::<i64>(1)? == 1 {
                limited.push(row.get(0)?);
            }
            if row.get::<i64>(2)? == 1 {
                paused.push(row.get(0)?);
            }
        }
        Ok((limited, paused))
    }

    /// Takes jobs from the dead; gives how long until the next wave, if there is more.
    async fn rescue(&mut self, now: u64) -> Result<Option<Duration>, Error> {
        // Whoever is marked as ended is dead for certain, of that no stall can make us doubt.
        let mut next = self.rescue_wave(now).await?;
        self.note_beats(now);
        if next.is_none()
            && self.brake.may_rescue(now)
            && !self.node.end_expired().await?.is_empty()
        {
            next = self.rescue_wave(now).await?;
        }
        if next.is_some() {
            return Ok(next);
        }
        self.unblock().await?;
        for _ in 0..TURNS {
            let rows = self.jobs.store().run(&sql::EXPIRE, binds![BATCH]).await?;
            if (rows.len() as i64) < BATCH {
                break;
            }
        }
        Ok(None)
    }

    async fn rescue_wave(&mut self, now: u64) -> Result<Option<Duration>, Error> {
        let astray = now >= self.astray_at;
        if astray {
            self.astray_at = now + spread(ASTRAY_EVERY);
        }
        let wave = self.spread.wave();
        let mut taken = 0;
        while taken < wave {
            let limit = (wave - taken).min(BATCH as usize);
            let binds = binds![limit as i64, astray];
            let rows = self.jobs.store().run(&sql::RESCUE, binds).await?;
            for row in &rows {
                self.tell_rescued(row)?;
            }
            taken += rows.len();
            if !rows.is_empty() {
                self.jobs.wake();
            }
            if rows.len() < limit {
                break;
            }
        }
        Ok(self.spread.took(taken))
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

    /// Tells the brake how our own beats fared.
    fn note_beats(&mut self, now: u64) {
        let health = self.node.health();
        let failed = health.last_failure.map(|(ago, _)| ago);
        for ago in failed.into_iter().chain(health.last_slow_beat) {
            let ago = u64::try_from(ago.as_nanos()).unwrap_or(u64::MAX);
            self.brake.bad_beat(now.saturating_sub(ago));
        }
    }

    fn tell_rescued(&self, row: &steadfast_store::Row) -> Result<(), Error> {
        let (id, kind): (i64, &str) = (row.get(0)?, row.get(2)?);
        let crashes = u32::try_from(row.get::<i64>(3)?).unwrap_or(u32::MAX);
        let what = match row.get::<&str>(4)? {
            "quarantined" => {
                tracing::error!(
                    target: "steadfast::jobs",
                    job = id,
                    kind,
                    crashes,
                    "a job is quarantined: its process died twice while it was the only suspect there"
                );
                What::Quarantined
            }
            "cancelled" => What::Cancelled,
            _ => {
                tracing::warn!(target: "steadfast::jobs", job = id, kind, crashes, "rescued a job from a dead node");
                What::Rescued { crashes }
            }
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

    /// Tells the store how long our kinds are kept, once.
    async fn set_retention(&mut self) -> Result<(), Error> {
        if self.retention_is_set {
            return Ok(());
        }
        let kinds = self.settings.kinds.values();
        let own = kinds.filter_map(|kind| Some((kind.name.to_owned(), kind.retention?)));
        let own: Vec<_> = own.collect();
        let known = self.settings.kind_names();
        self.jobs.set_retention(known, &own).await?;
        self.retention_is_set = true;
        Ok(())
    }

    /// Tells the store for how long our runs are to be left alone, once.
    async fn note_longest(&mut self) -> Result<(), Error> {
        if self.longest_is_noted {
            return Ok(());
        }
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
        self.longest_is_noted = true;
        Ok(())
    }

    async fn prune(&mut self, now: u64) -> Result<(), Error> {
        self.note_longest().await?;
        self.set_retention().await?;
        let keep = self.settings.retention;
        self.pruner.prune(now, &self.jobs, keep).await?;
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

#[cfg(all(test, feature = "sqlite", feature = "test-util"))]
mod tests {
    use steadfast_store::testing::{Database, Kind as On};
    use steadfast_store::{Fault, NodeConfig};

    use super::*;
    use crate::{Kind, Worker};

    /// Those of others may take as long, and they would all be found dead.
    #[tokio::test(flavor = "multi_thread")]
    async fn who_waits_for_a_beat_of_its_own_takes_nobody_for_dead() {
        let database = Database::make(On::Sqlite).await;
        let jobs = Jobs::open(&database.open().await).await.unwrap();
        let faults = jobs.store().config().faults.clone();
        let kind = Kind::of_name("any", async |_, _, _| Ok(None));
        let worker = Worker::builder(&jobs).kind(kind).build().unwrap();
        let config = NodeConfig {
            beat: Duration::from_millis(100),
            stall: Duration::from_secs(10),
            ..NodeConfig::new("test", "0").with_lease(Duration::from_secs(10))
        };
        let node = jobs.store().join(config).await.unwrap();
        let (orders, _obeyed) = mpsc::unbounded_channel();
        let (settings, tally) = (worker.settings, worker.tally);
        let mut upkeep = Upkeep::new(settings, jobs, tally, node.clone(), 1, orders);

        faults.on_name("node_beat", Fault::Delay(Duration::from_secs(3_600)));
        let slow = async {
            while node.health().last_slow_beat.is_none() {
                clock::sleep(Duration::from_millis(10)).await;
            }
        };
        clock::timeout(Duration::from_secs(60), slow).await.unwrap();

        let now = clock::nanos();
        upkeep.note_beats(now);
        assert!(!upkeep.brake.may_rescue(now));
    }
}
