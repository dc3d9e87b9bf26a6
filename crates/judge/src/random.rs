//! Draws at random: reproducible from a seed, and exact.

/// Reproducible randomness: SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
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
    pub fn unit(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        (-2.0 * self.unit().ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// Marsaglia and Tsang 2000, for shapes of at least 1.
    fn gamma(&mut self, shape: f64) -> f64 {
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let x = self.normal();
            let v = (1.0 + c * x).powi(3);
            if v > 0.0 && self.unit().ln() < 0.5 * x * x + d - d * v + d * v.ln() {
                return d * v;
            }
        }
    }

    /// A beta variable, for shapes of at least 1: an order statistic of uniform ones.
    pub fn beta(&mut self, a: f64, b: f64) -> f64 {
        let x = self.gamma(a);
        x / (x + self.gamma(b))
    }

    /// Exact: large numbers are halved at a random order statistic, small ones counted.
    pub fn binomial(&mut self, n: u64, p: f64) -> u64 {
        const FEW: f64 = 24.0;
        let (mut n, mut p, mut sure) = (n, p.clamp(0.0, 1.0), 0);
        loop {
            if n == 0 || p <= 0.0 {
                return sure;
            }
            if p > 0.5 {
                return sure + n - self.binomial(n, 1.0 - p);
            }
            if n as f64 * p < FEW {
                // Distances between successes are geometric.
                let (log_q, mut at, mut count) = ((-p).ln_1p(), 0.0, 0);
                loop {
                    at += (self.unit().ln() / log_q).ceil().max(1.0);
                    if at > n as f64 {
                        return sure + count;
                    }
                    count += 1;
                }
            }
            let half = 1 + n / 2;
            let x = self.beta(half as f64, (n + 1 - half) as f64);
            if x <= p {
                (sure, n, p) = (sure + half, n - half, (p - x) / (1.0 - x));
            } else {
                (n, p) = (half - 1, p / x);
            }
        }
    }

    /// Exact, by the same halving (Ahrens and Dieter 1974).
    pub fn poisson(&mut self, mean: f64) -> u64 {
        let (mut mean, mut sure) = (mean, 0);
        while mean > 16.0 {
            let m = (mean * 0.875) as u64;
            let x = self.gamma(m as f64);
            if x > mean {
                return sure + self.binomial(m - 1, mean / x);
            }
            (sure, mean) = (sure + m, mean - x);
        }
        let (limit, mut product, mut count) = ((-mean).exp(), self.unit(), 0);
        while product > limit {
            product *= self.unit();
            count += 1;
        }
        sure + count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_have_their_moments() {
        let mut random = Random::new(7);
        let check = |random: &mut Random, draw: &dyn Fn(&mut Random) -> u64, mean: f64, variance: f64| {
            const N: u32 = 20_000;
            let (mut sum, mut squares) = (0.0, 0.0);
            for _ in 0..N {
                let x = draw(random) as f64;
                sum += x;
                squares += x * x;
            }
            let (m, n) = (sum / f64::from(N), f64::from(N));
            let v = squares / n - m * m;
            assert!((m - mean).abs() < 5.0 * (variance / n).sqrt(), "{m} is not {mean}");
            assert!((v / variance - 1.0).abs() < 0.1, "{v} is not {variance}");
        };
        check(&mut random, &|r| r.poisson(3.0), 3.0, 3.0);
        check(&mut random, &|r| r.poisson(2_000.0), 2_000.0, 2_000.0);
        check(&mut random, &|r| r.binomial(2_000, 0.05), 100.0, 95.0);
        check(&mut random, &|r| r.binomial(10, 0.7), 7.0, 2.1);
        check(&mut random, &|r| r.binomial(100_000, 0.01), 1_000.0, 990.0);
    }
}
