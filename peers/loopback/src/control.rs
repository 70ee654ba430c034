//! What a service tells about itself, on a listener of its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::routing::get;
use axum::{Json, Router};

/// Counts by name, from many threads.
#[derive(Clone, Default)]
pub(crate) struct Counts(Arc<[(&'static str, AtomicU64)]>);

impl Counts {
    pub(crate) fn new<const N: usize>(names: [&'static str; N]) -> Self {
        Self(names.map(|name| (name, AtomicU64::new(0))).into())
    }

    /// Adds to a count.
    pub(crate) fn add(&self, name: &str, more: u64) {
        let found = self.0.iter().find(|(of, _)| *of == name);
        let (_, count) = found.expect("a count that was named");
        count.fetch_add(more, Ordering::Relaxed);
    }

    /// Tells them at `/counts`.
    pub(crate) fn router(&self) -> Router {
        let counts = self.clone();
        Router::new().route("/counts", get(async move || Json(counts.snapshot())))
    }

    fn snapshot(&self) -> BTreeMap<&'static str, u64> {
        let counts = self.0.iter();
        counts
            .map(|(name, count)| (*name, count.load(Ordering::Relaxed)))
            .collect()
    }
}
