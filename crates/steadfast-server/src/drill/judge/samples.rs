//! What clients saw, and what is counted of it.

use std::time::Duration;

/// What became of a request, as its client saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// An answer, to its end.
    Answered {
        status: u16,
        /// Its trace id, where it has one.
        id: Option<String>,
        /// Why it was rejected, where it says so.
        reason: Option<String>,
        /// Whether it says when to come again.
        retry_after: bool,
    },
    /// The connection broke within the answer.
    CutOff { id: Option<String> },
    /// The connection broke before an answer.
    Broken,
    /// There was nobody to connect to.
    Refused,
    /// The client did not wait any longer.
    GaveUp,
}

/// One request of the load.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    /// Which class of requests it belongs to.
    pub(crate) class: &'static str,
    /// Whether the shop is there for it.
    pub(crate) core: bool,
    /// When it was due, from the start of the load.
    pub(crate) due: Duration,
    /// How long its client waited, from when it was due.
    pub(crate) latency: Duration,
    pub(crate) outcome: Outcome,
}

impl Sample {
    pub(super) fn is_served(&self) -> bool {
        matches!(self.outcome, Outcome::Answered { status, .. } if (200..300).contains(&status))
    }

    pub(super) fn is_panicked(&self) -> bool {
        matches!(&self.outcome, Outcome::Answered { status: 500, .. })
    }

    /// Nobody has answered, and it was not the client who left: so ends a panic that nobody catches.
    pub(super) fn is_broken(&self) -> bool {
        matches!(self.outcome, Outcome::Broken | Outcome::CutOff { .. })
    }

    pub(super) fn is_rejected(&self) -> bool {
        matches!(
            &self.outcome,
            Outcome::Answered {
                status: 503 | 429,
                ..
            }
        )
    }

    pub(super) fn is_told(&self) -> bool {
        matches!(
            &self.outcome,
            Outcome::Answered {
                reason: Some(_),
                retry_after: true,
                ..
            }
        )
    }

    pub(super) fn id(&self) -> Option<&str> {
        match &self.outcome {
            Outcome::Answered { id, .. } | Outcome::CutOff { id } => id.as_deref(),
            _ => None,
        }
    }

    /// When its client was answered, or left.
    pub(super) fn ended(&self) -> Duration {
        self.due + self.latency
    }
}

/// The share of those for whom `is` holds, in percent; `None` of none.
pub(super) fn percent<'s>(
    samples: impl Iterator<Item = &'s Sample>,
    is: impl Fn(&Sample) -> bool,
) -> Option<f64> {
    let (mut all, mut those) = (0_u64, 0_u64);
    for sample in samples {
        all += 1;
        those += u64::from(is(sample));
    }
    (all > 0).then(|| 100.0 * those as f64 / all as f64)
}

/// The smallest latency that a share of all does not exceed, in milliseconds; `None` of none.
pub(super) fn quantile<'s>(samples: impl Iterator<Item = &'s Sample>, share: f64) -> Option<f64> {
    let mut all: Vec<Duration> = samples.map(|sample| sample.latency).collect();
    all.sort_unstable();
    let rank = (share * all.len() as f64).ceil() as usize;
    let found = all.get(rank.max(1) - 1)?;
    Some(found.as_secs_f64() * 1_000.0)
}
