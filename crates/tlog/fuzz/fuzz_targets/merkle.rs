//! Verification of any claim ends without a panic, with one step for each hash at most.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tlog::{Hash, consistency_steps, inclusion_steps};

fuzz_target!(|input: (u64, u64, Vec<[u8; 32]>)| {
    let (index, size, proof) = input;
    let proof: Vec<Hash> = proof.into_iter().map(Hash).collect();
    let start = Hash([7; 32]);
    if let Ok(steps) = inclusion_steps(&start, index, size, &proof) {
        assert_eq!(steps.len(), proof.len());
        assert!(steps.last().is_none_or(|end| (end.first_leaf, end.end_leaf) == (0, size)));
    }
    if let Ok(steps) = consistency_steps(index, &start, size, &proof) {
        assert!(steps.len() <= proof.len());
    }
});
