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
//!    It is *close*: what is committed a moment late lies below it, and all that comes in as usual while lower priorities
//!    wait, whose ranks lie ahead of the time. So a claim *goes back* to the floor of 1, and steps over those of them that
//!    are gone: once something has come in ([`Floor::wake`]), as long after the last one that did so as that took, and
//!    otherwise twenty times as long. Were it each claim, emptying a million of them would be quadratic.
//! 3. What comes in further below is found by a look from the very start: a higher priority, a transaction that was
//!    open for long, a job that was taken from the dead or handed back, one of a kind that claims had left out, a row that
//!    another claim had locked and let go of. Whoever knows of it says so when it wakes us ([`Floor::look`]), and it is
//!    found by the next claim; where there is more than claims take, by one as long after a look as that took. Otherwise
//!    a claim looks from the start once the last one did so [`LOOK_EVERY`] ago, or longer ago where looks are so slow
//!    that they would be more than a two-hundredth of the time, up to [`REST_MAX`]; and before that once a close floor was left.
//! 4. Jobs that wake us wait for no look that nobody asked for: one that is due has a claim of its own, after theirs, unless
//!    they leave no time for that ([`LOOK_EVERY`] more).
//!
//! So what nobody tells of waits for a claim and, if it lies below the floor, for a look: [`LOOK_EVERY`] where that is fast,
//! up to [`REST_MAX`] where it is slow, and [`LOOK_EVERY`] more while others wake us all the time.
//!
//! A clock of the database that is set back has the same remedy: each floor comes from the last claim alone.

use std::time::Duration;

/// How much later than its rank says a job may be seen for an ordinary claim to find it: 1 s. A commit waits
/// for a flush, and a second of dead entries is little to step over.
pub const SLACK: Duration = Duration::from_secs(1);

/// How often a claim looks from the very start where that is fast: 1 s, half of the longest poll.
pub const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Looks from the very start that nobody asked for take a two-hundredth of the time at most: jobs that come in meanwhile
/// wait for them, and those are not to be among the slowest hundredth. Those of more than 25 ms take more, since none
/// waits for longer than [`REST_MAX`].
const SHARE: u64 = 200;

/// That one which follows a close floor comes sooner: up to a twentieth of the time. So does a claim that goes back.
const SHARE_OF_CLOSE: u64 = 20;

/// No look waits for longer than that for the one before, however slow it was: 5 s. A database that stood still for a
/// while looks like a slow one, and what others have left must not wait for minutes. A look of 100 ms takes a fiftieth of
/// the time for that.
pub const REST_MAX: Duration = Duration::from_secs(5);

/// From where claims of one queue begin.
#[derive(Debug, Clone, Copy)]
pub struct Floor {
    /// That of the last job, if the last claim found as much as it wanted.
    rank_us: i64,
    /// From where a claim finds all that has come in as usual, no higher than that.
    in_time_us: i64,
    close: bool,
    /// The highest rank that claims have come to while there was more.
    reached_us: i64,
    /// The last look, and how much longer one took than a claim from above that found about as much.
    look: Work,
    slow: u64,
    /// The last claim that stepped over all that others had reached.
    back: Work,
    /// How long the last claim from above took that found something, and how much that was; and how long the last one that
    /// found nothing.
    usual: u64,
    usual_found: usize,
    vain: u64,
    next_look: u64,
    /// Whether claims have begun above the start since.
    went_on: bool,
    /// When somebody last said that there may be something below.
    told: Option<u64>,
    /// When something last came in.
    came_in: Option<u64>,
}

/// When something ended, and how long it took.
#[derive(Debug, Clone, Copy, Default)]
struct Work {
    ended: u64,
    took: u64,
}

impl Work {
    /// Tells when it has taken so small a part of the time that it may begin again.
    fn rested(self, share: u64) -> u64 {
        let rest = self.took.saturating_mul(share).min(nanos(REST_MAX));
        self.ended.saturating_add(rest)
    }
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
            in_time_us: i64::MIN,
            close: false,
            reached_us: i64::MIN,
            look: Work::default(),
            slow: 0,
            back: Work::default(),
            usual: 0,
            usual_found: 0,
            vain: 0,
            next_look: 0,
            went_on: false,
            told: None,
            came_in: None,
        }
    }

    /// Gives the rank from which the next claim begins, which somebody waits for or not.
    pub fn from(&self, now: u64, woken: bool) -> i64 {
        let told = self.told.is_some() && (!self.close || now >= self.look.rested(1));
        let patience = if woken { nanos(LOOK_EVERY) } else { 0 };
        if told || now >= self.next_look.saturating_add(patience) {
            return i64::MIN;
        }
        let share = if self.came_in.is_some() {
            1
        } else {
            SHARE_OF_CLOSE
        };
        if now >= self.back.rested(share) {
            self.in_time_us
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

    /// Notes that something has come in, which is below those of lower priorities that wait: the next claim goes back to
    /// it. Half of the time is left to others here, too.
    pub fn wake(&mut self, now: u64) {
        self.came_in = Some(now);
    }

    /// Notes a claim. Gives when to claim again although nothing wakes us, if it may have left something.
    pub fn claimed(&mut self, now: u64, seen: Seen) -> Option<u64> {
        self.went_on = seen.from != i64::MIN;
        let took = now.saturating_sub(seen.began);
        let finds_all = seen.from <= self.in_time_us;
        let is_full = seen.found >= seen.wanted;
        // One with room has come to the end.
        let last_us = match is_full {
            true => seen.last_rank_us.unwrap_or(i64::MIN),
            false => i64::MAX,
        };
        if !self.went_on {
            self.look = Work { ended: now, took };
            // The way to the database, a commit and the jobs themselves are no part of the look: each claim has them. One
            // that found more, or much less, tells nothing, and one that found nothing has no commit either.
            let (found, usual) = (seen.found, self.usual_found);
            if found == 0 {
                self.slow = took.saturating_sub(self.vain);
            } else if found <= usual.saturating_mul(2) && usual <= found.saturating_mul(2) {
                self.slow = took.saturating_sub(self.usual);
            }
            let every = now.saturating_add(nanos(LOOK_EVERY));
            self.next_look = self.look_rested(SHARE).max(every);
            // What was said meanwhile may be about what it could not see yet.
            self.told = self.told.filter(|told| *told >= seen.began);
        } else if seen.from < self.reached_us && last_us >= self.reached_us {
            self.back = Work { ended: now, took };
        } else if seen.found > 0 {
            (self.usual, self.usual_found) = (took, seen.found);
        } else {
            self.vain = took;
        }
        if finds_all {
            self.came_in = self.came_in.filter(|came_in| *came_in >= seen.began);
        }
        let was_close = self.close && self.went_on;
        self.close = is_full;
        let in_time = seen.at_us.saturating_sub(SLACK.as_micros() as i64);
        if self.close {
            self.rank_us = last_us;
            self.reached_us = self.reached_us.max(last_us);
            if finds_all {
                self.in_time_us = in_time.min(self.rank_us);
            }
            return None;
        }
        if finds_all {
            self.in_time_us = in_time;
        }
        self.rank_us = self.in_time_us;
        self.reached_us = i64::MIN;
        if was_close {
            self.next_look = self.next_look.min(self.look_rested(SHARE_OF_CLOSE));
        }
        // What came in while going back rested is above the floor by now.
        if self.came_in.is_some() && !finds_all {
            return Some(now);
        }
        was_close.then_some(self.next_look)
    }

    /// Tells when looks have taken so small a part of the time that one that nobody asked for may begin.
    fn look_rested(&self, share: u64) -> u64 {
        let look = Work {
            took: self.slow,
            ..self.look
        };
        look.rested(share)
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
