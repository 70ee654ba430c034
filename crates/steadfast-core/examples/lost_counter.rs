//! The lost counter: two tasks that read, add and write.
//!
//! With plain data it does not compile, which is more than a race detector does. With an atomic it
//! does, if one writes the steps by hand; then additions get lost. The cure is one step, `fetch_add`.
//! The models at the end try *every* interleaving of two threads: the lost one is found, and the
//! cure holds.
//!
//! ```console
//! $ cargo run -p steadfast-core --example lost_counter
//! $ RUSTFLAGS="--cfg steadfast_loom" cargo test -p steadfast-core --release --example lost_counter
//! ```
#![allow(
    clippy::print_stdout,
    reason = "the program is there to be read on a terminal"
)]

#[cfg(steadfast_loom)]
use loom::sync::atomic::{AtomicU32, Ordering};
#[cfg(not(steadfast_loom))]
use std::sync::atomic::{AtomicU32, Ordering};

/// Reads, then adds, then writes: somebody else's addition in between is overwritten.
fn add_in_steps(counter: &AtomicU32) {
    let seen = counter.load(Ordering::Relaxed);
    counter.store(seen + 1, Ordering::Relaxed);
}

/// Relaxed is enough for a number that is read by itself: nothing else is published with it.
fn add_at_once(counter: &AtomicU32) {
    counter.fetch_add(1, Ordering::Relaxed);
}

#[cfg(not(steadfast_loom))]
fn main() {
    const TIMES: u32 = 1_000_000;

    for (name, add) in [
        ("load, then store", add_in_steps as fn(&AtomicU32)),
        ("fetch_add", add_at_once),
    ] {
        let counter = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| (0..TIMES).for_each(|_| add(&counter)));
            }
        });
        let lost = 2 * TIMES - counter.into_inner();
        println!("{name}: {lost} of {} additions lost", 2 * TIMES);
    }
}

#[cfg(steadfast_loom)]
fn main() {}

#[cfg(all(test, steadfast_loom))]
mod tests {
    use loom::sync::Arc;
    use loom::thread;

    use super::*;

    fn count(add: fn(&AtomicU32)) -> u32 {
        let counter = Arc::new(AtomicU32::new(0));
        let other = counter.clone();
        let thread = thread::spawn(move || add(&other));
        add(&counter);
        thread.join().unwrap();
        counter.load(Ordering::Relaxed)
    }

    #[test]
    #[should_panic(expected = "an addition was lost")]
    fn loom_finds_the_lost_addition() {
        loom::model(|| assert_eq!(count(add_in_steps), 2, "an addition was lost"));
    }

    #[test]
    fn loom_finds_no_way_to_lose_an_addition_made_in_one_step() {
        loom::model(|| assert_eq!(count(add_at_once), 2));
    }
}
