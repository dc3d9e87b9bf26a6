//! A data directory full of history: made up, and properly signed.
//!
//! Every receipt goes through the product's own log: canonical form, signature, tree, checkpoint, projections, one durable commit after
//! the other. What the receipts state is invented and says so: the environments are called `sample-…`, and energies name the
//! coefficient `sample`.

mod measured;
mod story;

use anyhow::{Context, Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use model::{Kind, Timestamp};
use receipt_log::{Clock, Draft, KeyFile, Log, ReceiptLog, SystemClock};
use receipts::Payload;
use serde_json::{Value, json};
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;
use store_sqlite::SqliteStore;
use story::Story;

/// Appends under way at once: one full commit of the log.
const AT_ONCE: usize = 512;
/// Releases told at once. Their receipts are put in the order of their times before they are appended.
const TOGETHER: u64 = 16;
/// The history ends now and begins so long ago.
const DAYS: i64 = 90;
const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// Receipts of the shortest story: fewer would leave out steps.
const LEAST: u64 = 20;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Data directory; must not hold a log yet.
    directory: PathBuf,
    /// Releases.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    releases: u64,
    /// Receipts of the whole log, its own first one included; at least 20 for each release.
    #[arg(long, default_value_t = 1_000_000)]
    receipts: u64,
    /// Seconds that were measured in the last release, which takes so long; 0 for none, as in all others.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=1_000_000))]
    measurements: u64,
}

impl Options {
    /// A new directory with a small history whose last release has so many measurements.
    pub(crate) fn small(directory: PathBuf, measurements: u64) -> Self {
        Self { directory, releases: 200, receipts: 20_001, measurements }
    }
}

/// Fills it, and says how fast.
pub(crate) fn run(options: &Options) -> Result<Value> {
    let needed = options.releases.saturating_mul(LEAST) + 1;
    ensure!(options.receipts >= needed, "{} releases need at least {needed} receipts", options.releases);
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(fill(options))
}

async fn fill(options: &Options) -> Result<Value> {
    std::fs::create_dir_all(&options.directory)?;
    let store = SqliteStore::open(&options.directory).await?;
    let signer = KeyFile::load_or_create(&options.directory.join("log.key"), None)?;
    let log = ReceiptLog::open(Arc::new(store.clone()), Arc::new(signer), &SystemClock, None).await?;
    ensure!(*log.size().borrow() == 1, "{} holds a log already: name a new directory", options.directory.display());
    std::fs::write(options.directory.join("log.vkey"), format!("{}\n", log.vkey()))?;
    let now = SystemClock.now();
    let begun = Instant::now();
    let bar = std::io::stderr().is_terminal();
    let mut told = 0;
    while told < options.releases {
        let stories: Vec<Story> =
            (told..options.releases.min(told + TOGETHER)).map(|n| story(options, n, now)).collect::<Result<_>>()?;
        told += stories.len() as u64;
        let last = stories.last().filter(|_| told == options.releases && options.measurements > 0);
        if let Some(last) = last {
            measured::write(&store, last, options.measurements).await?;
        }
        append(&log, stories).await?;
        if bar {
            eprint!("\r{} of {} receipts", log.size().borrow().clone(), options.receipts);
        }
    }
    let took = begun.elapsed();
    let receipts = *log.size().borrow();
    ensure!(receipts == options.receipts, "{receipts} receipts were written, {} were wanted", options.receipts);
    log.drain().await;
    store.close().await.context("the database could not be closed")?;
    let rate = receipts as f64 / took.as_secs_f64();
    if bar {
        eprintln!();
    }
    let bytes = std::fs::metadata(options.directory.join("deliveryos.db"))?.len();
    println!(
        "{} releases, {receipts} receipts, all signed: {:.1} s, {rate:.0} receipts/s, {:.0} MB",
        options.releases,
        took.as_secs_f64(),
        bytes as f64 / 1e6
    );
    Ok(json!({
        "releases": options.releases, "receipts": receipts, "seconds": took.as_secs_f64(), "receipts_per_second": rate,
        "database_bytes": bytes,
    }))
}

fn story(options: &Options, n: u64, now: Timestamp) -> Result<Story> {
    // Whole receipts for each, and the rest to the first ones; the log's own first receipt is there already.
    let (each, rest) = ((options.receipts - 1) / options.releases, (options.receipts - 1) % options.releases);
    // The last one is over before now.
    let span = DAYS * DAY_MS - story::LONGEST_MS;
    let place = i64::try_from(
        (u128::from(n) * u128::from(span.unsigned_abs()) / u128::from(options.releases)).min(u128::from(u64::MAX >> 1)),
    )?;
    let receipts = each + u64::from(n < rest);
    if n + 1 == options.releases && options.measurements > 0 {
        return measured::story(n, receipts, now, options.measurements);
    }
    Story::tell(n, receipts, now.plus_millis(place - DAYS * DAY_MS))
}

/// The receipts of all of them in the order of their times, and then for each the one that sums it up.
async fn append(log: &ReceiptLog, stories: Vec<Story>) -> Result<()> {
    let mut drafts: Vec<Draft> = Vec::new();
    let mut ends = Vec::new();
    for story in stories {
        ends.push((story.release, story.outcome, story.ended));
        drafts.extend(story.drafts);
    }
    drafts.sort_by_key(|draft| draft.payload.time);
    stream::iter(drafts)
        .map(|draft| log.append(draft))
        .buffered(AT_ONCE)
        .try_for_each(|_| std::future::ready(Ok(())))
        .await?;
    ends.sort_by_key(|(_, _, ended)| *ended);
    for (release, outcome, ended) in ends {
        let children = log.of_release(&release).await?;
        let (facts, energy) = story::summed(outcome, &children);
        let payload = Payload::new(Kind::ReleaseCompleted, ended, model::Actor::controller(), &facts)?
            .release(release.clone())
            .energy(energy);
        log.append(Draft { key: format!("{release}/completed"), payload }).await?;
    }
    Ok(())
}
