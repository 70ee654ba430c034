//! What is taken from the dead.

use std::time::Duration;

use steadfast_core::clock;
use steadfast_store::{Lane, binds};

use super::{BATCH, Upkeep, note, spread};
use crate::decide::brake::Brake;
use crate::decide::spread::Spread;
use crate::event::{JobEvent, What};
use crate::{Error, JobId, sql};

/// How often jobs are looked for that a living node holds beyond any time: every minute. It looks after
/// them itself; this is for one that has lost sight of them.
const ASTRAY_EVERY: Duration = Duration::from_secs(60);

pub(super) struct Rescuer<'a> {
    of: &'a Upkeep,
    /// Nobody's death waits for connections that handlers have.
    lane: Lane,
    pub(super) brake: Brake,
    spread: Spread,
    astray_at: u64,
}

impl<'a> Rescuer<'a> {
    pub(super) fn new(of: &'a Upkeep) -> Self {
        Self {
            of,
            lane: of.jobs.store().lane(),
            brake: Brake::new(of.node.config().lease),
            spread: Spread::new(),
            astray_at: at(spread(ASTRAY_EVERY)),
        }
    }

    pub(super) async fn keep_rescuing(mut self) {
        loop {
            // From before the look on, which may be past the work of who is found dead meanwhile.
            let mut death = Box::pin(self.of.node.death());
            let rescued = self.rescue(clock::nanos()).await;
            // With more to take, it goes on by waves.
            let next_wave = note("rescue", rescued).flatten();
            let every = self.of.settings.rescue_every;
            let rescue_at = at(next_wave.unwrap_or_else(|| spread(every)));
            let over = clock::sleep_until(clock::instant_at(rescue_at));
            tokio::pin!(over);
            loop {
                tokio::select! {
                    () = &mut over => break,
                    // Found dead by its file or by its lease: nobody has to wait, but for the next wave.
                    () = &mut death => {
                        if !self.spread.is_under_way() {
                            break;
                        }
                        death.set(self.of.node.death());
                    }
                }
            }
        }
    }

    /// Takes jobs from the dead; gives how long until the next wave, if there is more.
    async fn rescue(&mut self, now: u64) -> Result<Option<Duration>, Error> {
        // Whoever is marked as ended is dead for certain, of that no stall can make us doubt.
        let mut next = self.rescue_wave(now).await?;
        self.note_beats(now);
        if next.is_none()
            && self.brake.may_rescue(now)
            && !self.of.node.end_expired_by(&self.lane).await?.is_empty()
        {
            next = self.rescue_wave(now).await?;
        }
        Ok(next)
    }

    async fn rescue_wave(&mut self, now: u64) -> Result<Option<Duration>, Error> {
        let astray = now >= self.astray_at;
        if astray {
            self.astray_at = at(spread(ASTRAY_EVERY));
        }
        let wave = self.spread.wave();
        let mut taken = 0;
        while taken < wave {
            let limit = (wave - taken).min(BATCH as usize);
            let binds = binds![limit as i64, astray];
            let rows = self.lane.run(&sql::RESCUE, binds).await?;
            for row in &rows {
                self.tell_rescued(row)?;
            }
            taken += rows.len();
            if !rows.is_empty() {
                self.of.jobs.wake();
            }
            if rows.len() < limit {
                break;
            }
        }
        Ok(self.spread.took(taken))
    }

    /// Tells the brake how our own beats fared.
    pub(super) fn note_beats(&mut self, now: u64) {
        let health = self.of.node.health();
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
        self.of.tally.tell(what.index(), || JobEvent {
            id: JobId(id),
            kind: kind.into(),
            attempt: 0,
            term: 0,
            what: what.clone(),
        });
        Ok(())
    }
}

fn at(wait: Duration) -> u64 {
    clock::nanos().saturating_add(u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX / 4))
}
