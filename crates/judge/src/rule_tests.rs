use model::{Epoch, HistogramBucket, VersionTick, Weight};
use proptest::prelude::*;

use super::*;

/// A version that answers `n` requests, `errors` of them wrong, all in `us` µs.
fn version(n: u64, errors: u64, us: u64) -> VersionTick {
    let ms = us as f64 / 1000.0;
    VersionTick {
        n,
        errors,
        p50_ms: Some(ms),
        p99_ms: Some(ms),
        mean_ms: Some(ms),
        sigma_ms: Some(1.0),
        histogram: if n > 0 { vec![HistogramBucket(us, n)] } else { vec![] },
        ..VersionTick::default()
    }
}

fn tick(seq: u64, canary: Option<VersionTick>, stable: VersionTick) -> Tick {
    Tick {
        seq,
        boot: "a".to_owned(),
        at: Timestamp::from_millis(1_000_000 + seq as i64 * 1000),
        weight: Weight::new(5).unwrap(),
        weight_changed: false,
        epoch: Epoch(1),
        stable,
        canary,
        canary_last_sent: None,
        sticky: false,
        judged: None,
        counted: Vec::new(),
    }
}

fn ticks(n: u64, canary: VersionTick, stable: VersionTick) -> Vec<Tick> {
    (0..n).map(|seq| tick(seq, Some(canary.clone()), stable.clone())).collect()
}

#[track_caller]
fn check(name: &str, ticks: &[Tick], verdict: Verdict, says: &str) {
    let rule = Rule::Threshold(Threshold::default());
    let judgement = judge(&rule, ticks);
    assert_eq!(judgement.verdict, verdict, "{name}: {}", judgement.message);
    assert!(judgement.message.contains(says), "{name}: {}", judgement.message);
    assert_eq!(rule.recompute(&judgement.canary, &judgement.stable), Some(verdict), "{name}: recomputed");
    assert_eq!(judgement.breaches.is_empty(), verdict != Verdict::Failed, "{name}");
}

#[test]
fn verdicts() {
    use Verdict::{Failed, Inconclusive, Successful};
    let ok = || version(190, 0, 80_000);
    check("no data", &[], Inconclusive, "no request reached the canary");
    check("no canary", &[tick(0, None, ok())], Inconclusive, "no request reached the canary");
    check("no traffic", &ticks(60, version(0, 0, 0), ok()), Inconclusive, "no request reached the canary");
    check("9 requests, all wrong", &ticks(1, version(9, 9, 80_000), ok()), Inconclusive, "too few");
    check("10 requests, 4 wrong", &ticks(1, version(10, 4, 80_000), ok()), Successful, "fewer than 5 failures");
    check(
        "10 requests, 5 wrong",
        &ticks(1, version(10, 5, 80_000), ok()),
        Failed,
        "5xx ratio 50 % is above 1 % (5 of 10 requests in the last 5 s)",
    );
    check("exactly 1 %", &ticks(5, version(100, 1, 80_000), ok()), Successful, "5xx ratio 1 % is within 1 %");
    check("just above 1 %", &ticks(3, version(299, 3, 80_000), ok()), Failed, "5xx ratio 1.003 % is above 1 %");
    check("too few for p99", &ticks(49, version(10, 0, 200_000), ok()), Successful, "p99 is not compared: 490 canary");
    check(
        "p99 votes from 500",
        &ticks(50, version(10, 0, 200_000), ok()),
        Failed,
        "canary p99 200.000 ms is above 88.000 ms",
    );
    check(
        "stable below 500",
        &ticks(1, version(600, 0, 200_000), version(499, 0, 80_000)),
        Successful,
        "is not compared",
    );
    check("exactly +10 %", &ticks(60, version(10, 0, 88_000), ok()), Successful, "within 88.000 ms");
    check("a µs above +10 %", &ticks(60, version(10, 0, 88_001), ok()), Failed, "above 88.000 ms");
    check("faster", &ticks(60, version(10, 0, 10), ok()), Successful, "within");
    check(
        "zero baseline, small",
        &ticks(60, version(10, 0, 1_000), version(190, 0, 0)),
        Successful,
        "where stable p99 is 0",
    );
    check(
        "zero baseline, above",
        &ticks(60, version(10, 0, 1_001), version(190, 0, 0)),
        Failed,
        "where stable p99 is 0",
    );
    check("shared outage", &ticks(5, version(10, 10, 80_000), version(190, 190, 80_000)), Failed, "5xx");
    check("no stable at 100 %", &ticks(60, version(100, 0, 80_000), version(0, 0, 0)), Successful, "is not compared");
    check(
        "no histogram",
        &ticks(60, VersionTick { histogram: vec![], ..version(10, 0, 9) }, ok()),
        Successful,
        "no usable latency",
    );
    check("more failures than requests", &ticks(1, version(3, 50, 9), ok()), Failed, "50 of 50");
}

#[test]
fn a_late_onset_shows_in_the_short_window() {
    let mut judge = Judge::new(Rule::Threshold(Threshold::default()));
    let good = ticks(600, version(100, 0, 80_000), version(1_900, 0, 80_000));
    for tick in &good {
        assert_eq!(
            judge.push(tick).verdict,
            if tick.seq == 0 { Verdict::Successful } else { judge.judgement().verdict }
        );
    }
    // 10 % of 100 requests a second: one tick holds 10 failures, 10 of 500 in the last 5 s.
    let judgement = judge.push(&tick(600, Some(version(100, 10, 80_000)), version(1_900, 0, 80_000)));
    assert_eq!(judgement.verdict, Verdict::Failed);
    assert_eq!(judgement.window, WindowName::Last(5));
    assert_eq!(judgement.at, Some(Timestamp::from_millis(1_600_000)));
    assert_eq!((judgement.canary.n, judgement.canary.errors), (500, 10));
}

#[test]
fn all_failing_at_ten_a_second_rejects_within_two_ticks() {
    let mut judge = Judge::new(Rule::Threshold(Threshold::default()));
    assert_eq!(judge.push(&tick(0, Some(version(6, 6, 900)), version(190, 0, 900))).verdict, Verdict::Inconclusive);
    assert_eq!(judge.push(&tick(1, Some(version(9, 9, 900)), version(190, 0, 900))).verdict, Verdict::Failed);
}

#[test]
fn a_late_latency_onset_moves_the_whole_steps_p99_in_seconds() {
    let mut judge = Judge::new(Rule::Threshold(Threshold::default()));
    for tick in ticks(180, version(100, 0, 80_000), version(1_900, 0, 80_000)) {
        assert_eq!(judge.push(&tick).verdict, Verdict::Successful);
    }
    let verdicts: Vec<_> = (180..184)
        .map(|seq| judge.push(&tick(seq, Some(version(100, 0, 120_000)), version(1_900, 0, 80_000))).verdict)
        .collect();
    assert_eq!(verdicts[1], Verdict::Failed, "1 % of 182 s is slow after 2 s");
}

#[test]
fn a_new_step_forgets_the_old_one_but_not_the_budget() {
    let mut judge = Judge::new(Rule::Threshold(Threshold::default()));
    judge.push(&tick(0, Some(version(100, 1, 900)), version(900, 0, 900)));
    judge.begin_step();
    let judgement = judge.push(&tick(1, Some(version(100, 0, 900)), version(900, 0, 900)));
    assert_eq!((judgement.canary.n, judgement.canary.errors, judgement.span.ticks), (100, 0, 1));
    // One of 200 failed: 5 times the budget of one in a thousand.
    assert!((judgement.budget.alerts[0].short.rate.unwrap() - 5.0).abs() < 1e-9);
    assert_eq!(judgement.budget.alerts[0].short.covered, 2);
}

#[test]
fn ticks_count_once_and_in_order() {
    let mut judge = Judge::new(Rule::Threshold(Threshold::default()));
    let one = tick(3, Some(version(10, 0, 900)), version(90, 0, 900));
    assert!(judge.take(&one));
    assert!(!judge.take(&one));
    assert!(!judge.take(&tick(2, Some(version(10, 0, 900)), version(90, 0, 900))));
    assert!(judge.take(&tick(6, Some(version(10, 0, 900)), version(90, 0, 900))));
    let restarted =
        Tick { boot: "b".to_owned(), at: Timestamp::from_millis(1_010_000), ..tick(0, None, version(5, 0, 900)) };
    assert!(judge.take(&restarted));
    let span = judge.judgement().span;
    assert_eq!((span.ticks, span.lost), (3, 2));
}

#[test]
fn nan_does_not_vote() {
    let bad =
        WindowStats { n: 10_000, errors: 0, p99_ms: Some(f64::NAN), mean_ms: Some(f64::INFINITY), sigma_ms: None };
    let good = WindowStats { n: 10_000, errors: 0, p99_ms: Some(1.0), mean_ms: Some(1.0), sigma_ms: Some(1.0) };
    assert_eq!(Rule::Threshold(Threshold::default()).recompute(&bad, &good), Some(Verdict::Successful));
    assert_eq!(Rule::Threshold(Threshold::default()).recompute(&good, &bad), Some(Verdict::Successful));
    assert_eq!(
        Rule::Threshold(Threshold::default()).recompute(&WindowStats { n: 3, ..bad }, &good),
        Some(Verdict::Inconclusive)
    );
}

#[test]
fn sigma_and_budget_are_reported() {
    let judgement =
        judge(&Rule::Threshold(Threshold::default()), &ticks(3, version(100, 2, 4_500), version(900, 0, 4_000)));
    assert!(judgement.sigma.unwrap().within, "0.5 ms apart, sigma 1 ms");
    let far = judge(&Rule::Threshold(Threshold::default()), &ticks(3, version(100, 0, 6_500), version(900, 0, 4_000)));
    assert!(!far.sigma.unwrap().within);
    assert!(judgement.budget.alerts.iter().all(|a| a.firing), "2 % is 20 times the budget");
    assert!(far.budget.alerts.iter().all(|a| !a.firing && a.long.rate == Some(0.0)));
}

#[test]
fn the_policy_has_one_written_form() {
    let text = serde_json::to_string(&Rule::Threshold(Threshold::default())).unwrap();
    assert_eq!(
        text,
        r#"{"rule":"threshold","p99_increase":0.1,"error_ratio":0.01,"p99_requests":500,"error_requests":10,"error_count":5,"zero_baseline_p99_ms":1.0,"error_windows_s":[5,30],"slo":0.999}"#
    );
    assert_eq!(serde_json::from_str::<Rule>(&text).unwrap(), Rule::Threshold(Threshold::default()));
}

prop_compose! {
    fn any_version()(n in 0_u64..400, bad in 0_u64..6, us in prop::sample::select(vec![0_u64, 900, 1_000, 1_099, 1_100, 1_101, 5_000]))
        -> VersionTick { version(n, bad.min(n), us) }
}

proptest! {
    /// The statistics in a receipt always give the verdict in the receipt.
    #[test]
    fn every_verdict_can_be_recomputed(seconds in prop::collection::vec((any_version(), any_version()), 0..80)) {
        let rule = Rule::Threshold(Threshold::default());
        let ticks: Vec<_> = seconds.into_iter().enumerate().map(|(i, (c, s))| tick(i as u64, Some(c), s)).collect();
        let judgement = judge(&rule, &ticks);
        prop_assert_eq!(rule.recompute(&judgement.canary, &judgement.stable), Some(judgement.verdict));
        let text = serde_json::to_string(&judgement).unwrap();
        let again: Judgement = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(rule.recompute(&again.canary, &again.stable), Some(judgement.verdict));
    }

    /// A canary whose every second is at least as good as stable's is never rejected.
    #[test]
    fn no_worse_is_never_rejected(seconds in prop::collection::vec(any_version(), 1..60)) {
        let ticks: Vec<_> = seconds.into_iter().enumerate()
            .map(|(i, v)| { let v = VersionTick { errors: 0, ..v }; tick(i as u64, Some(v.clone()), v) }).collect();
        prop_assert_ne!(judge(&Rule::Threshold(Threshold::default()), &ticks).verdict, Verdict::Failed);
    }
}
