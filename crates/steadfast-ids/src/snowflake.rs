//! Ids of time, worker and sequence: the decision which one is next.
//!
//! What goes wrong with such ids is the clock. It is set back, and ids of that time come again; a process
//! restarts faster than its clock runs; a burst uses a tick up, and the generator spins until the next.
//! Here the state is one number, tick and sequence side by side, and the next id's is *one more or now,
//! whichever is later*. So no step of any clock can make it repeat, a used up tick borrows from the next,
//! and how far it may run ahead of the time is bounded: beyond, the caller is told to come back. Where a store
//! remembers, ids also stay below what is reserved there, so that whoever comes next begins behind it.
//!
//! This part is pure: the time is an argument. [`Generator`](crate::Generator) brings the clock, and waits.

mod anchor;
mod layout;

use crate::atomic::{AtomicU64, Ordering::Relaxed};
use crate::id::Id;

pub(crate) use anchor::Anchor;
pub use layout::{InvalidLayout, Layout, LayoutConfig, NotOfLayout, Parts};

/// Gives each id of one worker once, to any number of threads, without a lock.
///
/// Times are nanoseconds since the epoch of the layout.
#[derive(Debug)]
pub struct Snowflake {
    layout: Layout,
    worker: u64,
    lead_ticks: u64,
    /// Tick and sequence of the last id, as one number. Only ever grows, by compare and exchange, so that
    /// no two callers get one place; nothing else is published through it. [`CLOSED`] is the end.
    last: AtomicU64,
    /// The first place that may not be taken: what is reserved ends before it. Only ever grows; who sees an
    /// old one takes less than there is.
    limit: AtomicU64,
}

/// No place is as great: a tick and a sequence have 63 bits together.
const CLOSED: u64 = u64::MAX;

/// Some ids in a row of one worker.
#[derive(Clone, Debug)]
pub struct Batch {
    layout: Layout,
    worker: u64,
    next: u64,
    end: u64,
}

/// Says why there is no id now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The ids have run ahead of the time as far as they may.
    Ahead {
        /// When there is one again, in nanoseconds since the epoch.
        until_ns: u64,
    },
    /// The time has no more bits.
    EndOfLife,
    /// What was reserved is used up.
    Beyond,
    /// It was [closed](Snowflake::close).
    Closed,
}

/// Refuses a worker id that has no room in its layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("worker id {worker} is over {most}, the greatest of the layout")]
pub struct WorkerTooLarge {
    /// What was given.
    pub worker: u64,
    /// What the layout has room for.
    pub most: u64,
}

// === impl Snowflake ===

impl Snowflake {
    /// Starts with the first id that no earlier process with this worker id can have made, if that had the
    /// same lead and ended before `now_ns`: behind the lead, which that process may have used.
    ///
    /// # Errors
    /// [`WorkerTooLarge`].
    pub fn new(
        layout: Layout,
        worker: u64,
        lead_ns: u64,
        now_ns: u64,
    ) -> Result<Self, WorkerTooLarge> {
        let lead_ticks = lead_ns.div_ceil(layout.tick_ns());
        let first = (now_ns / layout.tick_ns())
            .saturating_add(lead_ticks)
            .saturating_add(1);
        Self::starting(layout, worker, lead_ticks, first, CLOSED)
    }

    /// Starts where somebody else says that the ids of this worker were never made: from `from_ns` on, and
    /// before `until_ns`, until more is [reserved](Self::reserve).
    ///
    /// # Errors
    /// [`WorkerTooLarge`].
    pub fn reserved(
        layout: Layout,
        worker: u64,
        lead_ns: u64,
        from_ns: u64,
        until_ns: u64,
    ) -> Result<Self, WorkerTooLarge> {
        let lead_ticks = lead_ns.div_ceil(layout.tick_ns());
        let first = from_ns.div_ceil(layout.tick_ns());
        Self::starting(layout, worker, lead_ticks, first, layout.limit(until_ns))
    }

    fn starting(
        layout: Layout,
        worker: u64,
        lead_ticks: u64,
        first: u64,
        limit: u64,
    ) -> Result<Self, WorkerTooLarge> {
        let most = layout.worker_max();
        if worker > most {
            return Err(WorkerTooLarge { worker, most });
        }
        // The first tick of all has nothing before it to count up from.
        let first = first.clamp(1, layout.tick_max() + 1);
        Ok(Self {
            layout,
            worker,
            lead_ticks,
            last: AtomicU64::new((first << layout.sequence_bits()) - 1),
            limit: AtomicU64::new(limit),
        })
    }

    /// Reserves more: ids before `until_ns`. What was reserved stays so.
    pub fn reserve(&self, until_ns: u64) {
        self.limit.fetch_max(self.layout.limit(until_ns), Relaxed);
    }

    /// Ends it, for all threads: no id is made any more. Gives the time which all ids it has made are before;
    /// `None` if it was closed already.
    pub fn close(&self) -> Option<u64> {
        let last = self.last.swap(CLOSED, Relaxed);
        let tick = (last != CLOSED).then(|| (last >> self.layout.sequence_bits()) + 1);
        tick.map(|tick| tick.saturating_mul(self.layout.tick_ns()))
    }

    /// Gives the next id.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn next(&self, now_ns: u64) -> Result<Id, Refused> {
        let place = self.take(now_ns, 1)?.0;
        Ok(self.layout.compose(place, self.worker, place))
    }

    /// Gives the next id, with the low bits of `key` as its gene.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn next_for(&self, now_ns: u64, key: u64) -> Result<Id, Refused> {
        let place = self.take(now_ns, 1)?.0;
        Ok(self.layout.compose(place, self.worker, key))
    }

    /// Gives up to `count` ids in a row, at least one: as many as there are without going too far ahead.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn batch(&self, now_ns: u64, count: u32) -> Result<Batch, Refused> {
        let (next, count) = self.take(now_ns, u64::from(count.max(1)))?;
        Ok(Batch {
            layout: self.layout,
            worker: self.worker,
            next,
            end: next + count,
        })
    }

    /// Gives the layout.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Gives the worker id.
    #[must_use]
    pub fn worker(&self) -> u64 {
        self.worker
    }

    /// Tells how far the last id is ahead of the time, in nanoseconds.
    #[must_use]
    pub fn lead_ns(&self, now_ns: u64) -> u64 {
        let last = self.last.load(Relaxed);
        let tick = if last == CLOSED {
            0
        } else {
            last >> self.layout.sequence_bits()
        };
        tick.saturating_sub(now_ns / self.layout.tick_ns()) * self.layout.tick_ns()
    }

    /// Takes up to `count` places in a row.
    fn take(&self, now_ns: u64, count: u64) -> Result<(u64, u64), Refused> {
        let bits = self.layout.sequence_bits();
        let (tick_ns, tick_max) = (self.layout.tick_ns(), self.layout.tick_max());
        let now = now_ns / tick_ns;
        if now > tick_max {
            return Err(Refused::EndOfLife);
        }
        // The first place that is too far ahead, or past the end; and with what is reserved.
        let ahead = ((now + self.lead_ticks).min(tick_max) + 1) << bits;
        let end = ahead.min(self.limit.load(Relaxed));
        let mut last = self.last.load(Relaxed);
        loop {
            if last == CLOSED {
                return Err(Refused::Closed);
            }
            let first = (last + 1).max(now << bits);
            if first >= end {
                let tick = first >> bits;
                return Err(if tick > tick_max {
                    Refused::EndOfLife
                } else if first >= ahead {
                    Refused::Ahead {
                        until_ns: (tick - self.lead_ticks) * tick_ns,
                    }
                } else {
                    Refused::Beyond
                });
            }
            let count = count.min(end - first);
            match self
                .last
                .compare_exchange_weak(last, first + count - 1, Relaxed, Relaxed)
            {
                Ok(_) => return Ok((first, count)),
                Err(seen) => last = seen,
            }
        }
    }
}

// === impl Batch ===

impl Iterator for Batch {
    type Item = Id;

    fn next(&mut self) -> Option<Id> {
        if self.next == self.end {
            return None;
        }
        let place = self.next;
        self.next += 1;
        Some(self.layout.compose(place, self.worker, place))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = (self.end - self.next) as usize;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Batch {}

#[cfg(all(test, steadfast_loom))]
mod loom;
#[cfg(all(test, not(steadfast_loom)))]
mod tests;
