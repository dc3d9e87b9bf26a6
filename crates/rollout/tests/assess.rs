//! Verdicts by Argo's rules, as tables.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that cannot go on says so by failing

use std::collections::BTreeMap;

use model::{Timestamp, Verdict};
use rollout::{
    AnalysisPhase, AnalysisScope, Measurement, MetricState, RunState, assess, expr,
    recipe::{Analysis, Metric, Provider},
};

fn metric(name: &str) -> Metric {
    Metric {
        name: name.to_owned(),
        provider: Provider::Other("none".to_owned()),
        interval_ms: Some(60_000),
        initial_delay_ms: 0,
        count: None,
        success_condition: String::new(),
        failure_condition: String::new(),
        failure_limit: Some(0),
        inconclusive_limit: 0,
        consecutive_error_limit: 4,
        consecutive_success_limit: 0,
        dry_run: false,
    }
}

fn at(s: i64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + s * 1_000)
}

fn measurement(s: i64, verdict: Verdict) -> Measurement {
    Measurement { started: at(s), finished: at(s), verdict, message: String::new(), weight_changes: 0 }
}

/// A metric in which these measurements were taken, one a minute: S, F, I, E.
fn measured(letters: &str) -> MetricState {
    let mut state = MetricState::default();
    for (letter, i) in letters.chars().zip(0..) {
        let verdict = match letter {
            'S' => Verdict::Successful,
            'F' => Verdict::Failed,
            'I' => Verdict::Inconclusive,
            'E' => Verdict::Error,
            other => panic!("{other}"),
        };
        assert!(state.take(measurement(i * 60, verdict)));
    }
    state
}

use AnalysisPhase::{Error, Failed, Inconclusive, Pending, Running, Successful};

#[test]
fn a_metric() {
    struct Row {
        measured: &'static str,
        limits: fn(&mut Metric),
        running: AnalysisPhase,
        terminating: AnalysisPhase,
    }
    let row = |measured, limits, running, terminating| Row { measured, limits, running, terminating };
    for Row { measured: letters, limits, running, terminating } in [
        row("", |_| {}, Pending, Successful),
        row("S", |_| {}, Running, Successful),
        row("F", |_| {}, Failed, Failed),
        row("FFF", |m| m.failure_limit = Some(2), Failed, Failed),
        row("FFF", |m| m.failure_limit = Some(3), Running, Successful),
        row("FFFFFFF", |m| (m.failure_limit, m.consecutive_success_limit) = (None, 1), Running, Successful),
        row("I", |_| {}, Inconclusive, Inconclusive),
        row("III", |m| m.inconclusive_limit = 2, Inconclusive, Inconclusive),
        row("III", |m| m.inconclusive_limit = 3, Running, Successful),
        row("EEEE", |_| {}, Running, Successful),
        row("EEEEE", |_| {}, Error, Error),
        row("EEEESEEEE", |_| {}, Running, Successful),
        row("EE", |m| m.consecutive_error_limit = 1, Error, Error),
        // Later rules override earlier ones.
        row("FI", |_| {}, Inconclusive, Inconclusive),
        row("FIEEEEE", |_| {}, Error, Error),
        // Successes in a row.
        row("FFFSSS", |m| (m.failure_limit, m.consecutive_success_limit) = (None, 3), Successful, Successful),
        row("SSSF", |m| (m.failure_limit, m.consecutive_success_limit) = (None, 4), Running, Successful),
        row("SSESS", |m| (m.failure_limit, m.consecutive_success_limit) = (None, 4), Running, Successful),
        row("FSSS", |m| (m.failure_limit, m.consecutive_success_limit) = (Some(0), 3), Failed, Failed),
        // A count that is reached.
        row("SS", |m| m.count = Some(2), Successful, Successful),
        row("SES", |m| m.count = Some(3), Running, Successful),
        row("FSS", |m| (m.count, m.failure_limit) = (Some(3), Some(1)), Successful, Successful),
        row("IS", |m| (m.count, m.inconclusive_limit) = (Some(2), 1), Successful, Successful),
        row("FSFS", |m| (m.count, m.failure_limit, m.consecutive_success_limit) = (Some(4), None, 2), Failed, Failed),
        row(
            "FSFS",
            |m| (m.count, m.failure_limit, m.consecutive_success_limit) = (Some(4), Some(2), 2),
            Inconclusive,
            Inconclusive,
        ),
        row(
            "FFSS",
            |m| (m.count, m.failure_limit, m.consecutive_success_limit) = (Some(4), Some(2), 2),
            Successful,
            Successful,
        ),
    ] {
        let mut m = metric("m");
        limits(&mut m);
        let state = measured(letters);
        assert_eq!(state.assess(&m, false).0, running, "{letters} {m:?}");
        assert_eq!(state.assess(&m, true).0, terminating, "{letters} terminating {m:?}");
    }
}

#[test]
fn counters() {
    let state = measured("SSFIEE");
    assert_eq!((state.count, state.successful, state.failed, state.inconclusive, state.error), (4, 2, 1, 1, 2));
    assert_eq!((state.consecutive_error, state.consecutive_success), (2, 0));
    let mut state = measured("EES");
    assert_eq!((state.consecutive_error, state.consecutive_success), (0, 1));
    // A double; and one after the clock was set back, which counts.
    assert!(!state.take(measurement(120, Verdict::Failed)));
    assert_eq!(state.failed, 0);
    assert!(state.take(measurement(60, Verdict::Failed)));
}

fn run(metrics: &[(&str, &str)]) -> RunState {
    let mut run = RunState::new("r".to_owned(), AnalysisScope::Background, at(0));
    run.metrics = metrics
        .iter()
        .filter(|(_, l)| !l.is_empty())
        .map(|(n, l)| ((*n).to_owned(), measured(l)))
        .collect::<BTreeMap<_, _>>();
    run
}

#[track_caller]
fn check_run(
    metrics: &[(&str, &str)],
    change: fn(&mut Vec<Metric>),
    terminate: bool,
    phase: AnalysisPhase,
    message: &str,
) {
    let mut all: Vec<Metric> = metrics.iter().map(|(n, _)| metric(n)).collect();
    change(&mut all);
    let got = run(metrics).assess(&Analysis { metrics: all }, terminate);
    assert_eq!((got.phase, got.message.as_str()), (phase, message), "{metrics:?}");
}

#[test]
fn a_run() {
    let counted: fn(&mut Vec<Metric>) = |all| all.iter_mut().for_each(|m| m.count = Some(2));
    check_run(&[("a", ""), ("b", "")], |_| {}, false, Running, "");
    check_run(&[("a", ""), ("b", "")], |_| {}, true, Successful, "Run Terminated");
    check_run(&[("a", "S"), ("b", "S")], |_| {}, true, Successful, "Run Terminated");
    check_run(&[("a", "SS"), ("b", "S")], counted, false, Running, "");
    check_run(&[("a", "SS"), ("b", "SS")], counted, false, Successful, "");
    // One that fails ends the run at once, whatever the others do.
    check_run(
        &[("a", "F"), ("b", "")],
        |_| {},
        false,
        Failed,
        "Metric \"a\" assessed Failed due to failed (1) > failureLimit (0)",
    );
    check_run(
        &[("a", "S"), ("b", "I")],
        |_| {},
        false,
        Inconclusive,
        "Metric \"b\" assessed Inconclusive due to inconclusive (1) > inconclusiveLimit (0)",
    );
    check_run(
        &[("a", "EEEEE"), ("b", "S")],
        |_| {},
        false,
        Error,
        "Metric \"a\" assessed Error due to consecutiveErrors (5) > consecutiveErrorLimit (4)",
    );
    // The worst of several.
    check_run(
        &[("a", "I"), ("b", "F")],
        |_| {},
        false,
        Failed,
        "Metric \"b\" assessed Failed due to failed (1) > failureLimit (0)",
    );
    check_run(
        &[("a", "F"), ("b", "EEEEE")],
        |_| {},
        false,
        Failed,
        "Metric \"a\" assessed Failed due to failed (1) > failureLimit (0)",
    );
    // Dry runs never count.
    let dry: fn(&mut Vec<Metric>) = |all| all[0].dry_run = true;
    check_run(&[("a", "F"), ("b", "S")], dry, false, Running, "");
    check_run(
        &[("a", "F"), ("b", "F")],
        dry,
        false,
        Failed,
        "Metric \"b\" assessed Failed due to failed (1) > failureLimit (0)",
    );
    check_run(&[("a", "F")], dry, false, Successful, "");
}

#[test]
fn an_error_is_told_in_argos_words() {
    let mut run = run(&[("a", "EEEE")]);
    let last = Measurement { message: "no route".to_owned(), ..measurement(600, Verdict::Error) };
    run.metrics.get_mut("a").unwrap().take(last);
    let got = run.assess(&Analysis { metrics: vec![metric("a")] }, false);
    assert_eq!(
        got.message,
        "Metric \"a\" assessed Error due to consecutiveErrors (5) > consecutiveErrorLimit (4): \"Error Message: no route\""
    );
    assert_eq!(got.decided_at, Some(at(600)));
}

#[test]
fn when_a_metric_is_due() {
    let due = |letters: &str, change: fn(&mut Metric)| {
        let mut m = metric("a");
        change(&mut m);
        run(&[("a", letters)]).next_due(&m, 10_000).map(|t| t.since(at(0)) / 1_000)
    };
    assert_eq!(due("", |_| {}), Some(0));
    assert_eq!(due("", |m| m.initial_delay_ms = 30_000), Some(30));
    assert_eq!(due("S", |_| {}), Some(60));
    assert_eq!(due("SS", |_| {}), Some(120));
    // After an error always ten seconds, whatever the interval.
    assert_eq!(due("SE", |_| {}), Some(70));
    assert_eq!(due("E", |m| m.interval_ms = None), Some(10));
    assert_eq!(due("S", |m| (m.interval_ms, m.count) = (None, Some(1))), None);
    assert_eq!(due("F", |_| {}), None);
}

#[test]
fn a_measurement() {
    let check = |success: &str, failure: &str, value: serde_json::Value, verdict: Verdict, says: &str| {
        let mut m = metric("a");
        (m.success_condition, m.failure_condition) = (success.to_owned(), failure.to_owned());
        let got = assess::judge(&m, &expr::Value::from_json(&value, true));
        assert_eq!(got.0, verdict, "{success:?} {failure:?} {value}: {}", got.1);
        assert!(got.1.contains(says), "{success:?} {failure:?} {value}: {}", got.1);
    };
    use serde_json::json;
    check("", "", json!(true), Verdict::Successful, "");
    check("true", "false", json!(true), Verdict::Successful, "");
    check("true", "true", json!(true), Verdict::Failed, "failureCondition");
    check("false", "false", json!(true), Verdict::Inconclusive, "neither");
    check("", "false", json!(true), Verdict::Successful, "");
    check("false", "", json!(true), Verdict::Failed, "does not hold");
    check(
        "a == true",
        "true",
        json!(true),
        Verdict::Error,
        "could not evaluate successCondition \"a == true\": unknown name a",
    );
    check("true", "a == true", json!(true), Verdict::Error, "could not evaluate failureCondition");
    check("1", "", json!(true), Verdict::Error, "expected bool, but got int");
    check(
        "result[0] >= 0.95",
        "",
        json!(null),
        Verdict::Error,
        "metric result is nil or empty: no data returned from the metric provider",
    );
    check("result[0] >= 0.95", "", json!([]), Verdict::Error, "metric result is nil or empty");
    check("result[0] >= 0.95", "", json!([0.96]), Verdict::Successful, "result [0.96]");
    check(
        "result[0] >= 0.95",
        "",
        json!([0.9]),
        Verdict::Failed,
        "result [0.9]: successCondition \"result[0] >= 0.95\" does not hold",
    );
    // NaN compares false.
    check("result[0] >= 0.95", "", json!(["NaN"]), Verdict::Failed, "NaN");
    check("result[0] >= 0.95", "result[0] < 0.95", json!(["NaN"]), Verdict::Inconclusive, "NaN");
    check("", "result[0] < 0.95", json!(["NaN"]), Verdict::Successful, "NaN");
}
