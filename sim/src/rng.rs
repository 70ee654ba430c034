//! Random numbers of a simulation: a seed gives the same numbers on every machine.

/// A generator with 64 bits of state (SplitMix64): small, fast, and without a bad seed.
#[derive(Clone, Debug)]
pub struct Rng {
    state: u64,
}

impl Rng {
    /// Starts a sequence; different seeds give unrelated ones.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// Draws 64 uniform bits.
    pub fn u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.state;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// Draws a number from 0 to below 1, with 53 random bits.
    pub fn unit(&mut self) -> f64 {
        (self.u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Draws from the exponential distribution.
    pub fn exp(&mut self, mean: f64) -> f64 {
        // The unit is never 1, so the logarithm is finite.
        -mean * (1.0 - self.unit()).ln()
    }

    /// Draws from the lognormal distribution; its mean is `median × exp(sigma² / 2)`.
    pub fn lognormal(&mut self, median: f64, sigma: f64) -> f64 {
        median * (sigma * self.normal()).exp()
    }

    /// Draws from the normal distribution with mean 0 and deviation 1 (Box and Muller).
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAWS: u32 = 100_000;

    fn mean_of(mut draw: impl FnMut(&mut Rng) -> f64) -> f64 {
        let mut rng = Rng::new(1);
        (0..DRAWS).map(|_| draw(&mut rng)).sum::<f64>() / f64::from(DRAWS)
    }

    #[test]
    fn a_seed_gives_the_same_numbers_again() {
        let draw = |seed| {
            let mut rng = Rng::new(seed);
            [rng.u64(), rng.u64(), rng.u64()]
        };

        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn the_known_sequence_of_the_algorithm_is_drawn() {
        let mut rng = Rng::new(1_234_567);

        assert_eq!(rng.u64(), 6_457_827_717_110_365_317);
        assert_eq!(rng.u64(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn distributions_have_their_means() {
        let near = |value: f64, expect: f64| (value / expect - 1.0).abs() < 0.02;

        assert!(near(mean_of(Rng::unit), 0.5));
        assert!(near(mean_of(|rng| rng.exp(10.0)), 10.0));
        for sigma in [0.3, 0.6, 1.0_f64] {
            let expect = 10.0 * (sigma * sigma / 2.0).exp();
            assert!(near(mean_of(|rng| rng.lognormal(10.0, sigma)), expect));
        }
    }

    #[test]
    fn half_of_a_lognormal_lies_below_its_median() {
        let below = mean_of(|rng| f64::from(rng.lognormal(10.0, 0.6) < 10.0));

        assert!((below - 0.5).abs() < 0.01, "{below}");
    }
}
