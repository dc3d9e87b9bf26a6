//! What is drawn, computed from ticks: windows, bands, gaps. No drawing here.

use model::{Tick, Timestamp, VersionTick};
use projections::say;

/// Failures are shown as the share over so many milliseconds: one second at 5 % of little traffic says nothing.
pub const ERRORS_OVER_MS: i64 = 10_000;

/// The band and the limit follow stable's p99 over so many milliseconds.
pub const BAND_OVER_MS: i64 = 30_000;

/// A line is broken where ticks are farther apart than this, and than three times the distance of most of those around.
pub const GAP_MS: i64 = 3_500;

/// One point in time of everything that is drawn: the seconds since the point before.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// End of its last second.
    pub at: Timestamp,
    /// Weight in force, %.
    pub weight: u8,
    /// Mean of the canary's p99 of each second, by requests, ms.
    pub canary_p99: Option<f64>,
    /// The same of stable, ms.
    pub stable_p99: Option<f64>,
    /// Mean and standard deviation of stable's p99 of each second over [`BAND_OVER_MS`], ms.
    pub band: Option<(f64, f64)>,
    /// The limit: the mean of the band plus the allowed increase, ms; none where no rule of ours judges.
    pub limit: Option<f64>,
    /// Share of the canary's requests that failed over [`ERRORS_OVER_MS`], or since the point before when that is longer.
    pub canary_errors: Option<f64>,
    /// The same of stable.
    pub stable_errors: Option<f64>,
    /// How fast the canary burned the error budget over the short window of the fast alert.
    pub burn_fast: Option<f64>,
    /// The same of the slow alert.
    pub burn_slow: Option<f64>,
    /// Requests of the canary.
    pub canary_n: u64,
    /// True when a line does not lead here from the point before.
    pub gap: bool,
}

/// The points of these ticks, which are in order of time, one for each `grain` milliseconds. `increase` is what p99 may be above stable's, as a
/// share; without it there is no limit.
pub fn points(ticks: &[Tick], increase: Option<f64>, grain: i64) -> Vec<Point> {
    let grain = grain.max(1);
    let (mut first_error, mut first_band, mut begin) = (0, 0, 0);
    let [(_, _, _, fast), (_, _, _, slow)] = judge::BURN_ALERTS;
    let (mut fast, mut slow) = (Burned::over(fast), Burned::over(slow));
    let mut out: Vec<Point> = Vec::new();
    for (i, tick) in ticks.iter().enumerate() {
        fast.take(ticks, i);
        slow.take(ticks, i);
        let next = ticks.get(i + 1);
        let ends = next.is_none_or(|n| {
            n.at.as_millis() / grain != tick.at.as_millis() / grain || n.weight != tick.weight || is_gap(ticks, i + 1)
        });
        if !ends {
            continue;
        }
        let own = ticks.get(begin..=i).unwrap_or_default();
        let since = |first: &mut usize, over: i64| {
            while ticks.get(*first).is_some_and(|t| tick.at.since(t.at) >= over) {
                *first += 1;
            }
            ticks.get(*first..=i).unwrap_or_default()
        };
        let errors = since(&mut first_error, ERRORS_OVER_MS.max(grain));
        let canary = errors.iter().filter_map(|t| t.canary.as_ref()).fold((0, 0), |(e, n), v| (e + v.errors, n + v.n));
        let stable = errors.iter().fold((0, 0), |(e, n), t| (e + t.stable.errors, n + t.stable.n));
        let band = band(since(&mut first_band, BAND_OVER_MS));
        out.push(Point {
            at: tick.at,
            weight: tick.weight.percent(),
            canary_p99: mean_p99(own.iter().filter_map(|t| t.canary.as_ref())),
            stable_p99: mean_p99(own.iter().map(|t| &t.stable)),
            band,
            limit: band.zip(increase).map(|((mean, _), increase)| mean * (1.0 + increase)),
            canary_errors: tick.canary.as_ref().and_then(|_| say::share(canary.0, canary.1)),
            stable_errors: say::share(stable.0, stable.1),
            burn_fast: tick.canary.as_ref().and_then(|_| fast.rate()),
            burn_slow: tick.canary.as_ref().and_then(|_| slow.rate()),
            canary_n: own.iter().filter_map(|t| t.canary.as_ref()).map(|v| v.n).sum(),
            gap: is_gap(ticks, begin),
        });
        begin = i + 1;
    }
    out
}

/// Requests and failures of the canary within a window that moves along.
struct Burned {
    over_ms: i64,
    first: usize,
    n: u64,
    errors: u64,
}

impl Burned {
    fn over(seconds: u32) -> Self {
        Self { over_ms: i64::from(seconds) * 1000, first: 0, n: 0, errors: 0 }
    }

    /// Takes in tick `i`, the one after the last.
    fn take(&mut self, ticks: &[Tick], i: usize) {
        let counts = |t: &Tick| t.canary.as_ref().map_or((0, 0), |c| (c.n.max(c.errors), c.errors));
        let Some(tick) = ticks.get(i) else { return };
        let (n, errors) = counts(tick);
        (self.n, self.errors) = (self.n.saturating_add(n), self.errors.saturating_add(errors));
        while let Some(old) = ticks.get(self.first).filter(|t| tick.at.since(t.at) >= self.over_ms) {
            let (n, errors) = counts(old);
            (self.n, self.errors) = (self.n.saturating_sub(n), self.errors.saturating_sub(errors));
            self.first += 1;
        }
    }

    /// The share that failed, in budgets.
    fn rate(&self) -> Option<f64> {
        say::share(self.errors, self.n).map(|share| share / (1.0 - judge::DEFAULT_SLO))
    }
}

fn mean_p99<'a>(versions: impl Iterator<Item = &'a VersionTick>) -> Option<f64> {
    let known = versions.filter_map(|v| v.p99_ms.filter(|p| p.is_finite()).map(|p| (p, v.n.max(1) as f64)));
    let (sum, n) = known.fold((0.0, 0.0), |(sum, n), (p, w)| (sum + p * w, n + w));
    (n > 0.0).then(|| sum / n)
}

/// The runs of neighbours for which there is a value: a line is drawn through each, and none between them.
pub fn runs<T: Copy>(points: &[Point], value: impl Fn(&Point) -> Option<T>) -> Vec<Vec<(Timestamp, T)>> {
    let mut out: Vec<Vec<(Timestamp, T)>> = Vec::new();
    let mut broken = true;
    for p in points {
        match value(p) {
            Some(v) if broken || p.gap => {
                out.push(vec![(p.at, v)]);
                broken = false;
            }
            Some(v) => {
                if let Some(run) = out.last_mut() {
                    run.push((p.at, v));
                }
            }
            None => broken = true,
        }
    }
    out
}

fn band(window: &[Tick]) -> Option<(f64, f64)> {
    let values: Vec<f64> = window.iter().filter_map(|t| t.stable.p99_ms).filter(|v| v.is_finite()).collect();
    if values.is_empty() {
        return None;
    }
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
    Some((mean, variance.sqrt()))
}

/// Whether no line leads to tick `i` from the one before: another run of the data plane, or much more time than between most of the ticks
/// around. Around and not everywhere: the first hours of a long release come thinned, what is counted while somebody watches does not.
fn is_gap(ticks: &[Tick], i: usize) -> bool {
    let distance = |i: usize| {
        let (before, tick) = (ticks.get(i.checked_sub(1)?)?, ticks.get(i)?);
        (before.boot == tick.boot).then(|| tick.at.since(before.at))
    };
    let Some(own) = distance(i) else { return true };
    /// So many on each side: that many holes beside each other are found.
    const AROUND: usize = 4;
    let around = (i.saturating_sub(AROUND)..=i.saturating_add(AROUND)).filter(|at| *at != i);
    let (mut all, mut shorter) = (0, 0);
    for distance in around.filter_map(distance) {
        all += 1;
        shorter += i32::from(own > distance.saturating_mul(3));
    }
    own > GAP_MS && shorter * 2 > all
}

#[cfg(test)]
pub(super) mod tests {
    use model::{Epoch, Weight};

    use super::*;

    /// One tick at second `s`.
    pub(crate) fn tick(s: i64, weight: u8, stable_p99: Option<f64>, canary: Option<(u64, u64, Option<f64>)>) -> Tick {
        Tick {
            seq: s.unsigned_abs(),
            boot: "b".into(),
            at: Timestamp::from_millis(1_778_162_792_000 + s * 1000),
            weight: Weight::new(weight).unwrap(),
            weight_changed: false,
            epoch: Epoch(1),
            stable: VersionTick { n: 100, p99_ms: stable_p99, ..VersionTick::default() },
            canary: canary.map(|(n, errors, p99_ms)| VersionTick { n, errors, p99_ms, ..VersionTick::default() }),
            canary_last_sent: None,
            sticky: false,
            judged: None,
            counted: Vec::new(),
        }
    }

    #[test]
    fn a_line_is_broken_where_nothing_is_known() {
        let ticks = [
            tick(0, 5, Some(80.0), Some((10, 0, Some(81.0)))),
            tick(1, 5, Some(80.0), Some((0, 0, None))),
            tick(2, 5, Some(80.0), Some((10, 0, Some(82.0)))),
            tick(3, 5, Some(80.0), Some((10, 0, Some(83.0)))),
            tick(30, 5, Some(80.0), Some((10, 0, Some(84.0)))),
            tick(31, 5, Some(80.0), None),
        ];
        let points = points(&ticks, Some(0.1), 1000);
        let lengths: Vec<usize> = runs(&points, |p| p.canary_p99).iter().map(Vec::len).collect();
        assert_eq!(lengths, [1, 2, 1]);
        let lengths: Vec<usize> = runs(&points, |p| p.stable_p99).iter().map(Vec::len).collect();
        assert_eq!(lengths, [4, 2]);
    }

    #[test]
    fn windows() {
        let ticks: Vec<Tick> = (0..40)
            .map(|s| tick(s, 5, Some(if s % 2 == 0 { 90.0 } else { 110.0 }), Some((10, u64::from(s >= 35), Some(1.0)))))
            .collect();
        let points = points(&ticks, Some(0.1), 1000);
        let last = points.last().unwrap();
        assert_eq!(last.canary_errors, Some(5.0 / 100.0));
        assert_eq!(last.stable_errors, Some(0.0));
        // 5 of 400 failed: 12.5 times what 99.9 % leaves.
        assert!((last.burn_fast.unwrap() - 12.5).abs() < 1e-9 && last.burn_fast == last.burn_slow);
        assert_eq!(last.band, Some((100.0, 10.0)));
        assert!((last.limit.unwrap() - 110.0).abs() < 1e-9);
        assert_eq!(points[0].band, Some((90.0, 0.0)));
    }

    #[test]
    fn a_coarse_grain_means_by_requests_and_keeps_gaps_and_steps_apart() {
        let ticks = [
            tick(0, 5, Some(80.0), Some((10, 0, Some(80.0)))),
            tick(1, 5, Some(80.0), Some((30, 0, Some(100.0)))),
            tick(2, 25, Some(80.0), Some((10, 1, Some(90.0)))),
            tick(30, 25, Some(80.0), Some((10, 0, Some(70.0)))),
        ];
        let points = points(&ticks, Some(0.1), 60_000);
        let got: Vec<_> = points.iter().map(|p| (p.weight, p.canary_p99, p.canary_n, p.gap)).collect();
        assert_eq!(got, [(5, Some(95.0), 40, true), (25, Some(90.0), 10, false), (25, Some(70.0), 10, true)]);
    }

    #[test]
    fn a_line_is_whole_at_any_distance_of_its_ticks() {
        for apart in [1, 2, 14, 300] {
            // The last run of thinned seconds is shorter than the others.
            let times = (0..200).map(|i| i * apart).chain([199 * apart + (apart / 3).max(1)]);
            let ticks: Vec<Tick> = times.map(|s| tick(s, 5, Some(80.0), Some((10, 0, Some(80.0))))).collect();
            let whole = points(&ticks, Some(0.1), 1_000);
            assert_eq!(runs(&whole, |p| p.stable_p99).len(), 1, "{apart} s apart");
            // A hole in it is one all the same.
            let holed: Vec<Tick> =
                ticks.iter().enumerate().filter(|(i, _)| !(50..70).contains(i)).map(|(_, t)| t.clone()).collect();
            assert_eq!(
                runs(&points(&holed, Some(0.1), 1_000), |p| p.stable_p99).len(),
                2,
                "{apart} s apart, with a hole"
            );
        }
    }

    #[test]
    fn what_is_counted_while_somebody_watches_leaves_the_thinned_line_whole() {
        let far = (0..300).map(|i| i * 60);
        let near = (1..=700).map(|i| 299 * 60 + i);
        let ticks: Vec<Tick> = far.chain(near).map(|s| tick(s, 5, Some(80.0), Some((10, 0, Some(80.0))))).collect();
        assert_eq!(runs(&points(&ticks, Some(0.1), 1_000), |p| p.stable_p99).len(), 1);
        // Two holes beside each other are two.
        let ticks: Vec<Tick> = [0, 1, 2, 22, 42, 43, 44].map(|s| tick(s, 5, Some(80.0), None)).into();
        let lengths: Vec<usize> = runs(&points(&ticks, None, 1_000), |p| p.stable_p99).iter().map(Vec::len).collect();
        assert_eq!(lengths, [3, 1, 3]);
        for (seconds, wanted) in [
            (&[0, 1, 2, 3, 4, 24, 44, 64, 65, 66, 67, 68][..], &[5, 1, 1, 5][..]),
            (&[0, 20, 40, 41, 42, 43, 44], &[1, 1, 5]),
            (&[0, 1, 2, 3, 4, 24, 44], &[5, 1, 1]),
        ] {
            let ticks: Vec<Tick> = seconds.iter().map(|s| tick(*s, 5, Some(80.0), None)).collect();
            let lengths: Vec<usize> =
                runs(&points(&ticks, None, 1_000), |p| p.stable_p99).iter().map(Vec::len).collect();
            assert_eq!(lengths, wanted, "{seconds:?}");
        }
    }

    #[test]
    fn nothing_gives_nothing() {
        assert!(points(&[], Some(0.1), 1000).is_empty());
        let p = points(&[tick(0, 0, None, None)], Some(0.1), 1000);
        assert_eq!((p[0].band, p[0].canary_errors, p[0].limit), (None, None, None));
        let p = points(&[tick(0, 0, Some(80.0), None)], None, 1000);
        assert!(p[0].band.is_some() && p[0].limit.is_none(), "no rule, no limit");
        let p = points(&[tick(0, 0, Some(f64::NAN), None)], Some(0.1), 1000);
        assert_eq!(p[0].stable_p99, None);
    }
}
