//! Deterministic simulation: random schedules of measurements, commands, crashes and clocks against a data plane that lags, lies, restarts
//! and loses answers. The invariants are looked at where they matter: in what the data plane was really told to do.
//!
//! `DELIVERYOS_SIM_SEEDS=1000000 cargo test -p rollout simulation` runs so many seeds; `DELIVERYOS_SIM_SEED=7` runs one and says what happens.

mod oracle;
mod plane;
mod world;

use std::sync::atomic::{AtomicU64, Ordering};

use crate::engine::sabotage::{self, Fault};

/// Seeds of an ordinary test run.
const SEEDS: u64 = 20_000;

/// Within so many seeds each fault must be found.
const FOUND_WITHIN: u64 = 10_000;

/// A small generator: splitmix64 (Steele, Lea, Flood 2014).
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0xd1b5_4a32_d192_ed03)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// True once in `n` times.
    pub(super) fn once_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub(super) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[usize::try_from(self.below(of.len() as u64)).unwrap_or(0)]
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} must be a number, and is {text:?}")))
}

/// Runs seeds on every core, until one fails in this way (`""` = in any); gives the first failure found and how many were run. A fault breaks more
/// than one thing: what counts is that its invariant is seen.
fn search(seeds: u64, fault: Option<Fault>, way: &str) -> (Option<(u64, String)>, u64) {
    let next = AtomicU64::new(0);
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    let run = || {
        sabotage::set(fault);
        let recipes = world::recipes();
        let mut failure = None;
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds {
                break;
            }
            if let Err(why) = world::run(seed, &recipes, false)
                && why.contains(way)
            {
                next.store(seeds, Ordering::Relaxed);
                failure = Some((seed, why));
                break;
            }
        }
        sabotage::set(None);
        failure
    };
    let failures: Vec<(u64, String)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(run)).collect();
        workers.into_iter().filter_map(|w| w.join().expect("a worker does not panic")).collect()
    });
    let first = failures.into_iter().min_by_key(|(seed, _)| *seed);
    let ran = first.as_ref().map_or(seeds, |(seed, _)| seed + 1);
    (first, ran)
}

#[test]
fn invariants_hold() {
    if let Some(seed) = number("DELIVERYOS_SIM_SEED") {
        if let Err(why) = world::run(seed, &world::recipes(), true) {
            panic!("seed {seed}: {why}");
        }
        return;
    }
    let seeds = number("DELIVERYOS_SIM_SEEDS").unwrap_or(SEEDS);
    if let (Some((seed, why)), _) = search(seeds, None, "") {
        panic!("seed {seed}: {why}\nrun it alone with DELIVERYOS_SIM_SEED={seed}");
    }
}

#[track_caller]
#[allow(clippy::print_stdout)] // how soon a fault is found is worth knowing: `cargo test simulation -- --nocapture`
fn is_found(fault: Fault, invariant: &str) {
    let (found, ran) = search(FOUND_WITHIN, Some(fault), invariant);
    assert!(found.is_some(), "{fault:?} was not found as {invariant:?} within {FOUND_WITHIN} seeds");
    println!("{fault:?} was found as {invariant:?} after {ran} seeds");
}

#[test]
fn a_promotion_without_successful_is_found() {
    is_found(Fault::PromoteUnjudged, oracle::PROMOTED_UNJUDGED);
}
#[test]
fn full_weight_without_an_envelope_is_found() {
    is_found(Fault::FullWithoutEnvelope, oracle::FULL_UNARMED);
}
#[test]
fn weight_after_an_abort_is_found() {
    is_found(Fault::IgnoreAbort, oracle::WEIGHT_AFTER_ABORT);
}
#[test]
fn too_much_weight_is_found() {
    is_found(Fault::Overshoot, oracle::WEIGHT_ABOVE_STEP);
}
#[test]
fn a_skipped_step_is_found() {
    is_found(Fault::SkipStep, oracle::STEP_SKIPPED);
}
#[test]
fn a_step_applied_twice_is_found() {
    is_found(Fault::FreshOperationIds, oracle::APPLIED_TWICE);
}
