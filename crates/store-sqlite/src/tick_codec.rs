//! Ticks as blobs: what charts need as JSON (new fields of a tick find their place by themselves), the histograms, which
//! are the bulk and which only verdicts need, apart and compact.
//!
//! Histograms of a block: for each tick stable then canary, each as a count of buckets, then for each bucket the distance
//! of its upper edge from the one before and its number of requests; all unsigned LEB128.

use model::{HistogramBucket, Tick, VersionTick};

/// Buckets of one histogram: three digits from 1 µs to 10 minutes need less than 20,000.
const MAX_BUCKETS: u64 = 50_000;

/// Bytes that are not a block of ticks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NotTicks(pub(crate) String);

/// The two blobs of a block.
pub(crate) fn encode(ticks: &[Tick]) -> Result<(Vec<u8>, Vec<u8>), NotTicks> {
    let mut histograms = Vec::new();
    let mut bare = ticks.to_vec();
    for tick in &mut bare {
        let canary = tick.canary.as_mut().map(take).unwrap_or_default();
        put(&mut histograms, &take(&mut tick.stable));
        put(&mut histograms, &canary);
    }
    let json = serde_json::to_vec(&bare).map_err(|error| NotTicks(error.to_string()))?;
    Ok((json, histograms))
}

/// The ticks, without histograms unless those are given.
pub(crate) fn decode(json: &[u8], histograms: Option<&[u8]>) -> Result<Vec<Tick>, NotTicks> {
    let mut ticks: Vec<Tick> = serde_json::from_slice(json).map_err(|error| NotTicks(error.to_string()))?;
    if histograms.is_none() {
        ticks.iter_mut().for_each(|tick| tick.counted.clear());
    }
    if let Some(mut rest) = histograms {
        let short = || NotTicks("the histograms end early".to_owned());
        for tick in &mut ticks {
            tick.stable.histogram = get(&mut rest).ok_or_else(short)?;
            let canary = get(&mut rest).ok_or_else(short)?;
            if let Some(version) = &mut tick.canary {
                version.histogram = canary;
            }
        }
        if !rest.is_empty() {
            return Err(NotTicks("bytes are left behind the histograms".to_owned()));
        }
    }
    Ok(ticks)
}

fn take(version: &mut VersionTick) -> Vec<HistogramBucket> {
    std::mem::take(&mut version.histogram)
}

fn put(out: &mut Vec<u8>, histogram: &[HistogramBucket]) {
    put_number(out, histogram.len() as u64);
    let mut last = 0;
    for HistogramBucket(edge, count) in histogram {
        // Edges ascend; a wrapping distance keeps even those that do not.
        put_number(out, edge.wrapping_sub(last));
        put_number(out, *count);
        last = *edge;
    }
}

fn get(bytes: &mut &[u8]) -> Option<Vec<HistogramBucket>> {
    let count = get_number(bytes)?;
    if count > MAX_BUCKETS {
        return None;
    }
    let mut last = 0_u64;
    (0..count)
        .map(|_| {
            last = last.wrapping_add(get_number(bytes)?);
            Some(HistogramBucket(last, get_number(bytes)?))
        })
        .collect()
}

fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn get_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let part = u64::from(byte & 0x7f);
        if part << shift >> shift != part {
            return None;
        }
        number |= part << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use model::{Epoch, Timestamp, Weight};
    use proptest::prelude::*;

    use super::*;

    fn version(histogram: Vec<(u64, u64)>) -> VersionTick {
        let histogram = histogram.into_iter().map(|(edge, n)| HistogramBucket(edge, n)).collect();
        VersionTick { n: 7, errors: 1, p99_ms: Some(12.25), histogram, ..VersionTick::default() }
    }

    fn tick(stable: Vec<(u64, u64)>, canary: Option<Vec<(u64, u64)>>) -> Tick {
        Tick {
            seq: 3,
            boot: "b".to_owned(),
            at: Timestamp::from_millis(1000),
            weight: Weight::new(5).unwrap(),
            weight_changed: false,
            epoch: Epoch(2),
            stable: version(stable),
            canary: canary.map(version),
            canary_last_sent: None,
            sticky: false,
            judged: None,
            counted: Vec::new(),
        }
    }

    proptest! {
        #[test]
        fn what_is_kept_comes_back(ticks in proptest::collection::vec((any::<Vec<(u64, u64)>>(), any::<Option<Vec<(u64, u64)>>>()), 0..5)) {
            let ticks: Vec<Tick> = ticks.into_iter().map(|(stable, canary)| tick(stable, canary)).collect();
            let (json, histograms) = encode(&ticks).unwrap();
            prop_assert_eq!(decode(&json, Some(&histograms)).unwrap(), ticks.clone());
            let bare = decode(&json, None).unwrap();
            prop_assert!(bare.iter().all(|tick| tick.stable.histogram.is_empty()));
            prop_assert_eq!(bare.len(), ticks.len());
        }

        #[test]
        fn any_bytes_are_refused_or_read(bytes in any::<Vec<u8>>()) {
            let (json, _) = encode(&[tick(vec![(1, 1)], None)]).unwrap();
            let _ = decode(&json, Some(&bytes));
            let _ = decode(&bytes, None);
        }
    }
}
