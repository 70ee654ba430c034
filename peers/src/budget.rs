//! Budgets, and the verdict on them.

use std::fmt;

/// An upper bound for ours, in medians of one run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Budget {
    /// At most so many nanoseconds a unit.
    AtMost {
        /// The bound in nanoseconds.
        ns: f64,
    },
    /// At most so many nanoseconds a unit more than a peer needs.
    AtMostOver {
        /// Name of the peer.
        peer: &'static str,
        /// What may be added to the peer's median, in nanoseconds.
        ns: f64,
    },
    /// Faster than a peer.
    AheadOf {
        /// Name of the peer.
        peer: &'static str,
    },
    /// At most so many allocations per whole (see [`crate::Group::allocations_per`]).
    Allocations {
        /// The bound.
        count: f64,
    },
}

impl Budget {
    /// Returns the peer that the budget is relative to.
    pub fn peer(&self) -> Option<&'static str> {
        match self {
            Budget::AtMostOver { peer, .. } | Budget::AheadOf { peer } => Some(peer),
            Budget::AtMost { .. } | Budget::Allocations { .. } => None,
        }
    }

    /// Judges ours; `None` stands for what was not measured.
    pub fn judge(
        &self,
        ours_ns: Option<f64>,
        peer_ns: Option<f64>,
        allocations: Option<f64>,
    ) -> Verdict {
        let (measured, bound) = match *self {
            Budget::AtMost { ns } => (ours_ns, Some(ns)),
            Budget::AtMostOver { ns, .. } => (ours_ns, peer_ns.map(|peer| peer + ns)),
            Budget::AheadOf { .. } => (ours_ns, peer_ns),
            Budget::Allocations { count } => (allocations, Some(count)),
        };
        let (Some(measured), Some(bound)) = (measured, bound) else {
            return Verdict::NotMeasured;
        };
        // A draw is not ahead; an upper bound may be reached.
        let met = match self {
            Budget::AheadOf { .. } => measured < bound,
            _ => measured <= bound,
        };
        if met {
            Verdict::Met
        } else {
            Verdict::MissedBy(measured - bound)
        }
    }

    /// Writes the budget and the verdict as they stand in the table.
    pub fn describe(&self, verdict: Verdict) -> String {
        let unit = match self {
            Budget::Allocations { .. } => "allocations",
            _ => "ns",
        };
        match verdict {
            Verdict::Met => format!("{self}: met"),
            Verdict::MissedBy(excess) => format!("{self}: missed by {excess:.1} {unit}"),
            Verdict::NotMeasured => format!("{self}: not measured"),
        }
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Budget::AtMost { ns } => write!(f, "≤ {ns} ns"),
            Budget::AtMostOver { ns, .. } => write!(f, "≤ this + {ns} ns"),
            Budget::AheadOf { .. } => write!(f, "ahead of this"),
            Budget::Allocations { count: 1.0 } => write!(f, "≤ 1 allocation"),
            Budget::Allocations { count } => write!(f, "≤ {count} allocations"),
        }
    }
}

/// Whether a budget was kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    /// Kept.
    Met,
    /// Not kept, and by how much, in the budget's unit.
    MissedBy(f64),
    /// Ours, or the peer it is compared with, took no part.
    NotMeasured,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_follow_the_bound() {
        let cases = [
            (Budget::AtMost { ns: 5.0 }, Some(5.0), None, Verdict::Met),
            (
                Budget::AtMost { ns: 5.0 },
                Some(6.5),
                None,
                Verdict::MissedBy(1.5),
            ),
            (Budget::AtMost { ns: 5.0 }, None, None, Verdict::NotMeasured),
            (over(100.0), Some(300.0), Some(200.0), Verdict::Met),
            (
                over(100.0),
                Some(301.0),
                Some(200.0),
                Verdict::MissedBy(1.0),
            ),
            (over(100.0), Some(300.0), None, Verdict::NotMeasured),
            (ahead(), Some(9.0), Some(10.0), Verdict::Met),
            (ahead(), Some(10.0), Some(10.0), Verdict::MissedBy(0.0)),
        ];

        for (budget, ours, peer, expect) in cases {
            assert_eq!(
                budget.judge(ours, peer, None),
                expect,
                "{budget:?} with ours {ours:?} and the peer {peer:?}"
            );
        }
    }

    #[test]
    fn an_allocation_budget_looks_at_allocations_alone() {
        let budget = Budget::Allocations { count: 1.0 };

        let one = budget.judge(None, None, Some(1.0));
        let two = budget.judge(Some(0.1), None, Some(2.0));

        assert_eq!(one, Verdict::Met);
        assert_eq!(two, Verdict::MissedBy(1.0));
    }

    fn over(ns: f64) -> Budget {
        Budget::AtMostOver { peer: "peer", ns }
    }

    fn ahead() -> Budget {
        Budget::AheadOf { peer: "peer" }
    }
}
