//! Panics: every one is answered, every one is reported, and both say the same id.

use std::collections::BTreeSet;

use super::samples::percent;
use super::{Needed, Outcome, Row, Sample, Unit};

/// Handlers of payments panic.
#[derive(Debug, Default)]
pub(crate) struct Panics {
    pub(crate) samples: Vec<Sample>,
    /// The class whose handlers panic.
    pub(crate) class: &'static str,
    /// The trace ids of the reports.
    pub(crate) reported: Vec<String>,
    /// How many panics there were, as the process that panicked has told where it happened.
    pub(crate) raised: Option<u64>,
}

impl Panics {
    pub(crate) fn judge(&self) -> Vec<Row> {
        let hurts = |it: &&Sample| it.class == self.class && (it.is_panicked() || it.is_broken());
        let hurt: Vec<_> = self.samples.iter().filter(hurts).collect();
        let others = self.samples.iter().filter(|it| !hurts(it));
        let answered = percent(hurt.iter().copied(), |it| {
            it.is_panicked() && it.id().is_some()
        });
        let ids: Vec<&str> = hurt
            .iter()
            .filter(|it| it.is_panicked())
            .filter_map(|it| it.id())
            .collect();
        vec![
            Row::new(
                "panics answered with their id",
                Needed::AtLeast(100.0),
                Unit::Percent,
                answered,
            ),
            Row::new(
                "ids of answers that are no id of a report",
                Needed::AtMost(0.0),
                Unit::Count,
                (!hurt.is_empty())
                    .then(|| unmatched(&ids, &self.reported) + (hurt.len() - ids.len()) as f64),
            ),
            unreported(self.raised, &self.reported),
            Row::new(
                "other requests served",
                Needed::AtLeast(99.5),
                Unit::Percent,
                percent(others, Sample::is_served),
            ),
        ]
    }
}

/// Bodies panic within, and tasks beside the answer.
#[derive(Debug, Default)]
pub(crate) struct PanicsWithin {
    pub(crate) samples: Vec<Sample>,
    /// The trace ids of the reports.
    pub(crate) reported: Vec<String>,
    /// How many panics there were.
    pub(crate) raised: Option<u64>,
}

impl PanicsWithin {
    pub(crate) fn judge(&self) -> Vec<Row> {
        let cut: Vec<&Sample> = self
            .samples
            .iter()
            .filter(|it| matches!(it.outcome, Outcome::CutOff { .. }))
            .collect();
        let ids: Vec<&str> = cut.iter().filter_map(|it| it.id()).collect();
        let known: BTreeSet<&str> = self.samples.iter().filter_map(Sample::id).collect();
        let strange = self
            .reported
            .iter()
            .filter(|id| !known.contains(id.as_str()))
            .count();
        vec![
            Row::new(
                "broken bodies whose id has no report",
                Needed::AtMost(0.0),
                Unit::Count,
                (!cut.is_empty())
                    .then(|| unmatched(&ids, &self.reported) + (cut.len() - ids.len()) as f64),
            ),
            Row::new(
                "reports whose id no client has seen",
                Needed::AtMost(0.0),
                Unit::Count,
                (!self.reported.is_empty()).then_some(strange as f64),
            ),
            unreported(self.raised, &self.reported),
            Row::new(
                "requests served where no body broke",
                Needed::AtLeast(99.5),
                Unit::Percent,
                percent(
                    self.samples
                        .iter()
                        .filter(|it| !matches!(it.outcome, Outcome::CutOff { .. })),
                    Sample::is_served,
                ),
            ),
        ]
    }
}

/// How many ids have no report.
fn unmatched(ids: &[&str], reported: &[String]) -> f64 {
    let reported: BTreeSet<&str> = reported.iter().map(String::as_str).collect();
    ids.iter().filter(|id| !reported.contains(*id)).count() as f64
}

/// How many more were raised than have a report.
fn unreported(raised: Option<u64>, reported: &[String]) -> Row {
    let raised = raised.filter(|raised| *raised > 0);
    Row::new(
        "panics without a report",
        Needed::AtMost(0.0),
        Unit::Count,
        raised.map(|raised| raised as f64 - reported.len() as f64),
    )
}
