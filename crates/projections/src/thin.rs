//! Fewer ticks without hiding what matters.

use model::Tick;

/// At most `max` of these ticks, in order. Out of each run of neighbours the one with the slowest canary stays, so a peak is
/// never thinned away. Histograms are left out.
pub fn thin(ticks: Vec<Tick>, max: usize) -> Vec<Tick> {
    let bare = |mut t: Tick| {
        t.stable.histogram = Vec::new();
        if let Some(c) = &mut t.canary {
            c.histogram = Vec::new();
        }
        t
    };
    if max == 0 {
        return Vec::new();
    }
    let run = ticks.len().div_ceil(max);
    if run <= 1 {
        return ticks.into_iter().map(bare).collect();
    }
    let weight = |t: &Tick| {
        let c = t.canary.as_ref();
        (c.map_or(0, |c| c.errors), c.and_then(|c| c.p99_ms).or(t.stable.p99_ms).unwrap_or(0.0))
    };
    ticks
        .chunks(run)
        .filter_map(|c| {
            c.iter().max_by(|a, b| {
                let (a, b) = (weight(a), weight(b));
                a.0.cmp(&b.0).then(a.1.total_cmp(&b.1))
            })
        })
        .cloned()
        .map(bare)
        .collect()
}
