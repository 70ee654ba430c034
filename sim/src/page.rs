//! The page `docs/scenarios.md` and its charts, made from scenarios that were run.

use std::fmt::Write as _;

use crate::scenario::{Row, Scenario};

/// A file below `docs`, and what it has to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Its path below `docs`.
    pub path: String,
    /// What it holds.
    pub text: String,
}

const HEAD: &str = "\
# Overload scenarios

Protections are judged here by *goodput*: answers that came in time, under load that exceeds the
capacity. Each scenario is a seeded simulation in virtual time that runs the very decisions that run in
production (`steadfast_core::decide`), as a test, in seconds. Beside ours stand the usual answers, in simple
forms under the same model; what they show is the size of the prize, and nothing about any product.

**The model**, unless a scenario says otherwise: ten workers serve in the order of admission, 10 ms a request
on average, so 1,000 requests a second. Arrivals are a Poisson process. A client waits for 500 ms; work that
it has given up is done all the same. In S5 to S7, S9, S11 and S13 we are the one who calls, and the story says what
answers. Ours runs with five seeds and with exponential and lognormal (σ 0.3, 0.6, 1.0) times of service, and each
figure is *the worst of those twenty runs*; the others run with one seed, and exponential and the widest times.

This page and its charts are generated: `STEADFAST_BLESS=1 cargo test -p steadfast-sim scenarios` writes them,
and without that variable the same test compares them byte by byte. The code is in `sim/src`.
Some of it runs [over real sockets](loopback.md), too.

| scenario | | all targets met |
|---|---|---|
";

/// Writes the page and all charts.
#[must_use]
pub fn documents<'a>(scenarios: impl IntoIterator<Item = &'a Scenario>) -> Vec<Document> {
    let mut page = String::from(HEAD);
    let mut sections = String::new();
    let mut documents = Vec::new();
    for scenario in scenarios {
        let id = scenario.id;
        let judged = || scenario.rows.iter().filter(|row| row.judged);
        let met = match judged().filter(|row| row.short.is_none()).count() {
            all if all == judged().count() => "yes",
            _ => "yes, but for one that is explained there",
        };
        let anchor = anchor(&heading(scenario));
        let _ = writeln!(page, "| [{id}](#{anchor}) | {} | {met} |", scenario.title);
        section(&mut sections, scenario);
        for chart in &scenario.charts {
            documents.push(Document {
                path: format!("scenarios/{}.svg", chart.file),
                text: chart.to_svg(),
            });
        }
    }
    page.push_str(&sections);
    documents.push(Document {
        path: "scenarios.md".to_owned(),
        text: page,
    });
    documents
}

fn section(page: &mut String, scenario: &Scenario) {
    let _ = write!(page, "\n## {}\n\n{}\n\n", heading(scenario), scenario.story);
    page.push_str("| |");
    for figure in &scenario.figures {
        let _ = write!(page, " {} |", figure.name);
    }
    page.push_str(" met |\n|---|");
    for _ in &scenario.figures {
        page.push_str("---:|");
    }
    page.push_str("---|\n| *target* |");
    for figure in &scenario.figures {
        let _ = write!(page, " {} |", figure.target_text());
    }
    page.push_str(" |\n");
    for row in &scenario.rows {
        table_row(page, scenario, row);
    }
    for chart in &scenario.charts {
        let _ = write!(page, "\n![{}](scenarios/{}.svg)\n", chart.title, chart.file);
    }
    for row in &scenario.rows {
        if let Some(why) = row.short {
            let _ = write!(
                page,
                "\n**Missed by \u{201c}{}\u{201d}.** {why}\n",
                row.name
            );
        }
    }
    if !scenario.notes.is_empty() {
        let _ = write!(page, "\n{}\n", scenario.notes);
    }
}

fn table_row(page: &mut String, scenario: &Scenario, row: &Row) {
    let strong = if row.judged { "**" } else { "" };
    let _ = write!(page, "| {strong}{}{strong} |", row.name);
    for (figure, &value) in scenario.figures.iter().zip(&row.values) {
        let _ = write!(page, " {} |", figure.text(value));
    }
    let missed = scenario.missed_by(row).len();
    let met = if missed == 0 { "yes" } else { "no" };
    let _ = writeln!(page, " {strong}{met}{strong} |");
}

fn heading(scenario: &Scenario) -> String {
    format!("{} {}", scenario.id, scenario.title)
}

/// The anchor that a heading gets where the page is shown.
fn anchor(heading: &str) -> String {
    heading
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || " -".contains(*c))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}
