//! Synchronous scope: cleanups registered one by one, run last-in-first-out.
//!
//! Figures are per entry with the whole of the scope in them, its set-up as well. The budget
//! is judged where several entries share that set-up; with a single one it would be a budget
//! on the set-up.

use std::hint::black_box;
use std::panic::{AssertUnwindSafe, catch_unwind};

use scopeguard::guard;

use crate::budget::Budget;
use crate::golang::Go;
use crate::work::tally;
use crate::{Contender, Group, ours};

/// A cleanup as one stores it without a crate.
type Cleanup = Box<dyn FnOnce() + Send>;

pub(super) fn groups(go: Option<&Go>) -> Vec<Group> {
    vec![
        group::<1>(go.map(|go| go.contender("Go defer in a loop", "defer_1"))),
        group::<4>(go.map(|go| go.contender("Go defer in a loop", "defer_4")))
            .budget(Budget::AtMost { ns: 20.0 }),
        group::<16>(go.map(|go| go.contender("Go defer in a loop", "defer_16")))
            .budget(Budget::AtMost { ns: 20.0 }),
    ]
}

fn group<const ENTRIES: u64>(go: Option<Contender>) -> Group {
    Group::new(format!("scope, {ENTRIES} sync"), "entry")
        .units_per_iteration(ENTRIES)
        .allocations_per("scope", ENTRIES)
        .ours(ours::scope_sync::<ENTRIES>())
        .peer(Contender::new(
            "Vec<Box<dyn FnOnce>> reversed",
            reversed::<ENTRIES>,
        ))
        .peer(Contender::new(
            "the same, each caught",
            reversed_and_caught::<ENTRIES>,
        ))
        .peer(Contender::new(
            "scopeguard, nested calls",
            nested_guards::<ENTRIES>,
        ))
        .peer_if(go)
        .budget(Budget::Allocations { count: 1.0 })
}

fn reversed<const ENTRIES: u64>(scopes: u64) -> u64 {
    for _ in 0..scopes {
        let mut cleanups = registered(ENTRIES);
        while let Some(cleanup) = cleanups.pop() {
            cleanup();
        }
    }
    tally().take()
}

/// What it takes at least for a panic in one cleanup to spare the others.
fn reversed_and_caught<const ENTRIES: u64>(scopes: u64) -> u64 {
    for _ in 0..scopes {
        let mut cleanups = registered(ENTRIES);
        while let Some(cleanup) = cleanups.pop() {
            let _ = black_box(catch_unwind(AssertUnwindSafe(cleanup)));
        }
    }
    tally().take()
}

/// A guard lives in a frame, so entries whose number is known at run time alone need a frame
/// each.
fn nested_guards<const ENTRIES: u64>(scopes: u64) -> u64 {
    for _ in 0..scopes {
        nest(black_box(ENTRIES));
    }
    tally().take()
}

#[inline(never)]
fn nest(entries: u64) {
    let tally = tally();
    let _guard = guard(black_box(entries), |entry| {
        black_box(entry);
        tally.add();
    });
    if entries > 1 {
        nest(entries - 1);
    }
}

/// Cleanups carry a reference and a number: enough that their boxes are real allocations.
pub(super) fn registered(entries: u64) -> Vec<Cleanup> {
    let mut cleanups: Vec<Cleanup> = Vec::new();
    for entry in 0..black_box(entries) {
        let tally = tally();
        cleanups.push(Box::new(move || {
            black_box(entry);
            tally.add();
        }));
    }
    cleanups
}
