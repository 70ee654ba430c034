//! What every part tells about itself, in one place where anybody can look.
//!
//! A pool that knows its depth, a breaker that knows its state and a supervisor that knows its
//! restarts are of no use at night if each must be asked in its own way. Every part registers
//! itself as a [`Source`]; the Prometheus text, the rollups and the console all pull the same
//! [`snapshot`]. Pulling costs the parts nothing while nobody looks.
//!
//! # Examples
//! ```
//! # use steadfast_core as steadfast;
//! use std::sync::Arc;
//! use steadfast::report::{self, Collector, Source, Value};
//!
//! struct Orders;
//! impl Source for Orders {
//!     fn collect(&self, to: &mut Collector) {
//!         to.counter("orders_total", 3);
//!         to.labels([("shop", "berlin".into())]).gauge("orders_open", 1.0);
//!     }
//! }
//!
//! let orders = Arc::new(Orders);
//! report::register("orders", &orders).unwrap();
//! let snapshot = report::snapshot();
//! let total = snapshot.metrics().find(|metric| metric.name == "orders_total").unwrap();
//! assert_eq!(total.value, Value::Counter(3));
//! ```

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::context::Name;
use crate::{panic, reaper, recover, text};

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
    let mut sources = vec![kernel()];
    for (name, source) in live {
        let mut collector = Collector::default();
        if recover(|| source.collect(&mut collector)).is_ok() {
            sources.push(collector.into_source(name));
        }
        // Perhaps the last reference by now.
        panic::drop_contained(source);
    }
    Snapshot { sources }
}

/// What the kernel tells about itself.
fn kernel() -> SourceSnapshot {
    let mut collector = Collector::default();
    collector.gauge("steadfast_reaper_scopes", reaper::in_flight() as f64);
    for ((place, kind), (count, contained)) in panics(&panic::groups()) {
        collector
            .labels([("place", place), ("kind", kind.into())])
            .counter("steadfast_panics_total", count)
            .counter("steadfast_panics_contained_total", contained);
    }
    collector.into_source("kernel".into())
}

/// Sums up the panics of each place and kind. Places that look the same once their path is cut
/// to the length of a name are one: equal labels must not come twice.
fn panics(groups: &[panic::Group]) -> BTreeMap<(Name, &'static str), (u64, u64)> {
    let mut sums = BTreeMap::new();
    for group in groups {
        let place = match &group.location {
            Some(location) => {
                let text = location.to_string();
                Name::from(text::tail(&text, Name::DYNAMIC_BYTES_MAX).to_owned())
            }
            None => Name::OTHER,
        };
        let sum: &mut (u64, u64) = sums.entry((place, group.kind.as_str())).or_default();
        sum.0 += group.count;
        sum.1 += group.contained;
    }
    sums
}

/// Takes the values of one source; handed to [`Source::collect`].
#[derive(Debug, Default)]
pub struct Collector {
    metrics: Vec<Metric>,
    left_out: usize,
}

impl Collector {
    /// Tells a number that only grows while the process lives.
    pub fn counter(&mut self, name: &'static str, value: u64) -> &mut Self {
        self.push(name, Vec::new(), Value::Counter(value));
        self
    }

    /// Tells a sum of fractions, such as seconds, that only grows while the process lives.
    pub fn sum(&mut self, name: &'static str, value: f64) -> &mut Self {
        self.push(name, Vec::new(), Value::Sum(value));
        self
    }

    /// Tells a number that goes up and down.
    pub fn gauge(&mut self, name: &'static str, value: f64) -> &mut Self {
        self.push(name, Vec::new(), Value::Gauge(value));
        self
    }

    /// Tells whether a protection is in force.
    pub fn armed(&mut self, name: &'static str, armed: bool) -> &mut Self {
        self.push(name, Vec::new(), Value::Armed(armed));
        self
    }

    /// Tells values under labels, which must come from bounded sets.
    pub fn labels<const N: usize>(&mut self, labels: [(&'static str, Name); N]) -> Labeled<'_> {
        Labeled {
            collector: self,
            labels: labels.to_vec(),
        }
    }

    fn push(&mut self, name: &'static str, labels: Vec<(&'static str, Name)>, value: Value) {
        if self.metrics.len() == METRICS_MAX {
            self.left_out += 1;
            return;
        }
        self.metrics.push(Metric {
            name,
            labels,
            value,
        });
    }

    fn into_source(self, name: Name) -> SourceSnapshot {
        SourceSnapshot {
            name,
            metrics: self.metrics,
            left_out: self.left_out,
        }
    }
}

/// Takes values under labels; made by [`Collector::labels`].
#[derive(Debug)]
pub struct Labeled<'a> {
    collector: &'a mut Collector,
    labels: Vec<(&'static str, Name)>,
}

impl Labeled<'_> {
    /// Tells a number that only grows while the process lives.
    pub fn counter(&mut self, name: &'static str, value: u64) -> &mut Self {
        self.push(name, Value::Counter(value))
    }

    /// Tells a sum of fractions, such as seconds, that only grows while the process lives.
    pub fn sum(&mut self, name: &'static str, value: f64) -> &mut Self {
        self.push(name, Value::Sum(value))
    }

    /// Tells a number that goes up and down.
    pub fn gauge(&mut self, name: &'static str, value: f64) -> &mut Self {
        self.push(name, Value::Gauge(value))
    }

    /// Tells whether a protection is in force.
    pub fn armed(&mut self, name: &'static str, armed: bool) -> &mut Self {
        self.push(name, Value::Armed(armed))
    }

    fn push(&mut self, name: &'static str, value: Value) -> &mut Self {
        self.collector.push(name, self.labels.clone(), value);
        self
    }
}

/// The values of all sources at one moment.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Snapshot {
    /// One for each source, the kernel's own first.
    pub sources: Vec<SourceSnapshot>,
}

/// The values of one source at one moment.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SourceSnapshot {
    /// The name it was registered with.
    pub name: Name,
    /// Its values, in the order in which it told them.
    pub metrics: Vec<Metric>,
    /// How many values did not fit into [`METRICS_MAX`].
    pub left_out: usize,
}

/// One value.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Metric {
    /// The name, in the style of Prometheus, with its unit last.
    pub name: &'static str,
    /// What tells it apart from others of that name.
    pub labels: Vec<(&'static str, Name)>,
    /// The value.
    pub value: Value,
}

/// A value and what it means.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// Only grows while the process lives.
    Counter(u64),
    /// Only grows while the process lives, in fractions.
    Sum(f64),
    /// Goes up and down.
    Gauge(f64),
    /// Whether a protection is in force.
    Armed(bool),
}

impl Snapshot {
    /// Gives the values of all sources.
    pub fn metrics(&self) -> impl Iterator<Item = &Metric> {
        self.sources.iter().flat_map(|source| &source.metrics)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_that_look_the_same_once_they_are_cut_are_counted_as_one() {
        let deep = |root: &str| panic::Group::at(&format!("/{root}{}/lib.rs", "/deep".repeat(20)));
        let groups = [deep("a"), deep("b"), panic::Group::at("src/lib.rs")];

        let sums = panics(&groups);

        let mut counts: Vec<_> = sums.values().map(|(count, _)| *count).collect();
        counts.sort_unstable();
        assert_eq!(counts, [1, 2]);
        assert!(
            sums.keys()
                .all(|(place, _)| place.as_str().ends_with("lib.rs:1:1"))
        );
    }
}
