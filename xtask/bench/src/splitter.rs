//! The splitter beside haproxy, nginx and Envoy.
//!
//! Every proxy has one thread and one core of its own; load and backend share the others. In each round every proxy has its turn, in an
//! order that rotates, so that a slow minute of the machine is shared by all; the median of the rounds counts. *Per core* is requests
//! divided by the processor time that the proxy took, user and system, all its threads: the load cannot flatter it. A run in which one
//! request fails is no measurement. The share of requests that reached the canary is counted by the backend.

use crate::backend::{self, Backend};
use crate::peers::{self, CANARY, Kind, Proxy};
use crate::{machine, wrk};
use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::atomic::Ordering;

/// Rounds before those that count are this long.
const WARM_UP_SECONDS: u32 = 2;
/// What the splitter is held against.
const AT_LEAST_OF_ENVOY: f64 = 2.5;
const AT_LEAST_OF_HAPROXY: f64 = 0.8;
const AT_MOST_P99_OF_HAPROXY: f64 = 1.5;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Rounds that count.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=50))]
    rounds: u32,
    /// Seconds of one proxy's turn.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=60))]
    seconds: u32,
    /// Connections of the load.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=1000))]
    connections: u32,
}

/// One proxy's turn.
#[derive(Serialize, Clone, Copy)]
struct Turn {
    requests_per_second: f64,
    requests_per_core_second: f64,
    p99_ms: f64,
    canary_share: f64,
}

pub(crate) fn run(options: &Options, deliveryos: &Path, unpacked: Option<&Path>) -> Result<Value> {
    let scratch = tempfile::tempdir()?;
    let backends = backend::start(2)?;
    // With one core there is nothing to give away.
    let core = (machine::cores() > 1).then_some("0");
    let mut proxies = Vec::new();
    for kind in Kind::ALL {
        let Some(program) = peers::find(kind, deliveryos, unpacked) else { continue };
        let proxy = peers::start(kind, &program, core, &backends, scratch.path())?;
        eprintln!("{}: {}", kind.name(), proxy.version);
        proxies.push((proxy, Vec::new()));
    }
    if !proxies.iter().any(|(proxy, _)| proxy.kind == Kind::Deliveryos) {
        bail!("{} is not there: cargo xtask build --release", deliveryos.display());
    }
    let direct = wrk::run(backends.first().context("no backend")?.address, options.connections, WARM_UP_SECONDS)?;
    for (proxy, _) in &mut proxies {
        turn(proxy, &backends, options.connections, WARM_UP_SECONDS)?;
    }
    let count = proxies.len();
    for round in 0..options.rounds as usize {
        for position in 0..count {
            let Some((proxy, turns)) = proxies.get_mut((round + position) % count) else { continue };
            let turn = turn(proxy, &backends, options.connections, options.seconds)?;
            eprintln!(
                "round {} {:<11} {:>8.0} req/s, {:>8.0} per core, p99 {:.2} ms",
                round + 1,
                proxy.kind.name(),
                turn.requests_per_second,
                turn.requests_per_core_second,
                turn.p99_ms
            );
            turns.push(turn);
        }
    }
    Ok(report(options, direct.requests_per_second, &proxies))
}

fn turn(proxy: &mut Proxy, backends: &[Backend], connections: u32, seconds: u32) -> Result<Turn> {
    let counted = || -> Vec<u64> { backends.iter().map(|one| one.requests.load(Ordering::Relaxed)).collect() };
    let (before, time) = (counted(), proxy.process.processor_time());
    let run = wrk::run(proxy.address, connections, seconds).with_context(|| proxy.kind.name())?;
    if !proxy.process.runs() {
        bail!("{} ended during the measurement", proxy.kind.name());
    }
    let used = (proxy.process.processor_time() - time).as_secs_f64();
    let got: Vec<f64> = counted().iter().zip(&before).map(|(now, then)| (now - then) as f64).collect();
    Ok(Turn {
        requests_per_second: run.requests_per_second,
        requests_per_core_second: run.requests / used,
        p99_ms: run.p99_ms,
        canary_share: got.last().copied().unwrap_or_default() / got.iter().sum::<f64>(),
    })
}

fn report(options: &Options, direct: f64, proxies: &[(Proxy, Vec<Turn>)]) -> Value {
    let median = |turns: &[Turn], of: fn(&Turn) -> f64| machine::median(&turns.iter().map(of).collect::<Vec<_>>());
    println!(
        "\nmedian of {} rounds of {} s, {} connections, canary {CANARY} %, one proxy thread",
        options.rounds, options.seconds, options.connections
    );
    println!("backend alone: {direct:.0} req/s\n");
    println!("{:<11} {:>10} {:>14} {:>9} {:>9}", "", "req/s", "req/s and core", "p99 ms", "canary %");
    let mut rows = Vec::new();
    for (proxy, turns) in proxies {
        let row = (
            proxy.kind,
            median(turns, |turn| turn.requests_per_second),
            median(turns, |turn| turn.requests_per_core_second),
            median(turns, |turn| turn.p99_ms),
            median(turns, |turn| turn.canary_share) * 100.0,
        );
        println!("{:<11} {:>10.0} {:>14.0} {:>9.2} {:>9.3}", row.0.name(), row.1, row.2, row.3, row.4);
        rows.push(row);
    }
    let of = |kind: Kind| rows.iter().find(|row| row.0 == kind);
    let mut targets = Vec::new();
    if let Some(ours) = of(Kind::Deliveryos) {
        let mut hold = |what: &str, value: f64, limit: f64, met: bool| {
            println!("{what}: {value:.2} (target {limit}{})", if met { ", met" } else { ": MISSED" });
            targets.push(json!({ "what": what, "value": value, "target": limit, "met": met }));
        };
        println!();
        if let Some(envoy) = of(Kind::Envoy) {
            let ratio = ours.2 / envoy.2;
            hold(
                "requests per second and core over Envoy's, at least",
                ratio,
                AT_LEAST_OF_ENVOY,
                ratio >= AT_LEAST_OF_ENVOY,
            );
        }
        if let Some(haproxy) = of(Kind::Haproxy) {
            let ratio = ours.2 / haproxy.2;
            hold(
                "requests per second and core over haproxy's, at least",
                ratio,
                AT_LEAST_OF_HAPROXY,
                ratio >= AT_LEAST_OF_HAPROXY,
            );
            let ratio = ours.3 / haproxy.3;
            hold("p99 over haproxy's, at most", ratio, AT_MOST_P99_OF_HAPROXY, ratio <= AT_MOST_P99_OF_HAPROXY);
        }
    }
    json!({
        "rounds": options.rounds, "seconds": options.seconds, "connections": options.connections, "canary_percent": CANARY,
        "backend_alone_requests_per_second": direct,
        "proxies": proxies.iter().map(|(proxy, turns)| json!({
            "proxy": proxy.kind, "version": proxy.version, "turns": turns,
        })).collect::<Vec<_>>(),
        "median": rows.iter().map(|row| json!({
            "proxy": row.0, "requests_per_second": row.1, "requests_per_core_second": row.2, "p99_ms": row.3, "canary_percent": row.4,
        })).collect::<Vec<_>>(),
        "targets": targets,
    })
}
