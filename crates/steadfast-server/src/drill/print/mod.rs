//! The same report in four forms: for people, for documents, for machines, for whatever shows tests.

mod json;
mod junit;
mod md;
mod text;

pub(crate) use json::{json, json_list};
pub(crate) use junit::junit;
pub(crate) use md::md;
pub(crate) use text::{list, text};

use super::judge::Row;
use super::stage::LEASE;
use super::{Play, Scenario};

/// What there is to tell.
#[derive(Debug, Clone)]
pub(crate) struct Report {
    pub(crate) protected: Play,
    /// The same without protections, where that was asked for.
    pub(crate) unprotected: Option<Play>,
}

/// One criterion of both shops.
struct Pair<'r> {
    ours: &'r Row,
    theirs: Option<&'r Row>,
}

impl Report {
    /// Tells whether the protected shop meets every criterion.
    pub(crate) fn is_met(&self) -> bool {
        self.protected.is_met()
    }

    /// How many criteria there are, and how many are met.
    fn met(play: &Play) -> (usize, usize) {
        let rows = || play.acts.iter().flat_map(|act| &act.rows);
        (rows().count(), rows().filter(|row| row.is_met()).count())
    }

    fn pairs(&self) -> Vec<(Scenario, Vec<Pair<'_>>)> {
        let acts = self.protected.acts.iter();
        acts.map(|act| {
            let theirs = self.unprotected.iter().flat_map(|play| &play.acts);
            let theirs = theirs
                .into_iter()
                .find(|other| other.scenario == act.scenario);
            let pairs = act.rows.iter().enumerate().map(|(at, ours)| Pair {
                ours,
                theirs: theirs.and_then(|act| act.rows.get(at)),
            });
            (act.scenario, pairs.collect())
        })
        .collect()
    }
}

/// What has to be said of the figures.
fn note() -> String {
    format!(
        "workers hold a lease of {} s here, of 30 s usually; a killed one may cost ten seconds more than that",
        LEASE.as_secs()
    )
}

fn needed(row: &Row) -> String {
    format!(
        "{} {}",
        row.needed,
        row.unit.write_bound(row.needed.bound())
    )
}

fn measured(row: &Row) -> String {
    row.measured
        .map_or_else(|| "not seen".into(), |value| row.unit.write(value))
}

/// Never by color alone.
fn verdict(row: &Row) -> &'static str {
    if row.is_met() { "ok" } else { "MISSED" }
}

#[cfg(test)]
mod tests;
