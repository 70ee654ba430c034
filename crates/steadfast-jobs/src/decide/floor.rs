//! From where claims of one queue begin.
//!
//! What was claimed leaves dead entries at the low end of an index, and each claim that begins there has to step
//! over those that the database has not cleaned up: fifty thousand a second, or all of them while somebody's snapshot
//! is held. So a claim begins at a *floor*, a rank. Nothing may be left below it for long:
//!
//! 1. A claim that found less than it wanted has left nothing that it could see. What others can see only later has a
//!    rank from about then: that of its due time, by the clock of the database. So the next floor is the time of the
//!    claim less [`SLACK`], and a job that can be seen within [`SLACK`] of its rank is found by the first claim after
//!    that, whoever enqueued it and whether they woke us or not.
//! 2. A claim that found as much as it wanted has left nothing below the rank of its last job, which is the next floor.
//!    It is *close*: what is committed a moment late lies below it.
//! 3. What comes in further below is found by a look from the very start: a higher priority, a transaction that was
//!    open for long, a job that was taken from the dead or handed back, one of a kind that claims had left out, a row that
//!    another claim had locked and let go of. Whoever knows of it says so when it wakes us ([`Floor::look`]), and it is found by the next claim. Otherwise
//!    a claim looks from the start once the last one did so [`LOOK_EVERY`] ago, or longer ago where looks are so slow
//!    that they would be more than a twentieth of the time, up to [`REST_MAX`]; and as soon as that allows after a close floor was left.
//!
//! A clock of the database that is set back has the same remedy: each floor comes from the last claim alone.

use std::time::Duration;

/// How much later than its rank says a job may be seen for an ordinary claim to find it: 1 s. A commit waits
/// for a flush, and a second of dead entries is little to step over.
pub const SLACK: Duration = Duration::from_secs(1);

/// How often a claim looks from the very start at least: 1 s, so that with the longest poll of 2 s nothing waits for
/// longer than before there was a floor. A look every second is too seldom to be among the slowest hundredth of claims.
pub const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Looks from the very start take a twentieth of the time at most, unless somebody asks for them.
const SHARE: u64 = 20;

/// No look waits for longer than that for the one before, however slow it was: 5 s. A database that stood still for a
/// while looks like a slow one, and what others have left must not wait for minutes.
pub const REST_MAX: Duration = Duration::from_secs(5);

/// From where claims of one queue begin.
#[derive(Debug, Clone, Copy)]
pub struct Floor {
    rank_us: i64,
    close: bool,
    next_look: u64,
    /// Before this, another look would be too much.
    rest_until: u64,
    /// When somebody last said that there may be something below.
    told: Option<u64>,
}

/// What a claim has found.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    /// From which rank it began.
    pub from: i64,
    /// When it began.
    pub began: u64,
    /// The time of the database, no later than what the claim could see.
    pub at_us: i64,
    /// How many jobs it wanted.
    pub wanted: usize,
    /// How many it found.
    pub found: usize,
    /// The highest rank of those.
    pub last_rank_us: Option<i64>,
}

impl Floor {
    /// Begins at the very start.
    pub fn new() -> Self {
        Self {
            rank_us: i64::MIN,
            close: false,
            next_look: 0,
            rest_until: 0,
            told: None,
        }
    }

    /// Gives the rank from which the next claim begins.
    pub fn from(&self, now: u64) -> i64 {
        let told = self.told.is_some() && (!self.close || now >= self.rest_until);
        if told || now >= self.next_look {
            i64::MIN
        } else {
            self.rank_us
        }
    }

    /// Notes that there may be something below: the next claim looks from the very start. Where there is more than
    /// claims take, it waits its turn: many that say so would have each claim do it.
    pub fn look(&mut self, now: u64) {
        self.told = Some(now);
    }

    /// Notes a claim. Gives when to claim again although nothing wakes us, if it may have left something.
    pub fn claimed(&mut self, now: u64, seen: Seen) -> Option<u64> {
        if seen.from == i64::MIN {
            let took = now.saturating_sub(seen.began);
            let rest = took.saturating_mul(SHARE).min(REST_MAX.as_nanos() as u64);
            self.rest_until = now.saturating_add(rest);
            let every = now.saturating_add(LOOK_EVERY.as_nanos() as u64);
            self.next_look = self.rest_until.max(every);
            // What was said meanwhile may be about what it could not see yet.
            self.told = self.told.filter(|told| *told >= seen.began);
        }
        let was_close = self.close && seen.from != i64::MIN;
        self.close = seen.found >= seen.wanted;
        if self.close {
            self.rank_us = seen.last_rank_us.unwrap_or(i64::MIN);
            return None;
        }
        self.rank_us = seen.at_us.saturating_sub(SLACK.as_micros() as i64);
        if was_close {
            self.next_look = self.next_look.min(self.rest_until);
        }
        was_close.then_some(self.next_look)
    }
}

impl Default for Floor {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
