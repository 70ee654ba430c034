use crate::context::Name;

use super::{Buckets, METRICS_MAX, Metric, MetricDoc, SourceSnapshot, Value};

/// Takes the values of one source; handed to [`Source::collect`](super::Source::collect).
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

    /// Tells how many values there were of which size.
    pub fn histogram(&mut self, name: &'static str, buckets: Buckets) -> &mut Self {
        self.push(name, Vec::new(), Value::Histogram(buckets));
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

    pub(super) fn into_source(self, name: Name, docs: &'static [MetricDoc]) -> SourceSnapshot {
        SourceSnapshot {
            name,
            docs,
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

    /// Tells how many values there were of which size.
    pub fn histogram(&mut self, name: &'static str, buckets: Buckets) -> &mut Self {
        self.push(name, Value::Histogram(buckets))
    }

    fn push(&mut self, name: &'static str, value: Value) -> &mut Self {
        self.collector.push(name, self.labels.clone(), value);
        self
    }
}
