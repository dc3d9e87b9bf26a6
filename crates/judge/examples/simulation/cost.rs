//! What the judge itself costs: one second of one release, its state, and ten thousand releases in a second.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    hint::black_box,
    time::{Duration, Instant},
};

use judge::{
    sequential::{Beginning, Feed, Mode, ModeChoice, Policy, hdr_edges},
    simulate::{Random, Tail},
};
use model::{Epoch, HistogramBucket, Tick, Timestamp, VersionTick, Weight};

/// Longest time for one second of one release, µs.
const TICK_US: f64 = 20.0;
/// Largest state of one release, bytes.
const STATE_BYTES: usize = 64 * 1024;
/// Releases that one core judges each second.
const RELEASES: usize = 10_000;
/// Seconds that each of them has behind it.
const BEFORE: u64 = 40;

/// The rows, and what they miss.
pub(crate) struct Cost {
    pub(crate) text: String,
    pub(crate) missed: Vec<String>,
}

pub(crate) fn rows() -> Cost {
    let mut cost = Cost { text: String::new(), missed: Vec::new() };
    let _ = writeln!(
        cost.text,
        "\n### What it costs\n\nFrom the data plane's histograms of a second at 200 requests/s to evidence, intervals and the line of the table; {} of one thread.\n\n| what | measured | at most |\n|---|---|---|",
        if Clock::now().is_some() { "processor time" } else { "time" }
    );
    let ticks = seconds();
    for mode in [Mode::Requests, Mode::Blocks] {
        // The least of three: other programs only ever add to it.
        let us = (0..3).map(|_| one_release(&ticks, mode)).fold(f64::INFINITY, f64::min);
        cost.row(&format!("one second of one release, by {}", mode.as_str()), us, TICK_US, "µs");
    }
    let (all, state) = many_releases(&ticks);
    cost.row("one second of 10,000 releases, one after the other", all, 1.0, "s");
    cost.row("largest state of these releases", state as f64 / 1024.0, STATE_BYTES as f64 / 1024.0, "kB");
    cost
}

impl Cost {
    fn row(&mut self, what: &str, got: f64, most: f64, unit: &str) {
        let _ = writeln!(self.text, "| {what} | {got:.2} {unit} | {most} {unit} |");
        if got > most {
            self.missed.push(format!("{what}: {got:.2} {unit}, at most {most}"));
        }
    }
}

/// This thread's processor time, which other programs do not add to; elsewhere the wall's.
struct Clock {
    wall: Instant,
    thread: Option<Duration>,
}

impl Clock {
    fn start() -> Self {
        Self { wall: Instant::now(), thread: Self::now() }
    }

    /// Linux counts it in ns, brought up to date at least every 10 ms.
    fn now() -> Option<Duration> {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
        Some(Duration::from_nanos(text.split(' ').next()?.parse().ok()?))
    }

    /// Seconds since the start.
    fn elapsed(&self) -> f64 {
        match self.thread.zip(Self::now()) {
            Some((start, now)) => now.saturating_sub(start).as_secs_f64(),
            None => self.wall.elapsed().as_secs_f64(),
        }
    }
}

fn feed(mode: Mode) -> Feed {
    let from = Timestamp::from_millis(0);
    let beginning = Beginning { choice: ModeChoice::fixed(mode), limits: None, from, every_s: None };
    Feed::new(Policy { warm_up_s: 0, ..Policy::default() }, beginning).expect("a policy")
}

/// Seconds of a release at 25 % of 200 requests/s.
fn seconds() -> Vec<Tick> {
    let mut random = Random::new(1);
    let mut version = |n: u64| {
        let mut edges = BTreeMap::new();
        for _ in 0..n {
            let us = Tail::Light.quantile(random.unit()) as u64;
            *edges.entry(hdr_edges(us).0).or_insert(0) += 1;
        }
        let histogram = edges.into_iter().map(|(edge, n)| HistogramBucket(edge, n)).collect();
        VersionTick { n, histogram, ..VersionTick::default() }
    };
    let tick = |_| Tick {
        seq: 0,
        boot: "b".to_owned(),
        at: Timestamp::from_millis(0),
        weight: Weight::new(25).expect("a weight"),
        weight_changed: false,
        epoch: Epoch(1),
        stable: version(150),
        canary: Some(version(50)),
        canary_last_sent: None,
        sticky: false,
        judged: None,
        counted: Vec::new(),
    };
    (0..64).map(tick).collect()
}

fn at(ticks: &mut [Tick], second: u64) -> &Tick {
    let tick = &mut ticks[second as usize % 64];
    (tick.seq, tick.at) = (second, Timestamp::from_millis(1_000 * (second as i64 + 1)));
    tick
}

/// µs for one second.
fn one_release(ticks: &[Tick], mode: Mode) -> f64 {
    const SECONDS: u64 = 20_000;
    let (mut ticks, mut feed) = (ticks.to_vec(), feed(mode));
    let began = Clock::start();
    for second in 0..SECONDS {
        black_box(feed.push(black_box(at(&mut ticks, second))));
    }
    began.elapsed() * 1e6 / SECONDS as f64
}

/// Seconds for one second of all releases, and the largest state among them.
fn many_releases(ticks: &[Tick]) -> (f64, usize) {
    let mut ticks = ticks.to_vec();
    let mut feeds: Vec<Feed> =
        (0..RELEASES).map(|i| feed(if i % 2 == 0 { Mode::Requests } else { Mode::Blocks })).collect();
    let mut least = f64::INFINITY;
    for second in 0..BEFORE {
        let began = Clock::start();
        for feed in &mut feeds {
            black_box(feed.push(black_box(at(&mut ticks, second))));
        }
        if second >= BEFORE - 5 {
            least = least.min(began.elapsed());
        }
    }
    (least, feeds.iter().map(Feed::state_bytes).max().unwrap_or(0))
}
