//! Random bits for jitter, sampling and ids, without a lock.
//!
//! Each thread has a generator of its own, seeded from the operating system. The bits are good
//! enough to keep ids of one fleet apart and retries from marching in step. They are *not* for
//! secrets: somebody who sees enough of them can tell the next.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

thread_local! {
    static STATE: Cell<u64> = Cell::new(seed());
}

/// Draws 64 random bits.
pub fn bits() -> u64 {
    STATE
        .try_with(|state| {
            let (next, bits) = step(state.get());
            state.set(next);
            bits
        })
        // A thread that is being torn down: its generator is gone, a fresh seed serves.
        .unwrap_or_else(|_| seed())
}

fn seed() -> u64 {
    // The keys of a `RandomState` come from the operating system; its hash of a constant is a
    // uniform function of them. The per-instance counter makes each thread's seed differ.
    RandomState::new().hash_one(0x5EED_u64)
}

/// Mixes a seed and a number into bits that are the same whenever they are.
#[cfg(feature = "test-util")]
pub(crate) fn mix(seed: u64, number: u64) -> u64 {
    step(seed ^ step(number).1).1
}

/// One step of SplitMix64: a Weyl sequence through a mixer, full period, no bad seeds.
fn step(state: u64) -> (u64, u64) {
    let next = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = next;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (next, mixed ^ (mixed >> 31))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_is_set_about_half_of_the_time() {
        let mut ones = [0u32; 64];
        for _ in 0..10_000 {
            let bits = bits();
            for (i, count) in ones.iter_mut().enumerate() {
                *count += u32::from(bits >> i & 1 == 1);
            }
        }
        for count in ones {
            assert!((4_500..5_500).contains(&count), "{count} of 10,000");
        }
    }

    #[test]
    fn threads_draw_different_sequences() {
        let here = bits();
        let there = std::thread::spawn(bits).join().unwrap();

        assert_ne!(here, there);
    }
}
