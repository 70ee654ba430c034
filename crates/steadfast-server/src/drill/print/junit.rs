//! For whatever shows tests: a suite for each scenario, a case for each criterion.

use std::fmt::Write as _;

use super::{Report, measured, needed};

pub(crate) fn junit(report: &Report) -> String {
    let play = &report.protected;
    let (all, met) = Report::met(play);
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let missed = all - met;
    let _ = writeln!(
        text,
        "<testsuites name=\"steadfast drill\" tests=\"{all}\" failures=\"{missed}\" time=\"{:.3}\">",
        play.took_s
    );
    for act in &play.acts {
        let missed = act.rows.iter().filter(|row| !row.is_met()).count();
        let _ = writeln!(
            text,
            "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{missed}\" time=\"{:.3}\">",
            escaped(act.scenario.title()),
            act.rows.len(),
            act.took_s
        );
        for row in &act.rows {
            let (class, name) = (act.scenario.name(), escaped(row.name));
            let _ = write!(
                text,
                "    <testcase classname=\"drill.{class}\" name=\"{name}\""
            );
            let found = escaped(&format!(
                "{} is needed, and it is {}",
                needed(row),
                measured(row)
            ));
            let _ = match row.is_met() {
                true => writeln!(text, "><system-out>{found}</system-out></testcase>"),
                false => writeln!(text, "><failure message=\"{found}\"/></testcase>"),
            };
        }
        text.push_str("  </testsuite>\n");
    }
    text.push_str("</testsuites>\n");
    text
}

fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    text.replace('>', "&gt;").replace('"', "&quot;")
}
