//! The state of a breaker, packed so that each change is one compare-and-swap.

/// What a breaker does with calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// They pass.
    Closed,
    /// They are rejected.
    Open,
    /// A few pass as probes.
    HalfOpen,
    /// A growing share passes.
    Ramp,
}

/// The phase and what belongs to it, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State {
    pub(super) phase: Phase,
    /// How often it tripped without a calm time between.
    pub(super) streak: u8,
    /// The number of the last round of half-open; it wraps.
    pub(super) round: u16,
    /// A tick: closed and ramp *since*, open and half-open *until*.
    pub(super) at: u64,
}

/// Instants are kept in units of 2^20 ns, about a millisecond: 40 bits last for 36 years.
const TICK_BITS: u32 = 20;
const TICKS_BITS: u32 = 40;
pub(super) const LAST_TICK: u64 = (1 << TICKS_BITS) - 1;

const STREAK_BITS: u32 = 6;
const MOST_STREAK: u8 = (1 << STREAK_BITS) - 1;

/// Returns the tick that an instant lies in.
pub(super) fn tick_of(now: u64) -> u64 {
    (now >> TICK_BITS).min(LAST_TICK)
}

/// Returns the first tick that is `wait` or more after an instant: never too early.
pub(super) fn tick_after(now: u64, wait_ns: u64) -> u64 {
    (now.saturating_add(wait_ns) >> TICK_BITS).min(LAST_TICK - 1) + 1
}

/// Returns the instant at which a tick begins.
pub(super) fn instant_of(tick: u64) -> u64 {
    tick << TICK_BITS
}

// === impl State ===

impl State {
    pub(super) const START: Self = Self {
        phase: Phase::Closed,
        streak: 0,
        round: 0,
        at: 0,
    };

    pub(super) fn pack(self) -> u64 {
        let phase = match self.phase {
            Phase::Closed => 0,
            Phase::Open => 1,
            Phase::HalfOpen => 2,
            Phase::Ramp => 3,
        };
        phase
            | u64::from(self.streak) << 2
            | u64::from(self.round) << (2 + STREAK_BITS)
            | self.at << (64 - TICKS_BITS)
    }

    pub(super) fn unpack(word: u64) -> Self {
        let phase = match word & 3 {
            0 => Phase::Closed,
            1 => Phase::Open,
            2 => Phase::HalfOpen,
            _ => Phase::Ramp,
        };
        Self {
            phase,
            streak: (word >> 2) as u8 & MOST_STREAK,
            round: (word >> (2 + STREAK_BITS)) as u16,
            at: word >> (64 - TICKS_BITS),
        }
    }

    /// Says whether the calls of a closed breaker that passed in `round` still count.
    pub(super) fn counts(self, round: u16) -> bool {
        matches!(self.phase, Phase::Closed | Phase::Ramp) && self.round == round
    }

    /// Says whether the probes of `round` still count.
    pub(super) fn probes(self, round: u16) -> bool {
        self.phase == Phase::HalfOpen && self.round == round
    }

    pub(super) fn longer_streak(self) -> u8 {
        (self.streak + 1).min(MOST_STREAK)
    }

    /// Returns how many nanoseconds are left until `at`, from an instant before it.
    pub(super) fn left_ns(self, now: u64) -> u64 {
        instant_of(self.at).saturating_sub(now)
    }
}

#[cfg(all(test, not(steadfast_loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_last_instants_of_the_clock_end_every_wait() {
        assert_eq!(tick_after(u64::MAX, u64::MAX), LAST_TICK);
        assert_eq!(tick_of(u64::MAX), LAST_TICK);
    }

    proptest! {
        #[test]
        fn a_word_gives_back_what_was_packed(word: u64) {
            prop_assert_eq!(State::unpack(word).pack(), word);
        }

        #[test]
        fn a_wait_is_never_too_short_and_by_a_tick_too_long(
            now in 0..instant_of(LAST_TICK) / 2,
            wait in 0..3_600_000_000_000_u64,
        ) {
            let end = instant_of(tick_after(now, wait));

            prop_assert!(end >= now + wait && end - (now + wait) <= 1 << TICK_BITS);
        }
    }
}
