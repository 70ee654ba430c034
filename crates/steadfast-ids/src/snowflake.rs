//! Ids of time, worker and sequence: the decision which one is next.
//!
//! What goes wrong with such ids is the clock. It is set back, and ids of that time come again; a process
//! restarts faster than its clock runs; a burst uses a tick up, and the generator spins until the next.
//! Here the state is one number, tick and sequence side by side, and the next id's is *one more or now,
//! whichever is later*. So no step of any clock can make it repeat, a used up tick borrows from the next,
//! and how far it may run ahead of the time is bounded: beyond, the caller is told to come back.
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
    /// no two callers get one place; nothing else is published through it.
    last: AtomicU64,
}

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
        let most = layout.worker_max();
        if worker > most {
            return Err(WorkerTooLarge { worker, most });
        }
        let lead_ticks = lead_ns.div_ceil(layout.tick_ns());
        let first = (now_ns / layout.tick_ns())
            .saturating_add(lead_ticks)
            .saturating_add(1);
        Ok(Self {
            layout,
            worker,
            lead_ticks,
            last: AtomicU64::new((first.min(layout.tick_max() + 1) << layout.sequence_bits()) - 1),
        })
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
        let tick = self.last.load(Relaxed) >> self.layout.sequence_bits();
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
        // The first place that is too far ahead, or past the end.
        let end = ((now + self.lead_ticks).min(tick_max) + 1) << bits;
        let mut last = self.last.load(Relaxed);
        loop {
            let first = (last + 1).max(now << bits);
            if first >= end {
                let tick = first >> bits;
                return Err(if tick > tick_max {
                    Refused::EndOfLife
                } else {
                    Refused::Ahead {
                        until_ns: (tick - self.lead_ticks) * tick_ns,
                    }
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
