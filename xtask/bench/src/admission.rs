//! The admission webhook under load: reviews over TLS, evidence known ("warm"), each decision a durable receipt.
//!
//! The product runs as it does at home, with a signed image or several at a registry on this machine; client and registry share its
//! cores. First as many reviews as the connections can ask one after the other; then a steady rate, each latency counted from the moment
//! at which the review was due, so that a stall shows in all that waited for it. A review that is not allowed ends the measurement.

use crate::process::Process;
use anyhow::{Context, Result, bail};
use attest::{COSIGN_SIGNATURE, SigningKey, Statement};
use hdrhistogram::Histogram;
use registry::{
    Registry, RegistryOptions,
    conformance::{EVIDENCE, evidence, image},
    hostile::{Faults, Hostile},
};
use serde_json::{Value, json};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Longest latency that the histogram tells apart, µs: longer than any deadline.
const LONGEST_US: u64 = 60_000_000;
/// Reviews per second that it answers at least, on two cores.
const TARGET_RATE: f64 = 500.0;
/// Slowest of a hundred answers at that rate, ms.
const TARGET_P99_MS: f64 = 50.0;
/// Longest wait for the server.
const START: Duration = Duration::from_secs(60);

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Seconds for each part.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Reviews per second of the steady part.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..=50_000))]
    rate: u64,
    /// Connections of the other part.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u64).range(1..=256))]
    connections: u64,
    /// Images.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    images: u64,
    /// Directory on the disk that keeps the receipts [default: target]
    #[arg(long, default_value = "target")]
    dir: std::path::PathBuf,
}

pub(crate) fn run(options: &Options, program: &Path) -> Result<Value> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(measure(options, program))
}

/// What is asked, and of whom.
struct Load {
    client: reqwest::Client,
    url: String,
    images: Vec<String>,
    next: AtomicU64,
}

async fn measure(options: &Options, program: &Path) -> Result<Value> {
    let dir = tempfile::tempdir_in(&options.dir).with_context(|| format!("{}", options.dir.display()))?;
    let registry = Hostile::start(Faults::default()).await;
    let host = registry.host();
    let place = Registry::new(&host, "shop/app", RegistryOptions::default())?;
    let (key, _) = SigningKey::generate()?;
    let mut images = Vec::new();
    for number in 0..options.images {
        let made = image(&place, &format!("image {number}"), 1).await;
        let statement = Statement::new("app", &made.descriptor.digest, COSIGN_SIGNATURE, json!({}));
        let bundle: Vec<u8> = key.statement(&statement)?.unlogged()?.into();
        evidence(&place, &made, EVIDENCE, &String::from_utf8(bundle)?).await;
        images.push(format!("{host}/shop/app@{}", made.descriptor.digest));
    }
    let at = |name: &str| dir.path().join(name);
    let said = |path: std::path::PathBuf| path.to_string_lossy().into_owned();
    command(program, &["admit", "certificate", "--out", &said(at("tls")), "127.0.0.1"])?;
    let pem = key.public().to_pem();
    std::fs::write(
        at("policy.toml"),
        format!(
            "[[policies]]\nname = \"shop\"\nimages = [\"{host}/**\"]\n[[policies.require]]\nname = \"signature\"\nlogged = false\nkey = \"\"\"{pem}\"\"\"\n"
        ),
    )?;
    let (pages, webhook) = (free()?, free()?);
    std::fs::write(
        at("deliveryos.toml"),
        format!(
            "listen = \"{pages}\"\n[admission]\nlisten = \"{webhook}\"\ncertificate = {:?}\nkey = {:?}\npolicies = [{:?}]\n",
            at("tls/tls.pem"),
            at("tls/tls.key"),
            at("policy.toml")
        ),
    )?;
    let words = ["env", "RUST_LOG=warn", &said(std::path::absolute(program)?), "serve"].map(str::to_owned);
    let rest = ["--data-dir", &said(at("data")), "--config", &said(at("deliveryos.toml"))].map(str::to_owned);
    let log = at("server.log");
    let mut server = Process::start(None, &words.into_iter().chain(rest).collect::<Vec<_>>(), &log)?;

    let authority = reqwest::Certificate::from_pem(&std::fs::read(at("tls/ca.pem"))?)?;
    // A connection for each that asks, as with several API servers.
    let client = reqwest::Client::builder().no_proxy().tcp_nodelay(true).http1_only().tls_certs_only([authority]);
    let load = Arc::new(Load {
        client: client.build()?,
        url: format!("https://{webhook}/validate?timeout=10s"),
        images,
        next: AtomicU64::new(0),
    });
    let begun = Instant::now();
    while load.client.get(format!("https://{webhook}/healthz")).send().await.is_err() {
        if begun.elapsed() > START || !server.runs() {
            bail!("the webhook does not answer:\n{}", std::fs::read_to_string(&log).unwrap_or_default());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let measured = parts(options, &load, &server).await;
    drop(server);
    measured
}

async fn parts(options: &Options, load: &Arc<Load>, server: &Process) -> Result<Value> {
    // Every image once, cold: the evidence is fetched and verified.
    let mut cold = Histogram::<u64>::new_with_bounds(1, LONGEST_US, 3)?;
    for _ in 0..load.images.len() {
        let start = Instant::now();
        load.ask().await?;
        cold.saturating_record(u64::try_from(start.elapsed().as_micros())?.max(1));
    }
    println!(
        "{:<26} {:>10} {:>9} {:>9} {:>9} {:>9}",
        "reviews over TLS", "per s", "p50 ms", "p99 ms", "max ms", "cpu s"
    );
    let mut rows = vec![row("cold, one after the other", &cold, None, Duration::ZERO)];
    let time = Duration::from_secs(options.seconds);
    // Connections and code warm up.
    saturate(load, options.connections, Duration::from_secs(1)).await?;
    for steady in [false, true] {
        let (cpu, start) = (server.processor_time(), Instant::now());
        let (name, histogram) = if steady {
            (format!("warm, {} a second", options.rate), pace(load, options.rate, time).await?)
        } else {
            (format!("warm, {} connections", options.connections), saturate(load, options.connections, time).await?)
        };
        let took = start.elapsed();
        rows.push(row(&name, &histogram, Some(took), server.processor_time().saturating_sub(cpu)));
    }
    println!("client and registry run on the same cores; each review is a durable receipt before its answer");
    let number = |row: usize, name: &str| rows.get(row).and_then(|row| row.get(name)).and_then(Value::as_f64);
    let (most, p99) = (number(1, "reviews_per_second"), number(2, "p99_ms"));
    let enough = target("reviews a second", most, TARGET_RATE, |found| found >= TARGET_RATE);
    // Fewer than the target asks for prove nothing.
    let asked = options.rate as f64 >= TARGET_RATE;
    let quick = asked && target("p99 of the steady part, ms", p99, TARGET_P99_MS, |found| found <= TARGET_P99_MS);
    Ok(json!({
        "seconds": options.seconds, "images": options.images, "rows": rows,
        "rate_met": enough, "p99_met": asked.then_some(quick),
    }))
}

/// Says what was found beside what is wanted; whether it is met.
fn target(what: &str, found: Option<f64>, wanted: f64, is_met: impl Fn(f64) -> bool) -> bool {
    let met = found.is_some_and(is_met);
    let found = found.map_or_else(|| "n/a".to_owned(), |found| format!("{found:.1}"));
    println!("{what}: {found} (target {wanted}{})", if met { ", met" } else { ": MISSED" });
    met
}

impl Load {
    async fn ask(&self) -> Result<()> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let index = usize::try_from(number)? % self.images.len();
        let image = self.images.get(index).context("no image")?;
        let body = json!({
            "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "request": {
                "uid": format!("bench-{number}"), "kind": { "group": "", "version": "v1", "kind": "Pod" },
                "resource": { "group": "", "version": "v1", "resource": "pods" }, "operation": "CREATE",
                "namespace": "shop", "name": "app", "userInfo": { "username": "bench" }, "dryRun": false,
                "object": {
                    "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "app", "namespace": "shop", "labels": { "app": "shop" } },
                    "spec": { "containers": [{ "name": "app", "image": image, "ports": [{ "containerPort": 8080 }],
                        "resources": { "limits": { "cpu": "1", "memory": "1Gi" } }, "env": [{ "name": "A", "value": "b" }] }] },
                },
            },
        });
        let sent = self.client.post(&self.url).header("content-type", "application/json").body(body.to_string()).send();
        let answer: Value = sent.await?.error_for_status()?.json().await?;
        if answer.pointer("/response/allowed") != Some(&json!(true)) {
            bail!("a review was not allowed: {answer}");
        }
        Ok(())
    }
}

/// So many askers, one review after the other.
async fn saturate(load: &Arc<Load>, connections: u64, time: Duration) -> Result<Histogram<u64>> {
    let until = Instant::now() + time;
    let mut tasks = Vec::new();
    for _ in 0..connections {
        let load = load.clone();
        tasks.push(tokio::spawn(async move {
            let mut own = Histogram::<u64>::new_with_bounds(1, LONGEST_US, 3)?;
            while Instant::now() < until {
                let start = Instant::now();
                load.ask().await?;
                own.saturating_record(u64::try_from(start.elapsed().as_micros())?.max(1));
            }
            anyhow::Ok(own)
        }));
    }
    let mut all = Histogram::<u64>::new_with_bounds(1, LONGEST_US, 3)?;
    for task in tasks {
        all.add(task.await??)?;
    }
    Ok(all)
}

/// A review whenever one is due, whether the last is answered or not.
async fn pace(load: &Arc<Load>, rate: u64, time: Duration) -> Result<Histogram<u64>> {
    let start = Instant::now();
    let count = rate * time.as_secs();
    let mut tasks = Vec::with_capacity(usize::try_from(count)?);
    for number in 0..count {
        let due = start + Duration::from_nanos(number * 1_000_000_000 / rate);
        tokio::time::sleep_until(due.into()).await;
        let load = load.clone();
        tasks.push(tokio::spawn(async move {
            load.ask().await?;
            anyhow::Ok(u64::try_from(due.elapsed().as_micros())?.max(1))
        }));
    }
    let mut all = Histogram::<u64>::new_with_bounds(1, LONGEST_US, 3)?;
    for task in tasks {
        all.saturating_record(task.await??);
    }
    Ok(all)
}

fn row(name: &str, histogram: &Histogram<u64>, took: Option<Duration>, cpu: Duration) -> Value {
    let ms = |us: u64| us as f64 / 1000.0;
    let (p50, p99) = (ms(histogram.value_at_quantile(0.5)), ms(histogram.value_at_quantile(0.99)));
    let rate = took.map(|took| histogram.len() as f64 / took.as_secs_f64());
    let shown = rate.map_or_else(|| "n/a".to_owned(), |rate| format!("{rate:.0}"));
    println!("{name:<26} {shown:>10} {p50:>9.2} {p99:>9.2} {:>9.2} {:>9.2}", ms(histogram.max()), cpu.as_secs_f64());
    json!({
        "part": name, "reviews": histogram.len(), "reviews_per_second": rate, "p50_ms": p50, "p99_ms": p99,
        "max_ms": ms(histogram.max()), "server_cpu_seconds": cpu.as_secs_f64(),
    })
}

fn free() -> Result<std::net::SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

fn command(program: &Path, args: &[&str]) -> Result<()> {
    let output = std::process::Command::new(program).args(args).stdin(std::process::Stdio::null()).output()?;
    if !output.status.success() {
        bail!("deliveryos {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
