//! The breaker that many threads ask.
//!
//! Invariants, which the code below leans on:
//!
//! 1. Each change of phase is one compare-and-swap of the state. Who makes it reports it, so each
//!    change is told once.
//! 2. The number of the round grows only when a round begins. A permit carries it, and counts only
//!    in the same round and the phase it was given in: what comes late is ignored.
//! 3. The books of a round carry its number too, and are replaced only by those of a newer one.
//!    So nobody has to prepare them, and nobody can bring old ones back.
//! 4. The window is emptied before a ramp is seen. What made the breaker trip does not do so again.
//!
//! A thread that stops between the check of its permit and the count for as long as the breaker is
//! open and half-open adds one call to a window it does not belong to. That is the only error.

use std::time::Duration;

use super::answer::{
    Answer, BreakerState, BreakerStatus, CallEnd, Change, Override, Permit, PermitKind, Rejected,
    RejectedBy, TripReason,
};
use super::calls::Calls;
use super::config::{BreakerConfig, InvalidBreaker};
use super::forced::{Forced, InvalidOverride};
use super::round::{Books, Probes, Round, Taken};
use super::word::{LAST_TICK, Phase, State, instant_of, tick_after, tick_of};
use crate::decide::atomic::{AtomicU32, AtomicU64, Ordering};

/// Stops calls to something that does not work, and finds out when it does again.
///
/// One breaker serves one endpoint. Ask before each call, and tell how it ended. A call through a
/// closed breaker costs two loads to ask and two loads and an addition to record; only calls that
/// failed or were slow look at the window.
///
/// Takes less than a kilobyte, fixed when it is made.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use steadfast_core::decide::breaker::{Breaker, BreakerConfig, CallEnd};
///
/// let config = BreakerConfig::new().with_consecutive(3)?;
/// let breaker = Breaker::new(config, 7)?;
///
/// for _ in 0..3 {
///     let permit = breaker.ask(0).verdict.expect("closed");
///     let _ = breaker.record(permit, CallEnd::failed(Duration::from_millis(5)), 0);
/// }
///
/// let rejected = breaker.ask(0).verdict.unwrap_err();
/// assert!(rejected.retry_after <= Duration::from_secs(1));
/// # Ok::<(), steadfast_core::decide::breaker::InvalidBreaker>(())
/// ```
#[derive(Debug)]
pub struct Breaker {
    config: BreakerConfig,
    seed: u64,
    state: AtomicU64,
    forced: AtomicU64,
    books: Books,
    calls: Calls,
    ramp_calls: AtomicU32,
}

/// The share of calls that passes when a ramp begins.
const FIRST_SHARE: f64 = 0.1;

// === impl Breaker ===

impl Breaker {
    /// The longest override: 24 hours. What holds for longer belongs into the policy.
    pub const LONGEST_OVERRIDE: Duration = Duration::from_secs(24 * 60 * 60);

    /// Makes a closed breaker.
    ///
    /// The `seed` decides about the jitter of its open times: give each breaker of each process
    /// another one, or all of them probe at once.
    ///
    /// # Errors
    ///
    /// [`InvalidBreaker`] if the config has no reason to trip.
    pub fn new(config: BreakerConfig, seed: u64) -> Result<Self, InvalidBreaker> {
        config.check()?;
        Ok(Self {
            config,
            seed,
            state: AtomicU64::new(State::START.pack()),
            forced: AtomicU64::new(Forced::NONE),
            books: Books::new(),
            calls: Calls::new(&config),
            ramp_calls: AtomicU32::new(0),
        })
    }

    /// Makes the breaker that takes over under a changed config.
    ///
    /// It is in the same phase and round, under the same override, and permits of this one are good
    /// for it. Its window begins empty, as the calls were judged by other numbers. What is told here
    /// afterwards is not known there, so swap first and let the old one go.
    ///
    /// # Errors
    ///
    /// [`InvalidBreaker`] if the config has no reason to trip.
    pub fn with_config(&self, config: BreakerConfig) -> Result<Self, InvalidBreaker> {
        let mut next = Self::new(config, self.seed)?;
        next.state = AtomicU64::new(self.state.load(Ordering::Acquire));
        next.forced = AtomicU64::new(self.forced.load(Ordering::Relaxed));
        next.books = self.books.copy();
        next.ramp_calls = AtomicU32::new(self.ramp_calls.load(Ordering::Relaxed));
        Ok(next)
    }

    /// Asks whether a call may be made at `now`.
    pub fn ask(&self, now: u64) -> Answer {
        let forced = self.forced.load(Ordering::Relaxed);
        let state = self.state();
        if forced == Forced::NONE && state.phase == Phase::Closed {
            return pass(state, PermitKind::Counted, None);
        }
        match Forced::at(forced, now) {
            Some(forced) => ask_forced(forced, state, now),
            None => self.ask_state(state, now),
        }
    }

    /// Records how a call ended at `now`, and tells what that has changed.
    ///
    /// A call that passed in another phase or round than the breaker is in now is ignored.
    pub fn record(&self, permit: Permit, end: CallEnd, now: u64) -> Option<Change> {
        let state = self.state();
        match permit.kind {
            PermitKind::Counted if state.counts(permit.round) => self.count(permit.round, end, now),
            PermitKind::Probe if state.probes(permit.round) => self.count_probe(state, end, now),
            PermitKind::Counted | PermitKind::Probe | PermitKind::Uncounted => None,
        }
    }

    /// Takes back a permit whose call has shown nothing: it was not made, was rejected by
    /// ourselves, or nobody waited for its end.
    ///
    /// A probe's permit goes to the next call of the same round.
    pub fn abandon(&self, permit: Permit) {
        if permit.kind == PermitKind::Probe {
            self.books.give_back(permit.round);
        }
    }

    /// Makes the breaker do something else from `now` on, for a time.
    ///
    /// It goes on to count, where calls are counted, and when the time is over it does what its own
    /// state says. A second override replaces the first.
    ///
    /// # Errors
    ///
    /// [`InvalidOverride`] unless the time is over zero and up to
    /// [`LONGEST_OVERRIDE`](Self::LONGEST_OVERRIDE): an override that nobody remembers would be
    /// an inert breaker, or an outage.
    pub fn force(&self, over: Override, lasts: Duration, now: u64) -> Result<(), InvalidOverride> {
        let forced = Forced::new(over, lasts, now)?;
        self.forced.store(forced.pack(), Ordering::Relaxed);
        Ok(())
    }

    /// Ends an override.
    pub fn release(&self) {
        self.forced.store(Forced::NONE, Ordering::Relaxed);
    }

    /// Says whether all calls pass because the target works: it is closed, and nobody forces it
    /// open.
    #[must_use]
    pub fn is_closed(&self, now: u64) -> bool {
        let forced = Forced::at(self.forced.load(Ordering::Relaxed), now);
        self.state().phase == Phase::Closed && forced.is_none_or(Forced::lets_pass)
    }

    /// Tells how things stand at `now`.
    #[must_use]
    pub fn status(&self, now: u64) -> BreakerStatus {
        let state = self.state();
        let forced = Forced::at(self.forced.load(Ordering::Relaxed), now);
        BreakerStatus {
            state: self.shown(state, now),
            forced: forced.map(|forced| (forced.over, forced.left(now))),
            round: state.round,
            calls: self.calls.counts(now),
            failures_in_a_row: self.calls.failures_in_a_row(),
        }
    }

    /// Returns the config.
    #[must_use]
    pub fn config(&self) -> &BreakerConfig {
        &self.config
    }

    // === Asking ===

    fn state(&self) -> State {
        // Acquire: whoever sees a ramp must see the window that was emptied for it.
        State::unpack(self.state.load(Ordering::Acquire))
    }

    fn swap_state(&self, from: State, to: State) -> Result<(), State> {
        // Release: the emptied window is seen by whoever sees the ramp.
        self.state
            .compare_exchange(from.pack(), to.pack(), Ordering::AcqRel, Ordering::Acquire)
            .map(drop)
            .map_err(State::unpack)
    }

    #[cold]
    fn ask_state(&self, mut state: State, now: u64) -> Answer {
        let mut told = None;
        // Each turn answers, or follows a change of the state: its own, or another thread's.
        loop {
            let moved = match state.phase {
                Phase::Closed => return pass(state, PermitKind::Counted, told),
                Phase::Open if tick_of(now) < state.at => {
                    return reject(RejectedBy::Open, state.left_ns(now), told);
                }
                Phase::Open => self.begin_round(state, now),
                // A round that this call has begun serves it, however short its time may be.
                Phase::HalfOpen if told != Some(Change::Probing) && tick_of(now) >= state.at => {
                    self.end_round(state, now)
                }
                Phase::HalfOpen => match self.take_probe(state, now) {
                    Ok(answer) => {
                        return Answer {
                            change: told,
                            ..answer
                        };
                    }
                    Err(moved) => moved,
                },
                Phase::Ramp => match self.ask_ramp(state, now) {
                    Ok(answer) => {
                        return Answer {
                            change: told,
                            ..answer
                        };
                    }
                    Err(moved) => moved,
                },
            };
            match moved {
                Ok(change) => {
                    told = Some(change);
                    state = self.state();
                }
                Err(newer) => state = newer,
            }
        }
    }

    /// Begins a round of half-open.
    fn begin_round(&self, state: State, now: u64) -> Moved {
        let next = State {
            phase: Phase::HalfOpen,
            round: state.round.wrapping_add(1),
            at: tick_after(now, self.config.patience_ns),
            ..state
        };
        self.swap_state(state, next).map(|()| Change::Probing)
    }

    /// Takes a permit of a round.
    fn take_probe(&self, state: State, now: u64) -> Result<Answer, Moved> {
        match self.books.take(state.round, self.config.probes) {
            Taken::Permit => Ok(pass(state, PermitKind::Probe, None)),
            Taken::None => Ok(reject(RejectedBy::HalfOpen, state.left_ns(now), None)),
            // The state has changed.
            Taken::Over => Err(Err(self.state())),
        }
    }

    /// Judges a round whose time is over by what has come back.
    fn end_round(&self, state: State, now: u64) -> Moved {
        let probes = self.books.of(state.round);
        if probes.issued == 0 {
            // All permits were abandoned: nothing is known, so it begins anew.
            return self.begin_round(state, now);
        }
        if probes.ended == 0 {
            return self.trip(state, TripReason::NoProbeCameBack, now);
        }
        match probes.judge(&self.config, probes.ended) {
            Round::Bad(reason) => self.trip(state, reason, now),
            // It could have come back when the round was over, however long ago that is.
            Round::Good | Round::Undecided => self.begin_ramp(state, state.at.min(tick_of(now))),
        }
    }

    fn ask_ramp(&self, state: State, now: u64) -> Result<Answer, Moved> {
        let Some(share) = self.ramp_share(state, now) else {
            let closed = State {
                phase: Phase::Closed,
                at: tick_of(now),
                ..state
            };
            return Err(self.swap_state(state, closed).map(|()| Change::Recovered));
        };
        let call = self.ramp_calls.fetch_add(1, Ordering::Relaxed);
        if golden(call) < share {
            Ok(pass(state, PermitKind::Counted, None))
        } else {
            let left_ns = self.config.ramp_ns - since_ns(state, now);
            Ok(reject(RejectedBy::Ramp, left_ns, None))
        }
    }

    /// Returns the share of calls that passes, or `None` when the ramp is over.
    fn ramp_share(&self, state: State, now: u64) -> Option<f64> {
        let (gone, all) = (since_ns(state, now), self.config.ramp_ns);
        let last = state.at >= LAST_TICK;
        (gone < all && !last)
            .then(|| FIRST_SHARE + (1.0 - FIRST_SHARE) * (gone as f64 / all as f64))
    }

    // === Counting ===

    fn count(&self, round: u16, end: CallEnd, now: u64) -> Option<Change> {
        let reason = self.calls.count(&self.config, end, now)?;
        let forced = Forced::at(self.forced.load(Ordering::Relaxed), now);
        if forced.is_some_and(Forced::lets_pass) {
            return None;
        }
        let mut state = self.state();
        // A ramp may have ended meanwhile; anything else means that another thread has tripped it.
        while state.counts(round) {
            match self.trip(state, reason, now) {
                Ok(change) => return Some(change),
                Err(newer) => state = newer,
            }
        }
        None
    }

    fn count_probe(&self, state: State, end: CallEnd, now: u64) -> Option<Change> {
        let slow = self.config.is_slow(end.took);
        let probes = self.books.end(state.round, end.failed, slow)?;
        let moved = match probes.judge(&self.config, self.config.probes) {
            Round::Undecided => return None,
            Round::Bad(reason) => self.trip(state, reason, now),
            Round::Good => self.begin_ramp(state, tick_of(now)),
        };
        // If it failed, another thread has ended the round.
        moved.ok()
    }

    // === Changing ===

    fn trip(&self, state: State, reason: TripReason, now: u64) -> Moved {
        let calm = state.phase == Phase::Closed && since_ns(state, now) >= self.calm_ns(state);
        let streak = if calm { 1 } else { state.longer_streak() };
        let open_ns = self.open_ns(streak, state.round);
        let next = State {
            phase: Phase::Open,
            streak,
            at: tick_after(now, open_ns),
            ..state
        };
        let open_for = Duration::from_nanos(open_ns);
        self.swap_state(state, next)
            .map(|()| Change::Tripped { reason, open_for })
    }

    /// Returns how long it must have been closed for its next open time to be a first one again: as
    /// long as it may have been open before, and a window.
    fn calm_ns(&self, state: State) -> u64 {
        self.full_open_ns(state.streak).max(self.config.window_ns)
    }

    /// Returns the open time: twice as long with each trip, half of it by chance.
    fn open_ns(&self, streak: u8, round: u16) -> u64 {
        let full = self.full_open_ns(streak);
        let random = scramble(self.seed ^ (u64::from(round) << 8) ^ u64::from(streak));
        let half = full / 2;
        // The upper half of the product is a fair share of `half`.
        full - half + ((u128::from(half) * u128::from(random)) >> 64) as u64
    }

    fn full_open_ns(&self, streak: u8) -> u64 {
        let doublings = u32::from(streak.saturating_sub(1)).min(u64::BITS - 1);
        self.config
            .first_open_ns
            .saturating_mul(1 << doublings)
            .min(self.config.longest_open_ns)
    }

    fn begin_ramp(&self, state: State, since: u64) -> Moved {
        // Nothing counts while it is half-open, so what is emptied here is old. Should another
        // thread have begun the ramp already, its first calls are forgotten.
        self.calls.forget(instant_of(since));
        self.ramp_calls.store(0, Ordering::Relaxed);
        let ramp = self.config.ramp_ns > 0;
        let next = State {
            phase: if ramp { Phase::Ramp } else { Phase::Closed },
            at: since,
            ..state
        };
        let change = if ramp {
            Change::Recovering
        } else {
            Change::Recovered
        };
        self.swap_state(state, next).map(|()| change)
    }

    fn shown(&self, state: State, now: u64) -> BreakerState {
        match state.phase {
            Phase::Closed => BreakerState::Closed,
            Phase::Open => BreakerState::Open {
                left: Duration::from_nanos(state.left_ns(now)),
            },
            Phase::HalfOpen => {
                let Probes { issued, ended, .. } = self.books.of(state.round);
                BreakerState::HalfOpen {
                    under_way: issued.saturating_sub(ended),
                    ended,
                }
            }
            Phase::Ramp => BreakerState::Ramp {
                share: self.ramp_share(state, now).unwrap_or(1.0),
            },
        }
    }
}

/// The change that this thread made, or the state that another one did.
type Moved = Result<Change, State>;

fn pass(state: State, kind: PermitKind, change: Option<Change>) -> Answer {
    let round = state.round;
    Answer {
        verdict: Ok(Permit { round, kind }),
        change,
    }
}

fn reject(by: RejectedBy, wait_ns: u64, change: Option<Change>) -> Answer {
    let retry_after = Duration::from_nanos(wait_ns);
    Answer {
        verdict: Err(Rejected { by, retry_after }),
        change,
    }
}

#[cold]
fn ask_forced(forced: Forced, state: State, now: u64) -> Answer {
    match forced.over {
        Override::Open => {
            let retry_after = forced.left(now);
            let by = RejectedBy::Forced;
            Answer {
                verdict: Err(Rejected { by, retry_after }),
                change: None,
            }
        }
        Override::Closed if state.counts(state.round) => pass(state, PermitKind::Counted, None),
        Override::Closed | Override::Disabled => pass(state, PermitKind::Uncounted, None),
    }
}

fn since_ns(state: State, now: u64) -> u64 {
    now.saturating_sub(instant_of(state.at))
}

/// Spreads the numbers of calls over 0 to 1 so evenly that of any calls in a row, a share of them
/// lies below it: multiples of the golden ratio, without their whole part.
fn golden(call: u32) -> f64 {
    const GOLDEN: u32 = 0x9E37_79B9;
    f64::from(call.wrapping_mul(GOLDEN)) / (f64::from(u32::MAX) + 1.0)
}

/// Makes unrelated numbers of related ones (the last step of SplitMix64).
fn scramble(bits: u64) -> u64 {
    let mut bits = bits.wrapping_add(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}
