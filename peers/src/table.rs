//! Prints the ratio table, as text or as markdown.

use std::fmt::Write;

use crate::Group;
use crate::budget::Budget;
use crate::harness::Summary;

/// Stands for a figure that there is none of.
const NONE: &str = "–";

const COLUMNS: [&str; 6] = [
    "",
    "ns",
    "min–max",
    "steadfast/this",
    "allocations",
    "budget",
];

/// A group as it is printed.
pub struct Section {
    title: String,
    counted: String,
    rows: Vec<[String; 6]>,
}

impl Section {
    /// Joins a group with what was measured: `summaries` and `allocations` follow the order
    /// of [`Group::contenders_mut`].
    pub fn new(group: &Group, summaries: &[Summary], allocations: &[Option<f64>]) -> Self {
        let ours_entered = usize::from(group.ours.is_some());
        let ours = group.ours.as_ref().map(|contender| Entry {
            name: contender.name(),
            summary: summaries[0],
            allocations: allocations[0],
        });
        let peers = group
            .peers
            .iter()
            .enumerate()
            .map(|(index, contender)| Entry {
                name: contender.name(),
                summary: summaries[ours_entered + index],
                allocations: allocations[ours_entered + index],
            });

        let mut rows = vec![our_row(group, ours.as_ref())];
        rows.extend(peers.map(|peer| peer_row(group, ours.as_ref(), &peer)));
        let (whole, _) = group.allocations_per;
        Section {
            title: group.name.clone(),
            counted: format!("ns per {}, allocations per {whole}", group.unit),
            rows,
        }
    }
}

/// Prints sections with aligned columns.
pub fn text(sections: &[Section]) -> String {
    let mut widths = COLUMNS.map(width);
    for row in sections.iter().flat_map(|section| &section.rows) {
        for (widest, cell) in widths.iter_mut().zip(row) {
            *widest = (*widest).max(width(cell));
        }
    }

    let mut out = String::new();
    for section in sections {
        let _ = writeln!(out, "\n{} ({})", section.title, section.counted);
        write_text_row(&mut out, &COLUMNS, &widths);
        for row in &section.rows {
            write_text_row(&mut out, row, &widths);
        }
    }
    out
}

/// Prints sections as one markdown table each.
pub fn markdown(sections: &[Section]) -> String {
    let mut out = String::new();
    for section in sections {
        let _ = writeln!(out, "\n**{}** ({})\n", section.title, section.counted);
        let _ = writeln!(out, "| {} |", COLUMNS.join(" | "));
        let _ = writeln!(out, "|---|---:|---:|---:|---:|---|");
        for row in &section.rows {
            let _ = writeln!(out, "| {} |", row.join(" | "));
        }
    }
    out
}

/// One contender with its figures.
struct Entry<'group> {
    name: &'group str,
    summary: Summary,
    allocations: Option<f64>,
}

impl Entry<'_> {
    fn cells(&self) -> [String; 4] {
        let Summary { median, min, max } = self.summary;
        [
            self.name.to_owned(),
            figure(median),
            format!("{}–{}", figure(min), figure(max)),
            self.allocations.map_or(NONE.to_owned(), count),
        ]
    }
}

/// Ours, with the budgets that stand for themselves.
fn our_row(group: &Group, ours: Option<&Entry<'_>>) -> [String; 6] {
    let [name, ns, range, allocations] = ours.map_or(
        ["steadfast", NONE, NONE, NONE].map(str::to_owned),
        Entry::cells,
    );
    let budgets = group
        .budgets
        .iter()
        .filter(|budget| budget.peer().is_none())
        .map(|budget| judged(budget, ours, None));
    [name, ns, range, String::new(), allocations, join(budgets)]
}

/// A peer, with the budgets that are relative to it.
fn peer_row(group: &Group, ours: Option<&Entry<'_>>, peer: &Entry<'_>) -> [String; 6] {
    let [name, ns, range, allocations] = peer.cells();
    let ratio = ours.map_or(NONE.to_owned(), |ours| {
        format!("{:.2}", ours.summary.median / peer.summary.median)
    });
    let budgets = group
        .budgets
        .iter()
        .filter(|budget| budget.peer() == Some(peer.name))
        .map(|budget| judged(budget, ours, Some(peer)));
    [name, ns, range, ratio, allocations, join(budgets)]
}

fn judged(budget: &Budget, ours: Option<&Entry<'_>>, peer: Option<&Entry<'_>>) -> String {
    let verdict = budget.judge(
        ours.map(|ours| ours.summary.median),
        peer.map(|peer| peer.summary.median),
        ours.and_then(|ours| ours.allocations),
    );
    budget.describe(verdict)
}

fn join(budgets: impl Iterator<Item = String>) -> String {
    budgets.collect::<Vec<_>>().join("; ")
}

/// Three significant digits are more than the machine keeps steady.
fn figure(ns: f64) -> String {
    if ns < 10.0 {
        format!("{ns:.2}")
    } else if ns < 100.0 {
        format!("{ns:.1}")
    } else {
        format!("{ns:.0}")
    }
}

/// Allocations are whole numbers, except where a queue or a vector grows now and then.
fn count(allocations: f64) -> String {
    let rounded = allocations.round();
    if (allocations - rounded).abs() < 0.005 {
        format!("{rounded:.0}")
    } else {
        format!("{allocations:.2}")
    }
}

fn width(cell: &str) -> usize {
    cell.chars().count()
}

/// Names and budgets stand left, figures right.
fn write_text_row(out: &mut String, row: &[impl AsRef<str>; 6], widths: &[usize; 6]) {
    let mut line = String::from(" ");
    for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
        let cell = cell.as_ref();
        let _ = if column == 0 || column == 5 {
            write!(line, " {cell:<width$} ")
        } else {
            write!(line, " {cell:>width$} ")
        };
    }
    let _ = writeln!(out, "{}", line.trim_end());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Contender;

    #[test]
    fn ratios_and_verdicts_stand_beside_the_peer_they_compare_with() {
        let group = group().ours(Contender::new("steadfast", |n| n));

        let section = Section::new(
            &group,
            &[summary(4.0), summary(8.0), summary(2.0)],
            &[Some(1.0), Some(2.5), None],
        );

        assert_eq!(
            section.rows,
            [
                ["steadfast", "4.00", "3.00–5.00", "", "1", "≤ 5 ns: met"],
                [
                    "slow",
                    "8.00",
                    "7.00–9.00",
                    "0.50",
                    "2.50",
                    "ahead of this: met"
                ],
                ["fast", "2.00", "1.00–3.00", "2.00", "–", ""],
            ]
        );
    }

    #[test]
    fn without_ours_nothing_is_called_met() {
        let section = Section::new(
            &group(),
            &[summary(8.0), summary(2.0)],
            &[Some(2.0), Some(0.0)],
        );

        assert_eq!(
            section.rows,
            [
                ["steadfast", "–", "–", "", "–", "≤ 5 ns: not measured"],
                [
                    "slow",
                    "8.00",
                    "7.00–9.00",
                    "–",
                    "2",
                    "ahead of this: not measured"
                ],
                ["fast", "2.00", "1.00–3.00", "–", "0", ""],
            ]
        );
    }

    #[test]
    fn text_is_aligned_whatever_the_width_of_the_cells() {
        let section = Section::new(
            &group(),
            &[summary(123_456.0), summary(2.0)],
            &[None, Some(2.5)],
        );

        let text = text(&[section]);

        let expected = "
example (ns per unit, allocations per unit)
                 ns        min–max  steadfast/this  allocations  budget
  steadfast       –              –                            –  ≤ 5 ns: not measured
  slow       123456  123455–123457               –            –  ahead of this: not measured
  fast         2.00      1.00–3.00               –         2.50
";
        assert_eq!(text, expected);
    }

    #[test]
    fn markdown_has_a_cell_for_every_column() {
        let section = Section::new(&group(), &[summary(8.0), summary(2.0)], &[None, None]);

        let markdown = markdown(&[section]);

        for line in markdown.lines().filter(|line| line.starts_with('|')) {
            assert_eq!(line.matches('|').count(), COLUMNS.len() + 1, "{line}");
        }
    }

    fn group() -> Group {
        Group::new("example", "unit")
            .peer(Contender::new("slow", |n| n))
            .peer(Contender::new("fast", |n| n))
            .budget(Budget::AtMost { ns: 5.0 })
            .budget(Budget::AheadOf { peer: "slow" })
    }

    fn summary(median: f64) -> Summary {
        Summary {
            median,
            min: median - 1.0,
            max: median + 1.0,
        }
    }
}
