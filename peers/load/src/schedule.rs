//! When requests are due: known before anything is answered.

use crate::plan::{Arrivals, Class, Step};

/// The arrivals of a class, in nanoseconds from the start, in order.
pub(crate) struct Schedule {
    random: Random,
    arrivals: Arrivals,
    steps: std::vec::IntoIter<Step>,
    rate: f64,
    at_ns: f64,
    step_ends_ns: f64,
}

impl Schedule {
    pub(crate) fn new(class: &Class, seed: u64) -> Self {
        Schedule {
            random: Random(seed),
            arrivals: class.arrivals,
            steps: class.steps.clone().into_iter(),
            rate: 0.0,
            at_ns: 0.0,
            step_ends_ns: 0.0,
        }
    }
}

impl Iterator for Schedule {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        loop {
            // Random intervals have no memory, so that beginning anew at each step changes nothing.
            let interval_ns = match self.arrivals {
                _ if self.rate == 0.0 => f64::INFINITY,
                Arrivals::Constant => 1e9 / self.rate,
                Arrivals::Poisson => -self.random.unit().ln() * 1e9 / self.rate,
            };
            let at_ns = self.at_ns + interval_ns;
            if at_ns <= self.step_ends_ns {
                self.at_ns = at_ns;
                return Some(at_ns as u64);
            }
            let step = self.steps.next()?;
            self.at_ns = self.step_ends_ns;
            self.step_ends_ns += step.lasts.as_nanos() as f64;
            self.rate = step.rate;
        }
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    /// Between 0, excluded, and 1.
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        ((z >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn arrivals(arrivals: Arrivals, steps: &[(u64, f64)], seed: u64) -> Vec<u64> {
        let steps = steps.iter().map(|&(seconds, rate)| Step {
            lasts: Duration::from_secs(seconds),
            rate,
        });
        let mut class = Class::new("c", "GET", "/", steps.collect(), Duration::from_secs(1));
        class.arrivals = arrivals;
        Schedule::new(&class, seed).collect()
    }

    #[test]
    fn constant_arrivals_are_as_many_as_the_steps_say() {
        let due = arrivals(Arrivals::Constant, &[(1, 4.0), (2, 0.0), (1, 2.0)], 1);

        let ms: Vec<_> = due.iter().map(|ns| ns / 1_000_000).collect();
        assert_eq!(ms, [250, 500, 750, 1000, 3500, 4000]);
    }

    #[test]
    fn random_arrivals_come_in_order_at_the_rate_on_average() {
        let due = arrivals(Arrivals::Poisson, &[(10, 1000.0), (10, 100.0)], 7);

        let first = due.iter().filter(|&&ns| ns <= 10_000_000_000).count();
        let second = due.len() - first;
        // Four standard deviations.
        assert!((9600..=10_400).contains(&first), "{first}");
        assert!((873..=1127).contains(&second), "{second}");
        assert!(due.is_sorted());
        let within_mean = due[..first]
            .windows(2)
            .filter(|two| two[1] - two[0] < 1_000_000)
            .count();
        let share = within_mean as f64 / first as f64;
        assert!(
            (0.60..0.66).contains(&share),
            "1 - 1/e is 0.63, and this is {share}"
        );
    }

    #[test]
    fn a_seed_gives_one_schedule() {
        let steps = [(1, 1000.0)];

        assert_eq!(
            arrivals(Arrivals::Poisson, &steps, 3),
            arrivals(Arrivals::Poisson, &steps, 3)
        );
        assert_ne!(
            arrivals(Arrivals::Poisson, &steps, 3),
            arrivals(Arrivals::Poisson, &steps, 4)
        );
    }
}
