//! Durable appends: receipts signed, sequenced, integrated and synced to disk before they are acknowledged.
//!
//! The log is the product's own, on SQLite, in a directory on the disk that is measured. Each writer appends one receipt after the
//! other and waits for each acknowledgement, as the controller does.

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use model::{Actor, Kind};
use receipt_log::{Clock, Draft, Log, MemorySigner, ReceiptLog, SystemClock};
use receipts::Payload;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store_sqlite::SqliteStore;

/// Longest latency that the histogram tells apart, µs: a minute.
const LONGEST_US: u64 = 60_000_000;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Numbers of writers.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 64, 256])]
    writers: Vec<u32>,
    /// Seconds for each.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Directory on the disk that is measured [default: target]
    #[arg(long, default_value = "target")]
    dir: PathBuf,
}

pub(crate) fn run(options: &Options) -> Result<Value> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    println!("{:>8} {:>12} {:>10} {:>10} {:>10}", "writers", "appends/s", "p50 ms", "p99 ms", "max ms");
    let mut rows = Vec::new();
    for writers in &options.writers {
        // A log of its own for each: a longer log must not slow the next one down, or be seen to.
        let dir = tempfile::tempdir_in(&options.dir).with_context(|| format!("{}", options.dir.display()))?;
        let (histogram, took) =
            runtime.block_on(measure(dir.path(), *writers, Duration::from_secs(options.seconds)))?;
        let rate = histogram.len() as f64 / took.as_secs_f64();
        let ms = |microseconds: u64| microseconds as f64 / 1000.0;
        let (p50, p99) = (ms(histogram.value_at_quantile(0.5)), ms(histogram.value_at_quantile(0.99)));
        println!("{writers:>8} {rate:>12.0} {p50:>10.2} {p99:>10.2} {:>10.2}", ms(histogram.max()));
        rows.push(json!({
            "writers": writers, "appends": histogram.len(), "appends_per_second": rate, "p50_ms": p50, "p99_ms": p99,
            "max_ms": ms(histogram.max()),
        }));
    }
    Ok(json!({ "seconds": options.seconds, "rows": rows }))
}

async fn measure(dir: &std::path::Path, writers: u32, time: Duration) -> Result<(Histogram<u64>, Duration)> {
    let store = SqliteStore::open(dir).await?;
    let log =
        ReceiptLog::open(Arc::new(store.clone()), Arc::new(MemorySigner::generate()?), &SystemClock, None).await?;
    let start = Instant::now();
    let mut tasks = Vec::new();
    for writer in 0..writers {
        tasks.push(tokio::spawn(append(log.clone(), writer, start + time)));
    }
    let mut all = Histogram::new_with_bounds(1, LONGEST_US, 3)?;
    for task in tasks {
        all.add(task.await??)?;
    }
    let took = start.elapsed();
    log.drain().await;
    store.close().await?;
    Ok((all, took))
}

async fn append(log: ReceiptLog, writer: u32, until: Instant) -> Result<Histogram<u64>> {
    let mut histogram = Histogram::new_with_bounds(1, LONGEST_US, 3)?;
    let actor: Actor = "bench".parse()?;
    let mut number = 0_u64;
    while Instant::now() < until {
        // The size of a usual receipt.
        let facts = json!({
            "strategy": "canary", "service": "checkout", "step": number, "weight": 25, "operation": format!("{writer}-{number}"),
            "reason": "the step's pause is over", "baseline": "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        });
        let mut payload = Payload::new(Kind::CanaryStepped, SystemClock.now(), actor.clone(), &facts)?;
        payload.cite = vec!["Argo Rollouts 1.10".to_owned()];
        let start = Instant::now();
        log.append(Draft { key: format!("bench/{writer}/{number}"), payload }).await?;
        histogram.saturating_record(u64::try_from(start.elapsed().as_micros())?.max(1));
        number += 1;
    }
    Ok(histogram)
}
