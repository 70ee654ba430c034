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
//!    It is *close*: what is committed a moment late lies below it. It is no higher than that of 1 all the same: while lower
//!    priorities wait, whose ranks lie ahead of the time, what comes in as usual is found by the next claim, for which that
//!    one steps over those of them that are gone.
//! 3. What comes in further below is found by a look from the very start: a higher priority, a transaction that was
//!    open for long, a job that was taken from the dead or handed back, one of a kind that claims had left out, a row that
//!    another claim had locked and let go of. Whoever knows of it says so when it wakes us ([`Floor::look`]), and it is
//!    found by the next claim; where there is more than claims take, by one as long after a look as that took. Otherwise
//!    a claim looks from the start once the last one did so [`LOOK_EVERY`] ago, or longer ago where looks are so slow
//!    that they would be more than a two-hundredth of the time, up to [`REST_MAX`]; and before that once a close floor was left.
//! 4. Jobs that wake us wait for no look that nobody asked for: one that is due has a claim of its own, after theirs, unless
//!    they leave no time for that ([`LOOK_EVERY`] more).
//!
//! A clock of the database that is set back has the same remedy: each floor comes from the last claim alone.

use std::time::Duration;

/// How much later than its rank says a job may be seen for an ordinary claim to find it: 1 s. A commit waits
/// for a flush, and a second of dead entries is little to step over.
pub const SLACK: Duration = Duration::from_secs(1);

/// How often a claim looks from the very start at least: 1 s, so that with the longest poll of 2 s nothing waits for
/// longer than before there was a floor.
pub const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Looks from the very start that nobody asked for take a two-hundredth of the time at most: jobs that come in meanwhile
/// wait for them, and those are not to be among the slowest hundredth.
const SHARE: u64 = 200;

/// That one which follows a close floor comes sooner: up to a twentieth of the time.
const SHARE_OF_CLOSE: u64 = 20;

/// No look waits for longer than that for the one before, however slow it was: 5 s. A database that stood still for a
/// while looks like a slow one, and what others have left must not wait for minutes.
pub const REST_MAX: Duration = Duration::from_secs(5);

/// From where claims of one queue begin.
#[derive(Debug, Clone, Copy)]
pub struct Floor {
    rank_us: i64,
    close: bool,
    /// When the last look ended, and how much longer it took than the claim before.
    looked: u64,
    took: u64,
    /// How long the last claim from above took.
    usual: u64,
    next_look: u64,
    /// Whether claims have begun above the start since.
    went_on: bool,
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
            looked: 0,
            took: 0,
            usual: 0,
            next_look: 0,
            went_on: false,
            told: None,
        }
    }

    /// Gives the rank from which the next claim begins, which somebody waits for or not.
    pub fn from(&self, now: u64, woken: bool) -> i64 {
        let told = self.told.is_some() && (!self.close || now >= self.rested(1));
        let patience = if woken { nanos(LOOK_EVERY) } else { 0 };
        if told || now >= self.next_look.saturating_add(patience) {
            i64::MIN
        } else {
            self.rank_us
        }
    }

    /// Tells whether a look that nobody asked for is due after claims that went on from above.
    pub fn is_due(&self, now: u64) -> bool {
        self.went_on && now >= self.next_look
    }

    /// Notes that there may be something below: the next claim looks from the very start. Where there is more than
    /// claims take, half of the time is left to others: many that say so would have each claim do it.
    pub fn look(&mut self, now: u64) {
        self.told = Some(now);
    }

    /// Notes a claim. Gives when to claim again although nothing wakes us, if it may have left something.
    pub fn claimed(&mut self, now: u64, seen: Seen) -> Option<u64> {
        self.went_on = seen.from != i64::MIN;
        let took = now.saturating_sub(seen.began);
        if self.went_on {
            self.usual = took;
        } else {
            self.looked = now;
            // What any claim takes, such as a slow commit, is not the look's.
            self.took = took.saturating_sub(self.usual);
            let every = now.saturating_add(nanos(LOOK_EVERY));
            self.next_look = self.rested(SHARE).max(every);
            // What was said meanwhile may be about what it could not see yet.
            self.told = self.told.filter(|told| *told >= seen.began);
        }
        let was_close = self.close && self.went_on;
        self.close = seen.found >= seen.wanted;
        let in_time = seen.at_us.saturating_sub(SLACK.as_micros() as i64);
        if self.close {
            self.rank_us = seen.last_rank_us.unwrap_or(i64::MIN).min(in_time);
            return None;
        }
        self.rank_us = in_time;
        if was_close {
            self.next_look = self.next_look.min(self.rested(SHARE_OF_CLOSE));
        }
        was_close.then_some(self.next_look)
    }

    /// Tells when looks have taken so small a part of the time that another one may begin.
    fn rested(&self, share: u64) -> u64 {
        let rest = self.took.saturating_mul(share).min(nanos(REST_MAX));
        self.looked.saturating_add(rest)
    }
}

fn nanos(length: Duration) -> u64 {
    length.as_nanos() as u64
}

impl Default for Floor {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
