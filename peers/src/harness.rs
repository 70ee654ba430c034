//! Runs the contenders of a group in turns and sums up what they took.
//!
//! 1. *Calibrate* each contender: find how many iterations fill one batch. This also warms
//!    up caches, branch predictors, pools and the allocator.
//! 2. *Check* that its time grows with its iterations and that it did all the work it was
//!    asked for. A loop that the optimizer removed or folded fails here and stops the run.
//! 3. *Alternate*: in every round each contender runs one batch. The order rotates and every
//!    other round runs backwards, so that nobody always follows the same neighbor.
//! 4. *Sum up*: the median over the rounds, and the range.

use std::fmt;
use std::time::Duration;

use crate::{Batch, Contender, Group};

/// Rounds and the length of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Number of rounds; odd, so that the median is a batch that really ran.
    pub rounds: usize,
    /// Time one batch should fill.
    pub batch: Duration,
}

impl Default for Plan {
    /// 41 batches of 3 ms for each contender.
    ///
    /// A batch of 3 ms is a thousand times the cost of reading the clock and entering a
    /// runtime, and still short enough that on a busy machine most batches run to their end
    /// without being preempted; 41 of them make a median that a few preempted ones do not
    /// move. The whole table takes well under a minute.
    fn default() -> Self {
        Plan {
            rounds: 41,
            batch: Duration::from_millis(3),
        }
    }
}

/// What one contender took, in nanoseconds a unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// Median over the rounds.
    pub median: f64,
    /// Fastest round.
    pub min: f64,
    /// Slowest round.
    pub max: f64,
}

/// Why a contender cannot be measured.
#[derive(Debug, PartialEq)]
pub enum Refused {
    /// It did another amount of work than it was asked for.
    WrongAmount {
        /// The contender.
        contender: String,
        /// Units seen to happen.
        units: u64,
        /// Units asked for.
        expected: u64,
    },
    /// Its time does not grow with its iterations: the loop was optimized out.
    OptimizedOut {
        /// The contender.
        contender: String,
        /// Time of the longer run over the time of the shorter one.
        growth: f64,
        /// What an honest loop comes close to.
        expected: u64,
    },
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::WrongAmount {
                contender,
                units,
                expected,
            } => write!(
                f,
                "`{contender}` did {units} units of work instead of {expected}"
            ),
            Refused::OptimizedOut {
                contender,
                growth,
                expected,
            } => write!(
                f,
                "`{contender}` took {growth:.1} times as long for {expected} times the \
                 iterations; its loop must have been optimized out"
            ),
        }
    }
}

impl std::error::Error for Refused {}

/// Measures all contenders of a group, in the order of [`Group::contenders_mut`].
///
/// # Errors
///
/// If a contender skips work or its loop was optimized out.
pub fn measure(group: &mut Group, plan: Plan) -> Result<Vec<Summary>, Refused> {
    let units = group.units_per_iteration;
    let mut runners = Vec::new();
    for contender in group.contenders_mut() {
        let iterations = calibrate(contender, units, plan.batch)?;
        check_growth(contender, iterations, units)?;
        runners.push(Runner {
            contender,
            iterations,
            samples: Vec::with_capacity(plan.rounds),
        });
    }

    for round in 0..plan.rounds {
        for index in turns(round, runners.len()) {
            let runner = &mut runners[index];
            let batch = run_checked(runner.contender, runner.iterations, units)?;
            runner.samples.push(batch.ns_per_unit());
        }
    }

    Ok(runners
        .into_iter()
        .map(|runner| summarize(runner.samples))
        .collect())
}

/// A contender at work.
struct Runner<'group> {
    contender: &'group mut Contender,
    iterations: u64,
    samples: Vec<f64>,
}

/// Finds how many iterations fill a batch.
fn calibrate(contender: &mut Contender, units: u64, target: Duration) -> Result<u64, Refused> {
    let mut iterations = 1;
    loop {
        let elapsed = run_checked(contender, iterations, units)?.elapsed;
        if elapsed >= target {
            return Ok(iterations);
        }
        // A loop that was optimized out never fills a batch. It ends here, and the check
        // that follows refuses it.
        if iterations >= ITERATIONS_MAX {
            return Ok(iterations);
        }
        let missing = target.as_secs_f64() / elapsed.as_secs_f64().max(1e-9);
        // Early runs are cold and say little, hence growth by small steps.
        let factor = missing.clamp(1.1, 4.0);
        iterations = ((iterations as f64 * factor).ceil() as u64).min(ITERATIONS_MAX);
    }
}

/// At the floor of a quarter of a nanosecond an iteration, this is a hundred times as long
/// as the default batch.
const ITERATIONS_MAX: u64 = 1 << 30;

/// Refuses a contender whose time does not follow its iterations.
fn check_growth(contender: &mut Contender, iterations: u64, units: u64) -> Result<(), Refused> {
    let short_iterations = (iterations / GROWTH).max(1);
    let mut short = Duration::MAX;
    let mut long = Duration::MAX;
    for _ in 0..GROWTH_TRIES {
        short = short.min(run_checked(contender, short_iterations, units)?.elapsed);
        long = long.min(run_checked(contender, short_iterations * GROWTH, units)?.elapsed);
    }
    let growth = long.as_secs_f64() / short.as_secs_f64().max(1e-9);
    if growth >= GROWTH_MIN {
        Ok(())
    } else {
        Err(Refused::OptimizedOut {
            contender: contender.name().to_owned(),
            growth,
            expected: GROWTH,
        })
    }
}

/// How much longer the long run is.
const GROWTH: u64 = 8;

/// What must be left of that: room for what a batch costs besides its iterations, and far
/// from the 1 of a loop that is not there.
const GROWTH_MIN: f64 = 3.0;

/// Runs of each length, of which the fastest counts: any single one may have been preempted,
/// and a preempted long run would pass for growth.
const GROWTH_TRIES: usize = 7;

fn run_checked(contender: &mut Contender, iterations: u64, units: u64) -> Result<Batch, Refused> {
    let batch = contender.run(iterations);
    let expected = iterations * units;
    if batch.units == expected {
        Ok(batch)
    } else {
        Err(Refused::WrongAmount {
            contender: contender.name().to_owned(),
            units: batch.units,
            expected,
        })
    }
}

/// Returns the order in which contenders run in a round.
fn turns(round: usize, contenders: usize) -> impl Iterator<Item = usize> {
    (0..contenders).map(move |turn| {
        let turn = if round.is_multiple_of(2) {
            turn
        } else {
            contenders - 1 - turn
        };
        (turn + round / 2) % contenders
    })
}

fn summarize(mut samples: Vec<f64>) -> Summary {
    samples.sort_by(f64::total_cmp);
    Summary {
        median: samples[samples.len() / 2],
        min: samples[0],
        max: samples[samples.len() - 1],
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;

    #[test]
    fn a_loop_that_does_not_run_is_refused() {
        let mut group = Group::new("folded", "unit").peer(Contender::new("folded", |n| n));

        let refused = measure(&mut group, plan()).expect_err("nothing was measured");

        assert!(
            matches!(&refused, Refused::OptimizedOut { contender, .. } if contender == "folded"),
            "{refused:?}"
        );
    }

    #[test]
    fn work_that_is_skipped_is_refused() {
        let mut group = Group::new("lazy", "unit")
            .units_per_iteration(4)
            .peer(simulated("lazy", 3, 10));

        let refused = measure(&mut group, plan()).expect_err("a quarter is missing");

        assert_eq!(
            refused,
            Refused::WrongAmount {
                contender: "lazy".to_owned(),
                units: 3,
                expected: 4
            }
        );
    }

    #[test]
    fn time_is_given_per_unit() {
        let mut group = Group::new("steady", "unit")
            .units_per_iteration(4)
            .peer(simulated("steady", 4, 100));

        let summaries = measure(&mut group, plan()).expect("a steady loop is measured");

        assert_eq!(
            summaries,
            [Summary {
                median: 25.0,
                min: 25.0,
                max: 25.0
            }]
        );
    }

    #[test]
    fn the_median_ignores_a_disturbed_round() {
        let summary = summarize(vec![3.0, 900.0, 1.0, 2.0, 4.0]);

        assert_eq!(
            summary,
            Summary {
                median: 3.0,
                min: 1.0,
                max: 900.0
            }
        );
    }

    #[test]
    fn contenders_take_turns_within_every_round() {
        let log = Rc::new(Cell::new([0_u32; 2]));
        let logged = |index: usize| {
            let log = Rc::clone(&log);
            Contender::elsewhere(format!("{index}"), move |iterations| {
                let mut counts = log.get();
                counts[index] += 1;
                log.set(counts);
                Batch {
                    units: iterations,
                    elapsed: Duration::from_micros(iterations),
                }
            })
        };
        let mut group = Group::new("turns", "unit").peer(logged(0)).peer(logged(1));

        measure(&mut group, plan()).expect("both are measured");

        let [first, second] = log.get();
        assert_eq!(first, second);
    }

    #[test]
    fn every_contender_leads_and_trails_in_some_round() {
        let orders: Vec<Vec<usize>> = (0..6).map(|round| turns(round, 3).collect()).collect();

        for contender in 0..3 {
            assert!(orders.iter().any(|order| order[0] == contender));
            assert!(orders.iter().any(|order| order[2] == contender));
        }
        for mut order in orders {
            order.sort_unstable();
            assert_eq!(order, [0, 1, 2]);
        }
    }

    fn plan() -> Plan {
        Plan {
            rounds: 3,
            batch: Duration::from_micros(50),
        }
    }

    /// A contender with a clock of its own, so that no test depends on the machine.
    fn simulated(name: &str, units: u64, ns: u64) -> Contender {
        Contender::elsewhere(name, move |iterations| Batch {
            units: iterations * units,
            elapsed: Duration::from_nanos(iterations * ns),
        })
    }
}
