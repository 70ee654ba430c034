//! What an audit has seen so far.

use std::collections::HashSet;
use std::fmt;

use steadfast_core::Timestamp;

use crate::generator::GeneratorBuilder;
use crate::id::Id;
use crate::snowflake::Layout;

/// How many of a kind of mistake are listed by name: 100, as many as a person reads.
const LISTED_MAX: usize = 100;

/// How many worker ids are told apart: 65,536, as many as a group has. Beyond, the number is "or more".
const WORKERS_MAX: usize = 1 << 16;

/// What an audit has found; made by [`Audit::run`](super::Audit::run).
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct AuditReport {
    /// How many rows have an id. Those without one are not looked at.
    pub rows: u64,
    /// Ids that stand in several rows, and in how many; the first hundred.
    pub repeated: Vec<(Id, u64)>,
    /// How many such ids there are.
    pub repeated_total: u64,
    /// Ids that say the same time, worker and sequence and have another gene, each with the one before it; the
    /// first hundred. No generator makes such.
    pub clashing: Vec<(Id, Id)>,
    /// How many such pairs there are.
    pub clashing_total: u64,
    /// Rows whose number is negative, or has more bits than the layout: it is of another.
    pub foreign: u64,
    /// Rows that are no id in the form that the column is said to have; the first hundred of those that are text.
    pub unreadable: Vec<String>,
    /// How many such rows there are.
    pub unreadable_total: u64,
    /// Ids that say a time more than the longest lead after the audit began: of a generator whose clock was ahead.
    pub ahead: u64,
    /// How many worker ids there are; 65,536 may be more.
    pub workers: u64,
    /// The times that the first and the last id say.
    pub times: Option<(Timestamp, Timestamp)>,
}

/// Judges ids in rising order.
pub(super) struct Tally {
    layout: Layout,
    now: Timestamp,
    gene_bits: u8,
    last: Option<Id>,
    workers: HashSet<u64>,
    pub(super) report: AuditReport,
}

impl Tally {
    pub(super) fn new(layout: Layout, now: Timestamp) -> Self {
        Self {
            layout,
            now,
            gene_bits: layout.config().gene_bits,
            last: None,
            workers: HashSet::new(),
            report: AuditReport::default(),
        }
    }

    /// Takes an id that stands in so many rows; never a smaller one than before.
    pub(super) fn id(&mut self, id: Id, rows: u64) {
        let report = &mut self.report;
        report.rows += rows;
        if rows > 1 {
            report.repeated_total += 1;
            if report.repeated.len() < LISTED_MAX {
                report.repeated.push((id, rows));
            }
        }
        let Ok(parts) = self.layout.decode(id) else {
            report.foreign += rows;
            return;
        };
        // The gene is lowest, so ids that differ in it alone stand side by side.
        let last = self.last.replace(id);
        if let Some(last) = last
            && last.get() >> self.gene_bits == id.get() >> self.gene_bits
        {
            report.clashing_total += 1;
            if report.clashing.len() < LISTED_MAX {
                report.clashing.push((last, id));
            }
        }
        let ahead_ms = parts.time.unix_millis() - self.now.unix_millis();
        report.ahead += u64::from(ahead_ms > GeneratorBuilder::LONGEST_LEAD.as_millis() as i64);
        if self.workers.len() < WORKERS_MAX {
            self.workers.insert(parts.worker);
            report.workers = self.workers.len() as u64;
        }
        let first = report.times.map_or(parts.time, |(first, _)| first);
        report.times = Some((first, parts.time));
    }

    pub(super) fn foreign(&mut self, rows: u64) {
        self.report.rows += rows;
        self.report.foreign += rows;
    }

    pub(super) fn unreadable(&mut self, text: &str, rows: u64) {
        if self.report.unreadable.len() < LISTED_MAX {
            // Whatever it is, it is not long.
            self.report.unreadable.push(text.chars().take(40).collect());
        }
        self.unreadable_rows(rows);
    }

    pub(super) fn unreadable_rows(&mut self, rows: u64) {
        self.report.rows += rows;
        self.report.unreadable_total += rows;
    }
}

impl AuditReport {
    /// Tells whether it is proven: no two rows have one id, no two ids share time, worker and sequence, and all
    /// are ids of the layout.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.repeated_total == 0
            && self.clashing_total == 0
            && self.foreign == 0
            && self.unreadable_total == 0
    }
}

impl fmt::Display for AuditReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.is_clean() {
            "no two share time, worker and sequence"
        } else {
            "NOT UNIQUE, or not of this layout"
        };
        writeln!(
            f,
            "{} rows of {} worker ids: {verdict}",
            self.rows, self.workers
        )?;
        let mut line = |count: u64, what: &str| match count {
            0 => Ok(()),
            count => writeln!(f, "  {count} {what}"),
        };
        line(self.repeated_total, "ids stand in several rows")?;
        line(self.clashing_total, "pairs differ in their gene alone")?;
        line(
            self.foreign,
            "rows have a number that is not of this layout",
        )?;
        line(self.unreadable_total, "rows are no id in this form")?;
        line(self.ahead, "ids say a time that is still to come")?;
        for (id, rows) in self.repeated.iter().take(10) {
            writeln!(f, "  {id} stands in {rows} rows")?;
        }
        for (one, other) in self.clashing.iter().take(10) {
            writeln!(
                f,
                "  {one} and {other} are of one time, worker and sequence"
            )?;
        }
        for text in self.unreadable.iter().take(10) {
            writeln!(f, "  {text:?} is no id")?;
        }
        Ok(())
    }
}

#[cfg(all(test, not(steadfast_loom)))]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::snowflake::LayoutConfig;

    #[test]
    fn ids_that_differ_in_their_gene_alone_clash() {
        let layout = Layout::new(LayoutConfig {
            sequence_bits: 8,
            gene_bits: 4,
            tick: Duration::from_millis(1),
            ..LayoutConfig::default()
        })
        .unwrap();
        let mut tally = Tally::new(layout, Timestamp::from_unix_millis(i64::MAX));

        for id in [0x10, 0x11, 0x1f, 0x20] {
            tally.id(Id::new(id), 1);
        }

        let report = tally.report;
        let pair = |one, other| (Id::new(one), Id::new(other));
        assert_eq!(report.clashing, [pair(0x10, 0x11), pair(0x11, 0x1f)]);
        assert!(!report.is_clean());
        assert!(
            report
                .to_string()
                .contains("2 pairs differ in their gene alone")
        );
    }

    #[test]
    fn mistakes_are_counted_whole_and_listed_to_a_bound() {
        let mut tally = Tally::new(Layout::JAVASCRIPT, Timestamp::from_unix_millis(0));
        for id in 0..1_000 {
            tally.id(Id::new(id), 3);
            tally.unreadable(&"x".repeat(1_000), 2);
        }
        tally.id(Id::new(1 << 53), 1);
        tally.foreign(5);

        let report = tally.report;
        assert_eq!(report.rows, 3_000 + 2_000 + 1 + 5);
        assert_eq!((report.repeated_total, report.repeated.len()), (1_000, 100));
        assert_eq!(
            (report.unreadable_total, report.unreadable.len()),
            (2_000, 100)
        );
        assert_eq!((report.foreign, report.ahead), (6, 1_000));
        assert_eq!(report.unreadable[0].len(), 40);
        assert_eq!(report.workers, 8, "128 a worker");
    }
}
