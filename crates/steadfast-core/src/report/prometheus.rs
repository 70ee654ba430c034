//! The text that Prometheus scrapes.
//!
//! [`text`] writes a [`Snapshot`] in the exposition format 0.0.4, which Prometheus and everything
//! that speaks like it reads. It is a function of the snapshot alone: whoever serves it decides
//! when, on which route and to whom.
//!
//! What no scraper would take never leaves: a name or label with characters that may not stand
//! there gets `_` in their place, and values that would come twice under equal labels, because two
//! sources tell them, become one. Counters and histograms are added up; of a protection that is in
//! force in one place and not in the other, the answer is no; gauges are added up, too, but of
//! those that end in `_seconds` the longest stays.
//!
//! # Examples
//! ```
//! # use steadfast_core as steadfast;
//! use steadfast::report::{self, prometheus};
//!
//! let text = prometheus::text(&report::snapshot());
//!
//! assert!(text.contains("# TYPE steadfast_reaper_scopes gauge\nsteadfast_reaper_scopes 0\n"));
//! ```

use std::collections::BTreeMap;
use std::fmt::Write;

use super::{Buckets, Metric, MetricDoc, MetricKind, Snapshot, Value};

/// The `content-type` of [`text`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The longest text: 16 MiB, some 100,000 values, beyond what a scraper should take from one
/// process. What does not fit is left out by whole values, and counted in
/// `steadfast_report_unwritten_values`.
pub const BYTES_MAX: usize = 16 * 1024 * 1024;

/// What the writer tells about itself, at the end of every text.
pub(crate) const METRICS: &[MetricDoc] = &[MetricDoc::gauge(
    UNWRITTEN,
    &[],
    "Values that are missing in this answer, because it was full or two sources contradict each other.",
)];

const UNWRITTEN: &str = "steadfast_report_unwritten_values";

/// Room for the last family, which is always written.
const END_BYTES: usize = 512;

/// Writes all values of a snapshot, each family together, in the order of their names.
pub fn text(snapshot: &Snapshot) -> String {
    text_within(snapshot, BYTES_MAX)
}

fn text_within(snapshot: &Snapshot, bytes_max: usize) -> String {
    let (families, mut unwritten) = families(snapshot);
    let (mut text, mut part) = (String::new(), String::new());
    for (name, family) in &families {
        let mut is_headed = false;
        for (labels, value) in &family.samples {
            part.clear();
            if !is_headed {
                write_head(&mut part, name, family.kind, family.help);
            }
            write_value(&mut part, name, labels, value);
            if text.len() + part.len() + END_BYTES > bytes_max {
                unwritten += 1;
                continue;
            }
            text.push_str(&part);
            is_headed = true;
        }
    }
    write_head(&mut text, UNWRITTEN, MetricKind::Gauge, METRICS[0].help);
    write_line(&mut text, UNWRITTEN, "", unwritten as f64);
    text
}

/// All that is told under one name, by its labels as they are written.
struct Family {
    kind: MetricKind,
    help: &'static str,
    samples: BTreeMap<String, Value>,
}

/// Puts together what belongs together; gives how many values contradict others.
fn families(snapshot: &Snapshot) -> (BTreeMap<String, Family>, usize) {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut unwritten = 0;
    for source in &snapshot.sources {
        for metric in &source.metrics {
            let name = permitted(metric.name, true);
            let kind = metric.value.kind();
            let family = families.entry(name.clone()).or_insert_with(|| Family {
                kind,
                help: help_of(source.docs, metric),
                samples: BTreeMap::new(),
            });
            let is_told = family.kind == kind && name != UNWRITTEN && family.add(&name, metric);
            unwritten += usize::from(!is_told);
        }
    }
    families.remove(UNWRITTEN);
    // The lines of a histogram have names of their own, which belong to nobody else.
    let histograms = families.iter();
    let histograms = histograms.filter(|(_, family)| family.kind == MetricKind::Histogram);
    let taken = histograms
        .flat_map(|(name, _)| ["bucket", "sum", "count"].map(|part| format!("{name}_{part}")));
    for name in taken.collect::<Vec<_>>() {
        unwritten += families
            .remove(&name)
            .map_or(0, |family| family.samples.len());
    }
    (families, unwritten)
}

fn help_of(docs: &'static [MetricDoc], metric: &Metric) -> &'static str {
    let doc = docs.iter().find(|doc| doc.name == metric.name);
    doc.map_or("", |doc| doc.help)
}

impl Family {
    /// Adds a value to what is told under equal labels; gives whether that is possible.
    fn add(&mut self, name: &str, metric: &Metric) -> bool {
        let labels = labels_of(metric, self.kind);
        let Some(told) = self.samples.get_mut(&labels) else {
            self.samples.insert(labels, metric.value.clone());
            return true;
        };
        match (&mut *told, &metric.value) {
            (Value::Counter(sum), Value::Counter(more)) => *sum = sum.saturating_add(*more),
            (Value::Armed(all), Value::Armed(this)) => *all &= this,
            (Value::Histogram(sum), Value::Histogram(more)) => return sum.merge(more),
            (_, other) => {
                let (one, other) = (number(told), number(other));
                let is_longest = self.kind == MetricKind::Gauge && name.ends_with("_seconds");
                let both = if is_longest {
                    one.max(other)
                } else {
                    one + other
                };
                *told = match self.kind {
                    MetricKind::Counter => Value::Sum(both),
                    _ => Value::Gauge(both),
                };
            }
        }
        true
    }
}

/// Writes the labels of a value in the order of their names. An empty label is one that is not
/// there, says Prometheus.
fn labels_of(metric: &Metric, kind: MetricKind) -> String {
    let labels = metric.labels.iter();
    let labels = labels.filter(|(_, value)| !value.as_str().is_empty());
    let mut labels: Vec<_> = labels
        .map(|(label, value)| (label_of(label, kind), value.as_str()))
        .collect();
    labels.sort();
    labels.dedup_by(|later, first| later.0 == first.0);
    let mut written = String::new();
    for (label, value) in labels {
        let comma = if written.is_empty() { "" } else { "," };
        let _ = write!(written, "{comma}{label}=\"");
        for char in value.chars() {
            match char {
                '\\' => written.push_str("\\\\"),
                '"' => written.push_str("\\\""),
                '\n' => written.push_str("\\n"),
                char => written.push(char),
            }
        }
        written.push('"');
    }
    written
}

/// The label `le` belongs to the buckets of a histogram.
fn label_of(label: &str, kind: MetricKind) -> String {
    match permitted(label, false) {
        taken if taken == "le" && kind == MetricKind::Histogram => "le_".to_owned(),
        label => label,
    }
}

/// Gives a name in which only characters stand that may: letters, digits and `_`, in the name of a
/// metric colons, and no digit first.
fn permitted(name: &str, colons: bool) -> String {
    let is_permitted = |char: char| char.is_ascii_alphanumeric() || char == '_';
    let chars = name.chars().map(|char| match char {
        ':' if colons => ':',
        char if is_permitted(char) => char,
        _ => '_',
    });
    let begins_badly = name.is_empty() || name.starts_with(|first: char| first.is_ascii_digit());
    let first = begins_badly.then_some('_');
    first.into_iter().chain(chars).collect()
}

fn write_head(text: &mut String, name: &str, kind: MetricKind, help: &str) {
    if !help.is_empty() {
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        let _ = writeln!(text, "# HELP {name} {help}");
    }
    let _ = writeln!(text, "# TYPE {name} {kind}");
}

fn write_value(text: &mut String, name: &str, labels: &str, value: &Value) {
    match value {
        Value::Histogram(buckets) => write_histogram(text, name, labels, buckets),
        Value::Counter(count) => {
            write_series(text, name, labels);
            let _ = writeln!(text, " {count}");
        }
        other => write_line(text, name, labels, number(other)),
    }
}

fn write_histogram(text: &mut String, name: &str, labels: &str, buckets: &Buckets) {
    let comma = if labels.is_empty() { "" } else { "," };
    let (bucket, sum, count) = ("_bucket", "_sum", "_count");
    for (bound, up_to) in buckets.cumulative() {
        let bound = Number(bound);
        let labels = format!("{labels}{comma}le=\"{bound}\"");
        write_series(text, &format!("{name}{bucket}"), &labels);
        let _ = writeln!(text, " {up_to}");
    }
    write_line(text, &format!("{name}{sum}"), labels, buckets.sum());
    write_series(text, &format!("{name}{count}"), labels);
    let _ = writeln!(text, " {}", buckets.count());
}

fn write_line(text: &mut String, name: &str, labels: &str, value: f64) {
    write_series(text, name, labels);
    let _ = writeln!(text, " {}", Number(value));
}

fn write_series(text: &mut String, name: &str, labels: &str) {
    text.push_str(name);
    if !labels.is_empty() {
        let _ = write!(text, "{{{labels}}}");
    }
}

fn number(value: &Value) -> f64 {
    match value {
        Value::Counter(count) => *count as f64,
        Value::Sum(number) | Value::Gauge(number) => *number,
        Value::Armed(armed) => f64::from(u8::from(*armed)),
        Value::Histogram(buckets) => buckets.sum(),
    }
}

/// A number in the spelling of the format.
struct Number(f64);

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            nan if nan.is_nan() => f.write_str("NaN"),
            f64::INFINITY => f.write_str("+Inf"),
            f64::NEG_INFINITY => f.write_str("-Inf"),
            // Not hundreds of zeros.
            extreme if extreme != 0.0 && !(1e-9..1e17).contains(&extreme.abs()) => {
                write!(f, "{extreme:e}")
            }
            usual => write!(f, "{usual}"),
        }
    }
}

#[cfg(test)]
mod tests;
