use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::context::Name;
use crate::report::{Collector, SourceSnapshot};

const BOUNDS: &[f64] = &[0.1, 1.0, 2.5];

const DOCS: &[MetricDoc] = &[
    MetricDoc::counter("orders_total", &["shop"], "Orders, \\ and\nmore."),
    MetricDoc::histogram("wait_seconds", &[], "Waits."),
];

fn source(tell: impl FnOnce(&mut Collector)) -> SourceSnapshot {
    let mut collector = Collector::default();
    tell(&mut collector);
    collector.into_source("source".into(), DOCS)
}

fn written(sources: Vec<SourceSnapshot>) -> String {
    let text = text(&Snapshot { sources });
    let end = format!("# HELP {UNWRITTEN}");
    text.split(&end).next().unwrap().to_owned()
}

fn unwritten(text: &str) -> usize {
    let line = text.lines().last().unwrap();
    line.strip_prefix(UNWRITTEN)
        .unwrap()
        .trim()
        .parse()
        .unwrap()
}

#[test]
fn values_are_written_by_family_whoever_tells_them() {
    let berlin = source(|to| {
        to.labels([("shop", "berlin".into())])
            .counter("orders_total", 3);
        to.gauge("orders_open", 1.5).armed("orders_armed", true);
    });
    let paris = source(|to| {
        to.labels([("shop", "paris".into())])
            .counter("orders_total", 4);
        to.sum("orders_value_total", 0.25);
    });

    assert_eq!(
        written(vec![berlin, paris]),
        "# TYPE orders_armed gauge\norders_armed 1\n\
         # TYPE orders_open gauge\norders_open 1.5\n\
         # HELP orders_total Orders, \\\\ and\\nmore.\n# TYPE orders_total counter\n\
         orders_total{shop=\"berlin\"} 3\norders_total{shop=\"paris\"} 4\n\
         # TYPE orders_value_total counter\norders_value_total 0.25\n"
    );
}

#[test]
fn a_histogram_is_written_with_all_its_lines() {
    let told = source(|to| {
        let buckets = Buckets::new(BOUNDS, [1, 2, 0, 4], 12.5);
        to.labels([("le", "x".into())])
            .histogram("wait_seconds", buckets);
        to.counter("wait_seconds_count", 1);
    });

    let text = text(&Snapshot {
        sources: vec![told],
    });

    assert!(text.starts_with(
        "# HELP wait_seconds Waits.\n# TYPE wait_seconds histogram\n\
         wait_seconds_bucket{le_=\"x\",le=\"0.1\"} 1\n\
         wait_seconds_bucket{le_=\"x\",le=\"1\"} 3\n\
         wait_seconds_bucket{le_=\"x\",le=\"2.5\"} 3\n\
         wait_seconds_bucket{le_=\"x\",le=\"+Inf\"} 7\n\
         wait_seconds_sum{le_=\"x\"} 12.5\nwait_seconds_count{le_=\"x\"} 7\n"
    ));
    assert_eq!(unwritten(&text), 1, "the name is one of the histogram's");
}

#[test]
fn what_two_sources_tell_under_equal_labels_is_written_once() {
    let one = |ready: bool, seconds: f64| {
        source(|to| {
            to.counter("orders_total", 3).gauge("open", 2.0);
            to.armed("armed", ready).gauge("timeout_seconds", seconds);
            to.sum("spent_seconds_total", 0.5);
            to.histogram("wait_seconds", Buckets::new(BOUNDS, [1], 0.05));
        })
    };

    let text = written(vec![one(true, 1.0), one(false, 2.0)]);

    for line in [
        "orders_total 6",
        "open 4",
        "armed 0",
        "timeout_seconds 2",
        "spent_seconds_total 1",
        "wait_seconds_count 2",
    ] {
        assert!(text.lines().any(|told| told == line), "{line} in\n{text}");
    }
}

#[test]
fn a_value_that_contradicts_its_family_is_left_out_and_counted() {
    let told = source(|to| {
        to.counter("x", 1).gauge("x", 2.0);
        to.gauge(UNWRITTEN, 9.0);
    });

    let text = text(&Snapshot {
        sources: vec![told],
    });

    assert!(text.starts_with("# TYPE x counter\nx 1\n# HELP"));
    assert_eq!(unwritten(&text), 2);
}

#[test]
fn the_text_is_bounded_and_says_what_is_missing() {
    let many = source(|to| {
        for number in 0..1_000_u32 {
            let name = Name::from(format!("{}", number % 100));
            to.labels([("number", name)]).counter("orders_total", 1);
            to.histogram("wait_seconds", Buckets::new(BOUNDS, [1], 0.05));
        }
    });
    let snapshot = Snapshot {
        sources: vec![many],
    };

    for bytes_max in [0, 600, 1_000, 2_000, 5_000] {
        let text = text_within(&snapshot, bytes_max);

        assert!(text.len() <= bytes_max.max(END_BYTES), "{bytes_max}");
        assert_eq!(parse(&text).unwrap().len() - 1 + unwritten(&text), 101);
    }
}

#[test]
fn numbers_are_spelled_as_the_format_has_them() {
    for (number, spelled) in [
        (0.0, "0"),
        (-1.5, "-1.5"),
        (1e16, "10000000000000000"),
        (1e300, "1e300"),
        (-2.5e-30, "-2.5e-30"),
        (f64::INFINITY, "+Inf"),
        (f64::NEG_INFINITY, "-Inf"),
        (f64::NAN, "NaN"),
    ] {
        assert_eq!(Number(number).to_string(), spelled);
    }
}

/// The values of a text by name and labels, each histogram once; an error for what no scraper takes.
fn parse(text: &str) -> Result<BTreeMap<String, f64>, String> {
    let (mut values, mut series) = (BTreeMap::new(), BTreeSet::new());
    let (mut families, mut family) = (BTreeSet::new(), (String::new(), String::new()));
    for line in text.lines() {
        if let Some(head) = line.strip_prefix("# ") {
            let mut words = head.splitn(3, ' ');
            let (what, name) = (words.next().unwrap(), words.next().ok_or(line)?);
            let rest = words.next().ok_or(line)?;
            match what {
                "HELP" => {}
                "TYPE" if families.insert(name.to_owned()) => {
                    family = (name.to_owned(), rest.to_owned());
                }
                _ => return Err(format!("{line}: a second time, or neither")),
            }
            continue;
        }
        let (name, labels, value) = split(line)?;
        let value: f64 = value.parse().map_err(|_| format!("{line}: the value"))?;
        if !series.insert((name.clone(), labels.clone())) {
            return Err(format!("{line}: twice"));
        }
        match family.1.as_str() {
            "histogram" => {
                let part = name.strip_prefix(&family.0).ok_or(line)?;
                match part {
                    "_bucket" | "_sum" => continue,
                    "_count" => {
                        let infinite: Vec<_> = labels
                            .iter()
                            .cloned()
                            .chain([("le".to_owned(), "+Inf".to_owned())])
                            .collect();
                        let bucket = format!("{}_bucket", family.0);
                        if !series.contains(&(bucket, infinite)) {
                            return Err(format!("{line}: without a last bucket"));
                        }
                    }
                    _ => return Err(format!("{line}: of another family")),
                }
            }
            "counter" | "gauge" if name == family.0 => {}
            _ => return Err(format!("{line}: of another family")),
        }
        values.insert(format!("{name}{labels:?}"), value);
    }
    Ok(values)
}

type Labels = Vec<(String, String)>;

/// Reads one line as the format says, character by character.
fn split(line: &str) -> Result<(String, Labels, String), String> {
    let err = |what: &str| format!("{line}: {what}");
    let is_name = |char: char| char.is_ascii_alphanumeric() || char == '_' || char == ':';
    let end = line
        .find(|char| !is_name(char))
        .ok_or_else(|| err("ends"))?;
    let (name, mut rest) = line.split_at(end);
    if name.is_empty() || name.starts_with(|first: char| first.is_ascii_digit()) {
        return Err(err("the name"));
    }
    let mut labels = Vec::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, after) = rest.split_once("=\"").ok_or_else(|| err("no label"))?;
            let is_label = |char: char| char.is_ascii_alphanumeric() || char == '_';
            if label.is_empty() || !label.chars().all(is_label) || label.as_bytes()[0] < b'A' {
                return Err(err("the label"));
            }
            if labels.iter().any(|(known, _)| known == label) {
                return Err(err("a label twice"));
            }
            let (mut value, mut chars) = (String::new(), after.char_indices());
            let end = loop {
                match chars.next().ok_or_else(|| err("never closed"))? {
                    (at, '"') => break at + 1,
                    (_, '\\') => value.push(match chars.next().map(|(_, char)| char) {
                        Some('n') => '\n',
                        Some(char @ ('\\' | '"')) => char,
                        _ => return Err(err("the escape")),
                    }),
                    (_, char) => value.push(char),
                }
            };
            labels.push((label.to_owned(), value));
            match after[end..].split_at_checked(1) {
                Some((",", more)) => rest = more,
                Some(("}", more)) => {
                    rest = more;
                    break;
                }
                _ => return Err(err("after a label")),
            }
        }
    }
    let value = rest.strip_prefix(' ').ok_or_else(|| err("no space"))?;
    Ok((name.to_owned(), labels, value.to_owned()))
}

#[derive(Debug, Clone)]
enum Told {
    Counter(u64),
    Sum(f64),
    Gauge(f64),
    Armed(bool),
    Histogram(Vec<u64>, f64),
}

fn any_told() -> impl Strategy<Value = Told> {
    prop_oneof![
        any::<u64>().prop_map(Told::Counter),
        any::<f64>().prop_map(Told::Sum),
        any::<f64>().prop_map(Told::Gauge),
        any::<bool>().prop_map(Told::Armed),
        (prop::collection::vec(any::<u64>(), 0..6), any::<f64>())
            .prop_map(|(counts, sum)| Told::Histogram(counts, sum)),
    ]
}

/// Names that nobody should give, and values that somebody may have made up.
fn hostile() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        Just(""),
        Just("le"),
        Just("a"),
        Just("a_b"),
        Just("a b"),
        Just("a_count"),
        Just("0"),
        Just("a\"b\\c\nd"),
        Just("\r\u{2028}\0}{=,"),
        Just("größe"),
        Just("steadfast_report_unwritten_values"),
        Just("\\"),
        Just("x\\\" 1\ny 2"),
    ]
}

proptest! {
    #[test]
    fn every_text_is_one_that_a_scraper_takes(
        told in prop::collection::vec((hostile(), hostile(), hostile(), hostile(), any_told()), 0..40),
        bytes_max in prop_oneof![Just(BYTES_MAX), 0..4_000_usize],
    ) {
        let told = told.iter().map(|(name, label, other, value, told)| source(|to| {
            let mut to = to.labels([(*label, (*value).into()), (*other, (*name).into())]);
            match told.clone() {
                Told::Counter(value) => to.counter(name, value),
                Told::Sum(value) => to.sum(name, value),
                Told::Gauge(value) => to.gauge(name, value),
                Told::Armed(value) => to.armed(name, value),
                Told::Histogram(counts, sum) => {
                    to.histogram(name, Buckets::new(BOUNDS, counts, sum))
                }
            };
        }));
        let snapshot = Snapshot { sources: told.collect() };

        let text = text_within(&snapshot, bytes_max);

        prop_assert!(parse(&text).is_ok(), "{:?} in\n{text}", parse(&text));
        prop_assert!(text.ends_with('\n'));
    }

    #[test]
    fn a_label_is_read_as_it_was_told(value in "\\PC*|[\"\\\\\n{}=, ]*") {
        prop_assume!(!value.is_empty() && value.len() < 90);
        let value: &'static str = value.leak();
        let told = source(|to| {
            to.labels([("value", Name::new(value))]).counter("orders_total", 7);
        });

        let text = written(vec![told]);

        let line = text.lines().last().unwrap();
        let (name, labels, number) = split(line).unwrap();
        prop_assert_eq!(name, "orders_total");
        prop_assert_eq!(labels, [("value".to_owned(), value.to_owned())]);
        prop_assert_eq!(number, "7");
    }
}
