//! The pages over a large log: start-up, time to first byte at a fixed rate, resident memory, and how long verifying all of it takes.
//!
//! Requests are sent by the clock, whether or not earlier ones are answered, and each is timed from the moment it was due: a server that
//! falls behind is not spared. The data directory comes from `cargo xtask seed`.

use crate::serve::{Serving, client};
use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longest time that the histogram tells apart, µs: a minute.
const LONGEST_US: u64 = 60_000_000;
/// Requests before the measured ones: connections and SQLite's cache.
const WARM_UP: u64 = 100;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Data directory, as `cargo xtask seed` filled it.
    #[arg(long)]
    data: PathBuf,
    /// Requests a second, all pages together.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    rate: u64,
    /// Seconds for each page.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Also verify the whole log, as `deliveryos log verify` does.
    #[arg(long)]
    verify: bool,
}

pub(crate) fn run(options: &Options, program: &Path) -> Result<Value> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(measure(options, program))
}

async fn measure(options: &Options, program: &Path) -> Result<Value> {
    let mut serving = Serving::start(program, &options.data, "viewer").await?;
    println!("start-up to the first answer: {:.2} s", serving.started_in.as_secs_f64());
    let base = format!("http://{}", serving.address);
    let http = client()?;
    let newest: Value =
        http.get(format!("{base}/api/v1/releases?limit=200")).bearer_auth(&serving.token).send().await?.json().await?;
    let releases: Vec<String> = newest
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|row| row["id"].as_str().map(|id| format!("/releases/{id}")))
        .collect();
    ensure!(!releases.is_empty(), "{} holds no release", options.data.display());
    let receipts = (0..200).map(|n| format!("/receipts?before={}", 1_000 + n * 331)).collect();
    let pages: [(&str, Vec<String>); 6] = [
        ("overview", vec!["/".to_owned()]),
        ("release", releases),
        ("receipts", vec!["/receipts".to_owned()]),
        ("receipts, older", receipts),
        ("releases", vec!["/releases".to_owned()]),
        (
            "releases, search",
            ["checkout", "dana search", "aborted v2026.7", "sha256:4f"]
                .map(|q| format!("/releases?q={}", q.replace(' ', "%20")))
                .to_vec(),
        ),
    ];
    println!("{:>18} {:>9} {:>8} {:>8} {:>8} {:>8}", "page", "requests", "p50 ms", "p99 ms", "max ms", "kB");
    let mut rows = Vec::new();
    for (name, paths) in pages {
        let page = Page { http: http.clone(), base: base.clone(), token: serving.token.clone(), paths };
        let (histogram, bytes) = page.load(options).await.with_context(|| name.to_owned())?;
        let ms = |quantile: f64| histogram.value_at_quantile(quantile) as f64 / 1000.0;
        let (p50, p99, max) = (ms(0.5), ms(0.99), histogram.max() as f64 / 1000.0);
        println!("{name:>18} {:>9} {p50:>8.1} {p99:>8.1} {max:>8.1} {:>8.0}", histogram.len(), bytes as f64 / 1000.0);
        rows.push(json!({
            "page": name, "requests": histogram.len(), "ttfb_p50_ms": p50, "ttfb_p99_ms": p99, "ttfb_max_ms": max,
            "bytes_mean": bytes,
        }));
    }
    let (resident, highest) = serving.memory()?;
    println!("resident: {:.0} MB now, {:.0} MB at its highest", resident as f64 / 1e6, highest as f64 / 1e6);
    serving.stop();
    let verified = options.verify.then(|| verify(&serving)).transpose()?;
    Ok(json!({
        "startup_seconds": serving.started_in.as_secs_f64(), "rate": options.rate, "seconds": options.seconds,
        "pages": rows, "resident_bytes": resident, "resident_highest_bytes": highest, "log_verify": verified,
    }))
}

fn verify(serving: &Serving) -> Result<Value> {
    let begun = Instant::now();
    let said: Value = serde_json::from_str(&serving.run(&["log", "verify", "--json"])?)?;
    let seconds = begun.elapsed().as_secs_f64();
    ensure!(said["holds"] == json!(true), "the log does not verify: {said}");
    let receipts = said["checked"].as_u64().unwrap_or_default();
    println!("log verify: {receipts} receipts in {seconds:.1} s, {:.0} receipts/s", receipts as f64 / seconds);
    Ok(json!({ "receipts": receipts, "seconds": seconds }))
}

struct Page {
    http: reqwest::Client,
    base: String,
    token: String,
    paths: Vec<String>,
}

impl Page {
    /// Times to the first byte, µs, and the mean size of a page.
    async fn load(self, options: &Options) -> Result<(Histogram<u64>, u64)> {
        let page = Arc::new(self);
        for n in 0..WARM_UP {
            page.ask(n).await?;
        }
        let every = Duration::from_secs(1) / u32::try_from(options.rate)?;
        let begun = tokio::time::Instant::now();
        let mut asked = Vec::new();
        for n in 0..options.rate * options.seconds {
            let due = begun + every * u32::try_from(n)?;
            tokio::time::sleep_until(due).await;
            let page = page.clone();
            asked.push(tokio::spawn(async move {
                let (first, bytes) = page.ask(n).await?;
                Ok::<_, anyhow::Error>((first.duration_since(due.into_std()), bytes))
            }));
        }
        let (mut histogram, mut sum) = (Histogram::new_with_bounds(1, LONGEST_US, 3)?, 0);
        for answer in asked {
            let (took, bytes) = answer.await??;
            histogram.saturating_record(u64::try_from(took.as_micros())?.max(1));
            sum += bytes;
        }
        Ok((histogram, sum / (options.rate * options.seconds)))
    }

    /// When the head of the answer was there, and the answer's size.
    async fn ask(&self, n: u64) -> Result<(Instant, u64)> {
        let path = usize::try_from(n)? % self.paths.len();
        let path = self.paths.get(path).context("no page")?;
        let answer = self
            .http
            .get(format!("{}{path}", self.base))
            .bearer_auth(&self.token)
            .header("accept", "text/html")
            .send()
            .await?;
        let first = Instant::now();
        ensure!(answer.status().is_success(), "{path}: {}", answer.status());
        Ok((first, answer.bytes().await?.len() as u64))
    }
}
