//! Values by hand, and that a value can always be computed again from the rows that it comes with.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail by panicking")]

use dora::{Absent, Metric, Rollout, SPARKS, Value, Window, measure, rollouts_in, tiles};
use model::{Timestamp, event::Outcome};
use proptest::prelude::*;

const NOW: i64 = 1_778_162_792_045;
const HOUR: i64 = 3_600_000;

fn window() -> Window {
    Window::days_before(Timestamp::from_millis(NOW), 30)
}

fn rollout(receipt: u64, release: &str, hours_ago: i64, outcome: Outcome, restore_ms: Option<i64>) -> Rollout {
    Rollout {
        receipt,
        release: release.parse().unwrap(),
        service: release.split('-').next().unwrap().parse().unwrap(),
        environment: "production".parse().unwrap(),
        version: "v1".parse().unwrap(),
        ended: Timestamp::from_millis(NOW - hours_ago * HOUR),
        outcome,
        restore_ms,
    }
}

fn check(metric: Metric, all: &[Rollout], value: Value, k: u64, n: u64, rows: &[u64]) {
    let m = measure(metric, window(), all);
    assert_eq!((m.value, m.k, m.n), (value, k, n), "{metric:?}");
    assert_eq!(m.rows.iter().map(|r| r.receipt).collect::<Vec<_>>(), rows, "{metric:?}");
}

#[test]
fn a_month_by_hand() {
    let all = [
        rollout(1, "checkout-1", 31 * 24, Outcome::Aborted, Some(9)), // before the window
        rollout(2, "checkout-2", 500, Outcome::Promoted, None),
        rollout(3, "search-1", 400, Outcome::Promoted, None), // rolled back below: counts once
        rollout(4, "mailer-1", 300, Outcome::Aborted, Some(3_000)),
        rollout(5, "search-1", 200, Outcome::RolledBack, Some(41_000)),
        rollout(6, "mailer-2", 100, Outcome::Aborted, None), // nobody timed it
        rollout(7, "mailer-2", 50, Outcome::Promoted, None), // and its retry
        rollout(8, "later-1", -1, Outcome::Promoted, None),  // after the window
    ];
    check(Metric::Deployments, &all, Value::PerDay(0.1), 3, 5, &[2, 5, 7]);
    check(Metric::ChangeFailures, &all, Value::Ratio(0.6), 3, 5, &[2, 4, 5, 6, 7]);
    check(Metric::TimeToRestore, &all, Value::Millis(22_000.0), 2, 3, &[4, 5]);
    assert_eq!(measure(Metric::TimeToRestore, window(), &all).left_out[0].receipt, 6);
    check(Metric::LeadTime, &all, Value::Absent(Absent::NoChangeSource), 0, 0, &[]);
    check(Metric::Rework, &all, Value::Absent(Absent::NoIncidentSource), 0, 0, &[]);
    assert_eq!(tiles(window(), &all)[1].services, 3);
}

#[test]
fn nothing_is_not_zero() {
    for metric in [Metric::Deployments, Metric::ChangeFailures, Metric::TimeToRestore] {
        check(metric, &[], Value::Absent(Absent::NoRollouts), 0, 0, &[]);
    }
    let good = [rollout(1, "a-1", 1, Outcome::Promoted, None)];
    check(Metric::ChangeFailures, &good, Value::Ratio(0.0), 0, 1, &[1]);
    check(Metric::TimeToRestore, &good, Value::Absent(Absent::NoFailures), 0, 0, &[]);
    let stopped = [rollout(1, "a-1", 1, Outcome::Aborted, None)];
    check(Metric::Deployments, &stopped, Value::PerDay(0.0), 0, 1, &[]);
    check(Metric::TimeToRestore, &stopped, Value::Absent(Absent::NoClock), 0, 1, &[]);
}

#[test]
fn the_spark_line_has_gaps_where_nothing_happened() {
    let all =
        [rollout(1, "a-1", 30 * 24 - 1, Outcome::Promoted, None), rollout(2, "a-2", 0, Outcome::Aborted, Some(7))];
    // The second ends at the window's end, which is outside.
    let m = measure(Metric::ChangeFailures, window(), &all);
    assert_eq!(m.spark.len(), SPARKS);
    assert_eq!(m.spark[0], Some(0.0));
    assert!(m.spark[1..].iter().all(Option::is_none));
}

#[test]
fn names_are_read_back() {
    for metric in Metric::ALL {
        assert_eq!(metric.as_str().parse::<Metric>().unwrap(), metric);
    }
    assert!("mttr".parse::<Metric>().is_err());
}

fn any_rollout() -> impl Strategy<Value = (u8, i64, Outcome, Option<i64>)> {
    let outcome = prop_oneof![Just(Outcome::Promoted), Just(Outcome::Aborted), Just(Outcome::RolledBack)];
    (0u8..6, 0i64..40 * 24, outcome, prop::option::of(0i64..1_000_000))
}

proptest! {
    #[test]
    fn a_value_is_its_rows(events in proptest::collection::vec(any_rollout(), 0..60)) {
        let mut all: Vec<Rollout> = events.into_iter().enumerate()
            .map(|(i, (release, ago, outcome, restore))| rollout(i as u64, &format!("s-{release}"), ago, outcome, restore))
            .collect();
        all.sort_by_key(|r| (r.ended, r.receipt));
        for metric in Metric::ALL {
            let m = measure(metric, window(), &all);
            // From the rows alone, in the same words.
            let rows: Vec<Rollout> = m.rows.iter().copied().cloned().collect();
            let again = measure(metric, window(), &rows);
            prop_assert_eq!(&again.rows, &m.rows);
            prop_assert!(m.rows.iter().all(|r| window().holds(r.ended)));
            match (metric, m.value) {
                // Without rows the reason why is not in them.
                _ if m.rows.is_empty() => {}
                _ => prop_assert_eq!(again.value, m.value),
            }
            prop_assert!(m.k <= m.n);
        }
        let once = rollouts_in(window(), &all);
        prop_assert!(once.len() <= all.len());
    }
}
