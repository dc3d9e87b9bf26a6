//! Fewer ticks that still count every request.

use model::{HistogramBucket, Tick, VersionTick};

/// At most `max` of these ticks, in order; each stands for a run of neighbours: their counts are added, their histograms merged, and what is
/// derived from them (median, p99, mean, standard deviation) is that of the whole run, so a ratio is as true as in the seconds themselves. Of
/// ticks without histograms the percentiles are averaged by requests. Time, weight and verdict are those of the last second of a run.
/// The histograms themselves are left out. A run ends where the weight changes, so what a stage served stays its own, as long as there are not
/// more changes than ticks may come.
pub fn thin(ticks: Vec<Tick>, max: usize) -> Vec<Tick> {
    if max == 0 {
        return Vec::new();
    }
    let run = ticks.len().div_ceil(max);
    if run <= 1 {
        return ticks.into_iter().map(bare).collect();
    }
    let stages: Vec<&[Tick]> = ticks.chunk_by(|a, b| a.weight == b.weight).collect();
    if stages.len() > max {
        return ticks.chunks(run).filter_map(merged).collect();
    }
    // Each stage may end with a shorter run: with longer ones there are few enough.
    let all = |run: usize| stages.iter().map(|stage| stage.len().div_ceil(run)).sum::<usize>();
    let run = (run..ticks.len()).find(|run| all(*run) <= max).unwrap_or(ticks.len());
    stages.iter().flat_map(|stage| stage.chunks(run)).filter_map(merged).collect()
}

fn bare(mut tick: Tick) -> Tick {
    tick.stable.histogram = Vec::new();
    if let Some(canary) = &mut tick.canary {
        canary.histogram = Vec::new();
    }
    tick
}

fn merged(run: &[Tick]) -> Option<Tick> {
    let last = run.last()?;
    let canary: Vec<&VersionTick> = run.iter().filter_map(|tick| tick.canary.as_ref()).collect();
    Some(Tick {
        seq: last.seq,
        boot: last.boot.clone(),
        at: last.at,
        weight: last.weight,
        weight_changed: run.iter().any(|tick| tick.weight_changed),
        epoch: last.epoch,
        stable: sum(&run.iter().map(|tick| &tick.stable).collect::<Vec<_>>()),
        canary: if canary.is_empty() { None } else { Some(sum(&canary)) },
        canary_last_sent: run.iter().rev().find_map(|tick| tick.canary_last_sent),
        sticky: run.iter().any(|tick| tick.sticky),
        judged: run.iter().rev().find_map(|tick| tick.judged.clone()),
        counted: Vec::new(),
    })
}

fn sum(seconds: &[&VersionTick]) -> VersionTick {
    let add =
        |count: fn(&VersionTick) -> u64| seconds.iter().fold(0_u64, |all, second| all.saturating_add(count(second)));
    // Weighted by requests, over the seconds that have it.
    let mean = |value: &dyn Fn(&VersionTick) -> Option<f64>| {
        let (sum, n) = seconds.iter().filter(|second| second.n > 0).fold((0.0, 0.0), |(sum, n), second| {
            value(second).map_or((sum, n), |v| (sum + v * second.n as f64, n + second.n as f64))
        });
        (n > 0.0).then_some(sum / n)
    };
    let n = add(|second| second.n);
    // Each at its place as it comes: most edges are those of the second before, and a sort is much code for a browser.
    let mut buckets: Vec<HistogramBucket> = Vec::new();
    for bucket in seconds.iter().flat_map(|second| &second.histogram) {
        match buckets.binary_search_by_key(&bucket.0, |known| known.0) {
            Ok(at) => {
                if let Some(known) = buckets.get_mut(at) {
                    known.1 = known.1.saturating_add(bucket.1);
                }
            }
            Err(at) => buckets.insert(at, *bucket),
        }
    }
    let counted = buckets.iter().fold(0_u64, |all, HistogramBucket(_, count)| all.saturating_add(*count));
    let whole = n > 0 && counted == n;
    let percentile = |percent: u64, value: fn(&VersionTick) -> Option<f64>| {
        if whole { at_rank(&buckets, counted, percent) } else { mean(&value) }
    };
    let mean_ms = mean(&|second| second.mean_ms);
    // Of all requests: the mean of their squares less the square of their mean.
    let squares = mean(&|second| Some(second.sigma_ms?.powi(2) + second.mean_ms?.powi(2)));
    VersionTick {
        n,
        errors: add(|second| second.errors),
        timeouts: add(|second| second.timeouts),
        in_flight: seconds.last().map_or(0, |second| second.in_flight),
        p50_ms: percentile(50, |second| second.p50_ms),
        p99_ms: percentile(99, |second| second.p99_ms),
        mean_ms,
        sigma_ms: squares.zip(mean_ms).map(|(squares, mean)| (squares - mean * mean).max(0.0).sqrt()),
        histogram: Vec::new(),
    }
}

/// Upper edge, ms, of the bucket that holds the request of this rank.
fn at_rank(buckets: &[HistogramBucket], n: u64, percent: u64) -> Option<f64> {
    let rank = u128::from(n) * u128::from(percent);
    let mut below = 0_u128;
    buckets.iter().find_map(|HistogramBucket(edge, count)| {
        below += u128::from(*count);
        (below * 100 >= rank).then_some(*edge as f64 / 1000.0)
    })
}
