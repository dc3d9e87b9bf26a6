//! Aborts on a real server: from the POST until the last request that is sent on to the canary; and from a bad canary's first bad answer
//! until it has no traffic.
//!
//! `deliveryos serve` runs as a user runs it, with its splitter in a process of its own and the stable version as the splitter's child. The
//! load, the clients of `/events` and the canary are in this program; it and the splitter read the same monotonic clock.
//!
//! One abort: a release is started and held at 25 %; when the canary has had traffic, and after a further time up to a second, so that
//! aborts fall anywhere between two ticks, the POST is written. Measured are, from just before it is written: its answer; weight 0 *seen*, by the
//! splitter's own control socket (looked at every 2 ms, and only after the answer: an upper bound, it was in force earlier); the last request sent on to the canary, by the splitter's
//! clock; and the last request that *arrived* at the canary, which is what counts. No request after the POST counts as 0. The answer's
//! index must be that of a durable receipt with its inclusion proof, before all receipts of its effects; at the end the whole log is
//! verified offline. That is the order in the log, looked at after the abort: when the disk had it is not measured here.

mod backend;
pub(crate) mod clock;
mod detect;
mod recipe;
pub(crate) mod site;
pub(crate) mod spread;
mod watchers;

use anyhow::{Context, Result, bail};
use backend::Seen;
use demo::load::{Counters, Load};
use recipe::{Sources, recipe};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use site::Site;
use splitter::control::Client;
use spread::Spread;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use watchers::Watchers;

/// From the POST to the last request sent on to the canary, 99th percentile, ms.
const AT_MOST_P99_MS: f64 = 50.0;
/// Weight that the canary has when it is aborted.
const WEIGHT: u8 = 25;
/// Divides the recipe's times, so that the next release may start soon after an abort; nothing measured here waits for them.
const SPEED: f64 = 10.0;
/// Requests at the canary before an abort.
const WARM: u64 = 20;
/// Time between looks at the splitter.
const LOOK: Duration = Duration::from_millis(2);
/// What was routed before weight 0 has been sent on by then.
const SETTLE: Duration = Duration::from_millis(30);
/// The load runs so long before the first abort.
const WARM_UP: Duration = Duration::from_secs(2);

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Aborts.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    count: u32,
    /// Clients that read /events; one more never reads.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(0..=1900))]
    sse: u16,
    /// Requests per second through the splitter.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    rate: u32,
    /// Metric sources that never answer are part of the recipe that is aborted.
    #[arg(long)]
    prometheus_hangs: bool,
    /// Runs of each of the two detections; 0 leaves them out.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(0..=100))]
    detections: u32,
    /// Directory on the disk that the log is written to.
    #[arg(long, default_value = "target")]
    dir: PathBuf,
}

/// All that runs.
struct Bench {
    site: Site,
    splitter: Client,
    canary: Arc<Seen>,
}

/// One abort; ms from just before the POST was written.
struct Aborted {
    answered: f64,
    zero: f64,
    /// By the splitter's clock.
    sent: f64,
    /// By the canary's clock.
    arrived: f64,
    durable_first: bool,
}

pub(crate) fn run(options: &Options, deliveryos: &Path) -> Result<Value> {
    if !deliveryos.is_file() {
        bail!("{} is not there: cargo xtask build --release", deliveryos.display());
    }
    let (address, canary) = backend::start()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(measure(options, deliveryos, address, canary))
}

async fn measure(options: &Options, deliveryos: &Path, address: SocketAddr, canary: Arc<Seen>) -> Result<Value> {
    let (source, held) = watchers::hanging_source().await?;
    let hanging = options.prometheus_hangs.then_some(source);
    let site = Site::start(deliveryos, &options.dir, address, hanging).await?;
    let splitter = site.splitter().await?;
    let mut bench = Bench { site, splitter, canary };
    let watchers = Watchers::start(bench.site.pages, &bench.site.token, usize::from(options.sse)).await?;
    let build = kind_of_build(deliveryos);
    println!("{} ({build} build), load average {}", deliveryos.display(), clock::load_average());

    let aborts = bench.aborts(options, hanging).await?;
    let mut report = aborts;
    report["executable"] = json!({ "path": deliveryos, "build": build });
    report["clients"] = json!({
        "reading": watchers.connected(), "asked": options.sse, "never_reading": 1, "bytes_read": watchers.bytes(),
    });
    println!(
        "{} of {} clients of /events still read ({} kB in all), one never did",
        watchers.connected(),
        options.sse,
        watchers.bytes() / 1000
    );
    if options.prometheus_hangs {
        let held = held.load(Ordering::Relaxed);
        println!("the metric sources held {held} connections and answered none");
        report["hanging_sources"] = json!({ "connections_held": held });
        if held == 0 {
            bail!("no metric source was asked: nothing was proved about one that hangs");
        }
    }
    if options.detections > 0 {
        report["detections"] = detect::both(&mut bench, options.detections).await?;
    }
    drop(watchers);
    let holds = bench.site.verify()?;
    println!("the whole log, verified offline: {}", if holds { "holds" } else { "DOES NOT HOLD" });
    report["log_holds"] = json!(holds);
    Ok(report)
}

impl Bench {
    async fn aborts(&mut self, options: &Options, hanging: Option<SocketAddr>) -> Result<Value> {
        let sources = if hanging.is_some() { Sources::Hanging } else { Sources::None };
        let recipe = recipe(WEIGHT, false, sources)
            .replace("{source}", &hanging.map_or_else(String::new, |at| format!("http://{at}")));
        let (counters, load) = start_load(self.site.traffic, options.rate, 1)?;
        tokio::time::sleep(WARM_UP).await;
        let (before, since, average) = (counters.totals().sent, Instant::now(), clock::load_average());
        let mut all = Vec::new();
        for number in 0..options.count {
            let aborted = self.abort(number, &recipe).await.with_context(|| format!("abort {}", number + 1))?;
            if (number + 1) % 10 == 0 || number + 1 == options.count {
                eprintln!("{} aborts, the last one: last request after {:.1} ms", number + 1, aborted.arrived);
            }
            all.push(aborted);
        }
        let rate = (counters.totals().sent - before) as f64 / since.elapsed().as_secs_f64();
        load.abort();
        let totals = counters.totals();
        let spread = |of: fn(&Aborted) -> f64| Spread::of(all.iter().map(of).collect());
        let rows = [
            ("POST to its answer", "answered", spread(|a| a.answered)),
            ("POST to weight 0 seen (from the answer on)", "zero_seen", spread(|a| a.zero)),
            ("POST to last request sent on (splitter)", "last_sent", spread(|a| a.sent)),
            ("POST to last request arrived (canary)", "last_arrived", spread(|a| a.arrived)),
        ];
        println!(
            "\n{} aborts at {WEIGHT} % of {rate:.0} req/s (asked {}), {} clients of /events{}",
            all.len(),
            options.rate,
            options.sse,
            if hanging.is_some() { ", metric sources hang" } else { "" }
        );
        println!("load average {average} before, {} after\n", clock::load_average());
        println!("{:<42} {}", "ms", Spread::HEAD);
        for (name, _, spread) in &rows {
            println!("{name:<42} {spread}");
        }
        let durable = all.iter().filter(|aborted| aborted.durable_first).count();
        println!(
            "\nintent in the log with its inclusion proof, at a lower index than its effects: {durable} of {}",
            all.len()
        );
        println!(
            "load: {} sent, {} failed, {} lost, {} sent again, {} not sent, p99 {:.1} ms",
            totals.sent, totals.failed, totals.lost, totals.repeated, totals.skipped, totals.p99_ms
        );
        let p99 = rows.last().map_or(f64::NAN, |row| row.2.p99);
        let met = p99 <= AT_MOST_P99_MS && durable == all.len() && totals.failed + totals.lost == 0;
        println!(
            "p99 to the last request at the canary, at most {AT_MOST_P99_MS} ms: {p99:.1}{}",
            if met { ", met" } else { ": MISSED" }
        );
        let figures: serde_json::Map<String, Value> =
            rows.iter().map(|(_, key, spread)| ((*key).to_owned(), spread.json())).collect();
        Ok(json!({
            "count": all.len(), "weight_percent": WEIGHT, "rate_asked": options.rate, "rate": rate, "metric_sources_hang": hanging.is_some(),
            "load_average_before": average, "load_average_after": clock::load_average(), "ms_from_post": figures,
            "intent_before_its_effects_in_the_log": durable, "load": totals,
            "targets": [{ "what": "p99 from POST to the last request at the canary, ms", "value": p99, "target": AT_MOST_P99_MS, "met": met }],
        }))
    }

    async fn abort(&mut self, number: u32, recipe: &str) -> Result<Aborted> {
        let before = self.canary.requests();
        let release = self.site.release(&format!("bench-start-{number}"), recipe, SPEED).await?;
        self.requests(before + WARM).await?;
        tokio::time::sleep(Duration::from_millis(clock::scatter(u64::from(number)) % 1000)).await;
        let body = json!({ "id": format!("bench-abort-{number}"), "command": "abort", "reason": "measured" });
        let path = format!("/api/v1/releases/{release}/commands");

        let posted = clock::monotonic_us();
        let (status, answer) = self.site.ask(Method::POST, &path, Some(&body)).await?;
        let answered = since(posted, clock::monotonic_us());
        if status != StatusCode::ACCEPTED {
            bail!("the abort was answered {status}: {answer}");
        }
        let (zero, mut sent) = self.zero().await?;
        let zero = since(posted, zero);
        tokio::time::sleep(SETTLE).await;
        let settled = site::status(&mut self.splitter).await?;
        sent = sent.max(settled.canary_last_sent.map(|at| at.mono_us));

        let index = answer["receipt"].as_u64().context("the answer has no index")?;
        let (_, proof) = self.site.ask(Method::GET, &format!("/api/v1/receipts/{index}"), None).await?;
        let receipts = self.site.receipts(&release).await?;
        let durable_first =
            proof["index"] == json!(index) && proof["inclusion"].is_array() && before_its_effects(index, &receipts);
        Ok(Aborted {
            answered,
            zero,
            sent: since(posted, sent.context("the splitter does not say when it last sent to the canary")?),
            arrived: since(posted, self.canary.last_arrival()),
            durable_first,
        })
    }

    /// Waits until the canary has had so many requests.
    async fn requests(&self, count: u64) -> Result<()> {
        let start = Instant::now();
        while self.canary.requests() < count {
            if start.elapsed() > site::LIMIT {
                bail!("the canary has no traffic");
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// Waits for weight 0; when it was seen, and when the canary had its last request by then.
    async fn zero(&mut self) -> Result<(u64, Option<u64>)> {
        let start = Instant::now();
        let mut sent = None;
        loop {
            let status = site::status(&mut self.splitter).await?;
            sent = sent.max(status.canary_last_sent.map(|at| at.mono_us));
            if status.weight == 0 {
                return Ok((clock::monotonic_us(), sent));
            }
            if start.elapsed() > site::LIMIT {
                bail!("the weight is still {} %", status.weight);
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

fn start_load(target: SocketAddr, rate: u32, seed: u64) -> Result<(Arc<Counters>, tokio::task::JoinHandle<()>)> {
    let load = Load { target, paths: vec!["/".to_owned()], rate: f64::from(rate), seed };
    Ok(load.start(std::future::pending())?)
}

/// ms from one instant to the other; 0 when it was before.
fn since(start: u64, end: u64) -> f64 {
    end.saturating_sub(start) as f64 / 1000.0
}

/// True when the receipt at this index accepts the command, and every receipt that says it aborted, or set the weight to 0, comes later.
fn before_its_effects(index: u64, receipts: &[Value]) -> bool {
    let accepted = receipts.iter().any(|receipt| {
        receipt["index"] == json!(index)
            && receipt["payload"]["command"] == json!("abort")
            && receipt["payload"]["kind"].as_str().is_some_and(|kind| kind.ends_with("command.accepted"))
    });
    let mut effects =
        receipts.iter().filter(|receipt| receipt["payload"]["kind"] == json!("delivery.canary.aborted")).peekable();
    accepted
        && effects.peek().is_some()
        && effects.all(|receipt| receipt["index"].as_u64().is_some_and(|at| at > index))
}

fn kind_of_build(program: &Path) -> &'static str {
    let real = program.canonicalize().unwrap_or_else(|_| program.to_owned());
    let has = |name: &str| real.components().any(|part| part.as_os_str() == name);
    if has("release") {
        "release"
    } else if has("debug") {
        "debug"
    } else {
        "unknown"
    }
}
