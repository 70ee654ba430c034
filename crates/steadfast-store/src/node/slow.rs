//! Which beats take too long: for who must not take others for dead when its own do.

/// Times are those of one clock, in nanoseconds.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Slow {
    /// When the beat under way was begun.
    began: Option<u64>,
    /// When the last one ended that took too long.
    last: Option<u64>,
}

impl Slow {
    pub(super) fn begin(&mut self, now: u64) {
        self.began = Some(now);
    }

    /// The beat has ended, well or not.
    pub(super) fn end(&mut self, now: u64, longest: u64) {
        self.last = self.at(now, longest);
        self.began = None;
    }

    /// Tells when a beat last took longer; one that still does so takes too long now.
    pub(super) fn at(&self, now: u64, longest: u64) -> Option<u64> {
        let is_slow = |began: u64| now.saturating_sub(began) > longest;
        self.began
            .filter(|began| is_slow(*began))
            .map(|_| now)
            .or(self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beat_is_slow_while_it_is_and_each_one_counts_anew() {
        let mut slow = Slow::default();
        slow.begin(100);
        slow.end(110, 10);
        assert_eq!(slow.at(110, 10), None);

        slow.begin(200);
        assert_eq!(slow.at(210, 10), None);
        assert_eq!(slow.at(211, 10), Some(211), "it has not ended yet");
        slow.end(290, 10);
        assert_eq!(slow.at(300, 10), Some(290));

        // Quicker than that one, and too slow all the same.
        slow.begin(400);
        slow.end(420, 10);
        slow.begin(500);
        slow.end(505, 10);
        assert_eq!(slow.at(600, 10), Some(420));
    }
}
