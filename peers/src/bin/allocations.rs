//! Counts what each contender allocates: `allocations [NAME…]`.
//!
//! Prints one line per contender: group, contender, allocations per whole, divided by tabs; and for what is kept in
//! memory: `memory per …`, whose, bytes.
//! It is a program of its own because a counting allocator would slow down what `bench`
//! times.

use std::alloc::{GlobalAlloc, Layout, System};
use std::env;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use peers::{Contender, footprint};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

/// Bytes that were asked for and not given back.
static LIVE: AtomicI64 = AtomicI64::new(0);

/// Of what is kept in memory: enough that tables which grow by doubling even out, and fewer than any bound.
const KEPT: u32 = 400;

/// Enough iterations that a rare growth shows, and few enough for the slowest contender,
/// which sleeps a millisecond in each.
const ITERATIONS: u64 = 100;

fn main() {
    let names: Vec<String> = env::args()
        .skip(1)
        .map(|name| name.to_lowercase())
        .collect();
    for mut group in peers::groups(None) {
        if !names.is_empty() && !names.iter().any(|name| group.name.contains(name)) {
            continue;
        }
        let name = group.name.clone();
        let (_, units_per_whole) = group.allocations_per;
        let wholes = group.units_per_iteration as f64 / units_per_whole as f64;
        for contender in group.contenders_mut().filter(|one| one.is_in_process()) {
            let count = per_iteration(contender) / wholes;
            println!("{name}\t{}\t{count}", contender.name());
        }
    }
    for of in footprint::all() {
        let group = format!("memory per {}", of.per);
        if names.is_empty() || names.iter().any(|name| group.contains(name)) {
            println!("{group}\t{}\t{:.0}", of.name, bytes_kept(&of));
        }
    }
}

/// Bytes for each, from the difference between many and twice as many, so that what is there once cancels out.
fn bytes_kept(of: &footprint::Footprint) -> f64 {
    let kept = |count| {
        let before = LIVE.load(Ordering::SeqCst);
        let kept = (of.build)(count);
        let bytes = LIVE.load(Ordering::SeqCst) - before;
        drop(kept);
        bytes
    };
    // What is made once for the process is made before.
    kept(KEPT);
    (kept(2 * KEPT) - kept(KEPT)) as f64 / f64::from(KEPT)
}

/// Takes the difference between a long and a short batch, so that what a batch allocates
/// for itself (a runtime's task, a vector that stays) cancels out.
fn per_iteration(contender: &mut Contender) -> f64 {
    contender.run(ITERATIONS);
    let short = counted(|| contender.run(ITERATIONS));
    let long = counted(|| contender.run(2 * ITERATIONS));
    long.saturating_sub(short) as f64 / ITERATIONS as f64
}

fn counted<T>(run: impl FnOnce() -> T) -> u64 {
    let before = ALLOCATIONS.load(Ordering::SeqCst);
    run();
    ALLOCATIONS.load(Ordering::SeqCst) - before
}

/// The system's allocator, counting every request for new memory; growing in place is one,
/// because it may move.
struct Counting;

#[allow(unsafe_code, reason = "an allocator cannot be written without")]
// SAFETY: every method passes its arguments on to `System` unchanged and returns what that
// returns; the counter touches no memory of the caller's.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        LIVE.fetch_add(layout.size() as i64, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`, which is `System`'s as well.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        LIVE.fetch_add(layout.size() as i64, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        LIVE.fetch_add(new_size as i64 - layout.size() as i64, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `realloc`; `ptr` came from `System`,
        // which is the only place this allocator takes memory from.
        unsafe { System.realloc(ptr, layout, new_size) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size() as i64, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `dealloc`; `ptr` came from `System`.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;

    use super::*;

    #[test]
    fn boxes_are_counted_one_by_one_and_what_a_batch_keeps_is_not() {
        let mut contender = Contender::new("boxes", |iterations| {
            let kept = black_box(vec![0_u8; 64]);
            for iteration in 0..iterations {
                black_box(Box::new(iteration));
            }
            drop(kept);
            iterations
        });

        let boxes = per_iteration(&mut contender);

        // The test harness's own threads may allocate meanwhile, hence not exactly one.
        assert!((1.0..1.5).contains(&boxes), "{boxes} allocations a box");
    }
}
