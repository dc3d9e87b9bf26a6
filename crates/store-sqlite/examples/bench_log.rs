//! Durable appends a second and how long one takes, at 1, 64 and 256 writers; how long pages' reads take; how long a whole
//! log takes to verify. One JSON document on stdout.
//!
//! `cargo run --release -p store-sqlite --example bench_log -- [--seconds N] [--runs N] [--releases N] [--verify N] [--dir DIR]`

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program whose output is its result")]

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use model::{
    Actor, Kind, ReleaseId, Timestamp, Weight,
    event::{CanaryCompleted, CanaryStarted, Outcome},
};
use projections::{ReadModel, ReceiptFilter, ReleaseFilter};
use receipt_log::{
    Clock as _, Draft, Log as _, MemorySigner, ReceiptLog, SystemClock,
    offline::{Pins, verify_log},
};
use receipts::Payload;
use serde_json::{Value, json};
use store_sqlite::SqliteStore;

/// What is asked on the command line.
struct Wanted {
    seconds: f64,
    runs: usize,
    releases: u64,
    verify: u64,
    dir: PathBuf,
}

fn main() -> Result<()> {
    let wanted = wanted()?;
    let runtime = tokio::runtime::Runtime::new()?;
    let fsync = fsync_latency(&wanted.dir)?;
    let mut appends = Vec::new();
    for writers in [1, 64, 256] {
        let mut runs = Vec::new();
        for _ in 0..wanted.runs {
            runs.push(runtime.block_on(append_run(&wanted, writers))?);
        }
        runs.sort_by(|a, b| a.rate.total_cmp(&b.rate));
        let Some(median) = runs.get(runs.len() / 2) else { bail!("no run") };
        eprintln!(
            "{writers:>4} writers: {:>7.0} appends/s, p50 {:.2} ms, p99 {:.2} ms",
            median.rate, median.p50, median.p99
        );
        appends.push(json!({
            "writers": writers, "runs": runs.len(), "appends_per_s": median.rate, "p50_ms": median.p50, "p99_ms": median.p99,
            "max_ms": median.max, "all_appends_per_s": runs.iter().map(|run| run.rate).collect::<Vec<_>>(),
        }));
    }
    let reads = runtime.block_on(read_run(&wanted))?;
    let verified = runtime.block_on(verify_run(&wanted))?;
    let report = json!({"fsync_4k_ms": fsync, "append": appends, "read": reads, "verify": verified});
    println!("{}", serde_json::to_string_pretty(&report)?);
    Ok(())
}

fn wanted() -> Result<Wanted> {
    let mut wanted = Wanted { seconds: 5.0, runs: 5, releases: 10_000, verify: 100_000, dir: std::env::temp_dir() };
    let mut args = std::env::args().skip(1);
    while let Some(name) = args.next() {
        let value = args.next().with_context(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--seconds" => wanted.seconds = value.parse()?,
            "--runs" => wanted.runs = value.parse()?,
            "--releases" => wanted.releases = value.parse()?,
            "--verify" => wanted.verify = value.parse()?,
            "--dir" => wanted.dir = value.into(),
            _ => bail!("unknown option {name}"),
        }
    }
    Ok(wanted)
}

struct House {
    directory: PathBuf,
    store: SqliteStore,
    log: ReceiptLog,
}

impl House {
    async fn new(within: &Path) -> Result<Self> {
        let directory =
            within.join(format!("deliveryos-bench-{}-{}", std::process::id(), SystemClock.now().as_millis()));
        let store = SqliteStore::open(&directory).await?;
        let log =
            ReceiptLog::open(Arc::new(store.clone()), Arc::new(MemorySigner::generate()?), &SystemClock, None).await?;
        Ok(Self { directory, store, log })
    }

    async fn gone(self) -> Result<()> {
        self.store.close().await?;
        Ok(std::fs::remove_dir_all(self.directory)?)
    }
}

/// A receipt of the usual size: about 600 bytes of payload.
fn draft(n: u64) -> Result<Draft> {
    let facts = json!({
        "strategy": "canary", "step": n % 8, "steps": 8, "from_weight": 5, "weight": 25, "applied_at": SystemClock.now(),
        "epoch": 3, "operation": format!("checkout-{n}/step"), "note": "x".repeat(300),
    });
    let payload = Payload::new(Kind::CanaryStepped, SystemClock.now(), Actor::controller(), &facts)?;
    Ok(Draft { key: format!("bench/{n}"), payload: payload.cite(["Argo Rollouts 1.10"]) })
}

struct Run {
    rate: f64,
    p50: f64,
    p99: f64,
    max: f64,
}

async fn append_run(wanted: &Wanted, writers: u64) -> Result<Run> {
    let house = House::new(&wanted.dir).await?;
    let end = Instant::now() + Duration::from_secs_f64(wanted.seconds);
    let start = Instant::now();
    let tasks: Vec<_> = (0..writers)
        .map(|writer| {
            let log = house.log.clone();
            tokio::spawn(async move {
                let mut times = Vec::new();
                for n in (writer..).step_by(writers as usize) {
                    let begun = Instant::now();
                    if begun >= end {
                        break;
                    }
                    log.append(draft(n)?).await?;
                    times.push(begun.elapsed().as_secs_f64() * 1e3);
                }
                anyhow::Ok(times)
            })
        })
        .collect();
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await??);
    }
    let took = start.elapsed().as_secs_f64();
    let run = summary(times, took)?;
    house.gone().await?;
    Ok(run)
}

fn summary(mut times: Vec<f64>, took: f64) -> Result<Run> {
    times.sort_by(f64::total_cmp);
    let at =
        |share: f64| times.get(((times.len() as f64 * share) as usize).min(times.len().saturating_sub(1))).copied();
    let (Some(p50), Some(p99), Some(max)) = (at(0.5), at(0.99), at(1.0)) else { bail!("nothing was measured") };
    Ok(Run { rate: times.len() as f64 / took, p50, p99, max })
}

async fn read_run(wanted: &Wanted) -> Result<Value> {
    let house = House::new(&wanted.dir).await?;
    for chunk in 0..wanted.releases.div_ceil(100) {
        let filling =
            (chunk * 100..((chunk + 1) * 100).min(wanted.releases)).map(|n| fill(&house.log, n, wanted.releases));
        futures::future::try_join_all(filling).await?;
    }
    let some: ReleaseId = format!("service7-{}", wanted.releases / 100 * 50 + 7).parse()?;
    let mut report = serde_json::Map::new();
    report.insert("releases".to_owned(), wanted.releases.into());
    report.insert("receipts".to_owned(), (*house.log.size().borrow()).into());
    for name in
        ["overview", "releases of a service", "one release", "50 receipts of a kind", "a receipt with its proof"]
    {
        let mut times = Vec::new();
        for _ in 0..100 {
            let begun = Instant::now();
            match name {
                "overview" => drop(house.store.overview().await?),
                "releases of a service" => {
                    let filter = ReleaseFilter { service: Some("service7".parse()?), limit: 50, ..Default::default() };
                    drop(house.store.releases(filter).await?);
                }
                "one release" => drop(house.store.release(&some).await?),
                "50 receipts of a kind" => {
                    let before = Some(wanted.releases * 3);
                    let filter =
                        ReceiptFilter { kind: Some(Kind::CanaryStepped), before, limit: 50, ..Default::default() };
                    drop(house.store.receipts(filter).await?);
                }
                _ => drop(house.store.receipt(wanted.releases).await?),
            }
            times.push(begun.elapsed().as_secs_f64() * 1e3);
        }
        let run = summary(times, 1.0)?;
        eprintln!("{name}: p50 {:.2} ms, p99 {:.2} ms", run.p50, run.p99);
        report.insert(name.to_owned(), json!({"p50_ms": run.p50, "p99_ms": run.p99}));
    }
    house.gone().await?;
    Ok(report.into())
}

/// One release with eight receipts; the last twenty stay in flight.
async fn fill(log: &ReceiptLog, n: u64, of: u64) -> Result<()> {
    let (service, at) =
        (format!("service{}", n % 50), |ms: i64| Timestamp::from_millis(1_778_162_792_045 + n as i64 * 60_000 + ms));
    let id: ReleaseId = format!("{service}-{n}").parse()?;
    let digest = model::Digest::from_sha256(&[n as u8; 32]);
    let started = CanaryStarted {
        strategy: "canary".to_owned(),
        service: service.parse()?,
        environment: "production".parse()?,
        version: format!("v{n}").parse()?,
        digest: digest.clone(),
        stable_version: "v0".parse()?,
        stable_digest: digest.clone(),
        recipe: digest,
        steps: 6,
        planned: Vec::new(),
        planned_ms: None,
        stops: Vec::new(),
        runtime: "local".to_owned(),
    };
    let put = async |key: &str, payload: Payload| {
        log.append(Draft { key: format!("{id}/{key}"), payload: payload.release(id.clone()) }).await
    };
    put("start", Payload::new(Kind::CanaryStarted, at(0), Actor::controller(), &started)?).await?;
    for step in 0..6 {
        let stepped = json!({
            "strategy": "canary", "step": step, "steps": 6, "from_weight": 0, "weight": Weight::new(5 + 15 * step as u8)?,
            "applied_at": at(step * 1000), "epoch": 1, "operation": format!("{id}/{step}"),
        });
        put(
            &format!("step-{step}"),
            Payload::new(Kind::CanaryStepped, at(step * 1000), Actor::controller(), &stepped)?,
        )
        .await?;
    }
    if n + 20 < of {
        let completed = CanaryCompleted {
            outcome: Outcome::Promoted,
            took_ms: 1,
            breach_to_zero_ms: None,
            breach_to_last_request_ms: None,
            zero_to_drained_ms: None,
            rto_ms: None,
            exposed: 0,
        };
        put("end", Payload::new(Kind::CanaryCompleted, at(9000), Actor::controller(), &completed)?).await?;
    }
    Ok(())
}

async fn verify_run(wanted: &Wanted) -> Result<Value> {
    let house = House::new(&wanted.dir).await?;
    for chunk in 0..wanted.verify.div_ceil(2000) {
        let filling = (chunk * 2000..(chunk + 1) * 2000).map(|n| {
            let log = &house.log;
            async move { anyhow::Ok(log.append(draft(n)?).await?) }
        });
        futures::future::try_join_all(filling).await?;
    }
    let (begun, cpu) = (Instant::now(), cpu_seconds());
    let pins = Pins { vkey: Some(house.log.vkey().clone()), checkpoint: None };
    let report = verify_log(&house.store, &pins, |_, _| {}).await?;
    let (took, cpu) = (begun.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    ensure!(report.holds, "{report:?}");
    let rss = resident_mb();
    eprintln!("verified {} receipts in {took:.1} s ({cpu:.1} s of CPU), {rss:.0} MB resident", report.checked);
    let begun = Instant::now();
    house.store.close().await?;
    let again = SqliteStore::open(&house.directory).await?;
    let reopened = begun.elapsed().as_secs_f64();
    again.close().await?;
    std::fs::remove_dir_all(&house.directory)?;
    Ok(json!({
        "receipts": report.checked, "seconds": took, "cpu_seconds": cpu, "receipts_per_s": report.checked as f64 / took,
        "bytes": report.bytes, "resident_mb": rss, "close_and_open_s": reopened,
    }))
}

/// Median time of an fsync behind a 4 kB write: what the disk gives, beside which the other figures are to be read.
fn fsync_latency(dir: &Path) -> Result<f64> {
    use std::io::Write as _;
    let path = dir.join(format!("deliveryos-bench-fsync-{}", std::process::id()));
    let mut file = std::fs::File::create(&path)?;
    let mut times = Vec::new();
    for _ in 0..200 {
        let begun = Instant::now();
        file.write_all(&[0; 4096])?;
        file.sync_data()?;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    std::fs::remove_file(path)?;
    Ok(summary(times, 1.0)?.p50)
}

/// CPU time of this process, all threads, user and system.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Fields 14 and 15, counted from behind the program's name, in hundredths of a second.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

fn resident_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}
