//! How many connections are enough, from what was seen (pure).

use std::fmt;
use std::time::Duration;

/// How long what was seen is kept apart: 10 s, long enough for a mean.
const WINDOW_NS: u64 = 10_000_000_000;

/// How many of these are kept: 360, an hour, so that the peak of a quarter of an hour ago counts.
const WINDOWS: usize = 360;

/// How many times the square root of the mean is added: 2. Arrivals that do not know of each other make the number in
/// use scatter by the root of its mean, and twice that is exceeded one time in forty.
const SPREAD: f64 = 2.0;

/// What a pool has seen of its load, in windows.
#[derive(Debug, Default)]
pub(super) struct Load {
    windows: std::collections::VecDeque<Window>,
    /// In use since `at`.
    used: usize,
    at: Option<u64>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Window {
    number: u64,
    acquired: u64,
    /// Connections in use, added up over time: connection-nanoseconds.
    area: f64,
    seen_ns: u64,
    waited_ns: u64,
    peak: usize,
}

/// How many connections are enough; made by `Pool::advice`.
///
/// By Little's law: how many are in use is how many are taken a second times how long each is held. On top comes twice
/// the square root, since they do not come evenly.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Advice {
    /// Over how long it was looked, an hour at most.
    pub observed: Duration,
    /// How many are taken a second, on average.
    pub acquires_per_second: f64,
    /// How long each is held, on average.
    pub held: Duration,
    /// How long each was waited for, on average.
    pub waited: Duration,
    /// How many are in use, on average.
    pub in_use: f64,
    /// The same in the busiest ten seconds.
    pub in_use_busiest: f64,
    /// How many were in use at once, at most.
    pub in_use_peak: usize,
    /// How many there may be now.
    pub size: usize,
    /// How many are enough.
    pub advised: usize,
}

impl Load {
    /// Notes how many are in use from now on.
    pub(super) fn changed(&mut self, used: usize, now: u64) {
        self.advance(now);
        self.used = used;
        if let Some(window) = self.windows.back_mut() {
            window.peak = window.peak.max(used);
        }
    }

    /// Notes that one was taken after it was waited for.
    pub(super) fn acquired(&mut self, waited_ns: u64, now: u64) {
        self.advance(now);
        if let Some(window) = self.windows.back_mut() {
            window.acquired += 1;
            window.waited_ns += waited_ns;
        }
    }

    /// Adds what was in use up to now.
    fn advance(&mut self, now: u64) {
        let mut at = self.at.map_or(now, |at| at.min(now));
        // What is older than all windows is not looked at.
        at = at.max(now.saturating_sub(WINDOW_NS * WINDOWS as u64));
        loop {
            let number = at / WINDOW_NS;
            if self.windows.back().is_none_or(|last| last.number < number) {
                self.windows.push_back(Window {
                    number,
                    peak: self.used,
                    ..Window::default()
                });
                if self.windows.len() > WINDOWS {
                    self.windows.pop_front();
                }
            }
            let end = now.min((number + 1) * WINDOW_NS);
            if let Some(window) = self.windows.back_mut() {
                window.area += self.used as f64 * (end - at) as f64;
                window.seen_ns += end - at;
            }
            at = end;
            if at >= now {
                break;
            }
        }
        self.at = Some(now);
    }

    /// Says how many are enough; `None` before anything was taken.
    pub(super) fn advice(&mut self, size: usize, size_max: usize, now: u64) -> Option<Advice> {
        self.advance(now);
        let sum = self
            .windows
            .iter()
            .fold(Window::default(), |sum, window| Window {
                number: 0,
                acquired: sum.acquired + window.acquired,
                area: sum.area + window.area,
                seen_ns: sum.seen_ns + window.seen_ns,
                waited_ns: sum.waited_ns + window.waited_ns,
                peak: sum.peak.max(window.peak),
            });
        if sum.acquired == 0 || sum.seen_ns == 0 {
            return None;
        }
        let in_use = sum.area / sum.seen_ns as f64;
        // The one under way has seen too little for a mean of its own.
        let whole = self
            .windows
            .iter()
            .filter(|window| window.seen_ns >= WINDOW_NS / 2);
        let busiest = whole
            .map(|window| window.area / window.seen_ns as f64)
            .fold(in_use, f64::max);
        let enough = (busiest + SPREAD * busiest.sqrt()).ceil() as usize;
        let per_acquire = |ns: f64| Duration::from_nanos((ns / sum.acquired as f64) as u64);
        Some(Advice {
            observed: Duration::from_nanos(sum.seen_ns),
            acquires_per_second: sum.acquired as f64 * 1e9 / sum.seen_ns as f64,
            held: per_acquire(sum.area),
            waited: per_acquire(sum.waited_ns as f64),
            in_use,
            in_use_busiest: busiest,
            in_use_peak: sum.peak,
            size,
            advised: enough.clamp(1, size_max),
        })
    }
}

/// Two sentences, for people.
impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "in {:.0?}, {:.1} a second were taken, waited for {:.1?} and held for {:.1?} each: {:.1} in use on average, \
             {:.1} in the busiest ten seconds, {} at once at most. ",
            self.observed,
            self.acquires_per_second,
            self.waited,
            self.held,
            self.in_use,
            self.in_use_busiest,
            self.in_use_peak
        )?;
        match self.advised.cmp(&self.size) {
            std::cmp::Ordering::Greater if self.in_use_busiest >= 0.9 * self.size as f64 => write!(
                f,
                "The pool of {} was full, so the need may be greater still: try {}, or hold them for less long.",
                self.size, self.advised
            ),
            std::cmp::Ordering::Greater => {
                write!(
                    f,
                    "The pool has {}: {} would be enough.",
                    self.size, self.advised
                )
            }
            _ => write!(
                f,
                "{} are enough, and the pool has {}.",
                self.advised, self.size
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// So many a second, each held for so long, evenly; for a minute.
    fn steady(load: &mut Load, from: u64, per_second: u64, held: u64) -> u64 {
        let (mut used, mut ends) = (0, std::collections::VecDeque::new());
        let mut now = from;
        for nth in 0..60 * per_second {
            now = from + nth * 1_000 * MS / per_second;
            while ends.front().is_some_and(|end| *end <= now) {
                used -= 1;
                load.changed(used, ends.pop_front().unwrap());
            }
            used += 1;
            load.changed(used, now);
            load.acquired(MS, now);
            ends.push_back(now + held);
        }
        now
    }

    #[test]
    fn what_is_in_use_is_the_rate_times_the_time() {
        let mut load = Load::default();
        let now = steady(&mut load, 0, 100, 80 * MS);

        let advice = load.advice(10, 100, now).unwrap();

        assert!((advice.in_use - 8.0).abs() < 0.2, "{advice:?}");
        assert!(
            (advice.acquires_per_second - 100.0).abs() < 1.0,
            "{advice:?}"
        );
        assert!(
            (advice.held.as_secs_f64() - 0.08).abs() < 0.002,
            "{advice:?}"
        );
        assert_eq!(advice.waited, Duration::from_millis(1));
        // 8 + 2·√8, rounded up.
        assert_eq!(advice.advised, 14);
        assert!(
            advice
                .to_string()
                .ends_with("The pool has 10: 14 would be enough."),
            "{advice}"
        );
    }

    #[test]
    fn the_busiest_time_counts_and_is_forgotten_after_an_hour() {
        let mut load = Load::default();
        let busy = steady(&mut load, 0, 100, 80 * MS);
        load.changed(0, busy);

        let later = busy + 1_800_000 * MS;
        let advice = load.advice(10, 100, later).unwrap();
        assert_eq!(advice.advised, 14);
        assert!(advice.in_use < 1.0);

        let much_later = busy + 4_000_000 * MS;
        assert_eq!(load.advice(10, 100, much_later), None);
    }

    #[test]
    fn nothing_is_advised_before_anything_was_seen() {
        assert_eq!(Load::default().advice(10, 100, 5), None);
    }
}
