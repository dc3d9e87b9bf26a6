//! From the data plane's seconds to the table of ticks, and from there to the evidence.

use model::{HistogramBucket, Judged, Tick as Second, Timestamp, VersionTick};
use serde::{Deserialize, Serialize};

use super::{
    bands::{RATIOS, RatioBand, error_difference},
    buckets::{Fit, own_edges},
    clusters::ModeChoice,
    history::History,
    latency::{Limits, hdr_edges, slower_than},
    policy::{Policy, PolicyError},
    state::{LnE, Sequential},
    tick::{Counts, Tick},
};

/// Ticks of one piece of the table: an hour. Full pieces are written once.
pub const PIECE_TICKS: u32 = 3_600;

/// Seconds of a release's own past that take the place of what the limits came from before, though that had more requests. In fewer seconds one
/// hiccup of the machine is more than one request in a hundred, and a limit from it lets every regression below that hiccup through.
const OWN_PAST_S: u64 = 120;

/// What was fixed from stable's past before the first step. Kept in the receipt of the analysis' start, from which the evidence is rebuilt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Beginning {
    /// The unit of evidence and what it was chosen from.
    pub choice: ModeChoice,
    /// The first limits; `None` when stable had too few requests: then the release's own seconds give them.
    pub limits: Option<Limits>,
    /// Seconds that ended later count.
    pub from: Timestamp,
    /// Set when the judge is fed from another source's cumulative counters (Prometheus): seconds between two of their moments. Then a second is
    /// the time between two moments, and its histograms name every edge that they have. `None`: the data plane's own seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every_s: Option<u32>,
}

impl Beginning {
    /// From stable's past. `largest_share` is the largest share of requests at which the canary is compared.
    pub fn new(policy: &Policy, past: &History, largest_share: f64, from: Timestamp) -> Self {
        let choice = match policy.mode {
            Some(mode) => ModeChoice::fixed(mode),
            None => past.choice(largest_share),
        };
        Self { choice, limits: past.limits(policy), from, every_s: None }
    }
}

/// Feeds the judge with the seconds of one release. A function of [`Policy`], [`Beginning`] and the seconds: after a crash it is rebuilt from them.
#[derive(Debug, Clone)]
pub struct Feed {
    judge: Sequential,
    beginning: Beginning,
    limits: Option<Limits>,
    /// The histogram that the limits came from, when it was the release's own.
    source: Option<Vec<HistogramBucket>>,
    history: History,
    step: u32,
    weight: Option<u8>,
    traffic_s: u32,
    ticks: i64,
    bands: RatioBand,
    pieces: Vec<Vec<u8>>,
    in_piece: u32,
    last: Option<(String, u64, Timestamp)>,
}

impl Feed {
    /// Nothing seen yet.
    pub fn new(policy: Policy, beginning: Beginning) -> Result<Self, PolicyError> {
        let history = match beginning.every_s {
            None => History::new(policy.history_s),
            Some(every_s) => History::of_counters(policy.history_s, every_s),
        };
        let judge = Sequential::new(policy, beginning.choice.mode)?;
        Ok(Self {
            judge,
            limits: beginning.limits,
            source: None,
            beginning,
            history,
            step: 0,
            weight: None,
            traffic_s: 0,
            ticks: 0,
            bands: RatioBand::default(),
            pieces: Vec::new(),
            in_piece: 0,
            last: None,
        })
    }

    /// Takes a second; `None` for one that does not count: seen before, before the beginning, or before the canary's first weight.
    pub fn push(&mut self, second: &Second) -> Option<Judged> {
        if second.at <= self.beginning.from {
            return None;
        }
        if let Some((boot, seq, at)) = &self.last
            && ((*boot == second.boot && second.seq <= *seq) || second.at < *at)
        {
            return None;
        }
        let since = self.last.replace((second.boot.clone(), second.seq, second.at)).map(|(_, _, at)| at);
        let weight = second.weight.percent();
        if self.weight.is_none() && weight == 0 {
            self.history.push(&second.stable);
            return None;
        }
        let new_step = self.weight.is_some_and(|w| w != weight);
        self.weight = Some(weight);
        self.step += u32::from(new_step);
        let own_past = self.history.seconds() * u64::from(self.beginning.every_s.unwrap_or(1));
        let says_more = |limits: Limits| own_past >= OWN_PAST_S || self.history.requests() > limits.requests;
        if self.limits.is_none_or(|limits| new_step && says_more(limits)) {
            // From what ended before this second: what comes may be compared with it.
            if let Some(limits) = self.history.limits(self.judge.policy()) {
                self.limits = Some(limits);
                self.source = Some(self.history.histogram());
            }
        }
        let none = VersionTick::default();
        let canary = second.canary.as_ref().unwrap_or(&none);
        let seconds = match (self.beginning.every_s, since) {
            (Some(every_s), Some(since)) => {
                u32::try_from(second.at.since(since) / 1_000).unwrap_or(every_s).max(every_s)
            }
            (every_s, _) => every_s.unwrap_or(1),
        };
        self.traffic_s = self.traffic_s.saturating_add(if canary.n > 0 { seconds } else { 0 });
        let tick = self.tick(second, canary);
        self.judge.push(&tick);
        if let (Some(_), Some(slow_b), Some(limits), false) =
            (tick.canary.slow, tick.stable.slow, self.limits, tick.drop)
        {
            let at = |ratio: f64| (limits.stable_us as f64 * ratio).ceil() as u64;
            let slow = |us: u64| slower_than(&canary.histogram, us);
            let (n_c, n_b) = (tick.canary.n, tick.stable.n);
            if self.beginning.every_s.is_some() {
                let edges = RATIOS.map(|ratio| own_edges(&canary.histogram, at(ratio)));
                let (above, below) = (edges.map(|e| slow(e.0)), edges.map(|e| slow(e.1)));
                self.bands.push(self.judge.policy(), n_c, n_b, [&above, &below], slow_b);
            } else {
                let slow_c = RATIOS.map(|ratio| slow(hdr_edges(at(ratio)).0));
                self.bands.push(self.judge.policy(), n_c, n_b, [&slow_c, &slow_c], slow_b);
            }
        }
        self.write(&tick);
        self.history.push(&second.stable);
        Some(self.judged())
    }

    fn tick(&mut self, second: &Second, canary: &VersionTick) -> Tick {
        self.ticks += 1;
        let warm = self.traffic_s > self.judge.policy().warm_up_s;
        let limits = self.limits.filter(|_| warm && timed(canary) && timed(&second.stable));
        let slow = |of: &VersionTick, above: fn(&Limits) -> u64| limits.map(|l| slower_than(&of.histogram, above(&l)));
        let counts = |of: &VersionTick, slow| Counts { n: of.n, errors: of.errors, slow };
        Tick {
            t: self.ticks,
            canary: counts(canary, slow(canary, |l| l.canary_us)),
            stable: counts(&second.stable, slow(&second.stable, |l| l.stable_us)),
            // With sessions that stick to a version the requests are not split one by one.
            weight: (!second.sticky).then_some(second.weight.percent()),
            step: Some(self.step),
            drop: second.weight_changed,
            slow_certify: slow(canary, |l| l.certify_us),
        }
    }

    fn write(&mut self, tick: &Tick) {
        if self.in_piece == 0 || self.in_piece >= PIECE_TICKS {
            self.pieces.push(Vec::new());
            self.in_piece = 0;
        }
        self.in_piece += 1;
        if let (Some(piece), Ok(line)) = (self.pieces.last_mut(), serde_json::to_vec(tick)) {
            piece.extend_from_slice(&line);
            piece.push(b'\n');
        }
    }

    /// What is shown after a second.
    pub fn judged(&self) -> Judged {
        let LnE { joint, each } = self.judge.ln_e();
        let policy = self.judge.policy();
        let (low, high) = error_difference(&self.judge);
        let (from, to) = self.bands.interval(policy, policy.alpha);
        Judged {
            joint,
            abs: each.abs,
            rel: each.rel,
            p99: each.p99,
            ratio: [from, to],
            difference: [low, high],
            certificate: self.judge.certificate().map(|c| c.array().into_iter().fold(f64::INFINITY, f64::min)),
            exposed: self.judge.totals().canary.n,
            verdict: self.judge.verdict().as_str().to_owned(),
        }
    }

    /// The judge.
    pub fn judge(&self) -> &Sequential {
        &self.judge
    }

    /// What was fixed before the first step.
    pub fn beginning(&self) -> &Beginning {
        &self.beginning
    }

    /// The limits in force.
    pub fn limits(&self) -> Option<Limits> {
        self.limits
    }

    /// How well the edges serve the tolerance, where they are another source's.
    pub fn fit(&self) -> Option<Fit> {
        self.beginning.every_s.map(|_| Fit::of(self.limits, self.judge.policy()))
    }

    /// The histogram that the limits in force came from, when it was the release's own and not that of the beginning.
    pub fn source(&self) -> Option<&[HistogramBucket]> {
        self.source.as_deref()
    }

    /// The table of ticks, in pieces that are full and the one that is not.
    pub fn pieces(&self) -> &[Vec<u8>] {
        &self.pieces
    }
}

impl Feed {
    /// Bytes that it takes, without the table of ticks, which is a record and grows with the rollout: evidence, intervals and stable's past.
    pub fn state_bytes(&self) -> usize {
        let grids = &self.judge.policy().grids;
        let numbers: usize =
            [&grids.up, &grids.down, &grids.p_up, &grids.p_down, &grids.l].iter().map(|g| g.capacity()).sum();
        let source = self.source.as_ref().map_or(0, Vec::capacity) * size_of::<HistogramBucket>();
        size_of::<Self>() + numbers * size_of::<f64>() + source + self.history.heap_bytes()
    }
}

/// Whether the histogram holds the requests that it should.
fn timed(version: &VersionTick) -> bool {
    version.n == 0 || version.histogram.iter().fold(0_u64, |sum, b| sum.saturating_add(b.1)) >= version.n
}

#[cfg(test)]
mod tests {
    use model::{Epoch, Weight};

    use super::*;
    use crate::sequential::{MAX_BUCKETS, Mode};

    /// Largest state of a release.
    const STATE_BYTES: usize = 64 * 1024;

    #[test]
    fn the_state_is_small_whatever_the_latencies_are() {
        let beginning = Beginning {
            choice: ModeChoice::fixed(Mode::Requests),
            limits: None,
            from: Timestamp::from_millis(0),
            every_s: None,
        };
        let mut feed = Feed::new(Policy::default(), beginning).unwrap();
        let mut largest = 0;
        for second in 0..700_u64 {
            // Every bucket that a histogram can have, other ones each second.
            let histogram: Vec<_> =
                (0..MAX_BUCKETS as u64).step_by(11).map(|i| HistogramBucket(1 + i * i / 16 + second, 1)).collect();
            let version = VersionTick { n: histogram.len() as u64, histogram, ..VersionTick::default() };
            feed.push(&Second {
                seq: second,
                boot: "b".to_owned(),
                at: Timestamp::from_millis(1_000 * (second as i64 + 1)),
                weight: Weight::new(if second / 100 % 2 == 0 { 5 } else { 25 }).unwrap(),
                weight_changed: false,
                epoch: Epoch(1),
                stable: version.clone(),
                canary: Some(version),
                canary_last_sent: None,
                sticky: false,
                judged: None,
                counted: Vec::new(),
            });
            largest = largest.max(feed.state_bytes());
        }
        assert!(feed.source().is_some(), "the limits' histogram is part of it");
        assert!((32 * 1024..=STATE_BYTES).contains(&largest), "{largest} bytes");
    }

    /// Seconds of a release: at each, what stable and canary took in ms, with the weight.
    fn seconds(of: impl Iterator<Item = (u8, u64, u64, u64)>) -> impl Iterator<Item = Second> {
        let version = |n: u64, ms: u64, slowest: u64| VersionTick {
            n,
            histogram: vec![HistogramBucket(ms * 1_000, n - n / 3), HistogramBucket(slowest * 1_000, n / 3)],
            ..VersionTick::default()
        };
        of.enumerate().map(move |(i, (weight, stable, slowest, canary))| Second {
            seq: i as u64,
            boot: "b".to_owned(),
            at: Timestamp::from_millis(1_000 * (i as i64 + 1)),
            weight: Weight::new(weight).unwrap(),
            weight_changed: false,
            epoch: Epoch(1),
            stable: version(200 - 2 * u64::from(weight), stable, slowest),
            canary: Some(version(2 * u64::from(weight), canary, canary)),
            canary_last_sent: None,
            sticky: false,
            judged: None,
            counted: Vec::new(),
        })
    }

    fn with_limit(mode: Mode, ms: u64) -> Feed {
        let past = [HistogramBucket(ms * 1_000, 10_000)];
        let policy = Policy::default();
        let limits = Limits::new(past.into_iter(), 500, policy.tolerance, policy.least_us, hdr_edges);
        assert!(limits.is_some());
        let from = Timestamp::from_millis(0);
        Feed::new(policy, Beginning { choice: ModeChoice::fixed(mode), limits, from, every_s: None }).unwrap()
    }

    /// In a step of 20 seconds one hiccup of the machine is far more than a request in a hundred: it must not become the limit.
    #[test]
    fn a_hiccup_of_a_short_step_hides_no_regression() {
        for mode in [Mode::Requests, Mode::Blocks] {
            let mut feed = with_limit(mode, 240);
            let hiccup = |i: u64| if i == 10 { 450 } else { 200 };
            for second in seconds((0..80).map(|i| (if i < 20 { 5 } else { 25 }, 190, hiccup(i), 300))) {
                feed.push(&second);
            }
            assert_eq!(feed.judge().verdict().as_str(), "regressed", "{mode:?}: {:?}", feed.limits());
        }
    }

    #[test]
    fn a_long_past_of_its_own_gives_the_limits() {
        let mut feed = with_limit(Mode::Blocks, 240);
        let before = feed.limits();
        for (i, second) in seconds((0..300).map(|i| (if i < OWN_PAST_S { 5 } else { 25 }, 300, 310, 300))).enumerate() {
            feed.push(&second);
            assert_eq!(feed.limits() == before, (i as u64) < OWN_PAST_S, "second {i}");
        }
        assert!(feed.limits().unwrap().stable_us >= 310_000);
    }
}
