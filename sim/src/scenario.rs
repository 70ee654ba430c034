//! What a scenario shows: who competes, by which figures, against which targets.

use std::fmt::Write as _;

use crate::chart::Chart;
use crate::load::{SERVICES, Service};

/// Makes a scenario by running it.
pub type Run = fn() -> Scenario;

/// All scenarios, in the order of their numbers; a new one is a line here.
pub const SCENARIOS: &[Run] = &[
    crate::s1_limit::scenario,
    crate::s2_tiers::scenario,
    crate::s3_core_burst::scenario,
    crate::s4_retry_storm::scenario,
    crate::s5_stall::scenario,
    crate::s6_learn::scenario,
    crate::s7_trip::scenario,
    crate::s8_price::scenario,
    crate::s9_hedge::scenario,
    crate::s11_half_open::scenario,
    crate::s12_live_change::scenario,
    crate::s13_override::scenario,
    crate::s14_shadow::scenario,
];

/// The seeds that ours has to meet its targets with; those who compete run with the first.
pub const SEEDS: [u64; 5] = [1, 2, 3, 4, 5];

/// A scenario that was run.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its number, such as `S1`.
    pub id: &'static str,
    /// What it is about, in a few words.
    pub title: &'static str,
    /// What happens in it, as Markdown.
    pub story: &'static str,
    /// What is measured.
    pub figures: Vec<Figure>,
    /// Who was measured; ours is [judged](Row::judged).
    pub rows: Vec<Row>,
    /// What is drawn.
    pub charts: Vec<Chart>,
    /// What to know when reading the table, as Markdown; may be empty.
    pub notes: String,
}

/// Something that is measured.
#[derive(Clone, Copy, Debug)]
pub struct Figure {
    /// What, with its unit.
    pub name: &'static str,
    /// How many decimals say something.
    pub decimals: usize,
    /// What it has to be.
    pub target: Target,
}

/// What a figure has to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    /// Not less.
    AtLeast(f64),
    /// Not more.
    AtMost(f64),
    /// Anything; it is there to be looked at.
    None,
}

/// What one who competes got.
#[derive(Clone, Debug)]
pub struct Row {
    /// Who.
    pub name: String,
    /// Whether it has to meet the targets; the others are there for comparison.
    pub judged: bool,
    /// The figures, each the worst of all runs; infinite for what never came to be.
    pub values: Vec<f64>,
    /// Why it misses a target although it is judged, as Markdown; then it has to miss one.
    pub short: Option<&'static str>,
}

// === impl Scenario ===

impl Scenario {
    /// Tells what those who are judged miss without a stated reason, one sentence each; and who has
    /// a reason and misses nothing.
    #[must_use]
    pub fn misses(&self) -> Vec<String> {
        let mut misses = Vec::new();
        for row in self.rows.iter().filter(|row| row.judged) {
            let missed = self.missed_by(row);
            match row.short {
                None => misses.extend(missed),
                Some(_) if missed.is_empty() => {
                    misses.push(format!("{} {}: meets its targets now", self.id, row.name));
                }
                Some(_) => {}
            }
        }
        misses
    }

    /// Tells what somebody misses.
    #[must_use]
    pub fn missed_by(&self, row: &Row) -> Vec<String> {
        let measured = self.figures.iter().zip(&row.values);
        measured
            .filter(|(figure, value)| !figure.target.is_met(**value))
            .map(|(figure, value)| {
                format!(
                    "{} {}: {} is {}, target {}",
                    self.id,
                    row.name,
                    figure.name,
                    figure.text(*value),
                    figure.target_text()
                )
            })
            .collect()
    }

    /// Returns a figure of somebody who competes.
    ///
    /// # Panics
    ///
    /// If there is no such row, or no such figure.
    #[must_use]
    pub fn value(&self, row: &str, figure: &str) -> f64 {
        let find = |name: &str| self.figures.iter().position(|of| of.name == name);
        let row = self.rows.iter().find(|of| of.name == row);
        row.expect("a row of this name").values[find(figure).expect("a figure of this name")]
    }
}

// === impl Row ===

impl Row {
    /// Takes the worst of each figure over all runs.
    #[must_use]
    pub fn worst(name: &str, judged: bool, figures: &[Figure], runs: &[Vec<f64>]) -> Self {
        let worst = |(column, figure): (usize, &Figure)| {
            let values = runs.iter().map(|run| run[column]);
            match figure.target {
                Target::AtLeast(_) => values.fold(f64::INFINITY, f64::min),
                Target::AtMost(_) | Target::None => values.fold(f64::NEG_INFINITY, f64::max),
            }
        };
        Self {
            name: name.to_owned(),
            judged,
            values: figures.iter().enumerate().map(worst).collect(),
            short: None,
        }
    }
}

// === impl Figure ===

impl Figure {
    /// Writes a value with as many decimals as say something.
    #[must_use]
    pub fn text(&self, value: f64) -> String {
        if value.is_infinite() {
            return "never".to_owned();
        }
        let mut text = String::new();
        let _ = write!(text, "{value:.*}", self.decimals);
        // A worst value of zero from below is zero.
        text.strip_prefix('-')
            .filter(|rest| rest.chars().all(|c| c == '0' || c == '.'))
            .map_or(text.clone(), str::to_owned)
    }

    /// Writes the target.
    #[must_use]
    pub fn target_text(&self) -> String {
        match self.target {
            Target::AtLeast(least) => format!("≥ {least}"),
            Target::AtMost(0.0) => "0".to_owned(),
            Target::AtMost(most) => format!("≤ {most}"),
            Target::None => String::new(),
        }
    }
}

// === impl Target ===

impl Target {
    /// Says whether a value meets it.
    #[must_use]
    pub fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtLeast(least) => value >= least,
            Self::AtMost(most) => value <= most,
            Self::None => true,
        }
    }
}

/// Runs something for each distribution of service and each seed: all of them for who is judged; for
/// the others the first seed, and exponential times and the widest.
pub fn runs(judged: bool, mut run: impl FnMut(Service, u64) -> Vec<f64>) -> Vec<Vec<f64>> {
    let (services, seeds) = if judged {
        (&SERVICES[..], &SEEDS[..])
    } else {
        (&[SERVICES[0], SERVICES[3]][..], &SEEDS[..1])
    };
    let mut runs = Vec::new();
    for &service in services {
        runs.extend(seeds.iter().map(|&seed| run(service, seed)));
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scenario(values: [f64; 3]) -> Scenario {
        let figure = |name, target| Figure {
            name,
            decimals: 1,
            target,
        };
        let figures = vec![
            figure("goodput, %", Target::AtLeast(98.0)),
            figure("p99, ms", Target::AtMost(20.0)),
            figure("limit", Target::None),
        ];
        Scenario {
            id: "S0",
            title: "",
            story: "",
            rows: vec![Row::worst("ours", true, &figures, &[values.to_vec()])],
            figures,
            charts: Vec::new(),
            notes: String::new(),
        }
    }

    #[test]
    fn what_is_missed_is_said_with_the_target() {
        assert!(scenario([98.0, 20.0, f64::INFINITY]).misses().is_empty());
        assert_eq!(
            scenario([97.94, f64::INFINITY, 0.0]).misses(),
            [
                "S0 ours: goodput, % is 97.9, target ≥ 98",
                "S0 ours: p99, ms is never, target ≤ 20"
            ]
        );
    }

    #[test]
    fn a_stated_shortfall_is_no_miss_until_it_is_none() {
        let mut short = scenario([97.0, 20.0, 0.0]);
        short.rows[0].short = Some("because");
        assert!(short.misses().is_empty());

        short.rows[0].values[0] = 98.0;
        assert_eq!(short.misses(), ["S0 ours: meets its targets now"]);
    }

    #[test]
    fn a_row_holds_the_worst_of_all_runs() {
        let scenario = scenario([0.0; 3]);
        let runs = [vec![99.0, 10.0, 5.0], vec![98.5, 12.0, 4.0]];

        let row = Row::worst("ours", true, &scenario.figures, &runs);

        assert_eq!(row.values, [98.5, 12.0, 5.0]);
    }

    #[test]
    fn nothing_is_written_as_less_than_nothing() {
        let figure = scenario([0.0; 3]).figures[0];

        let texts = [-0.01, -0.3, 0.04].map(|value| figure.text(value));

        assert_eq!(texts, ["0.0", "-0.3", "0.0"]);
    }
}
