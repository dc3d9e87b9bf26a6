//! What the data plane would have counted in every second of one made-up release.

use anyhow::Result;
use controller::SampleStore as _;
use model::{Epoch, HistogramBucket, Tick, Timestamp, VersionTick, Weight, event::Outcome};
use store_sqlite::SqliteStore;

use super::story::{PROMOTED_AT_S, STAGES, Story};

/// Ticks handed over at once: fewer than the store keeps in memory.
const AT_ONCE: usize = 1_000;
/// Requests a second, of both versions.
const RATE: u64 = 200;

/// A release that was promoted just before `now`, told so slowly that it has `measurements` seconds.
pub(super) fn story(n: u64, receipts: u64, now: Timestamp, measurements: u64) -> Result<Story> {
    let seconds = i64::try_from(measurements)?;
    let times = (seconds / PROMOTED_AT_S + 1).max(1);
    let start = now.plus_millis(-(PROMOTED_AT_S + 2) * times * 1000);
    Story::told(n, receipts, start, times, Some(Outcome::Promoted))
}

/// Writes its seconds.
pub(super) async fn write(store: &SqliteStore, story: &Story, measurements: u64) -> Result<()> {
    let mut ticks = Vec::with_capacity(AT_ONCE);
    for n in 1..=measurements {
        ticks.push(tick(story, n)?);
        if ticks.len() == AT_ONCE || n == measurements {
            store.append_ticks(&story.release, &ticks).await?;
            store.flush_ticks().await?;
            ticks.clear();
        }
    }
    Ok(())
}

fn tick(story: &Story, n: u64) -> Result<Tick> {
    let second = i64::try_from(n)?;
    let at = story.start.plus_millis(second * 1000);
    let weight = STAGES.iter().rev().find(|(from, _)| from * story.second_ms <= second * 1000).map_or(0, |(_, w)| *w);
    let canary = RATE * u64::from(weight) / 100;
    Ok(Tick {
        seq: n,
        boot: "sample".to_owned(),
        at,
        weight: Weight::new(weight)?,
        weight_changed: false,
        epoch: Epoch(1),
        stable: counted(RATE - canary, n),
        canary: (weight > 0).then(|| counted(canary, n + 7)),
        canary_last_sent: None,
        sticky: false,
        judged: None,
        counted: Vec::new(),
    })
}

/// One second of one version, a little different from every other.
fn counted(n: u64, salt: u64) -> VersionTick {
    let wobble = |of: u64| (salt.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) % of;
    let p99 = 80_000 + wobble(12_000);
    let slow = n / 100;
    let edges = [(9_000, n / 2), (31_000, n - n / 2 - slow), (p99, slow)];
    let some = |ms: f64| (n > 0).then_some(ms);
    VersionTick {
        n,
        errors: u64::from(salt.is_multiple_of(97) && n > 0),
        timeouts: 0,
        in_flight: 3,
        p50_ms: some(9.0),
        p99_ms: some(p99 as f64 / 1000.0),
        mean_ms: some(20.0 + wobble(30) as f64 / 10.0),
        sigma_ms: some(12.5),
        histogram: edges.into_iter().filter(|(_, n)| *n > 0).map(|(edge, n)| HistogramBucket(edge, n)).collect(),
    }
}
