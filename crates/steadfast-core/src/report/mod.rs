//! What every part tells about itself, in one place where anybody can look.
//!
//! A pool that knows its depth, a breaker that knows its state and a supervisor that knows its
//! restarts are of no use at night if each must be asked in its own way. Every part registers
//! itself as a [`Source`]; whoever wants to know, such as the [text for Prometheus](prometheus),
//! pulls the same [`snapshot`]. Pulling costs the parts nothing while nobody looks.
//!
//! A source says what its metrics are in [`describe`](Source::describe); the [`catalogue`] of ours
//! is made of that.
//!
//! # Examples
//! ```
//! # use steadfast_core as steadfast;
//! use std::sync::Arc;
//! use steadfast::report::{self, Collector, MetricDoc, Source, Value};
//!
//! const METRICS: &[MetricDoc] = &[
//!     MetricDoc::counter("orders_total", &[], "Orders that were taken."),
//!     MetricDoc::gauge("orders_open", &["shop"], "Orders that are not shipped."),
//! ];
//!
//! struct Orders;
//! impl Source for Orders {
//!     fn collect(&self, to: &mut Collector) {
//!         to.counter("orders_total", 3);
//!         to.labels([("shop", "berlin".into())]).gauge("orders_open", 1.0);
//!     }
//!
//!     fn describe(&self) -> &'static [MetricDoc] {
//!         METRICS
//!     }
//! }
//!
//! let orders = Arc::new(Orders);
//! report::register("orders", &orders).unwrap();
//! let snapshot = report::snapshot();
//! let total = snapshot.metrics().find(|metric| metric.name == "orders_total").unwrap();
//! assert_eq!(total.value, Value::Counter(3));
//!
//! let text = report::prometheus::text(&snapshot);
//! assert!(text.contains("# HELP orders_total Orders that were taken.\n"));
//! assert!(text.contains("orders_open{shop=\"berlin\"} 1\n"));
//! ```

pub mod catalogue;
mod collector;
mod kernel;
pub mod prometheus;
mod snapshot;

pub use catalogue::{EventDoc, MetricDoc, MetricKind};
pub use collector::{Collector, Labeled};
pub use snapshot::{Buckets, Metric, Snapshot, SourceSnapshot, Value};

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::context::Name;
use crate::{panic, recover};

/// How many sources there can be: 1,024, far above what one process has of pools, breakers and
/// supervisors; dropped ones make room.
pub const SOURCES_MAX: usize = 1_024;

/// How many metrics one source tells in a snapshot: 10,000; the rest is left out and counted.
pub const METRICS_MAX: usize = 10_000;

/// A part that tells about itself.
pub trait Source: Send + Sync {
    /// Tells the present values. Called by whoever takes a snapshot, on its thread: it must not
    /// wait. If it panics, its source is missing from that snapshot, and the panic is reported.
    fn collect(&self, to: &mut Collector);

    /// Says what its metrics are: the text for Prometheus has it in its `HELP` lines. Without it
    /// there are none.
    fn describe(&self) -> &'static [MetricDoc] {
        &[]
    }
}

/// Says that [`SOURCES_MAX`] sources are registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{SOURCES_MAX} sources are registered already")]
pub struct FullError(());

struct Registered {
    name: Name,
    source: Weak<dyn Source>,
}

static SOURCES: Mutex<Vec<Registered>> = Mutex::new(Vec::new());

fn sources() -> MutexGuard<'static, Vec<Registered>> {
    SOURCES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Registers a source until its last `Arc` is dropped. Two sources may have one name; their
/// labels should tell them apart.
///
/// # Errors
/// [`FullError`]; retrying helps once another source was dropped.
pub fn register<S: Source + 'static>(
    name: impl Into<Name>,
    source: &Arc<S>,
) -> Result<(), FullError> {
    let name = name.into();
    let mut sources = sources();
    if sources.len() >= SOURCES_MAX {
        sources.retain(|known| known.source.strong_count() > 0);
    }
    if sources.len() >= SOURCES_MAX {
        return Err(FullError(()));
    }
    let source: Arc<dyn Source> = source.clone();
    sources.push(Registered {
        name,
        source: Arc::downgrade(&source),
    });
    Ok(())
}

/// Asks every source for its present values.
pub fn snapshot() -> Snapshot {
    let mut live = Vec::new();
    sources().retain(|known| match known.source.upgrade() {
        Some(source) => {
            live.push((known.name, source));
            true
        }
        None => false,
    });
    // Not under the lock: a source may register another one.
    let (mut sources, mut missing) = (Vec::with_capacity(1 + live.len()), 0);
    for (name, source) in live {
        let mut collector = Collector::default();
        let told = recover(|| {
            source.collect(&mut collector);
            source.describe()
        });
        match told {
            Ok(docs) => sources.push(collector.into_source(name, docs)),
            Err(_) => missing += 1,
        }
        // Perhaps the last reference by now.
        panic::drop_contained(source);
    }
    sources.insert(0, kernel::tell(&sources, missing));
    Snapshot { sources }
}
