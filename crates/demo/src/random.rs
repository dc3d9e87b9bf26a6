//! Reproducible randomness for latencies and arrivals; nothing here is secret.

/// SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in (0, 1).
    pub(crate) fn unit(&mut self) -> f64 {
        // 53 bits, moved off zero by half a step so that its logarithm is finite.
        ((self.next() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    /// Standard normal (Box and Muller).
    pub(crate) fn normal(&mut self) -> f64 {
        (-2.0 * self.unit().ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// Exponential with mean 1.
    pub(crate) fn exponential(&mut self) -> f64 {
        -self.unit().ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        let mut r = Random::new(7);
        let n = 200_000;
        let (mut u, mut g, mut g2, mut e) = (0.0, 0.0, 0.0, 0.0);
        for _ in 0..n {
            u += r.unit();
            let x = r.normal();
            g += x;
            g2 += x * x;
            e += r.exponential();
        }
        let n = f64::from(n);
        assert!(
            (u / n - 0.5).abs() < 0.01
                && (g / n).abs() < 0.02
                && (g2 / n - 1.0).abs() < 0.02
                && (e / n - 1.0).abs() < 0.02
        );
    }
}
