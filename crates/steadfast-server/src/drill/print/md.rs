//! For documents: a table in Markdown.

use std::fmt::Write as _;

use super::{Report, measured, needed, note, verdict};

pub(crate) fn md(report: &Report) -> String {
    let mut text = String::from("| scenario | criterion | needed | measured | |");
    let compared = report.unprotected.is_some();
    if compared {
        text.push_str(" unprotected | |");
    }
    text.push_str("\n|---|---|---:|---:|---|");
    if compared {
        text.push_str("---:|---|");
    }
    text.push('\n');
    for (scenario, pairs) in report.pairs() {
        for pair in pairs {
            let ours = pair.ours;
            let _ = write!(
                text,
                "| {} | {} | {} | {} | {} |",
                scenario.title(),
                ours.name,
                needed(ours),
                measured(ours),
                verdict(ours)
            );
            if compared {
                let cells = pair.theirs.map_or_else(
                    || (String::from("-"), ""),
                    |theirs| (measured(theirs), verdict(theirs)),
                );
                let _ = write!(text, " {} | {} |", cells.0, cells.1);
            }
            text.push('\n');
        }
    }
    let _ = writeln!(text, "\n{}.", note());
    text
}
