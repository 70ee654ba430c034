//! `steadfast drill`: a shop is hurt on purpose, and what becomes of its customers is measured.
//!
//! The shop, its gateway and its workers are processes of their own ([`process`], [`part`]): they are
//! killed and frozen as processes are. Customers come by a schedule that waits for nobody ([`load`]). A
//! scenario hurts something meanwhile and notes what was seen ([`scenarios`]); what that is worth is
//! decided apart, without a clock or a socket ([`judge`]), and told in four forms ([`print`]).

mod audit;
pub(crate) mod judge;
mod load;
mod log;
pub(crate) mod part;
pub(crate) mod print;
mod process;
pub(crate) mod scenarios;
mod stage;

use steadfast::clock;

pub(crate) use scenarios::Scenario;
pub(crate) use stage::Pace;

use judge::Row;
use stage::Stage;

/// What is to be played, and how.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) scenarios: Vec<Scenario>,
    pub(crate) pace: Pace,
    /// Whether the shop has its protections.
    pub(crate) protected: bool,
    /// Where logs and books go.
    pub(crate) folder: std::path::PathBuf,
}

/// What one shop went through.
#[derive(Debug, Clone)]
pub(crate) struct Play {
    pub(crate) acts: Vec<Act>,
    pub(crate) took_s: f64,
}

/// A scenario that was played.
#[derive(Debug, Clone)]
pub(crate) struct Act {
    pub(crate) scenario: Scenario,
    pub(crate) rows: Vec<Row>,
    pub(crate) took_s: f64,
}

impl Play {
    /// Tells whether every criterion is met.
    pub(crate) fn is_met(&self) -> bool {
        self.acts.iter().flat_map(|act| &act.rows).all(Row::is_met)
    }
}

/// Plays all of it on one shop; `progress` hears what begins.
pub(crate) async fn play(plan: &Plan, mut progress: impl FnMut(Scenario)) -> anyhow::Result<Play> {
    let begun = clock::now();
    let mut stage = Stage::open(plan).await?;
    let mut acts = Vec::new();
    for &scenario in &plan.scenarios {
        progress(scenario);
        let act_begun = clock::now();
        let rows = scenario.play(&mut stage).await?;
        let took_s = (clock::now() - act_begun).as_secs_f64();
        acts.push(Act {
            scenario,
            rows,
            took_s,
        });
    }
    let took_s = (clock::now() - begun).as_secs_f64();
    Ok(Play { acts, took_s })
}
