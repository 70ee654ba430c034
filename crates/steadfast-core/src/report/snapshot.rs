use crate::context::Name;

use super::catalogue::{MetricDoc, MetricKind};

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
    /// How many values did not fit into [`METRICS_MAX`](super::METRICS_MAX).
    pub left_out: usize,
    /// What it says about its metrics.
    pub docs: &'static [MetricDoc],
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
#[derive(Debug, Clone, PartialEq)]
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
    /// How many values there were of which size.
    Histogram(Buckets),
}

/// How many values there were up to each of some bounds, and their sum.
///
/// # Examples
/// ```
/// # use steadfast_core as steadfast;
/// use steadfast::report::Buckets;
///
/// const BOUNDS: &[f64] = &[0.1, 1.0];
/// let buckets = Buckets::new(BOUNDS, [5, 3, 1], 4.5);
///
/// let up_to: Vec<_> = buckets.cumulative().collect();
/// assert_eq!(up_to, [(0.1, 5), (1.0, 8), (f64::INFINITY, 9)]);
/// assert_eq!(buckets.count(), 9);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Buckets {
    bounds: &'static [f64],
    counts: Box<[u64]>,
    sum: f64,
}

impl Snapshot {
    /// Gives the values of all sources.
    pub fn metrics(&self) -> impl Iterator<Item = &Metric> {
        self.sources.iter().flat_map(|source| &source.metrics)
    }

    /// Gives where sources and their descriptions differ: what a source that describes its metrics
    /// tells without a description, or otherwise than described. For tests of sources.
    pub fn undescribed(&self) -> Vec<String> {
        let described = self.sources.iter().filter(|source| !source.docs.is_empty());
        let differs = described.flat_map(|source| {
            let metrics = source.metrics.iter();
            metrics.filter_map(|metric| metric.differs_from(source.docs))
        });
        let mut differs: Vec<_> = differs.collect();
        differs.sort();
        differs.dedup();
        differs
    }
}

impl Metric {
    fn differs_from(&self, docs: &[MetricDoc]) -> Option<String> {
        let name = self.name;
        let Some(doc) = docs.iter().find(|doc| doc.name == name) else {
            return Some(format!("{name} is told and not described"));
        };
        if doc.kind != self.value.kind() {
            let (told, described) = (self.value.kind(), doc.kind);
            return Some(format!(
                "{name} is told as {told}, described as {described}"
            ));
        }
        let labels: Vec<_> = self.labels.iter().map(|(label, _)| *label).collect();
        (labels != doc.labels).then(|| {
            format!(
                "{name} is told with the labels {labels:?}, described with {:?}",
                doc.labels
            )
        })
    }
}

impl Value {
    /// Tells how the value behaves.
    pub fn kind(&self) -> MetricKind {
        match self {
            Self::Counter(_) | Self::Sum(_) => MetricKind::Counter,
            Self::Gauge(_) | Self::Armed(_) => MetricKind::Gauge,
            Self::Histogram(_) => MetricKind::Histogram,
        }
    }
}

impl Buckets {
    /// The bounds that OpenTelemetry recommends for the duration of HTTP requests, in seconds.
    pub const HTTP_SECONDS: &'static [f64] = &[
        0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
    ];

    /// Takes a number for each bound, of the values above the bound before and up to this one, a
    /// last number of those above all bounds, and the sum of all values. Bounds rise. Numbers that
    /// are missing are 0, and those beyond the last are left out.
    pub fn new(bounds: &'static [f64], counts: impl Into<Vec<u64>>, sum: f64) -> Self {
        let mut counts = counts.into();
        counts.resize(bounds.len() + 1, 0);
        Self {
            bounds,
            counts: counts.into(),
            sum,
        }
    }

    /// Gives how many values there were up to each bound, the last one infinite.
    pub fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> {
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        let counts = self.counts.iter().scan(0_u64, |sum, count| {
            *sum = sum.saturating_add(*count);
            Some(*sum)
        });
        bounds.zip(counts)
    }

    /// Gives how many values there were.
    pub fn count(&self) -> u64 {
        self.counts
            .iter()
            .fold(0_u64, |sum, count| sum.saturating_add(*count))
    }

    /// Gives the sum of all values.
    pub fn sum(&self) -> f64 {
        self.sum
    }

    /// Adds what another one has counted; gives whether their bounds are the same, without which
    /// they cannot be added.
    pub fn merge(&mut self, other: &Self) -> bool {
        if self.bounds != other.bounds {
            return false;
        }
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count = count.saturating_add(*more);
        }
        self.sum += other.sum;
        true
    }
}
