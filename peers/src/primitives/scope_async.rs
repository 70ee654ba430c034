//! Asynchronous scope: the same, where the body awaits and cleanups may.

use std::hint::black_box;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use scopeguard::guard;

use super::scope::registered;
use crate::budget::Budget;
use crate::work::{on_one_thread, tally};
use crate::{Group, ours};

pub(super) fn groups() -> Vec<Group> {
    vec![
        group::<1>(),
        group::<4>().budget(Budget::AtMost { ns: 20.0 }),
        group::<16>().budget(Budget::AtMost { ns: 20.0 }),
    ]
}

fn group<const ENTRIES: u64>() -> Group {
    Group::new(format!("scope, {ENTRIES} async"), "entry")
        .units_per_iteration(ENTRIES)
        .allocations_per("scope", ENTRIES)
        .ours(ours::scope_async::<ENTRIES>())
        .peer(on_one_thread(
            "Vec<Box<dyn FnOnce>> reversed",
            reversed::<ENTRIES>,
        ))
        .peer(on_one_thread(
            "Vec<BoxFuture> reversed",
            reversed_futures::<ENTRIES>,
        ))
        .peer(on_one_thread(
            "scopeguard over a Vec",
            guarded_vec::<ENTRIES>,
        ))
        .budget(Budget::Allocations { count: 1.0 })
}

/// Nothing is cleaned up if the future is dropped at the await.
async fn reversed<const ENTRIES: u64>(scopes: u64) -> u64 {
    for _ in 0..scopes {
        let mut cleanups = registered(ENTRIES);
        body().await;
        while let Some(cleanup) = cleanups.pop() {
            cleanup();
        }
    }
    tally().take()
}

/// Cleanups may await, and are lost if the future is dropped.
async fn reversed_futures<const ENTRIES: u64>(scopes: u64) -> u64 {
    for _ in 0..scopes {
        let mut cleanups: Vec<BoxFuture<'static, ()>> = Vec::new();
        for entry in 0..black_box(ENTRIES) {
            let tally = tally();
            let cleanup = async move {
                black_box(entry);
                tally.add();
            };
            cleanups.push(cleanup.boxed());
        }
        body().await;
        while let Some(cleanup) = cleanups.pop() {
            cleanup.await;
        }
    }
    tally().take()
}

/// Runs its cleanups when the future is dropped, too; they cannot await.
async fn guarded_vec<const ENTRIES: u64>(scopes: u64) -> u64 {
    for _ in 0..scopes {
        let cleanups = guard(registered(ENTRIES), |mut cleanups| {
            while let Some(cleanup) = cleanups.pop() {
                cleanup();
            }
        });
        body().await;
        drop(cleanups);
    }
    tally().take()
}

async fn body() {
    black_box(());
}
