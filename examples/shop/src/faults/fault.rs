//! What can go wrong. Every number has a bound, so that no fault outlives the patience of whoever
//! looks at it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The longest that a fault is in force: a minute, and then all is well again, whatever became of
/// whoever ordered it.
pub const LASTS_MAX: Duration = Duration::from_secs(60);

/// The longest that one request or run is held up: 30 s.
pub const LATENCY_MAX: Duration = Duration::from_secs(30);

/// The longest that one request keeps a processor: a second.
pub const CPU_MAX: Duration = Duration::from_secs(1);

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// It takes longer by this, give or take the jitter.
    Latency {
        /// How much longer, in milliseconds.
        ms: u64,
        /// How much more or less, in milliseconds.
        jitter_ms: u64,
    },
    /// It is answered with 500.
    Error,
    /// The handler panics.
    PanicHandler,
    /// The body panics after its first frame.
    PanicBody,
    /// A task that the handler has started panics.
    PanicTask,
    /// It does not go on until the fault ends.
    Hang,
    /// The connection breaks within the answer.
    Drop,
    /// A processor is busy with it, and does nothing else.
    Cpu {
        /// For how long, in milliseconds.
        ms: u64,
    },
}

/// What goes wrong where, how often, and for how long.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Injection {
    /// A route, such as `POST /payments`; a place in the middle of work, such as `settlement`; or `*`
    /// for all requests.
    pub at: String,
    /// What goes wrong.
    pub fault: Fault,
    /// The share of requests that it meets, over 0 and up to 1.
    pub share: f64,
    /// After how many milliseconds it ends by itself.
    pub lasts_ms: u64,
}

impl Injection {
    /// Checks the bounds.
    ///
    /// # Errors
    /// The bound that is exceeded.
    pub fn check(&self) -> Result<(), String> {
        let most = |what: &str, is: u64, most: Duration| match u128::from(is) <= most.as_millis() {
            true => Ok(()),
            false => Err(format!(
                "{what} is {is} ms, and at most {} ms",
                most.as_millis()
            )),
        };
        most("the length of a fault", self.lasts_ms, LASTS_MAX)?;
        if !(self.share > 0.0 && self.share <= 1.0) {
            return Err(format!("the share is {}, and over 0 up to 1", self.share));
        }
        match self.fault {
            Fault::Latency { ms, jitter_ms } => {
                most("the latency", ms.saturating_add(jitter_ms), LATENCY_MAX)
            }
            Fault::Cpu { ms } => most("the time of a processor", ms, CPU_MAX),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(fault: Fault, share: f64, lasts_ms: u64) -> Result<(), String> {
        let at = "*".to_owned();
        Injection {
            at,
            fault,
            share,
            lasts_ms,
        }
        .check()
    }

    #[test]
    fn what_is_within_its_bounds_is_taken_and_nothing_else() {
        let latency = |ms, jitter_ms| Fault::Latency { ms, jitter_ms };
        for (fault, share, lasts_ms) in [
            (Fault::Error, 1.0, 60_000),
            (latency(20_000, 10_000), 0.01, 1),
            (Fault::Cpu { ms: 1_000 }, 0.5, 1),
        ] {
            assert_eq!(check(fault, share, lasts_ms), Ok(()));
        }
        for (fault, share, lasts_ms) in [
            (Fault::Error, 1.0, 60_001),
            (Fault::Error, 0.0, 1),
            (Fault::Error, 1.1, 1),
            (Fault::Error, f64::NAN, 1),
            (latency(30_000, 1), 1.0, 1),
            (latency(u64::MAX, u64::MAX), 1.0, 1),
            (Fault::Cpu { ms: 1_001 }, 1.0, 1),
        ] {
            assert!(
                check(fault, share, lasts_ms).is_err(),
                "{fault:?} {share} {lasts_ms}"
            );
        }
    }
}
