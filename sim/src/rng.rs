//! Random numbers from a seed, the same on every machine.

/// Draws random numbers from a seed.
///
/// The logarithm and the exponential are computed here from additions and multiplications, which
/// every machine rounds alike; those of the system's library may differ in the last bit, and the
/// committed results are compared to the byte.
#[derive(Clone, Debug)]
pub struct Rng {
    state: u64,
}

impl Rng {
    /// Makes a generator; equal seeds draw equal numbers.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// Draws 64 bits: one step of SplitMix64.
    pub fn u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Draws a number from 0 up to but not including 1.
    pub fn unit(&mut self) -> f64 {
        (self.u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Draws from the exponential distribution with this mean.
    pub fn exp(&mut self, mean: f64) -> f64 {
        -mean * ln(1.0 - self.unit())
    }

    /// Draws from the lognormal distribution with this median, and `sigma` of its logarithm.
    pub fn lognormal(&mut self, median: f64, sigma: f64) -> f64 {
        median * exp(sigma * self.normal())
    }

    /// Draws from the normal distribution with mean 0 and variance 1, by the polar method.
    fn normal(&mut self) -> f64 {
        loop {
            let (x, y) = (2.0 * self.unit() - 1.0, 2.0 * self.unit() - 1.0);
            let square = x * x + y * y;
            if square > 0.0 && square < 1.0 {
                return x * (-2.0 * ln(square) / square).sqrt();
            }
        }
    }
}

/// The natural logarithm of a normal positive number.
fn ln(x: f64) -> f64 {
    let mut exponent = (x.to_bits() >> 52) as i32 - 1023;
    let mut mantissa = f64::from_bits(x.to_bits() & ((1 << 52) - 1) | 1023 << 52);
    if mantissa > std::f64::consts::SQRT_2 {
        mantissa /= 2.0;
        exponent += 1;
    }
    // ln m = 2 artanh s; |s| < 0.172, so that the terms shrink by 34 each.
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let square = s * s;
    let sum = (0..12)
        .rev()
        .fold(0.0, |sum, k| sum * square + 1.0 / f64::from(2 * k + 1));
    2.0 * s * sum + f64::from(exponent) * std::f64::consts::LN_2
}

/// The exponential of a number between -700 and 700.
pub(crate) fn exp(x: f64) -> f64 {
    let doublings = (x / std::f64::consts::LN_2).round();
    let rest = x - doublings * std::f64::consts::LN_2;
    let sum = (1..18)
        .rev()
        .fold(1.0, |sum, k| 1.0 + sum * rest / f64::from(k));
    sum * f64::from_bits(((1023 + doublings as i64) as u64) << 52)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithm_and_exponential_are_right_to_fifteen_digits() {
        let mut rng = Rng::new(1);
        for _ in 0..10_000 {
            let x = 40.0 * rng.unit() - 20.0;

            assert!((exp(x) / x.exp() - 1.0).abs() < 1e-14, "exp {x}");
            assert!(
                (ln(x.exp()) - x.exp().ln()).abs() < 1e-14 * x.abs().max(1.0),
                "ln {x}"
            );
        }
    }

    #[test]
    fn distributions_have_their_mean_and_spread() {
        let moments = |draw: &mut dyn FnMut() -> f64| {
            let draws: Vec<f64> = (0..200_000).map(|_| draw()).collect();
            let mean = draws.iter().sum::<f64>() / draws.len() as f64;
            let square = draws.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>();
            (mean, (square / draws.len() as f64).sqrt())
        };
        let mut rng = Rng::new(2);

        let (mean, spread) = moments(&mut || rng.unit());
        assert!((mean - 0.5).abs() < 0.005 && (spread - 0.2887).abs() < 0.003);
        let (mean, spread) = moments(&mut || rng.exp(10.0));
        assert!((mean - 10.0).abs() < 0.1 && (spread - 10.0).abs() < 0.2);
        let (mean, spread) = moments(&mut || rng.normal());
        assert!(mean.abs() < 0.01 && (spread - 1.0).abs() < 0.01);
        let (mean, _) = moments(&mut || rng.lognormal(10.0, 0.6));
        assert!((mean - 10.0 * 0.18f64.exp()).abs() < 0.1);
    }
}
