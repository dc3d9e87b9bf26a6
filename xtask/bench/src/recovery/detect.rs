//! A canary that is bad from its first request, found by the built-in rule: from its first bad answer until it has no traffic.

use super::recipe::{Sources, recipe};
use super::spread::Spread;
use super::{Bench, clock, since, start_load};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Weight of the canary.
const WEIGHT: u8 = 5;
/// What the rule needs to compare with: requests before the release starts.
const WARM_UP: Duration = Duration::from_secs(2);

struct Scenario {
    name: &'static str,
    key: &'static str,
    rate: u32,
    bad_per_mille: u64,
    at_most_ms: f64,
}

const SCENARIOS: [Scenario; 2] = [
    Scenario {
        name: "canary at 5 % of 200 req/s, only 5xx",
        key: "only-errors-at-200",
        rate: 200,
        bad_per_mille: 1000,
        at_most_ms: 2000.0,
    },
    Scenario {
        name: "canary at 5 % of 2,000 req/s, 10 % errors",
        key: "one-in-ten-at-2000",
        rate: 2000,
        bad_per_mille: 100,
        at_most_ms: 3000.0,
    },
];

/// Both, `runs` times each.
pub(super) async fn both(bench: &mut Bench, runs: u32) -> Result<Value> {
    println!("\n{:<42} {}", "ms from the first bad answer to weight 0", Spread::HEAD);
    let mut reports = Vec::new();
    for scenario in &SCENARIOS {
        let (mut zero, mut exposed, mut worst) = (Vec::new(), Vec::new(), String::new());
        for run in 0..runs {
            let (took, bad, reason) = found(bench, scenario, run).await.context(scenario.name)?;
            eprintln!("{}: {took:.0} ms, {bad} bad answers: {reason}", scenario.name);
            if zero.iter().all(|other| took > *other) {
                worst = reason;
            }
            zero.push(took);
            exposed.push(bad);
        }
        let spread = Spread::of(zero.clone());
        let met = spread.max <= scenario.at_most_ms;
        println!(
            "{:<42} {spread}  (every run at most {:.0}{})",
            scenario.name,
            scenario.at_most_ms,
            if met { ", met" } else { ": MISSED" }
        );
        reports.push(json!({
            "scenario": scenario.key, "what": scenario.name, "ms_to_zero": spread.json(), "runs_ms": zero, "bad_answers": exposed,
            "reason_of_the_slowest": worst, "load_average": clock::load_average(),
            "target": { "value": spread.max, "target": scenario.at_most_ms, "met": met },
        }));
    }
    Ok(Value::Array(reports))
}

/// One run: ms to weight 0, bad answers until then, the reason that the receipt gives.
async fn found(bench: &mut Bench, scenario: &Scenario, run: u32) -> Result<(f64, u64, String)> {
    bench.canary.behave(scenario.bad_per_mille);
    let (counters, load) = start_load(bench.site.traffic, scenario.rate, u64::from(run) + 2)?;
    tokio::time::sleep(WARM_UP + Duration::from_millis(clock::scatter(u64::from(run)) % 1000)).await;
    let id = format!("bench-{}-{run}", scenario.key);
    let release = bench.site.release(&id, &recipe(WEIGHT, true, Sources::None), 1.0).await?;
    let start = Instant::now();
    let first = loop {
        if let Some(first) = bench.canary.first_bad() {
            break first;
        }
        if start.elapsed() > super::site::LIMIT {
            bail!("the canary has given no bad answer");
        }
        tokio::time::sleep(super::LOOK).await;
    };
    let (zero, _) = bench.zero().await?;
    let receipts = bench.site.receipts(&release).await?;
    let bad = bench.canary.bad();
    bench.canary.behave(0);
    load.abort();
    let totals = counters.totals();
    if totals.lost > 0 {
        bail!("{} requests were not answered", totals.lost);
    }
    let reason = receipts
        .iter()
        .find(|receipt| receipt["payload"]["kind"] == json!("delivery.canary.aborted"))
        .and_then(|receipt| receipt["payload"]["reason"].as_str())
        .context("no receipt says why it was aborted")?;
    Ok((since(first, zero), bad, reason.to_owned()))
}
