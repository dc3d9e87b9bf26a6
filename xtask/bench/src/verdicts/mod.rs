//! The sequential judge on the real splitter: healthy canaries that reach 100 %, faulty ones that are stopped, and how soon.
//!
//! `deliveryos serve` runs as a user runs it, with its splitter in a process of its own. It has as many services as releases run at once, each
//! with two versions and its load inside this program; it and the splitter read the same monotonic clock.
//!
//! **Healthy.** In each round every service releases the version that is not stable, by the default recipe of twelve minutes at so much speed
//! that it takes less than 24 s; all must be promoted in that time. **Faulty.** One round with faulty canaries of four kinds, all to be
//! stopped. **Timed.** One release at a time, held at 5 %: from the canary's first harmed response (a 500 sent; of a slow canary its first
//! answer) to the last request that arrived at it. Its recipe says the unit of evidence, and `warmUpSeconds: 0`, because a fresh canary's
//! first 30 s of latency do not count otherwise.

mod rounds;
mod timed;
mod versions;

use crate::recovery::clock;
use crate::recovery::site::{Site, free};
use anyhow::{Result, bail};
use demo::load::{Counters, Load, Totals};
use serde_json::{Value, json};
use splitter::control::Client;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use versions::{Fault, HEALTH, Version};

/// A load is carried when at least this share of what was asked is sent and answered.
const CARRIED: f64 = 0.95;
/// And when its p99 stays below this, ms: the versions' own is 40.
const CARRIED_P99_MS: f64 = 100.0;
/// Time for which a load is tried.
const TRIED: Duration = Duration::from_secs(6);

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Releases at once.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=50))]
    at_once: u16,
    /// Healthy releases in all.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(0..=2_000))]
    healthy: u16,
    /// Faulty releases in the round of faulty ones.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(0..=50))]
    faulty: u16,
    /// Requests a second at each of the services that release at once; halved until this machine carries it.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=5_000))]
    rate: u32,
    /// Runs of each timed case; 0 leaves them out.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(0..=100))]
    runs: u16,
    /// Directory on the disk that the log is written to.
    #[arg(long, default_value = "target")]
    dir: PathBuf,
}

/// A service: two versions, of which one is stable.
struct Service {
    name: String,
    traffic: SocketAddr,
    versions: [Arc<Version>; 2],
    /// Which of them is stable.
    stable: usize,
}

impl Service {
    /// Label and handle of the version that is not stable.
    fn other(&self) -> (&'static str, &Arc<Version>) {
        let [first, second] = &self.versions;
        if self.stable == 0 { ("v2", second) } else { ("v1", first) }
    }
}

/// All that runs.
struct Bench {
    site: Site,
    splitter: Client,
    services: Vec<Service>,
}

/// A load on some services.
struct Traffic(Vec<(Arc<Counters>, tokio::task::JoinHandle<()>)>);

impl Traffic {
    fn start<'a>(services: impl IntoIterator<Item = &'a Service>, rate: u32) -> Result<Self> {
        let mut all = Vec::new();
        for (i, service) in services.into_iter().enumerate() {
            let load = Load {
                target: service.traffic,
                paths: vec!["/".to_owned()],
                rate: f64::from(rate),
                seed: 1 + i as u64,
            };
            all.push(load.start(std::future::pending())?);
        }
        Ok(Self(all))
    }

    fn totals(&self) -> Totals {
        self.0.iter().map(|(counters, _)| counters.totals()).fold(Totals::default(), |sum, t| Totals {
            sent: sum.sent + t.sent,
            ok: sum.ok + t.ok,
            failed: sum.failed + t.failed,
            lost: sum.lost + t.lost,
            repeated: sum.repeated + t.repeated,
            skipped: sum.skipped + t.skipped,
            p99_ms: sum.p99_ms.max(t.p99_ms),
        })
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.0.iter().for_each(|(_, task)| task.abort());
    }
}

pub(crate) fn run(options: &Options, deliveryos: &Path) -> Result<Value> {
    if !deliveryos.is_file() {
        bail!("{} is not there: cargo xtask build --release", deliveryos.display());
    }
    let versions = versions::start(2 * usize::from(options.at_once))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(measure(options, deliveryos, &versions))
}

async fn measure(options: &Options, deliveryos: &Path, versions: &[(SocketAddr, Arc<Version>)]) -> Result<Value> {
    let mut bench = Bench::start(versions, deliveryos, &options.dir).await?;
    println!("{}, load average {}", deliveryos.display(), clock::load_average());
    let mut report = json!({ "at_once": options.at_once, "load_average_before": clock::load_average() });
    if options.healthy > 0 || options.faulty > 0 {
        let (rate, tried) = bench.carried(options.rate).await?;
        report["rate"] = json!({ "asked": options.rate, "run": rate, "tried": tried });
        if options.healthy > 0 {
            report["healthy"] = bench.healthy(usize::from(options.healthy), rate).await?;
        }
        if options.faulty > 0 {
            report["faulty"] = bench.faulty(usize::from(options.faulty), rate).await?;
        }
    }
    if options.runs > 0 {
        report["timed"] = bench.timed(options.runs).await?;
    }
    report["load_average_after"] = json!(clock::load_average());
    let holds = bench.site.verify()?;
    println!(
        "\nthe whole log, verified offline, with every verdict recomputed from its ticks: {}",
        if holds { "holds" } else { "DOES NOT HOLD" }
    );
    report["log_holds"] = json!(holds);
    Ok(report)
}

impl Bench {
    async fn start(versions: &[(SocketAddr, Arc<Version>)], deliveryos: &Path, dir: &Path) -> Result<Self> {
        let mut services = Vec::new();
        for (i, pair) in versions.chunks(2).enumerate() {
            let [(_, first), (_, second)] = pair else { bail!("two versions a service") };
            let [traffic] = free()?;
            services.push(Service {
                name: format!("service-{i}"),
                traffic,
                versions: [first.clone(), second.clone()],
                stable: 0,
            });
        }
        let [pages] = free()?;
        let Some(last) = services.last().map(|s| s.traffic) else { bail!("no service") };
        let addresses: Vec<SocketAddr> = versions.iter().map(|(address, _)| *address).collect();
        let site = Site::serve(deliveryos, dir, pages, last, |_| configuration(pages, &services, &addresses)).await?;
        let splitter = site.splitter().await?;
        Ok(Self { site, splitter, services })
    }

    /// The rate that this machine carries on all services at once: the one asked for, or a half, a quarter of it.
    async fn carried(&self, asked: u32) -> Result<(u32, Vec<Value>)> {
        let (mut rate, mut tried) = (asked, Vec::new());
        loop {
            let traffic = Traffic::start(&self.services, rate)?;
            // Connections are made first; what is counted comes after.
            tokio::time::sleep(TRIED / 3).await;
            let (before, since) = (traffic.totals(), Instant::now());
            tokio::time::sleep(TRIED).await;
            let (after, seconds) = (traffic.totals(), since.elapsed().as_secs_f64());
            let wanted = f64::from(rate) * self.services.len() as f64;
            let answered = (after.ok - before.ok) as f64 / seconds;
            let carries = answered >= CARRIED * wanted && after.skipped == 0 && after.p99_ms <= CARRIED_P99_MS;
            tried.push(json!({ "rate": rate, "answered": answered, "totals": after, "carried": carries }));
            println!(
                "{} services at {rate} requests/s each: {answered:.0} of {wanted:.0} answered a second, p99 {:.0} ms{}",
                self.services.len(),
                after.p99_ms,
                if carries { "" } else { ": more than this machine carries" }
            );
            if carries {
                return Ok((rate, tried));
            }
            if rate == 1 {
                bail!("this machine does not carry one request a second at each service");
            }
            rate = (rate / 2).max(1);
        }
    }
}

fn configuration(pages: SocketAddr, services: &[Service], versions: &[SocketAddr]) -> String {
    let mut text = format!("listen = \"{pages}\"\n");
    for (i, (service, pair)) in services.iter().zip(versions.chunks(2)).enumerate() {
        let name = &service.name;
        let _ = write!(text, "[services.{name}]\nlisten = [\"{}\"]\nstable = \"v1\"\n", service.traffic);
        for (j, address) in pair.iter().enumerate() {
            // Versions by address have no file to take an identity from: these are made up, one each.
            let _ = write!(
                text,
                "[services.{name}.versions.v{}]\nhealth_path = \"{HEALTH}\"\nurl = \"http://{address}\"\ndigest = \"sha256:{:064x}\"\n",
                j + 1,
                1 + 2 * i + j
            );
        }
    }
    text
}
