//! What is simulated.

use judge::simulate::{Scenario, Tail};

/// Requests a second of both versions together.
pub(crate) const RATES: [f64; 3] = [20.0, 200.0, 2_000.0];

/// Medians of an independent reference (1,000 rollouts a cell): rate, scenario, seconds in requests and in blocks.
pub(crate) const REFERENCE: [(f64, &str, Option<u32>, Option<u32>); 15] = [
    (20.0, "p99 +50%", Some(203), Some(367)),
    (20.0, "5xx 0.5%", Some(530), None),
    (20.0, "5xx 2%", Some(203), Some(422)),
    (20.0, "5xx 10%", Some(42), Some(75)),
    (200.0, "p99 +50%", Some(26), Some(120)),
    (200.0, "p99 +50%, h", Some(203), Some(244)),
    (200.0, "5xx 0.5%", Some(184), Some(335)),
    (200.0, "5xx 2%", Some(23), Some(177)),
    (200.0, "5xx 10%", Some(4), Some(9)),
    (2_000.0, "p99 +15%", Some(196), Some(239)),
    (2_000.0, "p99 +50%", Some(3), Some(20)),
    (2_000.0, "p99 +50%, h", Some(28), Some(64)),
    (2_000.0, "5xx 0.5%", Some(19), Some(132)),
    (2_000.0, "5xx 2%", Some(3), Some(24)),
    (2_000.0, "5xx 10%", Some(1), Some(4)),
];

/// Every scenario, healthy ones first at each rate.
pub(crate) fn all() -> Vec<Scenario> {
    use Tail::{Heavy, Light};
    let mut all = Vec::new();
    for rate in RATES {
        let of = |name, tail, slower, errors, bursts, healthy| Scenario {
            name,
            rate,
            tail,
            slower,
            errors,
            bursts,
            healthy,
        };
        all.extend([
            of("none", Light, 1.0, (0.001, 0.001), false, true),
            of("none, h", Heavy, 1.0, (0.001, 0.001), false, true),
            of("bursts", Light, 1.0, (0.001, 0.001), true, true),
            of("bursts, h", Heavy, 1.0, (0.001, 0.001), true, true),
            of("at tolerance", Light, 1.1, (0.002, 0.001), false, true),
            of("p99 +15%", Light, 1.15, (0.0, 0.0), false, false),
            of("p99 +15%, h", Heavy, 1.15, (0.0, 0.0), false, false),
            of("p99 +50%", Light, 1.5, (0.0, 0.0), false, false),
            of("p99 +50%, h", Heavy, 1.5, (0.0, 0.0), false, false),
            of("5xx 0.5%", Light, 1.0, (0.005, 0.0), false, false),
            of("5xx 2%", Light, 1.0, (0.02, 0.0), false, false),
            of("5xx 10%", Light, 1.0, (0.1, 0.0), false, false),
        ]);
    }
    all
}

/// Both versions fail alike, as when something that they share is down: the hard stop is to leave the canary alone.
pub(crate) fn shared_failures() -> Vec<Scenario> {
    let of = |rate, name, share| Scenario {
        name,
        rate,
        tail: Tail::Light,
        slower: 1.0,
        errors: (share, share),
        bursts: false,
        healthy: true,
    };
    [20.0, 200.0]
        .into_iter()
        .flat_map(|rate| {
            [(0.1, "both fail 10%"), (0.2, "both fail 20%"), (0.3, "both fail 30%"), (0.4, "both fail 40%")]
                .map(|(share, name)| of(rate, name, share))
        })
        .collect()
}
