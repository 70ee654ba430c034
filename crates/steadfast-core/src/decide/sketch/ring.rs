//! Counters in a ring of time windows.
//!
//! The slots of the ring are used one after the other. Slots are counted by turns and not by time:
//! a turn takes the next slot, however long nothing happened, and the slot remembers the number of
//! its window. Invariants, which the orderings below keep:
//!
//! 1. The slot after the head is empty whenever the head is not busy. So a turn needs no clearing
//!    before it, and whoever adds never waits.
//! 2. The one whose compare-and-swap made the turn clears the slot after the new head, and then
//!    takes the busy mark away. Until then nobody turns, and what would belong into the next window
//!    is added to this one: a window may last a little longer, but nothing is lost.
//! 3. Of `slots`, `slots - 2` are read. The one that is cleared by a turn in the middle of a
//!    reading is not among them.
//!
//! A thread that is stopped between finding its slot and adding to it, for as long as the whole ring
//! lasts, adds to a later window, or its sample is cleared away. That is the only loss.

use std::ops::Range;

use crate::decide::atomic::{AtomicU32, AtomicU64, Ordering};

/// Holds some cells (small counters) and some words (large ones) for each of the last windows.
#[derive(Debug)]
pub(in crate::decide) struct Ring {
    width_ns: u64,
    cells_each: usize,
    words_each: usize,
    head: AtomicU64,
    /// The number of each slot's window, but for the head's, whose number stands in the head.
    windows: Box<[AtomicU64]>,
    cells: Box<[AtomicU32]>,
    words: Box<[AtomicU64]>,
}

/// The state of a ring, packed into one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    /// The number of the newest window, counted from the start of the clock.
    window: u64,
    slot: usize,
    /// How many slots hold something to read, the head included.
    live: usize,
    /// The slot after this one is not empty yet.
    busy: bool,
}

const BUSY: u64 = 1;
const FIELD_BITS: u32 = 8;
const FIELD: u64 = (1 << FIELD_BITS) - 1;
const LIVE_SHIFT: u32 = 1;
const SLOT_SHIFT: u32 = LIVE_SHIFT + FIELD_BITS;
const WINDOW_SHIFT: u32 = SLOT_SHIFT + FIELD_BITS;

/// Slots that are not read: the one that is empty, and one for a turn during a reading.
const SPARE: usize = 2;

// === impl Ring ===

impl Ring {
    /// The shortest window: 2^20 ns, about a millisecond, so that 44 bits number every window.
    pub(in crate::decide) const SHORTEST_WINDOW_NS: u64 = 1 << 20;

    /// The most windows that can be read: what eight bits count.
    pub(in crate::decide) const MAX_WINDOWS: usize = FIELD as usize - SPARE;

    /// Makes an empty ring. The caller keeps to the bounds.
    pub(in crate::decide) fn new(
        width_ns: u64,
        windows: usize,
        cells_each: usize,
        words_each: usize,
    ) -> Self {
        debug_assert!(width_ns >= Self::SHORTEST_WINDOW_NS, "window too short");
        debug_assert!((1..=Self::MAX_WINDOWS).contains(&windows), "too many");
        let slots = windows + SPARE;
        let head = Head {
            window: 0,
            slot: 0,
            live: 1,
            busy: false,
        };
        Self {
            width_ns,
            cells_each,
            words_each,
            head: AtomicU64::new(head.pack()),
            windows: (0..slots).map(|_| AtomicU64::new(0)).collect(),
            cells: (0..slots * cells_each).map(|_| AtomicU32::new(0)).collect(),
            words: (0..slots * words_each).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Returns the slot that counts what happens at `now`, turning the ring if its window is new.
    ///
    /// An older `now` counts in the newest window.
    pub(in crate::decide) fn slot_at(&self, now: u64) -> usize {
        // Acquire: pairs with the release at the end of a turn. Without it, an addition to the new
        // slot could come before the clearing that emptied it, and vanish.
        let packed = self.head.load(Ordering::Acquire);
        let head = Head::unpack(packed);
        // A product instead of a division: this is the way of every sample.
        if now < (head.window + 1).saturating_mul(self.width_ns) || head.busy {
            return head.slot;
        }
        self.turn(packed, head, now)
    }

    /// Adds one to a cell of a slot.
    pub(in crate::decide) fn add(&self, slot: usize, cell: usize) {
        self.cells[slot * self.cells_each + cell].fetch_add(1, Ordering::Relaxed);
    }

    /// Adds to a word of a slot; on overflow it wraps.
    pub(in crate::decide) fn add_to_word(&self, slot: usize, word: usize, more: u64) {
        self.words[slot * self.words_each + word].fetch_add(more, Ordering::Relaxed);
    }

    /// Raises a word of a slot to at least `least`.
    pub(in crate::decide) fn raise_word(&self, slot: usize, word: usize, least: u64) {
        let word = &self.words[slot * self.words_each + word];
        if word.load(Ordering::Relaxed) < least {
            word.fetch_max(least, Ordering::Relaxed);
        }
    }

    /// Forgets everything and starts a window at `now`.
    pub(in crate::decide) fn restart(&self, now: u64) {
        let mut packed = self.head.load(Ordering::Acquire);
        loop {
            let head = Head::unpack(packed);
            // While the next slot is being emptied, the head's own slot is hidden in its stead,
            // and counting starts with the next turn.
            let next = if head.busy {
                Head { live: 0, ..head }
            } else {
                self.after(head, (now / self.width_ns).max(head.window), 1)
            };
            match self.swap_head(packed, next) {
                Ok(_) if head.busy => return,
                Ok(_) => return self.finish_turn(next),
                Err(newer) => packed = newer,
            }
        }
    }

    /// Returns the slots whose windows are as many windows older than the one at `now` as `ages`
    /// says: `0..1` is the window of `now` alone, `1..2` the one before.
    pub(in crate::decide) fn slots(
        &self,
        now: u64,
        ages: Range<u64>,
    ) -> impl Iterator<Item = usize> + '_ {
        let head = Head::unpack(self.head.load(Ordering::Acquire));
        let newest = (now / self.width_ns).max(head.window);
        (0..head.live).filter_map(move |back| {
            let slot = (head.slot + self.windows.len() - back) % self.windows.len();
            let window = if back == 0 {
                head.window
            } else {
                self.windows[slot].load(Ordering::Relaxed)
            };
            // A window that is newer than the head was begun meanwhile: it is not of this reading.
            ages.contains(&newest.saturating_sub(window))
                .then_some(slot)
        })
    }

    /// Returns the cells of a slot.
    pub(in crate::decide) fn cells(&self, slot: usize) -> impl Iterator<Item = u32> + '_ {
        self.cells[slot * self.cells_each..][..self.cells_each]
            .iter()
            .map(|cell| cell.load(Ordering::Relaxed))
    }

    /// Returns a word of a slot.
    pub(in crate::decide) fn word(&self, slot: usize, word: usize) -> u64 {
        self.words[slot * self.words_each + word].load(Ordering::Relaxed)
    }

    /// Returns the length of a window in nanoseconds.
    pub(in crate::decide) fn width_ns(&self) -> u64 {
        self.width_ns
    }

    /// Returns how many bytes its arrays take.
    pub(in crate::decide) fn heap_bytes(&self) -> usize {
        size_of_val(&*self.windows) + size_of_val(&*self.cells) + size_of_val(&*self.words)
    }

    #[cold]
    fn turn(&self, packed: u64, head: Head, now: u64) -> usize {
        let window = now / self.width_ns;
        if window <= head.window {
            return head.slot;
        }
        let live = (head.live + 1).min(self.windows.len() - SPARE);
        let next = self.after(head, window, live);
        match self.swap_head(packed, next) {
            Ok(_) => {
                self.finish_turn(next);
                next.slot
            }
            Err(newer) => Head::unpack(newer).slot,
        }
    }

    fn after(&self, head: Head, window: u64, live: usize) -> Head {
        Head {
            window,
            slot: (head.slot + 1) % self.windows.len(),
            live,
            busy: true,
        }
    }

    fn swap_head(&self, packed: u64, next: Head) -> Result<u64, u64> {
        // Acquire on failure too: the slot of the newer head is added to.
        self.head
            .compare_exchange(packed, next.pack(), Ordering::AcqRel, Ordering::Acquire)
    }

    /// Numbers the slot of the new head and empties the one after it.
    fn finish_turn(&self, head: Head) {
        self.windows[head.slot].store(head.window, Ordering::Relaxed);
        let gone = (head.slot + 1) % self.windows.len();
        for cell in &self.cells[gone * self.cells_each..][..self.cells_each] {
            cell.store(0, Ordering::Relaxed);
        }
        for word in &self.words[gone * self.words_each..][..self.words_each] {
            word.store(0, Ordering::Relaxed);
        }
        // Release: the number and the emptiness are seen by whoever sees that the turn is over. A
        // bit is taken away, and not the head stored, because a restart may have hidden the slot.
        self.head.fetch_and(!BUSY, Ordering::Release);
    }
}

// === impl Head ===

impl Head {
    fn pack(self) -> u64 {
        self.window << WINDOW_SHIFT
            | (self.slot as u64) << SLOT_SHIFT
            | (self.live as u64) << LIVE_SHIFT
            | u64::from(self.busy)
    }

    fn unpack(packed: u64) -> Self {
        Self {
            window: packed >> WINDOW_SHIFT,
            slot: (packed >> SLOT_SHIFT & FIELD) as usize,
            live: (packed >> LIVE_SHIFT & FIELD) as usize,
            busy: packed & BUSY != 0,
        }
    }
}

#[cfg(all(test, not(steadfast_loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WIDTH: u64 = Ring::SHORTEST_WINDOW_NS;

    fn add(ring: &Ring, now: u64) {
        ring.add(ring.slot_at(now), 0);
    }

    fn sum(ring: &Ring, now: u64, ages: Range<u64>) -> u32 {
        ring.slots(now, ages)
            .flat_map(|slot| ring.cells(slot))
            .sum()
    }

    #[test]
    fn a_restart_hides_what_was_before_it_even_in_the_same_window() {
        let ring = Ring::new(WIDTH, 3, 1, 0);
        add(&ring, 0);
        add(&ring, WIDTH);

        ring.restart(WIDTH + 1);
        assert_eq!(sum(&ring, WIDTH + 1, 0..3), 0);

        add(&ring, WIDTH + 2);
        add(&ring, 2 * WIDTH);
        assert_eq!(sum(&ring, 2 * WIDTH, 0..3), 2);
    }

    #[test]
    fn a_restart_while_a_slot_is_emptied_hides_the_head_until_the_next_turn() {
        let ring = Ring::new(WIDTH, 3, 1, 0);
        add(&ring, 0);
        let packed = ring.head.load(Ordering::Acquire);
        let busy = Head {
            busy: true,
            ..Head::unpack(packed)
        };
        ring.head.store(busy.pack(), Ordering::Release);

        ring.restart(1);
        add(&ring, 2);
        assert_eq!(sum(&ring, 2, 0..3), 0);

        ring.finish_turn(busy);
        add(&ring, WIDTH);
        assert_eq!(sum(&ring, WIDTH, 0..3), 1);
    }

    #[test]
    fn while_a_slot_is_emptied_samples_stay_in_the_window_there_is() {
        let ring = Ring::new(WIDTH, 3, 1, 0);
        let busy = Head {
            busy: true,
            ..Head::unpack(ring.head.load(Ordering::Acquire))
        };
        ring.head.store(busy.pack(), Ordering::Release);

        add(&ring, 2 * WIDTH);

        assert_eq!(sum(&ring, 0, 0..1), 1);
    }

    #[test]
    fn the_last_instants_of_the_clock_are_survived() {
        let ring = Ring::new(WIDTH, 3, 1, 0);

        for now in [u64::MAX, u64::MAX - 1, u64::MAX] {
            add(&ring, now);
        }

        assert_eq!(sum(&ring, u64::MAX, 0..1), 3);
    }

    proptest! {
        #[test]
        fn reads_what_a_list_of_all_additions_would_say(
            windows in 1..6_usize,
            steps in prop::collection::vec(0..3 * WIDTH, 0..60),
            reach in 1..8_u64,
        ) {
            let ring = Ring::new(WIDTH, windows, 1, 0);
            let mut all: Vec<u64> = Vec::new();
            let mut now = 0;

            for step in steps {
                now += step;
                add(&ring, now);
                all.push(now / WIDTH);
                let newest = now / WIDTH;
                let expect = all
                    .iter()
                    .filter(|&&at| newest - at < reach.min(windows as u64))
                    .count();

                // Windows without a sample take no slot, so more than `windows` may be held.
                let ages = 0..reach.min(windows as u64);
                prop_assert_eq!(sum(&ring, now, ages) as usize, expect);
            }
        }
    }
}
