//! Which of the two versions a request goes to. Pure.
//!
//! Non-sticky requests take positions 0, 1, 2, … of the route they meet. Each block of 100 positions has exactly `weight`
//! canary positions, chosen by a shuffle keyed by (seed, block): exact like a counter, and without its period, so that a
//! client which sends every tenth request to one path does not always meet the same version.

/// Positions in a block: weights are percent.
pub(crate) const BLOCK: u64 = 100;

/// The canary positions of one block as a bit set: bit i is position i.
pub(crate) fn canary_positions(seed: u64, block: u64, weight: u8) -> u128 {
    const ALL: u128 = (1 << BLOCK) - 1;
    let weight = usize::from(weight.min(100));
    // Choosing the smaller of the two sets halves the work; the complement is as random.
    let (choose, complement) = if weight <= 50 { (weight, false) } else { (100 - weight, true) };
    let mut random = SplitMix(seed ^ mix(block.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    let mut chosen: u128 = 0;
    // Floyd's sampling: for j in n-k..n pick t in 0..=j; take j itself when t is taken. Uniform over all k-subsets.
    for j in (100 - choose) as u64..100 {
        let t = random.below(j + 1);
        let bit = if chosen >> t & 1 == 1 { j } else { t };
        chosen |= 1 << bit;
    }
    if complement { ALL & !chosen } else { chosen }
}

/// The bucket 0..=99 of a sticky key; canary when below the weight, so the cohort only grows with the weight.
pub(crate) fn bucket(value: &[u8]) -> u8 {
    // A product of a 32-bit number and 100, shifted by 32, is below 100.
    ((u64::from(murmur3_x86_32(value)) * 100) >> 32) as u8
}

/// Steele, Lea, Flood: Fast splittable pseudorandom number generators (2014).
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// Uniform in 0..n but for a bias below n/2^64.
    fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(n)) >> 64) as u64
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// MurmurHash3 x86 32 bit, seed 0.
fn murmur3_x86_32(data: &[u8]) -> u32 {
    const C1: u32 = 0xcc9e_2d51;
    const C2: u32 = 0x1b87_3593;
    let scramble = |k: u32| k.wrapping_mul(C1).rotate_left(15).wrapping_mul(C2);
    let mut hash = 0u32;
    let mut chunks = data.chunks_exact(4);
    for chunk in &mut chunks {
        let k = chunk.iter().rev().fold(0u32, |k, byte| k << 8 | u32::from(*byte));
        hash = (hash ^ scramble(k)).rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64);
    }
    let tail = chunks.remainder().iter().rev().fold(0u32, |k, byte| k << 8 | u32::from(*byte));
    hash ^= scramble(tail);
    // The algorithm mixes in the length modulo 2^32.
    hash ^= data.len() as u32;
    hash = (hash ^ hash >> 16).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ hash >> 13).wrapping_mul(0xc2b2_ae35);
    hash ^ hash >> 16
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_block_has_exactly_the_weight(seed: u64, block: u64, weight in 0u8..=100) {
            let positions = canary_positions(seed, block, weight);
            prop_assert_eq!(positions.count_ones(), u32::from(weight));
            prop_assert_eq!(positions >> BLOCK, 0);
        }
    }

    /// Over many blocks each position is canary equally often, and a client with any period up to a block meets the canary at
    /// the weight's rate: a fixed pattern would give 0 or 1 for some of them.
    #[test]
    fn periodic_clients_do_not_alias() {
        const BLOCKS: u64 = 2_000;
        for weight in [1u8, 5, 10, 25, 50, 75, 99] {
            let mut line = Vec::with_capacity((BLOCKS * BLOCK) as usize);
            for block in 0..BLOCKS {
                let positions = canary_positions(7, block, weight);
                line.extend((0..BLOCK).map(|i| positions >> i & 1 == 1));
            }
            let p = f64::from(weight) / 100.0;
            for period in 1..=100usize {
                for phase in [0, period / 2, period - 1] {
                    let hits: Vec<bool> = line.iter().skip(phase).step_by(period).copied().collect();
                    let share = hits.iter().filter(|hit| **hit).count() as f64 / hits.len() as f64;
                    // Six standard deviations of a binomial share.
                    let tolerance = 6.0 * (p * (1.0 - p) / hits.len() as f64).sqrt();
                    assert!((share - p).abs() <= tolerance, "weight {weight}, period {period}, phase {phase}: {share}");
                }
            }
        }
    }

    #[test]
    fn blocks_differ() {
        let distinct: std::collections::HashSet<u128> =
            (0..1_000).map(|block| canary_positions(1, block, 50)).collect();
        assert_eq!(distinct.len(), 1_000);
        assert_ne!(canary_positions(1, 0, 50), canary_positions(2, 0, 50));
    }

    /// Values of the reference implementation (smhasher).
    #[test]
    fn murmur3_reference_values() {
        for (input, expected) in [
            ("", 0u32),
            ("a", 0x3c25_69b2),
            ("test", 0xba6b_d213),
            ("Hello, world!", 0xc036_3e43),
            ("The quick brown fox jumps over the lazy dog", 0x2e4f_f723),
        ] {
            assert_eq!(murmur3_x86_32(input.as_bytes()), expected, "{input:?}");
        }
    }
}
