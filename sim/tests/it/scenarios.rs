//! Ours meets the targets of all scenarios, and the page says what the scenarios show.

use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use steadfast::decide::policy::{Setting, Timeout};
use steadfast_sim::scenario::{SCENARIOS, Scenario};
use steadfast_sim::{page, s5_stall};

/// Runs each scenario once, however many tests look at it.
fn scenarios() -> &'static [Scenario] {
    static RUN: OnceLock<Vec<Scenario>> = OnceLock::new();
    RUN.get_or_init(|| {
        std::thread::scope(|scope| {
            let runs: Vec<_> = SCENARIOS.iter().map(|run| scope.spawn(run)).collect();
            runs.into_iter().map(|run| run.join().unwrap()).collect()
        })
    })
}

fn scenario(id: &str) -> &'static Scenario {
    scenarios()
        .iter()
        .find(|scenario| scenario.id == id)
        .expect("a scenario of this id")
}

#[test]
fn ours_meets_its_targets_in_all_scenarios() {
    let misses: Vec<String> = scenarios().iter().flat_map(Scenario::misses).collect();

    assert!(misses.is_empty(), "\n{}", misses.join("\n"));
}

#[test]
fn each_scenario_can_be_failed() {
    for scenario in scenarios() {
        let failed = |row: &&_| !scenario.missed_by(row).is_empty();

        assert!(
            scenario.rows.iter().any(|row| row.judged),
            "{}",
            scenario.id
        );
        assert!(
            scenario
                .rows
                .iter()
                .filter(|row| !row.judged)
                .any(|row| failed(&row)),
            "{}: nobody fails",
            scenario.id
        );
    }
}

/// What the usual answers are known to do under this model: if one of these numbers moves, the
/// model has.
#[test]
fn the_usual_answers_show_what_they_are_known_to_show() {
    let cases = [
        ("S1", "unlimited", "goodput, % of capacity", 0.0, 5.0),
        (
            "S1",
            "fixed at 2 × workers",
            "goodput, % of capacity",
            98.0,
            101.0,
        ),
        (
            "S1",
            "Vegas, sample by sample",
            "rejected at 0.7 times, %",
            25.0,
            40.0,
        ),
        (
            "S1",
            "AIMD on time-outs",
            "goodput, % of capacity",
            30.0,
            90.0,
        ),
        ("S2", "one limit, no tiers", "core in time, %", 5.0, 20.0),
        (
            "S2",
            "one limit, priority in its queue",
            "core in time, %",
            5.0,
            20.0,
        ),
        (
            "S2",
            "a share of the permits for each tier",
            "core in time, %",
            95.0,
            100.0,
        ),
        (
            "S3",
            "a share of the permits for each tier",
            "core in time, %",
            65.0,
            90.0,
        ),
        ("S4", "no admission", "recovers after, s", 10.0, 35.0),
        (
            "S4",
            "neither, jitter",
            "recovers after, s",
            f64::INFINITY,
            f64::INFINITY,
        ),
        ("S4", "neither, at once", "attempts a request", 3.0, 4.0),
        ("S4", "no budget, jitter", "attempts a request", 1.3, 4.0),
        ("S5", "30 s", "C answered in the stall, %", 0.5, 5.0),
        ("S5", "5 s", "C answered in the stall, %", 6.0, 10.0),
        ("S5", "1 s", "C answered in the stall, %", 35.0, 41.0),
        ("S5", "800 ms", "C answered in the stall, %", 44.0, 49.0),
        (
            "S6",
            "percentile × 1, cut calls left out",
            "cut falsely as usual, %",
            40.0,
            98.0,
        ),
        (
            "S6",
            "percentile × 2, cut calls twice",
            "longest after a stall, times as usual",
            50.0,
            f64::INFINITY,
        ),
        (
            "S7",
            "25 % of all calls since the start",
            "all fail: failures until it trips",
            33_000.0,
            34_000.0,
        ),
        ("S8", "300 µs", "goodput, % of capacity", 70.0, 75.0),
        (
            "S9",
            "10 ms, no budget",
            "more while all are slow, %",
            95.0,
            100.0,
        ),
    ];

    for (id, row, figure, least, most) in cases {
        let value = scenario(id).value(row, figure);
        assert!(
            (least..=most).contains(&value),
            "{id} {row}: {figure} is {value}"
        );
    }
}

#[test]
fn the_linter_flags_the_timeout_of_a_second_before_s5_shows_it() {
    let second = Timeout::new(Duration::from_secs(1)).unwrap();

    let found = s5_stall::findings(Setting::Fixed(second));

    assert!(found[0].contains("500/s × 1s = 500 permits"), "{found:?}");
}

#[test]
fn the_page_and_its_charts_are_what_the_scenarios_show() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let bless = std::env::var_os("STEADFAST_BLESS").is_some();

    for document in page::documents(scenarios()) {
        let path = docs.join(&document.path);
        if bless {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &document.text).unwrap();
        }
        let is = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            is == document.text,
            "docs/{} is out of date: run with STEADFAST_BLESS=1",
            document.path
        );
    }
}
