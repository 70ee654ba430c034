use super::*;
use crate::drill::Act;
use crate::drill::judge::Needed;

/// A report in which the first criterion of each scenario is met, and no other.
fn report(compared: bool) -> Report {
    let play = |met: bool| Play {
        acts: Scenario::USUAL
            .into_iter()
            .map(|scenario| {
                let mut rows = scenario.criteria();
                let bound = rows[0].needed.bound();
                rows[0].measured = Some(match rows[0].needed {
                    _ if met => bound,
                    Needed::AtLeast(_) => bound - 1.0,
                    Needed::AtMost(_) => bound + 1.0,
                });
                let took_s = 1.0;
                Act {
                    scenario,
                    rows,
                    took_s,
                }
            })
            .collect(),
        took_s: 60.0,
    };
    Report {
        protected: play(true),
        unprotected: compared.then(|| play(false)),
    }
}

#[test]
fn each_criterion_has_its_line_with_what_is_needed_and_how_it_went() {
    let text = text(&report(true), false);

    let line = text
        .lines()
        .find(|line| line.contains("breaker opens after"))
        .unwrap();
    let words: Vec<_> = line.split_whitespace().collect();
    assert_eq!(
        words,
        [
            "breaker", "opens", "after", "≤", "3", "s", "3.00", "s", "ok", "4.00", "s", "MISSED"
        ]
    );
    assert!(text.contains("first good call after the fault"), "{text}");
    assert!(text.contains("not seen"), "{text}");
    assert!(
        text.contains("lease of 5 s here, of 30 s usually"),
        "{text}"
    );
    assert!(!text.contains('\x1b'));
    assert!(super::text(&report(true), true).contains("\x1b[31mMISSED"));
}

#[test]
fn figures_are_never_rounded_to_where_they_meet_a_bound_that_they_miss() {
    let mut rows = Scenario::Overload.criteria();
    for (row, miss) in rows.iter_mut().zip([99.499_9, 2.000_1, 5.000_1, 99.999]) {
        row.measured = Some(miss);
    }

    let told: Vec<_> = rows
        .iter()
        .map(|row| (measured(row), verdict(row)))
        .collect();

    assert_eq!(
        told,
        [
            ("99.49 %", "MISSED"),
            ("2.01 ×", "MISSED"),
            ("5.1 ms", "MISSED"),
            ("99.99 %", "MISSED")
        ]
        .map(|(figure, verdict)| (figure.to_owned(), verdict))
    );
}

#[test]
fn machines_get_every_figure_with_its_unit_and_bound() {
    let told = json(&report(true));

    assert_eq!(told["version"], 1);
    let told = &told["data"];
    assert_eq!(told["met"], false);
    let gateway = &told["protected"]["scenarios"][2];
    assert_eq!(gateway["scenario"], "gateway");
    let first = &gateway["criteria"][0];
    assert_eq!(first["criterion"], "breaker opens after");
    assert_eq!(
        (&first["unit"], &first["at_most"]),
        (&"seconds".into(), &3.0.into())
    );
    assert_eq!(
        (&first["measured"], &first["met"]),
        (&3.0.into(), &true.into())
    );
    assert_eq!(gateway["criteria"][1]["measured"], serde_json::Value::Null);
    assert_eq!(
        told["unprotected"]["scenarios"][2]["criteria"][0]["met"],
        false
    );
    assert_eq!(
        json(&report(false))["data"]["unprotected"],
        serde_json::Value::Null
    );
}

#[test]
fn tests_are_told_as_tests_are() {
    let told = junit(&report(false));

    assert!(
        told.contains("<testsuite name=\"gateway hangs\" tests=\"4\" failures=\"3\""),
        "{told}"
    );
    assert!(
        told.contains("name=\"breaker opens after\"><system-out>≤ 3 s is needed, and it is 3.00 s</system-out>"),
        "{told}"
    );
    assert!(
        told.contains("<failure message=\"≤ 5 s is needed, and it is not seen\"/>"),
        "{told}"
    );
    assert_eq!(
        told.matches("<testcase").count(),
        told.matches("</testcase>").count()
    );
}

#[test]
fn documents_get_a_table() {
    let told = md(&report(true));

    let row = "| gateway hangs | breaker opens after | ≤ 3 s | 3.00 s | ok | 4.00 s | MISSED |";
    assert!(told.lines().any(|line| line == row), "{told}");
    assert!(!md(&report(false)).contains("unprotected"));
}

#[test]
fn every_scenario_has_criteria_of_names_that_fit_and_differ() {
    for scenario in Scenario::all() {
        let rows = scenario.criteria();
        assert!(!rows.is_empty());
        for row in &rows {
            assert!(row.name.chars().count() <= 52, "{}", row.name);
            assert!(!row.is_met(), "nothing seen meets {}", row.name);
            assert_eq!(
                rows.iter().filter(|other| other.name == row.name).count(),
                1
            );
        }
    }
}

/// The criteria of a terminal session in a document, with their scenarios, as they stand there.
fn shown(page: &str, command: &str) -> Vec<String> {
    let (_, session) = page
        .split_once(command)
        .expect("the session is in the page");
    let (table, _) = session
        .split_once("\n\n")
        .expect("its table ends with an empty line");
    let column = |line: &str, from, width| line.chars().skip(from).take(width).collect::<String>();
    let lines = table
        .lines()
        .skip(1)
        .filter(|line| !line.trim_start().starts_with("needed"));
    lines
        .map(|line| match line.strip_prefix("  ") {
            None => line.to_owned(),
            Some(row) => format!("{}{}", column(row, 0, 52), column(row, 52, 10)),
        })
        .collect()
}

fn asked(scenarios: &[Scenario]) -> Vec<String> {
    let each = scenarios.iter().flat_map(|scenario| {
        let rows = scenario.criteria().into_iter();
        let rows = rows.map(|row| format!("{:<52}{:>10}", row.name, needed(&row)));
        std::iter::once(scenario.title().to_owned()).chain(rows)
    });
    each.collect()
}

#[test]
fn the_readme_and_the_guide_show_the_criteria_that_there_are() {
    let readme = include_str!("../../../../../README.md");
    let guide = include_str!("../../../../../docs/guide/first-drill.md");

    assert_eq!(
        shown(readme, "$ cargo run --release -- drill --compare\n"),
        asked(&Scenario::USUAL)
    );
    assert_eq!(
        shown(guide, "$ cargo run --release -- drill --compare\n"),
        asked(&Scenario::USUAL)
    );
    let listed = format!("$ cargo run --release -- drill --list\n{}```\n", list());
    assert!(
        guide.contains(&listed),
        "write this into the guide:\n{listed}"
    );
}
