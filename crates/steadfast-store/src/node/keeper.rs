//! The thread that beats.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use steadfast_core::cancel::Cause;
use steadfast_core::decide::vigil::{Step, Timing, Vigil};
use steadfast_core::panic::Panic;
use steadfast_core::{clock, recover_async, rng};
use tokio::sync::{mpsc, oneshot, watch};

use super::host::{self, LifeLock};
use super::{Incarnation, Shared};
use crate::config::Place;
use crate::error::Trouble;
use crate::schema::{NODE_BEAT, NODE_END, NODE_JOIN, NODE_PEERS};
use crate::{Error, binds};

/// How often the files of other processes on this host are looked at: every 500 ms. A look is two
/// system calls for each of them.
const LOOK: Duration = Duration::from_millis(500);

/// How far apart beats that fail are told: a minute, with how many there were. A database that takes no writes for an hour
/// would fill the log with them.
const TOLD_APART: Duration = Duration::from_secs(60);

/// Beats that have failed in a row.
#[derive(Debug, Default)]
struct Failing {
    told_at: Option<u64>,
    untold: u64,
}

impl Failing {
    /// Counts one more; gives how many are to be told now, if any.
    fn count(&mut self, now: u64) -> Option<u64> {
        self.untold += 1;
        let apart = u64::try_from(TOLD_APART.as_nanos()).unwrap_or(u64::MAX);
        if self
            .told_at
            .is_some_and(|at| now.saturating_sub(at) < apart)
        {
            return None;
        }
        self.told_at = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

/// Starts the thread, and waits until it has registered.
pub(super) async fn start(shared: Arc<Shared>, timing: Timing) -> Result<(), Error> {
    let (pulse, asked) = mpsc::channel(1);
    steadfast_core::spawn("pulse", answer(asked, shared.left.subscribe()));
    let (joined, answer) = oneshot::channel();
    let thread = std::thread::Builder::new().name("steadfast-beat".into());
    let started = thread.spawn(move || {
        let _left = Left(shared.left.clone());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        match runtime {
            Ok(runtime) => {
                let keeper = Keeper::new(shared, timing, pulse);
                runtime.block_on(keeper.run(joined));
            }
            Err(error) => drop(joined.send(Err(Trouble::Lost(error.into()).into()))),
        }
    });
    started.map_err(|error| Trouble::Lost(error.into()))?;
    answer.await.unwrap_or(Err(Trouble::Closed.into()))
}

/// Says that nobody beats any more, when it is dropped: in whatever way the thread ends.
struct Left(watch::Sender<bool>);

impl Drop for Left {
    fn drop(&mut self) {
        self.0.send_replace(true);
    }
}

/// Answers, on the runtime that does the work, that it still runs tasks.
async fn answer(mut asked: mpsc::Receiver<oneshot::Sender<()>>, mut left: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            asked = asked.recv() => match asked {
                Some(answer) => drop(answer.send(())),
                None => return,
            },
            _ = left.wait_for(|left| *left) => return,
        }
    }
}

struct Keeper {
    shared: Arc<Shared>,
    vigil: Vigil,
    pulse: mpsc::Sender<oneshot::Sender<()>>,
    /// An answer that was asked for and has not come yet.
    asked: Option<oneshot::Receiver<()>>,
    lock: Option<LifeLock>,
    life: Option<Incarnation>,
    /// A life that is over, and not known to be in the database.
    before: Option<i64>,
    peers: Vec<(i64, PathBuf)>,
    breaking: Option<i64>,
    failing: Failing,
}

impl Keeper {
    fn new(shared: Arc<Shared>, timing: Timing, pulse: mpsc::Sender<oneshot::Sender<()>>) -> Self {
        let beside = match &shared.store.config().place {
            Place::Sqlite(path) => Some(path.clone()),
            Place::Postgres(_) => None,
        };
        let lock = match LifeLock::make(beside.as_deref()) {
            Ok(lock) => Some(lock),
            Err(error) => {
                tracing::warn!(
                    target: "steadfast::store",
                    %error,
                    "no file to lock: when this process dies, others wait for its lease"
                );
                None
            }
        };
        Self {
            vigil: Vigil::new(timing, clock::lease_nanos()),
            shared,
            pulse,
            asked: None,
            lock,
            life: None,
            before: None,
            peers: Vec::new(),
            breaking: None,
            failing: Failing::default(),
        }
    }

    async fn run(mut self, joined: oneshot::Sender<Result<(), Error>>) {
        if let Err(error) = self.join().await {
            let _ = joined.send(Err(error));
            return;
        }
        if joined.send(Ok(())).is_ok() {
            while let Err(panic) = recover_async(self.keep()).await {
                self.panicked(&panic);
            }
        }
        self.end(Cause::Shutdown);
        if let Some(id) = self.before.take() {
            let limit = self.shared.store.config().statement_timeout;
            let _ = clock::timeout(limit, self.shared.lane.run(&NODE_END, binds![id])).await;
        }
    }

    /// Beats until the process leaves.
    async fn keep(&mut self) {
        loop {
            let now = clock::lease_nanos();
            let done = match self.vigil.next(now) {
                Step::Wait(until) => {
                    let left = Duration::from_nanos(until.saturating_sub(now));
                    tokio::select! {
                        () = self.shared.leave.notified() => return,
                        () = clock::sleep(left.min(LOOK)) => {}
                    }
                    self.look_at_peers().await;
                    continue;
                }
                Step::Fence => {
                    self.end(Cause::LeaseLost);
                    self.vigil.lost(clock::lease_nanos());
                    continue;
                }
                Step::Renew => self.beat().await,
                Step::Take => self.join().await,
            };
            if let Err(error) = done {
                if self.runtime_is_gone() {
                    return;
                }
                self.failed(&error);
                if error.is_version() {
                    self.shared.health().refused = Some(error);
                    self.end(Cause::LeaseLost);
                    self.shared.leave.notified().await;
                    return;
                }
            }
        }
    }

    /// Registers a new life, and ends the one before.
    async fn join(&mut self) -> Result<(), Error> {
        self.pulse().await?;
        let shared = self.shared.clone();
        if let Some(id) = self.before {
            shared.lane.run(&NODE_END, binds![id]).await?;
            self.before = None;
        }
        let lock = self.lock.as_ref().map_or_else(String::new, |lock| {
            lock.path().to_string_lossy().into_owned()
        });
        let asked_at = clock::lease_nanos();
        let rows = self
            .ask(
                &NODE_JOIN,
                binds![
                    shared.config.service.as_str(),
                    shared.config.version.as_str(),
                    host::name(),
                    std::process::id(),
                    shared.boot.as_str(),
                    lock,
                    micros(shared.config.lease),
                    shared.clock_us()
                ],
            )
            .await?;
        let id = rows.one()?.get(0)?;
        self.vigil.granted(asked_at);
        self.failing = Failing::default();
        let life = Incarnation::new(id, self.vigil.fence_at().unwrap_or_default());
        self.life = Some(life.clone());
        {
            let mut health = shared.health();
            health.lives += 1;
            health.beats += 1;
        }
        shared.current.send_replace(Some(life));
        tracing::info!(target: "steadfast::store", node = id, "node joined");
        self.learn_peers(id).await;
        Ok(())
    }

    async fn beat(&mut self) -> Result<(), Error> {
        let Some(life) = self.life.clone() else {
            return Ok(());
        };
        self.pulse().await?;
        let shared = self.shared.clone();
        let asked_at = clock::lease_nanos();
        shared.health().slow.begin(asked_at);
        let rows = self
            .ask(
                &NODE_BEAT,
                binds![life.id, micros(shared.config.lease), shared.clock_us()],
            )
            .await;
        shared.note_beat_ended();
        let rows = rows?;
        let Some(row) = rows.first() else {
            tracing::warn!(target: "steadfast::store", node = life.id, "the lease is over; joining anew");
            self.end(Cause::LeaseLost);
            self.vigil.lost(clock::lease_nanos());
            return Ok(());
        };
        self.vigil.granted(asked_at);
        self.failing = Failing::default();
        life.renewed(self.vigil.fence_at().unwrap_or_default());
        shared.health().beats += 1;
        let breaking = row.get(0)?;
        // Also at the first beat: it may have come since the tables were looked at.
        if self.breaking != Some(breaking) {
            // Boxed: it is many times larger than a beat, and this thread has a small stack.
            self.in_time(Box::pin(shared.store.check_packages(&shared.lane)))
                .await?;
            self.breaking = Some(breaking);
        }
        self.learn_peers(life.id).await;
        Ok(())
    }

    /// Asks the database, no longer than the lease can be relied on.
    async fn ask(
        &self,
        statement: &'static crate::Statement,
        binds: crate::Binds,
    ) -> Result<crate::Rows, Error> {
        self.in_time(self.shared.lane.run(statement, binds)).await
    }

    /// Waits for the database no longer than the lease can be relied on: nobody else looks at its end.
    async fn in_time<T>(&self, asked: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let now = clock::lease_nanos();
        let limit = match self.vigil.fence_at() {
            Some(fence_at) => Duration::from_nanos(fence_at.saturating_sub(now)),
            None => self.shared.config.lease,
        };
        tokio::select! {
            biased;
            answer = asked => answer,
            () = clock::lease_sleep_until(now.saturating_add(limit.as_nanos() as u64)) => {
                Err(Trouble::TimeLimit { limit, undone: false }.into())
            }
        }
    }

    /// Makes sure that the runtime that does the work still runs tasks.
    async fn pulse(&mut self) -> Result<(), Error> {
        if self.asked.is_none() {
            let (answer, answered) = oneshot::channel();
            // One that is full was asked already, and has not looked.
            if self.pulse.try_send(answer).is_ok() {
                self.asked = Some(answered);
            }
        }
        let stall = self.shared.config.stall;
        let limit = match self.vigil.fence_at() {
            Some(fence_at) => stall.min(Duration::from_nanos(
                fence_at.saturating_sub(clock::lease_nanos()),
            )),
            None => stall,
        };
        let Some(asked) = &mut self.asked else {
            return Err(Trouble::Stalled(stall).into());
        };
        match clock::timeout(limit, asked).await {
            Ok(_) => {
                self.asked = None;
                Ok(())
            }
            Err(_) => Err(Trouble::Stalled(stall).into()),
        }
    }

    fn runtime_is_gone(&self) -> bool {
        self.pulse.is_closed()
    }

    fn failed(&mut self, error: &Error) {
        self.note_failure(error.to_string());
        if let Some(failures) = self.failing.count(clock::lease_nanos()) {
            tracing::warn!(target: "steadfast::store", %error, failures, "no beat");
        }
    }

    /// What was begun may be half done: nobody relies on this life any more, and there will be another one.
    fn panicked(&mut self, panic: &Panic) {
        let message = panic.message();
        self.shared.note_beat_ended();
        self.vigil.lost(clock::lease_nanos());
        self.note_failure(format!("what beats has panicked: {message}"));
        self.end(Cause::LeaseLost);
        tracing::error!(target: "steadfast::store", panic = message, "what beats has panicked; joining anew");
    }

    fn note_failure(&mut self, why: String) {
        self.vigil.failed(clock::lease_nanos(), rng::bits());
        let mut health = self.shared.health();
        health.failures += 1;
        health.last_failure = Some((clock::nanos(), why));
    }

    /// Nothing may rely on this life any more.
    fn end(&mut self, cause: Cause) {
        if let Some(life) = self.life.take() {
            self.before = Some(life.id);
            life.over(cause);
            self.shared.current.send_replace(None);
        }
    }

    async fn learn_peers(&mut self, id: i64) {
        let binds = binds![self.shared.boot.as_str(), id];
        // They are only found sooner by it.
        let Ok(rows) = self.ask(&NODE_PEERS, binds).await else {
            return;
        };
        self.peers = rows
            .iter()
            .filter_map(|row| Some((row.get(0).ok()?, PathBuf::from(row.get::<&str>(1).ok()?))))
            .filter(|(_, lock)| !lock.as_os_str().is_empty())
            .collect();
    }

    /// Ends the lives of processes on this host that are surely dead.
    async fn look_at_peers(&mut self) {
        let mut found = Vec::new();
        self.peers.retain(|(id, lock)| {
            let dead = host::is_dead(lock);
            if dead {
                found.push(*id);
            }
            !dead
        });
        for id in found {
            match self.ask(&NODE_END, binds![id]).await {
                Ok(rows) => {
                    tracing::warn!(target: "steadfast::store", node = id, "a process on this host has died");
                    self.shared.tell_deaths(rows.len());
                }
                // Its lease will end.
                Err(error) => {
                    tracing::warn!(target: "steadfast::store", %error, node = id, "a process that has died is not marked so")
                }
            }
        }
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_beats_that_fail_the_first_is_told_and_each_minute_how_many_there_were() {
        let mut failing = Failing::default();

        let half_seconds = 0..=240_u64;
        let told: Vec<_> = half_seconds
            .filter_map(|number| Some((number / 2, failing.count(number * 500_000_000)?)))
            .collect();

        assert_eq!(told, [(0, 1), (60, 120), (120, 120)]);
    }
}
