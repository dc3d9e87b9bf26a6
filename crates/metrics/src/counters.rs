//! The counters of two versions over time, from Prometheus, as the sequential judge wants them.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use controller::{CounterAsk, Counters};
use judge::sequential::{MAX_EDGES, Scrape};
use model::Timestamp;

use crate::{
    MetricError, PrometheusSource,
    prometheus::{Labelled, Range},
};

impl PrometheusSource {
    pub(crate) async fn count(&self, ask: &CounterAsk, timeout: Duration) -> Result<Counters, MetricError> {
        let range = Range { start: ask.start, end: ask.end, step: ask.step };
        let of = |query| self.labelled(&ask.address, query, range, timeout);
        let (buckets, errors) = futures::try_join!(of(&ask.queries.buckets), of(&ask.queries.errors))?;
        let ((buckets, source), (errors, _)) = (buckets, errors);
        let counted = counters(&buckets, &errors).map_err(|why| MetricError::Unreadable(source.clone(), why))?;
        Ok(Counters { source, ..counted })
    }
}

fn counters(buckets: &[Labelled], errors: &[Labelled]) -> Result<Counters, String> {
    if buckets.is_empty() {
        // Nobody has counted anything yet.
        return Ok(Counters::default());
    }
    let (mut by_edge, mut edges) = (Vec::new(), BTreeSet::new());
    for series in buckets {
        let le = series.labels.get("le").ok_or("a bucket has no label le: `sum by (le) (…_bucket…)` keeps it")?;
        let edge = match le.as_str() {
            "+Inf" => None,
            text => Some(micros(text).ok_or_else(|| format!("the bucket edge {text:?} is not a number of seconds"))?),
        };
        if !edge.is_none_or(|edge| edges.insert(edge)) {
            return Err(format!("two series have the edge {le}: sum them"));
        }
        by_edge.push((edge, series));
    }
    if edges.is_empty() || edges.len() > MAX_EDGES {
        return Err(format!("{} bucket edges, 1 to {MAX_EDGES} can be used", edges.len()));
    }
    let edges_us: Vec<u64> = edges.into_iter().collect();
    if errors.len() > 1 {
        return Err(format!("{} series of failed requests: sum them", errors.len()));
    }
    let mut scrapes: BTreeMap<Timestamp, Scrape> = BTreeMap::new();
    for (edge, series) in by_edge {
        for (at, value) in &series.values {
            let scrape =
                scrapes.entry(*at).or_insert_with(|| Scrape { n: 0, errors: 0, at_most: vec![0; edges_us.len()] });
            let slot = match edge {
                None => Some(&mut scrape.n),
                Some(edge) => edges_us.binary_search(&edge).ok().and_then(|i| scrape.at_most.get_mut(i)),
            };
            if let Some(slot) = slot {
                *slot = count(*value)?;
            }
        }
    }
    // A counter of failures that nobody has counted yet is absent: none.
    for (at, value) in errors.iter().flat_map(|series| &series.values) {
        if let Some(scrape) = scrapes.get_mut(at) {
            scrape.errors = count(*value)?;
        }
    }
    if scrapes.values().all(|s| s.n == 0) && scrapes.values().any(|s| s.at_most.iter().any(|n| *n > 0)) {
        return Err("there is no bucket +Inf".to_owned());
    }
    Ok(Counters { edges_us, scrapes, source: String::new() })
}

/// Seconds in a label as µs.
fn micros(text: &str) -> Option<u64> {
    let us = text.parse::<f64>().ok()? * 1e6;
    (us.is_finite() && us > 0.0 && us < 1e15).then_some(us.round() as u64)
}

fn count(value: f64) -> Result<u64, String> {
    if !(0.0..=9e15).contains(&value) {
        return Err(format!("{value} is not a count"));
    }
    Ok(value.round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(le: &str, values: &[(i64, f64)]) -> Labelled {
        Labelled {
            labels: [("le".to_owned(), le.to_owned())].into(),
            values: values.iter().map(|(s, v)| (Timestamp::from_millis(s * 1_000), *v)).collect(),
        }
    }

    #[test]
    fn buckets_become_scrapes() {
        let buckets = [
            series("+Inf", &[(1, 10.0), (2, 25.0)]),
            series("0.1", &[(1, 9.0), (2, 20.0)]),
            series("0.05", &[(1, 4.0), (2, 9.0)]),
        ];
        let errors = [series("", &[(2, 3.0)])];
        let got = counters(&buckets, &errors).unwrap();
        assert_eq!(got.edges_us, [50_000, 100_000]);
        let all: Vec<&Scrape> = got.scrapes.values().collect();
        assert_eq!(*all[0], Scrape { n: 10, errors: 0, at_most: vec![4, 9] });
        assert_eq!(*all[1], Scrape { n: 25, errors: 3, at_most: vec![9, 20] });
        assert_eq!(counters(&buckets, &[]).unwrap().scrapes.len(), 2);
    }

    #[test]
    fn what_is_no_histogram_is_refused() {
        let refused = |buckets: &[Labelled], says: &str| {
            let why = counters(buckets, &[]).unwrap_err();
            assert!(why.contains(says), "{why}");
        };
        assert_eq!(counters(&[], &[]), Ok(Counters::default()), "nothing is counted yet");
        refused(&[series("+Inf", &[])], "0 bucket edges");
        refused(&[Labelled::default()], "no label le");
        refused(&[series("often", &[])], "not a number");
        refused(&[series("-1", &[])], "not a number");
        refused(&[series("0.1", &[]), series("0.10", &[])], "two series");
        refused(&[series("0.1", &[(1, f64::NAN)])], "not a count");
        refused(&[series("0.1", &[(1, 5.0)])], "+Inf");
        let many: Vec<Labelled> = (1..=MAX_EDGES + 1).map(|i| series(&i.to_string(), &[])).collect();
        refused(&many, "bucket edges");
    }
}
