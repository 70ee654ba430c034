use std::time::Duration;

/// How long the parts of a drain may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainLimits {
    /// How long everything is still served while not ready: 5 s by default, which an orchestrator
    /// usually needs to take an instance out of its services. Behind a load balancer that polls,
    /// at least two of its intervals. Zero for none.
    pub notice: Duration,
    /// How long requests below the core tier may go on after the notice: 5 s by default. They are
    /// either soon done, or can be asked for again. A [server](crate::guard::Serve) then closes the
    /// connections on which nothing of core is served; a layer alone cannot.
    pub lower: Duration,
    /// How long the whole may take, the notice included: 20 s by default, which leaves the work
    /// that is cancelled then, and its cleanups, 10 s of the 30 s that a container gets.
    pub hard: Duration,
}

impl Default for DrainLimits {
    fn default() -> Self {
        Self {
            notice: Duration::from_secs(5),
            lower: Duration::from_secs(5),
            hard: Duration::from_secs(20),
        }
    }
}

/// What is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    Serving,
    /// All, while the load balancer notices.
    NotReady,
    CoreOnly,
    Closed,
}

impl DrainLimits {
    /// The stage of a drain that has begun so long ago.
    pub(super) fn stage(&self, since: Duration) -> Stage {
        if since >= self.hard {
            Stage::Closed
        } else if since >= self.notice {
            Stage::CoreOnly
        } else {
            Stage::NotReady
        }
    }

    /// When what is below core is cut off, counted from the beginning.
    #[cfg(feature = "serve")]
    pub(super) fn lower_ends(&self) -> Duration {
        (self.notice + self.lower).min(self.hard)
    }

    /// When the listener closes, counted from the beginning.
    pub(super) fn stop_accepting(&self) -> Duration {
        self.notice.min(self.hard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_follow_each_other_in_time() {
        let secs = Duration::from_secs;
        let check = |notice, hard, since, expected| {
            let limits = DrainLimits {
                notice: secs(notice),
                lower: secs(5),
                hard: secs(hard),
            };
            assert_eq!(limits.stage(secs(since)), expected);
        };

        check(5, 20, 0, Stage::NotReady);
        check(5, 20, 5, Stage::CoreOnly);
        check(5, 20, 19, Stage::CoreOnly);
        check(5, 20, 20, Stage::Closed);
        check(0, 20, 0, Stage::CoreOnly);
        // A notice beyond the hard limit ends with that.
        check(30, 20, 19, Stage::NotReady);
        check(30, 20, 20, Stage::Closed);
        check(0, 0, 0, Stage::Closed);
    }
}
