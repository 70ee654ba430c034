//! How many of those who write to one database may do so at once.

use std::time::Duration;

use super::{SizeConfig, nanos};

/// Lets fewer batches of several writers be in flight at once while too many wait for locks, or while they wait for
/// each other so that they take longer than a batch may; see the [module](super).
///
/// Writers on the same rows write one after the other, however many of them come at once: those that are too many only
/// hold connections and locks meanwhile. So with fewer in flight they write nearly as much, by batches as large as before,
/// since there is always one that is ready when another ends. What one writer alone can do, to rest and to write
/// less, is left for when one in flight is still too many ([`Turns::One`]).
///
/// That batches take long is no reason alone. A commit that waits for another region takes as long however few are in
/// flight, and with fewer only less is written. It is a reason while half of those in flight wait for locks: then half of
/// the time, about, is time that they wait for each other, and it is less with one fewer. And when one more has made them
/// take no longer than they took without it, those who wait are others, and do not count.
///
/// Time is nanoseconds of one monotonic clock; a `now` older than one before counts as that one.
///
/// # Examples
///
/// ```
/// # use steadfast_core as steadfast;
/// use steadfast::decide::batch::{InFlight, Turns};
///
/// let mut batches = InFlight::default();
/// for _ in 0..8 {
///     batches.joined(2);
///     batches.started();
/// }
/// assert_eq!((batches.permits(0), batches.turns(0)), (8, Turns::All));
///
/// // One of the eight writes, seven wait, and two may.
/// batches.looked(Some(7), 0);
/// assert_eq!((batches.permits(0), batches.turns(0)), (3, Turns::Some));
/// ```
#[derive(Clone, Debug)]
pub struct InFlight {
    /// How many each writer lets wait.
    writers: Vec<u32>,
    limit: u32,
    in_flight: u32,
    looked: Option<u64>,
    /// How many looks since the last change have found nothing that is too much, and how many they have seen wait.
    calm: (u32, u32),
    /// How many batches were written since the last look, and how long they took, in targets.
    written: (u32, f64),
    /// How long one took lately, and how long without the one more that was let in last, in targets.
    took: f64,
    took_before: f64,
}

/// Whose turn it is to write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Turns {
    /// Everybody's at any time.
    #[default]
    All,
    /// Some of the writers' at once, and less than all.
    Some,
    /// One writer's after the other.
    One,
}

/// Looks that are nearer to each other are one: 50 ms. Each of the writers looks every 100 ms, and they may share what is seen.
const LOOK_GAP_NS: u64 = 50_000_000;

/// After so many calm looks one more may write, if few wait: within half a second, so that eight have their turns back
/// after four.
const CALM: u32 = 5;

/// After so many it is tried although as many wait as may, or batches take as long as they may: some of that may have
/// nothing to do with us, and if it has, one look in fifty finds one more.
const PROBE: u32 = 50;

/// Who waits for a permit waits for batches of so many targets at most.
const SLOW_MAX: f64 = 10.0;

/// So many times as long as without one more is longer: of two that wait for each other each takes twice as long.
const LONGER: f64 = 1.5;

// === impl InFlight ===

impl InFlight {
    /// Learns of one more writer, which lets so many wait.
    pub fn joined(&mut self, waiters_max: u32) {
        self.writers.push(waiters_max);
    }

    /// Learns that a writer which let so many wait has ended.
    pub fn left(&mut self, waiters_max: u32) {
        if let Some(at) = self.writers.iter().position(|one| *one == waiters_max) {
            self.writers.swap_remove(at);
        }
    }

    /// Learns that a batch is on its way, with a permit or without.
    pub fn started(&mut self) {
        self.in_flight += 1;
    }

    /// Learns that it is not any more.
    pub fn ended(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// Says how many are on their way.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// Learns how long one took that was written, and how long it should.
    pub fn wrote(&mut self, took: Duration, target: Duration) {
        self.written.0 += 1;
        self.written.1 += took.as_secs_f64() / target.as_secs_f64().max(1e-9);
    }

    /// Learns how many wait for locks; `None` when nobody could tell, which changes nothing.
    pub fn looked(&mut self, waiters: Option<u32>, now: u64) {
        let last = self.looked;
        let now = last.map_or(now, |last| last.max(now));
        if last.is_some_and(|last| now - last < LOOK_GAP_NS) {
            return;
        }
        let (batches, took) = std::mem::take(&mut self.written);
        // Who sees nothing time after time does not keep up what was seen before.
        let Some(waiters) = waiters else {
            return;
        };
        if last.is_none_or(|last| now - last > nanos(SizeConfig::LOOK_VALID)) {
            // Nothing of what was learned so long ago holds.
            self.limit = u32::MAX;
            self.calm = (0, 0);
            self.took_before = 0.0;
        }
        self.looked = Some(now);
        let permits = self.permits(now);
        if batches > 0 {
            self.took = took / f64::from(batches);
            self.took_before = self.took_before.min(self.took);
        } else if self.in_flight == 0 {
            // Nobody writes, so nobody waits for another.
            self.took = 0.0;
        }
        let took = self.took;
        // The strictest of them rules: they all write to one database.
        let waiters_max = self.writers.iter().copied().min().unwrap_or(u32::MAX);
        let wait_for_each_other = self.in_flight > 1
            && waiters.saturating_mul(2) >= self.in_flight
            && took > f64::max(1.0, LONGER * self.took_before);
        let too_many = waiters
            .saturating_sub(waiters_max)
            .max(u32::from(wait_for_each_other));
        if too_many > 0 {
            // Of those in flight: who was kept from writing does not wait for a lock.
            let fewer = self.in_flight.saturating_sub(too_many);
            self.limit = fewer.clamp(1, permits.max(1));
            self.calm = (0, 0);
            self.took_before = 0.0;
        } else if permits < self.all() {
            self.calm.0 += 1;
            self.calm.1 = self.calm.1.saturating_add(waiters);
            // Those in flight wait for each other, so with one more all of that is more in proportion.
            let more = f64::from(permits + 1) / f64::from(permits);
            let waiting = f64::from(self.calm.1) / f64::from(self.calm.0);
            let fits = waiting * more <= f64::from(waiters_max) || self.calm.0 >= PROBE;
            let is_quick =
                took * more <= 1.0 || took < LONGER * self.took_before || self.calm.0 >= PROBE;
            if self.calm.0 >= CALM && fits && is_quick {
                self.limit = permits + 1;
                self.calm = (0, 0);
                self.took_before = took;
            }
        }
        if self.limit >= self.all() {
            // Whoever joins now is free, too.
            self.limit = u32::MAX;
        }
    }

    /// Says how long a writer waits for a permit at most: twenty targets, as long as a rest may be, or two for each writer;
    /// where batches take longer than their target, as many times that, up to ten times as long. One after the other they
    /// need one for each, so that who waits for longer waits for one that is held up.
    #[must_use]
    pub fn wait_max(&self, target: Duration) -> Duration {
        let batches = SizeConfig::REST_TARGETS.max(self.all().saturating_mul(2));
        target
            .mul_f64(self.took.clamp(1.0, SLOW_MAX))
            .saturating_mul(batches)
    }

    /// Says how many may be in flight at once: one at least, and no more than there are writers. By what was seen too
    /// long ago nobody waits.
    #[must_use]
    pub fn permits(&self, now: u64) -> u32 {
        let valid = nanos(SizeConfig::LOOK_VALID);
        let is_known = self
            .looked
            .is_some_and(|at| now.saturating_sub(at) <= valid);
        match is_known {
            true => self.all().min(self.limit),
            false => self.all(),
        }
    }

    /// Says whose turn it is.
    #[must_use]
    pub fn turns(&self, now: u64) -> Turns {
        match self.permits(now) {
            permits if permits >= self.all() => Turns::All,
            1 => Turns::One,
            _ => Turns::Some,
        }
    }

    fn all(&self) -> u32 {
        u32::try_from(self.writers.len()).unwrap_or(u32::MAX)
    }
}

impl Default for InFlight {
    fn default() -> Self {
        Self {
            writers: Vec::new(),
            limit: u32::MAX,
            in_flight: 0,
            looked: None,
            calm: (0, 0),
            written: (0, 0.0),
            took: 0.0,
            took_before: 0.0,
        }
    }
}
