//! How long the run of a scheduled job may take, and when it is late.
//!
//! A job that runs every minute and hangs for a quarter of an hour has missed fifteen occurrences
//! before anybody looks; one that runs once a night may take its time. So both follow from the
//! period: the time between the occurrence that a job was made for and the next one.

use std::time::Duration;

/// The least that a run is given, however short the period is: a minute.
pub const LEAST: Duration = Duration::from_secs(60);

/// The most, however long it is, as of any job whose kind says nothing:
/// [`TIMEOUT`](crate::worker::TIMEOUT), 15 minutes.
pub const MOST: Duration = Duration::from_secs(15 * 60);

/// After how many periods a job is late: 3. One is a run that took a little too long, two may be bad
/// luck.
pub const PERIODS: u32 = 3;

/// Gives how long a run may take unless its kind says otherwise: three periods, within [`LEAST`] and
/// [`MOST`].
pub fn longest_run(period: Duration) -> Duration {
    late_after(period).clamp(LEAST, MOST)
}

/// Gives how long after its planned start a job is late that has not ended.
pub fn late_after(period: Duration) -> Duration {
    period.saturating_mul(PERIODS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_given_three_periods_within_bounds() {
        let secs = Duration::from_secs;
        for (period, longest) in [
            (secs(1), LEAST),
            (secs(20), LEAST),
            (secs(21), secs(63)),
            (secs(299), secs(897)),
            (secs(300), MOST),
            (secs(86_400), MOST),
            (Duration::MAX, MOST),
        ] {
            assert_eq!(longest_run(period), longest, "{period:?}");
        }
    }

    #[test]
    fn what_is_late_has_missed_three_occurrences() {
        assert_eq!(
            late_after(Duration::from_secs(86_400)),
            Duration::from_secs(3 * 86_400)
        );
    }
}
