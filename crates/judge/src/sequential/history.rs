//! Stable's recent past: what the limits and the unit of evidence come from.

use std::collections::VecDeque;

use model::{HistogramBucket, VersionTick};

use super::{
    clusters::{Clustering, MIN_SECONDS, ModeChoice},
    latency::{Limits, hdr_edges, slower_than},
    policy::Policy,
};

/// The past is forgotten in so many pieces.
const PIECES: u32 = 10;
/// Most buckets of a piece: four doublings of latency at [`coarse`] width. Beyond it a request counts in the next larger bucket
/// that is there, which can only overstate stable's latency.
const MAX_PIECE: usize = 512;
/// Most buckets of all pieces together: six doublings. Beyond it the fastest requests share a bucket, which says nothing about a 99th percentile
/// unless that is among them, and then overstates it.
const MAX_MERGED: usize = 768;

/// Moments of counters kept at least: a piece more than say how requests cluster.
pub const MOMENTS: u32 = 80;

/// Counts, latencies and clustering of stable's last minutes. Bounded: ten pieces of at most 512 buckets of 8 bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct History {
    piece_s: u32,
    pieces: VecDeque<Piece>,
    /// x of the pieces that are full: for the clustering of slow requests, which must not use the second that it counts.
    slow_above: Option<u64>,
    /// True: the histograms have edges of their own, which are kept as they are.
    own_edges: bool,
}

#[derive(Debug, Clone, PartialEq, Default)]
struct Piece {
    seconds: u32,
    requests: u64,
    buckets: Vec<(u32, u32)>,
    errors: Clustering,
    slow: Clustering,
}

impl History {
    /// Of so many seconds.
    pub fn new(seconds: u32) -> Self {
        Self { piece_s: (seconds / PIECES).max(1), pieces: VecDeque::new(), slow_above: None, own_edges: false }
    }

    /// Of so many seconds of another source's counters, which come every `every_s` seconds with edges of their own; of more than that where
    /// fewer than [`MOMENTS`] moments could not choose the unit of evidence.
    pub fn of_counters(seconds: u32, every_s: u32) -> Self {
        Self { own_edges: true, ..Self::new((seconds / every_s.max(1)).max(MOMENTS)) }
    }

    /// Pushes that it still knows.
    pub fn seconds(&self) -> u64 {
        self.pieces.iter().map(|p| u64::from(p.seconds)).sum()
    }

    /// Requests in them.
    pub fn requests(&self) -> u64 {
        self.pieces.iter().map(|p| p.requests).sum()
    }

    /// Requests a second so far, where a push is a second; `None` before a minute with traffic.
    pub fn rate(&self) -> Option<f64> {
        let seconds = self.seconds();
        let requests = self.requests();
        (seconds >= MIN_SECONDS && requests > 0).then(|| requests as f64 / seconds as f64)
    }

    /// Takes a second of stable.
    pub fn push(&mut self, stable: &VersionTick) {
        if self.pieces.back().is_none_or(|p| p.seconds >= self.piece_s) {
            self.slow_above = self.quantile_edge();
            if self.pieces.len() >= PIECES as usize {
                self.pieces.pop_front();
            }
            self.pieces.push_back(Piece::default());
        }
        let above = self.slow_above;
        let Some(piece) = self.pieces.back_mut() else { return };
        piece.seconds += 1;
        let n = stable.n.max(stable.errors);
        piece.requests = piece.requests.saturating_add(n);
        piece.errors.push(stable.errors, n);
        if let Some(above) = above {
            piece.slow.push(slower_than(&stable.histogram, above), n);
        }
        piece.add(&stable.histogram, if self.own_edges { own } else { coarse });
    }

    /// Every bucket of the past, ascending.
    pub fn histogram(&self) -> Vec<HistogramBucket> {
        let mut all: Vec<HistogramBucket> = self
            .pieces
            .iter()
            .flat_map(|p| p.buckets.iter().map(|(edge, n)| HistogramBucket(self.edge(*edge), u64::from(*n))))
            .collect();
        all.sort_unstable_by_key(|b| b.0);
        all.dedup_by(|b, into| {
            let same = b.0 == into.0;
            if same {
                into.1 = into.1.saturating_add(b.1);
            }
            same
        });
        if let Some(last) = all.len().checked_sub(MAX_MERGED).filter(|excess| *excess > 0) {
            let folded = all.drain(..last).fold(0_u64, |sum, b| sum.saturating_add(b.1));
            if let Some(first) = all.first_mut() {
                first.1 = first.1.saturating_add(folded);
            }
        }
        all.shrink_to_fit();
        all
    }

    /// The edge that is kept as this one.
    fn edge(&self, kept: u32) -> u64 {
        if self.own_edges && kept == u32::MAX { u64::MAX } else { u64::from(kept) }
    }

    /// Bytes beyond its own size.
    pub(super) fn heap_bytes(&self) -> usize {
        let buckets: usize = self.pieces.iter().map(|p| p.buckets.capacity()).sum();
        buckets * size_of::<(u32, u32)>() + self.pieces.capacity() * size_of::<Piece>()
    }

    /// Limits from the past; `None` from too few requests.
    pub fn limits(&self, policy: &Policy) -> Option<Limits> {
        let requests: u64 = self.pieces.iter().flat_map(|p| &p.buckets).map(|b| u64::from(b.1)).sum();
        if requests < policy.history_requests {
            return None;
        }
        let past = self.histogram();
        if self.own_edges {
            return Limits::on_own_edges(&past, policy);
        }
        Limits::new(past.iter().copied(), policy.history_requests, policy.tolerance, policy.least_us, hdr_edges)
    }

    /// The unit of evidence that the past allows, for a canary that gets at most this share of the requests while it is compared.
    pub fn choice(&self, largest_share: f64) -> ModeChoice {
        let (mut errors, mut slow) = (Clustering::default(), Clustering::default());
        let (mut seconds, mut requests) = (0_u64, 0_u64);
        for piece in &self.pieces {
            errors.add(&piece.errors);
            slow.add(&piece.slow);
            seconds += u64::from(piece.seconds);
            requests += piece.requests;
        }
        let rate = requests as f64 / seconds.max(1) as f64;
        ModeChoice::new(&errors, &slow, rate * largest_share)
    }

    fn quantile_edge(&self) -> Option<u64> {
        let past = self.histogram();
        Limits::new(past.iter().copied(), Policy::default().history_requests, 0.0, 0, hdr_edges).map(|l| l.stable_us)
    }
}

impl Piece {
    fn add(&mut self, histogram: &[HistogramBucket], edge_of: fn(u64) -> u32) {
        let mut at = 0;
        for HistogramBucket(edge, n) in histogram {
            let (edge, n) = (edge_of(*edge), u32::try_from(*n).unwrap_or(u32::MAX));
            while self.buckets.get(at).is_some_and(|b| b.0 < edge) {
                at += 1;
            }
            let full = self.buckets.len() >= MAX_PIECE;
            if full {
                at = at.min(MAX_PIECE - 1);
            }
            match self.buckets.get_mut(at) {
                Some(bucket) if bucket.0 == edge || full => bucket.1 = bucket.1.saturating_add(n),
                _ => self.buckets.insert(at, (edge, n)),
            }
        }
    }
}

/// An edge as it is; what lies beyond an hour is infinity.
fn own(edge: u64) -> u32 {
    u32::try_from(edge).unwrap_or(u32::MAX)
}

/// The edge at or above this one in buckets of 1/128: an edge of finer histograms too.
fn coarse(edge: u64) -> u32 {
    let edge = edge.min(u64::from(u32::MAX));
    let width = 1_u64 << (64 - (edge | 1).leading_zeros()).saturating_sub(8);
    u32::try_from(edge | (width - 1)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sequential::Mode;

    fn second(n: u64, errors: u64, us: u64) -> VersionTick {
        VersionTick { n, errors, histogram: vec![HistogramBucket(us, n)], ..VersionTick::default() }
    }

    #[test]
    fn the_past_gives_limits_and_forgets() {
        let mut history = History::new(300);
        let policy = Policy::default();
        for _ in 0..4 {
            history.push(&second(100, 0, 40_000));
        }
        assert_eq!(history.limits(&policy), None, "too few");
        history.push(&second(100, 0, 40_000));
        let first = history.limits(&policy).unwrap();
        assert!((40_000..40_400).contains(&first.stable_us), "{first:?}");
        assert_eq!(first.requests, 500);
        for _ in 0..330 {
            history.push(&second(100, 0, 80_000));
        }
        let later = history.limits(&policy).unwrap();
        assert!(later.stable_us > 79_999 && later.requests <= 30_000, "{later:?}");
        assert_eq!(history.histogram().len(), 1);
    }

    #[test]
    fn the_unit_follows_the_past() {
        let mut steady = History::new(300);
        let mut bursts = History::new(300);
        for s in 0..300 {
            steady.push(&second(100, u64::from(s % 10 == 0), 40_000));
            bursts.push(&second(100, if s % 50 == 0 { 30 } else { 0 }, 40_000));
        }
        assert_eq!(steady.choice(0.5).mode, Mode::Requests, "{:?}", steady.choice(0.5));
        assert_eq!(bursts.choice(0.5).mode, Mode::Blocks);
        assert_eq!(History::new(300).choice(0.5).mode, Mode::Blocks, "unknown");
    }

    #[test]
    fn pieces_are_bounded_and_edges_ascend() {
        let mut piece = Piece::default();
        let wide: Vec<_> = (0..5_000_u64).map(|i| HistogramBucket(1 + i * i, 1)).collect();
        piece.add(&wide, coarse);
        piece.add(&wide, coarse);
        assert_eq!(piece.buckets.iter().map(|b| u64::from(b.1)).sum::<u64>(), 10_000);
        assert!(piece.buckets.len() <= MAX_PIECE && piece.buckets.windows(2).all(|w| w[0].0 < w[1].0));
        let mut history = History::new(300);
        for second in 0..400_u64 {
            let wide: Vec<_> = (0..5_000_u64).map(|i| HistogramBucket(1 + (i + second) * i, 1)).collect();
            history.push(&VersionTick { n: 5_000, histogram: wide, ..VersionTick::default() });
        }
        let merged = history.histogram();
        assert!(merged.len() <= MAX_MERGED && merged.windows(2).all(|w| w[0].0 < w[1].0));
        let kept: u64 = history.pieces.iter().flat_map(|p| &p.buckets).map(|b| u64::from(b.1)).sum();
        assert_eq!(merged.iter().map(|b| b.1).sum::<u64>(), kept);
        // A coarse edge is one of the fine histogram's too.
        for us in (1..3_000_000_u64).step_by(977) {
            let edge = u64::from(coarse(us));
            assert_eq!(hdr_edges(edge).0, edge, "{us}");
            assert!(edge >= us && (edge - us) as f64 <= us as f64 / 128.0 + 1.0);
        }
    }
}
