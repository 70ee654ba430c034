//! For people: a line for each criterion.

use std::fmt::Write as _;

use super::{Pair, Report, Scenario, measured, needed, note, verdict};

const GREEN: &str = "\x1b[32m";
const RED: &str = "\x1b[31m";
const PLAIN: &str = "\x1b[0m";

/// Writes the table; `color` beside the words where a terminal wants it.
pub(crate) fn text(report: &Report, color: bool) -> String {
    let mut text = String::new();
    let compared = report.unprotected.is_some();
    let _ = write!(
        text,
        "{:<54}{:>10}  {:>11}",
        "",
        "needed",
        if compared { "protected" } else { "measured" }
    );
    if compared {
        let _ = write!(text, "{:>8}  {:>11}", "", "unprotected");
    }
    text.push('\n');
    for (scenario, pairs) in report.pairs() {
        let _ = writeln!(text, "{}", scenario.title());
        for pair in pairs {
            line(&mut text, &pair, compared, color);
        }
    }
    let (all, met) = Report::met(&report.protected);
    let _ = write!(
        text,
        "\n{met} of {all} criteria met in {:.0} s",
        report.protected.took_s
    );
    if let Some(unprotected) = &report.unprotected {
        let (all, met) = Report::met(unprotected);
        let _ = write!(text, "; without protections {met} of {all}");
    }
    let _ = writeln!(text, "\n{}", note());
    text
}

/// What there is: each scenario with its name for `--only`, and what it asks for.
pub(crate) fn list() -> String {
    let mut text = String::new();
    for scenario in Scenario::all() {
        let _ = writeln!(text, "{} ({})", scenario.title(), scenario.name());
        for row in scenario.criteria() {
            let _ = writeln!(text, "  {:<52}{:>10}", row.name, needed(&row));
        }
    }
    text
}

fn line(text: &mut String, Pair { ours, theirs }: &Pair<'_>, compared: bool, color: bool) {
    let _ = write!(text, "  {:<52}{:>10}", ours.name, needed(ours));
    let rows = [Some(*ours), *theirs];
    for row in rows.into_iter().take(1 + usize::from(compared)) {
        let Some(row) = row else {
            let _ = write!(text, "  {:>11}", "-");
            continue;
        };
        let (before, after) = match (color, row.is_met()) {
            (false, _) => ("", ""),
            (true, true) => (GREEN, PLAIN),
            (true, false) => (RED, PLAIN),
        };
        let _ = write!(
            text,
            "  {:>11}  {before}{:<6}{after}",
            measured(row),
            verdict(row)
        );
    }
    let end = text.trim_end().len();
    text.truncate(end);
    text.push('\n');
}
