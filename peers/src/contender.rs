//! What is measured: contenders that do the same work, grouped by primitive.

use std::time::{Duration, Instant};

use crate::budget::Budget;

/// The result of one batch.
#[derive(Clone, Copy, Debug)]
pub struct Batch {
    /// Units of work that were seen to happen: cleanups run, tasks joined, values read.
    pub units: u64,
    /// Time the batch took.
    pub elapsed: Duration,
}

impl Batch {
    /// Returns the nanoseconds one unit took.
    pub fn ns_per_unit(&self) -> f64 {
        self.elapsed.as_nanos() as f64 / self.units as f64
    }
}

/// One way to do the work of a group.
pub struct Contender {
    name: String,
    in_process: bool,
    run: Box<dyn FnMut(u64) -> Batch>,
}

impl Contender {
    /// Measures `run`, which does as many iterations as it is told and returns how many
    /// units of work it saw happen.
    ///
    /// The count must come from the work itself, so that the harness can refuse a contender
    /// that skips some of it.
    pub fn new(name: impl Into<String>, mut run: impl FnMut(u64) -> u64 + 'static) -> Self {
        let timed = move |iterations| {
            let start = Instant::now();
            let units = run(iterations);
            Batch {
                units,
                elapsed: start.elapsed(),
            }
        };
        Contender {
            name: name.into(),
            in_process: true,
            run: Box::new(timed),
        }
    }

    /// Takes part with batches that another process runs and times itself.
    pub fn elsewhere(name: impl Into<String>, run: impl FnMut(u64) -> Batch + 'static) -> Self {
        Contender {
            name: name.into(),
            in_process: false,
            run: Box::new(run),
        }
    }

    /// Returns the name shown in the table.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Tells whether the work happens in this process, where its allocations can be counted.
    pub fn is_in_process(&self) -> bool {
        self.in_process
    }

    /// Runs one batch.
    pub fn run(&mut self, iterations: u64) -> Batch {
        (self.run)(iterations)
    }
}

/// A primitive: ours, its peers, the unit they are counted in, and the budget.
pub struct Group {
    /// Name of the primitive, which `./bench NAME` filters by.
    pub name: String,
    /// What one unit of work is, in the singular.
    pub unit: &'static str,
    /// Units of work in one iteration of every contender.
    pub units_per_iteration: u64,
    /// What allocations are counted per, and how many units that is.
    pub allocations_per: (&'static str, u64),
    /// Steadfast's contender; `None` leaves its row and the ratios open.
    pub ours: Option<Contender>,
    /// Everybody else.
    pub peers: Vec<Contender>,
    /// What ours has to keep.
    pub budgets: Vec<Budget>,
}

impl Group {
    /// Starts a group whose contenders do one unit an iteration.
    pub fn new(name: impl Into<String>, unit: &'static str) -> Self {
        Group {
            name: name.into(),
            unit,
            units_per_iteration: 1,
            allocations_per: (unit, 1),
            ours: None,
            peers: Vec::new(),
            budgets: Vec::new(),
        }
    }

    /// Sets how many units each iteration does.
    pub fn units_per_iteration(mut self, units: u64) -> Self {
        self.units_per_iteration = units;
        self
    }

    /// Counts allocations per `whole` of that many units instead of per unit.
    pub fn allocations_per(mut self, whole: &'static str, units: u64) -> Self {
        self.allocations_per = (whole, units);
        self
    }

    /// Enters steadfast.
    pub fn ours(mut self, contender: Contender) -> Self {
        self.ours = Some(contender);
        self
    }

    /// Adds a peer.
    pub fn peer(mut self, contender: Contender) -> Self {
        self.peers.push(contender);
        self
    }

    /// Adds the peer where there is one: Go may be missing.
    pub fn peer_if(mut self, contender: Option<Contender>) -> Self {
        self.peers.extend(contender);
        self
    }

    /// Adds a budget that ours has to keep.
    ///
    /// # Panics
    ///
    /// If the budget is relative to a peer that is not in the group.
    pub fn budget(mut self, budget: Budget) -> Self {
        if let Some(peer) = budget.peer() {
            assert!(
                self.peers.iter().any(|contender| contender.name() == peer),
                "budget of `{}` names `{peer}`, which is no peer of it",
                self.name
            );
        }
        self.budgets.push(budget);
        self
    }

    /// Yields ours, if entered, and then the peers.
    pub fn contenders_mut(&mut self) -> impl Iterator<Item = &mut Contender> {
        self.ours.iter_mut().chain(self.peers.iter_mut())
    }
}
