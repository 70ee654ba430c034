//! What the kernel tells about itself.

use std::collections::BTreeMap;

use super::{Collector, MetricDoc, SourceSnapshot};
use crate::context::Name;
use crate::{panic, reaper, text};

pub(crate) const METRICS: &[MetricDoc] = &[
    MetricDoc::gauge(
        "steadfast_report_sources",
        &[],
        "Sources that were asked for this answer, those that panicked apart.",
    ),
    MetricDoc::gauge(
        "steadfast_report_missing_sources",
        &[],
        "Sources that panicked when they were asked for this answer; their values are missing in it.",
    ),
    MetricDoc::gauge(
        "steadfast_report_left_out_values",
        &[],
        "Values that sources told beyond the bound of 10,000 each; they are missing in this answer.",
    ),
    MetricDoc::gauge(
        "steadfast_reaper_scopes",
        &[],
        "Dropped scopes whose cleanups are still running.",
    ),
    MetricDoc::counter(
        "steadfast_reaper_scopes_total",
        &[],
        "Scopes whose future was dropped before its end, with cleanups left to run.",
    ),
    MetricDoc::counter(
        "steadfast_reaper_fallback_scopes_total",
        &[],
        "Dropped scopes whose cleanups ran on the fallback thread, because their runtime was gone.",
    ),
    MetricDoc::counter(
        "steadfast_panics_total",
        &["place", "kind"],
        "Panics, by the place in the code and what kind of panic it was.",
    ),
    MetricDoc::counter(
        "steadfast_panics_contained_total",
        &["place", "kind"],
        "Panics that were caught and turned into a value.",
    ),
];

pub(super) fn tell(sources: &[SourceSnapshot], missing: usize) -> SourceSnapshot {
    let mut collector = Collector::default();
    let left_out: usize = sources.iter().map(|source| source.left_out).sum();
    let (reaped, fell_back) = reaper::totals();
    collector
        .gauge("steadfast_report_sources", sources.len() as f64)
        .gauge("steadfast_report_missing_sources", missing as f64)
        .gauge("steadfast_report_left_out_values", left_out as f64)
        .gauge("steadfast_reaper_scopes", reaper::in_flight() as f64)
        .counter("steadfast_reaper_scopes_total", reaped)
        .counter("steadfast_reaper_fallback_scopes_total", fell_back);
    for ((place, kind), (count, contained)) in panics(&panic::groups()) {
        collector
            .labels([("place", place), ("kind", kind.into())])
            .counter("steadfast_panics_total", count)
            .counter("steadfast_panics_contained_total", contained);
    }
    collector.into_source("kernel".into(), METRICS)
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
