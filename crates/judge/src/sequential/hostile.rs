//! Tables that nobody should send, and tables at random: a stated verdict, never a panic, never certified.

use proptest::prelude::*;

use super::*;

fn run(mode: Mode, table: &str) -> Replayed {
    replay(Policy::default(), mode, table.as_bytes()).unwrap()
}

fn lines(n: usize, line: &str) -> String {
    format!("{line}\n").repeat(n)
}

#[test]
fn degenerate_tables_have_a_stated_verdict() {
    use Verdict::{Inconclusive, Regressed, Unrefuted};
    let cases = [
        ("nothing", String::new(), Inconclusive, Inconclusive),
        ("zero requests", lines(100, r#"{"canary":{"n":0},"stable":{"n":0}}"#), Inconclusive, Inconclusive),
        ("no versions", lines(5, "{}"), Inconclusive, Inconclusive),
        (
            "one request",
            r#"{"t":1,"canary":{"n":1,"errors":0,"slow":0},"stable":{"n":1,"errors":0,"slow":0}}"#.to_owned(),
            Unrefuted,
            Inconclusive,
        ),
        (
            "all errors",
            lines(5, r#"{"canary":{"n":10,"errors":10,"slow":0},"stable":{"n":190,"errors":0,"slow":2}}"#),
            Regressed,
            Regressed,
        ),
        (
            "counts below zero",
            lines(5, r#"{"canary":{"n":-10,"errors":0},"stable":{"n":5}}"#) + r#"{"canary":{"n":1},"stable":{"n":1}}"#,
            Inconclusive,
            Inconclusive,
        ),
        (
            "no number",
            lines(5, r#"{"canary":{"n":NaN,"errors":0},"stable":{"n":5}}"#) + r#"{"canary":{"n":1},"stable":{"n":1}}"#,
            Inconclusive,
            Inconclusive,
        ),
        (
            "infinite",
            lines(5, r#"{"canary":{"n":1e999,"errors":0},"stable":{"n":5}}"#) + "{}",
            Inconclusive,
            Inconclusive,
        ),
        (
            "clocks that jump",
            r#"{"t":900719925474099100000,"canary":{"n":50,"errors":0,"slow":0},"stable":{"n":950,"errors":0,"slow":9}}
               {"t":-5,"canary":{"n":50,"errors":0,"slow":0},"stable":{"n":950,"errors":0,"slow":9}}
               {"t":1e300,"canary":{"n":50,"errors":0,"slow":0},"stable":{"n":950,"errors":0,"slow":9}}"#
                .to_owned(),
            Unrefuted,
            Unrefuted,
        ),
        (
            "weight 0",
            lines(90, r#"{"canary":{"n":0},"stable":{"n":95,"slow":1},"weight":0,"step":0,"slow_certify":0}"#),
            Inconclusive,
            Inconclusive,
        ),
        (
            "weight 100",
            lines(90, r#"{"canary":{"n":100,"slow":0},"stable":{"n":0},"weight":100,"step":3,"slow_certify":0}"#),
            Unrefuted,
            Unrefuted,
        ),
        (
            "stable gone",
            lines(90, r#"{"canary":{"n":100,"slow":0},"stable":{"n":0},"weight":50,"step":3,"slow_certify":0}"#),
            Inconclusive,
            Inconclusive,
        ),
        (
            "a million requests in a tick",
            lines(
                1,
                r#"{"canary":{"n":1000000,"errors":0,"slow":0},"stable":{"n":1000000,"errors":0,"slow":9999},"weight":50,"step":1,"slow_certify":0}"#,
            ),
            Unrefuted,
            Unrefuted,
        ),
        (
            "a million errors in a tick",
            r#"{"canary":{"n":1000000,"errors":1000000},"stable":{"n":1000000,"errors":0}}"#.to_owned(),
            Regressed,
            Regressed,
        ),
        (
            "more failures than requests",
            lines(3, r#"{"canary":{"n":0,"errors":20},"stable":{"n":95,"errors":0}}"#),
            Regressed,
            Regressed,
        ),
        (
            "requests that do not arrive as planned",
            lines(60, r#"{"canary":{"n":90},"stable":{"n":910},"weight":5,"step":0}"#),
            Inconclusive,
            Inconclusive,
        ),
    ];
    for (name, table, requests, blocks) in cases {
        for (mode, want) in [(Mode::Requests, requests), (Mode::Blocks, blocks)] {
            let got = run(mode, &table);
            assert_eq!(got.verdict, want, "{name} in {}: {got:?}", mode.as_str());
            assert!(serde_json::to_string(&got).unwrap().contains("\"joint\":"), "{name}");
        }
    }
}

#[test]
fn what_is_no_table_is_refused() {
    let refused = |bytes: &[u8]| replay(Policy::default(), Mode::Requests, bytes).unwrap_err();
    assert_eq!(refused(b"\x00\xff\nhello"), ReplayError::NoTick(2));
    assert_eq!(refused(&[b'['; 100_000]), ReplayError::NoTick(1));
    let policy = Policy { alpha: 2.0, ..Policy::default() };
    assert!(matches!(replay(policy, Mode::Requests, b""), Err(ReplayError::Policy(_))));
    let nested = format!(r#"{{"canary":{}}}"#, "[".repeat(4_000));
    let table = format!("{{}}\n{nested}\n");
    let got = run(Mode::Requests, &table);
    assert_eq!((got.verdict, got.unreadable), (Verdict::Inconclusive, 1));
    assert_eq!(got.problems, ["line 2: it is not JSON"]);
}

#[test]
fn a_good_canary_is_certified_and_says_so_only_after_a_minute() {
    let line = |errors: u64| {
        format!(
            r#"{{"canary":{{"n":500,"errors":{errors},"slow":1}},"stable":{{"n":500,"errors":0,"slow":5}},"weight":50,"step":2,"slow_certify":1}}"#
        )
    };
    let verdict = |n: usize| run(Mode::Requests, &lines(n, &line(0))).verdict;
    assert_eq!(verdict(59), Verdict::Unrefuted);
    assert_eq!(verdict(60), Verdict::Certified);
    // A new step begins anew, and a tick that cannot be read ends all certainty.
    let next = lines(60, &line(0)) + &lines(1, &line(0).replace("\"step\":2", "\"step\":3"));
    assert_eq!(run(Mode::Requests, &next).verdict, Verdict::Unrefuted);
    assert_eq!(run(Mode::Requests, &(lines(60, &line(0)) + "oops")).verdict, Verdict::Inconclusive);
    assert_eq!(run(Mode::Blocks, &lines(100, &line(0))).verdict, Verdict::Unrefuted, "blocks certify nothing");
}

#[test]
fn which_rule_stopped_it() {
    let fails = r#"{"canary":{"n":5,"errors":5,"slow":0},"stable":{"n":95,"errors":0,"slow":1}}"#;
    let got = run(Mode::Blocks, &lines(40, fails));
    assert_eq!(
        (got.stopped_by, got.hard_stop_at, got.cause.clone()),
        (Some(StoppedBy::HardStop), Some(2), Some(Cause::HardStop))
    );
    assert!(got.crossed_at.unwrap() > 2, "the evidence is replayed to its crossing: {got:?}");
    // Stable fails too: no hard stop, and a breach that both share.
    let both = r#"{"canary":{"n":5,"errors":5,"slow":0},"stable":{"n":95,"errors":95,"slow":1}}"#;
    let got = run(Mode::Requests, &lines(40, both));
    assert_eq!((got.stopped_by, got.cause), (Some(StoppedBy::Evidence), Some(Cause::SharedBreach)));
    let slow = r#"{"canary":{"n":5,"errors":0,"slow":3},"stable":{"n":95,"errors":0,"slow":1}}"#;
    let got = run(Mode::Requests, &lines(40, slow));
    assert_eq!(got.cause, Some(Cause::Measures(vec![Measure::P99])));
    // A success inside ends the row.
    let mixed = format!("{fails}\n{}", fails.replace("\"errors\":5", "\"errors\":4"));
    assert_eq!(run(Mode::Blocks, &mixed).hard_stop_at, None);
}

#[test]
fn nothing_is_taken_after_a_crossing_and_dropped_ticks_bring_nothing() {
    let bad = r#"{"canary":{"n":10,"errors":3,"slow":0},"stable":{"n":190,"errors":0,"slow":1}}"#;
    let once = run(Mode::Requests, &lines(5, bad));
    let more = run(Mode::Requests, &(lines(5, bad) + &lines(50, &bad.replace("\"errors\":3", "\"errors\":0"))));
    assert_eq!((once.crossed_at, once.ln_e), (more.crossed_at, more.ln_e));
    let dropped = bad.replacen('{', r#"{"drop":true,"#, 1);
    let got = run(Mode::Requests, &lines(50, &dropped));
    assert_eq!((got.crossed_at, got.ln_e.joint.abs() < 1e-12, got.verdict), (None, true, Verdict::Inconclusive));
}

fn any_counts() -> impl Strategy<Value = Counts> {
    (0_u64..3_000, 0_u64..60, prop::option::of(0_u64..60)).prop_map(|(n, errors, slow)| Counts { n, errors, slow })
}

fn any_tick() -> impl Strategy<Value = Tick> {
    let extra = (
        prop::option::of(0_u8..=100),
        prop::option::of(0_u32..4),
        prop::bool::weighted(0.1),
        prop::option::of(0_u64..60),
    );
    (any::<i64>(), any_counts(), any_counts(), extra).prop_map(
        |(t, canary, stable, (weight, step, drop, slow_certify))| Tick {
            t,
            canary,
            stable,
            weight,
            step,
            drop,
            slow_certify,
        },
    )
}

/// F1 to F4 once more, straight from the formulas: products and sums without running logarithms of mixtures.
fn straight(ticks: &[Tick]) -> LnE {
    let (policy, mut sums) = (Policy::default(), [0.0; 3]);
    let grids = &policy.grids;
    let mixture = |k: usize, ln_e: &dyn Fn(usize, usize) -> f64| {
        // One term for each alternative and start; ln e of tick i for alternative j is `ln_e(i, j)`.
        let mut terms = Vec::new();
        for start in 0..=23 {
            let (from, w) = (start * 30, if start == 0 { 0.4 } else { 0.6 / 23.0 });
            for j in 0..k {
                let sum: f64 = (from..ticks.len()).map(|i| ln_e(i, j)).sum();
                terms.push(f64::ln(w / k as f64) + sum);
            }
        }
        math::log_sum_exp(&terms)
    };
    let counts = |i: usize| (ticks[i].canary.sane(), ticks[i].stable.sane());
    let pair = |i: usize, delta: f64, rho: f64, y: fn(Counts) -> Option<u64>| {
        let (c, b) = counts(i);
        let (Some(y_c), Some(y_b), false) = (y(c), y(b), c.n == 0 || b.n == 0 || ticks[i].drop) else { return 0.0 };
        let (n_c, n_b) = (c.n as f64, b.n as f64);
        let d = (n_c + n_b) / (n_c * rho + n_b);
        y_c as f64 * (rho * d).ln() + y_b as f64 * d.ln() - n_c * (delta * (rho * d - 1.0)).ln_1p()
    };
    sums[0] = mixture(grids.p_up.len(), &|i, j| {
        let (c, p) = (counts(i).0, grids.p_up[j]);
        if ticks[i].drop {
            return 0.0;
        }
        c.errors as f64 * (p / 0.01).ln() + (c.n - c.errors) as f64 * ((1.0 - p) / 0.99).ln()
    });
    sums[1] = mixture(grids.up.len(), &|i, j| pair(i, 0.001, grids.up[j], |c| Some(c.errors)));
    sums[2] = mixture(grids.up.len(), &|i, j| {
        let both = ticks[i].canary.slow.is_some() && ticks[i].stable.slow.is_some();
        if both { pair(i, 0.0, grids.up[j], |c| c.slow) } else { 0.0 }
    });
    let joint = (0.25 * sums[0].exp() + 0.25 * sums[1].exp() + 0.5 * sums[2].exp()).ln();
    LnE { joint, each: PerMeasure { abs: sums[0], rel: sums[1], p99: sums[2] } }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn random_tables_agree_with_the_formulas(ticks in prop::collection::vec(any_tick(), 1..80)) {
        let mut judge = Sequential::new(Policy::default(), Mode::Requests).unwrap();
        for (i, tick) in ticks.iter().enumerate() {
            judge.push(tick);
            let crossed = judge.crossed_at().is_some();
            if crossed || i + 1 == ticks.len() {
                let (got, want) = (judge.ln_e(), straight(&ticks[..=i]));
                let near = |a: f64, b: f64| (a - b).abs() < 1e-9 * b.abs().max(1.0);
                prop_assert!(near(got.each.abs, want.each.abs), "{got:?} {want:?}");
                prop_assert!(near(got.each.rel, want.each.rel), "{got:?} {want:?}");
                prop_assert!(near(got.each.p99, want.each.p99), "{got:?} {want:?}");
                prop_assert!(want.joint.is_infinite() || near(got.joint, want.joint), "{got:?} {want:?}");
            }
            if crossed {
                break;
            }
        }
    }

    #[test]
    fn any_table_has_a_verdict(ticks in prop::collection::vec(any_tick(), 0..60), blocks in any::<bool>()) {
        let mode = if blocks { Mode::Blocks } else { Mode::Requests };
        let mut judge = Sequential::new(Policy::default(), mode).unwrap();
        for tick in &ticks {
            judge.push(tick);
        }
        let e = judge.ln_e();
        prop_assert!([e.joint, e.each.abs, e.each.rel, e.each.p99].iter().all(|v| v.is_finite()), "{e:?}");
        prop_assert_eq!(judge.verdict() == Verdict::Regressed, judge.stopped().is_some());
        prop_assert_eq!(judge.cause().is_some(), judge.stopped().is_some());
        // The same from its written form.
        let table: String = ticks.iter().map(|t| serde_json::to_string(t).unwrap() + "\n").collect();
        let again = replay(Policy::default(), mode, table.as_bytes()).unwrap();
        prop_assert_eq!((again.verdict, again.ln_e, again.crossed_at), (judge.verdict(), e, judge.crossed_at()));
        let text = serde_json::to_string(&again).unwrap();
        prop_assert_eq!(serde_json::from_str::<Replayed>(&text).unwrap(), again);
    }

    #[test]
    fn any_bytes_are_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = replay(Policy::default(), Mode::Blocks, &bytes);
    }

    #[test]
    fn intervals_hold_the_share_seen(s in 0_u64..2_000, more in 0_u64..1_000_000) {
        let cs = ConfidenceSequence::new(s, s + more);
        let (low, high) = cs.interval(0.01);
        let share = if s + more == 0 { 0.5 } else { s as f64 / (s + more) as f64 };
        prop_assert!(0.0 <= low && low <= share && share <= high && high <= 1.0, "{low} {share} {high}");
    }
}
