//! What an admission queue may be told, and what it refuses.

use std::time::Duration;

use crate::context::Tier;

/// Says how an [`AdmissionQueue`](super::AdmissionQueue) behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdmissionConfig {
    /// How many may wait, all tiers together. From 1 to 65,536; default 1,000.
    ///
    /// A waiter takes about 300 bytes here and its connection outside. At a thousand requests a
    /// second this is a second's worth: who is further back would not wait that long anyway.
    pub waiting_max: u32,

    /// For how long a tier's queue must not have been empty to count as standing, from when on the
    /// newest is served first. Default 100 ms: longer than a garbage collection or a burst of a page
    /// with all its images, shorter than anybody's patience.
    pub standing_after: Duration,

    /// How long anybody may wait, also without a deadline. From 1 ms to 5 minutes; default 1 s: a
    /// person who has waited for a second is about to try again.
    pub wait_max: Duration,

    /// How many hundredths of the permits, and of the room in the queue, are guaranteed to each
    /// tier, in the order of their numbers. At most 100 together; default 0 for all, so that
    /// importance alone decides.
    pub guaranteed: [u8; Tier::COUNT],
}

/// Refuses an [`AdmissionConfig`] with a number out of range.
///
/// The message names the bound. Trying again with the same numbers fails again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct InvalidAdmission(#[from] Refusal);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Refusal {
    #[error("waiting_max {0} is outside of 1 to {bound}", bound = AdmissionConfig::MAX_WAITING)]
    Waiting(u32),
    #[error("wait_max {0:?} is outside of 1 ms to {bound:?}", bound = AdmissionConfig::MAX_WAIT)]
    Wait(Duration),
    #[error("standing_after {standing_after:?} is over wait_max {wait_max:?}")]
    Standing {
        standing_after: Duration,
        wait_max: Duration,
    },
    #[error("guaranteed shares add up to {0} %, which is over 100 %")]
    Shares(u32),
}

// === impl AdmissionConfig ===

impl AdmissionConfig {
    /// The most that may be allowed to wait: 65,536, which is 20 MiB.
    pub const MAX_WAITING: u32 = 1 << 16;

    /// The longest wait that may be allowed: 5 minutes, beyond what proxies and clients hold.
    pub const MAX_WAIT: Duration = Duration::from_secs(300);

    pub(super) fn check(&self) -> Result<(), InvalidAdmission> {
        if !(1..=Self::MAX_WAITING).contains(&self.waiting_max) {
            return Err(Refusal::Waiting(self.waiting_max).into());
        }
        if self.wait_max < Duration::from_millis(1) || self.wait_max > Self::MAX_WAIT {
            return Err(Refusal::Wait(self.wait_max).into());
        }
        if self.standing_after > self.wait_max {
            return Err(Refusal::Standing {
                standing_after: self.standing_after,
                wait_max: self.wait_max,
            }
            .into());
        }
        let shares = self.guaranteed.iter().copied().map(u32::from).sum();
        if shares > 100 {
            return Err(Refusal::Shares(shares).into());
        }
        Ok(())
    }

    /// Returns how many of `whole` are guaranteed to a tier, rounded down.
    pub(super) fn share(&self, tier: usize, whole: u32) -> u32 {
        (u64::from(whole) * u64::from(self.guaranteed[tier]) / 100) as u32
    }
}

impl Default for AdmissionConfig {
    fn default() -> Self {
        Self {
            waiting_max: 1_000,
            standing_after: Duration::from_millis(100),
            wait_max: Duration::from_secs(1),
            guaranteed: [0; Tier::COUNT],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_out_of_range_are_refused_with_their_bound() {
        let ok = AdmissionConfig::default();
        let cases = [
            (
                AdmissionConfig {
                    waiting_max: 0,
                    ..ok
                },
                "waiting_max 0 is outside of 1 to 65536",
            ),
            (
                AdmissionConfig {
                    wait_max: Duration::from_secs(301),
                    ..ok
                },
                "wait_max 301s is outside of 1 ms to 300s",
            ),
            (
                AdmissionConfig {
                    standing_after: Duration::from_secs(2),
                    ..ok
                },
                "standing_after 2s is over wait_max 1s",
            ),
            (
                AdmissionConfig {
                    guaranteed: [60, 41, 0, 0, 0, 0, 0, 0],
                    ..ok
                },
                "guaranteed shares add up to 101 %, which is over 100 %",
            ),
        ];

        for (config, message) in cases {
            assert_eq!(config.check().unwrap_err().to_string(), message);
        }
        assert_eq!(ok.check(), Ok(()));
    }
}
